"""Published ports: who may connect, and that the guest sees who it was."""

import contextlib
import socket
import subprocess
import time

import world
from world import HOST4, HOST6, PUBLIC, ROUTER4, ROUTER6, Guest, NetworkTest


def ask(namespace, address, port, text=b"", source=None, kind=socket.SOCK_STREAM):
    with namespace.socket(address, kind) as client:
        client.settimeout(3)
        if source:
            client.bind((source, 0))
        client.connect((address, port))
        if text:
            client.sendall(text)
        return client.recv(4096).decode()


class Published(NetworkTest):
    options = [*PUBLIC, "--publish", "9301:80", "--publish", f"{HOST4}:9302:80", "--publish", f"[{HOST6}]:9302:80",
               "--publish", f"{HOST4}:9303:53/udp", "--publish", f"[{HOST6}]:9303:53/udp",
               "--publish", "9304:81", "--publish", f"{HOST4}:9305:82", "--publish", f"{HOST4}:9306:83",
               "--publish", f"{HOST4}:9307:84", "--publish", "0.0.0.0:9308:53/udp", "--publish", "[::]:9308:53/udp"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.guest.listen(port=80, address="::", kind="who")
        cls.guest.udp_listen(port=53, address="::")
        cls.guest.listen(port=82, kind="echo")
        cls.guest.listen(port=83, kind="who", address="127.0.0.1")
        cls.guest.listen(port=84, kind="who", device="eth0")

    def test_default_is_the_hosts_loopback_only(self):
        self.assertTrue(ask(self.world.host, "127.0.0.1", 9301))
        with self.assertRaises(OSError):
            ask(self.world.ext, HOST4, 9301)

    def test_clients_address_is_preserved(self):
        for address, client in ((HOST4, ROUTER4), (HOST6, ROUTER6), (HOST4, world.SERVER4),
                                (HOST6, world.SERVER6)):
            with self.subTest(client):
                who, own = ask(self.world.ext, address, 9302, source=client).split()
                self.assertEqual(who.removeprefix("::ffff:"), client)
                self.assertNotEqual(own.removeprefix("::ffff:"), address)

    def test_client_on_the_hosts_loopback_is_not_loopback_inside(self):
        who, _ = ask(self.world.host, "127.0.0.1", 9301).split()
        self.assertFalse(who.removeprefix("::ffff:").startswith("127."), who)

    def test_udp_keeps_the_clients_address_and_answers_it(self):
        for address, client in ((HOST4, ROUTER4), (HOST6, ROUTER6)):
            with self.subTest(client):
                said = ask(self.world.ext, address, 9303, b"hello", source=client, kind=socket.SOCK_DGRAM)
                who, text = said.split()
                self.assertEqual((who.removeprefix("::ffff:"), text), (client, "hello"))

    def test_udp_answers_leave_from_the_address_that_the_client_wrote_to(self):
        """Also one that the host's routes would not choose for it."""
        self.world.host.run("ip address add 198.51.100.3/28 dev uplink", "ip -6 address add 2001:db8::3/64 dev uplink nodad")
        try:
            for address, client in ((HOST4, ROUTER4), ("198.51.100.3", ROUTER4), (HOST6, ROUTER6), ("2001:db8::3", ROUTER6)):
                with self.subTest(address):
                    said = ask(self.world.ext, address, 9308, b"hello", source=client, kind=socket.SOCK_DGRAM)
                    self.assertEqual(said.split()[1], "hello")
        finally:
            self.world.host.run("ip address del 198.51.100.3/28 dev uplink", "ip -6 address del 2001:db8::3/64 dev uplink")

    def test_without_a_listener_the_client_is_reset(self):
        started = time.monotonic()
        with self.assertRaises(OSError) as caught:
            if not ask(self.world.host, "127.0.0.1", 9304):
                raise ConnectionResetError("a clean end, where a reset was due")
        self.assertIsInstance(caught.exception, (ConnectionResetError, ConnectionRefusedError))
        self.assertNotIn("clean end", str(caught.exception))
        self.assertLess(time.monotonic() - started, 1)

    def test_listener_on_the_guests_loopback(self):
        who, _ = ask(self.world.ext, HOST4, 9306, source=ROUTER4).split()
        self.assertEqual(who, ROUTER4)

    def test_listener_bound_to_the_device(self):
        who, _ = ask(self.world.ext, HOST4, 9307, source=ROUTER4).split()
        self.assertEqual(who, ROUTER4)

    def test_bytes_pass_unchanged_both_ways(self):
        with self.world.ext.socket(HOST4) as client:
            client.settimeout(20)
            client.connect((HOST4, 9305))
            sent = bytes(range(256)) * 4096
            writer = world.threading.Thread(target=client.sendall, args=(sent,))
            writer.start()
            got = b""
            while len(got) < len(sent):
                more = client.recv(1 << 16)
                self.assertTrue(more, "ended early")
                got += more
            writer.join()
            self.assertEqual(got, sent)

    def test_half_close_of_the_client_reaches_the_guest(self):
        with self.world.ext.socket(HOST4) as client:
            client.settimeout(5)
            client.connect((HOST4, 9305))
            client.sendall(b"last")
            client.shutdown(socket.SHUT_WR)
            got = b""
            while more := client.recv(100):
                got += more
            self.assertEqual(got, b"last")

    def test_many_clients(self):
        clients = []
        with contextlib.ExitStack() as stack:
            for number in range(200):
                client = stack.enter_context(self.world.ext.socket(HOST4))
                client.settimeout(5)
                client.connect((HOST4, 9305))
                client.sendall(b"%4d" % number)
                clients.append(client)
            for number, client in enumerate(clients):
                self.assertEqual(client.recv(4, socket.MSG_WAITALL), b"%4d" % number)


class LinkLocal(NetworkTest):
    """On one side of a flow both addresses have the same scope (RFC 4007)."""

    @classmethod
    def setUpClass(cls):
        cls.world = world.World.get()
        cls.host_link_local = cls.link_local(cls.world.host)
        cls.ext_link_local = cls.link_local(cls.world.ext)
        cls.options = [*PUBLIC, "--publish", "[::]:9320:80", "--publish",
                       f"[{cls.host_link_local}%uplink]:9321:80", "--publish", "[::]:9322:53/udp",
                       "--publish", "[::]:9323:81"]
        super().setUpClass()
        cls.guest.listen(port=80, address="::", kind="who")
        cls.guest.listen(port=81, address="::1", kind="who")
        cls.guest.udp_listen(port=53, address="::")

    @staticmethod
    def link_local(namespace):
        """The address that the kernel gave to the veth, once it may be used."""
        found = []

        def is_there():
            with namespace:
                told = subprocess.run(["ip", "-6", "-o", "address", "show", "dev", "uplink", "scope", "link",
                                       "-tentative"], capture_output=True, text=True, check=True)
            found[:] = [word.split("/")[0] for word in told.stdout.split() if word.startswith("fe80")]
            return found
        world.wait_until(is_there, "a link-local address")
        return found[0]

    def ask(self, port, text=b"", kind=socket.SOCK_STREAM, timeout=3):
        with self.world.ext:
            zone = socket.if_nametoindex("uplink")
        with self.world.ext.socket("::", kind) as client:
            client.settimeout(timeout)
            client.connect((self.host_link_local, port, 0, zone))
            if text:
                client.sendall(text)
            return client.recv(4096).decode()

    def test_client_meets_the_guests_link_local_address(self):
        for port in (9320, 9321):
            with self.subTest(port):
                who, own = self.ask(port).split()
                self.assertEqual(who.split("%")[0], self.ext_link_local)
                self.assertTrue(own.startswith("fe80::"), own)
                self.assertNotEqual(own.split("%")[0], self.host_link_local)

    def test_client_with_a_global_address_meets_a_global_one(self):
        who, own = ask(self.world.ext, HOST6, 9320, source=ROUTER6).split()
        self.assertEqual(who, ROUTER6)
        self.assertFalse(own.startswith("fe80"), own)

    def test_listener_on_the_guests_loopback_is_for_global_clients_alone(self):
        self.assertEqual(ask(self.world.ext, HOST6, 9323, source=ROUTER6).split()[0], ROUTER6)
        with self.assertRaises((ConnectionResetError, ConnectionRefusedError)):
            if not self.ask(9323):
                raise ConnectionAbortedError("a clean end, where a reset was due")

    def test_udp_client_meets_the_guests_link_local_address(self):
        for _ in range(3):
            who, text = self.ask(9322, b"hello", socket.SOCK_DGRAM).split()
            self.assertEqual((who.split("%")[0], text), (self.ext_link_local, "hello"))
        said = ask(self.world.ext, HOST6, 9322, b"hello", source=ROUTER6, kind=socket.SOCK_DGRAM)
        self.assertEqual(said, f"{ROUTER6} hello")

    def test_scope_is_not_changed_on_the_way(self):
        """A link-local client that writes to a global address of the host: refused, and said why."""
        with self.world.ext:
            zone = socket.if_nametoindex("uplink")
        for port, kind in ((9320, socket.SOCK_STREAM), (9322, socket.SOCK_DGRAM)):
            with self.subTest(port), self.world.ext.socket("::", kind) as client:
                client.settimeout(0.7)
                client.bind((self.ext_link_local, 0, 0, zone))
                source = client.getsockname()[1]
                with self.assertRaises((ConnectionResetError, ConnectionRefusedError, TimeoutError)):
                    client.connect((HOST6, port))
                    client.sendall(b"hello")
                    if not client.recv(100):
                        raise AssertionError("a clean end, where a reset was due")
                line = f"from [{self.ext_link_local}]:{source} "
                world.wait_until(lambda: any(line in said and "rule=scope" in said
                                             for said in self.guest.said().splitlines()), "the reason on stderr")

    def test_guest_reaches_no_link_local_address_itself(self):
        started = time.monotonic()
        answer = self.guest.attempt(source=f"socket.create_connection(('{self.ext_link_local}%eth0', 80), 2)")
        self.assertIsNotNone(answer["error"])
        self.assertLess(time.monotonic() - started, 1, "refused at once, not looked for in vain")

    def test_link_local_address_needs_its_link(self):
        for text, words in ((f"[{self.host_link_local}]:9324:80", "which link"),
                            (f"[{self.host_link_local}%nowhere]:9324:80", "no interface nowhere")):
            got = self.world.run(["true"], [*PUBLIC, "--publish", text])
            self.assertEqual(got.returncode, 125)
            self.assertIn(words, got.stderr)


class Sources(NetworkTest):
    """Who may come to a port: nsjail's inbound rules did not ask."""

    options = [*PUBLIC, "--publish", f"{HOST4}:9330:80,from={ROUTER4}", "--publish", f"{HOST4}:9331:53/udp,from={ROUTER4}",
               "--publish", f"[{HOST6}]:9330:80,from={ROUTER6},from={world.SECOND6}", "--publish", f"{HOST4}:9332:80"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.guest.listen(port=80, address="::", kind="who")
        cls.guest.udp_listen(port=53, address="::")

    def refused(self, address, port, source):
        with self.assertRaises((ConnectionResetError, ConnectionRefusedError)):
            if not ask(self.world.ext, address, port, source=source):
                raise AssertionError("a clean end, where a reset was due")

    def test_whom_the_port_is_for_may_connect_and_nobody_else(self):
        for address, good, bad in ((HOST4, [ROUTER4], [world.SERVER4, world.SECOND4]),
                                   (HOST6, [ROUTER6, world.SECOND6], [world.SERVER6])):
            for source in good:
                self.assertEqual(ask(self.world.ext, address, 9330, source=source).split()[0].removeprefix("::ffff:"),
                                 source)
            for source in bad:
                self.refused(address, 9330, source)
                # The guest's port as such is open to them: it is the published one that is not.
                if address == HOST4:
                    self.assertTrue(ask(self.world.ext, HOST4, 9332, source=source))

    def test_denial_names_the_client_and_the_remedy(self):
        self.refused(HOST4, 9330, world.SERVER4)
        world.wait_until(lambda: f"tcp from {world.SERVER4}:" in self.guest.said(), "the denial")
        line = next(line for line in self.guest.said().splitlines() if f"tcp from {world.SERVER4}:" in line)
        self.assertIn("rule=source", line)
        self.assertIn(f"--publish …,from={world.SERVER4}", line)

    def test_udp_too(self):
        said = ask(self.world.ext, HOST4, 9331, b"hello", source=ROUTER4, kind=socket.SOCK_DGRAM)
        self.assertEqual(said.split()[1], "hello")
        with self.assertRaises(TimeoutError):
            with self.world.ext.socket(HOST4, socket.SOCK_DGRAM) as client:
                client.settimeout(0.7)
                client.bind((world.SERVER4, 0))
                client.connect((HOST4, 9331))
                client.sendall(b"hello")
                client.recv(100)

    def test_file_says_it_too(self):
        path = world.SCRATCH / "tmp/publish.toml"
        path.write_text(f'version = 1\ndefault = "allow-public"\npublish = ["{HOST4}:9333:80,from={ROUTER4}"]\n'
                        '[classes]\npublic = ["198.51.100.0/24"]\n')
        with Guest(self.world, ["--policy", str(path)]) as guest:
            guest.listen(port=80, address="::", kind="who")
            self.assertTrue(ask(self.world.ext, HOST4, 9333, source=ROUTER4))
            self.refused(HOST4, 9333, world.SERVER4)
        path.write_text(f'version = 1\npublish = ["{HOST4}:9333:80,from=198.51.100.1/24"]\n')
        got = self.world.run(["true"], ["--policy", str(path)])
        self.assertEqual(got.returncode, 125)
        self.assertIn("publish.toml:2:12: ", got.stderr)
        self.assertIn("198.51.100.1/24", got.stderr)


class Taken(NetworkTest):
    def test_port_that_is_taken_stops_the_start(self):
        blocker = self.world.host.socket("127.0.0.1")
        blocker.bind(("127.0.0.1", 9310))
        blocker.listen(1)
        got = self.world.run(["true"], [*PUBLIC, "--publish", "9310:80"])
        self.assertEqual(got.returncode, 125, got)
        self.assertIn("9310", got.stderr)
        blocker.close()
        got = self.world.run(["true"], [*PUBLIC, "--publish", "9310:80"])
        self.assertEqual(got.returncode, 0, got)

    def test_ports_are_free_again_after_the_end(self):
        with Guest(self.world, [*PUBLIC, "--publish", "9311:80"]) as guest:
            guest.listen(port=80)
        probe = self.world.host.socket("127.0.0.1")
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 9311))
        probe.close()


if __name__ == "__main__":
    world.main()
