"""The leak suite of the design (leaks.md), against a running cordon: each test is named by the line of that list
that it is. The policy allows ok.example and *.wild.example (ports 443 and 80), and nothing else. Every denial
stands beside something that is allowed, and is counted on the host's wire: nothing.

Lines that other modules show at length have a short test here as well:
    T18, T19, T20, T39  policy.py (HostsOwnAddresses, OtherSandbox)     T31, T32, T36  tests/world, tests/fuzz
    T37                 control.py                                      T38            names.py (Rotation)
    T41                 faults.py, walls.py                             T42, T43, T44  tests/isolation
    T22 to T29          first_flight.py
"""

import contextlib
import json
import os
import re
import socket
import time

import named
import servers
import world
from named import EVIL4, EVIL6, OK4, OK6, NamedTest
from world import HOST4, HOST6, PUBLIC, ROUTER4, SCRATCH, Guest, wait_until

REFUSED = ("ECONNREFUSED", "EACCES", "EHOSTUNREACH", "ENETUNREACH")
ACCESS_DENIED = "\x15\x03"  # a TLS alert; level fatal and access_denied (49) follow


class LeakTest(NamedTest):
    log = SCRATCH / "tmp/leaks.log"

    @contextlib.contextmanager
    def nothing_leaves(self, *destinations, dns=True):
        """Within the block not one packet goes to `destinations` (all of ext, where none are given, beside the
        DNS server) nor, with `dns`, to the DNS server."""
        self.zones.forget()
        with self.world.wire() as wire:
            yield wire
            time.sleep(0.05)
            left = [p for p in wire.packets() if p["leaves"] and p["protocol"] in (1, 6, 17, 132, 47, 50, 51, 2)]
            if destinations:
                left = [p for p in left if p["destination"] in destinations or (dns and p.get("port") == 53)]
            elif not dns:
                left = [p for p in left if p.get("port") != 53]
            self.assertEqual(left, [])
        if dns:
            self.assertEqual(self.zones.asked(), [])

    def assert_reaches_ok(self, guest=None, host="ok.example"):
        """The twin: the same guest, something that is allowed."""
        server = servers.TcpServer(self.world.ext, OK4, 80, servers.echo)
        six = servers.TcpServer(self.world.ext, OK6, 80, servers.echo)
        try:
            words = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"
            got = (guest or self.guest).ask(address=host, port=80, text=words)
            self.assertEqual((got["error"], got.get("text")), (None, words))
        finally:
            server.close()
            six.close()

    def assert_refused(self, address, port, guest=None):
        answer = (guest or self.guest).connect(address=address, port=port, timeout=3)
        self.assert_error(answer, *REFUSED)
        return answer

    def events(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def assert_logged(self, *words):
        """An event in the log has all of `words`."""
        wait_until(lambda: any(all(word in json.dumps(event) for word in words) for event in self.events()),
                   f"{words} in the log:\n{self.log.read_text()[-2000:]}", 3)


class Dns(LeakTest):
    def test_t01_query_for_a_denied_name(self):
        with self.nothing_leaves():
            self.assertEqual(self.dig("secret.evil.example"), ("NXDOMAIN", []))
            self.assertEqual(self.dig("+tcp", "secret2.evil.example"), ("NXDOMAIN", []))
            self.assertIn("EDE: 17", self.words("dig", "+tries=1", "secret.evil.example"))
        self.assert_logged("secret.evil.example")
        self.assertEqual(self.dig("ok.example")[0], "NOERROR")
        self.assertTrue(self.zones.asked("ok.example"))

    def test_t02_servers_of_ones_own(self):
        with self.nothing_leaves():
            for server in ("8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", EVIL4, EVIL6, named.DNS4, ROUTER4):
                for transport in ("+notcp", "+tcp"):
                    with self.subTest(f"{server} {transport}"):
                        self.assertEqual(self.dig(f"@{server}", transport, "secret.evil.example")[0], "NXDOMAIN")
        self.assertEqual(self.dig("@8.8.8.8", "ok.example")[0], "NOERROR")

    def test_t03_other_types_of_an_allowed_name(self):
        self.zones.add("ok.example", "TXT", "secret")
        with self.nothing_leaves():
            for kind in ("TXT", "NULL", "ANY", "SOA", "NS", "TYPE65280"):
                with self.subTest(kind):
                    code, lines = self.dig("ok.example", kind)
                    self.assertIn(code, ("NOERROR", "NOTIMP"))
                    self.assertEqual(lines, [])
            out = self.words("dig", "+tries=1", "+time=2", "CH", "TXT", "version.bind")
            self.assertNotIn("ANSWER SECTION", out)
            got = self.guest.run(command=["dig", "+tries=1", "+time=2", "AXFR", "ok.example"])
            self.assertNotIn("secret", got["out"])
        self.assertEqual(self.dig("ok.example", "A")[0], "NOERROR")

    def test_t04_covert_bits_of_a_query_do_not_show_upstream(self):
        self.zones.forget()
        for words in (["oK.ExAmPlE"], ["+subnet=198.51.100.77/32", "OK.example"], ["+cookie", "ok.EXAMPLE"],
                      ["+padding=400", "ok.example"], ["+nsid", "+bufsize=777", "+dnssec", "ok.example"]):
            self.assertEqual(self.dig(*words)[0], "NOERROR")
        asked = self.zones.asked()
        self.assertTrue(asked)
        for query in asked:
            self.assertEqual((query.raw, query.klass, query.options), ("ok.example", 1, ()))
            self.assertLess(query.size, 60)
        self.assertGreater(len({q.source_port for q in asked}), len(asked) // 2)

    def test_t05_labels_under_a_wildcard_have_a_budget(self):
        with self.another_guest(self.options) as guest:
            self.zones.forget()
            source = ("len([n for n in range(1000) if resolves(f'{n:04}-secret.wild.example')])")
            guest.call("attempt", within=120, source=source)
            names = {query.name for query in self.zones.asked()}
            self.assertLessEqual(len(names), 61)
            self.assertGreater(len(names), 10)
            self.assertEqual(self.dig("ok.example", guest=guest)[0], "NOERROR")

    def test_t06_encrypted_resolvers(self):
        self.zones.host("dns.google", "198.51.100.24")
        self.zones.host("cloudflare-dns.com", "198.51.100.24")
        with self.nothing_leaves():
            for name in ("dns.google", "cloudflare-dns.com"):
                self.assertEqual(self.dig(name)[0], "NXDOMAIN")
            self.assert_refused("1.1.1.1", 443)
            self.assert_refused("1.1.1.1", 853)
            self.assertIsNotNone(self.guest.udp_ask(address="1.1.1.1", port=853, timeout=1)["error"])
        self.addresses("ok.example")
        with self.nothing_leaves(dns=False):
            self.assert_refused("ok.example", 853)
            self.assertIsNotNone(self.guest.udp_ask(address="ok.example", port=853, timeout=1)["error"])
        # Where the whole public internet is allowed, a group of denials keeps programs from them.
        with self.another_guest([*PUBLIC, "--allow", "@public", "--use", "doh"]) as guest:
            with self.nothing_leaves("1.1.1.1", "198.51.100.24"):
                self.assertEqual(self.dig("dns.google", guest=guest)[0], "NXDOMAIN")
                self.assert_refused("1.1.1.1", 443, guest)
                self.assert_refused("198.51.100.24", 853, guest)
            self.assert_reaches_ok(guest, OK4)

    def test_t07_reverse_lookups(self):
        with self.nothing_leaves():
            for address in ("8.8.8.8", "10.1.2.3", EVIL4, EVIL6):
                self.assertEqual(self.dig("-x", address)[1], [])
        address = self.addresses("ok.example")[0]
        self.assertIn("ok.example.", "".join(self.dig("-x", address)[1]))

    def test_t08_a_name_that_is_only_mentioned_is_not_looked_up(self):
        self.recorder(OK4, 443)
        self.recorder(OK6, 443)
        self.recorder(OK4, 80)
        self.recorder(OK6, 80)
        self.zones.forget()
        self.guest.say_hello(host="ok.example", names=["secret.evil.example"])
        self.guest.text(host="ok.example", port=80, words="GET / HTTP/1.1\nHost: secret.evil.example\n\n")
        self.guest.text(host="ok.example", port=80, words="CONNECT secret.evil.example:443 HTTP/1.1\n\n")
        self.assertEqual({query.name for query in self.zones.asked()} - {"ok.example"}, set())
        self.assertTrue(self.zones.asked("ok.example"))

    def test_t09_names_that_do_not_exist_stay_so(self):
        self.zones.records["nowhere.wild.example"] = {}
        self.zones.forget()
        code, lines = self.dig("nowhere.wild.example")
        self.assertIn((code, lines), (("NXDOMAIN", []), ("NOERROR", [])))
        with self.another_guest([*PUBLIC, "--allow", ".gone.example"]) as guest:
            self.assertEqual(self.dig("a.gone.example", guest=guest), ("NXDOMAIN", []))
        self.assertEqual({query.name for query in self.zones.asked()}, {"nowhere.wild.example", "a.gone.example"})

    def test_t10_aliases(self):
        self.zones.add("alias.wild.example", "CNAME", "evil.example")
        server = self.recorder(EVIL4, 80)
        self.recorder(EVIL6, 80)
        got = self.guest.text(host="alias.wild.example", port=80, words="GET / HTTP/1.1\nHost: alias.wild.example\n\n",
                              family=socket.AF_INET)
        self.assertEqual(got["text"], "seen", got)  # known by the name that was dialled
        self.assertTrue(server.everything())
        self.assertEqual(self.dig("evil.example")[0], "NXDOMAIN")
        for link in range(12):
            self.zones.add(f"c{link}.wild.example", "CNAME", f"c{link + 1}.wild.example")
        self.zones.host("c12.wild.example", OK4)
        self.assertEqual(self.addresses("c0.wild.example"), [])
        self.assertEqual(len(self.addresses("c6.wild.example")), 1)

    def test_t12_service_records_carry_no_key_and_no_hint(self):
        self.zones.add("ok.example", "HTTPS", b"\0\1\0\0\1\0\3\2h3")
        with self.nothing_leaves():
            for kind in ("HTTPS", "SVCB", "TYPE65", "TYPE64"):
                self.assertEqual(self.dig("ok.example", kind), ("NOERROR", []))
        self.assertEqual(len(self.addresses("ok.example")), 1)

    def test_t13_discovery_on_the_link_goes_nowhere(self):
        with self.nothing_leaves():
            for address, port in (("224.0.0.251", 5353), ("ff02::fb", 5353), ("224.0.0.252", 5355),
                                  ("ff02::1:3", 5355), ("255.255.255.255", 137), ("239.255.255.250", 1900),
                                  ("ff02::c", 1900), ("239.255.255.250", 3702), ("ff02::c", 3702)):
                number = self.guest.udp(address="::" if ":" in address else "0.0.0.0")["socket"]
                self.guest.attempt(source=f"SOCKETS[{number}].setsockopt(1, 6, 1)")  # SO_BROADCAST
                self.guest.attempt(source=f"SOCKETS[{number}].sendto(b'who is there', ('{address}', {port}) + "
                                          f"((0, 2) if ':' in '{address}' else ()))")
                self.guest.hang_up(number=number)
            time.sleep(0.2)
        self.assert_reaches_ok()


class Rebinding(LeakTest):
    """T14: a name that leads into a floor class is not dialled, whatever the policy says of the name."""

    INSIDE = ("127.0.0.1", "127.0.0.53", "0.0.0.0", "10.1.2.3", "192.168.7.7", "172.16.9.9", "100.64.0.1",
              "169.254.169.254", "169.254.3.4", "255.255.255.255", "224.0.0.1", "240.0.0.1", HOST4, ROUTER4,
              "198.51.100.113", "::1", "::", "fe80::1", "fc00::7", "fd00:ec2::254", HOST6, "::ffff:10.1.2.3",
              "64:ff9b::a01:203", "2002:a01:203::1", "2001:db8:b::1", "ff02::1")

    @classmethod
    def prepare(cls, here):
        here.host.run("ip link add bridge0 type bridge", "ip link set bridge0 up",
                      "ip address add 198.51.100.113/28 dev bridge0",
                      "ip -6 address add 2001:db8:b::1/64 dev bridge0 nodad")
        cls.addClassCleanup(here.host.run, "ip link del bridge0")
        cls.at_home = [servers.TcpServer(here.host, address, 443, servers.echo) for address in ("0.0.0.0", "::")]
        cls.addClassCleanup(lambda: [server.close() for server in cls.at_home])

    def test_t14_each_floor_class(self):
        for number, address in enumerate(self.INSIDE):
            name = f"r{number}.wild.example"
            self.zones.host(name, address)
            with self.subTest(address), self.nothing_leaves(address, ROUTER4, dns=False):
                answer = self.guest.connect(address=name, port=443, timeout=3)
                self.assertIsNotNone(answer["error"], answer)
        self.assertEqual([peer for server in self.at_home for peer in server.peers], [])
        self.assert_logged("rebind")
        self.zones.host("r99.wild.example", OK4)
        self.recorder(OK4, 443)
        self.assertEqual(self.guest.connect(address="r99.wild.example", port=443)["error"], None)

    def test_t14_bad_addresses_beside_a_good_one_are_left_out(self):
        self.zones.host("mixed.wild.example", "127.0.0.1", HOST4, OK4, "::1", HOST6)
        server = self.recorder(OK4, 443)
        for _ in range(5):
            self.assertIsNone(self.guest.connect(address="mixed.wild.example", port=443)["error"])
        wait_until(lambda: len(server.peers) == 5, "five connections to the good one")
        self.assertEqual([peer for one in self.at_home for peer in one.peers], [])

    def test_t14_private_addresses_where_a_rule_says_so(self):
        self.zones.host("intern.example", ROUTER4)
        policy = SCRATCH / "tmp/private.toml"
        server = self.recorder(ROUTER4, 443)
        for private, error in (("true", None), ("false", True)):
            policy.write_text(f'version = 1\n[[rule]]\nto = ["intern.example"]\nprivate = {private}\n')
            with self.another_guest([*PUBLIC, "--policy", str(policy)]) as guest:
                answer = guest.connect(address="intern.example", port=443, timeout=3)
                self.assertEqual(answer["error"] is not None, error is not None, answer)
        self.assertEqual(len(server.peers), 1)

    def test_t17_metadata_services(self):
        self.zones.host("metadata.google.internal", "169.254.169.254")
        addresses = ("169.254.169.254", "fd00:ec2::254", "169.254.170.2", "100.100.100.200", "168.63.129.16",
                     "192.0.0.192")
        for options in (self.options, [*PUBLIC, "--allow", "@public", "--allow", "metadata.google.internal",
                                       "--allow", "@linklocal", "--allow", "@lan", "--allow", "169.254.0.0/16"]):
            with self.another_guest(options) as guest, self.nothing_leaves(*addresses, dns=False):
                for address in (*addresses, "metadata.google.internal"):
                    with self.subTest(f"{address} {options}"):
                        answer = guest.connect(address=address, port=80, timeout=3)
                        self.assertIsNotNone(answer["error"])
                        self.assertNotEqual(answer["error"], "TIMEOUT")
        self.assert_reaches_ok()
        # A rule that names the class is the way to them.
        with self.another_guest([*PUBLIC, "--allow", "@metadata"]) as guest, self.world.wire() as wire:
            guest.connect(address="169.254.169.254", port=80, timeout=1)
            self.assertGreater(wire.count(destination="169.254.169.254"), 0)

    def test_t18_address_that_the_host_has_just_got(self):
        for number in range(20):
            address = f"198.51.100.{200 + number}"
            self.zones.host(f"n{number}.wild.example", address)
            self.addresses(f"n{number}.wild.example")
            self.world.host.run(f"ip address add {address}/32 dev uplink")
            self.addCleanup(self.world.host.run, f"ip address del {address}/32 dev uplink")
            self.assertIsNotNone(self.guest.connect(address=f"n{number}.wild.example", port=443, timeout=3)["error"])
        self.assertEqual([peer for server in self.at_home for peer in server.peers], [])
        self.assert_reaches_ok()

    def test_t19_another_sandboxs_published_port_by_name(self):
        self.zones.host("neighbour.wild.example", HOST4, HOST6)
        with Guest(self.world, [*PUBLIC, "--publish", f"{HOST4}:9443:80", "--publish", f"[{HOST6}]:9443:80"]) as other:
            other.listen(port=80, address="::")
            with self.another_guest([*PUBLIC, "--allow", "*.wild.example:9443"]) as guest:
                self.assertIsNotNone(guest.connect(address="neighbour.wild.example", port=9443, timeout=3)["error"])
            with self.world.ext.socket(HOST4) as client:
                client.settimeout(3)
                client.connect((HOST4, 9443))  # the twin: from the wire it is there

    def test_t20_hosts_own_address_of_a_public_prefix(self):
        """2001:db8:b::1 and 198.51.100.113 are declared public here, and are the host's own all the same."""
        with self.another_guest([*PUBLIC, "--allow", "@public"]) as guest:
            for address in (HOST4, HOST6, "198.51.100.113", "2001:db8:b::1"):
                self.assertIsNotNone(guest.connect(address=address, port=443, timeout=3)["error"])
            self.assert_reaches_ok(guest, OK4)
        self.assertEqual([peer for server in self.at_home for peer in server.peers], [])


class Flights(LeakTest):
    """What a connection says first (T21 to T29), with servers that note what they hear."""

    @classmethod
    def prepare(cls, here):
        cls.ok = [named.Recorder(here.ext, address, port) for address in (OK4, OK6) for port in (80, 443)]
        cls.evil = [named.Recorder(here.ext, address, port) for address in (EVIL4, EVIL6) for port in (80, 443)]
        cls.addClassCleanup(lambda: [server.close() for server in (*cls.ok, *cls.evil)])

    def setUp(self):
        for server in (*self.ok, *self.evil):
            server.heard.clear()

    def heard(self):
        return b"".join(server.everything() for server in self.ok)

    def assert_told_to_the_server(self, got):
        self.assertIsNone(got["error"], got)
        self.assertRegex(got["text"], "^(seen)+$", got)  # once for each piece that the server read
        self.assertTrue(self.heard())

    def assert_kept(self, got):
        """Whatever the guest sees, the server has heard nothing."""
        self.assertNotEqual(got["text"], "seen", got)
        time.sleep(0.1)
        self.assertEqual(self.heard(), b"")

    def test_t21_address_of_an_allowed_name_by_itself(self):
        with self.nothing_leaves(OK4, OK6, EVIL4, EVIL6):
            for address in (OK4, OK6):
                got = self.guest.say_hello(host=address, names=["ok.example"])
                self.assertIn(got["error"], REFUSED)
        self.assert_told_to_the_server(self.guest.say_hello(host="ok.example", names=["ok.example"]))

    def test_t22_one_server_for_many_names(self):
        got = self.guest.say_hello(host="ok.example", names=["evil.example"])
        self.assert_kept(got)
        self.assertEqual(got["text"][:2] + got["text"][-2:], ACCESS_DENIED + "\x02\x31")
        with self.nothing_leaves(EVIL4, EVIL6):
            got = self.guest.say_hello(host=EVIL4, names=["ok.example"])
            self.assertIn(got["error"], REFUSED)
        self.assert_told_to_the_server(self.guest.say_hello(host="ok.example", names=["ok.example"]))

    def test_t23_names_in_every_shape(self):
        shapes = [{"record": 37}, {"pieces": 2}, {"pieces": 20}, {"record": 50, "pieces": 5}, {"before": 1100},
                  {"before": 1500}, {"before": 1700, "pieces": 3}, {"grease": True}, {"after": 9000}]
        for shape in shapes:
            with self.subTest(shape):
                self.setUp()
                self.assert_kept(self.guest.say_hello(host="ok.example", names=["evil.example"], **shape))
                self.assert_told_to_the_server(self.guest.say_hello(host="ok.example", names=["ok.example"], **shape))
        for names, is_fine in ((["OK.Example"], True), (["evil.example", "ok.example"], False),
                               (["ok.example", "evil.example"], False), ([EVIL4], False),
                               (["ok.example.evil.example"], False), ([], True)):
            with self.subTest(names):
                self.setUp()
                got = self.guest.say_hello(host="ok.example", names=names)
                (self.assert_told_to_the_server if is_fine else self.assert_kept)(got)

    def test_t23_what_no_client_should_say(self):
        with self.subTest("a ClientHello that never ends"):
            self.assert_kept(self.guest.say_hello(host="ok.example", names=["evil.example"], before=40000))

    def test_t24_encrypted_client_hello(self):
        self.assert_told_to_the_server(self.guest.say_hello(host="ok.example", names=["ok.example"], ech=True))
        self.setUp()
        self.assert_kept(self.guest.say_hello(host="ok.example", names=["evil.example"], ech=True))
        policy = SCRATCH / "tmp/ech.toml"
        policy.write_text('version = 1\nallow = ["ok.example"]\n[tls]\nech = "deny"\n')
        with self.another_guest([*PUBLIC, "--policy", str(policy)]) as guest:
            self.assert_kept(guest.say_hello(host="ok.example", names=["ok.example"], ech=True))
            self.assert_told_to_the_server(guest.say_hello(host="ok.example", names=["ok.example"]))

    def test_t25_host_of_every_request(self):
        good = "GET / HTTP/1.1\nHost: ok.example\n\n"
        for words in ("GET / HTTP/1.1\nHost: evil.example\n\n", "GET http://evil.example/ HTTP/1.1\nHost: ok.example\n\n",
                      "GET / HTTP/1.1\nHost: ok.example\nHost: evil.example\n\n",
                      "CONNECT evil.example:443 HTTP/1.1\nHost: evil.example\n\n", "GET /secret\n",
                      "PRI * HTTP/2.0\n\nSM\n\n"):
            with self.subTest(words):
                self.setUp()
                self.assert_kept(self.guest.text(host="ok.example", port=80, words=words))
                self.assert_told_to_the_server(self.guest.text(host="ok.example", port=80, words=good))

    def test_t25_second_request_of_a_connection(self):
        number = self.guest.connect(address="ok.example", port=80)["socket"]
        self.guest.send(number=number, text="GET /1 HTTP/1.1\r\nHost: ok.example\r\n\r\n")
        self.assertEqual(self.guest.receive(number=number)["text"], "seen")
        self.guest.send(number=number, text="GET /secret HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        self.assertNotEqual(self.guest.receive(number=number).get("text"), "seen")
        self.assertNotIn(b"secret", self.heard())
        self.assertIn(b"/1", self.heard())

    def test_t27_relay_inside_changes_nothing(self):
        source = ("(lambda l: threading.Thread(target=lambda: (lambda c: (c.recv(4096), (lambda a: c.sendall(("
                  "a['error'] or 'through').encode()))(connect('%s', 443)), c.close()))(l.accept()[0])).start())"
                  "(socket.create_server(('127.0.0.1', 3128)))")
        with self.nothing_leaves(EVIL4, EVIL6):
            self.guest.attempt(source=source % EVIL4)
            got = self.guest.text(host="127.0.0.1", port=3128, words="CONNECT evil.example:443 HTTP/1.1\n\n")
            self.assertIn(got["text"], REFUSED)

    def test_t28_other_protocols_on_a_port_of_the_web(self):
        for port, words in ((443, b"SSH-2.0-client\r\n"), (443, b"\x00\x01\x02raw octets"), (80, b"EHLO client\r\n")):
            with self.subTest(words):
                self.setUp()
                got = self.guest.text(host="ok.example", port=port, words=words.decode("latin-1"))
                self.assert_told_to_the_server(got)  # known by its name, whatever it speaks
        policy = SCRATCH / "tmp/tls.toml"
        policy.write_text('version = 1\n[[rule]]\nto = ["ok.example"]\ntls = true\n')
        with self.another_guest([*PUBLIC, "--policy", str(policy)]) as guest:
            self.setUp()
            self.assert_kept(guest.text(host="ok.example", port=443, words="SSH-2.0-client\n"))
            self.assert_told_to_the_server(guest.say_hello(host="ok.example", names=["ok.example"]))

    def test_t28_tls_on_an_odd_port(self):
        server = self.recorder(OK4, 8443)
        with self.another_guest([*PUBLIC, "--allow", "ok.example:8443"]) as guest:
            got = guest.say_hello(host="ok.example", port=8443, names=["evil.example"], family=socket.AF_INET)
            self.assertNotEqual(got["text"], "seen")
            self.assertEqual(server.everything(), b"")
            got = guest.say_hello(host="ok.example", port=8443, names=["ok.example"], family=socket.AF_INET)
            self.assertEqual(got["text"], "seen", got)

    def test_t29_quic_is_refused_at_once(self):
        server = servers.UdpServer(self.world.ext, OK4, 443)
        self.addCleanup(server.close)
        self.addresses("ok.example")
        with self.nothing_leaves(dns=False):
            answers = [self.guest.udp_ask(address="ok.example", port=443, size=1200, timeout=2) for _ in range(3)]
            for answer in answers:
                self.assert_error(answer, "ECONNREFUSED")
            self.assertLess(min(answer.get("seconds", 0) for answer in answers), 0.05)
        self.assertEqual(server.count, 0)
        policy = SCRATCH / "tmp/quic.toml"
        policy.write_text('version = 1\nallow = ["udp/ok.example:443"]\n[tls]\nquic = "by-name"\n')
        with self.another_guest([*PUBLIC, "--policy", str(policy)]) as guest:
            answer = guest.udp_ask(address="ok.example", port=443, size=1200, timeout=3)
            self.assertEqual((answer["error"], answer.get("same")), (None, True), answer)


class Lower(LeakTest):
    """Layers 3 and 4. The world tests send the frames that no command can (T31, T32)."""

    def test_t31_t36_no_raw_socket_and_no_other_protocol(self):
        with self.nothing_leaves():
            for family, kind, protocol in (("AF_INET", "SOCK_RAW", 255), ("AF_INET", "SOCK_RAW", 1),
                                           ("AF_INET6", "SOCK_RAW", 58), ("AF_INET", "SOCK_RAW", 47),
                                           ("AF_INET", "SOCK_RAW", 50), ("AF_INET", "SOCK_RAW", 2),
                                           ("AF_INET", "SOCK_STREAM", 132), ("AF_INET", "SOCK_SEQPACKET", 132),
                                           ("AF_INET", "SOCK_DGRAM", 33), ("AF_PACKET", "SOCK_RAW", 0)):
                got = self.guest.attempt(source=f"socket.socket(socket.{family}, socket.{kind}, {protocol})"
                                                f".connect(('{OK4}', 443))")
                self.assertIsNotNone(got["error"], (family, kind, protocol))
        self.assert_reaches_ok()

    def test_t31_fragments_to_a_denied_address(self):
        with self.nothing_leaves():
            for address in (EVIL4, EVIL6):
                self.assertIsNotNone(self.guest.udp_ask(address=address, port=443, size=9000, timeout=1)["error"])

    def test_t32_addresses_that_are_not_the_guests(self):
        """No command may take another address: neither by netlink, nor by a socket bound to it."""
        for words in (["ip", "address", "add", "198.51.100.77/28", "dev", "eth0"],
                      ["ip", "route", "replace", "default", "via", "10.9.9.9"], ["ip", "link", "set", "eth0", "down"],
                      ["ip", "neigh", "replace", "10.77.0.1", "lladdr", "02:00:00:00:00:09", "dev", "eth0"]):
            self.assertNotEqual(self.guest.run(command=words)["status"], 0, words)
        for option in (19, 15):  # IP_TRANSPARENT, IP_FREEBIND
            got = self.guest.attempt(source=f"(lambda s: (s.setsockopt(0, {option}, 1), s.bind(('{EVIL4}', 0)), "
                                            f"s.connect(('{OK4}', 443))))(socket.socket())")
            self.assertIsNotNone(got["error"])
        self.assert_reaches_ok()

    def test_t33_ports_that_no_rule_has(self):
        server = self.recorder(OK4, 8443)
        self.addresses("ok.example")
        with self.nothing_leaves(dns=False):
            for port in (22, 25, 81, 442, 444, 5432, 8080, 8443, 65535):
                self.assert_refused("ok.example", port)
            answer = self.guest.connect(address=EVIL4, port=443, fast_open="early data")
            self.assertIsNotNone(answer["error"])
        self.assertEqual(server.heard, [])
        self.assert_reaches_ok()

    def test_t34_datagrams(self):
        self.addresses("ok.example")
        with self.nothing_leaves(dns=False):
            for address in ("ok.example", EVIL4, OK4, OK6):
                for port in (80, 123, 500, 4500, 51820):
                    self.assertIsNotNone(self.guest.udp_ask(address=address, port=port, timeout=0.3)["error"])
        server = servers.UdpServer(self.world.ext, OK4, 5000)
        self.addCleanup(server.close)
        with self.another_guest([*PUBLIC, "--allow", "udp/ok.example:5000"]) as guest:
            got = guest.udp_ask(address="ok.example", port=5000)
            self.assertEqual((got["error"], got.get("text")), (None, "hello"))

    def test_t35_echo(self):
        self.addresses("ok.example")
        with self.nothing_leaves(dns=False):
            for host in ("ok.example", EVIL4, EVIL6, "a.wild.example"):
                got = self.guest.run(command=["ping", "-n", "-c", "1", "-W", "1", "-s", "1000", "-p", "5ec4e7", host])
                self.assertNotEqual(got["status"], 0)
            self.guest.run(command=["traceroute", "-n", "-q", "1", "-w", "1", "-m", "2", EVIL4])
        with self.another_guest([*PUBLIC, "--allow", "icmp/ok.example"]) as guest:
            self.words("ping", "-n", "-c", "1", "-W", "2", "ok.example", guest=guest)

    def test_t39_denial_is_a_reset_to_the_syn(self):
        with self.nothing_leaves():
            answers = [self.guest.connect(address=EVIL4, port=443) for _ in range(5)]
            for answer in answers:
                self.assert_error(answer, "ECONNREFUSED")
            self.assertLess(min(answer["seconds"] for answer in answers), 0.05)
        self.assert_reaches_ok()


class Launcher(LeakTest):
    def test_t40_policy_that_is_wrong_never_starts_the_command(self):
        mark = SCRATCH / "tmp/started"
        policy = SCRATCH / "tmp/wrong.toml"
        for text in ("alow = ['ok.example']", "version = 1\nallow = ['*']", "version = 1\nallow = ['*.com']",
                     "version = 1\nallow = ['198.51.100.0/33']", "version = 1\nallow = ['ok.example:90-80']",
                     "version = 1\nallow = ['ok.example:0']", "version = 1\nallow = ['0.0.0.0/0']", "version = 1\ndefault = 'allow'", "version = 2",
                     "version = 1\nallow = [", "version = 1\nuse = ['no-such-preset']",
                     "version = 1\n[[rule]]\nto = ['ok.example']\nup = '5XB'"):
            with self.subTest(text):
                policy.write_text(text + "\n")
                got = self.world.run(["touch", str(mark)], ["--policy", str(policy)])
                self.assertEqual(got.returncode, 125, got)
                self.assertRegex(got.stderr, rf"{re.escape(str(policy))}:\d+:\d+: ")
                self.assertFalse(mark.exists())
        got = self.world.run(["touch", str(mark)], ["--policy", "/nowhere.toml"])
        self.assertEqual((got.returncode, mark.exists()), (125, False))
        policy.write_text("version = 1\nallow = ['ok.example']\n")
        got = self.world.run(["touch", str(mark)], ["--policy", str(policy)])
        self.assertEqual((got.returncode, mark.exists()), (0, True), got)

    def test_t41_death_of_the_translator_opens_nothing(self):
        with self.another_guest(self.options) as guest:
            self.assert_reaches_ok(guest)
            translator = self.world.parts(guest.process.pid)["translator"]
            os.kill(translator, 9)
            wait_until(lambda: not self.world.alive(translator), "the translator to end")
            with self.nothing_leaves():
                with contextlib.suppress(world.GuestError):
                    self.assertIsNotNone(guest.call("connect", within=4, address=OK4, port=80, timeout=1)["error"])

    def test_t42_offline_has_no_way_at_all(self):
        with self.another_guest(["--offline"]) as guest, self.nothing_leaves():
            links = self.words("ip", "-o", "link", guest=guest).splitlines()
            self.assertEqual(len(links), 1, links)
            for address in (OK4, OK6, "ok.example"):
                source = f"socket.create_connection(('{address}', 443), 1)"
                self.assertIsNotNone(guest.attempt(source=source)["error"])

    def test_t43_nothing_of_cordon_itself_is_in_reach(self):
        parts = self.world.parts(self.guest.process.pid)
        for pid in parts["all"]:  # ids of outside are nobody's inside
            for path in ("mem", "root", "ns/net", "fd"):
                self.assertIsNotNone(self.guest.attempt(source=f"os.listdir('/proc/{pid}/{path}')")["error"])
        self.assertIsNotNone(self.guest.attempt(source="open('/proc/1/mem')")["error"])
        run_folder = self.guest.attempt(source="[f for f in os.listdir('/run') if 'cordon' in f] + os.listdir("
                                               "os.environ.get('XDG_RUNTIME_DIR', '/nowhere') + '/cordon')")
        self.assertIn(run_folder.get("value", "[]"), ("[]",), run_folder)
        for words in (["unshare", "-Un", "true"], ["nsenter", "-t", "1", "-n", "true"], ["unshare", "-n", "true"]):
            self.assertNotEqual(self.guest.run(command=words)["status"], 0)

    def test_t43_policy_that_the_command_writes_into_its_file_is_nothing(self):
        policy = SCRATCH / "tmp/written.toml"
        policy.write_text("version = 1\nallow = ['ok.example']\n")
        policy.chmod(0o666)
        with self.another_guest([*PUBLIC, "--policy", str(policy)]) as guest:
            source = f"open('{policy}', 'a').write('deny = []\\n[[rule]]\\nto = [\"evil.example\", \"@public\"]\\n')"
            self.assertIsNone(guest.attempt(source=source)["error"])
            time.sleep(0.3)
            with self.nothing_leaves():
                self.assertEqual(self.dig("evil.example", guest=guest)[0], "NXDOMAIN")
                self.assert_refused(EVIL4, 443, guest)
            self.assert_reaches_ok(guest)

    def test_t44_sockets_of_the_host_do_not_come_along(self):
        with self.world.host:
            abstract = socket.socket(socket.AF_UNIX)
            abstract.bind("\0cordon-leak-test")
            abstract.listen(1)
            inherited = self.world.host.socket(OK4)
        self.addCleanup(abstract.close)
        self.recorder(OK4, 443)
        inherited.connect((OK4, 443))
        self.addCleanup(inherited.close)
        got = self.guest.attempt(source="socket.socket(socket.AF_UNIX).connect('\\0cordon-leak-test')")
        self.assertEqual(got["error"], "ECONNREFUSED")
        script = "import os; print([f for f in os.listdir('/proc/self/fd') if int(f) > 3])"
        got = self.world.run([world.PYTHON, "-c", script], self.options, pass_fds=[inherited.fileno()])
        self.assertEqual((got.returncode, got.stdout), (0, "[]\n"), got)

    def test_t46_published_ports_are_the_loopbacks_unless_told(self):
        with Guest(self.world, [*PUBLIC, "--publish", "9446:80", "--publish", f"{HOST4}:9447:80", "--deny",
                                EVIL4]) as guest:
            guest.listen(port=80, kind="who")

            def reaches(port, source):
                with self.world.ext.socket(HOST4) as client:
                    client.settimeout(2)
                    client.bind((source, 0))
                    try:
                        client.connect((HOST4, port))
                        return bool(client.recv(100))
                    except OSError:
                        return False
            self.assertFalse(reaches(9446, OK4))
            self.assertTrue(reaches(9447, OK4))
            self.assertFalse(reaches(9447, EVIL4), "a client that a rule denies")


if __name__ == "__main__":
    world.main()
