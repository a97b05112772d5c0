"""The command's surroundings: exit status, signals, streams, ids, descriptors, files, terminal, orphans."""

import json
import os
import pathlib
import pty
import re
import shlex
import signal
import socket
import subprocess
import time
import unittest

import world
from world import AS_USER, HOST4, ORDINARY_USER, PUBLIC, PYTHON, SCRATCH, World, stop, wait_until

NOTHING = []
CAP_SETFCAP = 31


class RunTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World.get()

    def sh(self, script, options=NOTHING, **popen):
        return self.world.run(["sh", "-c", script], options, **popen)

    def started(self, script, options=NOTHING, **popen):
        """A run whose script has printed "ready"."""
        popen = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
        child = self.world.start(["sh", "-c", script], options, text=True, **popen)
        self.addCleanup(stop, child)
        self.assertEqual(child.stdout.readline(), "ready\n", child.poll() is not None and child.stderr.read())
        return child


class ExitStatus(RunTest):
    def test_is_the_commands(self):
        for status in (0, 1, 7, 125, 255):
            self.assertEqual(self.sh(f"exit {status}").returncode, status)

    def test_of_a_signal_is_128_and_its_number(self):
        for name in ("TERM", "KILL", "SEGV", "USR1"):
            with self.subTest(name):
                got = self.sh(f"kill -{name} $$")
                self.assertEqual(got.returncode, 128 + getattr(signal, f"SIG{name}"), got)

    def test_of_a_command_that_is_not_there_is_127(self):
        for command in ("/no/such/program", "no-such-program"):
            got = self.world.run([command], NOTHING)
            self.assertEqual(got.returncode, 127, got)
            self.assertIn(command, got.stderr)

    def test_of_a_command_that_cannot_be_executed_is_126(self):
        file = SCRATCH / "tmp/not-executable"
        file.write_text("text")
        file.chmod(0o644)
        self.assertEqual(self.world.run([str(file)], NOTHING).returncode, 126)
        self.assertEqual(self.world.run(["/etc"], NOTHING).returncode, 126)

    def test_of_our_own_errors_is_125_and_the_command_never_starts(self):
        marker = SCRATCH / "tmp/started"
        for options in (["--no-such-option"], ["--allow", "not an address"], ["--allow", "198.51.100.0/33"],
                        ["--allow", "198.51.100.1/24"], ["--allow", "*"], ["--publish", "x:y"],
                        ["--mtu", "100"], ["--workers", "17"], ["--class", "public=127.0.0.0/8"], ["--class", "self=10.0.0.0/8"],
                        ["--deny", "198.51.100.1:0"], ["--deny", "198.51.100.1:90-80"],
                        ["--pass-fd", "77"], ["--log", "/no/such/folder/log"], ["--subnet", "10.0.0.0/31"]):
            with self.subTest(options):
                got = self.world.run(["touch", str(marker)], options)
                self.assertEqual(got.returncode, 125, got)
                self.assertTrue(got.stderr.startswith("cordon: "), got.stderr)
                self.assertFalse(marker.exists())


    def test_of_a_limit_that_is_too_low_is_125_with_words(self):
        for limit, said in (("-v 60000", "limit on address space is 58 MiB"), ("-n 20", "Too many open files")):
            with self.subTest(limit):
                got = subprocess.run(["sh", "-c", f'ulimit {limit}; exec "$@"', "sh", *self.world.arguments(["true"], NOTHING)],
                                     capture_output=True, text=True, timeout=20, env=self.world.environment(), check=False)
                self.assertEqual(got.returncode, 125, got)
                self.assertIn(said, got.stderr)


class Signals(RunTest):
    def test_are_forwarded(self):
        for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH"):
            with self.subTest(name):
                child = self.started(f"trap 'echo got {name}; exit 3' {name}; echo ready; "
                                     "while :; do sleep 0.05; done")
                child.send_signal(getattr(signal, f"SIG{name}"))
                out, _ = child.communicate(timeout=5)
                self.assertEqual((out, child.returncode), (f"got {name}\n", 3))

    def test_that_the_command_does_not_handle_ends_it(self):
        child = self.started("echo ready; exec sleep 100")
        child.send_signal(signal.SIGTERM)
        self.assertEqual(child.wait(5), 128 + signal.SIGTERM)

    def test_stop_and_continue(self):
        child = self.started("echo ready; sleep 0.3; echo done")
        child.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        child.send_signal(signal.SIGCONT)
        out, _ = child.communicate(timeout=5)
        self.assertEqual((out, child.returncode), ("done\n", 0))


class Streams(RunTest):
    def test_stdin_reaches_the_command_untouched(self):
        self.assertEqual(self.world.run(["cat"], NOTHING, input="a\nb\n").stdout, "a\nb\n")
        # What the command leaves unread stays for the next reader of the same pipe.
        read_end, write_end = os.pipe()
        os.write(write_end, b"first\nsecond\n")
        os.close(write_end)
        child = self.world.start([PYTHON, "-c", "import os; os.read(0, 6)"], NOTHING, stdin=read_end)
        self.assertEqual(child.wait(10), 0)
        self.assertEqual(os.read(read_end, 100), b"second\n")
        os.close(read_end)

    def test_output_is_the_commands_alone(self):
        got = self.sh("echo out; echo err >&2")
        self.assertEqual((got.stdout, got.stderr), ("out\n", "err\n"))

    def test_closed_streams_are_no_trouble(self):
        got = subprocess.run(
            ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *self.world.arguments(["true"], NOTHING)],
            timeout=20, check=False)
        self.assertEqual(got.returncode, 0)

    def test_full_output_is_the_commands_own_problem(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            child = self.world.start(["sh", "-c", "echo x || exit 9"], NOTHING, stdout=full)
            self.assertEqual(child.wait(10), 9)


class Surroundings(RunTest):
    def test_working_directory_files_and_environment(self):
        got = self.sh("pwd; echo $COLOUR; echo data > file; cat file", cwd=str(SCRATCH / "tmp"),
                      env={**os.environ, "COLOUR": "green"})
        self.assertEqual(got.stdout.split(), [str(SCRATCH / "tmp"), "green", "data"], got)
        self.assertEqual((SCRATCH / "tmp/file").read_text(), "data\n")

    def test_ids_are_the_callers_own(self):
        got = self.sh("id -u; id -g")
        expected = ORDINARY_USER if AS_USER else 0
        self.assertEqual(got.stdout.split(), [str(expected)] * 2, got)
        got = self.sh("id -u; id -g; test ! -w /proc/sys/net/ipv4/ip_forward", ["--map-root"])
        self.assertEqual((got.stdout.split(), got.returncode), (["0", "0"], 0), got)

    def test_no_capability_no_new_privileges_and_a_filter(self):
        for options in (NOTHING, ["--map-root"], ["--offline"], ["--nested"]):
            with self.subTest(options):
                lines = dict(line.split(":\t", 1) for line in self.world.run(
                    ["cat", "/proc/self/status"], options).stdout.splitlines() if ":\t" in line)
                # Without it nobody maps uid 0 into a namespace (user_namespaces(7)).
                keeps_one = "--nested" in options and os.environ["CORDON_TEST_AS"] == "root"
                for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                    self.assertEqual(int(lines[name], 16), 1 << CAP_SETFCAP if keeps_one else 0, name)
                self.assertEqual((lines["NoNewPrivs"], lines["Seccomp"]), ("1", "2"))

    def test_descriptors_are_three_and_the_ones_asked_for(self):
        hostile = [os.open("/", os.O_RDONLY), os.open("/etc/passwd", os.O_RDONLY), *os.pipe(),
                   socket.socket().detach(), socket.socket(socket.AF_UNIX).detach()]
        hostile += [os.dup(hostile[n % 6]) for n in range(44)]
        passed, wanted = hostile[1], hostile[7]
        try:
            script = "import os; print(*sorted(int(n) for n in os.listdir('/proc/self/fd')))"
            got = self.world.run([PYTHON, "-c", script], NOTHING, pass_fds=hostile)
            self.assertEqual(got.stdout.split()[:-1], ["0", "1", "2"], got)  # the last is listdir's own
            got = self.world.run([PYTHON, "-c", script], ["--pass-fd", str(passed), "--pass-fd", str(wanted)],
                                 pass_fds=hostile)
            for number in ("0", "1", "2", str(passed), str(wanted)):
                self.assertIn(number, got.stdout.split())
            self.assertEqual(len(got.stdout.split()), 6, got)
        finally:
            for number in hostile:
                os.close(number)

    def test_etc_files_are_ours_and_the_hosts_are_unchanged(self):
        before = [world.pathlib.Path(path).read_text() for path in ("/etc/resolv.conf", "/etc/hosts")]
        got = self.sh("cat /etc/hosts; cat /etc/resolv.conf")
        self.assertIn("host.cordon.internal", got.stdout)
        self.assertIn("nameserver", got.stdout)
        after = [world.pathlib.Path(path).read_text() for path in ("/etc/resolv.conf", "/etc/hosts")]
        self.assertEqual(before, after)

    def test_processes_of_the_host_are_out_of_sight(self):
        got = self.sh("ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm; kill -0 -1; "
                      f"test ! -e /proc/{os.getpid() + 100000}")
        self.assertLess(int(got.stdout.split()[0]), 8, got)
        self.assertNotIn("systemd", got.stdout)

    def test_abstract_sockets_of_the_host_are_out_of_reach(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("\0cordon-test")
        listener.listen(1)
        script = ("import socket, errno\n"
                  "try: socket.socket(socket.AF_UNIX).connect('\\0cordon-test'); print('reached')\n"
                  "except OSError as error: print(errno.errorcode[error.errno])")
        self.assertEqual(self.world.run([PYTHON, "-c", script], NOTHING).stdout.strip(), "ECONNREFUSED")
        listener.close()

    def test_network_inside(self):
        got = self.sh("ip -j address show dev eth0; ip -j -4 route; ip -j -6 route", ["--mtu", "1400"])
        decoder, text, parts = json.JSONDecoder(), got.stdout, []
        while text.strip():
            value, end = decoder.raw_decode(text.lstrip())
            parts.append(value)
            text = text.lstrip()[end:]
        link, routes4, routes6 = parts
        self.assertEqual(link[0]["mtu"], 1400)
        families = {address["family"] for address in link[0]["addr_info"]}
        self.assertEqual(families, {"inet", "inet6"})
        for routes in (routes4, routes6):
            self.assertTrue([route for route in routes if route["dst"] == "default"], routes)

    def test_subnet_differs_from_the_hosts_routes(self):
        self.world.host.run("ip link add taken type bridge", "ip link set taken up")
        self.addCleanup(self.world.host.run, "ip link del taken")
        first = self.guest_address()
        network = world.ipaddress.ip_interface(first).network
        self.world.host.run(f"ip address add {network[1]}/{network.prefixlen} dev taken")
        second = world.ipaddress.ip_interface(self.guest_address())
        self.assertFalse(second.network.overlaps(network), (first, second))

    def guest_address(self):
        got = self.sh("ip -j -4 address show dev eth0")
        info = json.loads(got.stdout)[0]["addr_info"][0]
        return f"{info['local']}/{info['prefixlen']}"

    def test_low_ports_are_for_everybody(self):
        got = self.world.run([PYTHON, "-c", "import socket; socket.create_server(('0.0.0.0', 80))"], NOTHING)
        self.assertEqual(got.returncode, 0, got)

    def test_help_version_and_doctor(self):
        for words in (["--help"], ["--version"], ["run", "--help"]):
            got = subprocess.run([self.world.program, *words], capture_output=True, text=True, timeout=10,
                                 check=False)
            self.assertEqual((got.returncode, got.stderr), (0, ""))
            self.assertIn("cordon", got.stdout)
        got = subprocess.run([*self.world.credentials(), self.world.program, "doctor"], capture_output=True,
                             text=True, timeout=20, check=False)
        self.assertEqual(got.returncode, 0, got.stdout + got.stderr)


class Walls(RunTest):
    """No way around the network that was given (leaks.md T43)."""

    def errors_of(self, calls, options=NOTHING):
        script = ("import ctypes, errno, os, socket, fcntl\nlibc = ctypes.CDLL(None, use_errno=True)\n"
                  "def name(f):\n"
                  "  try: r = f()\n"
                  "  except OSError as e: return errno.errorcode[e.errno]\n"
                  "  return errno.errorcode[ctypes.get_errno()] if r == -1 else 'allowed'\n"
                  + "".join(f"print(name(lambda: {call}))\n" for call in calls))
        got = self.world.run([PYTHON, "-c", script], options)
        self.assertEqual(got.returncode, 0, got)
        return dict(zip(calls, got.stdout.split()))

    def test_calls_that_would_open_one_fail(self):
        calls = ["libc.unshare(0x10000000)", "libc.unshare(0x40000000)",
                 "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
                 "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "socket.socket(40, socket.SOCK_STREAM)",
                 "socket.socket(38, socket.SOCK_SEQPACKET)", "socket.socket(socket.AF_NETLINK, 3, 12)",
                 "libc.mount(b'none', b'/mnt', b'tmpfs', 0, 0)", "libc.ptrace(16, 1, 0, 0)",
                 "os.open('/proc/sys/net/ipv4/ip_forward', os.O_WRONLY)",
                 "libc.setns(os.open('/proc/self/ns/net', 0), 0)", "os.open('/dev/net/tun', os.O_RDWR) and "
                 "fcntl.ioctl(os.open('/dev/net/tun', os.O_RDWR), 0x400454ca, b'tapx' + bytes(36))",
                 "fcntl.ioctl(0, 0x5412, b'x')", "fcntl.ioctl(0, 0x541c, b'x')"]
        for options in (NOTHING, ["--map-root"]):
            for call, error in self.errors_of(calls, options).items():
                with self.subTest(f"{options} {call}"):
                    self.assertNotEqual(error, "allowed")

    def test_ordinary_calls_work(self):
        calls = ["socket.socket()", "socket.socket(socket.AF_INET6)", "socket.socket(socket.AF_UNIX)",
                 "socket.socket(socket.AF_NETLINK, 3, 0)", "socket.socket(2, 2, 1)", "os.fork() or os._exit(0)"]
        for call, error in self.errors_of(calls).items():
            with self.subTest(call):
                self.assertEqual(error, "allowed")

    def test_namespaces_inside_only_with_nested(self):
        self.assertNotEqual(self.sh("unshare -Ur true").returncode, 0)
        got = self.sh("unshare -Urn ip link set lo up", ["--nested"])
        self.assertEqual(got.returncode, 0, got)


class Terminal(RunTest):
    """The command keeps the user's terminal, and job control with it."""

    def on_terminal(self, command, keys, options=NOTHING, seconds=8):
        pid, master = pty.fork()
        if pid == 0:
            words = self.world.arguments(command, options)
            os.chdir(SCRATCH / "tmp")
            os.execvp(words[0], words)
        seen, end = b"", time.monotonic() + seconds
        os.set_blocking(master, False)
        try:
            while time.monotonic() < end:
                try:
                    seen += os.read(master, 4096)
                except BlockingIOError:
                    pass
                except OSError:
                    break
                if keys and keys[0][0] in seen:
                    os.write(master, keys.pop(0)[1])
                    seen += b"|"
                time.sleep(0.02)
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            self.assertTrue(done, f"did not end; the terminal shows {seen!r}")
            return seen.decode(errors="replace"), os.waitstatus_to_exitcode(status)
        finally:
            os.close(master)

    def test_interrupt_key_reaches_the_command(self):
        seen, status = self.on_terminal(["sh", "-c", "trap 'echo caught; exit 5' INT; echo go; sleep 5"],
                                        [(b"go", b"\x03")])
        self.assertIn("caught", seen)
        self.assertEqual(status, 5)

    def test_interactive_shell_has_job_control(self):
        seen, status = self.on_terminal(
            ["bash", "--norc", "-i"],
            [(b"bash-", b"sleep 30\n"), (b"sleep 30", b"\x1a"), (b"Stopped", b"jobs; kill %1; tty; exit 4\n")])
        self.assertNotIn("no job control", seen)
        self.assertIn("Stopped", seen)
        self.assertEqual(status, 4, seen)

    def test_new_session_has_a_terminal_of_its_own(self):
        seen, status = self.on_terminal(["sh", "-c", "tty; test -t 0 && echo still a terminal"],
                                        [], ["--new-session"])
        self.assertIn("still a terminal", seen)
        self.assertEqual(status, 0, seen)


class Remains(RunTest):
    def cordons(self):
        return self.world.processes("cordon")

    def test_orphans_are_reaped_and_end_with_the_command(self):
        child = self.started("(sleep 0.1 &) ; (sleep 0.2 &) ; echo ready; sleep 1; "
                             "ps -eo stat= | grep -c Z; exec sleep 0.1")
        out, _ = child.communicate(timeout=10)
        self.assertEqual(out.strip(), "0")

    def test_background_processes_do_not_outlive_the_command(self):
        child = self.world.start(["sh", "-c", "sleep 987 & exit 0"], NOTHING, stdin=subprocess.DEVNULL)
        self.assertEqual(child.wait(5), 0)
        wait_until(lambda: not self.world.processes("sleep"), "the background process to end", 2)

    def test_offline_start_is_quick_and_leaves_nothing(self):
        self.sh("true", ["--offline"])
        wait_until(lambda: not self.cordons(), "all processes to end", 2)

    def test_log_is_json_lines_and_survives_a_full_disk(self):
        path = SCRATCH / "tmp/launcher.log"
        self.sh(f"curl -sS -m 2 http://{HOST4}/", [*PUBLIC, "--log", str(path)])
        for line in path.read_text().splitlines():
            json.loads(line)
        got = self.sh(f"curl -sS -m 2 http://{HOST4}/; echo done", [*PUBLIC, "--log", "/dev/full"])
        self.assertIn("done", got.stdout)


class Offline(RunTest):
    def test_only_lo(self):
        got = self.sh("ip -o link | wc -l; ip -o link; ip route; ip -6 route show table main | grep -v ::1; "
                      "ping -c 1 -W 1 127.0.0.1 >/dev/null && echo lo works", ["--offline"])
        lines = got.stdout.splitlines()
        self.assertEqual(lines[0], "1", got)
        self.assertIn("lo:", lines[1])
        self.assertNotIn("default via", got.stdout)
        self.assertIn("lo works", got.stdout)

    def test_nothing_leaves(self):
        with self.world.wire() as wire:
            got = self.sh(f"curl -sS -m 2 http://{world.SERVER4}/; curl -sS -m 2 'http://[{world.SERVER6}]/'; "
                          f"dig +tries=1 +time=1 host.test; ping -c 1 -W 1 {world.SERVER4}", ["--offline"])
            # The host's own kernel talks to its neighbours meanwhile (fe80::).
            self.assertEqual([p for p in wire.packets() if not p["source"].startswith("fe80:")
                              and not p["destination"].startswith("ff02:")], [])
            self.assertNotEqual(got.returncode, 0)


class Readme(RunTest):
    """The options of every command line that the README shows are taken as they are written there."""

    README = pathlib.Path(__file__).resolve().parents[2] / "README.md"

    def lines(self, verb):
        return re.findall(rf"^    (?:\$ )?(cordon {verb} .*?)(?:  +#.*)?$", self.README.read_text(), re.MULTILINE)

    def test_commands_that_run_something(self):
        folder = SCRATCH / "tmp/readme"
        folder.mkdir()
        (folder / "policy.toml").write_text("version = 1\nallow = ['ok.example']\n")
        lines = self.lines("run")
        self.assertGreater(len(lines), 10)
        for line in lines:
            with self.subTest(line):
                words = shlex.split(line)
                got = self.world.run(["true"], words[2:words.index("--")], cwd=str(folder))
                self.assertEqual((got.returncode, got.stderr), (0, ""), got)

    def test_commands_about_policies(self):
        lines = self.lines("policy")
        self.assertGreater(len(lines), 2)
        for line in lines:
            with self.subTest(line):
                words = shlex.split(line)
                with self.world.host:
                    got = subprocess.run([self.world.program, *words[1:]], capture_output=True, text=True, timeout=20,
                                         check=False)
                self.assertEqual((got.returncode, got.stderr), (0, ""), got)
                self.assertTrue(got.stdout)


if __name__ == "__main__":
    world.main()
