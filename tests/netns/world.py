"""The world that the tests live in, made of namespaces only: nothing outside of them is touched.

    ext  198.51.100.1/28, 2001:db8::1/64 on the wire; servers at 198.51.100.17–.30, 2001:db8:1::11–::1e behind it
     │ veth `uplink`
    host 198.51.100.2/28, 2001:db8::2/64; cordon runs here, as an ordinary user or as root
     └ the guest, made by cordon

A test module ends with world.main(). Started from outside, it executes itself again in mount, network and
pid namespaces of its own (and in a user namespace, where an ordinary user started it): modules may run at
the same time, and when the module ends for whatever reason the kernel takes everything away with the pid
namespace. /etc is a copy there, so that resolv.conf and hosts can be changed at will.

The server addresses are documentation prefixes and are declared public with --class; the veth's own
addresses are on-link and count as lan.

Environment: CORDON (the program), CORDON_TEST_AS (user or root), CORDON_TEST_FULL=1 (the long figures),
CORDON_TEST_WORKERS=N (guests have N workers where their test does not say how many), CORDON_TEST_DIRECT=1 (guests are plain processes in `host`: shows that a test asks for nothing that the
host's own network would not give; the tests of denials then fail, of course).
"""

import contextlib
import ctypes
import errno
import ipaddress
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PYTHON = "/usr/bin/python3"
HERE = pathlib.Path(__file__).resolve().parent
SCRATCH = pathlib.Path("/mnt")  # a tmpfs inside the test's mount namespace
RUNTIME = SCRATCH / "runtime"
IS_FULL = os.environ.get("CORDON_TEST_FULL") == "1"
IS_DIRECT = os.environ.get("CORDON_TEST_DIRECT") == "1"
WORKERS = os.environ.get("CORDON_TEST_WORKERS")
AS_USER = os.environ.get("CORDON_TEST_AS", "user") == "user"
ORDINARY_USER = 65534

ROUTER4, HOST4, SERVER4, SECOND4, SILENT4, CLOSED4 = (
    f"198.51.100.{last}" for last in (1, 2, 17, 18, 29, 30)
)
ROUTER6, HOST6 = "2001:db8::1", "2001:db8::2"
SERVER6, SECOND6, SILENT6, CLOSED6 = (f"2001:db8:1::{last}" for last in ("11", "12", "1d", "1e"))
FAR4, FAR6 = "198.51.100.50", "2001:db8:3::2"  # behind two routers, see World.far_router()

PUBLIC = ["--class", "public=198.51.100.0/24", "--class", "public=2001:db8::/32"]
FAMILIES = (("v4", SERVER4), ("v6", SERVER6))

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def _check(result):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Namespace:
    """A network namespace. `with namespace:` puts the calling thread into it; sockets and children made
    there belong to it for good."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self._previous = threading.local()

    @classmethod
    def here(cls):
        return cls(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    @classmethod
    def new(cls):
        origin = cls.here()
        _check(_libc.unshare(CLONE_NEWNET))
        made = cls.here()
        _check(_libc.setns(origin.descriptor, CLONE_NEWNET))
        os.close(origin.descriptor)
        made.run("ip link set lo up")
        return made

    def __enter__(self):
        stack = self._previous.__dict__.setdefault("stack", [])
        stack.append(Namespace.here().descriptor)
        _check(_libc.setns(self.descriptor, CLONE_NEWNET))
        return self

    def __exit__(self, *_):
        previous = self._previous.stack.pop()
        _check(_libc.setns(previous, CLONE_NEWNET))
        os.close(previous)

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def run(self, *lines):
        """Runs shell lines here; a failure is an error of the test's own."""
        with self:
            for line in lines:
                done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=20)
                if done.returncode != 0:
                    raise RuntimeError(f"{line}: {done.stdout}{done.stderr}")
        return self

    def start(self, arguments, **options):
        with self:
            return subprocess.Popen(arguments, **options)

    def socket(self, address, kind=socket.SOCK_STREAM, protocol=0):
        with self:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.socket(family, kind, protocol)

    def sysctl(self, name, value):
        # The path is resolved in the namespace of the thread that opens it.
        with self:
            pathlib.Path("/proc/sys", *name.split(".")).write_text(str(value))


class Wire:
    """Counts what crosses host's side of the veth, both ways, from construction on."""

    ETH_P_ALL = 3

    def __init__(self, host, device="uplink"):
        with host:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self._socket.bind((device, self.ETH_P_ALL))
        self._socket.setblocking(False)
        self._seen = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def settle(self, seconds=0.2):
        """What comes is not counted until nothing has come for so long: the last packets of earlier flows."""
        for _ in range(50):
            self.packets()
            had = len(self._seen)
            time.sleep(seconds)
            if len(self.packets()) == had:
                break
        self._seen.clear()

    def packets(self):
        """All packets so far, as dictionaries with source, destination, protocol and ports."""
        while True:
            try:
                frame, where = self._socket.recvfrom(256)
            except BlockingIOError:
                return self._seen
            packet = self._parse(frame)
            if packet:
                packet["leaves"] = where[2] == socket.PACKET_OUTGOING
                self._seen.append(packet)

    def count(self, **wanted):
        return sum(all(p.get(k) == v for k, v in wanted.items()) for p in self.packets())

    @staticmethod
    def _parse(frame):
        kind = struct.unpack_from("!H", frame, 12)[0]
        if kind == 0x0800:
            start = 14 + (frame[14] & 15) * 4
            protocol, source, destination = frame[23], frame[26:30], frame[30:34]
        elif kind == 0x86DD:
            start, protocol, source, destination = 54, frame[20], frame[22:38], frame[38:54]
        else:
            return None
        packet = {
            "protocol": protocol,
            "source": str(ipaddress.ip_address(bytes(source))),
            "destination": str(ipaddress.ip_address(bytes(destination))),
        }
        if protocol in (6, 17) and len(frame) >= start + 4:
            packet["source_port"], packet["port"] = struct.unpack_from("!HH", frame, start)
        return packet


class World:
    """Namespaces, addresses and the program under test. One for each module: World.get()."""

    _only = None

    @classmethod
    def get(cls):
        if cls._only is None:
            cls._only = cls()
        return cls._only

    def __init__(self):
        self._prepare_files()
        self.host = Namespace.here()
        self.ext = Namespace.new()
        self.far = None
        self._connect()
        self._children = []

    def _prepare_files(self):
        def sh(line):
            subprocess.run(line, shell=True, check=True, timeout=30)

        sh(f"mount -t tmpfs -o mode=755 tmpfs {SCRATCH}")
        sh(f"cp -r --preserve=mode,links /etc {SCRATCH}/etc 2>/dev/null || true")
        (SCRATCH / "etc/resolv.conf").unlink(missing_ok=True)
        self.set_resolv_conf("# no server\n", path=SCRATCH / "etc/resolv.conf")
        sh(f"mount --bind {SCRATCH}/etc /etc")
        for name in ("tmp", "home", "www"):
            (SCRATCH / name).mkdir()
            (SCRATCH / name).chmod(0o777)
        shutil.copytree(HERE / "guest", SCRATCH / "guest")
        # As it is installed: presets are found from where the program lies.
        (SCRATCH / "bin").mkdir()
        self.program = str(SCRATCH / "bin/cordon")
        shutil.copy(os.environ["CORDON"], self.program)
        shutil.copytree(HERE.parents[1] / "configs/policies", SCRATCH / "share/cordon/policies")
        sh(f"chmod -R a+rX {SCRATCH}/guest {SCRATCH}/bin {SCRATCH}/share")

    def _connect(self):
        self.host.run(
            "ip link set lo up",
            f"ip link add uplink type veth peer name uplink netns {self.ext.path}",
            "ip link set uplink up",
            f"ip address add {HOST4}/28 dev uplink",
            f"ip -6 address add {HOST6}/64 dev uplink nodad",
        )
        self.ext.run(
            "ip link set uplink up",
            f"ip address add {ROUTER4}/28 dev uplink",
            f"ip -6 address add {ROUTER6}/64 dev uplink nodad",
            *(f"ip address add 198.51.100.{last}/32 dev lo" for last in range(17, 31)),
            *(f"ip -6 address add 2001:db8:1::{last:x}/128 dev lo nodad" for last in range(17, 31)),
            # Neither answers nor refuses.
            f"nft 'add table inet silent; add chain inet silent in "
            f"{{ type filter hook input priority 0; }}; "
            f"add rule inet silent in ip daddr {SILENT4} drop; "
            f"add rule inet silent in ip6 daddr {SILENT6} drop'",
        )
        self.ext.sysctl("net.ipv4.ip_forward", 1)
        self.ext.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.ext.sysctl("net.ipv4.icmp_ratelimit", 0)
        self.ext.sysctl("net.ipv6.icmp.ratelimit", 0)
        self.host.run(f"ip route add default via {ROUTER4}", f"ip -6 route add default via {ROUTER6}")
        try:
            self.host.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        except OSError:  # in a user namespace only mapped groups have a number
            self.host.sysctl("net.ipv4.ping_group_range", "0 0")
        wait_until(lambda: self._reaches_router(), "the veth to carry")

    def _reaches_router(self):
        with self.host:
            with contextlib.suppress(OSError):
                with socket.create_server((HOST6, 0), family=socket.AF_INET6):
                    return True
        return False

    def far_router(self, mtu=1280):
        """ext – mid – far: two routers on the way to FAR4 and FAR6, the second link with `mtu`; made at the first
        call."""
        if self.far is not None:
            return self.far
        mid, far = Namespace.new(), Namespace.new()
        self.ext.run(f"ip link add south type veth peer name north netns {mid.path}")
        mid.run(f"ip link add south type veth peer name north netns {far.path}")
        self.ext.run(
            "ip link set south up", "ip address add 198.51.100.33/28 dev south",
            "ip -6 address add 2001:db8:2::1/64 dev south nodad",
            "ip route add 198.51.100.48/28 via 198.51.100.34",
            "ip -6 route add 2001:db8:3::/64 via 2001:db8:2::2",
        )
        mid.run(
            "ip link set north up", "ip address add 198.51.100.34/28 dev north",
            "ip -6 address add 2001:db8:2::2/64 dev north nodad",
            "ip route add default via 198.51.100.33", "ip -6 route add default via 2001:db8:2::1",
            f"ip link set south mtu {mtu} up", "ip address add 198.51.100.49/28 dev south",
            "ip -6 address add 2001:db8:3::1/64 dev south nodad",
        )
        far.run(
            f"ip link set north mtu {mtu} up", f"ip address add {FAR4}/28 dev north",
            f"ip -6 address add {FAR6}/64 dev north nodad",
            "ip route add default via 198.51.100.49", "ip -6 route add default via 2001:db8:3::1",
        )
        for namespace in (mid, far):
            namespace.sysctl("net.ipv4.ip_forward", 1)
            namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
            namespace.sysctl("net.ipv4.icmp_ratelimit", 0)
            namespace.sysctl("net.ipv6.icmp.ratelimit", 0)
        self.far = far
        return far

    @staticmethod
    def make_runtime_folder():
        """XDG_RUNTIME_DIR for what is started from here on, where the control sockets stand."""
        RUNTIME.mkdir(exist_ok=True)
        RUNTIME.chmod(0o700)
        if AS_USER and os.environ.get("CORDON_WORLD") != "userns":
            os.chown(RUNTIME, ORDINARY_USER, ORDINARY_USER)
        os.environ["XDG_RUNTIME_DIR"] = str(RUNTIME)

    def set_resolv_conf(self, text, path="/etc/resolv.conf"):
        pathlib.Path(path).write_text(text)
        os.chmod(path, 0o644)

    def wire(self):
        return Wire(self.host)

    # Running the program.

    def credentials(self):
        """The words before a command that make it run as CORDON_TEST_AS says."""
        if not AS_USER:
            return []
        if os.environ.get("CORDON_WORLD") == "userns":
            return ["unshare", "--user", f"--map-user={ORDINARY_USER}",
                    f"--map-group={ORDINARY_USER}", "--"]
        return ["setpriv", "--reuid", str(ORDINARY_USER), "--regid", str(ORDINARY_USER),
                "--clear-groups", "--"]

    def arguments(self, command, options=PUBLIC, before=()):
        if WORKERS and "--workers" not in options and "--offline" not in options:
            options = ["--workers", WORKERS, *options]
        return [*self.credentials(), *before, self.program, "run", *options, "--", *command]

    def environment(self):
        return {**os.environ, "HOME": str(SCRATCH / "home"), "LC_ALL": "C.UTF-8",
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    def start(self, command, options=PUBLIC, before=(), **popen):
        """BEFORE cordon run OPTIONS -- COMMAND, in host, as a child of its own session."""
        popen.setdefault("cwd", str(SCRATCH / "tmp"))
        popen.setdefault("env", self.environment())
        with self.host:
            child = subprocess.Popen(self.arguments(command, options, before), start_new_session=True, **popen)
        self._children.append(child)
        return child

    def limit_descriptors(self, pid, soft):
        """Sets the soft limit of a running part. Its own user may do that, root of a container may not."""
        subprocess.run([*self.credentials(), "prlimit", "--pid", str(pid), f"--nofile={soft}:"], check=True,
                       timeout=5)

    def run(self, command, options=PUBLIC, timeout=30, **popen):
        """The same, to its end: a CompletedProcess with text."""
        text = popen.pop("input", None)
        popen.setdefault("stdin", subprocess.PIPE if text is not None else subprocess.DEVNULL)
        child = self.start(command, options, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True, **popen)
        try:
            out, err = child.communicate(text, timeout=timeout)
        except subprocess.TimeoutExpired:
            stop(child)
            out, err = child.communicate()
            raise AssertionError(f"{command} did not end within {timeout} s\n{out}\n{err}") from None
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    def processes(self, name="cordon"):
        """Ids of living processes whose program is `name`, in this pid namespace."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                command, state = stat[stat.index("(") + 1:stat.rindex(")")], stat[stat.rindex(")") + 2]
                if command.startswith(name) and state not in "ZX":
                    found.append(int(entry.name))
        return sorted(found)

    def parts(self, supervisor):
        """The processes of one run: {"supervisor", "translator", "init", "command"}, by their place in the
        tree and their network namespace."""
        children = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    stat = (entry / "stat").read_text()
                    parent = int(stat[stat.rindex(")") + 2:].split()[1])
                    children.setdefault(parent, []).append(int(entry.name))
        below, queue = [], [supervisor]
        while queue:
            queue[:0] = children.get(queue[0], []) if queue[0] == supervisor else []
            pid = queue.pop()
            if pid != supervisor:
                below.append(pid)
                queue.extend(children.get(pid, []))
        own = os.readlink("/proc/self/ns/net")
        here = [pid for pid in below if self._network_of(pid) == own]
        inside = sorted(pid for pid in below if self._network_of(pid) not in (own, None))
        return {"translator": here[0] if here else None, "init": inside[0] if inside else None,
                "all": [supervisor, *sorted(below)]}

    @staticmethod
    def alive(pid):
        try:
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
            return stat[stat.rindex(")") + 2] not in "ZX"
        except OSError:
            return False

    @staticmethod
    def _network_of(pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/net")
        except OSError:
            return None

    def close(self):
        for child in self._children:
            stop(child)
        self._children.clear()


def stop(child):
    """Ends a child that cordon's tests started, and everything of its session."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)
        try:
            child.wait(3)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(3)
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream:
            with contextlib.suppress(OSError, ValueError):
                stream.close()


def wait_until(condition, what, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.01)


class GuestError(AssertionError):
    pass


class Guest:
    """A command in a sandbox that does what the test says: guest/agent.py, spoken to in lines of JSON.
    guest.connect(address=…, port=…) calls the function of that name there."""

    def __init__(self, world, options=PUBLIC, direct=IS_DIRECT, **popen):
        self.world = world
        self.errors = tempfile.TemporaryFile(mode="w+", dir=SCRATCH / "tmp")
        command = [PYTHON, "-u", str(SCRATCH / "guest/agent.py")]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors,
                   "text": True, **popen}
        if direct:
            self.process = world.host.start([*world.credentials(), *command], **streams)
        else:
            self.process = world.start(command, options, **streams)
        self._timer = None
        self.hello = self._read(15)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.process.stdin and not self.process.stdin.closed:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        stop(self.process)
        self.errors.close()

    def said(self):
        """What came on the run's stderr so far: cordon's own lines and the agent's."""
        position = self.errors.seek(0)
        text = self.errors.read()
        self.errors.seek(position, os.SEEK_END)
        return text

    def _read(self, seconds):
        def give_up():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

        timer = threading.Timer(seconds, give_up)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            raise GuestError(f"no answer from the guest (status {self.process.poll()}); it said:\n"
                             f"{self.said()}")
        return json.loads(line)

    def call(self, called, within=30, **arguments):
        try:
            self.process.stdin.write(json.dumps({"function": called, "arguments": arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; what it said last is told below
        answer = self._read(within)
        if "failure" in answer:
            raise GuestError(answer["failure"])
        return answer["result"]

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda **arguments: self.call(name, **arguments)


class NetworkTest(unittest.TestCase):
    """One guest for the whole class, made with `options`; ask self.guest."""

    options = PUBLIC
    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        cls.world = World.get()
        cls.guest = Guest(cls.world, cls.options)
        cls.addClassCleanup(cls.guest.close)

    def assert_error(self, answer, *names):
        self.assertIn(answer["error"], names, answer)


def outside(world):
    """The same agent without a sandbox, in host: what a program would see there."""
    return Guest(world, direct=True)


def _enter():
    """Executes the module again inside namespaces of its own."""
    is_root = os.geteuid() == 0
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK) or (AS_USER and is_root and not IS_DIRECT):
        mode = os.stat("/dev/net/tun").st_mode & 0o777
        if mode != 0o666:
            if not is_root:
                sys.exit("tests: /dev/net/tun is not open to this user (distributions ship mode 666)")
            print(f"tests: /dev/net/tun has mode {mode:o}; setting it to 666", file=sys.stderr)
            os.chmod("/dev/net/tun", 0o666)
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if not is_root:
        words += ["--user", "--map-root-user"]
    os.environ["CORDON_WORLD"] = "root" if is_root else "userns"
    os.execvp(words[0], [*words, PYTHON, "-B", os.path.abspath(sys.argv[0]), *sys.argv[1:]])


class _Result(unittest.TextTestResult):
    """Says how long a test took, where that was long."""

    def startTest(self, test):
        self._started = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        seconds = time.monotonic() - self._started
        if seconds > 2:
            self.stream.writeln(f"    {seconds:.1f} s")


def main():
    if "CORDON_WORLD" not in os.environ:
        if "CORDON" not in os.environ:
            sys.exit("tests: CORDON must name the program")
        os.environ["CORDON"] = os.path.abspath(os.environ["CORDON"])
        _enter()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Sockets that a failed test leaves behind are no news beside its failure.
    runner = unittest.TextTestRunner(verbosity=2, warnings="ignore", resultclass=_Result)
    unittest.main(module="__main__", testRunner=runner)


__all__ = [name for name in dir() if not name.startswith("_")]
assert errno  # used by the modules through `from world import *`
