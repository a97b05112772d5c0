"""Real programs by name: none of them knows of a policy, a proxy or a certificate of ours, and each is known by
the names that it dials. Beside what works stands what does not: a name that no rule has."""

import base64
import hashlib
import io
import json
import os
import pathlib
import re
import struct
import subprocess
import tarfile
import time
import zipfile

import named
import servers
import world
import zones
from named import ALLOW, OK4, OK6, WILD4, NamedTest
from world import IS_FULL, ORDINARY_USER, PUBLIC, ROUTER4, SCRATCH, wait_until

DB4, DB6 = "198.51.100.22", "2001:db8:1::16"
NTP4, NTP6 = "198.51.100.23", "2001:db8:1::17"
CDN = [f"198.51.100.{last}" for last in range(24, 29)]


class Web(NamedTest):
    web_names = ("ok.example", "a.wild.example", "b.wild.example", "evil.example")

    def test_curl_speaks_every_version(self):
        for family in ("-4", "-6"):
            for version, shown in (("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")):
                with self.subTest(f"{family} {version}"):
                    out = self.words("curl", "-sS", family, version, "https://ok.example/who")
                    self.assertEqual(out, f"ok.example {shown} TLSv1.3\n")
            out = self.words("curl", "-sS", family, "--tls-max", "1.2", "https://ok.example/who")
            self.assertEqual(out, "ok.example HTTP/2.0 TLSv1.2\n")
            self.assertEqual(self.words("curl", "-sS", family, "http://ok.example/who"), "ok.example HTTP/1.1 \n")

    def test_names_of_a_wildcard_each_reach_their_own_server(self):
        for name in ("a.wild.example", "b.wild.example"):
            self.assertIn(name, self.words("curl", "-sS", f"https://{name}/who"))

    def test_name_without_a_rule_is_not_there(self):
        for name in ("evil.example", "wild.example", "sub.ok.example"):
            with self.subTest(name), self.world.wire() as wire:
                wire.settle()
                for program in (["curl", "-sS", f"https://{name}/who"], ["wget", "-q", "-O-", f"https://{name}/who"]):
                    got = self.guest.run(command=program)
                    self.assertNotEqual(got["status"], 0, got)
                self.assertEqual(self.zones.asked(name), [])
                self.assertEqual(wire.count(port=443), 0)

    def test_wget_openssl_python_and_node(self):
        self.assertIn("ok.example", self.words("wget", "-q", "-O-", "https://ok.example/who"))
        out = self.words("sh", "-c", "openssl s_client -connect ok.example:443 -servername ok.example "
                                     "-verify_return_error -brief </dev/null 2>&1")
        self.assertIn("Verification: OK", out)
        fetch = "import urllib.request as u; print(u.urlopen('https://ok.example/who').read().decode())"
        self.assertIn("ok.example", self.words(world.PYTHON, "-c", fetch))
        fetch = "fetch('https://ok.example/who').then(r => r.text()).then(t => console.log(t))"
        self.assertIn("ok.example", self.words("node", "-e", fetch))

    def test_resolvers_of_every_kind_see_the_same(self):
        """getaddrinfo of the libc, c-ares (node's dns.resolve), dig over UDP and TCP, the libc's getent."""
        of_libc = self.guest.attempt(source="sorted({a[4][0] for a in socket.getaddrinfo('ok.example', 443)})")
        four, six = sorted(eval(of_libc["value"]), key=lambda a: ":" in a)
        out = self.words("node", "-e", "const d=require('dns').promises; Promise.all([d.resolve4('ok.example'),"
                                       "d.resolve6('ok.example')]).then(r => console.log(JSON.stringify(r)))")
        self.assertEqual(json.loads(out), [[four], [six]])
        for words in ([], ["+tcp"], ["@198.51.100.99"], ["+tcp", f"@{named.DNS6}"]):
            self.assertEqual(self.addresses("ok.example"), [four], words)
            self.assertIn(six, "\n".join(self.dig("AAAA", "ok.example", *words)[1]))
        self.assertIn(six, self.words("getent", "ahosts", "ok.example"))

    def test_address_of_a_name_stays_and_leads_back(self):
        first = self.addresses("ok.example")
        for _ in range(5):
            self.assertEqual(self.addresses("ok.example"), first)
        self.assertIn("ok.example.", "".join(self.dig("-x", first[0])[1]))
        self.assertNotEqual(self.addresses("a.wild.example"), first)
        self.assertFalse(self.zones.asked(kind="PTR"))

    def test_local_names_are_answered_here(self):
        self.assertEqual(self.addresses("localhost"), ["127.0.0.1"])
        self.assertEqual(self.addresses("deep.localhost"), ["127.0.0.1"])
        self.assertEqual(len(self.addresses("host.cordon.internal")), 1)
        self.assertFalse([q for q in self.zones.asked() if "localhost" in q.name or "internal" in q.name])

    def test_name_with_one_family_is_reached_by_it(self):
        self.zones.host("v4.wild.example", OK4)
        self.zones.host("v6.wild.example", OK6)
        for name in ("v4.wild.example", "v6.wild.example"):
            self.assertIn("stranger", self.words("curl", "-sSk", f"https://{name}/who"))

    def test_address_that_does_not_answer_is_passed_over(self):
        """RFC 8305: of several addresses the first that answers is taken, after a short stagger each."""
        self.zones.host("half.wild.example", world.SILENT4, world.SILENT6, WILD4)
        started = time.monotonic()
        self.assertIn("stranger", self.words("curl", "-sSk", "https://half.wild.example/who"))
        self.assertLess(time.monotonic() - started, 5)

    def test_name_that_leads_nowhere_fails_at_once(self):
        self.zones.host("closed.wild.example", world.CLOSED4)
        answer = self.guest.connect(address="closed.wild.example", port=443, timeout=5)
        self.assert_error(answer, "ECONNREFUSED")
        got = self.dig("missing.ok.example")
        self.assertEqual(got[0], "NXDOMAIN")


class Git(NamedTest):
    web_names = ("ok.example",)
    options = [*PUBLIC, *ALLOW, "--allow", "git.example:22", "--allow", "jump.example:22"]

    @classmethod
    def prepare(cls, here):
        cls.zones.host("git.example", OK4, OK6)
        cls.zones.host("jump.example", "198.51.100.21")
        cls.zones.host("behind.example", "198.51.100.25")
        cls.ssh, cls.user, cls.key = servers.sshd(here)
        cls.addClassCleanup(servers.stop_all, cls.ssh)
        work, bare = SCRATCH / "work", SCRATCH / "www/project.git"
        subprocess.run(
            f"git init -q -b main {work} && cd {work} && git config user.email test@cordon.example && "
            "git config user.name test && head -c 1000000 /dev/urandom > data && git add . && "
            f"git commit -q -m first && git clone -q --bare {work} {bare} && git -C {bare} update-server-info && "
            f"chmod -R a+rwX {bare}", shell=True, check=True, timeout=60)

    def setUp(self):
        text = pathlib.Path(self.key).read_text()  # ssh wants a key that belongs to whoever runs it
        self.guest.attempt(source=f"open('{SCRATCH}/home/key', 'w', opener=lambda p, f: os.open(p, f, 0o600))"
                                  f".write({text!r})")
        self.config = SCRATCH / "tmp/ssh_config"
        self.config.write_text(
            f"Host *\n  User {self.user}\n  IdentityFile {SCRATCH}/home/key\n  StrictHostKeyChecking no\n"
            "  UserKnownHostsFile /dev/null\n  BatchMode yes\n  ConnectTimeout 5\n  LogLevel ERROR\n")
        self.config.chmod(0o644)

    def clone(self, url, target, *environment, extra=()):
        self.words("env", *environment, "git", "-c", "safe.directory=*", "clone", "-q", *extra, url,
                   SCRATCH / "tmp" / target, timeout=40)
        self.words("git", "-c", "safe.directory=*", "-C", SCRATCH / "tmp" / target, "fsck")

    def test_over_https(self):
        self.clone("https://ok.example/project.git", "by-https")

    def test_over_ssh(self):
        self.clone(f"ssh://git.example{SCRATCH}/www/project.git", "by-ssh",
                   f"GIT_SSH_COMMAND=ssh -F {self.config}", extra=["-u", "git -c safe.directory=* upload-pack"])
        got = self.guest.run(command=["ssh", "-F", str(self.config), "ok.example", "true"])
        self.assertNotEqual(got["status"], 0, "ok.example has a rule for 443 and 80 alone")

    def test_ssh_through_a_jump_host(self):
        """The jump host resolves and reaches what lies behind it; the guest may not do so itself."""
        out = self.words("ssh", "-F", self.config, "-J", "jump.example", "behind.example", "echo $SSH_CONNECTION")
        self.assertIn("198.51.100.25", out)
        got = self.guest.run(command=["ssh", "-F", str(self.config), "behind.example", "true"])
        self.assertNotEqual(got["status"], 0)


class Database(NamedTest):
    options = [*PUBLIC, "--allow", "db.example:5432"]

    @classmethod
    def prepare(cls, here):
        cls.zones.host("db.example", DB4, DB6)
        programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        folder = SCRATCH / "postgres"
        folder.mkdir()
        chain, key = cls.authority.issue("db", "db.example")
        if os.environ["CORDON_WORLD"] == "userns":
            words = ["unshare", "--user", f"--map-user={ORDINARY_USER}", f"--map-group={ORDINARY_USER}", "--"]
        else:
            words = ["setpriv", "--reuid", str(ORDINARY_USER), "--regid", str(ORDINARY_USER), "--clear-groups", "--"]
            os.chown(folder, ORDINARY_USER, ORDINARY_USER)
        subprocess.run([*words, programs / "initdb", "-D", folder / "data", "-U", "tester", "-A", "trust", "--no-sync"],
                       check=True, capture_output=True, timeout=60, cwd="/", env={**os.environ, "LC_ALL": "C.UTF-8"})
        subprocess.run([*words, "sh", "-c", f"cp {key} {folder}/key && chmod 600 {folder}/key && "
                        f"printf 'host all all all trust\\n' > {folder}/data/pg_hba.conf"], check=True, timeout=5)
        settings = {"listen_addresses": f"{DB4},{DB6}", "unix_socket_directories": "", "fsync": "off", "ssl": "on",
                    "ssl_cert_file": chain, "ssl_key_file": folder / "key", "shared_buffers": "16MB"}
        cls.postgres = here.ext.start([*words, programs / "postgres", "-D", folder / "data",
                                       *(word for item in settings.items() for word in ("-c", "%s=%s" % item))],
                                      stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        cls.addClassCleanup(servers.stop_all, cls.postgres)
        servers._await_listener(here.ext, 5432, 2)  # pylint: disable=protected-access

    def psql(self, command, mode="verify-full"):
        return self.words("psql", "-qAt", f"host=db.example user=tester dbname=postgres sslmode={mode} "
                          f"sslrootcert={self.authority.certificate}", "-c", command)

    def test_psql_and_pg_dump(self):
        self.assertEqual(self.psql("select ssl from pg_stat_ssl where pid = pg_backend_pid()"), "t\n")
        self.assertEqual(self.psql("select ssl from pg_stat_ssl where pid = pg_backend_pid()", "disable"), "f\n")
        self.psql("create table numbers as select n, md5(n::text) from generate_series(1, 20000) n")
        self.assertEqual(self.psql("select count(*), sum(n) from numbers"), "20000|200010000\n")
        out = self.words("pg_dump", f"host=db.example user=tester dbname=postgres sslmode=verify-full "
                         f"sslrootcert={self.authority.certificate}", "-t", "numbers", "-a", "--inserts", timeout=40)
        self.assertEqual(out.count("INSERT INTO"), 20000)

    def test_other_ports_of_that_name_are_denied(self):
        for port in (443, 80, 5433):
            self.assertIsNotNone(self.guest.connect(address="db.example", port=port)["error"])


class Registries(NamedTest):
    """npm and pip against registries of our own, as their users' default ones would be named."""

    web_names = ("registry.example", "pypi.example")
    options = [*PUBLIC, "--allow", "registry.example", "--allow", "pypi.example"]

    @classmethod
    def prepare(cls, here):
        for name in cls.web_names:
            cls.zones.host(name, OK4, OK6)
        cls.make_npm_package()
        cls.make_wheel()

    @classmethod
    def make_npm_package(cls):
        files = {"package.json": json.dumps({"name": "greeting", "version": "1.2.3", "main": "index.js"}),
                 "index.js": "module.exports = () => 'hello from a package';"}
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, words in files.items():
                entry = tarfile.TarInfo(f"package/{name}")
                entry.size = len(words)
                archive.addfile(entry, io.BytesIO(words.encode()))
        octets = packed.getvalue()
        (SCRATCH / "www/greeting-1.2.3.tgz").write_bytes(octets)
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(octets).digest()).decode()
        (SCRATCH / "www/greeting").write_text(json.dumps({
            "name": "greeting", "dist-tags": {"latest": "1.2.3"}, "versions": {"1.2.3": {
                "name": "greeting", "version": "1.2.3", "main": "index.js", "dist": {
                    "tarball": "https://registry.example/greeting-1.2.3.tgz", "integrity": integrity}}}}))

    @classmethod
    def make_wheel(cls):
        folder = SCRATCH / "www/simple/salute"
        folder.mkdir(parents=True)
        wheel = "salute-1.0-py3-none-any.whl"
        with zipfile.ZipFile(folder / wheel, "w") as archive:
            archive.writestr("salute.py", "WORDS = 'hello from a wheel'\n")
            archive.writestr("salute-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: salute\nVersion: 1.0\n")
            archive.writestr("salute-1.0.dist-info/WHEEL",
                             "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr("salute-1.0.dist-info/RECORD", "salute.py,,\nsalute-1.0.dist-info/METADATA,,\n"
                             "salute-1.0.dist-info/WHEEL,,\nsalute-1.0.dist-info/RECORD,,\n")
        (folder / "index.html").write_text(f"<!DOCTYPE html><html><body><a href='{wheel}'>{wheel}</a></body></html>")

    def test_npm_installs(self):
        folder = SCRATCH / "tmp/npm"
        folder.mkdir()
        folder.chmod(0o777)
        self.words("sh", "-c", f"cd {folder} && npm install --registry https://registry.example/ --no-audit --no-fund "
                   f"--no-update-notifier --cache {folder}/cache greeting", timeout=60)
        self.assertEqual(self.words("sh", "-c", f"cd {folder} && node -p 'require(\"greeting\")()'"),
                         "hello from a package\n")

    def test_pip_installs(self):
        target = SCRATCH / "tmp/pip"
        self.words(world.PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-cache-dir",
                   "--root-user-action", "ignore", "--index-url", "https://pypi.example/simple/", "--target", target,
                   "salute", timeout=60)
        out = self.words("env", f"PYTHONPATH={target}", world.PYTHON, "-c", "import salute; print(salute.WORDS)")
        self.assertEqual(out, "hello from a wheel\n")

    def test_package_that_brings_its_own_address_gets_nowhere(self):
        got = self.guest.run(command=["npm", "view", "--registry", "https://ok.example/", "--fetch-retries", "0",
                                      "greeting"], timeout=30)
        self.assertNotEqual(got["status"], 0, got)
        self.assertEqual(self.zones.asked("ok.example"), [])


class WebSockets(NamedTest):
    """RFC 6455 by hand: the upgrade, then messages of either side when it pleases."""

    options = [*PUBLIC, *ALLOW]

    CLIENT = """
import base64, os, socket, ssl, struct, sys, time
name, port = 'ok.example', int(sys.argv[1])
s = socket.create_connection((name, port), 5)
if port == 443:
    s = ssl.create_default_context().wrap_socket(s, server_hostname=name)
s.sendall(f'GET /chat HTTP/1.1\\r\\nHost: {name}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n'
          f'Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n'
          .encode())
reader = s.makefile('rb')
assert b'101' in reader.readline()
while reader.readline() != b'\\r\\n': pass
def receive():
    head = reader.read(2)
    return reader.read(head[1]).decode()
def send(words):
    mask = os.urandom(4)
    s.sendall(bytes([0x81, 0x80 | len(words)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(words.encode())))
for turn in range(5):
    print(receive())
    time.sleep(0.1)
    send(f'to {turn}')
    print(receive())
"""

    @staticmethod
    def serve(client):
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(4096)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)[1]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        for turn in range(5):
            time.sleep(0.3)
            client.sendall(b"\x81\x06from %d" % turn)
            head = client.recv(6, 256)
            words = bytes(b ^ head[2 + i % 4] for i, b in enumerate(client.recv(head[1] & 127, 256)))
            client.sendall(bytes([0x81, len(words)]) + words)

    def test_plain_and_encrypted(self):
        import ssl  # pylint: disable=import-outside-toplevel
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*map(str, self.authority.issue("socket", "ok.example")))

        def serve_encrypted(client):
            with context.wrap_socket(client.dup(), server_side=True) as wrapped:
                self.serve(_Exact(wrapped))
        for port, serve in ((80, self.serve), (443, serve_encrypted)):
            for address in (OK4, OK6):
                server = servers.TcpServer(self.world.ext, address, port, serve)
                self.addCleanup(server.close)
            out = self.words(world.PYTHON, "-c", self.CLIENT, port)
            self.assertEqual(out.split("\n")[:-1], [w for n in range(5) for w in (f"from {n}", f"to {n}")])


class _Exact:
    """A TLS socket that reads whole messages: MSG_WAITALL is not for those."""

    def __init__(self, wrapped):
        self.wrapped, self.sendall = wrapped, wrapped.sendall

    def recv(self, size, flags=0):
        taken = self.wrapped.recv(size)
        while flags and taken and len(taken) < size:
            taken += self.wrapped.recv(size - len(taken))
        return taken


class Time(NamedTest):
    options = [*PUBLIC, "--allow", "udp/ntp.example:123"]

    @classmethod
    def prepare(cls, here):
        cls.zones.host("ntp.example", NTP4, NTP6)
        cls.clocks = []
        for address in (NTP4, NTP6):
            clock = servers.UdpServer(here.ext, address, 123)
            clock.reply = lambda data, peer, clock=clock: clock.socket.sendto(cls.answer(data), peer)
            cls.clocks.append(clock)
            cls.addClassCleanup(clock.close)

    @staticmethod
    def answer(query):
        """A server of stratum 1 whose clock is right (RFC 5905)."""
        def stamp():
            now = time.time() + 2208988800
            return struct.pack("!II", int(now), int(now % 1 * (1 << 32)))
        header = bytes([0x24, 1, query[2], 0xEC]) + bytes(8) + b"TEST" + stamp()
        return header + query[40:48] + stamp() + stamp()

    def test_ntpdate_asks_by_name(self):
        got = self.guest.run(command=["ntpdate", "-q", "ntp.example"])
        self.assertEqual(got["status"], 0, got)
        self.assertTrue(sum(clock.count for clock in self.clocks))

    def test_other_ports_and_protocols_of_that_name_are_denied(self):
        with self.world.wire() as wire:
            self.assertIsNotNone(self.guest.udp_ask(address="ntp.example", port=124, timeout=1)["error"])
            self.assertIsNotNone(self.guest.connect(address="ntp.example", port=123)["error"])
            self.assertEqual(wire.count(destination=NTP4, leaves=True), 0)


class Rotation(NamedTest):
    """A name of a large CDN: another address at every lookup, a second's life each."""

    @classmethod
    def prepare(cls, here):
        cls.zones.add("cdn.wild.example", "A", zones.rotating(CDN), ttl=1)
        cls.echoes = [servers.TcpServer(here.ext, address, 443, servers.echo) for address in CDN]
        cls.addClassCleanup(lambda: [server.close() for server in cls.echoes])

    def test_every_connect_succeeds(self):
        count = 10000 if IS_FULL else 600
        got = self.guest.call("reconnect", within=300, address="cdn.wild.example", port=443, count=count)
        self.assertEqual(got["errors"], {}, got)
        # It did rotate: every server had a part of them.
        shares = [len(server.peers) for server in self.echoes]
        self.assertEqual(sum(shares), count)
        self.assertGreater(min(shares), count // len(CDN) // 4, shares)

    def test_flow_outlives_its_addresses_time_to_live(self):
        number = self.guest.connect(address="cdn.wild.example", port=443)["socket"]
        for turn in range(4):
            time.sleep(1.2)
            self.guest.resolves(name="cdn.wild.example")
            self.guest.send(number=number, text=f"turn {turn}\n")
            self.assertEqual(self.guest.receive_exactly(number=number, size=7)["text"], f"turn {turn}\n")


class Search(NamedTest):
    options = [*PUBLIC, "--allow", "intra.corp.example", "--allow", "ok.example"]
    resolv_conf = f"nameserver {named.DNS4}\nsearch corp.example\n"

    @classmethod
    def prepare(cls, here):
        cls.zones.host("intra.corp.example", WILD4)

    def test_short_name_is_found_by_the_hosts_search_domain(self):
        server = self.recorder(WILD4, 80)
        got = self.guest.text(host="intra", port=80, words="GET / HTTP/1.1\nHost: intra.corp.example\n\n")
        self.assertEqual((got["error"], got["text"]), (None, "seen"), got)
        self.assertTrue(server.everything())

    def test_names_that_are_tried_with_it_do_not_leave(self):
        self.zones.forget()
        self.guest.attempt(source="socket.getaddrinfo('secret', 80)")
        self.guest.attempt(source="socket.getaddrinfo('evil.example', 80)")
        self.assertEqual(self.zones.asked(), [])
        self.assertEqual(self.dig("ok.example")[0], "NOERROR")  # the twin

    def test_nor_does_a_denied_name_where_others_are_open(self):
        self.zones.forget()
        with self.another_guest([*PUBLIC, "--deny", "evil.example"]) as guest:
            guest.attempt(source="socket.getaddrinfo('evil.example', 80)")
            self.assertEqual(self.zones.asked(), [])
            guest.attempt(source="socket.getaddrinfo('missing.example', 80)")  # the twin
            self.assertTrue(self.zones.asked("missing.example.corp.example"))
            self.assertEqual(guest.said().count("denied dns"), 1, guest.said())


class ClassRules(NamedTest):
    """A rule for the local network is none for the names of the world."""

    options = [*PUBLIC, "--allow", "@lan:443", "--allow", "printer.example"]

    @classmethod
    def prepare(cls, here):
        cls.zones.host("printer.example", ROUTER4)

    def test_no_name_is_looked_up_to_see_whether_it_is_of_the_local_network(self):
        self.zones.forget()
        self.assertEqual(self.dig("secret.wild.example")[0], "NXDOMAIN")
        self.assertEqual(self.zones.asked(), [])
        # The twin: a name that is allowed may lead there.
        server = self.recorder(ROUTER4, 443)
        self.assertIsNone(self.guest.connect(address="printer.example", port=443)["error"])
        wait_until(lambda: server.peers, "the connection to the printer")


class Types(NamedTest):
    """What a rule lists is asked for, and nothing else."""

    @classmethod
    def prepare(cls, here):
        policy = SCRATCH / "tmp/types.toml"
        policy.write_text('version = 1\nallow = ["ok.example"]\n[[rule]]\nto = ["svc.example"]\n'
                          'dns = ["SRV", "MX", "TXT"]\n')
        cls.options = [*PUBLIC, "--policy", str(policy)]
        cls.zones.host("svc.example", OK4)
        cls.zones.add("svc.example", "TXT", "some text")
        cls.zones.add("svc.example", "MX", "10 mail.svc.example")
        cls.zones.add("svc.example", "SRV", "0 5 443 ok.example")
        cls.zones.add("ok.example", "TXT", "secret")

    def test_types_that_a_rule_lists(self):
        for kind, words in (("TXT", "some text"), ("MX", "mail.svc.example"), ("SRV", "443 ok.example")):
            with self.subTest(kind):
                code, lines = self.dig("svc.example", kind)
                self.assertEqual(code, "NOERROR")
                self.assertIn(words, "".join(lines))

    def test_types_that_it_does_not(self):
        self.assertEqual(self.dig("ok.example", "TXT"), ("NOERROR", []))
        self.assertEqual(self.zones.asked("ok.example", "TXT"), [])


class Modes(NamedTest):
    """How names are answered ([dns] mode), and what is done about a denial (mode)."""

    def guest_with(self, text, *options):
        policy = SCRATCH / "tmp/mode.toml"
        policy.write_text("version = 1\n" + text)
        guest = self.another_guest([*PUBLIC, "--policy", str(policy), *options])
        self.addCleanup(guest.close)
        return guest

    def test_pin_gives_true_addresses_and_knows_them_by_name(self):
        guest = self.guest_with('allow = ["ok.example"]\n[dns]\nmode = "pin"\n')
        server, other = self.recorder(OK4, 443), self.recorder(named.EVIL4, 443)
        before = guest.connect(address=OK4, port=443)
        self.assert_error(before, "ECONNREFUSED")  # nobody has asked for a name that leads there
        self.assertEqual(self.addresses("ok.example", guest=guest), [OK4])
        got = guest.say_hello(host=OK4, names=["ok.example"])
        self.assertEqual((got["error"], got["text"]), (None, "seen"))
        server.heard.clear()
        for names in ([], ["evil.example"]):
            self.assertNotEqual(guest.say_hello(host=OK4, names=names)["text"], "seen")
        self.assertEqual(server.everything(), b"")
        self.assertNotEqual(guest.say_hello(host=named.EVIL4, names=["ok.example"])["text"], "seen")
        self.assertEqual(other.heard, [])

    def test_open_relays_where_everything_public_is_allowed(self):
        guest = self.another_guest(PUBLIC)
        self.addCleanup(guest.close)
        self.assertEqual(self.addresses("ok.example", guest=guest), [OK4])
        self.assertEqual(self.addresses("evil.example", guest=guest), [named.EVIL4])

    def test_off_answers_nothing(self):
        guest = self.guest_with('allow = ["@public"]\n[dns]\nmode = "off"\n')
        self.zones.forget()
        got = guest.run(command=["dig", "+tries=1", "+time=1", "ok.example"])
        self.assertNotIn("NOERROR", got["out"])
        self.assertEqual(self.zones.asked(), [])
        self.recorder(OK4, 443)
        self.assertIsNone(guest.connect(address=OK4, port=443)["error"])

    def test_denied_name_beside_everything_public(self):
        guest = self.guest_with('default = "allow-public"\ndeny = ["evil.example"]\n')
        self.zones.forget()
        self.assertEqual(self.dig("evil.example", guest=guest)[0], "NXDOMAIN")
        self.assertEqual(self.zones.asked("evil.example"), [])
        self.assertEqual(self.dig("ok.example", guest=guest)[0], "NOERROR")

    def test_report_lets_pass_and_says_so(self):
        log = SCRATCH / "tmp/report.log"
        guest = self.guest_with('mode = "report"\nallow = ["ok.example"]\n', "--log", str(log))
        server = self.recorder(named.EVIL4, 443)
        got = guest.say_hello(host="evil.example", names=["evil.example"], family=2)
        self.assertEqual((got["error"], got["text"]), (None, "seen"), got)
        self.assertTrue(server.everything())
        world.wait_until(lambda: "evil.example" in log.read_text(), "the log to say it", 3)

    def test_ask_without_anybody_to_ask_is_a_denial(self):
        guest = self.guest_with('mode = "ask"\nallow = ["ok.example"]\n')
        self.recorder(OK4, 443)
        self.assertIsNone(guest.connect(address="ok.example", port=443)["error"])
        self.zones.forget()
        with self.world.wire() as wire:
            answer = guest.call("connect", within=45, address="evil.example", port=443, timeout=40)
            self.assertIsNotNone(answer["error"])
            self.assertEqual(wire.count(destination=named.EVIL4) + wire.count(destination=named.EVIL6), 0)
        self.assertEqual(self.zones.asked("evil.example"), [])


if __name__ == "__main__":
    world.main()
