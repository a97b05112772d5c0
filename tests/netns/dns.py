"""The resolver inside: relays to the host's servers, follows their change, binds nothing on the host."""

import socket
import time

import servers
import world
from world import PUBLIC, ROUTER4, SECOND4, SERVER4, SERVER6, SILENT4, Guest, NetworkTest

TABLE = {"host.test": [SERVER4, SERVER6], "only6.test": [SERVER6], "second.test": [SECOND4]}
BIG = "big.test"


class Relay(NetworkTest):
    @classmethod
    def setUpClass(cls):
        world.World.get().set_resolv_conf(f"nameserver {SERVER4}\n")
        cls.server = servers.DnsServer(world.World.get().ext, SERVER4, TABLE, big=[BIG])
        cls.addClassCleanup(cls.server.close)
        super().setUpClass()

    def dig(self, *words):
        got = self.guest.run(command=["dig", "+short", "+tries=1", "+time=3", *words])
        self.assertEqual(got["status"], 0, got)
        return got["out"].split()

    def test_over_udp_and_tcp(self):
        self.assertEqual(self.dig("host.test"), [SERVER4])
        self.assertEqual(self.dig("AAAA", "host.test"), [SERVER6])
        self.assertEqual(self.dig("+tcp", "host.test"), [SERVER4])

    def test_programs_resolve_by_the_libc(self):
        got = self.guest.attempt(source="sorted({a[4][0] for a in socket.getaddrinfo('host.test', 80)})")
        self.assertEqual(got.get("value"), repr(sorted([SERVER4, SERVER6])), got)

    def test_name_that_is_not_there(self):
        got = self.guest.run(command=["dig", "+tries=1", "+time=3", "missing.test"])
        self.assertIn("NXDOMAIN", got["out"], got)

    def test_truncated_answer_is_asked_again_over_tcp(self):
        got = self.guest.run(command=["dig", "+tries=1", "+time=3", "TXT", BIG])
        self.assertIn("TTTT", got["out"], got)
        self.assertIn(("tcp", BIG, 16), self.server.queries)

    def test_every_server_that_the_guest_asks_is_the_resolver(self):
        self.assertEqual(self.dig(f"@{SECOND4}", "host.test"), [SERVER4])
        self.assertEqual(self.dig("@192.168.77.77", "host.test"), [SERVER4])

    def test_resolv_conf_inside_names_an_address_of_the_sandbox(self):
        text = self.guest.read(path="/etc/resolv.conf")["text"]
        self.assertIn("nameserver", text)
        self.assertNotIn(SERVER4, text)

    def test_port_53_of_the_host_is_not_bound(self):
        for address in (world.HOST4, "127.0.0.1"):
            probe = self.world.host.socket(address, socket.SOCK_DGRAM)
            probe.bind((address, 53))
            probe.close()

    def test_host_door_has_a_name(self):
        got = self.dig("host.cordon.internal")
        self.assertEqual(len(got), 1, got)

    def test_another_guests_query_is_not_answered_from_outside(self):
        """An answer with the wrong id or from another address is no answer."""
        forged = []

        def forge(data, peer):
            self.forger.socket.sendto(bytes([data[0] ^ 1]) + data[1:2] + b"\x81\x80" + data[4:], peer)
            forged.append(peer)
        self.forger = servers.UdpServer(self.world.ext, SECOND4, 53, forge)
        self.addCleanup(self.forger.close)
        with Guest(self.world, [*PUBLIC, "--dns", SECOND4]) as guest:
            got = guest.run(command=["dig", "+tries=1", "+time=2", "host.test"])
            self.assertTrue(forged)
            self.assertNotIn("NOERROR", got["out"])


class Changes(NetworkTest):
    @classmethod
    def setUpClass(cls):
        world.World.get().set_resolv_conf(f"nameserver {SERVER4}\n")
        super().setUpClass()

    def resolves(self, name="host.test", guest=None):
        started = time.monotonic()
        got = (guest or self.guest).run(command=["dig", "+short", "+tries=1", "+time=5", name])
        return got["out"].split(), time.monotonic() - started

    def test_new_server_is_used_once_resolv_conf_names_it(self):
        first = servers.DnsServer(self.world.ext, SERVER4, {"host.test": ["198.51.100.20"]})
        second = servers.DnsServer(self.world.ext, SECOND4, {"host.test": ["198.51.100.21"]})
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        self.assertEqual(self.resolves()[0], ["198.51.100.20"])
        self.world.set_resolv_conf(f"nameserver {SECOND4}\n")
        world.wait_until(lambda: self.resolves()[0] == ["198.51.100.21"], "the new server", 3)
        # Replaced as a whole, as NetworkManager does it.
        fresh = world.pathlib.Path("/etc/resolv.conf.new")
        self.world.set_resolv_conf(f"nameserver {SERVER4}\n", path=fresh)
        fresh.rename("/etc/resolv.conf")
        world.wait_until(lambda: self.resolves()[0] == ["198.51.100.20"], "the first server", 3)

    def test_swapped_link_and_emptied_file(self):
        """F-07: resolv.conf is a link that is pointed elsewhere; the file is emptied and filled again."""
        first = servers.DnsServer(self.world.ext, SERVER4, {"host.test": ["198.51.100.20"]})
        second = servers.DnsServer(self.world.ext, SECOND4, {"host.test": ["198.51.100.21"]})
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        folder = world.SCRATCH / "resolv"
        folder.mkdir()
        folder.chmod(0o755)
        for name, server in (("first", SERVER4), ("second", SECOND4)):
            self.world.set_resolv_conf(f"nameserver {server}\n", path=folder / name)
        link, conf = world.pathlib.Path("/etc/resolv.conf.link"), world.pathlib.Path("/etc/resolv.conf")

        def restore():
            conf.unlink(missing_ok=True)
            self.world.set_resolv_conf(f"nameserver {SERVER4}\n")
        self.addCleanup(restore)
        for name, address in (("first", "198.51.100.20"), ("second", "198.51.100.21"), ("first", "198.51.100.20")):
            link.symlink_to(folder / name)
            link.rename(conf)
            world.wait_until(lambda a=address: self.resolves()[0] == [a], f"the {name} server", 4)
        (folder / "first").write_text("")
        world.wait_until(lambda: "198.51.100.20" not in self.resolves()[0], "no server to be asked", 4)
        answer, seconds = self.resolves()
        self.assertLess(seconds, 2.5, answer)
        (folder / "first").write_text(f"nameserver {SECOND4}\n")
        world.wait_until(lambda: self.resolves()[0] == ["198.51.100.21"], "the server that came back", 4)

    def test_resolver_on_the_hosts_loopback(self):
        local = servers.DnsServer(self.world.host, "127.0.0.53", TABLE)
        self.addCleanup(local.close)
        self.world.set_resolv_conf("nameserver 127.0.0.53\n")
        with Guest(self.world) as guest:
            got = guest.run(command=["dig", "+short", "+tries=1", "+time=3", "host.test"])
            self.assertEqual(got["out"].split(), [SERVER4], got)
        self.assertTrue(local.queries)

    def test_silent_server_is_passed_over_within_two_seconds(self):
        good = servers.DnsServer(self.world.ext, SECOND4, TABLE)
        self.addCleanup(good.close)
        self.world.set_resolv_conf(f"nameserver {SILENT4}\nnameserver {SECOND4}\n")
        with Guest(self.world) as guest:
            answers, seconds = self.resolves(guest=guest)
            self.assertEqual(answers, [SERVER4])
            self.assertLess(seconds, 2.5)

    def test_refusing_server_is_passed_over_at_once(self):
        good = servers.DnsServer(self.world.ext, SECOND4, TABLE)
        self.addCleanup(good.close)
        self.world.set_resolv_conf(f"nameserver {world.CLOSED4}\nnameserver {SECOND4}\n")
        with Guest(self.world) as guest:
            answers, seconds = self.resolves(guest=guest)
            self.assertEqual(answers, [SERVER4])
            self.assertLess(seconds, 2.5)

    def test_no_server_at_all_is_told_and_not_a_hang(self):
        self.world.set_resolv_conf("")
        with Guest(self.world) as guest:
            got = guest.run(command=["dig", "+tries=1", "+time=5", "host.test"])
            self.assertRegex(got["out"], "SERVFAIL|REFUSED|NXDOMAIN|timed out|no servers")


class AllowList(NetworkTest):
    """With --allow nothing is relayed: a name is a way out."""

    options = [*PUBLIC, "--allow", f"{SECOND4}:80"]

    def test_nothing_goes_upstream(self):
        server = servers.DnsServer(self.world.ext, SERVER4, TABLE)
        self.addCleanup(server.close)
        self.world.set_resolv_conf(f"nameserver {SERVER4}\n")
        with Guest(self.world, self.options) as guest, self.world.wire() as wire:
            for words in (["secret.evil.test"], ["+tcp", "secret.evil.test"],
                          [f"@{SERVER4}", "secret.evil.test"], [f"@{SERVER6}", "secret.evil.test"],
                          [f"@{ROUTER4}", "TXT", "secret.evil.test"]):
                guest.run(command=["dig", "+tries=1", "+time=1", *words])
            self.assertEqual(server.queries, [])
            self.assertEqual(wire.count(port=53), 0)
        with Guest(self.world, PUBLIC) as guest:  # the twin
            got = guest.run(command=["dig", "+short", "+tries=1", "+time=3", "host.test"])
            self.assertEqual(got["out"].split(), [SERVER4])


if __name__ == "__main__":
    world.main()
