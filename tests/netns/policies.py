"""Policies as files: what they say holds for the running program, and one that is wrong starts nothing."""

import re
import shutil
import subprocess

import world
from named import ALLOW, EVIL4, OK4, NamedTest
from world import HOST4, PUBLIC, SCRATCH

OWN = SCRATCH / "home/.config/cordon/policies"


def write(path, text, version="version = 1\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(version + text)
    for folder in (path.parent, *path.parent.parents):
        if SCRATCH in folder.parents:
            folder.chmod(0o755)
    path.chmod(0o644)
    return path


class PolicyFiles(NamedTest):
    web_names = ("ok.example", "a.wild.example", "evil.example")

    def run_with(self, options, script, **popen):
        env = {**self.world.environment(), **self.authority.environment()}
        return self.world.run(["sh", "-c", script], [*PUBLIC, *options], env=env, **popen)

    def fetch(self, name):
        return f"curl -sS --max-time 10 https://{name}/who"

    def policy(self, *words, **options):
        """cordon policy WORDS, where the program runs."""
        with self.world.host:
            return subprocess.run([*self.world.credentials(), self.world.program, "policy", *words], text=True,
                                  capture_output=True, env=self.world.environment(), timeout=20, **options)

    def assert_reached(self, options, name, **popen):
        got = self.run_with(options, self.fetch(name), **popen)
        self.assertEqual(got.returncode, 0, got)
        self.assertTrue(got.stdout.startswith(name), got)

    def assert_refused(self, options, name, rule="default", **popen):
        got = self.run_with(options, self.fetch(name), **popen)
        self.assertNotEqual(got.returncode, 0, got)
        self.assertIn(f"rule={rule}", got.stderr)

    def test_a_file_allows_what_it_lists_and_nothing_else(self):
        file = write(SCRATCH / "tmp/list.toml", 'allow = ["ok.example"]\n')
        self.assert_reached(["--policy", file], "ok.example")
        self.assert_refused(["--policy", file], "evil.example")

    def test_a_denied_name_is_told_with_its_process_and_the_remedy(self):
        got = self.run_with(ALLOW, self.fetch("evil.example"))
        self.assertEqual(got.returncode, 6, got)
        self.assertRegex(got.stderr, r"(?m)^cordon: denied dns evil\.example rule=default id=1 by pid \d+ \(curl\); "
                                     r"to allow it: --allow evil\.example$")

    def test_a_denial_names_the_line_of_the_file(self):
        file = write(SCRATCH / "tmp/deny.toml", 'default = "allow-public"\n\ndeny = ["evil.example"]\n')
        self.assert_reached(["--policy", file], "ok.example")
        got = self.run_with(["--policy", file], self.fetch("evil.example"))
        self.assertNotEqual(got.returncode, 0, got)
        self.assertIn("deny.toml:4", got.stderr)

    def test_a_file_and_options_count_together(self):
        file = write(SCRATCH / "tmp/part.toml", 'allow = ["ok.example"]\n')
        self.assert_reached(["--policy", file, "--allow", "*.wild.example"], "a.wild.example")
        self.assert_refused(["--policy", file, "--deny", "ok.example"], "ok.example", rule="--deny")

    def test_a_policy_of_ones_own_is_found_by_its_name(self):
        write(OWN / "work.toml", 'allow = ["ok.example"]\n')
        self.assert_reached(["--policy", "work"], "ok.example")
        write(OWN / "mine.toml", 'allow = ["a.wild.example"]\n')
        self.assert_reached(["--use", "mine"], "a.wild.example")
        self.assert_refused(["--use", "mine"], "ok.example")

    def test_a_policy_of_the_folder_counts_with_trust_only(self):
        folder = SCRATCH / "tmp/project"
        write(folder / "cordon.toml", 'deny = ["ok.example"]\ndefault = "allow-public"\n')
        got = self.run_with([], self.fetch("ok.example"), cwd=str(folder))
        self.assertEqual((got.returncode, got.stderr.splitlines()),
                         (0, ["cordon: ./cordon.toml is there and is not read, for it may be somebody else's; "
                              "to use it: --trust"]), got)
        got = self.run_with(["-q"], self.fetch("ok.example"), cwd=str(folder))
        self.assertEqual((got.returncode, got.stderr), (0, ""), got)
        got = self.run_with(["--trust"], self.fetch("ok.example"), cwd=str(folder))
        self.assertNotEqual(got.returncode, 0, got)
        self.assertIn("cordon.toml:2", got.stderr)
        self.assertNotIn("is not read", got.stderr)

    def test_report_lets_through_and_tells(self):
        """Name, port and remedy, as a denial would, and the process where it is still there: nothing waits for the
        look at it. The command and its status are as without."""
        got = self.run_with([*ALLOW, "--report"], f"{self.fetch('evil.example')}; exit 7")
        self.assertEqual(got.returncode, 7, got)
        self.assertTrue(got.stdout.startswith("evil.example"), got)
        for kind in ("dns evil.example", "tcp evil.example:443"):
            self.assertRegex(got.stderr, rf"(?m)^cordon: would deny {re.escape(kind)} rule=default id=\d+"
                                         r"( by pid \d+ \(curl\))?; to allow it: --allow evil\.example$")
        self.assertNotIn("cordon: denied", got.stderr)

    def test_report_tells_the_rule_and_the_other_port(self):
        got = self.run_with([*ALLOW, "--deny", EVIL4, "--report"],
                            f"curl -sS --max-time 10 http://{EVIL4}/who; exit 3")
        self.assertEqual((got.returncode, got.stdout), (3, "stranger\n"), got)
        self.assertRegex(got.stderr, rf"(?m)^cordon: would deny tcp {re.escape(EVIL4)}:80 rule=--deny={re.escape(EVIL4)} "
                                     r"id=\d+( by pid \d+ \(curl\))?$")

    def test_report_says_nothing_of_what_is_allowed(self):
        got = self.run_with([*ALLOW, "--report"], self.fetch("ok.example"))
        self.assertEqual((got.returncode, got.stderr), (0, ""), got)
        self.assertTrue(got.stdout.startswith("ok.example"), got)

    def test_a_wrong_file_starts_nothing(self):
        marker = SCRATCH / "tmp/started"
        for text, said in (('alow = ["ok.example"]\n', 'wrong.toml:2:1: unknown key "alow"; did you mean allow?'),
                           ('allow = ["ok.example:0"]\n', "wrong.toml:2:22: "),
                           ('allow = ["ok.example"]\ndeny = [".ok.example"]\n', "can never be allowed"),
                           ('use = ["nmp"]\n', "wrong.toml:2:8: there is no preset 'nmp'; did you mean npm?"),
                           ("allow = [\n", "not TOML")):
            with self.subTest(said):
                file = write(SCRATCH / "tmp/wrong.toml", text)
                got = self.run_with(["--policy", file], f"touch {marker}")
                self.assertEqual(got.returncode, 125, got)
                self.assertIn(said, got.stderr)
                self.assertEqual(got.stderr.count("\n"), 1, got)
                self.assertFalse(marker.exists())
        got = self.run_with(["--policy", SCRATCH / "tmp/none.toml"], f"touch {marker}")
        self.assertEqual((got.returncode, marker.exists()), (125, False), got)
        self.assertIn(f"cordon: {SCRATCH}/tmp/none.toml: there is no such file; ", got.stderr)
        self.assertEqual(got.stderr.count("\n"), 1, got)

    def test_all_errors_of_a_file_are_told_in_their_order(self):
        file = write(SCRATCH / "tmp/several.toml", 'alow = ["a.example"]\nallow = ["*"]\nmode = "askk"\n',
                     version="")
        for got in (self.run_with(["--policy", file], "true"), self.policy("check", file)):
            lines = (got.stderr + got.stdout).splitlines()
            self.assertEqual([line.removeprefix("cordon: ").split(": ")[0] for line in lines],
                             [f"{file}:1:1", f"{file}:1:1", f"{file}:2:11", f"{file}:3:8"], got)
            self.assertIn("did you mean allow?", lines[1] + lines[0])
            self.assertIn('did you mean "ask"?', lines[3])

    def test_files_that_are_not_there_are_told_with_place_and_remedy(self):
        folder = f"{SCRATCH}/tmp/no-such-folder"
        for options, said in ((["--policy", f"{folder}/p.toml"], f"there is no folder {folder}; "),
                              (["--log", f"{folder}/log"], f"to make it: mkdir -p {folder}\n"),
                              (["--log", "/tmp"], "it is a folder; name a file in it, as in /tmp/FILE\n")):
            got = self.run_with(options, "true")
            self.assertEqual(got.returncode, 125, got)
            self.assertTrue(got.stderr.startswith("cordon: "), got)
            self.assertIn(options[1], got.stderr)
            self.assertIn(said, got.stderr)

    def test_each_preset_that_is_brought_along_starts(self):
        for line in self.policy("presets").stdout.splitlines():
            name = line.split()[0]
            with self.subTest(name):
                self.assertNotIn("cannot be used", line)
                got = self.run_with(["--use", name], "echo started")
                self.assertEqual((got.returncode, got.stdout), (0, "started\n"), got)

    def test_a_program_that_was_copied_without_its_presets_says_where_it_looked_and_the_remedy(self):
        program = SCRATCH / "alone/bin/cordon"
        program.parent.mkdir(parents=True)
        shutil.copy(self.world.program, program)
        environment = {**self.world.environment(), "HOME": str(SCRATCH / "alone"), "XDG_CONFIG_HOME": ""}
        places = (f"no presets were found in {SCRATCH}/alone/.config/cordon/policies, /etc/cordon/policies, "
                  f"{SCRATCH}/alone/share/cordon/policies; ")
        for words, begins in ((["policy", "presets"], f"cordon: {places}"),
                              (["run", "--use", "npm", "--", "echo", "started"],
                               f"cordon: --use npm: there is no preset 'npm': {places}")):
            with self.subTest(words), self.world.host:
                got = subprocess.run([*self.world.credentials(), program, *words], text=True, capture_output=True,
                                     env=environment, timeout=20)
                self.assertEqual((got.returncode, got.stdout), (125, ""), got)
                self.assertTrue(got.stderr.startswith(begins), got)
                self.assertTrue(got.stderr.endswith("configs/policies of its source: copy them into one of these folders\n"),
                                got)
        shutil.copytree(SCRATCH / "share", SCRATCH / "alone/share")
        with self.world.host:
            got = subprocess.run([*self.world.credentials(), program, "policy", "presets"], text=True,
                                 capture_output=True, env=environment, timeout=20)
        self.assertEqual((got.returncode, got.stderr), (0, ""), got)
        self.assertIn("\nnpm ", got.stdout)

    def test_explain_says_what_the_running_program_does(self):
        file = write(SCRATCH / "tmp/explained.toml",
                     f'allow = ["ok.example", "{OK4}:443"]\ndeny = ["{EVIL4}"]\n'
                     '[classes]\npublic = ["198.51.100.16/28"]\n')
        for destination, is_allowed, said in (
                ("ok.example", True, "ok.example, " + str(file) + ":2"),
                ("evil.example", False, "--allow evil.example"),
                (f"{OK4}:443", True, f"{OK4}:443, "),
                (f"{OK4}:80", False, "the default is deny"),
                (f"{EVIL4}:443", False, f"a rule denies it: {EVIL4}, "),
                (f"{HOST4}:22", False, f"{HOST4} is self"),
                ("[64:ff9b::c633:6402]:22", False, "64:ff9b::c633:6402 is self"),
                ("[64:ff9b::c633:6401]:22", False, "64:ff9b::c633:6401 is lan"),
                ("127.0.0.1:22", False, "127.0.0.1 is self")):
            with self.subTest(destination):
                got = self.policy("explain", "--policy", str(file), destination)
                self.assertEqual(got.returncode, 0 if is_allowed else 1, got)
                self.assertIn(said, got.stdout)

    def test_what_is_added_holds_at_the_next_start(self):
        file = write(SCRATCH / "tmp/grows.toml", '# mine\nallow = ["ok.example"]  # first\n')
        SCRATCH.joinpath("tmp").chmod(0o777)
        file.chmod(0o666)
        self.assert_refused(["--policy", file], "a.wild.example")
        got = self.policy("add", str(file), "--allow", "*.wild.example", "--comment", "asked for")
        self.assertEqual(got.returncode, 0, got)
        self.assertEqual(file.read_text(), 'version = 1\n# mine\nallow = ["ok.example",\n'
                                           '  "*.wild.example", # asked for\n]  # first\n')
        self.assert_reached(["--policy", file], "a.wild.example")


if __name__ == "__main__":
    world.main()
