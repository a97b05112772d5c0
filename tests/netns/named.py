"""The world of the tests by name: ext, host and guest as in world.py, and outside a DNS server of ours, web
servers with certificates, and servers that note what they hear."""

import socket
import subprocess

import servers
import zones
from world import PUBLIC, SCRATCH, Guest, NetworkTest, World

# Where things are. Everything of 198.51.100.17–.30 and 2001:db8:1::11–::1e is an address of ext.
DNS4, DNS6 = "198.51.100.20", "2001:db8:1::14"
OK4, OK6 = "198.51.100.17", "2001:db8:1::11"
EVIL4, EVIL6 = "198.51.100.18", "2001:db8:1::12"
WILD4, WILD6 = "198.51.100.19", "2001:db8:1::13"

POOL4, POOL6 = "198.18.0.0/15", "fd00::/8"
ALLOW = ["--allow", "ok.example", "--allow", "*.wild.example"]


def web(world, authority, names, folder_name="web"):
    """nginx on the addresses of ext: HTTP/1.1 on port 80, TLS with HTTP/2 on port 443. Each name answers
    /who with itself and serves SCRATCH/www; a name that is none of `names` is answered `stranger`. The log
    has a line for each request: SNI, Host, protocol, path."""
    folder = SCRATCH / folder_name
    folder.mkdir(exist_ok=True)
    log = folder / "requests"
    hosts = []
    # Every address but those that keep silent or refuse.
    addresses = [f"198.51.100.{last}" for last in range(17, 29)]
    addresses += [f"[2001:db8:1::{last:x}]" for last in range(17, 29)]
    plain, secret = ("".join(f"listen {a}:{port} DEFAULT; " for a in addresses)
                     for port in ("80", "443 ssl http2"))
    for index, name in enumerate(names):
        chain, key = authority.issue(f"{folder_name}{index}", name)
        hosts.append(f"""
          server {{ {(plain + secret).replace(" DEFAULT", "")} server_name {name};
            ssl_certificate {chain}; ssl_certificate_key {key}; root {SCRATCH}/www;
            location = /who {{ default_type text/plain; return 200 "{name} $server_protocol $ssl_protocol\\n"; }} }}""")
    chain, key = authority.issue(f"{folder_name}-stranger", "stranger.example")
    (folder / "nginx.conf").write_text(f"""
        daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error;
        events {{ worker_connections 4096; }}
        http {{
          log_format told "$ssl_server_name $host $server_protocol $request_uri"; access_log {log} told;
          types {{ application/json json; text/html html; }}
          sendfile on; ssl_protocols TLSv1.2 TLSv1.3; keepalive_requests 100000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/p;
          fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
          server {{ {(plain + secret).replace("DEFAULT", "default_server backlog=2048")}
            ssl_certificate {chain}; ssl_certificate_key {key}; return 200 "stranger\\n"; }}
          {"".join(hosts)}
        }}""")
    child = world.ext.start(["nginx", "-e", f"{folder}/error", "-c", f"{folder}/nginx.conf"],
                            stdin=subprocess.DEVNULL)
    servers._await_listener(world.ext, 443)  # pylint: disable=protected-access
    child.log = log
    return child


class Recorder(servers.TcpServer):
    """Answers whatever comes first with `seen`, and notes every octet of each connection in `heard`."""

    def __init__(self, namespace, address, port, greeting=b""):
        self.heard, self.greeting = [], greeting
        super().__init__(namespace, address, port, self._listen)

    def _listen(self, client):
        index = len(self.heard)
        self.heard.append(b"")
        if self.greeting:
            client.sendall(self.greeting)
        client.settimeout(10)
        while data := client.recv(65536):
            self.heard[index] += data
            client.sendall(b"seen")

    def everything(self):
        return b"".join(self.heard)


class NamedTest(NetworkTest):
    """One guest for the class with `options`; zones, authority and (with `web_names`) nginx outside."""

    options = [*PUBLIC, *ALLOW]
    web_names = ()
    resolv_conf = f"nameserver {DNS4}\n"
    log = None  # a path for --log

    @classmethod
    def setUpClass(cls):
        here = World.get()
        here.set_resolv_conf(cls.resolv_conf)
        cls.zones = zones.Zones(here.ext, DNS4, DNS6)
        cls.addClassCleanup(cls.zones.close)
        cls.zones.host("ok.example", OK4, OK6)
        cls.zones.host("evil.example", EVIL4, EVIL6)
        cls.zones.host("*.wild.example", WILD4, WILD6)
        cls.authority = getattr(here, "authority", None) or zones.Authority()
        here.authority = cls.authority
        if cls.web_names:
            cls.web = web(here, cls.authority, cls.web_names)
            cls.addClassCleanup(servers.stop_all, cls.web)
        cls.prepare(here)
        options = list(cls.options)
        if cls.log:
            cls.log.unlink(missing_ok=True)
            options += ["--log", str(cls.log)]
        cls.world = here
        cls.guest = cls.another_guest(options)
        cls.addClassCleanup(cls.guest.close)

    @classmethod
    def prepare(cls, here):
        """What else the class needs outside, before its guest starts."""

    @classmethod
    def another_guest(cls, options):
        here = World.get()
        return Guest(here, options, env={**here.environment(), **cls.authority.environment()})

    def words(self, *words, guest=None, timeout=20, status=0):
        """Runs a program inside and gives what it printed; it must end with `status`."""
        got = (guest or self.guest).call("run", within=timeout + 5, timeout=timeout, command=list(map(str, words)))
        self.assertEqual(got["status"], status, got)
        return got["out"]

    def dig(self, *words, guest=None):
        """(response code, answers as lines) of one query without retries."""
        out = self.words("dig", "+tries=1", "+time=3", *words, guest=guest)
        code = out.split("status: ")[1].split(",")[0] if "status: " in out else out
        section = out.split("ANSWER SECTION:\n")[1].split("\n\n")[0] if "ANSWER SECTION" in out else ""
        return code, section.splitlines()

    def addresses(self, name, guest=None, kind="A"):
        """What the resolver inside gives for `name`."""
        return [line.split()[-1] for line in self.dig(name, kind, guest=guest)[1] if f"\t{kind}\t" in line]

    def recorder(self, address, port, **options):
        made = Recorder(self.world.ext, address, port, **options)
        self.addCleanup(made.close)
        return made


__all__ = [name for name in dir() if not name.startswith("_")]
assert socket
