"""The user's terminal: typing into it is refused, job control and full-screen programs work.

    terminal_test.py CORDON
"""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
import unittest

CORDON = sys.argv[1]
TIOCSTI = 0x5412
TIOCLINUX = 0x541C


class Shell:
    """An interactive bash on a terminal of its own."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(PS1="PROMPT> ", TERM="xterm")
            os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
        self.unread = ""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
        self.until("PROMPT> ")

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, text, seconds=15):
        """What comes up to and with `text`; what comes behind it is for the next call."""
        deadline = time.monotonic() + seconds
        while text not in self.unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"{text!r} did not come: {self.unread!r}")
            self.unread += os.read(self.fd, 65536).decode(errors="replace")
        end = self.unread.index(text) + len(text)
        seen, self.unread = self.unread[:end], self.unread[end:]
        return seen

    def does(self, line):
        """What a command line prints, up to the next prompt."""
        self.type(line + "; echo end=$?.\n")
        self.until("$?.\r\n")  # the terminal's echo
        return self.until("end=") + self.until("PROMPT> ")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


class Terminal(unittest.TestCase):
    def setUp(self):
        self.shell = Shell()
        self.addCleanup(self.shell.close)

    def test_cannot_be_typed_into(self):
        script = ("import fcntl,errno,ctypes\n"
                  "libc=ctypes.CDLL(None,use_errno=True)\n"
                  f"for request in ({TIOCSTI},{TIOCLINUX},{TIOCSTI}|1<<32,{TIOCLINUX}|1<<32):\n"
                  "  ctypes.set_errno(0)\n"
                  "  outcome=libc.syscall(ctypes.c_long(16),ctypes.c_long(0),ctypes.c_ulong(request),b'x')\n"
                  "  print(outcome, errno.errorcode.get(ctypes.get_errno()))\n")
        path = f"/tmp/cordon-typing-{os.getpid()}.py"
        with open(path, "w") as file:
            file.write(script)
        self.addCleanup(os.unlink, path)
        for options in ("", "--new-session", "--offline"):
            seen = self.shell.does(f"{CORDON} run {options} -- {sys.executable} {path}")
            self.assertEqual(seen.count("-1 EPERM"), 4, seen)
            self.assertIn("end=0.", seen)

    def test_interrupt_reaches_the_command_once(self):
        self.shell.type(f"{CORDON} run -- sh -c 'trap \"echo hit\" INT; echo up; sleep 1; sleep 1; exit 3'\n")
        self.shell.until("up\r\n")
        time.sleep(0.4)  # dash loses an interrupt that comes while it starts a program
        self.shell.type("\x03")
        seen = self.shell.until("PROMPT> ")
        self.assertEqual(seen.count("hit"), 1, seen)
        self.assertIn("end=3.", self.shell.does("(exit $?)"))

    def test_interrupt_ends_an_ordinary_command(self):
        self.shell.type(f"{CORDON} run -- sh -c 'echo up; sleep 30'\n")
        self.shell.until("up\r\n")
        time.sleep(0.4)  # dash loses an interrupt that comes while it starts a program
        self.shell.type("\x03")
        self.shell.until("PROMPT> ", 3)
        self.assertIn("end=130.", self.shell.does("(exit $?)"))

    def test_stop_and_foreground(self):
        self.shell.type(f"{CORDON} run -- sh -c 'echo up; read line; echo got $line; exit 5'\n")
        self.shell.until("up\r\n")
        self.shell.type("\x1a")
        self.shell.until("Stopped")
        self.shell.until("PROMPT> ")
        self.shell.type("fg\n")
        time.sleep(0.3)
        self.shell.type("words\n")
        self.shell.until("got words")
        self.shell.until("PROMPT> ")
        self.assertIn("end=5.", self.shell.does("(exit $?)"))

    def test_shell_inside_has_job_control(self):
        self.shell.type(f"PS1='INNER> ' {CORDON} run -- bash --norc --noprofile --noediting -i\n")
        self.shell.until("INNER> ")
        self.shell.type("sleep 40\n")
        time.sleep(0.3)
        self.shell.type("\x1a")
        self.shell.until("Stopped")
        self.shell.type("kill -9 %1; sleep 0.5; exit 6\n")
        self.shell.until("PROMPT> ")
        self.assertIn("end=6.", self.shell.does("(exit $?)"))

    def test_size_is_seen_and_follows(self):
        for options in ("", "--new-session"):
            self.assertIn("31 97", self.shell.does(f"{CORDON} run {options} -- stty size"))
            script = "trap \"stty size; exit\" WINCH; echo up; while :; do sleep 0.05; done"
            self.shell.type(f"{CORDON} run {options} -- sh -c '{script}'\n")
            self.shell.until("up\r\n")
            fcntl.ioctl(self.shell.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            self.shell.until("40 120")
            self.shell.until("PROMPT> ")
            fcntl.ioctl(self.shell.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))

    def test_new_session_has_another_terminal_and_gives_ours_back(self):
        before = self.shell.does("stty -g")
        outer = self.shell.does("tty").split()[0]
        inner = self.shell.does(f"{CORDON} run --new-session -- tty").split()[0]
        self.assertTrue(inner.startswith("/dev/pts/"), inner)
        self.assertNotEqual(inner, outer)
        self.assertEqual(self.shell.does("stty -g"), before)
        self.assertIn("end=0.", self.shell.does(f"echo a line | {CORDON} run --new-session -- grep line"))

    def test_interrupt_in_a_new_session(self):
        self.shell.type(f"{CORDON} run --new-session -- sh -c 'echo up; sleep 30'\n")
        self.shell.until("up\r\n")
        time.sleep(0.4)  # dash loses an interrupt that comes while it starts a program
        self.shell.type("\x03")
        self.shell.until("PROMPT> ", 3)
        self.assertIn("end=130.", self.shell.does("(exit $?)"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
