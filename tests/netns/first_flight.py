"""What a connection by name may say first (T22 to T28 of the leak suite): real clients and hellos made by hand,
against servers that note every octet they hear. What is refused reaches no server, and tells the guest why in its
own protocol; beside it stands the same thing said rightly. And budgets, on the real splice."""

import json
import pathlib
import re
import time

import named
import servers
import world
from named import ALLOW, OK4, OK6, NamedTest
from world import PUBLIC, SCRATCH, wait_until

ACCESS_DENIED = "\x15\x03\x03\x00\x02\x02\x31"  # a TLS alert: fatal, access_denied (49)
REQUEST = "GET / HTTP/1.1\nHost: {}\n\n"


class FlightTest(NamedTest):
    log = SCRATCH / "tmp/first_flight.log"

    def setUp(self):
        self.heard = [self.recorder(address, port) for address in (OK4, OK6) for port in (80, 443)]

    def everything(self):
        return b"".join(recorder.everything() for recorder in self.heard)

    def assert_passes(self, got):
        self.assertEqual((got["error"], got["text"][:4]), (None, "seen"), got)

    def assert_silent(self):
        time.sleep(0.05)
        self.assertEqual(self.everything(), b"")


class Tls(FlightTest):
    def hello(self, **options):
        return self.guest.say_hello(host="ok.example", within=20, **options)

    def assert_denied(self, **options):
        with self.subTest(**options):
            got = self.hello(**options)
            self.assertEqual(got["text"], ACCESS_DENIED, got)
            self.assert_silent()

    def test_t22_name_of_somebody_else(self):
        self.assert_denied(names=["evil.example"])
        self.assert_denied(names=["a.wild.example"])
        self.assert_passes(self.hello(names=["ok.example"]))

    def test_t23_hello_over_segments_and_records(self):
        for pieces in (2, 3, 7, 20):
            for record in (16384, 50):
                self.assert_denied(names=["evil.example"], pieces=pieces, record=record)
        for pieces in (2, 7, 20):
            with self.subTest(pieces):
                self.assert_passes(self.hello(names=["ok.example"], pieces=pieces, record=50))

    def test_t23_name_behind_a_segment_and_behind_all_that_is_looked_at(self):
        for before in (1024, 1460, 9000):
            self.assert_denied(names=["evil.example"], before=before)
        self.assert_denied(names=["ok.example"], before=17000)
        for before in (1024, 1460, 9000):
            with self.subTest(before):
                self.assert_passes(self.hello(names=["ok.example"], before=before))

    def test_t23_odd_names(self):
        self.assert_denied(names=["ok.example", "evil.example"])
        self.assert_denied(names=[OK4])
        self.assert_denied(names=["ok.example\0.evil.example"])
        for name in ("OK.Example", "ok.example."):
            with self.subTest(name):
                self.assert_passes(self.hello(names=[name], grease=True))

    def test_t23_no_name_is_fine_where_the_address_tells(self):
        self.assert_passes(self.hello())

    def test_t24_encrypted_hello_counts_by_its_outer_name(self):
        self.assert_denied(names=["public.example"], ech=True)
        self.assert_passes(self.hello(names=["ok.example"], ech=True, grease=True))

    def test_t28_tls_on_an_odd_port_is_judged_too(self):
        self.assert_denied(names=["evil.example"], port=80)

    def test_t28_other_protocols_pass(self):
        for words in ("SSH-2.0-client\n", "\1\2\3", "EHLO client\n"):
            with self.subTest(words):
                self.assert_passes(self.guest.text(host="ok.example", port=443, words=words))

    def test_openssl_is_told(self):
        out = self.words("sh", "-c", "openssl s_client -connect ok.example:443 -servername evil.example "
                                     "</dev/null 2>&1 || true")
        self.assertIn("alert access denied", out)
        self.assert_silent()

    def test_denial_is_logged(self):
        self.hello(names=["evil.example"])

        def told():
            events = [json.loads(line) for line in pathlib.Path(self.log).read_text().splitlines()]
            return [event for event in events if event.get("reason") == "first-flight"]

        wait_until(told, f"the denial in the log: {pathlib.Path(self.log).read_text()[-1500:]}", 3)
        self.assertTrue(told()[0]["destination"].endswith(":443"))
        self.assertEqual((told()[0]["name"], told()[0]["fault"]), ("evil.example", "other-name"))


class Http(FlightTest):
    def text(self, words, **options):
        return self.guest.text(host="ok.example", port=80, words=words, **options)

    def assert_forbidden(self, words, **options):
        with self.subTest(words):
            got = self.text(words, **options)
            self.assertTrue(got["text"].startswith("HTTP/1.1 403 Forbidden\r\n"), got)
            self.assert_silent()
            return got["text"]

    def test_t25_host_of_somebody_else(self):
        told = self.assert_forbidden(REQUEST.format("evil.example"))
        for part in ("rule: first-flight\n", "opened to: ok.example, allowed by --allow=ok.example\n",
                     "names: evil.example, denied by default\n", "to allow it: --allow evil.example\n",
                     "denial id="):
            self.assertIn(part, told)
        self.assert_forbidden(REQUEST.format("evil.example"), pieces=9)
        self.assert_passes(self.text(REQUEST.format("Ok.example")))

    def test_t25_what_could_be_read_in_two_ways(self):
        for words in ("GET http://evil.example/ HTTP/1.1\nHost: ok.example\n\n",
                      "GET / HTTP/1.1\nHost: ok.example\nHost: evil.example\n\n",
                      "GET / HTTP/1.1\n\n", "GET /\n", "PRI * HTTP/2.0\n\nSM\n\n",
                      "CONNECT ok.example:443 HTTP/1.1\nHost: ok.example\n\n",
                      "POST / HTTP/1.1\nHost: ok.example\nContent-Length: 1\nTransfer-Encoding: chunked\n\n",
                      "GET / HTTP/1.1\nHost: ok.example\nX: a\n b\n\n"):
            self.assert_forbidden(words)

    def test_t25_second_request_of_somebody_else(self):
        first, second = REQUEST.format("ok.example"), REQUEST.format("evil.example")
        got = self.text(first + second)
        self.assert_passes(got)
        time.sleep(0.05)
        self.assertEqual(self.everything(), first.replace("\n", "\r\n").encode())
        got = self.text(first + first)
        self.assert_passes(got)


class RealClients(NamedTest):
    web_names = ("ok.example", "a.wild.example", "evil.example")

    def test_curl_is_told_what_to_allow(self):
        out = self.words("curl", "-sS", "-H", "Host: evil.example", "http://ok.example/who")
        self.assertIn("--allow evil.example", out)
        self.assertNotIn("evil.example", self.web.log.read_text())
        self.assertIn("ok.example", self.words("curl", "-sS", "http://ok.example/who"))

    def test_curl_keeps_a_connection_alive(self):
        out = self.words("curl", "-sS", "http://ok.example/who", "http://ok.example/who")
        self.assertEqual(out.count("ok.example HTTP/1.1"), 2)
        # The second request of one connection is of another host: nothing of it reaches the server.
        out = self.words("curl", "-sS", "http://ok.example/who", "--next", "-sS", "-H", "Host: evil.example",
                         "http://ok.example/who")
        self.assertIn("ok.example HTTP/1.1", out)
        self.assertIn("cordon: denied", out)
        self.assertNotIn("evil.example", self.web.log.read_text())

    def test_name_in_the_hello_is_checked_by_curl_and_openssl(self):
        address = self.addresses("ok.example")[0]
        got = self.guest.run(command=["curl", "-sSk", "--resolve", f"a.wild.example:443:{address}",
                                      "https://a.wild.example/who"])
        self.assertNotEqual(got["status"], 0, got)
        self.assertIn("ok.example", self.words("curl", "-sS", "https://ok.example/who"))
        out = self.words("sh", "-c", "openssl s_client -connect ok.example:443 -servername ok.example -groups P-384 "
                                     "-brief </dev/null 2>&1")
        self.assertIn("Verification: OK", out)

    def test_upload_in_chunks_passes(self):
        out = self.words("sh", "-c", "head -c 300000 /dev/zero | curl -sS -T - -H 'Expect:' -X POST -o /dev/null "
                                     "-w '%{http_code}' http://ok.example/who")
        self.assertIn(out, ("200", "405"))


class Settings(FlightTest):
    log = None
    options = [*PUBLIC, "--policy", str(SCRATCH / "tls.toml")]

    @classmethod
    def prepare(cls, here):
        (SCRATCH / "tls.toml").write_text("""
            version = 1
            [[rule]]
            to = ["ok.example"]
            tls = true
            [tls]
            ech = "deny"
            """)

    def test_t28_rule_that_needs_tls(self):
        for words in ("SSH-2.0-client\n", REQUEST.format("ok.example")):
            with self.subTest(words):
                got = self.guest.text(host="ok.example", port=80, words=words)
                self.assertFalse(got["text"].startswith("seen"), got)
                self.assert_silent()
        self.assert_passes(self.guest.say_hello(host="ok.example", names=["ok.example"]))

    def test_t24_encrypted_hellos_may_be_refused(self):
        got = self.guest.say_hello(host="ok.example", names=["ok.example"], ech=True)
        self.assertEqual(got["text"], ACCESS_DENIED)
        self.assert_silent()


class Budgets(NamedTest):
    options = [*PUBLIC, "--policy", str(SCRATCH / "budgets.toml")]
    log = SCRATCH / "tmp/budgets.log"
    UP, RATE = 200_000, 400_000

    @classmethod
    def prepare(cls, here):
        (SCRATCH / "budgets.toml").write_text(f"""
            version = 1
            [[rule]]
            to = ["{OK4}:8001"]
            up = "200kB"
            [[rule]]
            to = ["{OK4}:8002"]
            rate = "400kB/s"
            [[rule]]
            to = ["{OK4}:8003"]
            flows = 1
            [[rule]]
            to = ["{OK4}:8004"]
            up = "50kB"
            [[rule]]
            to = ["{OK4}:8005"]
            down = "50kB"
            [[rule]]
            to = ["{OK4}:8006"]
            until = "1s"
            [[rule]]
            to = ["udp/{OK4}:8008"]
            up = "50kB"
            [[rule]]
            to = ["udp/{OK4}:8009"]
            down = "50kB"
            """)

    def server(self, port, serve=servers.hold):
        made = servers.TcpServer(self.world.ext, OK4, port, serve)
        self.addCleanup(made.close)
        return made

    def send(self, port, size):
        """How many octets a guest got rid of that sends `size`."""
        source = (f"import socket; s = socket.create_connection(('{OK4}', {port}), 5); s.settimeout(20); "
                  f"s.sendall(bytes({size})); s.shutdown(1); s.recv(1)")
        return self.guest.run(command=["/usr/bin/python3", "-c", source], timeout=30)

    def test_upload_budget_is_exact(self):
        taken = []

        def count(client):
            taken.append(0)
            while data := client.recv(65536):
                taken[-1] += len(data)

        self.server(8001, count)
        self.assertEqual(self.send(8001, self.UP - 1000)["status"], 0)
        self.assertNotEqual(self.send(8001, 50_000)["status"], 0)
        self.assertLessEqual(sum(taken), self.UP)
        self.assertEqual(taken[0], self.UP - 1000)
        self.assertNotEqual(self.send(8001, 1)["status"], 0)

    def test_rate_holds(self):
        self.server(8002, servers.hash_all)
        started = time.monotonic()
        self.assertEqual(self.send(8002, 3 * self.RATE)["status"], 0)
        # A burst is a tenth of a second; the rest comes at the rate.
        self.assertGreater(time.monotonic() - started, 2.5)

    def test_flows_at_one_time(self):
        self.server(8003)
        held = (f"import socket; s = socket.create_connection(('{OK4}', 8003), 5)\n"
                f"try: socket.create_connection(('{OK4}', 8003), 5)\n"
                "except OSError as error: print(type(error).__name__)\n"
                "else: print('two')")
        self.assertEqual(self.words("/usr/bin/python3", "-c", held).strip(), "ConnectionRefusedError")
        self.assert_named("tcp", 8003, "flows")

    def assert_named(self, protocol, port, limit):
        """A limit's denial names the program that met it, on stderr and in the log, by the same number."""
        line = re.compile(rf"^cordon: denied {protocol} {re.escape(OK4)}:{port} rule=limit limit={limit} id=(\d+) "
                          rf"by pid (\d+) \(python3[^)]*\); to allow it: raise {limit} ", re.MULTILINE)
        wait_until(lambda: line.search(self.guest.said()), f"the {limit} of {protocol} to be told: {self.guest.said()}")
        denial, pid = map(int, line.search(self.guest.said()).groups())
        events = [json.loads(entry) for entry in self.log.read_text().splitlines()]
        told = [event for event in events if event["event"] == "denied" and event["id"] == denial]
        self.assertEqual([(event["pid"], event["program"][:7]) for event in told], [(pid, "python3")])

    def meet(self, protocol, port, script):
        """Runs `script` inside with `s` connected; it says what became of it."""
        kind = {"tcp": "STREAM", "udp": "DGRAM"}[protocol]
        begin = (f"import socket, time; s = socket.socket(type=socket.SOCK_{kind}); s.settimeout(10); "
                 f"s.connect(('{OK4}', {port}))\n")
        return self.words("/usr/bin/python3", "-c", begin + script).strip()

    def test_limit_of_a_stream_names_the_program(self):
        def send_when_asked(client):
            client.recv(1)  # so that the limit is met behind the guest's connect(), however slow that is
            servers.source(1 << 20)(client)

        self.server(8004, servers.hash_all)
        self.server(8005, send_when_asked)
        self.server(8006)
        reset = "try:\n  {}\nexcept (ConnectionError, TimeoutError) as error: print(type(error).__name__)"
        sent = self.meet("tcp", 8004, reset.format("s.sendall(bytes(60_000)); s.recv(1); print('passed')"))
        self.assertEqual(sent, "ConnectionResetError")
        self.assert_named("tcp", 8004, "up")
        count = "while data := s.recv(65536): size += len(data)"
        self.assertEqual(self.meet("tcp", 8005, f"size = s.send(b'x') - 1\n{reset.format(count)}\nprint(size)").split(),
                         ["ConnectionResetError", "50000"])
        self.assert_named("tcp", 8005, "down")
        # Whoever comes when it is used up is refused, and named as well.
        time.sleep(1)
        self.assertEqual(self.words("/usr/bin/python3", "-c", "import socket\ntry: socket.create_connection"
                                    f"(('{OK4}', 8006), 5)\nexcept OSError as error: print(type(error).__name__)")
                         .strip(), "ConnectionRefusedError")
        self.assert_named("tcp", 8006, "until")

    def test_limit_of_datagrams_names_the_program(self):
        for port, limit in ((8008, "up"), (8009, "down")):
            self.addCleanup(servers.UdpServer(self.world.ext, OK4, port).close)
            self.meet("udp", port, "try:\n  for _ in range(60): s.send(bytes(1000)); time.sleep(0.001)\n"
                      "except OSError: pass\ntime.sleep(0.2)")
            self.assert_named("udp", port, limit)

    def test_time_that_ends_names_the_program_that_streams(self):
        (SCRATCH / "time.toml").write_text(f'version = 1\n[[rule]]\nto = ["{OK4}:8007"]\nuntil = "3s"\n')
        self.server(8007)
        log = SCRATCH / "tmp/time.log"
        with self.another_guest([*PUBLIC, "--policy", str(SCRATCH / "time.toml"), "--log", str(log)]) as guest:
            script = (f"import socket; s = socket.create_connection(('{OK4}', 8007), 5); s.settimeout(10)\n"
                      "try: s.recv(1)\nexcept ConnectionResetError: print('reset')")
            self.assertEqual(self.words("/usr/bin/python3", "-c", script, guest=guest).strip(), "reset")
            line = re.compile(r"rule=limit limit=until id=\d+ by pid \d+ \(python3")
            wait_until(lambda: line.search(guest.said()), f"the time to be told: {guest.said()}")
        denied = [json.loads(entry) for entry in log.read_text().splitlines() if '"denied"' in entry]
        self.assertEqual([event["program"][:7] for event in denied], ["python3"])


assert named and ALLOW

if __name__ == "__main__":
    world.main()
