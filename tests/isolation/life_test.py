"""How a sandbox ends: exit statuses, signals, orphans, and kill -9 of each part at any moment.

    life_test.py CORDON
"""
import os
import random
import signal
import subprocess
import sys
import time
import unittest

CORDON = sys.argv[1]
KILLS = 20


def text_of(path):
    with open(path) as file:
        return file.read()


def start(*command, options=(), **kwargs):
    return subprocess.Popen([CORDON, "run", *options, "--", *command], text=True, **kwargs)


def status_of(*command, options=()):
    process = start(*command, options=options, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    words = process.communicate(timeout=60)
    return process.returncode, *words


def processes():
    """Every process: its arguments and its state."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            arguments = text_of(f"/proc/{pid}/cmdline")
            state = text_of(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        found[int(pid)] = (arguments, state)
    return found


def left_of(mark):
    return [pid for pid, (arguments, state) in processes().items()
            if mark in arguments and state != "Z"]


class ExitStatus(unittest.TestCase):
    def test_is_the_commands(self):
        for options in ([], ["--offline"]):
            self.assertEqual(status_of("sh", "-c", "exit 7", options=options)[0], 7)

    def test_of_a_signal_is_128_and_its_number(self):
        self.assertEqual(status_of("sh", "-c", "kill -TERM $$")[0], 128 + signal.SIGTERM)
        self.assertEqual(status_of("sh", "-c", "kill -KILL $$")[0], 128 + signal.SIGKILL)

    def test_of_what_cannot_be_executed_is_said(self):
        status, _, words = status_of("./not-there")
        self.assertEqual((status, words), (127, "cordon: ./not-there: there is no such file; write the path of one that is there (to see "
                                           "them: ls .)\n"))
        status, _, words = status_of("/etc/passwd")
        self.assertEqual((status, words), (126, "cordon: /etc/passwd: it may not be executed; to permit that: chmod "
                                           "+x /etc/passwd\n"))


class Signals(unittest.TestCase):
    def test_sent_to_the_supervisor_reach_the_command_once(self):
        script = ("import signal,sys,time\nseen=[]\n"
                  "for n in (1,2,3,10,12,15,28): signal.signal(n, lambda n,_: seen.append(n))\n"
                  "print('ready', flush=True)\n"
                  "end=time.time()+2.5\n"
                  "while time.time()<end: time.sleep(0.02)\n"
                  "print(sorted(seen))")
        for options in ([], ["--offline"], ["--new-session"]):
            process = start(sys.executable, "-c", script, options=options, stdout=subprocess.PIPE)
            self.assertEqual(process.stdout.readline(), "ready\n")
            for number in (1, 2, 3, 10, 12, 15, 28):
                process.send_signal(number)
                time.sleep(0.1)
            self.assertEqual(process.communicate(timeout=30)[0], "[1, 2, 3, 10, 12, 15, 28]\n", options)

    def test_sent_to_the_whole_group_reach_the_command_once(self):
        script = ("import signal,sys,time\nseen=[]\n"
                  "for n in (2,15): signal.signal(n, lambda n,_: seen.append(n))\n"
                  "print('ready', flush=True)\n"
                  "end=time.time()+1.5\n"
                  "while time.time()<end: time.sleep(0.02)\n"
                  "print(sorted(seen))")
        process = start(sys.executable, "-c", script, stdout=subprocess.PIPE, start_new_session=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        for number in (2, 15):
            os.killpg(process.pid, number)
            time.sleep(0.2)
        self.assertEqual(process.communicate(timeout=30)[0], "[2, 15]\n")

    def test_dispositions_are_the_callers(self):
        def ignore_hup():
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        process = start("grep", "SigIgn", "/proc/self/status", stdout=subprocess.PIPE,
                        preexec_fn=ignore_hup, restore_signals=True)
        ignored = int(process.communicate(timeout=30)[0].split()[1], 16)
        self.assertTrue(ignored & 1 << signal.SIGHUP - 1)
        self.assertFalse(ignored & 1 << signal.SIGPIPE - 1)
        blocked = status_of("grep", "SigBlk", "/proc/self/status")[1].split()[1]
        self.assertEqual(int(blocked, 16), 0)


    def test_a_caller_that_ignores_its_children_changes_nothing(self):
        process = start("sh", "-c", "exit 9",
                        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        self.assertEqual(process.wait(10), 9)


class Orphans(unittest.TestCase):
    def test_are_reaped(self):
        script = "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; sleep 0.5; ps -eo stat | grep -c Z"
        self.assertEqual(status_of("sh", "-c", script)[1], "0\n")

    def test_end_with_the_command(self):
        mark = f"31.{os.getpid()}1"
        self.assertEqual(status_of("sh", "-c", f"setsid sleep {mark} & exit 4")[0], 4)
        self.assertEqual(left_of(mark), [])


class Killed(unittest.TestCase):
    """20 times each, at a random moment from the first to well after the start."""

    def killed(self, part, number):
        mark = f"32.{os.getpid()}{number:03}"
        process = start("sh", "-c", f"sleep {mark} & sleep {mark}", stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, 0.15))
        try:
            children = text_of(f"/proc/{process.pid}/task/{process.pid}/children").split()
        except OSError:
            children = []
        target = {"supervisor": [process.pid], "translator": children[:1], "guest": children[1:2]}[part]
        for pid in target:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass  # it was the helper, which is gone by itself
        return mark, process, bool(target)

    def expect_nothing_left(self, part, statuses):
        killed = 0
        for number in range(KILLS):
            mark, process, was_there = self.killed(part, number)
            if not was_there or (part == "guest" and process.poll() is None and not self.ends(process)):
                process.kill()  # too early for that part, or the helper was hit: nothing to see here
                process.wait()
            else:
                killed += 1
                self.assertIn(process.wait(5), statuses)
            deadline = time.monotonic() + 1
            while left_of(mark) and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertEqual(left_of(mark), [], part)
        self.assertGreater(killed, KILLS // 4)

    @staticmethod
    def ends(process):
        try:
            process.wait(2)
            return True
        except subprocess.TimeoutExpired:
            return False

    def test_supervisor(self):
        self.expect_nothing_left("supervisor", [-signal.SIGKILL])

    def test_translator(self):
        self.expect_nothing_left("translator", [125])

    def test_guest_init(self):
        self.expect_nothing_left("guest", [125, 128 + signal.SIGKILL])

    def test_translator_is_said(self):
        process = start("sleep", "60", stderr=subprocess.PIPE)
        time.sleep(0.4)
        children = text_of(f"/proc/{process.pid}/task/{process.pid}/children").split()
        os.kill(int(children[0]), signal.SIGKILL)
        words = process.communicate(timeout=10)[1]
        self.assertEqual(process.returncode, 125)
        self.assertIn("translator killed by SIGKILL", words)

    def test_translator_takes_a_stubborn_guest_along(self):
        process = start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done",
                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.assertEqual(process.stdout.readline(), "ready\n")
        children = text_of(f"/proc/{process.pid}/task/{process.pid}/children").split()
        started = time.monotonic()
        os.kill(int(children[0]), signal.SIGKILL)
        self.assertEqual(process.wait(5), 125)
        self.assertLess(time.monotonic() - started, 1.5)
        process.stdout.close()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
