"""Who is asked about a flow that no rule has, and what becomes of the answer: on a terminal, beside full-screen programs
and shells, and by `cordon ask` from another one."""

import contextlib
import os
import pathlib
import pty
import re
import select
import signal
import socket
import subprocess
import threading
import time

import servers
import world
from control import PORT, Controlled, policy_text
from named import OK4, OK6, NamedTest
from world import PUBLIC, SCRATCH, SECOND4, SERVER4, Guest, wait_until


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
                    wait_until(lambda: said in guest.said(), f"{said} to be told: {guest.said()}")
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


if __name__ == "__main__":
    world.main()
