"""UDP as a guest sees it: RFC 4787's mapping and filtering, sizes, and errors from the network."""

import servers
import world
from world import (CLOSED4, CLOSED6, FAMILIES, FAR4, FAR6, SECOND4, SECOND6, SERVER4, SERVER6, NetworkTest)


class Datagrams(NetworkTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.echoes = {address: servers.UdpServer(cls.world.ext, address, 9100)
                      for address in (SERVER4, SERVER6, SECOND4, SECOND6)}

    def test_echo(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                got = self.guest.udp_ask(address=address, port=9100)
                self.assertEqual((got["error"], got.get("text")), (None, "hello"))
                self.assertEqual(got["from"], [address, 9100])

    def test_sizes_up_to_the_largest(self):
        for family, address in FAMILIES:
            for size in (0, 1, 1472, 1473, 8000, 32768, 65507 if family == "v4" else 65527):
                with self.subTest(f"{family} {size}"):
                    got = self.guest.udp_ask(address=address, port=9100, size=size)
                    self.assertEqual((got["error"], got.get("size"), got.get("same")),
                                     (None, size, True), got)

    def test_bursts_keep_boundaries_order_and_contents(self):
        # What leaves and arrives together is gathered into trains (UDP_SEGMENT, USO): nobody may see it.
        equal = [1200] * 40
        mixed = [1200] * 10 + [700, 0, 701, 1, 1, 1, 0, 1472, 1472, 3] + [333] * 12 + [2000] * 4 + [64] * 4
        for family, address in FAMILIES:
            for name, sizes in (("equal", equal), ("mixed", mixed)):
                with self.subTest(f"{family} {name}"):
                    for _ in range(10):  # a busy machine may lose one
                        got = self.guest.udp_burst(address=address, port=9100, sizes=sizes)
                        self.assertTrue(got["is_in_order"])
                        if got["count"] == len(sizes):
                            break
                    self.assertEqual(got["count"], len(sizes))

    def test_closed_port_is_refused(self):
        for address in (CLOSED4, CLOSED6):
            with self.subTest(address):
                got = self.guest.udp_ask(address=address, port=9101)
                self.assert_error(got, "ECONNREFUSED")
                self.assertLess(got["seconds"], 1)

    def test_closed_port_again_and_again_leaves_the_translator_idle(self):
        translator = self.world.parts(self.guest.process.pid)["translator"]
        for _ in range(200):
            self.guest.udp_ask(address=CLOSED4, port=9101, timeout=0.05)
        before = cpu_seconds(translator)
        world.time.sleep(1)
        self.assertLess(cpu_seconds(translator) - before, 0.05)

    def test_one_port_of_the_guest_is_one_port_of_the_host(self):
        for one, two in ((SERVER4, SECOND4), (SERVER6, SECOND6)):
            with self.subTest(one):
                number = self.guest.udp(address="::" if ":" in one else "0.0.0.0")["socket"]
                for address in (one, two):
                    self.guest.udp_send(number=number, to=[address, 9100], text="x")
                    self.assertEqual(self.guest.udp_receive(number=number)["from"], [address, 9100])
                self.assertEqual(self.echoes[one].peers[-1], self.echoes[two].peers[-1])
                self.guest.hang_up(number=number)

    def test_answers_of_strangers_do_not_come_in(self):
        for asked, stranger in ((SERVER4, SECOND4), (SERVER6, SECOND6)):
            with self.subTest(asked):
                other = self.world.ext.socket(stranger, world.socket.SOCK_DGRAM)
                other.bind((stranger, 9102))
                same_host = self.world.ext.socket(asked, world.socket.SOCK_DGRAM)
                same_host.bind((asked, 9103))

                def reply(data, peer):
                    other.sendto(b"stranger", peer)
                    same_host.sendto(b"other port", peer)
                    server.socket.sendto(b"true", peer)
                server = servers.UdpServer(self.world.ext, asked, 9104, reply)
                self.addCleanup(server.close)
                number = self.guest.udp(address="::" if ":" in asked else "0.0.0.0")["socket"]
                self.guest.udp_send(number=number, to=[asked, 9104], text="x")
                self.assertEqual(self.guest.udp_receive(number=number)["text"], "true")
                self.assert_error(self.guest.udp_receive(number=number, timeout=0.5), "TIMEOUT")
                other.close()
                same_host.close()

    def test_many_flows_each_get_their_own_answer(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                numbers = [self.guest.udp(connect_to=[address, 9100])["socket"] for _ in range(200)]
                for number in numbers:
                    self.guest.udp_send(number=number, text=f"flow {number}")
                for number in numbers:
                    self.assertEqual(self.guest.udp_receive(number=number)["text"], f"flow {number}")
                    self.guest.hang_up(number=number)


class PathMtu(NetworkTest):
    """A narrow link on the way shows to the guest as it would outside."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.far = cls.world.far_router()

    def test_too_big_datagrams_say_so(self):
        for address in (FAR4, FAR6):
            with self.subTest(address):
                got = self.guest.udp_path_mtu(address=address, port=9110, size=1400)
                self.assertEqual((got["error"], got["mtu"]), ("EMSGSIZE", 1280))

    def test_bursts_of_too_big_datagrams_cross_the_narrow_link(self):
        # The host refuses trains of datagrams that are larger than what it knows of the path: each goes by itself.
        for address in (FAR4, FAR6):
            with self.subTest(address):
                server = servers.UdpServer(self.far, address, 9112)
                self.addCleanup(server.close)
                sizes = [1400] * 20 + [1200] * 5
                for _ in range(10):  # the first ones are lost: they teach the guest the path's MTU
                    got = self.guest.udp_burst(address=address, port=9112, sizes=sizes)
                    if got["count"] == len(sizes):
                        break
                self.assertEqual((got["count"], got["is_in_order"]), (len(sizes), True))

    def test_tcp_crosses_the_narrow_link(self):
        for address in (FAR4, FAR6):
            with self.subTest(address):
                server = servers.TcpServer(self.far, address, 9111, servers.hash_all)
                self.addCleanup(server.close)
                sent = self.guest.upload(address=address, port=9111, size=4 << 20)
                self.assertEqual(sent["told"], f"{sent['sha256']} {4 << 20}")


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / world.os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    world.main()
