"""The tools side by side: how each is started, and how one talks to what runs inside.

A Sandbox is one guest made by one tool at one setting, with an agent in it. All tools get the same: an
ordinary user, one published TCP port and UDP port, the servers' addresses. Peers run at their best settings
(MTU 65520) and at MTU 1500; pasta without port forwarding that was not asked for, both without tracing.
"""

import collections
import json
import os
import select
import shutil
import socket
import subprocess
import time

import processes
from world import PORT, PYTHON, SCRATCH

PUBLIC = ["--class", "public=198.51.100.0/24", "--class", "public=2001:db8::/32"]
BEST_MTU, WIRE_MTU = 65520, 1500
FIRST_RELAYED = 6901  # one for each server
FIRST_PUBLISHED = 7001  # below the range that ephemeral ports come from

Setting = collections.namedtuple("Setting", "tool mtu extra", defaults=(BEST_MTU, ()))


class Stalled(Exception):
    """A tool or a load did not do what it should have in time, or failed; its text says what."""


class Sandbox:
    """One guest. Its tool's processes are `roots` and all below them."""

    def __init__(self, world, setting, published):
        self.world, self.setting, self.published = world, setting, published
        self.roots = []
        self.dns = []  # the words that say whom to ask, where resolv.conf does not
        self.guest_port = PORT
        self.log = open(SCRATCH / "log" / f"{setting.tool}-{setting.mtu}-{published}", "w+")
        self._buffer = b""
        self.is_dead = False
        try:
            self._start()
            self._read(15)
            self._wait_until_usable()
        except Exception:
            self.close()
            raise

    def _start(self):
        raise NotImplementedError

    def _wait_until_usable(self):
        pass

    def _agent(self):
        return [PYTHON, "-u", self.world.agent]

    def _start_agent(self, words):
        self.process = self.world.start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)

    def said(self):
        self.log.flush()
        self.log.seek(0)
        return " | ".join(line.strip() for line in self.log.read().splitlines()[-5:] if "syslog" not in line)

    # The agent.

    def _read(self, seconds):
        end = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            stream = self.process.stdout
            got = os.read(stream.fileno(), 1 << 16) if left > 0 and select.select([stream], [], [], left)[0] else b""
            if not got:
                self.is_dead = True
                raise Stalled(f"no answer from inside; {self.said()}")
            self._buffer += got
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    def _ask(self, seconds, **request):
        try:
            self.process.stdin.write(json.dumps({**request, "seconds": seconds}).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            self.is_dead = True
            raise Stalled(f"{error}; {self.said()}") from None
        return self._read(seconds + 5)

    def load(self, *words, seconds=30):
        """Runs a load to its end; its result."""
        return self._result(words, self._ask(seconds, run=[self.world.load, *map(str, words)]))

    def load_beside(self, other, *words, seconds=30):
        """The same, while another one runs that began a moment before."""
        script = ('load=$1; shift; "$load" %s >/dev/null 2>&1 & sleep 0.2; "$load" "$@"; status=$?; kill $!; exit $status'
                  % " ".join(map(str, other)))
        return self._result(words, self._ask(seconds, run=["sh", "-c", script, "sh", self.world.load, *map(str, words)]))

    def start_load(self, *words, seconds=30):
        """Starts one that says when it is ready, and returns its number."""
        answer = self._ask(seconds, start=[self.world.load, *map(str, words)])
        if answer["id"] is None:
            raise Stalled(answer["err"].strip() or f"{words[0]} did not become ready")
        return answer["id"]

    def finish_load(self, number, seconds=30):
        return self._result(("the load",), self._ask(seconds, finish=number))

    def kill_load(self, number):
        self._ask(5, kill=number)

    @staticmethod
    def _result(words, answer):
        if answer["status"] != 0:
            raise Stalled(answer["err"].strip() or f"{words[0]} ended with status {answer['status']}")
        return json.loads(answer["out"].splitlines()[-1])

    # What the tool costs.

    def pids(self):
        return processes.tree(self.roots, self.world.agent)

    def cpu_seconds(self):
        return processes.cpu_seconds(self.pids())

    def close(self):
        self.is_dead = True
        if hasattr(self, "process"):
            self.world.stop(self.process)
        self.log.close()


class Direct(Sandbox):
    """No tool: the agent in host."""

    def _start(self):
        self.guest_port = self.published
        self._start_agent([*self.world.credentials(), *self._agent()])

    def pids(self):
        return []


class Relay(Direct):
    """No sandbox either, and every TCP connection through a bare relay in host: about what any tool pays that takes
    connections apart in user space."""

    def __init__(self, world, setting, published):
        self._ports = {server: f"127.0.0.1:{FIRST_RELAYED + place}" for place, server in enumerate(world.servers())}
        super().__init__(world, setting, published)

    def _start(self):
        super()._start()
        words = sum((["--listen", port, "--to", server] for server, port in self._ports.items()), [])
        self._relay = self.world.start([*self.world.credentials(), self.world.load, "relay", *words],
                                       stdout=subprocess.PIPE, stderr=self.log, text=True)
        if "ready" not in self._relay.stdout.readline():
            raise Stalled(f"the relay did not start; {self.said()}")

    def load(self, *words, seconds=30):
        return super().load(*(self._ports.get(word, word) for word in words), seconds=seconds)

    def pids(self):
        return [self._relay.pid]

    def close(self):
        super().close()
        if hasattr(self, "_relay"):
            self.world.stop(self._relay)


class Cordon(Sandbox):
    @staticmethod
    def options(mtu, published=None):
        words = [*PUBLIC, "--mtu", str(mtu)]
        if published:
            words += ["--publish", f"{published}:{PORT}", "--publish", f"{published}:{PORT}/udp"]
        return words

    def _start(self):
        options = [*self.options(self.setting.mtu, self.published), *self.setting.extra]
        self._start_agent([*self.world.credentials(), self.world.programs["cordon"], "run", *options, "--",
                           *self._agent()])
        self.roots = [self.process.pid]

    @classmethod
    def command(cls, world, mtu, extra=()):
        """The words that run a command inside, without the change of user."""
        return [world.programs["cordon"], "run", *cls.options(mtu), *extra, "--"]


class Pasta(Sandbox):
    @staticmethod
    def options(mtu, published=None):
        forward = f"127.0.0.1/{published}:{PORT}" if published else "none"
        return ["--config-net", "--quiet", "--foreground", "--mtu", str(mtu), "-t", forward, "-u", forward,
                "-T", "none", "-U", "none"]

    def _start(self):
        self._start_agent([*self.world.credentials(), self.world.programs["pasta"],
                           *self.options(self.setting.mtu, self.published), "--", *self._agent()])
        self.roots = [self.process.pid]

    @classmethod
    def command(cls, world, mtu, extra=()):
        return [world.programs["pasta"], *cls.options(mtu), "--"]


class Slirp4netns(Sandbox):
    """slirp4netns enters a namespace that somebody else has made; unshare(1) does."""

    START = """
        d=$(mktemp -d) && mkfifo $d/made $d/ready $d/go
        unshare --user --map-root-user --net -- sh -c "echo >$d/made; read _ <$d/go; exec \\"\\$@\\"" sh "$@" &
        guest=$!
        read _ <$d/made
        slirp4netns --configure --mtu=MTU --ready-fd=3 $guest tap0 3>$d/ready >/dev/null 2>&1 &
        read _ <$d/ready
        echo >$d/go
        wait $guest; status=$?
        kill $! && wait $!
        rm -r $d
        exit $status"""

    def _start(self):
        world, mtu = self.world, self.setting.mtu
        self.dns = ["--to", "10.0.2.3:53"]
        # Told to wait until its network is there.
        self._start_agent([*world.credentials(), "unshare", "--user", "--map-root-user", "--net", "--",
                           "sh", "-c", 'read _; exec "$@"', "sh", *self._agent()])
        time.sleep(0.2)
        api = SCRATCH / "tmp" / f"slirp-{self.published}"
        ready, written = os.pipe()
        words = [world.programs["slirp4netns"], "--configure", *self._family(), f"--mtu={mtu}", f"--api-socket={api}",
                 f"--ready-fd={written}", str(self.process.pid), "tap0"]
        self._slirp = world.start([*world.entering_credentials(), *words], stdout=self.log, stderr=self.log,
                                  pass_fds=[written])
        os.close(written)
        is_ready = select.select([ready], [], [], 10)[0] and os.read(ready, 1)
        os.close(ready)
        if not is_ready:
            raise Stalled(f"slirp4netns did not become ready; {self.said()}")
        self.roots = [self._slirp.pid]
        for protocol in ("tcp", "udp"):
            self._forward(api, protocol)
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def _family(self):
        return ["--enable-ipv6"] if self.world.is_ipv6 else []

    def _wait_until_usable(self):
        """Its IPv6 address comes by router advertisement, some time after it says that it is ready."""
        if self.world.is_ipv6:
            self._ask(10, run=["sh", "-c", "until ip -6 route show default | grep -q via; do sleep 0.1; done; sleep 2"])

    def _forward(self, api, protocol):
        request = {"execute": "add_hostfwd", "arguments": {"proto": protocol, "host_addr": "127.0.0.1",
                                                           "host_port": self.published, "guest_port": PORT}}
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(5)
            channel.connect(str(api))
            channel.sendall(json.dumps(request).encode())
            channel.shutdown(socket.SHUT_WR)
            answer = channel.recv(4096).decode()
        if "error" in answer:
            raise Stalled(f"slirp4netns: {answer}")

    def close(self):
        super().close()
        if hasattr(self, "_slirp"):
            self.world.stop(self._slirp)

    @classmethod
    def command(cls, world, mtu, extra=()):
        return ["sh", "-c", cls.START.replace("MTU", str(mtu)), "sh"]


KINDS = {"direct": Direct, "relay": Relay, "cordon": Cordon, "pasta": Pasta, "slirp4netns": Slirp4netns}


def find_peers(words):
    """{"pasta": path} of what is there, and the names of what is not. A word is a name or name=path."""
    found, missing = {}, []
    for word in filter(None, words.split(",")):
        name, _, path = word.partition("=")
        if name not in KINDS or name in ("direct", "relay", "cordon"):
            raise SystemExit(f"bench: {name}: no such peer; there are pasta and slirp4netns")
        path = shutil.which(path or name)
        if path:
            found[name] = os.path.realpath(path) if name != "pasta" else _fastest_pasta(path)
        else:
            missing.append(word)
    return found, missing


def _fastest_pasta(path):
    """pasta executes the AVX2 build of itself that lies beside it; a copy elsewhere would not find it."""
    faster = f"{path}.avx2"
    with open("/proc/cpuinfo") as cpu:
        has_avx2 = "avx2" in cpu.read()
    return faster if has_avx2 and os.access(faster, os.X_OK) else path


def version_of(path):
    """The distribution's package where the program is one, else the first line that it says of itself."""
    if shutil.which("dpkg-query"):
        owner = _said_by("dpkg-query", "-S", path).partition(":")[0]
        if owner:
            return _said_by("dpkg-query", "-W", "-f", "${Package} ${Version}", owner)
    return _said_by(path, "--version").partition("\n")[0] or "unknown version"


def _said_by(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def new_sandbox(world, setting, counter):
    """A fresh guest; `counter` gives each a published port of its own."""
    return KINDS[setting.tool](world, setting, FIRST_PUBLISHED + next(counter))


