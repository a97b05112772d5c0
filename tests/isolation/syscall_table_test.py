"""The table of permitted system calls against the sources (I-06), and the list of isolation steps against
the test that makes each fail (I-08).

In netstack/host every system call has a comment beside it, `// syscalls: NAME NAME(what)`. What is named
there must be in the table; what is in the table must be named there, or be what the C library or the
kernel calls by itself.

    syscall_table_test.py SOURCE_DIRECTORY
"""
import pathlib
import re
import sys
import unittest

SOURCE = pathlib.Path(sys.argv[1])

# Nobody writes these: allocation, threads, signals, the end; and forms of one call that the C library
# chooses between.
BY_THEMSELVES = {
    "mmap", "mprotect", "mremap", "munmap", "madvise", "brk", "futex", "rt_sigreturn", "rt_sigprocmask",
    "restart_syscall", "sched_yield", "gettid", "getpid", "tgkill", "exit", "exit_group", "epoll_pwait",
}


def commented():
    calls, options = set(), set()
    for path in (SOURCE / "netstack" / "host").rglob("*.cc"):
        for comment in re.findall(r"syscalls: (.*)", path.read_text()):
            for name in re.sub(r"\([^)]*\)", " ", comment).split():
                calls.add(name.strip(".,;"))
    return calls


def table():
    text = (SOURCE / "sandbox" / "translator_syscalls.cc").read_text()
    calls = set(re.findall(r"SCMP_SYS\((\w+)\)", text))
    options = set(re.findall(r"(?:set|get)_option\(SOL_\w+, (\w+)", text))
    return calls, options


class SyscallTable(unittest.TestCase):
    def test_every_commented_call_is_permitted(self):
        self.assertEqual(commented() - table()[0], set())

    def test_every_permitted_call_is_commented(self):
        self.assertEqual(table()[0] - commented() - BY_THEMSELVES, set())

    def test_every_permitted_option_is_used(self):
        sources = "".join(path.read_text() for path in (SOURCE / "netstack" / "host").rglob("*.cc"))
        names = {"kTcpRepairWindow": "TCP_REPAIR_WINDOW", "kUdpGro": "UDP_GRO"}
        unused = {name for name in table()[1] if names.get(name, name) not in sources}
        self.assertEqual(unused, set())


class Steps(unittest.TestCase):
    def test_each_is_made_to_fail(self):
        test = (SOURCE / "tests" / "isolation" / "fail_closed_test.cc").read_text()
        for actor in ("translator", "guest"):
            text = (SOURCE / "sandbox" / f"{actor}_isolation.cc").read_text()
            steps = re.findall(r'steps\.check\(\s*"([^"]+)"', text)
            self.assertGreater(len(steps), 10)
            for step in steps:
                self.assertIn(f'"{actor}: {step}"', test)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
