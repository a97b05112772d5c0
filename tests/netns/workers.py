"""Bulk streams on relays (--workers): they arrive whole, end as they were meant to, and are revoked, listed and limited
like all others. The rest of the suite runs with relays where CORDON_TEST_WORKERS says how many workers."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import servers
import world
from world import FAMILIES, IS_FULL, PUBLIC, PYTHON, SCRATCH, SERVER4, Guest, NetworkTest, wait_until

SIZE = (1 << 30) if IS_FULL else (96 << 20)
BULK = 4 << 20  # surely so

MANY_STREAMS = """
import hashlib, json, socket, sys, threading
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
got = [None] * count
def fetch(i):
    digest = hashlib.sha256()
    with socket.create_connection((address, port), timeout=60) as s:
        while data := s.recv(1 << 18):
            digest.update(data)
    got[i] = digest.hexdigest()
threads = [threading.Thread(target=fetch, args=(i,)) for i in range(count)]
for t in threads: t.start()
for t in threads: t.join()
print(json.dumps(got))
"""

BOTH_WAYS = """
import hashlib, socket, sys, threading
address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.create_connection((address, port), timeout=60)
block = bytes(range(256)) * 1024
def talk():
    for _ in range(size // len(block)):
        s.sendall(block)
    s.shutdown(socket.SHUT_WR)
talker = threading.Thread(target=talk)
talker.start()
digest, taken = hashlib.sha256(), 0
while data := s.recv(1 << 18):
    digest.update(data)
    taken += len(data)
talker.join()
expected = hashlib.sha256(block * (size // len(block))).hexdigest()
print(taken == size and digest.hexdigest() == expected)
"""


def talk_until_it_breaks(client):
    """Sends for ever, and notes what it got for that."""
    block = servers.BLOCK
    try:
        while True:
            client.sendall(block)
    except OSError as error:
        client.server.notes.append(type(error).__name__)


def half_close_behind_bulk(client):
    """Says a lot and its end, then hears what the guest has to say to that."""
    for block in servers.pattern(BULK):
        client.sendall(block)
    client.shutdown(servers.socket.SHUT_WR)
    client.settimeout(30)
    taken = b""
    while data := client.recv(65536):
        taken += data
    client.server.notes.append(taken.decode())


def policy_text(allow, more=""):
    return (f'version = 1\nallow = {json.dumps(allow)}\n{more}[classes]\n'
            'public = ["198.51.100.0/24", "2001:db8::/32"]\n')


class Relayed:
    """What holds with any number of workers; the classes below say how many."""

    workers = 0

    @classmethod
    def setUpClass(cls):
        cls.options = [*PUBLIC, *cls.with_workers()]
        world.World.get().make_runtime_folder()
        super().setUpClass()
        cls.translator = cls.world.parts(cls.guest.process.pid)["translator"]

    @classmethod
    def with_workers(cls):
        return ["--workers", str(cls.workers)]

    def serve(self, port, serve, address=SERVER4, **options):
        server = servers.TcpServer(self.world.ext, address, port, serve, **options)
        self.addCleanup(server.close)
        return server

    def named_guest(self, name, *options):
        guest = Guest(self.world, [*(options or PUBLIC), *self.with_workers(), "--name", name])
        self.addCleanup(guest.close)
        return guest

    def verb(self, *words):
        with self.world.host:
            done = subprocess.run([*self.world.credentials(), self.world.program, *words], capture_output=True,
                                  text=True, timeout=20, env=self.world.environment(), cwd=SCRATCH / "tmp", check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    @staticmethod
    def relays(translator):
        """Its relays' processor time, in nanoseconds."""
        times = []
        for task in pathlib.Path(f"/proc/{translator}/task").iterdir():
            if (task / "comm").read_text().strip() == "cordon relay":
                times.append(int((task / "schedstat").read_text().split()[0]))
        return times

    def translator_of(self, guest):
        return self.world.parts(guest.process.pid)["translator"]

    # Threads.

    def test_there_are_as_many_as_were_asked_for_and_none_has_more_power_than_another(self):
        tasks = list(pathlib.Path(f"/proc/{self.translator}/task").iterdir())
        relays = len(self.relays(self.translator))
        self.assertEqual(len(tasks), relays + 2)
        # Those that are there for their descriptors (netstack/flow/limits.h) are four at most.
        self.assertIn(relays, range(self.workers - 1, max(self.workers - 1, 4) + 1))
        fields = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
        walls = {tuple(re.search(rf"^{field}:\s+(\S+)", (task / "status").read_text(), re.MULTILINE)[1]
                       for field in fields) for task in tasks}
        self.assertEqual(len(walls), 1, walls)
        self.assertEqual(walls.pop()[-2:], ("1", "2"))

    # Octets.

    def test_downloads_arrive_whole_and_are_moved_by_relays(self):
        before = sum(self.relays(self.translator))
        for port, (family, address) in enumerate(FAMILIES, 9601):
            with self.subTest(family):
                self.serve(port, servers.source(SIZE), address)
                got = self.guest.call("download", within=150, address=address, port=port)
                self.assertEqual((got["error"], got["size"]), (None, SIZE))
                self.assertEqual(got["sha256"], servers.pattern_sha256(SIZE))
        self.assertGreater(sum(self.relays(self.translator)) - before, 5_000_000)

    def test_uploads_arrive_whole_and_are_answered_behind_their_end(self):
        before = sum(self.relays(self.translator))
        for port, (family, address) in enumerate(FAMILIES, 9603):
            with self.subTest(family):
                self.serve(port, servers.hash_all, address)
                sent = self.guest.call("upload", within=150, address=address, port=port, size=SIZE)
                self.assertEqual(sent["told"], f"{sent['sha256']} {SIZE}")
        self.assertGreater(sum(self.relays(self.translator)) - before, 5_000_000)

    def test_both_ways_at_once_arrive_whole(self):
        self.serve(9605, servers.echo)
        got = self.guest.call("run", within=120, timeout=110,
                              command=[PYTHON, "-c", BOTH_WAYS, SERVER4, "9605", str(SIZE // 4)])
        self.assertEqual((got["status"], got["out"]), (0, "True\n"), got)

    def test_sixty_four_streams_at_once_arrive_whole(self):
        self.serve(9606, servers.source(BULK))
        got = self.guest.call("run", within=120, timeout=110,
                              command=[PYTHON, "-c", MANY_STREAMS, SERVER4, "9606", "64"])
        self.assertEqual(got["status"], 0, got)
        self.assertEqual(set(json.loads(got["out"])), {servers.pattern_sha256(BULK)})

    def test_a_reader_that_pauses_gets_all_of_it(self):
        self.serve(9607, servers.slow_reader(2), receive_buffer=4096)
        sent = self.guest.call("upload", within=150, address=SERVER4, port=9607, size=BULK * 4)
        self.assertEqual(sent["told"], f"{sent['sha256']} {BULK * 4}")
        self.serve(9608, servers.source(BULK * 4))
        got = self.guest.call("download", within=150, address=SERVER4, port=9608, pause_after=BULK, pause=2)
        self.assertEqual(got["sha256"], servers.pattern_sha256(BULK * 4))

    # Ends.

    def test_a_half_that_is_open_stays_open_behind_bulk(self):
        server = self.serve(9609, half_close_behind_bulk)
        number = self.guest.connect(address=SERVER4, port=9609)["socket"]
        got = self.guest.receive_exactly(number=number, size=BULK + 1)
        self.assertEqual((got["error"], len(got["text"])), (None, BULK), "octets, and then the end")
        time.sleep(0.3)
        self.guest.send(number=number, text="still talking")
        self.guest.hang_up(number=number)
        wait_until(lambda: server.notes, "the server to see the end")
        self.assertEqual(server.notes, ["still talking"])

    def test_a_reset_by_the_guest_is_a_reset(self):
        server = self.serve(9610, talk_until_it_breaks)
        number = self.guest.connect(address=SERVER4, port=9610)["socket"]
        self.guest.receive_exactly(number=number, size=BULK)
        self.guest.hang_up(number=number, abort=True)
        wait_until(lambda: server.notes, "the server to see the end")
        self.assertEqual(server.notes, ["ConnectionResetError"])

    def test_a_reset_by_the_server_is_a_reset(self):
        def reset_behind_bulk(client):
            for block in servers.pattern(BULK):
                client.sendall(block)
            servers.reset(client)
        self.serve(9611, reset_behind_bulk)
        number = self.guest.connect(address=SERVER4, port=9611)["socket"]
        self.assertEqual(len(self.guest.receive_exactly(number=number, size=BULK)["text"]), BULK)
        self.guest.send(number=number, text="one")
        self.assertEqual(self.guest.receive(number=number)["text"], "one")
        self.guest.send(number=number, text="two")
        self.assert_error(self.guest.receive(number=number), "ECONNRESET")

    def test_the_translators_death_in_mid_transfer_is_a_reset_at_both_ends(self):
        server = self.serve(9612, talk_until_it_breaks)
        guest = self.named_guest(f"death{self.workers}")
        number = guest.connect(address=SERVER4, port=9612)["socket"]
        guest.receive_exactly(number=number, size=BULK)
        os.kill(self.translator_of(guest), signal.SIGKILL)
        wait_until(lambda: server.notes, "the server to see the end")
        self.assertEqual(server.notes, ["ConnectionResetError"])
        try:
            # What had come before the reset may still be read.
            while not (got := guest.receive(number=number))["error"]:
                self.assertNotEqual(got["text"], "", "a clean end")
            self.assertIn(got["error"], ("ECONNRESET", "ECONNABORTED"))
        except (world.GuestError, json.JSONDecodeError):
            pass  # the guest was ended together with its network, perhaps in mid-answer: no clean end either

    def test_nothing_is_left_of_streams_that_ended(self):
        def descriptors():
            return len(os.listdir(f"/proc/{self.translator}/fd"))
        self.serve(9613, servers.source(BULK))
        self.guest.download(address=SERVER4, port=9613)
        time.sleep(0.3)
        before = descriptors()
        for _ in range(30):
            self.guest.download(address=SERVER4, port=9613)
        # Sockets stand ready, and pipes.
        wait_until(lambda: descriptors() <= before + 40, f"descriptors to go back to {before}", 10)

    # Everything that decides about flows.

    def test_a_stream_that_is_denied_is_reset_within_a_second_and_another_goes_on(self):
        server = self.serve(9614, talk_until_it_breaks)
        self.serve(9615, servers.source(SIZE))
        guest = self.named_guest(f"denied{self.workers}")
        number = guest.connect(address=SERVER4, port=9614)["socket"]
        guest.receive_exactly(number=number, size=BULK)
        other = guest.connect(address=SERVER4, port=9615)["socket"]
        guest.receive_exactly(number=other, size=BULK)
        self.verb("deny", f"denied{self.workers}", f"{SERVER4}:9614")
        wait_until(lambda: server.notes, "the server to see the end", 1)
        self.assertEqual(server.notes, ["ConnectionResetError"])
        while not (got := guest.receive(number=number))["error"]:
            self.assertNotEqual(got["text"], "", "a clean end")
        self.assertEqual(got["error"], "ECONNRESET")
        self.assertEqual(len(guest.receive_exactly(number=other, size=BULK)["text"]), BULK)

    def test_a_stream_is_listed_with_what_it_has_moved(self):
        self.serve(9616, talk_until_it_breaks)
        name = f"listed{self.workers}"
        guest = self.named_guest(name)
        number = guest.connect(address=SERVER4, port=9616)["socket"]
        for turn in (1, 2):
            guest.receive_exactly(number=number, size=BULK)
            row = next(json.loads(line) for line in self.verb("flows", "--json", name).splitlines())
            self.assertGreaterEqual(row["bytes_down"], turn * BULK, row)
            # What is under way fills buffers, and no more.
            self.assertLess(row["bytes_down"], turn * BULK + (64 << 20), row)

    def test_a_stream_whose_rule_gets_a_rate_lives_on_and_keeps_to_it(self):
        size = 24 << 20
        self.serve(9617, servers.source(size))
        path = SCRATCH / f"tmp/rate{self.workers}.toml"
        path.write_text(policy_text([SERVER4]))
        path.chmod(0o666)
        name = f"rate{self.workers}"
        guest = self.named_guest(name, "--policy", str(path))
        number = guest.connect(address=SERVER4, port=9617)["socket"]
        taken = guest.receive_exactly(number=number, size=BULK)["text"]
        path.write_text(policy_text([SERVER4], '[limits]\nrate = "8MB/s"\n'))
        self.verb("policy", "reload", name)
        begin = time.monotonic()
        taken += guest.call("receive_exactly", within=60, number=number, size=size, timeout=20)["text"]
        seconds = time.monotonic() - begin
        self.assertEqual(servers.hashlib.sha256(taken.encode("latin-1")).hexdigest(), servers.pattern_sha256(size))
        # Buffers held at most half of it when the rate began.
        self.assertGreater(seconds, 0.5)

    def test_a_connection_from_the_same_port_takes_a_relayed_ones_place(self):
        self.serve(9618, talk_until_it_breaks)
        for _ in range(5):
            number = self.guest.connect(address=SERVER4, port=9618, source=("0.0.0.0", 45678))["socket"]
            self.assertEqual(len(self.guest.receive_exactly(number=number, size=BULK)["text"]), BULK)
            self.guest.hang_up(number=number, abort=True)


class TwoWorkers(Relayed, NetworkTest):
    workers = 2


class FourWorkers(Relayed, NetworkTest):
    workers = 4


class OneWorker(NetworkTest):
    """The twin: the same octets, and no relay moves them."""

    options = [*PUBLIC, "--workers", "1"]

    def test_moves_bulk_itself(self):
        translator = self.world.parts(self.guest.process.pid)["translator"]
        before = Relayed.relays(translator)
        server = servers.TcpServer(self.world.ext, SERVER4, 9630, servers.source(BULK))
        self.addCleanup(server.close)
        self.assertEqual(self.guest.download(address=SERVER4, port=9630)["sha256"], servers.pattern_sha256(BULK))
        self.assertEqual(Relayed.relays(translator), before)


if __name__ == "__main__":
    world.main()
