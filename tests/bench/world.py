"""The benchmark's world, made of namespaces only: nothing outside of them is touched, nothing stays behind.

    ext   198.51.100.1/28, 2001:db8::1/64 on the wire; the servers at 198.51.100.17–.30 and 2001:db8:1::11–::1e
     │    veth `uplink`, MTU 1500
    host  198.51.100.2/28, 2001:db8::2/64; all tools run here, as an ordinary user
     └    one guest for each tool and setting

enter() executes the program again in mount, network and pid namespaces of its own, and in a user namespace
where an ordinary user started it; when it ends, however it ends, the kernel takes everything away with the
pid namespace.

Congestion control, buffer limits and port ranges are the same for all: host and ext have what is set here, and
the load programs set the congestion control of their own sockets (reno: it never paces, and every kernel has it).
"""

import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys

PYTHON = "/usr/bin/python3"
SCRATCH = pathlib.Path("/mnt")  # a tmpfs inside the benchmark's own mount namespace
ORDINARY_USER = 65534
ENTERED = "CORDON_BENCH_WORLD"

ROUTER, HOST = "198.51.100.1", "198.51.100.2"
ROUTER6, HOST6 = "2001:db8::1", "2001:db8::2"
SERVERS = {4: [f"198.51.100.{last}" for last in range(17, 31)],
           6: [f"2001:db8:1::{last:x}" for last in range(17, 31)]}
NAMESERVER = SERVERS[4][0]
PORT = 5001

WANTED_DESCRIPTORS = 65536


def enter():
    """Returns inside the namespaces; outside of them it does not return."""
    if ENTERED in os.environ:
        return
    is_root = os.geteuid() == 0
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        sys.exit("bench: /dev/net/tun is not open to this user (distributions ship mode 666)")
    if is_root and os.stat("/dev/net/tun").st_mode & 0o006 != 0o006:
        sys.exit("bench: /dev/net/tun is open to root only, and the tools run as an ordinary user: chmod 666 it")
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if not is_root:
        words += ["--user", "--map-root-user"]
        if subprocess.run([*words, "true"], capture_output=True).returncode != 0:
            sys.exit("bench: this user may not make user namespaces; run it as root, or allow them "
                     "(sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)")
    os.environ[ENTERED] = "root" if is_root else "userns"
    _raise_descriptor_limit()
    os.execvp(words[0], [*words, PYTHON, "-B", os.path.abspath(sys.argv[0]), *sys.argv[1:]])


def _raise_descriptor_limit():
    """Ten thousand flows need twenty-two thousand descriptors. Only root may raise the hard limit, and not every
    container's root."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = int(pathlib.Path("/proc/sys/fs/nr_open").read_text())
    wanted = max(hard, min(WANTED_DESCRIPTORS, most)) if os.geteuid() == 0 else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_flows():
    """Idle flows that fit the descriptor limit of whoever opens them, and of their server: one for each. What a tool
    needs is its own affair."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200) // 100 * 100


def endpoint(address):
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"


def sh(*lines):
    for line in lines:
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise RuntimeError(f"{line}: {done.stdout}{done.stderr}")


class World:
    """The namespaces, the server in ext, and copies of the programs where an ordinary user can read them."""

    def __init__(self, load, programs, is_ipv6=False):
        self.is_ipv6 = is_ipv6
        self._children = []
        self._prepare_files()
        self.load = self._copy(load, "bench_load")
        self.programs = {name: self._copy(path, name) for name, path in programs.items()}
        self.agent = self._copy(pathlib.Path(__file__).resolve().parent / "agent.py", "agent.py")
        self._make_ext()
        self._connect()
        self._start_server()

    def _prepare_files(self):
        sh(f"mount -t tmpfs -o mode=755 tmpfs {SCRATCH}",
           f"cp -r --preserve=mode,links /etc {SCRATCH}/etc 2>/dev/null || true",
           f"rm -f {SCRATCH}/etc/resolv.conf",
           f"mount --bind {SCRATCH}/etc /etc")
        pathlib.Path("/etc/resolv.conf").write_text(f"nameserver {NAMESERVER}\n")
        os.chmod("/etc/resolv.conf", 0o644)
        for name in ("tmp", "home", "log"):
            (SCRATCH / name).mkdir()
            (SCRATCH / name).chmod(0o777)

    @staticmethod
    def _copy(source, name):
        # Kept under its own name: pasta is what its first argument ends in.
        folder = SCRATCH / "bin"
        folder.mkdir(exist_ok=True)
        copy = folder / name
        shutil.copy(source, copy)
        copy.chmod(0o755)
        return str(copy)

    def _make_ext(self):
        holder = self.start(["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
                            stdout=subprocess.PIPE, text=True)
        if holder.stdout.readline().strip() != "up":
            raise RuntimeError("no network namespace for the servers")
        self._ext = f"/proc/{holder.pid}/ns/net"
        self._ext_pid = holder.pid

    def in_ext(self, words):
        return ["nsenter", f"--net={self._ext}", "--", *words]

    def _ext_sh(self, *lines):
        sh(*(f"nsenter --net={self._ext} -- {line}" for line in lines))

    def _connect(self):
        sh("ip link set lo up",
           f"ip link add uplink type veth peer name uplink netns {self._ext_pid}",
           "ip link set uplink up",
           f"ip address add {HOST}/28 dev uplink",
           f"ip -6 address add {HOST6}/64 dev uplink nodad")
        self._ext_sh("ip link set uplink up",
                     f"ip address add {ROUTER}/28 dev uplink",
                     f"ip -6 address add {ROUTER6}/64 dev uplink nodad",
                     *(f"ip address add {address}/32 dev lo" for address in SERVERS[4]),
                     *(f"ip -6 address add {address}/128 dev lo nodad" for address in SERVERS[6]),
                     "sysctl -qw net.ipv4.tcp_congestion_control=reno",
                     # The server closes first; what it keeps of the dead must not be what is measured.
                     "sh -c 'echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets'")
        sh(f"ip route add default via {ROUTER}", f"ip -6 route add default via {ROUTER6}",
           "sysctl -qw net.ipv4.tcp_congestion_control=reno")
        try:
            sh("sysctl -qw net.ipv4.ping_group_range='0 2147483647'")
        except RuntimeError:  # in a user namespace only mapped groups have a number
            sh("sysctl -qw net.ipv4.ping_group_range='0 0'")

    def servers(self):
        """The TCP endpoints of all servers that loads go to."""
        return [endpoint(address) for address in SERVERS[6 if self.is_ipv6 else 4]]

    def set_uplink_mtu(self, mtu):
        sh(f"ip link set uplink mtu {mtu}")
        self._ext_sh(f"ip link set uplink mtu {mtu}")

    def _start_server(self):
        # Half of the machine at most, so that client and tool have the other half.
        threads = str(max(1, min(4, os.cpu_count() // 2)))
        server = self.start(self.in_ext([self.load, "serve", "--tcp", f"[::]:{PORT}",
                                         "--udp", endpoint(SERVERS[4][0]), "--udp", endpoint(SERVERS[6][0]),
                                         "--dns", f"{NAMESERVER}:53", "--threads", threads]),
                            stdout=subprocess.PIPE, text=True)
        if "ready" not in server.stdout.readline():
            raise RuntimeError("the server in ext did not start")

    def credentials(self):
        """The words before a command that run it as an ordinary user."""
        if os.environ[ENTERED] == "userns":
            return ["unshare", "--user", f"--map-user={ORDINARY_USER}", f"--map-group={ORDINARY_USER}", "--"]
        return ["setpriv", "--reuid", str(ORDINARY_USER), "--regid", str(ORDINARY_USER), "--clear-groups", "--"]

    def entering_credentials(self):
        """The same for a program that enters a namespace of another ordinary user's: where each has a user namespace
        of its own, only their common parent may."""
        return [] if os.environ[ENTERED] == "userns" else self.credentials()

    def environment(self):
        return {"HOME": str(SCRATCH / "home"), "LC_ALL": "C.UTF-8", "TMPDIR": str(SCRATCH / "tmp"),
                "PATH": f"{SCRATCH}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    def start(self, words, **options):
        child = subprocess.Popen(words, start_new_session=True, cwd=str(SCRATCH / "tmp"), env=self.environment(),
                                 **options)
        self._children.append(child)
        return child

    def stop(self, child):
        """Ends a child and everything of its session."""
        if child in self._children:
            self._children.remove(child)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is None:
                try:
                    os.killpg(child.pid, number)
                    child.wait(3)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
        for stream in (child.stdin, child.stdout):
            if stream:
                try:
                    stream.close()
                except OSError:
                    pass

    @staticmethod
    def scratch_file(name, text):
        """A file that guests and tools can read; its path."""
        path = SCRATCH / "tmp" / name
        path.write_text(text)
        path.chmod(0o644)
        return str(path)

    def close(self):
        for child in list(self._children):
            self.stop(child)
