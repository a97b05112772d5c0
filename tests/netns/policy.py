"""What is denied is refused at once and never on the wire; each denial has a twin that is allowed, so that
no test passes for want of a network."""

import json
import re
import time

import servers
import world
from world import (FAMILIES, HOST4, HOST6, PUBLIC, ROUTER4, ROUTER6, SCRATCH, SECOND4, SECOND6, SERVER4,
                   SERVER6, Guest, NetworkTest)

TCP_PORT, UDP_PORT, OTHER_PORT = 9201, 9202, 9203


class Judged(NetworkTest):
    """Helpers: a denied dial and its allowed twin."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for address in (SERVER4, SECOND4, SERVER6, SECOND6, ROUTER4, ROUTER6):
            for port in (TCP_PORT, OTHER_PORT):
                server = servers.TcpServer(cls.world.ext, address, port, servers.echo)
                cls.addClassCleanup(server.close)
            server = servers.UdpServer(cls.world.ext, address, UDP_PORT)
            cls.addClassCleanup(server.close)

    def assert_tcp_denied(self, address, port=TCP_PORT, guest=None, seconds=0.05):
        guest = guest or self.guest
        with self.world.wire() as wire:
            # The best of five: a busy machine adds time, and nothing takes any away.
            answers = [guest.connect(address=address, port=port) for _ in range(5)]
            for answer in answers:
                self.assert_error(answer, "ECONNREFUSED", "EACCES", "EHOSTUNREACH", "ENETUNREACH")
            self.assertLess(min(a["seconds"] for a in answers), seconds)
            self.assertEqual(wire.count(destination=address), 0, wire.packets())

    def assert_tcp_allowed(self, address, port=TCP_PORT, guest=None):
        answer = (guest or self.guest).ask(address=address, port=port, text="twin")
        self.assertEqual((answer["error"], answer.get("text")), (None, "twin"))

    def assert_udp_denied(self, address, port=UDP_PORT):
        with self.world.wire() as wire:
            answer = self.guest.udp_ask(address=address, port=port, timeout=1)
            self.assertIsNotNone(answer["error"])
            if ":" in address:  # RFC 4443 type 1 code 1 is EACCES; its IPv4 cousin is not told to UDP
                self.assert_error(answer, "EACCES", "EHOSTUNREACH", "ECONNREFUSED", "TIMEOUT")
            self.assertEqual(wire.count(destination=address), 0, wire.packets())

    def assert_udp_allowed(self, address, port=UDP_PORT):
        answer = self.guest.udp_ask(address=address, port=port)
        self.assertEqual((answer["error"], answer.get("text")), (None, "hello"))


class DenyList(Judged):
    options = [*PUBLIC, "--deny", SECOND4, "--deny", SECOND6, "--deny", f"{SERVER4}:{OTHER_PORT}"]

    def test_tcp(self):
        self.assert_tcp_denied(SECOND4)
        self.assert_tcp_denied(SECOND6)
        self.assert_tcp_denied(SERVER4, OTHER_PORT)
        for _, address in FAMILIES:
            self.assert_tcp_allowed(address)
        self.assert_tcp_allowed(SERVER6, OTHER_PORT)

    def test_udp(self):
        self.assert_udp_denied(SECOND4)
        self.assert_udp_denied(SECOND6)
        for _, address in FAMILIES:
            self.assert_udp_allowed(address)

class Told(Judged):
    """What a person and a program read about a denial (policy.md §5)."""

    def test_on_stderr(self):
        with Guest(self.world, [*PUBLIC, "--deny", SECOND4]) as guest:
            self.assert_tcp_denied(SECOND4, guest=guest)
            line = re.compile(rf"^cordon: denied tcp {re.escape(SECOND4)}:{TCP_PORT} "
                              rf"rule=--deny={re.escape(SECOND4)} id=\d+ by pid \d+ \(python3\)", re.MULTILINE)
            world.wait_until(lambda: line.search(guest.said()), "a line on stderr")
        with Guest(self.world, [*PUBLIC, "--allow", SECOND4]) as guest:
            self.assert_tcp_denied(SERVER4, guest=guest)
            line = re.compile(rf"^cordon: denied tcp {re.escape(SERVER4)}:{TCP_PORT} rule=default id=\d+ "
                              rf"by pid \d+ \(python3\); to allow it: --allow {re.escape(SERVER4)}:{TCP_PORT}$",
                              re.MULTILINE)
            world.wait_until(lambda: line.search(guest.said()), "a line with its remedy")

    def test_in_the_log(self):
        path = SCRATCH / "tmp/deny.log"
        with Guest(self.world, [*PUBLIC, "--deny", SECOND4, "--log", str(path)]) as guest:
            self.assert_tcp_denied(SECOND4, guest=guest)
            self.assert_tcp_allowed(SERVER4, guest=guest)
        events = [json.loads(entry) for entry in path.read_text().splitlines()]
        denied = [event for event in events if event.get("destination") == f"{SECOND4}:{TCP_PORT}"]
        self.assertTrue(denied, events)
        self.assertEqual(denied[0]["protocol"], "tcp")
        self.assertFalse([e for e in events if e["event"] == "denied" and SERVER4 in json.dumps(e)])

    def test_program_is_named(self):
        with Guest(self.world, [*PUBLIC, "--deny", SECOND4]) as guest:
            got = guest.run(command=["curl", "-sS", "--max-time", "3", f"http://{SECOND4}:{TCP_PORT}/"])
            self.assertEqual(got["status"], 7, got)  # could not connect
            world.wait_until(lambda: "(curl)" in guest.said(), "curl to be named")

    def test_flood_of_denials_does_not_flood_the_terminal(self):
        with Guest(self.world, [*PUBLIC, "--deny", SECOND4]) as guest:
            for port in range(20000, 20300):
                guest.connect(address=SECOND4, port=port)
            self.assertLess(len(guest.said().splitlines()), 100)

    def test_quiet_says_nothing(self):
        with Guest(self.world, [*PUBLIC, "--deny", SECOND4, "--quiet"]) as guest:
            self.assert_tcp_denied(SECOND4, guest=guest)
            time.sleep(0.2)
            self.assertEqual(guest.said(), "")


class AllowList(Judged):
    options = [*PUBLIC, "--allow", f"{SERVER4}:{TCP_PORT}", "--allow", f"[{SERVER6}]:{TCP_PORT}",
               "--allow", f"udp/{SERVER4}:{UDP_PORT}"]

    def test_nothing_else_leaves(self):
        for _, address in FAMILIES:
            self.assert_tcp_allowed(address)
            self.assert_tcp_denied(address, OTHER_PORT)
        self.assert_tcp_denied(SECOND4)
        self.assert_tcp_denied(SECOND6)
        self.assert_udp_allowed(SERVER4)
        self.assert_udp_denied(SECOND4)
        self.assert_udp_denied(SERVER6)

    def test_denied_dns_server_by_its_address(self):
        for address in (SECOND4, SECOND6):
            with self.world.wire() as wire:
                self.guest.udp_ask(address=address, port=53, timeout=1)
                self.guest.connect(address=address, port=53, timeout=1)
                self.assertEqual(wire.count(destination=address), 0)


class HostsOwnAddresses(Judged):
    """Class self, asked of the live FIB: primary, secondary, bridge, local route, just added."""

    options = [*PUBLIC, "--allow", "@public", "--allow", "@lan"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world.host.run(
            "ip address add 198.51.100.3/28 dev uplink",
            "ip -6 address add 2001:db8::3/64 dev uplink nodad",
            "ip link add bridge0 type bridge", "ip link set bridge0 up",
            "ip address add 198.51.100.113/28 dev bridge0",
            "ip -6 address add 2001:db8:b::1/64 dev bridge0 nodad",
            "ip route add local 198.51.100.128/28 dev lo",
        )
        for address in ("0.0.0.0", "::"):
            server = servers.TcpServer(cls.world.host, address, TCP_PORT, servers.echo)
            cls.addClassCleanup(server.close)

    def refused_at_home(self, address):
        """Denied, and nobody on the host was dialled."""
        answer = self.guest.connect(address=address, port=TCP_PORT)
        self.assert_error(answer, "ECONNREFUSED", "EACCES", "EHOSTUNREACH", "ENETUNREACH",
                          "EADDRNOTAVAIL")
        self.assertLess(answer["seconds"], 0.5)

    def test_all_of_them_are_out_of_reach(self):
        for address in (HOST4, HOST6, "198.51.100.3", "2001:db8::3", "198.51.100.113", "2001:db8:b::1",
                        "198.51.100.130"):
            with self.subTest(address):
                self.refused_at_home(address)
        for address in (SERVER4, SERVER6, ROUTER4, ROUTER6):
            with self.subTest(address):
                self.assert_tcp_allowed(address)

    def test_address_added_a_moment_earlier(self):
        """Both families, twenty fresh addresses each: added, then dialled at once."""
        for number in range(20):
            for address, length in ((f"198.51.100.{200 + number}", 32), (f"2001:db8:aa::{number + 1}", 128)):
                nodad = " nodad" if length == 128 else ""
                self.world.host.run(f"ip address add {address}/{length} dev uplink{nodad}")
                self.refused_at_home(address)
        self.assert_tcp_allowed(SERVER4)

    def test_address_added_during_a_dial(self):
        """The SYN is on its way to a server that is slow to answer; meanwhile the host gets that address."""
        for number in range(3):
            address = f"198.51.100.{230 + number}"
            dialling = world.threading.Thread(
                target=lambda a=address: self.answers.append(self.guest.connect(address=a, port=TCP_PORT,
                                                                                timeout=4)))
            self.answers = []
            dialling.start()
            time.sleep(0.02)
            self.world.host.run(f"ip address add {address}/32 dev uplink")
            dialling.join()
            self.assertIsNotNone(self.answers[0]["error"])

    def test_loopback_and_unspecified_stay_inside(self):
        """They are the guest's own: nobody on the host hears of them."""
        for address in ("127.0.0.1", "::1", "0.0.0.0", "::"):
            with self.subTest(address):
                self.assert_error(self.guest.connect(address=address, port=TCP_PORT), "ECONNREFUSED")

    def test_flow_is_reset_when_its_destination_becomes_the_hosts_own(self):
        address = "198.51.100.27"
        server = servers.TcpServer(self.world.ext, address, TCP_PORT, servers.hold)
        self.addCleanup(server.close)
        number = self.guest.connect(address=address, port=TCP_PORT)["socket"]
        self.world.host.run(f"ip address add {address}/32 dev uplink")
        self.addCleanup(self.world.host.run, f"ip address del {address}/32 dev uplink")
        self.assert_error(self.guest.receive(number=number, timeout=3), "ECONNRESET", "EHOSTUNREACH")
        self.guest.hang_up(number=number)


class OtherSandbox(Judged):
    """Another sandbox's published port is out of reach over every address of the host."""

    options = [*PUBLIC, "--allow", "@public", "--allow", "@lan"]

    def test_published_port_of_another_sandbox(self):
        publish = ["--publish", "9210:80", "--publish", f"{HOST4}:9210:80", "--publish", f"[{HOST6}]:9210:80"]
        with Guest(self.world, [*PUBLIC, *publish]) as other:
            other.listen(port=80, address="::")
            for address in (HOST4, HOST6):
                with self.subTest(address):
                    client = self.world.ext.socket(address)
                    client.settimeout(3)
                    client.connect((address, 9210))  # the twin: from the wire it is there
                    client.close()
                    self.assert_error(self.guest.connect(address=address, port=9210), "ECONNREFUSED",
                                      "EACCES", "EHOSTUNREACH", "ENETUNREACH")
            self.assert_error(self.guest.connect(address="127.0.0.1", port=9210), "ECONNREFUSED")


class Classes(Judged):
    """Without a rule that names them, floor classes are denied; with one they are not."""

    def test_floor_classes_are_denied(self):
        for address in (ROUTER4, ROUTER6, "10.1.2.3", "192.168.7.7", "172.16.0.9", "100.64.0.1", "169.254.3.4",
                        "169.254.169.254", "fd00:ec2::254", "fd00::7", "fec0::1", "240.0.0.1",
                        "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1", "::10.1.2.3"):
            with self.subTest(address):
                if address.startswith("::ffff:"):
                    answer = self.guest.connect(address=address, port=TCP_PORT)
                    self.assertIsNotNone(answer["error"])
                else:
                    self.assert_tcp_denied(address)
        self.assert_tcp_allowed(SERVER4)
        self.assert_tcp_allowed(SERVER6)

    def test_lan_needs_a_rule_and_then_works(self):
        for option in ("@lan", "198.51.100.0/28"):
            with self.subTest(option):
                with Guest(self.world, [*PUBLIC, "--allow", option]) as guest:
                    self.assert_tcp_allowed(ROUTER4, guest=guest)
                    self.assert_tcp_denied(SERVER4, guest=guest)

    def test_reserved_is_denied_unless_declared(self):
        with Guest(self.world, []) as guest:
            self.assert_tcp_denied(SERVER4, guest=guest)
            self.assert_tcp_denied(SERVER6, guest=guest)

    def test_multicast_and_broadcast_go_nowhere(self):
        with self.world.wire() as wire:
            for address in ("224.0.0.251", "239.1.2.3", "255.255.255.255", "ff02::fb"):
                number = self.guest.udp(address="::" if ":" in address else "0.0.0.0")["socket"]
                self.guest.attempt(source=f"SOCKETS[{number}].setsockopt(1, 6, 1)")
                self.guest.udp_send(number=number, to=[address, 5353], text="who is there")
                self.guest.hang_up(number=number)
            time.sleep(0.2)
            self.assertEqual([p for p in wire.packets() if p.get("port") == 5353], [])

    def test_host_door(self):
        server = servers.TcpServer(self.world.host, "127.0.0.1", 9220, servers.echo)
        self.addCleanup(server.close)
        other = servers.TcpServer(self.world.host, "127.0.0.1", 9221, servers.echo)
        self.addCleanup(other.close)
        with Guest(self.world, [*PUBLIC, "--allow", "host:9220"]) as guest:
            hosts = guest.read(path="/etc/hosts")["text"]
            door = re.search(r"^(\S+)\s+host\.cordon\.internal", hosts, re.MULTILINE).group(1)
            self.assert_tcp_allowed(door, 9220, guest=guest)
            self.assert_tcp_denied(door, 9221, guest=guest)
        door_closed = self.guest.connect(address=door, port=9220)
        self.assertIsNotNone(door_closed["error"])


class UnderLoad(Judged):
    """A denial stays quick while other traffic flows."""

    def test_denial_is_quick_beside_a_bulk_transfer(self):
        server = servers.TcpServer(self.world.ext, SERVER4, 9230, servers.source(64 << 20))
        self.addCleanup(server.close)
        with Guest(self.world, [*PUBLIC, "--deny", SECOND4]) as guest:
            fetch = f"import socket; s = socket.create_connection(('{SERVER4}', 9230)); " \
                    "exec('while s.recv(65536): pass')"
            guest.attempt(source=f"SOCKETS.update(bulk=subprocess.Popen(['{world.PYTHON}', '-c', "
                                 f"{fetch!r}]))")
            self.assert_tcp_denied(SECOND4, guest=guest)
            ended = guest.attempt(source="SOCKETS['bulk'].wait(20)")
            self.assertEqual(ended.get("value"), "0", ended)


if __name__ == "__main__":
    world.main()
