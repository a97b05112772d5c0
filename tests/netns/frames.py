"""Raw frames in real namespaces: what a guest with power over its own link could send (leaks.md T31, T32, T36).

A command has no such power. The test takes it: it owns the namespaces that cordon's are children of, enters the
guest's network namespace and writes frames to the tap by a packet socket. Each kind that goes nowhere has a twin
that is the same but for its fault, and arrives: the policy lets everything public through."""

import ipaddress
import os
import socket
import struct
import time

import servers
import world
from world import PUBLIC, SECOND4, SECOND6, SERVER4, SERVER6, Namespace, NetworkTest, wait_until

PORT, WITNESS_PORT = 9401, 9403
GATEWAY_MAC, GUEST_MAC, OTHER_MAC = (bytes((2, 0, 0, 0, 0, last)) for last in (1, 2, 9))
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
TCP, UDP, ICMPV6, FRAGMENT = 6, 17, 58, 44
EPHEMERAL = 40000


def packed(address):
    return ipaddress.ip_address(address).packed


def checksum(octets):
    octets += b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def sealed(source, destination, protocol, message, offset, wrong=0):
    """`message` with the checksum that the pseudo header makes it have, at `offset`."""
    pseudo = packed(source) + packed(destination) + struct.pack("!II", len(message), protocol)
    value = checksum(pseudo + message) ^ wrong
    return message[:offset] + struct.pack("!H", value) + message[offset + 2:]


def datagram(source, destination, payload, source_port=EPHEMERAL, wrong=0, port=PORT):
    header = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0)
    return sealed(source, destination, UDP, header + payload, 6, wrong)


def segment(source, destination, source_port=EPHEMERAL, port=PORT, flags=2):
    header = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, flags, 65535, 0, 0)
    return sealed(source, destination, TCP, header, 16)


def ip4(source, destination, protocol, payload, options=b"", fragment=0, number=7, wrong=0):
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(payload), number, fragment,
                       64, protocol, 0) + packed(source) + packed(destination) + options
    return head[:10] + struct.pack("!H", checksum(head) ^ wrong) + head[12:] + payload


def ip6(source, destination, protocol, payload, hops=64):
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops) + packed(source) + packed(destination) + payload


def fragment6(follows, offset, more, payload, number=7):
    return struct.pack("!BBHI", follows, 0, offset | more, number) + payload


class FramesTest(NetworkTest):
    options = PUBLIC

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.heard = {}
        for address in (SERVER4, SERVER6, SECOND4, SECOND6):
            cls.heard[address] = cls.listening(address)
        cls.server = servers.TcpServer(cls.world.ext, SERVER4, WITNESS_PORT, servers.echo)
        cls.addClassCleanup(cls.server.close)
        init = cls.world.parts(cls.guest.process.pid)["init"]
        cls.inside = Namespace(os.open(f"/proc/{init}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        cls.addClassCleanup(os.close, cls.inside.descriptor)
        with cls.inside:
            cls.tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            cls.tap.bind(("eth0", 0))
        cls.addClassCleanup(cls.tap.close)
        cls.guest4, cls.guest6 = (cls.address(family) for family in ("A", "B"))
        cls.port = EPHEMERAL

    @classmethod
    def listening(cls, address):
        made = cls.world.ext.socket(address, socket.SOCK_DGRAM)
        made.bind((address, PORT))
        made.setblocking(False)
        cls.addClassCleanup(made.close)
        return made

    @classmethod
    def address(cls, family):
        found = cls.guest.run(command=["ip", "-o", "-4" if family == "A" else "-6", "address", "show", "dev", "eth0",
                                       "scope", "global"])["out"]
        return found.split()[3].split("/")[0]

    def send(self, packet, mac=GUEST_MAC, to=GATEWAY_MAC, kind=None):
        if kind is None:
            kind = IPV4 if packet[0] >> 4 == 4 else IPV6
        self.tap.send(to + mac + struct.pack("!H", kind) + packet)

    def next_port(self):
        """Each case is a flow of its own."""
        type(self).port += 1
        return self.port

    def came(self, address, seconds=2.0):
        """The payload that came to `address`, or None."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                return self.heard[address].recv(65536)
            except BlockingIOError:
                time.sleep(0.01)
        return None

    def left(self, wire):
        """What host has sent, but for its own neighbour discovery, MLD, and the witness."""
        return [packet for packet in wire.packets()
                if packet["leaves"] and packet.get("port") != WITNESS_PORT and packet["destination"] != "ff02::16" and
                not (packet["protocol"] == ICMPV6 and (packet["source"].startswith("fe80") or packet["source"] == "::"))]

    def assert_alive(self):
        """The guest's own connection goes through, and what was sent before it has been dealt with."""
        answer = self.guest.ask(address=SERVER4, port=WITNESS_PORT, text="alive", timeout=5)
        self.assertEqual((answer["error"], answer.get("text")), (None, "alive"))

    def assert_goes_nowhere(self, *packets, **how):
        """No packet of them leaves: neither to their destination, nor anywhere else."""
        with self.world.wire() as wire:
            for packet in packets:
                self.send(packet, **how)
            self.assert_alive()  # its SYN stands behind them on the tap
            self.assertEqual(self.left(wire), [])
        for address, heard in self.heard.items():
            with self.assertRaises(BlockingIOError, msg=address):
                heard.recv(100)

    def assert_arrives(self, address, payload, *packets, **how):
        for packet in packets:
            self.send(packet, **how)
        self.assertEqual(self.came(address), payload)

    def udp4(self, payload, destination=SERVER4, source=None, wrong=0, wrong_header=0, **fields):
        source = source or self.guest4
        message = datagram(source, destination, payload, self.next_port(), wrong)
        return ip4(source, destination, UDP, message, wrong=wrong_header, **fields)

    def udp6(self, payload, destination=SERVER6, source=None, wrong=0):
        source = source or self.guest6
        return ip6(source, destination, UDP, datagram(source, destination, payload, self.next_port(), wrong))


class Malformed(FramesTest):  # T31
    def test_checksums(self):
        self.assert_goes_nowhere(self.udp4(b"x", wrong=0x0101), self.udp6(b"x", wrong=0x0101),
                                 self.udp4(b"x", wrong_header=0x0101))
        self.assert_arrives(SERVER4, b"right", self.udp4(b"right"))
        self.assert_arrives(SERVER6, b"right", self.udp6(b"right"))

    def test_ipv4_options(self):
        """Source routes are dropped; what else is there is not passed on."""
        for kind in (0x83, 0x89):
            route = bytes((kind, 7, 4)) + packed(SECOND4) + b"\0"
            self.assert_goes_nowhere(self.udp4(b"x", options=route))
        for broken in (b"\x07\x00\0\0", b"\x07\x09\x04\0", b"\x44\x01\0\0"):
            self.assert_goes_nowhere(self.udp4(b"x", options=broken))
        with self.world.wire() as wire:
            self.assert_arrives(SERVER4, b"right", self.udp4(b"right", options=b"\x94\4\0\0"))
            # Behind a header of 20 octets the ports are where a packet without options has them.
            self.assertEqual(wire.count(destination=SERVER4, port=PORT, leaves=True), 1)

    def test_ipv4_fragments(self):
        body = self.udp4(bytes(range(256)) * 4)[20:]

        def piece(start, end, more, number, data=body):
            return ip4(self.guest4, SERVER4, UDP, data[start:end], fragment=(start // 8) | (0x2000 if more else 0),
                       number=number)

        # Overlapping, with other octets; never complete; too small to hold the ports; past the end.
        other = body[:8] + bytes(len(body) - 8)
        self.assert_goes_nowhere(piece(0, 512, True, 1), piece(256, 768, True, 1, other), piece(768, len(body), False, 1))
        self.assert_goes_nowhere(piece(0, 512, True, 2))
        self.assert_goes_nowhere(piece(512, len(body), False, 3))
        self.assert_goes_nowhere(ip4(self.guest4, SERVER4, UDP, body[:512], fragment=0x2000 | 8190, number=4),
                                 ip4(self.guest4, SERVER4, UDP, body[:512], fragment=8190, number=4))
        self.assert_arrives(SERVER4, body[8:], piece(0, 512, True, 5), piece(512, len(body), False, 5))
        self.assert_arrives(SERVER4, body[8:], piece(512, len(body), False, 6), piece(0, 512, True, 6))

    def test_ipv6_fragments(self):
        body = self.udp6(bytes(range(256)) * 4)[40:]

        def piece(start, end, more, number, data=body):
            return ip6(self.guest6, SERVER6, FRAGMENT, fragment6(UDP, start, int(more), data[start:end], number))

        other = body[:8] + bytes(len(body) - 8)
        self.assert_goes_nowhere(piece(0, 512, True, 1), piece(256, 768, True, 1, other), piece(768, len(body), False, 1))
        self.assert_goes_nowhere(piece(0, 512, True, 2))
        self.assert_arrives(SERVER6, body[8:], piece(0, 512, True, 5), piece(512, len(body), False, 5))

    def test_ipv6_extension_headers(self):
        message = datagram(self.guest6, SERVER6, b"x", self.next_port())
        routing = bytes((UDP, 2, 0, 1)) + bytes(4) + packed(SECOND6)
        with_segments = bytes((UDP, 2, 4, 1)) + bytes(4) + packed(SECOND6)
        authentication = struct.pack("!BBHII", UDP, 1, 0, 1, 1)
        jumbo = bytes((UDP, 0, 0xC2, 4)) + struct.pack("!I", 70000)
        late_hop_by_hop = bytes((0, 0, 1, 4, 0, 0, 0, 0, UDP, 0, 1, 4, 0, 0, 0, 0))
        for kind, header in ((43, routing), (43, with_segments), (51, authentication), (0, jumbo), (60, late_hop_by_hop)):
            self.assert_goes_nowhere(ip6(self.guest6, SERVER6, kind, header + message))
        padding = bytes((UDP, 0, 1, 4, 0, 0, 0, 0))
        for kind in (0, 60):
            message = datagram(self.guest6, SERVER6, b"right", self.next_port())
            self.assert_arrives(SERVER6, b"right", ip6(self.guest6, SERVER6, kind, padding + message))


class Foreign(FramesTest):  # T32
    def test_source_addresses(self):
        for source in ("10.77.0.77", SECOND4, "127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", SERVER4,
                       world.HOST4):
            self.assert_goes_nowhere(self.udp4(b"x", source=source),
                                     ip4(source, SERVER4, TCP, segment(source, SERVER4, self.next_port())))
        for source in ("fd00::77", SECOND6, "::1", "::", "ff02::1", world.HOST6, f"::ffff:{SERVER4}"):
            self.assert_goes_nowhere(self.udp6(b"x", source=source))
        self.assert_arrives(SERVER4, b"right", self.udp4(b"right"))
        self.assert_arrives(SERVER6, b"right", self.udp6(b"right"))

    def test_stations(self):
        self.assert_goes_nowhere(self.udp4(b"x"), self.udp6(b"x"), mac=OTHER_MAC)
        self.assert_goes_nowhere(self.udp4(b"x"), self.udp6(b"x"), to=OTHER_MAC)
        self.assert_arrives(SERVER4, b"right", self.udp4(b"right"))

    def test_claims_of_the_gateways_addresses(self):
        gateway = self.guest.run(command=["ip", "-4", "route", "show", "default"])["out"].split()[2]
        for operation in (1, 2):
            arp = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + GUEST_MAC + packed(gateway) + bytes(6) + packed(gateway)
            self.assert_goes_nowhere(arp, kind=ARP, to=b"\xff" * 6)
        advertisement = struct.pack("!BBHI", 136, 0, 0, 0xE0000000) + packed("fe80::1") + b"\x02\x01" + GUEST_MAC
        sent = sealed("fe80::1", "ff02::1", ICMPV6, advertisement, 2)
        self.assert_goes_nowhere(ip6("fe80::1", "ff02::1", ICMPV6, sent, 255), to=b"\x33\x33\0\0\0\1")
        for address in (SERVER4, SERVER6):
            self.assertIsNone(self.guest.udp_ask(address=address, port=PORT, timeout=0.2).get("text"))
            self.assertEqual(self.came(address), b"hello")  # it goes out as ever

    def test_a_router_and_a_dhcp_server_inside(self):
        prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 1800, 1800, 0) + packed("2001:db8:bad::")
        own = "fe80::ff:fe00:2"
        router = sealed(own, "ff02::1", ICMPV6, struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix, 2)
        self.assert_goes_nowhere(ip6(own, "ff02::1", ICMPV6, router, 255), to=b"\x33\x33\0\0\0\1")
        for source, source_port, port in (("0.0.0.0", 68, 67), (self.guest4, 67, 68)):
            offer = datagram(source, "255.255.255.255", bytes((2, 1, 6, 0)) + bytes(236), source_port, port=port)
            self.assert_goes_nowhere(ip4(source, "255.255.255.255", UDP, offer), to=b"\xff" * 6)


class Protocols(FramesTest):  # T36
    def test_other_than_tcp_udp_and_echo_leave_not(self):
        protocols = (2, 4, 41, 46, 47, 50, 51, 88, 89, 103, 112, 115, 132, 136, 253, 255)
        self.assert_goes_nowhere(*(ip4(self.guest4, SERVER4, protocol, os.urandom(32)) for protocol in protocols),
                                 *(ip6(self.guest6, SERVER6, protocol, os.urandom(32)) for protocol in protocols))

    def test_icmp_other_than_echo_leaves_not(self):
        messages = []
        for kind in (0, 3, 4, 5, 9, 10, 11, 13, 15, 17, 42):
            message = struct.pack("!BBHI", kind, 0, 0, 0) + bytes(28)
            message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
            messages.append(ip4(self.guest4, SERVER4, 1, message))
        for kind in (1, 2, 3, 4, 129, 130, 131, 137, 139, 140, 143, 160):
            message = sealed(self.guest6, SERVER6, ICMPV6, struct.pack("!BBHI", kind, 0, 0, 0) + bytes(28), 2)
            messages.append(ip6(self.guest6, SERVER6, ICMPV6, message))
        self.assert_goes_nowhere(*messages)
        message = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"right"
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        with self.world.wire() as wire:
            self.send(ip4(self.guest4, SERVER4, 1, message))
            wait_until(lambda: wire.count(protocol=1, destination=SERVER4, leaves=True) == 1, "the echo request")

    def test_groups_and_broadcasts_go_nowhere(self):
        for destination in ("224.0.0.251", "239.255.255.250", "255.255.255.255"):
            self.assert_goes_nowhere(self.udp4(b"x", destination=destination), to=b"\x01\0\x5e\0\0\xfb")
        for destination in ("ff02::fb", "ff0e::1", "ff05::1:3"):
            self.assert_goes_nowhere(self.udp6(b"x", destination=destination), to=b"\x33\x33\0\0\0\xfb")


if __name__ == "__main__":
    world.main()
