"""What a guest's command has and sees, asked from inside, and what the translator looks like from outside.

    guest_test.py CORDON GUEST_PROBER
"""
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import unittest

CORDON, PROBER = sys.argv[1], sys.argv[2]
IS_ROOT = os.getuid() == 0
NAMESPACES = ["user", "mnt", "pid", "ipc", "uts", "cgroup"]


def run(*command, options=(), **kwargs):
    return subprocess.run([CORDON, "run", *options, "--", *command], capture_output=True, text=True,
                          timeout=60, **kwargs)


def text_of(path):
    with open(path) as file:
        return file.read()


class Running:
    """A sandbox whose command sleeps, for as long as the block lasts."""

    def __init__(self, *options, command=("sleep", "60")):
        self.arguments = [CORDON, "run", *options, "--", "sh", "-c", "echo ready; exec " + " ".join(command)]

    def __enter__(self):
        self.process = subprocess.Popen(self.arguments, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        children = text_of(f"/proc/{self.process.pid}/task/{self.process.pid}/children").split()
        self.translator, self.guest_init = (int(pid) for pid in children)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class Guest(unittest.TestCase):
    def test_prober_finds_every_call_as_expected(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("\0cordon-isolation-test")
        listener.listen()
        for options in ([], ["--offline"]):
            outcome = run(PROBER, options=options)
            self.assertEqual(outcome.returncode, 0, outcome.stdout + outcome.stderr)
            self.assertRegex(outcome.stdout, r"^1\d\d rows, 0 otherwise")
        listener.close()

    def test_status_shows_no_capability_and_one_filter(self):
        for options in ([], ["--offline"], ["--map-root"]):
            status = run("cat", "/proc/self/status", options=options).stdout
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                self.assertIn(f"{name}:\t{'0' * 16}", status)
            self.assertIn("NoNewPrivs:\t1", status)
            self.assertIn("Seccomp:\t2", status)

    def test_guest_init_has_the_same_walls(self):
        status = run("cat", "/proc/1/status").stdout
        self.assertIn(f"CapBnd:\t{'0' * 16}", status)
        self.assertIn("Seccomp:\t2", status)

    def test_inherits_three_descriptors_of_fifty_three(self):
        hostile = [os.open("/", os.O_RDONLY) for _ in range(20)]
        hostile += [os.open(f"/proc/{os.getpid()}/root", os.O_PATH) for _ in range(10)]
        hostile += [sock.detach() for sock in (socket.socket() for _ in range(10))]
        hostile += [fd for _ in range(5) for fd in os.pipe()]
        script = "import os; print([fd for fd in range(4096) if os.path.lexists(f'/proc/self/fd/{fd}')])"
        for options in ([], ["--offline"]):
            outcome = run(sys.executable, "-c", script, options=options, pass_fds=hostile)
            self.assertEqual(outcome.stdout.strip(), "[0, 1, 2]", outcome.stderr)
        kept = hostile[0]
        outcome = run(sys.executable, "-c", script, options=["--pass-fd", str(kept)], pass_fds=hostile)
        self.assertEqual(outcome.stdout.strip(), str([0, 1, 2, kept]))
        for fd in hostile:
            os.close(fd)

    def test_keeps_the_callers_ids_or_maps_root(self):
        self.assertEqual(run("id", "-u").stdout.strip(), str(os.getuid()))
        self.assertEqual(run("id", "-g").stdout.strip(), str(os.getgid()))
        self.assertEqual(run("id", "-u", options=["--map-root"]).stdout.strip(), "0")

    def test_sees_only_its_own_processes(self):
        pids = run("sh", "-c", "cd /proc; echo [0-9]*").stdout.split()
        self.assertEqual(pids, ["1", "2"])
        self.assertNotEqual(run("sh", "-c", f"kill -0 {os.getpid()}").returncode, 0)

    def test_cannot_look_into_guest_init(self):
        for command in (["cat", "/proc/1/mem"], ["cat", "/proc/1/maps"], ["cat", "/proc/1/environ"],
                        ["cat", "/proc/1/fd/0"], ["ls", "/proc/1/root/"], ["ls", "/proc/1/cwd/"]):
            outcome = run(*command)
            self.assertNotEqual(outcome.returncode, 0, command)
            self.assertIn("Permission denied", outcome.stderr, command)

    def test_may_make_no_namespace(self):
        self.assertEqual(run("cat", "/proc/sys/user/max_user_namespaces").stdout, "0\n")
        self.assertEqual(run("cat", "/proc/sys/user/max_net_namespaces").stdout, "0\n")
        self.assertNotEqual(run("unshare", "-U", "true").returncode, 0)

    def test_nested_guest_may_make_namespaces(self):
        for options in (["--nested"], ["--nested", "--map-root"], ["--nested", "--offline"]):
            outcome = run("unshare", "-Urnpf", "ip", "-br", "link", options=options)
            self.assertEqual(outcome.returncode, 0, outcome.stderr)
            self.assertEqual(outcome.stdout.split()[0], "lo")
            outcome = run("unshare", "-Ur", "id", "-u", options=options)
            self.assertEqual(outcome.stdout, "0\n", outcome.stderr)
            # In a nested namespace nobody gets power over the network outside it.
            outcome = run("unshare", "-Ur", "ip", "link", "set", "lo", "down", options=options)
            self.assertNotEqual(outcome.returncode, 0)

    def test_nested_guest_mounts_its_own_proc_unless_settings_of_the_host_are_at_stake(self):
        outcome = run("unshare", "-Urpf", "--mount-proc", "sh", "-c", "echo $$", options=["--nested"])
        if IS_ROOT:
            self.assertNotEqual(outcome.returncode, 0)
        else:
            self.assertEqual((outcome.returncode, outcome.stdout), (0, "1\n"), outcome.stderr)

    def test_nested_guest_has_the_one_capability_that_maps_uid_0(self):
        setfcap = f"{1 << 31:016x}"
        for options, is_root in ((["--nested"], IS_ROOT), (["--nested", "--map-root"], True)):
            status = run("cat", "/proc/self/status", options=options).stdout
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertIn(f"{name}:\t{setfcap if is_root else '0' * 16}", status)
            self.assertIn(f"CapBnd:\t{'0' * 16}", status)

    def test_offline_has_lo_alone(self):
        self.assertEqual(run("ls", "/sys/class/net", options=["--offline"]).stdout.split(), ["lo"])
        links = run("ip", "-br", "link", options=["--offline"]).stdout.splitlines()
        self.assertEqual(len(links), 1)

    def test_sees_its_own_links_in_sys(self):
        self.assertEqual(run("ls", "/sys/class/net").stdout.split(), ["eth0", "lo"])

    def test_keeps_working_directory_and_input(self):
        self.assertEqual(run("pwd", cwd="/usr/lib").stdout, "/usr/lib\n")
        self.assertEqual(run("cat", input="through\n").stdout, "through\n")

    def test_has_name_service_files_of_ours(self):
        self.assertIn("Made by cordon", run("cat", "/etc/resolv.conf").stdout)
        self.assertIn("host.cordon.internal", run("cat", "/etc/hosts").stdout)
        self.assertNotIn("Made by cordon", text_of("/etc/resolv.conf"))
        self.assertNotEqual(run("sh", "-c", "echo x >> /etc/resolv.conf").returncode, 0)


if IS_ROOT:  # only root can arrange another /etc; the guest is an ordinary user's
    class ResolvConf(unittest.TestCase):
        """Whatever /etc/resolv.conf is on the host, inside it is ours, and outside nothing changes."""

        ARRANGEMENTS = {
            "a file": "echo nameserver 198.51.100.1 > /etc/resolv.conf",
            "a link of systemd-resolved":
                "mount -t tmpfs t /run; mkdir -p /run/systemd/resolve; chmod -R a+rX /run;"
                "echo nameserver 198.51.100.1 > /run/systemd/resolve/resolv.conf;"
                "ln -sf ../run/systemd/resolve/resolv.conf /etc/resolv.conf",
            "a dangling link": "ln -sf /run/nowhere/resolv.conf /etc/resolv.conf",
            "missing": "rm -f /etc/resolv.conf",
        }

        def test_is_ours_inside(self):
            for name, arrangement in self.ARRANGEMENTS.items():
                # Over /srv, which is empty, so that the machine's own /etc is not touched.
                script = ("set -e; mount --make-rprivate /; mount -t tmpfs t /srv; cd /srv; mkdir etc; "
                          "cp -a /etc/passwd /etc/group /etc/hosts /etc/nsswitch.conf /etc/ld.so.cache etc; "
                          f"chmod 755 /srv etc; mount --bind etc /etc; cd /; {arrangement}; "
                          "ls -l /etc > /srv/before; "
                          f"setpriv --reuid 65534 --regid 65534 --clear-groups {CORDON} run -- "
                          "cat /etc/resolv.conf; ls -l /etc > /srv/after; cmp /srv/before /srv/after")
                outcome = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True,
                                         text=True, timeout=60)
                self.assertEqual(outcome.returncode, 0, name + outcome.stderr)
                self.assertIn("Made by cordon", outcome.stdout, name)


class Translator(unittest.TestCase):
    if IS_ROOT:  # nobody else may look, as the last test of these shows
        def test_is_apart_from_the_host_but_for_its_network(self):
            with Running() as sandbox:
                def namespace(pid, name):
                    return os.readlink(f"/proc/{pid}/ns/{name}")

                for name in NAMESPACES:
                    self.assertNotEqual(namespace(sandbox.translator, name), namespace("self", name), name)
                    self.assertNotEqual(namespace(sandbox.translator, name),
                                        namespace(sandbox.guest_init, name), name)
                self.assertEqual(namespace(sandbox.translator, "net"), namespace("self", "net"))
                self.assertNotEqual(namespace(sandbox.guest_init, "net"), namespace("self", "net"))
                self.assertEqual(os.listdir(f"/proc/{sandbox.translator}/root/"), [])
                mounts = text_of(f"/proc/{sandbox.translator}/mountinfo").splitlines()
                self.assertEqual(len(mounts), 1, mounts)
                self.assertIn(" ro,", mounts[0])

    if IS_ROOT:
        def test_holds_descriptors_of_known_kinds(self):
            known = re.compile(r"^(socket:|pipe:|anon_inode:\[event|/null$|/dev/null$|/net/tun$|/dev/net/tun$)")
            with Running() as sandbox:
                directory = f"/proc/{sandbox.translator}/fd"
                kinds = [os.readlink(f"{directory}/{fd}") for fd in os.listdir(directory)]
                self.assertEqual([kind for kind in kinds if not known.match(kind)], [])
                self.assertEqual(len([kind for kind in kinds if kind.endswith("/net/tun")]), 1)

    def test_status_shows_what_it_may(self):
        with Running() as sandbox:
            for task in os.listdir(f"/proc/{sandbox.translator}/task"):
                status = text_of(f"/proc/{sandbox.translator}/task/{task}/status")
                self.assertIn("CapPrm:\t0000000000001000", status)  # CAP_NET_ADMIN
                self.assertIn("CapEff:\t0000000000001000", status)
                self.assertIn(f"CapBnd:\t{'0' * 16}", status)
                self.assertIn("NoNewPrivs:\t1", status)
                self.assertIn("Seccomp:\t2", status)
            tasks = os.listdir(f"/proc/{sandbox.translator}/task")
            names = [text_of(f"/proc/{sandbox.translator}/task/{task}/comm").strip() for task in tasks]
            self.assertEqual(len([name for name in names if name != "cordon relay"]), 2, names)
            limits = text_of(f"/proc/{sandbox.translator}/limits")
            for name in ("Max core file size", "Max locked memory", "Max file size", "Max processes"):
                self.assertRegex(limits, rf"{name} +0 +0 ")

    if not IS_ROOT:
        def test_cannot_be_looked_into_by_its_own_user(self):
            with Running() as sandbox:
                for pid in (sandbox.translator, sandbox.guest_init):
                    for name in ("mem", "maps", "environ"):
                        with self.assertRaises(PermissionError, msg=name):
                            open(f"/proc/{pid}/{name}", "rb").read(1)
                    for name in ("fd", "root"):
                        with self.assertRaises(PermissionError, msg=name):
                            os.listdir(f"/proc/{pid}/{name}")

    def test_ends_on_sigterm_and_takes_the_guest_along(self):
        with Running() as sandbox:
            os.kill(sandbox.translator, signal.SIGTERM)
            started = time.monotonic()
            self.assertEqual(sandbox.process.wait(5), 125)
            self.assertLess(time.monotonic() - started, 1.5)


class Program(unittest.TestCase):
    def test_has_no_privilege_in_its_file(self):
        mode = os.stat(CORDON).st_mode
        self.assertEqual(mode & (stat.S_ISUID | stat.S_ISGID), 0)
        self.assertNotIn("security.capability", os.listxattr(CORDON))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
