"""The walls while the program works (reliability.md §9.4): the system calls that a translator makes over whole
modules of these tests are those of its table (I-06), and nothing leaves before it is sealed or after it has
died (I-10)."""

import contextlib
import importlib
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

import servers
import world
from world import (FAMILIES, IS_FULL, PUBLIC, PYTHON, SCRATCH, SECOND4, SERVER4, SERVER6, Guest, NetworkTest, stop,
                   wait_until)

PORT = 9701
TABLE = pathlib.Path(__file__).resolve().parents[2] / "sandbox/translator_syscalls.cc"
# What they do covers what a translator does in its life. Each call takes ten times as long under strace, so
# only the long run has everything.
RELAYED = tuple(f"workers.TwoWorkers.test_{name}" for name in (
    "both_ways_at_once_arrive_whole", "a_half_that_is_open_stays_open_behind_bulk", "a_reset_by_the_guest_is_a_reset",
    "a_stream_that_is_denied_is_reset_within_a_second_and_another_goes_on"))
TRACED = (("tcp", "udp", "icmp", "dns", "publish", "policy", "workers.TwoWorkers") if IS_FULL else
          ("tcp.Ends", "tcp.OptionsOff", "udp.Datagrams", "icmp", "dns", "publish", *RELAYED))


def status_field(pid, name):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return re.search(rf"^{name}:\s+(\S+)", text, re.MULTILINE)[1]


class TracedGuest(Guest):
    """A guest whose translator strace follows, from the moment on when the guest's command runs."""

    seen = {}  # call: how often, over all guests

    def __init__(self, where, options=PUBLIC, direct=world.IS_DIRECT, **popen):
        super().__init__(where, options, direct, **popen)
        self.tracer = None
        if direct:
            return
        translator = where.parts(self.process.pid)["translator"]
        self.summary = SCRATCH / f"tmp/strace-{translator}"
        self.tracer = subprocess.Popen(["strace", "-c", "-f", "-U", "calls,name", "-o", str(self.summary), "-p",
                                        str(translator)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: status_field(translator, "TracerPid") != "0", "strace to follow the translator")

    def close(self):
        super().close()
        if self.tracer is None:
            return
        try:
            self.tracer.wait(10)
        except subprocess.TimeoutExpired:
            self.tracer.send_signal(signal.SIGINT)
            self.tracer.wait(10)
        self.tracer = None
        for line in self.summary.read_text().splitlines():
            words = line.split()
            if len(words) == 2 and words[0].isdigit() and words[1] != "total":
                self.seen[words[1]] = self.seen.get(words[1], 0) + int(words[0])


class SystemCalls(unittest.TestCase):
    """I-06. The filter would have killed a translator that made another call; that it is on, and that the
    table is what it enforces, is seen from outside here."""

    maxDiff = None

    def test_of_whole_modules_are_those_of_the_table(self):
        original, world.Guest = world.Guest, TracedGuest
        self.addCleanup(setattr, world, "Guest", original)
        outcome = unittest.TestResult()
        for name in TRACED:
            importlib.import_module(name.split(".")[0])
        # As one suite: a class whose tests stand behind each other is set up once.
        unittest.defaultTestLoader.loadTestsFromNames(TRACED).run(outcome)
        problems = [f"{test}: {text}" for test, text in outcome.failures + outcome.errors]
        self.assertEqual("\n".join(problems), "")
        self.assertGreater(outcome.testsRun, 40)
        permitted = set(re.findall(r"SCMP_SYS\((\w+)\)", TABLE.read_text()))
        self.assertGreater(len(permitted), 30)
        self.assertEqual(set(TracedGuest.seen) - permitted, set())
        # The trace is one of work, not of an idle process.
        for call in ("epoll_wait", "splice", "accept4", "setsockopt", "sendmsg", "recvmsg", "readv", "writev"):
            self.assertGreater(TracedGuest.seen.get(call, 0), 10, TracedGuest.seen)


class Nothing(NetworkTest):
    """I-10. Counted on the host's veth, where every packet that leaves is seen."""

    # Whatever a guest can try; each is answered by a server outside while all is well.
    TRIES = ("import os, socket, time\n"
             "def attempt(call):\n"
             "    try: call()\n"
             "    except OSError: pass\n"
             "def knock(kind, address, data):\n"
             "    family = socket.AF_INET6 if ':' in address else socket.AF_INET\n"
             "    with socket.socket(family, kind) as s:\n"
             "        s.settimeout(0.5); s.connect((address, %d)); s.send(data)\n"
             "def knock_all():\n"
             "    for address in ('%s', '%s', '%s'):\n"
             "        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):\n"
             "            attempt(lambda: knock(kind, address, b'x'))\n"
             "        attempt(lambda: os.system('ping -c1 -W1 ' + address + ' >/dev/null 2>&1'))\n"
             % (PORT, SERVER4, SERVER6, SECOND4))

    @classmethod
    def setUpClass(cls):
        cls.world = world.World.get()
        for _, address in FAMILIES:
            for server in (servers.TcpServer(cls.world.ext, address, PORT, servers.echo),
                           servers.UdpServer(cls.world.ext, address, PORT)):
                cls.addClassCleanup(server.close)

    @staticmethod
    def left(wire):
        """Packets that left to where the guest has tried to go."""
        return [p for p in wire.packets() if p["leaves"] and p["destination"] in (SERVER4, SERVER6, SECOND4)]

    def start(self, name, before=()):
        """A command that says that it runs, by a file, and then knocks everywhere, again and again."""
        mark = SCRATCH / "tmp" / name
        child = self.world.start(
            [PYTHON, "-c", f"{self.TRIES}\nopen('{mark}', 'w')\nwhile True: knock_all()"], PUBLIC, before=before,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(stop, child)
        return child, mark

    def child_of(self, pid, what):
        """Its first child that is the program; strace has others for a moment, by which it tries out ptrace()."""
        found = []

        def look():
            for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                with contextlib.suppress(OSError):
                    if "cordon" in pathlib.Path(f"/proc/{child}/comm").read_text():
                        found.append(int(child))
            return found
        wait_until(look, what)
        return found[0]

    def is_sealed(self, pid):
        try:
            return status_field(pid, "Seccomp") == "2"
        except OSError:
            return False

    def test_leaves_before_the_translator_is_sealed(self):
        """Held at each of the calls by which it isolates itself, the last being the filter, its guest does not
        run and nothing leaves for it; a moment later the same run works."""
        for call in ("unshare", "pivot_root", "setsid", "prlimit64", "capset", "landlock_restrict_self", "seccomp"):
            # strace makes the call of each process take a third of a second longer.
            before = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                      "-e", f"inject={call}:delay_enter=333000"]
            with self.subTest(call=call), self.world.wire() as wire:
                tracer, mark = self.start(f"early-{call}", before)
                supervisor = self.child_of(tracer.pid, "the supervisor")
                translator = self.child_of(supervisor, "the translator")
                looks = 0
                while True:
                    ran, left = mark.exists(), self.left(wire)
                    if self.is_sealed(translator):
                        break
                    self.assertFalse(ran, "the command runs before the translator is sealed")
                    self.assertEqual(left, [])
                    looks += 1
                    time.sleep(0.02)
                self.assertGreater(looks, 5, "the translator was not held")
                wait_until(lambda: self.left(wire), "the twin that is allowed to work", 15)
                self.assertTrue(mark.exists())
                os.kill(supervisor, signal.SIGKILL)
                tracer.wait(5)

    def test_leaves_after_the_translators_death(self):
        """Even where nobody ends the guest: its supervisor stands still."""
        with self.world.wire() as wire:
            child, _ = self.start("late")
            wait_until(lambda: self.left(wire), "the twin that is allowed to work", 15)
            parts = self.world.parts(child.pid)
            os.kill(child.pid, signal.SIGSTOP)
            os.kill(parts["translator"], signal.SIGKILL)
            wait_until(lambda: not self.world.alive(parts["translator"]), "the translator to end")
        time.sleep(0.1)
        with self.world.wire() as wire:
            time.sleep(4)  # several rounds of knocks
            self.assertTrue(self.world.alive(parts["init"]), "the guest is there, and knocks")
            self.assertEqual(self.left(wire), [])
        os.kill(child.pid, signal.SIGCONT)
        self.assertEqual(child.wait(5), 125)


if __name__ == "__main__":
    world.main()
