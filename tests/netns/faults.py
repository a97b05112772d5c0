"""What the host does to a running sandbox (reliability.md §9.3): descriptors run out, links go down, addresses
and routes change, processes are stopped or killed."""

import os
import random
import select
import signal
import subprocess
import time

import servers
import world
from world import (FAMILIES, HOST4, HOST6, IS_FULL, PUBLIC, ROUTER4, ROUTER6, SERVER4, SERVER6, Guest, NetworkTest,
                   stop, wait_until)

PORT = 9501


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def soft_limit(pid):
    line = next(text for text in open(f"/proc/{pid}/limits") if text.startswith("Max open files"))
    return int(line.split()[3])


class FaultTest(NetworkTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.translator = cls.world.parts(cls.guest.process.pid)["translator"]
        for _, address in FAMILIES:
            server = servers.TcpServer(cls.world.ext, address, PORT, servers.echo)
            cls.addClassCleanup(server.close)
            udp = servers.UdpServer(cls.world.ext, address, PORT)
            cls.addClassCleanup(udp.close)

    def assert_works(self, guest=None, families=FAMILIES, timeout=1.5):
        for _, address in families:
            answer = (guest or self.guest).ask(address=address, port=PORT, text="works", timeout=timeout)
            self.assertEqual((answer["error"], answer.get("text")), (None, "works"), address)


class Descriptors(FaultTest):
    """F-01: the translator may open no more; what lives goes on, and all is well once it may again."""

    def test_run_out_and_come_back(self):
        usual = soft_limit(self.translator)
        self.world.limit_descriptors(self.translator, 256)
        self.addCleanup(self.world.limit_descriptors, self.translator, usual)
        before, started = cpu_seconds(self.translator), time.monotonic()
        got = self.guest.call("connect_many", within=40, address=SERVER4, port=PORT, count=1000, timeout=5)
        self.assertEqual(set(got["errors"]) - {"EHOSTUNREACH", "ENETUNREACH"}, set(), got)
        self.assertGreater(got["connected"], 50)
        self.assertEqual(got["right"], got["connected"])
        time.sleep(1)
        used = (cpu_seconds(self.translator) - before) / (time.monotonic() - started)
        self.assertLess(used, 0.25, "the translator spins")
        self.world.limit_descriptors(self.translator, usual)
        wait_until(lambda: not self.guest.connect(address=SERVER4, port=PORT, timeout=1)["error"],
                   "connections to work again", 2)
        self.guest.call("close_all")

    def test_idle_while_a_listener_cannot_accept(self):
        with Guest(self.world, [*PUBLIC, "--publish", f"{HOST4}:9510:80"]) as guest:
            guest.listen(port=80)
            translator = self.world.parts(guest.process.pid)["translator"]
            usual = soft_limit(translator)
            self.world.limit_descriptors(translator, len(os.listdir(f"/proc/{translator}/fd")))
            clients = []
            for _ in range(50):
                client = self.world.ext.socket(HOST4)
                client.settimeout(3)
                client.connect((HOST4, 9510))
                clients.append(client)
            time.sleep(0.5)
            before = cpu_seconds(translator)
            time.sleep(2)
            self.assertLess((cpu_seconds(translator) - before) / 2, 0.05, "the translator spins")
            self.world.limit_descriptors(translator, usual)
            for client in clients:
                client.close()

            def answers():
                with self.world.ext.socket(HOST4) as client:
                    client.settimeout(1)
                    try:
                        client.connect((HOST4, 9510))
                        client.sendall(b"x")
                        return client.recv(1) == b"x"
                    except OSError:
                        return False
            wait_until(answers, "the published port to answer again", 3)


class Links(FaultTest):
    def test_link_down_and_up(self):
        """F-05: TCP goes on by itself, new flows work at once."""
        seconds = 10 if IS_FULL else 2
        number = self.guest.connect(address=SERVER4, port=PORT)["socket"]
        self.world.host.run("ip link set uplink down")
        self.guest.send(number=number, text="sent meanwhile")
        answer = self.guest.connect(address=SERVER4, port=PORT, timeout=1)
        self.assertIsNotNone(answer["error"])
        time.sleep(seconds)
        self.world.host.run("ip link set uplink up", f"ip route replace default via {ROUTER4}",
                            f"ip -6 address replace {HOST6}/64 dev uplink nodad",
                            f"ip -6 route replace default via {ROUTER6}")
        wait_until(lambda: not self.guest.ask(address=SERVER4, port=PORT, text="x", timeout=1)["error"],
                   "new connections", 1.5)
        got = self.guest.receive_exactly(number=number, size=14, timeout=20 + 2 * seconds)
        self.assertEqual(got["text"], "sent meanwhile")
        self.guest.hang_up(number=number)
        self.assert_works(timeout=5)

    def test_address_and_default_route_are_replaced(self):
        """F-06: new flows leave from the new address; flows of the old one end after the grace."""
        number = self.guest.connect(address=SERVER4, port=PORT)["socket"]
        other = self.guest.connect(address=SERVER6, port=PORT)["socket"]
        self.world.host.run(f"ip address del {HOST4}/28 dev uplink", "ip address add 198.51.100.4/28 dev uplink",
                            f"ip route replace default via {ROUTER4}")

        def restore():
            self.world.host.run("ip address del 198.51.100.4/28 dev uplink",
                                f"ip address add {HOST4}/28 dev uplink",
                                f"ip route replace default via {ROUTER4}")
        self.addCleanup(restore)
        self.assert_works()
        got = self.guest.call("udp_ask", address=SERVER4, port=PORT)
        self.assertEqual((got["error"], got.get("text")), (None, "hello"))
        answer = self.guest.receive(number=number, timeout=8)
        self.assert_error(answer, "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT")
        self.guest.send(number=other, text="alive")
        self.assertEqual(self.guest.receive_exactly(number=other, size=5)["text"], "alive")

    def test_udp_flow_survives_a_change_of_address(self):
        number = self.guest.udp(connect_to=[SERVER4, PORT])["socket"]
        self.guest.udp_send(number=number, text="one")
        self.assertEqual(self.guest.udp_receive(number=number)["text"], "one")
        self.world.host.run(f"ip address del {HOST4}/28 dev uplink", "ip address add 198.51.100.5/28 dev uplink",
                            f"ip route replace default via {ROUTER4}")
        self.addCleanup(self.world.host.run, "ip address del 198.51.100.5/28 dev uplink",
                        f"ip address add {HOST4}/28 dev uplink", f"ip route replace default via {ROUTER4}")

        def answered():
            self.guest.udp_send(number=number, text="two")
            return self.guest.udp_receive(number=number, timeout=0.5).get("text") == "two"
        wait_until(answered, "the flow to go on", 5)


class Families(FaultTest):
    """F-10: a host without IPv6, without IPv4, without any route when the run starts."""

    def without(self, *lines, undo):
        self.world.host.run(*lines)
        self.addCleanup(self.world.host.run, *undo)

    def unreachable_at_once(self, guest, address):
        answer = guest.connect(address=address, port=PORT)
        self.assert_error(answer, "ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL")
        self.assertLess(answer["seconds"], 0.5)

    def test_without_ipv6(self):
        self.without("ip -6 route del default", f"ip -6 address del {HOST6}/64 dev uplink",
                     undo=[f"ip -6 address add {HOST6}/64 dev uplink nodad", f"ip -6 route add default via {ROUTER6}"])
        with Guest(self.world) as guest:
            self.assert_works(guest, [("v4", SERVER4)])
            self.unreachable_at_once(guest, SERVER6)

    def test_without_ipv4(self):
        self.without("ip route del default", f"ip address del {HOST4}/28 dev uplink",
                     undo=[f"ip address add {HOST4}/28 dev uplink", f"ip route add default via {ROUTER4}"])
        with Guest(self.world) as guest:
            self.assert_works(guest, [("v6", SERVER6)])
            self.unreachable_at_once(guest, SERVER4)

    def test_without_any_route_that_comes_later(self):
        undo = [f"ip route replace default via {ROUTER4}", f"ip -6 route replace default via {ROUTER6}"]
        self.without("ip route del default", "ip -6 route del default", undo=undo)
        with Guest(self.world) as guest:
            self.unreachable_at_once(guest, SERVER4)
            self.unreachable_at_once(guest, SERVER6)
            self.world.host.run(*undo)
            self.assert_works(guest)

    def test_without_ipv6_in_the_kernel(self):
        self.world.host.sysctl("net.ipv6.conf.all.disable_ipv6", 1)

        def restore():
            self.world.host.sysctl("net.ipv6.conf.all.disable_ipv6", 0)
            self.world.host.run(f"ip -6 address replace {HOST6}/64 dev uplink nodad",
                                f"ip -6 route replace default via {ROUTER6}")
        self.addCleanup(restore)
        with Guest(self.world) as guest:
            self.assert_works(guest, [("v4", SERVER4)])
            self.unreachable_at_once(guest, SERVER6)


class Stops(FaultTest):
    """F-08: a part that is stopped and goes on."""

    def stop_for(self, pid, seconds):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    def test_translator_and_supervisor(self):
        seconds = 60 if IS_FULL else 3
        number = self.guest.connect(address=SERVER4, port=PORT)["socket"]
        for pid in (self.translator, self.guest.process.pid):
            self.stop_for(pid, seconds)
            self.guest.send(number=number, text="still there")
            got = self.guest.receive_exactly(number=number, size=11)
            self.assertEqual(got["text"], "still there")
            self.assert_works(timeout=5)

    def test_stopped_supervisor_blocks_no_traffic(self):
        os.kill(self.guest.process.pid, signal.SIGSTOP)
        try:
            self.assert_works()
        finally:
            os.kill(self.guest.process.pid, signal.SIGCONT)


class Sinks(FaultTest):
    """F-12: nobody takes what is to be said; the flows do not notice, and nothing piles up."""

    def resident(self, pid):
        line = next(text for text in open(f"/proc/{pid}/status") if text.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def assert_unmoved(self, guest, events=4000):
        """The witness flow answers all the while that flows begin, end and are denied."""
        parts = self.world.parts(guest.process.pid)
        guest.connect_many(address=SERVER4, port=PORT, count=200, timeout=5)
        before = {pid: self.resident(pid) for pid in (guest.process.pid, parts["translator"])}
        guest.witness_start(address=SERVER4, port=PORT, period=0.02)
        begin = time.monotonic()
        for _ in range(events // 400):
            for address in (SERVER4, world.SECOND4):  # the second is denied
                got = guest.call("connect_many", within=60, address=address, port=PORT, count=200, timeout=5)
                self.assertEqual(got["connected"], 200 if address == SERVER4 else 0, got)
        witness = guest.witness_stop()
        self.assertIsNone(witness["error"], witness)
        self.assertGreater(witness["answers"], 5)
        self.assertLess(witness["worst"], max(2.0, 0.5 * (time.monotonic() - begin)), witness)
        for pid, octets in before.items():
            self.assertLess(self.resident(pid) - octets, 24 << 20, f"of {pid}, {before}")

    def guest_with(self, *options, **popen):
        return Guest(self.world, [*PUBLIC, "--deny", world.SECOND4, *options], **popen)

    def test_log_is_full(self):
        with self.guest_with("--log", "/dev/full") as guest:
            self.assert_unmoved(guest)

    def test_stderr_is_full(self):
        with open("/dev/full", "w") as full, self.guest_with("-v", stderr=full) as guest:
            self.assert_unmoved(guest)

    def test_stderr_and_log_are_pipes_that_nobody_reads(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        path = world.SCRATCH / "tmp/unread.fifo"
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        path.chmod(0o666)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        with self.guest_with("-v", "--log", str(path), stderr=write) as guest:
            os.close(write)
            self.assert_unmoved(guest)

    def test_reader_of_events_is_stopped(self):
        self.world.make_runtime_folder()
        with self.guest_with("--name", "sink") as guest:
            with self.world.host:
                reader = subprocess.Popen([*self.world.credentials(), self.world.program, "events", "sink"],
                                          stdout=subprocess.PIPE, env=self.world.environment())
            self.addCleanup(stop, reader)
            number = guest.connect(address=SERVER4, port=PORT)["socket"]

            def is_listening():
                guest.ask(address=SERVER4, port=PORT, text="x")
                return select.select([reader.stdout], [], [], 0.1)[0]

            wait_until(is_listening, "the reader to hear of a flow")
            os.kill(reader.pid, signal.SIGSTOP)
            self.addCleanup(os.kill, reader.pid, signal.SIGCONT)
            self.assert_unmoved(guest, events=8000)
            guest.send(number=number, text="still")
            self.assertEqual(guest.receive_exactly(number=number, size=5)["text"], "still")


class Kills(FaultTest):
    """F-11: kill -9 of any part, at any moment, leaves nothing behind, and the exit status tells."""

    SCRIPT = "import socket, time; s = socket.create_connection(('%s', %d)); print('up', flush=True); time.sleep(60)"

    def run_and_kill(self, part, delay):
        child = self.world.start([world.PYTHON, "-c", self.SCRIPT % (SERVER4, PORT)], PUBLIC,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(stop, child)
        if delay is None:
            self.assertEqual(child.stdout.readline(), b"up\n")
        else:
            time.sleep(delay)
        parts = self.world.parts(child.pid)
        pid = {"supervisor": child.pid, **parts}[part]
        if pid is None:
            self.assertIsNotNone(delay, f"no {part} in {parts}")
            pid = child.pid
        namespaces = {self.world._network_of(p) for p in parts["all"]} - {None}
        os.kill(pid, signal.SIGKILL)
        status = child.wait(5)
        self.assertNotEqual(status, 0)

        def gone():
            return not [p for p in parts["all"] if self.world.alive(p)]
        wait_until(gone, f"all of {parts} to end after kill -9 of the {part}", 1 if delay is None else 2)
        here = os.readlink("/proc/self/ns/net")
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                network = self.world._network_of(int(entry))
                self.assertFalse(network != here and network in namespaces, f"{entry} holds the network")
        return status

    def setUp(self):
        self.guest.ask(address=SERVER4, port=PORT, text="x")  # the shared guest is not among the victims

    def test_of_a_part_while_it_works(self):
        for part in ("translator", "init", "supervisor"):
            with self.subTest(part):
                status = self.run_and_kill(part, None)
                if part == "translator":
                    self.assertEqual(status, 125)

    def test_of_a_part_at_random_moments(self):
        rng = random.Random(11)
        for turn in range(60 if IS_FULL else 9):
            part = ("translator", "init", "supervisor")[turn % 3]
            delay = rng.uniform(0, 0.12)
            with self.subTest(f"{part} after {delay:.3f} s"):
                self.run_and_kill(part, delay)

    def test_after_the_translators_death_nothing_leaves(self):
        """T41: no network, errors, no fallback to the host's."""
        with Guest(self.world) as guest, self.world.wire() as wire:
            os.kill(self.world.parts(guest.process.pid)["translator"], signal.SIGKILL)
            time.sleep(0.2)
            before = wire.count(leaves=True, destination=SERVER4)
            try:
                answer = guest.call("connect", within=5, address=SERVER4, port=PORT, timeout=1)
                self.assertIsNotNone(answer["error"])
            except world.GuestError:
                pass  # ended together with its network
            self.assertEqual(wire.count(leaves=True, destination=SERVER4), before)


if __name__ == "__main__":
    world.main()
