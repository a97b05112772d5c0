"""A sandbox that runs is spoken to: ps, flows, events, allow, deny, policy reload; and what it did is learned and
replayed. Each denial has a twin that is allowed."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import threading
import time

import servers
import world
from named import OK4, OK6, NamedTest
from world import AS_USER, IS_FULL, PUBLIC, RUNTIME, SCRATCH, SECOND4, SERVER4, Guest, NetworkTest, wait_until

PORT, OTHER_PORT = 9301, 9302


class Controlled(NetworkTest):
    """Helpers: verbs on the host, guests that have a control socket in a folder of the test's own."""

    options = [*PUBLIC, "--name", "shared"]

    @staticmethod
    def make_runtime_folder():
        world.World.get().make_runtime_folder()

    @classmethod
    def setUpClass(cls):
        cls.make_runtime_folder()
        super().setUpClass()
        for address in (SERVER4, SECOND4):
            for port in (PORT, OTHER_PORT):
                server = servers.TcpServer(cls.world.ext, address, port, servers.echo)
                cls.addClassCleanup(server.close)

    def verb(self, *words, status=0, text=None):
        with self.world.host:
            done = subprocess.run([*self.world.credentials(), self.world.program, *words], capture_output=True,
                                  text=True, input=text, timeout=20, env=self.world.environment(), cwd=SCRATCH / "tmp")
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def ids(self):
        return [line.split()[0] for line in self.verb("ps").splitlines()[1:]]

    def policy(self, name, text):
        path = SCRATCH / "tmp" / name
        path.write_text(f'version = 1\n[classes]\npublic = ["198.51.100.0/24", "2001:db8::/32"]\n' if text is None
                        else text)
        path.chmod(0o666)
        return path

    def is_open(self, guest, address, port=PORT):
        return guest.ask(address=address, port=port, text="twin", timeout=3)["error"] is None


class Sandboxes(Controlled):
    def test_are_listed_by_number_or_name_as_long_as_they_run(self):
        self.assertEqual(self.ids(), ["shared"])
        with Guest(self.world, [*PUBLIC]), Guest(self.world, [*PUBLIC]):
            self.assertEqual(self.ids(), ["1", "2", "shared"])
            row = json.loads(self.verb("ps", "--json").splitlines()[0])
            self.assertEqual((row["id"], row["mode"], row["denied"], row["offline"]), ("1", "enforce", 0, False))
            self.assertEqual(row["command"][0], world.PYTHON)
        wait_until(lambda: self.ids() == ["shared"], "the sandboxes to be gone")

    def test_a_name_is_one_sandboxes_only(self):
        done = self.world.run(["true"], [*PUBLIC, "--name", "shared"])
        self.assertEqual(done.returncode, 125)
        self.assertIn("runs already", done.stderr)

    def test_their_sockets_are_their_owners_alone(self):
        self.assertEqual(stat.S_IMODE((RUNTIME / "cordon").stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE((RUNTIME / "cordon/shared.sock").stat().st_mode), 0o600)

    def test_a_sandbox_that_was_killed_leaves_no_name_taken(self):
        guest = Guest(self.world, [*PUBLIC, "--name", "killed"])
        pid = next(json.loads(line)["pid"] for line in self.verb("ps", "--json").splitlines()
                   if json.loads(line)["id"] == "killed")
        os.kill(pid, 9)
        guest.process.wait(5)
        wait_until(lambda: "killed" not in self.ids(), "the sandbox to be gone")
        with Guest(self.world, [*PUBLIC, "--name", "killed"]):
            self.assertIn("killed", self.ids())
        guest.close()

    def test_are_not_reached_from_inside(self):
        source = f"os.listdir('{RUNTIME}/cordon')"
        self.assertEqual(self.guest.attempt(source=source).get("value"), "[]")
        source = f"socket.socket(socket.AF_UNIX).connect('{RUNTIME}/cordon/shared.sock')"
        self.assertEqual(self.guest.attempt(source=source)["error"], "ENOENT")
        for path in ("/proc/1/root", "/proc/self/root"):
            source = f"os.listdir('{path}{RUNTIME}/cordon')"
            self.assertNotIn("shared", json.dumps(self.guest.attempt(source=source)))
        # The twin: on the host it is there.
        with socket.socket(socket.AF_UNIX) as client:
            if not AS_USER or os.environ.get("CORDON_WORLD") == "userns":
                client.connect(f"{RUNTIME}/cordon/shared.sock")

    def test_what_is_asked_of_none_is_told(self):
        self.assertIn("no sandbox 77 runs here", self.verb("flows", "77", status=125))
        self.assertIn("write cordon allow ID DEST", self.verb("allow", status=125))

    def test_hostile_lines_end_their_client_only(self):
        script = ("import socket,sys\n"
                  "for text in (b'x'*9000, b'{}\\n', b'[]\\n', b'\\xff\\n', b'{\"request\":1}\\n',"
                  " b'{\"request\":\"reload\",\"file\":\"/dev/zero\"}\\n',"
                  " b'{\"request\":\"allow\",\"to\":\"*\"}\\n'):\n"
                  "  s = socket.socket(socket.AF_UNIX); s.settimeout(5)\n"
                  f"  s.connect('{RUNTIME}/cordon/shared.sock'); s.sendall(text)\n"
                  "  print(s.recv(4096).decode())\n")
        done = subprocess.run([*self.world.credentials(), world.PYTHON, "-c", script], capture_output=True, text=True,
                              timeout=30, check=True)
        answers = [json.loads(line) for line in done.stdout.split("\n") if line]
        self.assertEqual(len(answers), 7)
        self.assertTrue(all(answer["ok"] is False and answer["error"] for answer in answers), answers)
        self.assertTrue(self.is_open(self.guest, SERVER4))


class LiveRules(Controlled):
    def test_allow_and_deny_count_from_now_on(self):
        with Guest(self.world, [*PUBLIC, "--name", "rules", "--allow", SERVER4]) as guest:
            self.assertTrue(self.is_open(guest, SERVER4))
            self.assertFalse(self.is_open(guest, SECOND4))
            self.verb("allow", "rules", f"{SECOND4}:{PORT}")
            self.assertTrue(self.is_open(guest, SECOND4))
            self.assertFalse(self.is_open(guest, SECOND4, OTHER_PORT))
            self.verb("deny", "rules", SECOND4)
            self.assertFalse(self.is_open(guest, SECOND4))
            self.assertTrue(self.is_open(guest, SERVER4))

    def test_a_rule_for_a_while_is_gone_after_it(self):
        with Guest(self.world, [*PUBLIC, "--name", "while", "--allow", SERVER4]) as guest:
            self.verb("allow", "--for", "2s", "while", SECOND4)
            self.assertTrue(self.is_open(guest, SECOND4))
            wait_until(lambda: not self.is_open(guest, SECOND4), "the rule to be gone")
            self.assertTrue(self.is_open(guest, SERVER4))

    def test_a_rule_is_taken_back(self):
        with Guest(self.world, [*PUBLIC, "--name", "undo", "--allow", SERVER4]) as guest:
            self.assertIn("no rule was added to sandbox undo", self.verb("allow", "undo"))
            refused = self.verb("allow", "--undo", "undo", SERVER4, status=125)
            self.assertIn(f"cordon: allow: allow {SERVER4} was not added to sandbox undo, nor was any other", refused)
            self.verb("allow", "--for", "10m", "undo", f"{SECOND4}:{PORT}")
            self.verb("deny", "undo", SERVER4)
            gone = guest.connect(address=SECOND4, port=PORT)["socket"]
            self.assertFalse(self.is_open(guest, SERVER4))
            # What there is to take back is where one looks for it.
            listed = self.verb("allow", "undo")
            self.assertRegex(listed, rf"(?m)^allow {re.escape(SECOND4)}:{PORT} +(9m5\ds|10m) +"
                                     rf"cordon allow --undo undo {re.escape(SECOND4)}:{PORT}$")
            self.assertRegex(listed, rf"(?m)^deny {re.escape(SERVER4)} +the rest of the run +cordon deny --undo undo ")
            self.assertEqual(self.verb("deny", "undo"), listed)
            row = next(line.split() for line in self.verb("ps").splitlines() if line.startswith("undo "))
            self.assertEqual(row[4], "2", row)
            refused = self.verb("allow", "--undo", "undo", SECOND4, status=125)
            self.assertIn(f"allow {SECOND4} was not added to sandbox undo; added were: allow {SECOND4}:{PORT}, "
                          f"deny {SERVER4}", refused)
            # Living flows that nothing else allows are reset, within a second.
            begin = time.monotonic()
            self.assertIn("is taken back", self.verb("allow", "--undo", "undo", f"{SECOND4}:{PORT}"))
            self.assertEqual(guest.receive(number=gone, timeout=5)["error"], "ECONNRESET")
            self.assertLess(time.monotonic() - begin, 1 if not IS_FULL else 5)
            self.assertFalse(self.is_open(guest, SECOND4))
            self.verb("allow", "undo", SERVER4)
            self.assertIn("is taken back; it stays allowed by --allow=", self.verb("deny", "--undo", "undo", SERVER4)
                          + self.verb("allow", "--undo", "undo", SERVER4))
            self.assertTrue(self.is_open(guest, SERVER4))
            self.assertIn("no rule was added", self.verb("deny", "undo"))

    def test_a_deny_resets_the_flows_that_live_within_a_second(self):
        with Guest(self.world, [*PUBLIC, "--name", "reset"]) as guest:
            gone, stays = (guest.connect(address=address, port=PORT)["socket"] for address in (SECOND4, SERVER4))
            begin = time.monotonic()
            self.verb("deny", "reset", SECOND4)
            answer = guest.receive(number=gone, timeout=5)
            self.assertEqual(answer["error"], "ECONNRESET")
            self.assertLess(time.monotonic() - begin, 1 if not IS_FULL else 5)
            guest.send(number=stays, text="still")
            self.assertEqual(guest.receive(number=stays)["text"], "still")

    def test_flows_are_listed_with_what_they_moved(self):
        with Guest(self.world, [*PUBLIC, "--name", "flows"]) as guest:
            number = guest.connect(address=SERVER4, port=PORT)["socket"]
            guest.send(number=number, text="12345")
            self.assertEqual(guest.receive(number=number)["text"], "12345")
            flow = json.loads(self.verb("flows", "--json", "flows").splitlines()[0])
            self.assertEqual((flow["destination"], flow["protocol"]), (f"{SERVER4}:{PORT}", "tcp"))
            self.assertEqual((flow["bytes_up"], flow["bytes_down"]), (5, 5))
            guest.hang_up(number=number)
            wait_until(lambda: self.verb("flows", "--json", "flows") == "", "the flow to be gone")

    def test_events_have_the_id_of_stderr(self):
        with Guest(self.world, [*PUBLIC, "--name", "events", "--deny", SECOND4]) as guest:
            with self.world.host:
                events = subprocess.Popen([*self.world.credentials(), self.world.program, "events", "events"],
                                          stdout=subprocess.PIPE, text=True, env=self.world.environment())
            seen = []

            def read():
                seen.extend(json.loads(line) for line in events.stdout)

            thread = threading.Thread(target=read, daemon=True)
            thread.start()

            def of(kind):
                return [event for event in list(seen) if event["event"] == kind]

            # Whoever listens hears of what begins from then on.
            wait_until(lambda: self.is_open(guest, SERVER4) and of("flow_opened"), "an opened flow")
            self.assertFalse(self.is_open(guest, SECOND4))
            wait_until(lambda: of("denied"), "the denial")
            wait_until(lambda: f"id={of('denied')[0]['id']} " in guest.said(), "the same id on stderr")
            self.assertEqual(of("denied")[0]["program"], "python3")
        self.assertEqual(events.wait(5), 0)  # it ends with the sandbox
        thread.join(5)
        events.stdout.close()


def policy_text(allow, more=""):
    classes = 'public = ["198.51.100.0/24", "2001:db8::/32"]'
    return f'version = 1\nallow = {json.dumps(allow)}\n{more}[classes]\n{classes}\n'


class Reload(Controlled):
    def test_takes_effect_at_once_and_a_broken_file_changes_nothing(self):
        path = self.policy("reload.toml", policy_text([SERVER4]))
        with Guest(self.world, ["--policy", str(path), "--name", "reload"]) as guest:
            gone = guest.connect(address=SERVER4, port=PORT)["socket"]
            self.assertFalse(self.is_open(guest, SECOND4))
            path.write_text("version = 1\nalow = []\n")
            said = self.verb("policy", "reload", "reload", status=125)
            self.assertRegex(said, r"reload\.toml:2:1: .*alow")
            self.assertIn("stays as it was", said)
            self.assertTrue(self.is_open(guest, SERVER4))
            path.write_text(policy_text([SECOND4]))
            self.verb("policy", "reload", "reload")
            self.assertEqual(guest.receive(number=gone, timeout=5)["error"], "ECONNRESET")
            self.assertFalse(self.is_open(guest, SERVER4))
            self.assertTrue(self.is_open(guest, SECOND4))
            other = self.policy("other.toml", policy_text([SERVER4, SECOND4]))
            self.assertIn(str(path), self.verb("ps", "--json"))
            self.verb("policy", "reload", "reload", str(other))
            self.assertTrue(self.is_open(guest, SERVER4))
            self.assertIn(str(other), self.verb("ps", "--json"))
            # What a deny is stronger than is told.
            self.assertNotIn("denied", self.verb("allow", "reload", SECOND4))
            self.verb("deny", "reload", SECOND4)
            self.assertIn("it stays denied by cordon deny", self.verb("allow", "reload", SECOND4))
            self.assertFalse(self.is_open(guest, SECOND4))

    def test_a_thousand_times_under_load_loses_nothing_that_is_allowed(self):
        times = 1000 if IS_FULL else 200
        pair = [self.policy(f"load{i}.toml", policy_text([SERVER4] + [SECOND4] * i)) for i in range(2)]
        with Guest(self.world, ["--policy", str(pair[1]), "--name", "load"]) as guest:
            guest.witness_start(address=SERVER4, port=PORT, period=0.02)
            number = guest.connect(address=SERVER4, port=PORT)["socket"]
            script = ("import socket,json,sys\n"
                      f"s = socket.socket(socket.AF_UNIX); s.connect('{RUNTIME}/cordon/load.sock')\n"
                      "f = s.makefile('rw')\n"
                      f"for i in range({times}):\n"
                      f"  name = {[str(p) for p in pair]}[i % 2] if i % 10 != 5 else '/nonexistent'\n"
                      "  f.write(json.dumps({'request': 'reload', 'file': name}) + '\\n'); f.flush()\n"
                      "  answer = json.loads(f.readline())\n"
                      "  assert answer['ok'] == (i % 10 != 5), (i, answer)\n"
                      "print('done')\n")
            done = subprocess.run([*self.world.credentials(), world.PYTHON, "-c", script], capture_output=True,
                                  text=True, timeout=250, check=False)
            self.assertEqual(done.stdout, "done\n", done.stderr)
            witness = guest.witness_stop()
            self.assertEqual((witness["error"], witness["answers"] > 0), (None, True), witness)
            guest.send(number=number, text="still")
            self.assertEqual(guest.receive(number=number)["text"], "still")
            # The last one allows both; the one before has reset what was there.
            self.assertTrue(self.is_open(guest, SECOND4))
            self.verb("policy", "reload", "load", str(pair[0]))
            self.assertFalse(self.is_open(guest, SECOND4))


    def test_resets_a_thousand_flows_and_leaves_a_thousand_alone(self):
        """Which is within a second; this is what it takes here, and a bound for a machine that is busy."""
        both = self.policy("both.toml", policy_text([SERVER4, SECOND4]))
        half = self.policy("half.toml", policy_text([SERVER4]))
        with Guest(self.world, ["--policy", str(both), "--name", "many"]) as guest:
            kept, gone = (guest.call("hold_many", within=60, address=address, port=PORT, count=1000)
                          for address in (SERVER4, SECOND4))
            self.assertEqual((kept["errors"], gone["errors"]), ({}, {}))
            self.assertEqual(guest.call("exchange_all", within=60, numbers=kept["numbers"] + gone["numbers"])["right"],
                             2000)
            begin = time.monotonic()
            self.verb("policy", "reload", "many", str(half))
            ended = guest.call("await_resets", within=60, numbers=gone["numbers"])
            seconds = time.monotonic() - begin
            self.assertEqual(ended, {"ends": {"ECONNRESET": 1000}, "still_open": 0})
            print(f"    1,000 of 2,000 flows reset {seconds:.2f} s after the reload was asked for")
            self.assertLess(seconds, 5)
            self.assertEqual(guest.call("exchange_all", within=60, numbers=kept["numbers"]),
                             {"right": 1000, "errors": {}})
            self.assertFalse(self.is_open(guest, SECOND4))


class Learned(NamedTest, Controlled):
    options = [*PUBLIC, "--name", "learned"]

    @classmethod
    def prepare(cls, here):
        for name in ("a", "b", "c"):
            cls.zones.host(f"{name}.cdn.example", OK4, OK6)
        cls.zones.host("asked.example", OK4, OK6)
        cls.zones.host("node.example", OK4, OK6)
        cls.zones.add("_db._tcp.example", "SRV", f"0 5 {PORT} node.example")
        cls.zones.add("_db._tcp.example", "TXT", "authSource=admin")
        cls.zones.add("ok.example", "MX", f"10 node.example")
        cls.make_runtime_folder()
        for address in (OK4, OK6):
            for port in (PORT, 443):
                server = servers.TcpServer(here.ext, address, port, servers.echo)
                cls.addClassCleanup(server.close)
            udp = servers.UdpServer(here.ext, address, PORT)
            cls.addClassCleanup(udp.close)

    def test_processes_that_live_for_a_moment_are_named_in_a_log_too(self):
        source = (f"import socket, os\nfor _ in range(20): socket.create_connection(('{SERVER4}', {PORT})).close()\n"
                  "os._exit(0)")
        log = SCRATCH / "tmp/short.log"
        log.unlink(missing_ok=True)
        self.verb("run", "--log", str(log), *PUBLIC, "--", world.PYTHON, "-c", source)
        events = [json.loads(line) for line in log.read_text().splitlines()]
        opened = [event.get("program", "nobody")[:7] for event in events if event["event"] == "flow_opened"]
        self.assertEqual(len(opened), 20)
        self.assertLessEqual(set(opened), {"python3", "nobody"})
        self.assertGreater(opened.count("python3"), 15)  # without waiting it was six of a hundred

    def test_processes_that_live_for_a_moment_are_named(self):
        """Each connects, or sends, once and has gone; what it is called is the name of its own file."""
        bin_ = SCRATCH / "tmp/moments"
        bin_.mkdir(exist_ok=True)
        names = [f"moment{number}" for number in range(40)]
        for name in names:
            path = bin_ / name
            path.unlink(missing_ok=True)
            shutil.copy(world.PYTHON, path)
        source = ("import os, socket, sys\n"
                  "s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if sys.argv[1] == 'tcp' else socket.SOCK_DGRAM)\n"
                  f"s.connect((sys.argv[2], {PORT}))\n"
                  "if sys.argv[1] == 'udp': s.send(b'x'); s.recv(1)\n"
                  "os._exit(0)")
        loop = "\n".join(f"{bin_}/{name} -c \"$0\" {('tcp', 'udp')[number % 2]} {(SERVER4, 'ok.example')[number // 2 % 2]}"
                         for number, name in enumerate(names))
        log = SCRATCH / "tmp/moments.log"
        log.unlink(missing_ok=True)
        self.verb("learn", "--log", str(log), *PUBLIC, "--", "sh", "-c", loop, source)
        events = [json.loads(line) for line in log.read_text().splitlines()]
        opened = [event.get("program") for event in events if event["event"] == "flow_opened"]
        self.assertEqual(len(opened), len(names))
        # A flow waits for no longer than 250 ms: on a machine that stands still for a moment some may go unnamed.
        named = [program for program in opened if program]
        self.assertGreater(len(named), 3 * len(names) // 4)
        self.assertEqual(set(named) - set(names), set())
        self.assertEqual(len(set(named)), len(named))

    def test_a_policy_is_written_that_lets_the_same_run_pass(self):
        dials = "\n".join(f"    ('{name}', {port})," for name, port in
                          [("ok.example", PORT), ("a.cdn.example", 443), ("b.cdn.example", 443),
                           ("c.cdn.example", 443), (SERVER4, PORT)])
        script = (f"import socket\nfor there in [\n{dials}\n]:\n"
                  "    s = socket.create_connection(there, 5); s.sendall(bytes(4)); s.recv(4); s.close()\n"
                  "try:\n    socket.create_connection(('198.51.100.1', 99), 1)\nexcept OSError:\n    pass\n"
                  "try:\n    socket.getaddrinfo('asked.example', 80)\nexcept OSError:\n    pass\n"
                  "import subprocess\n"
                  "subprocess.run(['ping', '-c1', '-W2', 'ok.example'], check=True, stdout=subprocess.DEVNULL)\n"
                  "def records(name, kind):\n"
                  "    out = subprocess.run(['dig', '+short', name, kind], capture_output=True, check=True).stdout\n"
                  "    return out.decode().split()\n"
                  "records('ok.example', 'TXT')\n"
                  "assert records('_db._tcp.example', 'TXT') == ['\"authSource=admin\"']\n"
                  "assert records('ok.example', 'MX') == ['10', 'node.example.']\n"
                  "assert records('ok.example', 'HTTPS') == []\n"
                  "port, target = records('_db._tcp.example', 'SRV')[2:]\n"
                  "socket.create_connection((target, int(port)), 5).close()\n")
        path, log = SCRATCH / "tmp/learned.toml", SCRATCH / "tmp/learned.log"
        for file in (path, log):
            file.unlink(missing_ok=True)
        classes = [*PUBLIC]
        # What is allowed on top takes nothing of the public internet away.
        closed = self.policy("closed.toml", policy_text(["nothing.example"]))
        self.verb("learn", "--write", str(path), "--log", str(log), *classes, "--allow", "host:1", "--policy",
                  str(closed), "--", world.PYTHON, "-c", script)
        text = path.read_text()
        self.assertRegex(text, rf'(?m)^  "ok\.example:{PORT}", +# first at \d\d:\d\d:\d\d; 1 flow, .*python3')
        self.assertRegex(text, r'(?m)^  "\*\.cdn\.example", +# 3 names: a\.cdn\.example, b\.')
        self.assertRegex(text, rf'(?m)^  "{re.escape(SERVER4)}:{PORT}", +# an address')
        self.assertRegex(text, r'(?m)^  # "198\.51\.100\.1:99", +# was denied, class lan')
        self.assertRegex(text, r'(?m)^  # "asked\.example", +# looked up at \d\d:\d\d:\d\d, never dialled: ')
        self.assertRegex(text, r'(?m)^  "icmp/ok\.example", +# first at .*; ping')
        self.assertRegex(text, r'(?m)^dns  = \["MX"\]\nto = \[\n  "ok\.example:53", # asked at \d\d:\d\d:\d\d\n\]$')
        self.assertRegex(text, r'(?m)^name = "records: SRV, TXT"\ndns  = \["SRV", "TXT"\]\nto = \[\n'
                               r'  "_db\._tcp\.example:53", # asked at \d\d:\d\d:\d\d\n\]$')
        self.assertRegex(text, rf'(?m)^  "node\.example:{PORT}", +# first at')
        self.assertIn('default = "deny"', text)
        self.verb("policy", "check", str(path))
        self.verb("policy", "fmt", "--check", str(path))
        again = self.world.run([world.PYTHON, "-c", script], ["--policy", str(path)])
        self.assertEqual((again.returncode, again.stdout), (0, ""), again.stderr)
        # And what it says about the recorded run is the same.
        said = self.verb("replay", str(path), str(log), status=1)
        self.assertIn("7 of 8 recorded flows would have passed", said)
        narrow = self.policy("narrow.toml", policy_text(["*.cdn.example"]))
        said = self.verb("replay", str(narrow), str(log), status=1)
        self.assertRegex(said, rf"denied +tcp ok\.example:{PORT} +1 +default +python3 +--allow ok\.example:{PORT}")
        self.assertIn("3 of 8 recorded flows", said)
        self.assertRegex(said, r"denied +icmp ok\.example +1 +default +ping +--allow icmp/ok\.example")
        path.write_text("version = 1\n")
        self.assertIn("not one line of it", self.verb("replay", str(narrow), str(path), status=125))


if __name__ == "__main__":
    world.main()
