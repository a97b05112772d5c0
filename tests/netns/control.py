"""A sandbox that runs is spoken to: ps, flows, events, allow, deny, policy reload, ask; and what it did is
learned and replayed. Each denial has a twin that is allowed."""

import contextlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import named
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


class Terminal:
    """A command on a pseudo-terminal of its own, in host; what it writes is gathered."""

    def __init__(self, world_, command):
        with world_.host:
            self.pid, self.master = pty.fork()
            if self.pid == 0:
                with contextlib.suppress(OSError):
                    os.execvpe(command[0], command, {**world_.environment(), "TERM": "xterm", "LESS": "", "EXINIT": ""})
                os._exit(127)
        self.said, self.status = b"", None

    def until(self, words, seconds=15):
        """Everything up to now, once `words` are there."""
        end = time.monotonic() + seconds
        while words not in self.said:
            if time.monotonic() > end or not self._read(0.2):
                raise AssertionError(f"{words} did not come: {self.said}")
        return self.said

    def _read(self, seconds):
        """False at the end."""
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.said += os.read(self.master, 65536)
            except OSError:
                return False
        return True

    def quiet(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read(0.1)
        return self.said

    def type(self, text):
        os.write(self.master, text)

    def end(self, seconds=10):
        """Reads to the end; the exit status."""
        deadline = time.monotonic() + seconds
        while self._read(0.2) and time.monotonic() < deadline:
            pass
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.master)
        return self.status

    def close(self):
        """Nothing of it runs on, however the test ended."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.end()


class Asked(Controlled):
    def answerer(self, name, *answers):
        """cordon ask NAME with these lines typed, one for each question."""
        with self.world.host:
            child = subprocess.Popen([*self.world.credentials(), self.world.program, "ask", name],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                     env=self.world.environment())
        self.assertIn("asking for sandbox", child.stdout.readline())
        shown = []

        def live():
            for answer in answers:
                shown.append(child.stdout.readline())
                child.stdin.write(answer + "\n")
                child.stdin.flush()
                child.stdout.readline()

        thread = threading.Thread(target=live, daemon=True)
        thread.start()

        def end():
            thread.join(10)
            child.stdin.close()
            child.wait(5)
            child.stdout.close()

        self.addCleanup(end)
        return shown

    def test_nobody_there_is_a_no_at_once(self):
        with Guest(self.world, [*PUBLIC, "--name", "nobody", "--ask"]) as guest:
            begin = time.monotonic()
            self.assertFalse(self.is_open(guest, SERVER4))
            self.assertLess(time.monotonic() - begin, 3)
            wait_until(lambda: "nobody could be asked" in guest.said(), "words on stderr")

    def test_answers_on_the_control_socket(self):
        with Guest(self.world, [*PUBLIC, "--name", "asked", "--ask"]) as guest:
            shown = self.answerer("asked", "run", "once", "no")
            with self.world.wire() as wire:
                self.assertTrue(self.is_open(guest, SERVER4))
                self.assertGreater(wire.count(destination=SERVER4), 0)
            self.assertTrue(self.is_open(guest, SERVER4))  # not asked again
            self.assertTrue(self.is_open(guest, SECOND4))
            with self.world.wire() as wire:
                self.assertFalse(self.is_open(guest, SECOND4))
                self.assertEqual(wire.count(destination=SECOND4), 0)
            self.assertRegex(shown[0], rf"python3 \(pid \d+\) wants tcp {re.escape(SERVER4)}:{PORT}")
            self.assertEqual(len(shown), 3)

    def test_always_is_written_into_the_policy_file(self):
        path = self.policy("ask.toml", policy_text([], 'mode = "ask" # as I like it\n'))
        with Guest(self.world, ["--policy", str(path), "--name", "always"]) as guest:
            self.answerer("always", "always")
            self.assertTrue(self.is_open(guest, SERVER4))
        self.assertIn(f'"{SERVER4}:{PORT}"', path.read_text())
        self.assertIn("# as I like it", path.read_text())
        with Guest(self.world, ["--policy", str(path)]) as guest:
            self.assertTrue(self.is_open(guest, SERVER4))
            self.assertFalse(self.is_open(guest, SECOND4))

    def test_always_is_never_written_into_what_came_with_cordon(self):
        preset = SCRATCH / "share/cordon/policies/pypi.toml"
        before, folder = preset.read_text(), preset.parent
        mine = self.policy("mine.toml", policy_text([]))
        try:
            for path in (preset, folder):
                path.chmod(path.stat().st_mode | 0o222)
            for options, said in ((["--ask", *PUBLIC, "--policy", "pypi"], "no policy file to write to"),
                                  (["--ask", "--policy", str(mine), "--policy", "pypi"], str(mine))):
                with Guest(self.world, [*options, "--name", "always"]) as guest:
                    self.answerer("always", "always")
                    self.assertTrue(self.is_open(guest, SERVER4))
                    self.assertIn(said, guest.said())
            self.assertEqual(preset.read_text(), before)
            self.assertIn(f'"{SERVER4}:{PORT}"', mine.read_text())
        finally:
            for path in (preset, folder):
                path.chmod(path.stat().st_mode & ~0o022)

    def test_on_the_terminal_of_a_command_that_reads_something_else(self):
        client = f"import socket; s = socket.create_connection(('{SERVER4}', {PORT}), 20); print('through')"
        command = self.world.arguments(["sh", "-c", f'{world.PYTHON} -c "$0" </dev/null', client], [*PUBLIC, "--ask"])
        # Its standard input is not the terminal; the terminal is the one of its session.
        program = ["sh", "-c", 'exec "$@" </dev/null', "sh", *command]
        with self.world.host:
            pid, master = pty.fork()
            if pid == 0:
                with contextlib.suppress(OSError):
                    os.execvpe(program[0], program, self.world.environment())
                os._exit(127)
        said, is_answered = b"", False
        deadline = time.monotonic() + 25
        while time.monotonic() < deadline and b"through" not in said:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    said += os.read(master, 4096)
                except OSError:
                    break
            if b"never? " in said and not is_answered:
                time.sleep(1)  # as long as a person takes to read it
                os.write(master, b"r\n")
                is_answered = True
        os.waitpid(pid, 0)
        os.close(master)
        self.assertIn(b"wants tcp " + f"{SERVER4}:{PORT}".encode(), said)
        self.assertIn(b"through", said)


    def client(self, name, seconds=20):
        """Words of sh that reach for SERVER4 and write `through` or the error into the file `name`."""
        source = (f"import socket\ntry:\n  socket.create_connection(('{SERVER4}', {PORT}), {seconds}); said = 'through'\n"
                  f"except OSError as error:\n  said = str(error)\nopen('{name}', 'w').write(said)")
        path = SCRATCH / "tmp/client.py"
        path.write_text(source)
        return f"{world.PYTHON} {path}"

    def outcome(self, name, seconds=15):
        path = pathlib.Path(name)
        wait_until(lambda: path.exists() and path.read_text(), "the client's word", seconds)
        said = path.read_text()
        path.unlink()
        return said

    def on_terminal(self, script, *options):
        terminal = Terminal(self.world, self.world.arguments(["sh", "-c", script], [*PUBLIC, "--ask", *options]))
        self.addCleanup(terminal.close)
        return terminal

    ASKED = rb"cordon: python3 \(pid \d+\) wants tcp " + re.escape(f"{SERVER4}:{PORT}").encode() + rb", id=1"

    def test_full_screen_program_is_not_written_over_and_cordon_ask_answers(self):
        word = f"{SCRATCH}/tmp/word"
        for number, (program, leave) in enumerate(((b"less /etc/services", b"q"), (b"vim -u NONE -n /etc/services", b":q!\r"),
                                                   (b"top", b"q"))):
            with self.subTest(program):
                name = f"screen{number}"
                terminal = self.on_terminal(f"(sleep 2; exec {self.client(word)}) </dev/null >/dev/null 2>&1 & exec {program.decode()}",
                                            "--name", name)
                said = terminal.until(b"\a")  # the bell: somebody wants something
                said = terminal.quiet(1)
                self.assertNotIn(b"cordon:", said)
                shown = self.answerer(name, "once")
                self.assertEqual(self.outcome(word), "through")
                self.assertIn(f"wants tcp {SERVER4}:{PORT}", shown[0])
                self.assertNotIn(b"cordon:", terminal.quiet(0.5))
                terminal.type(leave)
                self.assertEqual(terminal.end(), 0)
                self.assertRegex(terminal.said, self.ASKED + rf"; to answer: cordon ask {name}\r\n".encode())

    def test_denial_waits_for_the_end_of_a_full_screen_program(self):
        word = f"{SCRATCH}/tmp/word"
        terminal = Terminal(self.world, self.world.arguments(
            ["sh", "-c", f"(sleep 2; exec {self.client(word, 3)}) </dev/null >/dev/null 2>&1 & less /etc/services; echo left; sleep 1"],
            [*PUBLIC, "--deny", SERVER4]))
        self.assertIn("refused", self.outcome(word))
        self.assertNotIn(b"cordon:", terminal.quiet(0.5))
        terminal.type(b"q")
        said = terminal.until(b"left")
        # Without waiting for the command's end.
        said = terminal.until(b"cordon: denied tcp " + SERVER4.encode())
        self.assertNotIn(b"1 flow was denied", said)
        self.assertEqual(terminal.end(), 0)
        self.assertIn(b"1 flow was denied", terminal.said)

    def answers(self, terminal, keys):
        """A person's answer to the question that stands there now."""
        self.assertRegex(terminal.until(b"never? "), self.ASKED)
        time.sleep(1)
        terminal.type(keys)

    def test_at_once_on_the_terminal_that_the_command_has_and_does_not_read(self):
        word = f"{SCRATCH}/tmp/word"
        # With nothing but a connect(), and with poll() and epoll for it, as curl and node wait.
        waits = ("", "poll = select.poll(); poll.register(s, select.POLLOUT); poll.poll(20000)",
                 "poll = select.epoll(); poll.register(s, select.EPOLLOUT); poll.poll(20)",
                 "select.select([], [s], [], 20)")
        for wait in waits:
            with self.subTest(wait):
                connect = "s.connect" if not wait else "s.setblocking(False); s.connect_ex"
                source = (f"import select, socket\ns = socket.socket(); s.settimeout(20); {connect}(('{SERVER4}', {PORT}))\n"
                          f"{wait}\ns.getpeername(); open('{word}', 'w').write('through')")
                path = SCRATCH / "tmp/waiting.py"
                path.write_text(source)
                begin = time.monotonic()
                terminal = self.on_terminal(f"echo words; {world.PYTHON} {path}")
                self.answers(terminal, b"o\n")
                self.assertLess(time.monotonic() - begin, 6)
                self.assertEqual(self.outcome(word), "through")
                self.assertEqual(terminal.end(), 0)

    def test_not_on_the_terminal_while_the_command_reads_it(self):
        word = f"{SCRATCH}/tmp/word"
        sources = ("input()", "import select; select.select([0], [], []); input()",
                   "import select; p = select.poll(); p.register(0, select.POLLIN); p.poll(); input()",
                   "import select; p = select.epoll(); p.register(0, select.EPOLLIN); p.poll(); input()")
        for number, source in enumerate(sources):
            for more in ((), ("--new-session",)):
                with self.subTest(source, more=more):
                    name = f"reads{number}"
                    is_reading = "grep -q 'python.*) S' /proc/$$/stat"
                    terminal = self.on_terminal(
                        f"(until {is_reading} && sleep 0.5 && {is_reading}; do sleep 0.1; done; exec {self.client(word)}) "
                        f"</dev/null & exec {world.PYTHON} -c '{source}'", "--name", name, *more)
                    said = terminal.until(f"to answer: cordon ask {name}\r\n".encode())
                    self.assertNotIn(b"never? ", said)
                    self.answerer(name, "once")
                    self.assertEqual(self.outcome(word), "through")
                    terminal.type(b"a line\n")
                    self.assertEqual(terminal.end(), 0)

    def test_steps_aside_when_the_command_begins_to_read(self):
        word = f"{SCRATCH}/tmp/word"
        terminal = self.on_terminal(f"{self.client(word)} </dev/null & sleep 3; read line; echo got $line; wait",
                                    "--name", "aside")
        terminal.until(b"never? ")
        self.assertRegex(terminal.until(b"to answer: cordon ask aside\r\n"), rb"the command has the terminal now")
        terminal.type(b"o\n")
        terminal.until(b"got o")
        self.answerer("aside", "once")
        self.assertEqual(self.outcome(word), "through")
        self.assertEqual(terminal.end(), 0)

    def test_what_was_typed_ahead_is_the_commands(self):
        word = f"{SCRATCH}/tmp/word"
        terminal = self.on_terminal(f"echo ready; sleep 1; {self.client(word)} </dev/null; read line; echo got $line",
                                    "--name", "ahead")
        terminal.until(b"ready")
        terminal.type(b"y\n")
        said = terminal.until(b"to answer: cordon ask ahead\r\n")
        self.assertNotIn(b"never? ", said)
        self.answerer("ahead", "once")
        self.assertEqual(self.outcome(word), "through")
        terminal.until(b"got y")
        self.assertEqual(terminal.end(), 0)

    def test_in_a_session_of_its_own_what_is_typed_is_the_answer(self):
        word = f"{SCRATCH}/tmp/word"
        terminal = self.on_terminal(f"{self.client(word)}; read line; echo got $line", "--new-session", "--name",
                                    "session")
        self.answers(terminal, b"x\x7fon\x7f\r")
        terminal.until(b"x\b \bon\b \b\r\n")
        self.assertEqual(self.outcome(word), "through")
        terminal.type(b"mine\n")
        terminal.until(b"got mine")
        self.assertEqual(terminal.end(), 0)

    def test_in_a_session_of_its_own_an_interrupt_is_the_commands(self):
        terminal = self.on_terminal(self.client(f"{SCRATCH}/tmp/none"), "--new-session")
        self.answers(terminal, b"\x03")
        self.assertEqual(terminal.end(), 128 + 2)

    SHELLS = (("bash", "--norc", "--noprofile", "-i"), ("sh", "-i"))

    def in_shell(self, shell, *options):
        terminal = Terminal(self.world, self.world.arguments(["env", "ENV=", "PS1=INNER> ", *shell],
                                                             [*PUBLIC, "--ask", *options]))
        terminal.until(b"INNER> ")
        return terminal

    def test_under_a_shell_with_job_control_a_line_says_how_to_answer(self):
        word = f"{SCRATCH}/tmp/word"
        for number, shell in enumerate(self.SHELLS):
            with self.subTest(shell):
                terminal = self.in_shell(shell, "--name", f"shell{number}")
                terminal.type(self.client(word).encode() + b"\n")
                said = terminal.until(f"to answer: cordon ask shell{number}\r\n".encode())
                self.assertRegex(said, self.ASKED)
                self.answerer(f"shell{number}", "once")
                self.assertEqual(self.outcome(word), "through")
                terminal.type(b"exit 4\n")
                # dash wants to give the terminal back to the group that it was started in, which has no number in
                # its pid namespace, and ends with 2 for it.
                self.assertEqual(terminal.end(), 4 if shell[0] == "bash" else 2, terminal.said)

    def test_in_a_session_of_its_own_the_jobs_of_a_shell_are_asked_about_there(self):
        word = f"{SCRATCH}/tmp/word"
        for shell in self.SHELLS:
            with self.subTest(shell):
                terminal = self.in_shell(shell, "--new-session")
                terminal.type(self.client(word).encode() + b"\n")
                self.answers(terminal, b"o\r")
                self.assertEqual(self.outcome(word), "through")
                terminal.type(b"exit 4\n")
                self.assertEqual(terminal.end(), 4)


class ByName(NamedTest, Controlled):
    options = [*PUBLIC, "--name", "names", "--ask"]

    @classmethod
    def prepare(cls, here):
        cls.make_runtime_folder()
        for address in (OK4, OK6):
            server = servers.TcpServer(here.ext, address, PORT, servers.echo)
            cls.addClassCleanup(server.close)

    def test_a_name_is_asked_about_before_anybody_hears_of_it(self):
        begin = len(self.zones.asked("ok.example"))
        denied = self.guest.attempt(source=f"socket.create_connection(('ok.example', {PORT}), 3)")
        self.assertIsNotNone(denied["error"])
        self.assertEqual(len(self.zones.asked("ok.example")), begin)
        self.verb("allow", "names", f"ok.example:{PORT}")
        got = self.guest.attempt(source=f"socket.create_connection(('ok.example', {PORT}), 5).close()")
        self.assertEqual(got.get("value"), "None", got)
        self.assertGreater(len(self.zones.asked("ok.example")), begin)


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
        self.assertEqual(opened, 20 * ["python3"])

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
        self.assertEqual(sorted(map(str, opened)), sorted(names))

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


assert pathlib and named

if __name__ == "__main__":
    world.main()
