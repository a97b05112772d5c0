"""Floods and crowds (reliability.md §9.2). Every test runs beside a witness, a connection that must not notice,
and beside new connects and queries of which 19 in 20 must be answered in 1.5 s. Afterwards descriptors are back
at the baseline and the translator is idle. CORDON_TEST_FULL=1 asks for the figures of the book."""

import os
import subprocess
import sys
import time

import servers
import world
from world import (CLOSED4, CLOSED6, IS_FULL, PUBLIC, SECOND4, SERVER4, SERVER6, SILENT4, SILENT6, NetworkTest,
                   wait_until)

PORT = 9601
NAME = "host.test"


def full(figure, otherwise):
    return figure if IS_FULL else otherwise


class LoadTest(NetworkTest):
    @classmethod
    def setUpClass(cls):
        here = world.World.get()
        here.set_resolv_conf(f"nameserver {SECOND4}\n")
        cls.dns = servers.DnsServer(here.ext, SECOND4, {NAME: [SERVER4]})
        cls.addClassCleanup(cls.dns.close)
        super().setUpClass()
        cls.translator = cls.world.parts(cls.guest.process.pid)["translator"]
        for address in (SERVER4, SERVER6):
            server = servers.TcpServer(cls.world.ext, address, PORT, servers.echo)
            cls.addClassCleanup(server.close)

    def setUp(self):
        for address in (SERVER4, SERVER6):  # the first use of a family fills its pool of sockets
            self.guest.ask(address=address, port=PORT, text="warm")
        self.guest.resolves(name=NAME)
        time.sleep(0.3)
        self.before = self.measure()
        self.guest.witness_start(address=SERVER4, port=PORT)
        time.sleep(0.3)

    def measure(self):
        status = open(f"/proc/{self.translator}/status").read()
        resident = int(status.split("VmRSS:")[1].split()[0])
        return {"descriptors": len(os.listdir(f"/proc/{self.translator}/fd")), "kib": resident}

    def cpu(self):
        fields = open(f"/proc/{self.translator}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def under_load(self, function, within=60, worst=0.5, **arguments):
        got = self.guest.call("under_load", within=within, function=function, arguments=arguments,
                              echo=[SERVER4, PORT], name=NAME)
        witness = self.guest.witness_stop()
        self.assertIsNone(witness["error"], witness)
        # The book's figure is for a machine that does nothing else.
        self.assertLess(witness["worst"], full(worst, 5), witness)
        for kind in ("connects", "queries"):
            self.assertGreaterEqual(got[kind], got["probes"] * 19 // 20, got)
        return got["load"]

    def assert_quiet_again(self, seconds=45, growth_kib=8192):
        # The translator keeps sockets ready inside, refilled by the half: how many stand there varies by that.
        # A server that never closes is left behind half-closed until the guest is probed, after 30 s.
        most = self.before["descriptors"] + 36
        try:
            wait_until(lambda: self.measure()["descriptors"] <= most, "descriptors to go back", seconds)
        except AssertionError:
            self.fail(f"after {seconds} s {self.measure()['descriptors']} descriptors, and {most} would be well")
        self.assertLess(self.measure()["kib"] - self.before["kib"], growth_kib)
        before = self.cpu()
        time.sleep(2)
        self.assertLessEqual(self.cpu() - before, 0.03, "busy after the load has gone")


class Dials(LoadTest):
    def test_l01_syn_flood_into_a_black_hole(self):
        count, seconds = full((50000, 10), (10000, 4))
        self.under_load("flood", worst=1.0, addresses=[SILENT4, SILENT6], first_port=10000, count=count,
                        seconds=seconds)

    def test_l02_syn_flood_that_is_refused(self):
        count, seconds = full((100000, 20), (10000, 4))
        self.under_load("flood", addresses=[CLOSED4, CLOSED6], first_port=10000, count=count, seconds=seconds)
        self.assert_quiet_again()

    def test_l03_port_scan(self):
        last = full(65535, 12000)
        opened = sorted(range(1050, last, last // 100))
        listeners = []
        for port in opened:
            listener = self.world.ext.socket(CLOSED4)
            listener.bind((CLOSED4, port))
            listener.listen(16)
            listeners.append(listener)
        self.addCleanup(lambda: [listener.close() for listener in listeners])
        # Port 53 of every address is the resolver's.
        got = self.under_load("scan", within=120, address=CLOSED4, first=54, last=last, timeout=60)
        self.assertEqual(got["open"], opened)
        self.assertEqual((got["pending"], got["answers"]), (0, {"ECONNREFUSED": last - 53 - len(opened)}))
        self.assertLess(got["seconds"], 60)
        self.assert_quiet_again()

    def test_l08_crowd_of_idle_flows(self):
        idle, sequential = full((5000, 20000), (1500, 4000))
        held = self.guest.call("hold_many", within=60, address=SERVER4, port=PORT, count=idle)
        self.assertEqual((len(held["numbers"]), held["errors"]), (idle, {}))
        got = self.under_load("reconnect", within=120, address=SERVER6, port=PORT, count=sequential)
        self.assertEqual(got["errors"], {})
        self.assertGreater(got["per_second"], full(500, 50))
        for number in (held["numbers"][0], held["numbers"][-1]):
            self.guest.send(number=number, text="awake")
            self.assertEqual(self.guest.receive_exactly(number=number, size=5)["text"], "awake")
        self.guest.close_all()
        self.assert_quiet_again()


class Datagrams(LoadTest):
    def test_l04_queries_from_many_ports(self):
        count, seconds = full((10000, 10), (4000, 4))
        most = []

        def watch():
            while not done:
                most.append(self.measure()["descriptors"])
                time.sleep(0.1)
        done = []
        watcher = world.threading.Thread(target=watch)
        watcher.start()
        server = next(line.split()[1] for line in
                      self.guest.read(path="/etc/resolv.conf")["text"].splitlines() if "nameserver" in line)
        got = self.under_load("dns_burst", address=server, count=count, seconds=seconds, name=NAME)
        done.append(True)
        watcher.join()
        self.assertGreater(got["answered"], count * 0.9)
        self.assertLess(max(most) - self.before["descriptors"], 560)

    def test_l05_spray(self):
        count = full(100000, 20000)
        addresses = [f"198.51.100.{last}" for last in range(17, 27)]
        self.under_load("udp_spray", worst=1.0, addresses=addresses, port=20000, count=count)


class Bulk(LoadTest):
    def test_l10_both_ways_at_once_and_through_losses(self):
        size = full(1 << 30, 128 << 20)
        down = servers.TcpServer(self.world.ext, SERVER4, 9610, servers.source(size))
        up = servers.TcpServer(self.world.ext, SERVER6, 9611, servers.hash_all)
        self.addCleanup(down.close)
        self.addCleanup(up.close)
        source = (f"(lambda t: [x.start() for x in t] and [x.join() for x in t] and None)"
                  f"([threading.Thread(target=lambda: SOCKETS.update(d=download('{SERVER4}', 9610))),"
                  f" threading.Thread(target=lambda: SOCKETS.update(u=upload('{SERVER6}', 9611, {size})))])")
        self.guest.call("attempt", within=120, source=source)
        got = eval(self.guest.attempt(source="(SOCKETS.pop('d'), SOCKETS.pop('u'))")["value"])
        self.assertEqual((got[0]["sha256"], got[0]["error"]), (servers.pattern_sha256(size), None))
        self.assertEqual(got[1]["told"], f"{got[1]['sha256']} {size}")
        self.assertIsNone(self.guest.witness_stop()["error"])

    def lose(self, percent, port):
        """Drops segments where they arrive, as a wire does. In the sender's own output hook the sender would be
        told, and its kernel forgets a half-open connection whose SYN-ACK it could not repeat: the client's end
        would then wait for ever, in a sandbox as without one."""
        for namespace, end in ((self.world.ext, "dport"), (self.world.host, "sport")):
            # One packet is one segment: without this a drop would lose forty at once.
            namespace.run("ethtool -K uplink tso off gso off gro off",
                          "nft 'add table inet loss; add chain inet loss in { type filter hook input priority 0; }; "
                          f"add rule inet loss in tcp {end} {port} numgen random mod 100 < {percent} counter drop'")

    def lost(self):
        """How many segments were dropped so far."""
        with self.world.host:
            told = subprocess.run(["nft", "list", "table", "inet", "loss"], capture_output=True, text=True, check=True)
        return int(told.stdout.split("packets ")[1].split()[0])

    def restore_the_wire(self):
        for namespace in (self.world.ext, self.world.host):
            namespace.run("ethtool -K uplink tso on gso on gro on", "nft 'add table inet loss; delete table inet loss'")

    def test_l10_losses(self):
        """Beside a plain process of the host, which loses as much."""
        size = full(64 << 20, 8 << 20)
        direct = world.outside(self.world)
        self.addCleanup(direct.close)
        self.addCleanup(self.restore_the_wire)
        for percent in (1, 5):
            self.lose(percent, 9612)
            seconds = {}
            for where, guest in (("direct", direct), ("cordon", self.guest)):
                with self.subTest(f"{percent} % {where} {seconds}"):
                    server = servers.TcpServer(self.world.ext, SERVER4, 9612, servers.source(size))
                    self.addCleanup(server.close)
                    started = time.monotonic()
                    got = guest.call("download", within=130, address=SERVER4, port=9612)
                    seconds[where] = round(time.monotonic() - started, 1)
                    self.assertEqual((got["sha256"], got["error"]), (servers.pattern_sha256(size), None), got)
                    server.close()
            self.assertGreater(self.lost(), 2 * size / 1460 * percent / 200)
            print(f"    {size >> 20} MiB with {percent} % lost: {seconds}", file=sys.stderr)
            self.restore_the_wire()
        self.guest.witness_stop()

    def test_l10_narrow_link(self):
        self.world.ext.run("tc qdisc add dev uplink root tbf rate 20mbit burst 32k latency 50ms")
        self.addCleanup(self.world.ext.run, "tc qdisc del dev uplink root")
        size = full(16 << 20, 4 << 20)
        server = servers.TcpServer(self.world.ext, SERVER4, 9613, servers.source(size))
        self.addCleanup(server.close)
        got = self.guest.call("download", within=60, address=SERVER4, port=9613)
        self.assertEqual((got["sha256"], got["error"]), (servers.pattern_sha256(size), None))
        self.assertLess(got["stall"], 2)
        self.guest.witness_stop()

    def test_l11_readers_that_stop(self):
        """Peers that read nothing for a while: memory stays flat, everything arrives once they read."""
        flows, pause, size = full((256, 30, 1 << 20), (64, 3, 1 << 20))
        server = servers.TcpServer(self.world.ext, SERVER4, 9614, servers.slow_reader(pause))
        self.addCleanup(server.close)
        source = (f"(lambda t: [x.start() for x in t] and [x.join() for x in t] and None)"
                  f"([threading.Thread(target=lambda: SOCKETS.setdefault('told', []).append("
                  f"upload('{SERVER4}', 9614, {size}))) for _ in range({flows})])")
        self.guest.call("attempt", within=60 + 2 * pause, source=source)
        got = eval(self.guest.attempt(source="SOCKETS.pop('told')")["value"])
        self.assertEqual(len(got), flows)
        for one in got:
            self.assertEqual(one["told"], f"{one['sha256']} {size}")
        self.guest.witness_stop()
        self.assert_quiet_again()

    def test_l11_guest_that_stops_reading(self):
        size = full(1 << 30, 64 << 20)
        server = servers.TcpServer(self.world.ext, SERVER4, 9615, servers.source(size))
        self.addCleanup(server.close)
        got = self.guest.call("download", within=120, address=SERVER4, port=9615, pause_after=1 << 20,
                              pause=full(30, 3))
        self.assertEqual((got["sha256"], got["error"]), (servers.pattern_sha256(size), None))
        self.guest.witness_stop()

    def test_l12_tiny_segments(self):
        count = full(100000, 20000)
        server = servers.TcpServer(self.world.ext, SERVER4, 9616, servers.hash_all)
        self.addCleanup(server.close)
        source = (f"(lambda s: (s.setsockopt(6, 1, 1), [s.send(b'x') for _ in range({count})], s.shutdown(1), "
                  f"s.recv(200)))(socket.create_connection(('{SERVER4}', 9616)))[3]")
        got = self.guest.call("attempt", within=60, source=source)
        self.assertTrue(got["value"].endswith(f" {count}'"), got)
        self.guest.witness_stop()


class Inbound(LoadTest):
    options = [*PUBLIC, "--publish", f"{world.HOST4}:9620:80"]

    def test_l14_connections_that_the_guest_never_accepts(self):
        self.guest.attempt(source="SOCKETS.update(deaf=socket.create_server(('0.0.0.0', 80), backlog=8))")
        clients = []
        for _ in range(full(10000, 1000)):
            client = self.world.ext.socket(world.HOST4)
            client.setblocking(False)
            client.connect_ex((world.HOST4, 9620))
            clients.append(client)
        # The guest's own dials have their room all the while.
        answers = [self.guest.ask(address=SERVER4, port=PORT, text="still", timeout=1.5) for _ in range(20)]
        right = [answer for answer in answers if answer.get("text") == "still"]
        self.assertGreaterEqual(len(right), 19, answers)
        for client in clients:
            client.close()
        self.assertIsNone(self.guest.witness_stop()["error"])


if __name__ == "__main__":
    world.main()
