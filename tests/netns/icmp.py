"""ping and traceroute, by the programs that people use."""

import re
import time
import unittest

import world
from world import (CLOSED4, FAMILIES, FAR4, FAR6, HOST4, PUBLIC, ROUTER4, SERVER4, SERVER6, SILENT4, Guest,
                   NetworkTest)


class Echo(NetworkTest):
    def ping(self, *words):
        return self.guest.call("run", within=30, command=["ping", "-n", *words], timeout=25)

    def test_answers(self):
        for family, address in FAMILIES:
            with self.subTest(family):
                got = self.ping("-c", "3", "-i", "0.2", "-W", "2", address)
                self.assertEqual(got["status"], 0, got)
                self.assertIn("3 received", got["out"])

    def test_sizes(self):
        for family, address in FAMILIES:
            for size in (0, 1, 56, 1472, 1473, 9000, 65507):
                with self.subTest(f"{family} {size}"):
                    got = self.ping("-c", "1", "-W", "2", "-s", str(size), address)
                    self.assertEqual(got["status"], 0, got)
                    self.assertIn(f"{size + 8} bytes from", got["out"])

    def test_silence_stays_silence(self):
        got = self.ping("-c", "1", "-W", "1", SILENT4)
        self.assertEqual(got["status"], 1, got)

    def test_unreachable_is_told(self):
        self.world.ext.run("ip route replace unreachable 198.51.100.64/28")
        got = self.ping("-c", "1", "-W", "2", "198.51.100.65")
        self.assertIn("Unreachable", got["out"], got)

    def test_many_programs_at_once_each_get_their_own_answers(self):
        got = self.guest.call("run", within=30, command=[
            "sh", "-c", f"for n in 1 2 3 4 5 6 7 8; do ping -n -c 2 -i 0.2 -W 2 {SERVER4} & done; wait"])
        self.assertEqual(got["out"].count("2 received"), 8, got)


class Denied(NetworkTest):
    options = [*PUBLIC, "--allow", f"icmp/{SERVER4}"]

    def test_denied_ping_does_not_reach_the_wire(self):
        with self.world.wire() as wire:
            refused = self.guest.run(command=["ping", "-n", "-c", "1", "-W", "1", CLOSED4])
            allowed = self.guest.run(command=["ping", "-n", "-c", "1", "-W", "2", SERVER4])
            self.assertNotEqual(refused["status"], 0)
            self.assertEqual(allowed["status"], 0, allowed)
            self.assertEqual(wire.count(destination=CLOSED4), 0)
            self.assertGreater(wire.count(destination=SERVER4), 0)


class Routes(NetworkTest):
    """Two routers on the way, the second link narrow."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world.far_router()

    def test_traceroute_by_ping_sees_the_last_router(self):
        for address in (FAR4, FAR6):
            with self.subTest(address):
                got = self.guest.call("run", within=40, timeout=35, command=[
                    "traceroute", "-n", "-I", "-q", "1", "-w", "2", "-m", "8", address])
                self.assertEqual(re.findall(r"^ *3 +(\S+)", got["out"], re.MULTILINE), [address], got)

    def test_traceroute_by_udp_sees_every_router(self):
        for address, hops in ((FAR4, ["198.51.100.1", "198.51.100.34", FAR4]),
                              (FAR6, ["2001:db8::1", "2001:db8:2::2", FAR6])):
            with self.subTest(address):
                got = self.guest.call("run", within=40, timeout=35, command=[
                    "traceroute", "-n", "-q", "1", "-w", "2", "-m", "8", address])
                self.assertEqual(got["status"], 0, got)
                seen = re.findall(r"^ *\d+ +(\S+)", got["out"], re.MULTILINE)
                # The guest's own gateway may be a hop of its own in front.
                self.assertEqual([hop for hop in seen if hop in hops], hops, got["out"])

    def test_ping_that_is_too_big_for_the_path_is_told_the_mtu(self):
        got = self.guest.run(command=["ping", "-n", "-c", "2", "-W", "2", "-M", "do", "-s", "1400", FAR4])
        self.assertRegex(got["out"] + got["err"], r"(mtu ?= ?1280|Frag needed)")

    def test_time_to_live_that_runs_out_is_told(self):
        got = self.guest.run(command=["ping", "-n", "-c", "1", "-W", "2", "-t", "2", FAR4])
        self.assertIn("Time to live exceeded", got["out"], got)

    def test_mtr(self):
        for address, hops in ((FAR4, ["198.51.100.1", "198.51.100.34", FAR4]),
                              (FAR6, ["2001:db8::1", "2001:db8:2::2", FAR6])):
            with self.subTest(address):
                got = self.guest.call("run", within=40, timeout=35, command=["mtr", "-n", "-r", "-c", "1", address])
                self.assertEqual(re.findall(r"\|-- (\S+)", got["out"]), hops, got)


# Root has every group; in a user namespace there is but one group to shut out.
if world.AS_USER and world.os.environ.get("CORDON_WORLD") == "root":
    class NotPermitted(unittest.TestCase):
        """Where the host's ping_group_range shuts the user out, one line says what to set."""

        def test_one_line_says_what_to_set(self):
            here = world.World.get()
            here.host.sysctl("net.ipv4.ping_group_range", "1 0")
            self.addCleanup(here.host.sysctl, "net.ipv4.ping_group_range", "0 2147483647")
            with Guest(here) as guest:
                started = time.monotonic()
                guest.run(command=["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", ROUTER4])
                guest.run(command=["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", SERVER6])
                guest.run(command=["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", SERVER4])
                self.assertLess(time.monotonic() - started, 10)
                self.assertEqual(guest.said().count("ping_group_range"), 1, guest.said())


if __name__ == "__main__":
    world.main()
