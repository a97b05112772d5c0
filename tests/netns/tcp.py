"""TCP as a guest sees it: transfers, every way to end a stream, every way to fail a dial, and sockets that
programs set up in unusual ways (performance.md §1)."""

import hashlib
import os
import signal
import time

import servers
import world
from world import (CLOSED4, CLOSED6, FAMILIES, IS_FULL, PUBLIC, SCRATCH, SERVER4, SERVER6, SILENT4, SILENT6,
                   Guest, NetworkTest, outside, wait_until)

SIZE = (1 << 30) if IS_FULL else (256 << 20)


class Transfer(NetworkTest):
    """Large transfers with equal hashes."""

    def test_download_arrives_whole_and_does_not_stall(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                server = servers.TcpServer(self.world.ext, address, 9001, servers.source(SIZE))
                self.addCleanup(server.close)
                got = self.guest.call("download", within=150, address=address, port=9001)
                self.assertEqual((got["error"], got["size"]), (None, SIZE))
                self.assertEqual(got["sha256"], servers.pattern_sha256(SIZE))
                self.assertLess(got["stall"], 2)

    def test_upload_arrives_whole(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                server = servers.TcpServer(self.world.ext, address, 9002, servers.hash_all)
                self.addCleanup(server.close)
                sent = self.guest.call("upload", within=150, address=address, port=9002, size=SIZE)
                self.assertEqual(sent["told"], f"{sent['sha256']} {SIZE}")

    def test_curl_fetches_from_nginx_and_uploads_to_it(self):
        child = servers.nginx(self.world)
        self.addCleanup(servers.stop_all, child)
        with open(SCRATCH / "www/big", "wb") as file:
            for block in servers.pattern(SIZE):
                file.write(block)
        for host in (SERVER4, f"[{SERVER6}]"):
            with self.subTest(host):
                got = self.guest.call("run", within=100, timeout=90, command=[
                    "sh", "-c", f"curl -sS --fail http://{host}/big | sha256sum"])
                self.assertEqual(got["status"], 0, got)
                self.assertEqual(got["out"].split()[0], servers.pattern_sha256(SIZE))
                got = self.guest.call("run", within=130, timeout=120, command=[
                    "curl", "-sS", "--fail", "-T", str(SCRATCH / "www/big"), f"http://{host}/upload/big"])
                self.assertEqual(got["status"], 0, got)
                self.assertEqual(self.sha256(SCRATCH / "www/upload/big"), servers.pattern_sha256(SIZE))
                os.unlink(SCRATCH / "www/upload/big")
        os.unlink(SCRATCH / "www/big")

    @staticmethod
    def sha256(path):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class Ends(NetworkTest):
    """What one side does to a stream is what the other side sees."""

    def stream(self, address, port, serve):
        server = servers.TcpServer(self.world.ext, address, port, serve)
        self.addCleanup(server.close)
        answer = self.guest.connect(address=address, port=port)
        self.assertIsNone(answer["error"], answer)
        return server, answer["socket"]

    def test_guest_half_closes_and_is_answered(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                _, number = self.stream(address, 9010, servers.answer_at_end)
                self.guest.send(number=number, text="question")
                self.guest.shut_write(number=number)
                got = self.guest.receive_exactly(number=number, size=100)
                self.assertEqual(got["text"], "got 8 octets: question")
                self.guest.hang_up(number=number)

    def test_server_half_closes_and_goes_on_reading(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                server, number = self.stream(address, 9011, servers.speak_first_then_listen)
                got = self.guest.receive_exactly(number=number, size=100)
                self.assertEqual((got["error"], got["text"]), (None, "last words"))
                time.sleep(0.5)
                self.guest.send(number=number, text="still ")
                time.sleep(0.5)
                self.guest.send(number=number, text="talking")
                self.guest.hang_up(number=number)
                wait_until(lambda: server.notes, "the server to see the end")
                self.assertEqual(server.notes, ["still talking"])

    def test_reset_by_the_server_is_a_reset(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                _, number = self.stream(address, 9012, servers.reset)
                self.guest.send(number=number, text="one")
                self.assertEqual(self.guest.receive(number=number)["text"], "one")
                self.guest.send(number=number, text="two")
                self.assert_error(self.guest.receive(number=number), "ECONNRESET")
                self.guest.hang_up(number=number)

    def test_reset_by_the_guest_is_a_reset(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                server, number = self.stream(address, 9013, servers.note_end)
                self.guest.send(number=number, text="x")
                self.guest.hang_up(number=number, abort=True)
                wait_until(lambda: server.notes, "the server to see the end")
                self.assertEqual(server.notes, ["ConnectionResetError"])

    def test_a_port_of_a_remote_end_is_free_for_servers_inside(self):
        """The remote end is a socket in the guest's own namespace, and yet takes no port from the guest."""
        for port, (family, address) in enumerate(FAMILIES, 9050):
            with self.subTest(family):
                server, number = self.stream(address, port, servers.note_end)
                self.guest.listen(port=port, address="::" if ":" in address else "0.0.0.0")
                self.guest.hang_up(number=number)
                wait_until(lambda: server.notes, "the server to see the end")

    def test_close_by_the_guest_is_an_end(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                server, number = self.stream(address, 9014, servers.note_end)
                self.guest.send(number=number, text="x")
                self.guest.hang_up(number=number)
                wait_until(lambda: server.notes, "the server to see the end")
                self.assertEqual(server.notes, ["end"])

    def test_unread_data_at_close_by_the_guest_is_a_reset(self):
        server, number = self.stream(SERVER4, 9015, servers.echo)
        self.guest.send(number=number, text="never read")
        time.sleep(0.2)
        self.guest.hang_up(number=number)
        again = servers.TcpServer(self.world.ext, SERVER4, 9016, servers.note_end)
        self.addCleanup(again.close)
        self.assertEqual(len(server.peers), 1)

    def test_nothing_is_left_of_streams_that_ended(self):
        translator = self.world.parts(self.guest.process.pid)["translator"]

        def descriptors():
            return len(os.listdir(f"/proc/{translator}/fd"))
        server = servers.TcpServer(self.world.ext, SERVER4, 9017, servers.echo)
        self.addCleanup(server.close)
        self.guest.reconnect(address=SERVER4, port=9017, count=20)
        time.sleep(0.3)
        before = descriptors()
        self.guest.connect_many(address=SERVER4, port=9017, count=200)
        # Of four kinds of sockets up to 32 stand ready, refilled by the half: that many may come and go.
        wait_until(lambda: descriptors() <= before + 36, f"descriptors to go back to {before}", 10)


class Dials(NetworkTest):
    """A dial that fails fails as it would outside of the sandbox, as fast, and with the same error."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.direct = outside(cls.world)
        cls.addClassCleanup(cls.direct.close)

    def assert_same_as_outside(self, address, port, *names):
        inside = self.guest.connect(address=address, port=port)
        there = self.direct.connect(address=address, port=port)
        self.assertEqual(inside["error"], there["error"])
        self.assertIn(inside["error"], names)
        self.assertLess(inside["seconds"], there["seconds"] + 2)

    def test_closed_port(self):
        self.assert_same_as_outside(CLOSED4, 81, "ECONNREFUSED")
        self.assert_same_as_outside(CLOSED6, 81, "ECONNREFUSED")
        # The best of five: a busy machine adds time, and nothing takes any away.
        self.assertLess(min(self.guest.connect(address=CLOSED4, port=81)["seconds"] for _ in range(5)), 0.05)

    def test_unreachable_network_and_host(self):
        self.world.ext.run("ip route replace unreachable 198.51.100.64/28",
                           "ip -6 route replace unreachable 2001:db8:64::/64")
        self.assert_same_as_outside("198.51.100.65", 80, "EHOSTUNREACH")
        self.assert_same_as_outside("2001:db8:64::1", 80, "EHOSTUNREACH", "ENETUNREACH")

    def test_no_route_on_the_host(self):
        self.world.host.run("ip route replace unreachable 198.51.100.80/28",
                            "ip -6 route replace unreachable 2001:db8:80::/64")
        self.assert_same_as_outside("198.51.100.81", 80, "EHOSTUNREACH", "ENETUNREACH")
        self.assert_same_as_outside("2001:db8:80::1", 80, "EHOSTUNREACH", "ENETUNREACH")

    def test_forbidden_by_a_firewall_on_the_way(self):
        self.world.ext.run("ip route replace prohibit 198.51.100.96/28",
                           "ip -6 route replace prohibit 2001:db8:96::/64")
        self.assert_same_as_outside("198.51.100.97", 80, "EHOSTUNREACH", "EACCES")
        self.assert_same_as_outside("2001:db8:96::1", 80, "EHOSTUNREACH", "EACCES")

    def test_black_hole_keeps_dialling(self):
        for address in (SILENT4, SILENT6):
            inside = self.guest.connect(address=address, port=80, timeout=2)
            self.assert_error(inside, "TIMEOUT")

    def test_late_answer_of_a_slow_path_still_connects(self):
        server = servers.TcpServer(self.world.ext, SERVER4, 9020, servers.echo)
        self.addCleanup(server.close)
        self.world.ext.run("nft 'add table inet lossy; add chain inet lossy out "
                           "{ type filter hook output priority 0; }; add rule inet lossy out "
                           "tcp sport 9020 tcp flags & (syn|ack) == syn|ack limit rate over 1/minute "
                           "burst 1 packets accept; add rule inet lossy out tcp sport 9020 "
                           "tcp flags & (syn|ack) == syn|ack drop'")
        self.addCleanup(self.world.ext.run, "nft delete table inet lossy")
        answer = self.guest.connect(address=SERVER4, port=9020, timeout=10)
        self.assertIsNone(answer["error"], answer)
        time.sleep(0.3)
        self.assertEqual(len(server.peers), 1, "a repeated SYN must not connect twice")


class Sockets(NetworkTest):
    """Addresses that a program asks for, and sockets that it sets up in unusual ways."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.echoes = [servers.TcpServer(cls.world.ext, address, 9030, servers.echo)
                      for _, address in FAMILIES]

    def assert_echo(self, answer):
        self.assertIsNone(answer["error"], answer)
        self.guest.send(number=answer["socket"], text="hello")
        got = self.guest.receive_exactly(number=answer["socket"], size=5)
        self.assertEqual(got["text"], "hello", got)
        self.guest.hang_up(number=answer["socket"])

    def own_address(self, address):
        answer = self.guest.connect(address=address, port=9030)
        self.assert_echo(answer)
        return answer["own"][0]

    def test_names_of_both_ends_are_true(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                answer = self.guest.connect(address=address, port=9030)
                self.assertEqual(answer["peer"], [address, 9030])
                listed = self.guest.run(command=["ss", "-Htn", "state", "established"])
                self.assertIn(address, listed["out"])
                own = f"{answer['own'][1]} "
                self.assertIn(own, listed["out"].replace("\n", " \n"))
                self.assert_echo(answer)

    def test_socket_bound_to_the_device(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                self.assert_echo(self.guest.connect(address=address, port=9030, device="eth0"))

    def test_socket_bound_to_its_own_address(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                own = self.own_address(address)
                self.assert_echo(self.guest.connect(address=address, port=9030, source=(own, 0)))

    def test_fast_open(self):
        for family, address in FAMILIES:
            for _ in range(2):  # the second time a client may hold a cookie
                with self.subTest(family):
                    answer = self.guest.connect(address=address, port=9030, fast_open="early")
                    self.assertIsNone(answer["error"], answer)
                    got = self.guest.receive_exactly(number=answer["socket"], size=5)
                    self.assertEqual(got["text"], "early")
                    self.guest.hang_up(number=answer["socket"])

    def test_multipath_falls_back(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                self.assert_echo(self.guest.connect(address=address, port=9030, mptcp=True))

    def test_tiny_receive_buffer(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                self.assert_echo(self.guest.connect(address=address, port=9030, receive_buffer=2304))

    def test_fixed_source_port_again_and_again(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                count = 10000 if IS_FULL else 2000
                got = self.guest.call("reconnect", within=60, address=address, port=9030, count=count,
                                      source_port=45000)
                self.assertEqual(got["errors"], {}, got)

    def test_a_thousand_at_once(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                got = self.guest.call("connect_many", within=60, address=address, port=9030, count=1000)
                self.assertEqual((got["connected"], got["right"], got["errors"]), (1000, 1000, {}), got)

    def test_guest_that_gives_up_while_dialling(self):
        before = len(self.echoes[0].clients)
        self.guest.call("give_up", address=SILENT4, port=80, count=200)
        self.guest.call("give_up", address=SERVER4, port=9030, count=200)
        answer = self.guest.ask(address=SERVER4, port=9030, text="well")
        self.assertEqual((answer["error"], answer.get("text")), (None, "well"))
        wait_until(lambda: all(c.fileno() < 0 for c in self.echoes[0].clients[before:]),
                   "the server to see that the guest has gone", 45)

    def test_data_in_the_first_flight_of_the_server(self):
        server = servers.TcpServer(self.world.ext, SERVER4, 9031, servers.source(1 << 20))
        self.addCleanup(server.close)
        got = self.guest.download(address=SERVER4, port=9031)
        self.assertEqual(got["sha256"], servers.pattern_sha256(1 << 20))

    def test_urgent_octet_passes_in_line(self):
        answer = self.guest.connect(address=SERVER4, port=9030)
        number = answer["socket"]
        self.guest.attempt(source=f"SOCKETS[{number}].setsockopt(socket.SOL_SOCKET, "
                                  "socket.SO_OOBINLINE, 1)")
        self.guest.attempt(source=f"SOCKETS[{number}].send(b'ab!', socket.MSG_OOB)")
        self.guest.send(number=number, text="cd")
        got = self.guest.receive_exactly(number=number, size=4)
        # The octet itself may be lost on the way to a server that does not take it in line; order stays.
        self.assertEqual(got["text"].replace("!", "")[:4], "abcd"[:len(got["text"].replace("!", ""))])
        self.guest.hang_up(number=number)


class OptionsOff(NetworkTest):
    """The guest's TCP without timestamps, SACK or window scaling: the host's network has them off, and
    what the guest gets is a namespace that starts from the defaults of the host's kernel."""

    def test_servers_without_options_are_served(self):
        for option in ("tcp_timestamps", "tcp_sack", "tcp_window_scaling"):
            with self.subTest(option):
                self.world.ext.sysctl(f"net.ipv4.{option}", 0)
                self.addCleanup(self.world.ext.sysctl, f"net.ipv4.{option}", 1)
                for _, address in FAMILIES:
                    server = servers.TcpServer(self.world.ext, address, 9040, servers.source(8 << 20))
                    got = self.guest.download(address=address, port=9040)
                    self.assertEqual(got["sha256"], servers.pattern_sha256(8 << 20))
                    server.close()


class Death(NetworkTest):
    """kill -9 of the translator in mid-transfer reads as a reset at both ends, never as a clean end."""

    def test_translator_killed_in_mid_transfer(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                server = servers.TcpServer(self.world.ext, address, 9050, servers.note_end)
                self.addCleanup(server.close)
                with Guest(self.world, PUBLIC) as guest:
                    number = guest.connect(address=address, port=9050)["socket"]
                    guest.send(number=number, text="x" * 100000)
                    translator = self.world.parts(guest.process.pid)["translator"]
                    os.kill(translator, signal.SIGKILL)
                    wait_until(lambda: server.notes, "the server to see the end")
                    self.assertEqual(server.notes, ["ConnectionResetError"])
                    try:
                        self.assert_error(guest.receive(number=number), "ECONNRESET", "ECONNABORTED")
                    except world.GuestError:
                        pass  # the guest was ended together with its network: no clean end either


if __name__ == "__main__":
    world.main()
