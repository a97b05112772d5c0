"""Many connections at once: the hard limit of descriptors decides, and not the caller's soft one; and past what one
table of descriptors holds, streams that rest go to relays, where they live on like all others."""

import os
import pathlib
import re
import resource
import subprocess

import world
from world import PUBLIC, PYTHON, SERVER4, NetworkTest, stop, wait_until

PORT = 9601  # and the next ones

# Echoes whatever it hears, on as many processes and ports as there are descriptors for.
ECHO = """
import os, select, socket, sys
address, port, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
mine = 0
while mine < processes - 1 and os.fork():
    mine += 1
listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((address, port + mine))
listener.listen(4096)
listener.setblocking(False)
print("ready", flush=True)
poll = select.epoll()
poll.register(listener, select.EPOLLIN)
clients = {}
while True:
    for descriptor, _ in poll.poll():
        if descriptor != listener.fileno():
            client = clients[descriptor]
            try:
                text = client.recv(4096)
            except OSError:
                text = b""
            if text:
                client.sendall(text)
            else:
                del clients[descriptor]
                client.close()
            continue
        for _ in range(256):
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                break
            clients[client.fileno()] = client
            poll.register(client, select.EPOLLIN)
"""

# Holds `count` connections on so many processes; then, as each line from stdin says, speaks on all of them, counts those
# that are over, or speaks on a new one.
HOLD = """
import os, resource, select, socket, sys, time
address, port, processes, count, servers = sys.argv[1], *map(int, sys.argv[2:6])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
share = count // processes
ways = []
for mine in range(processes):
    order, report = os.pipe(), os.pipe()
    if not os.fork():
        os.close(order[1])
        break
    os.close(order[0])
    os.close(report[1])
    ways.append((open(order[1], "w"), open(report[0])))
else:
    def ask(words):
        for orders, _ in ways:
            print(words, file=orders, flush=True)
        print(sum(int(reports.readline()) for _, reports in ways), flush=True)
    print(sum(int(reports.readline()) for _, reports in ways), flush=True)
    for line in sys.stdin:
        ask(line.strip())
    sys.exit()
orders, reports = open(order[0]), open(report[1], "w")
held = []
for i in range(share):
    try:
        one = socket.create_connection((address, port + mine % servers), timeout=2.5)
    except OSError:
        break
    held.append(one)
print(len(held), file=reports, flush=True)
def hears(one, text):
    one.settimeout(10)
    try:
        got = b""
        while len(got) < len(text) and (more := one.recv(len(text) - len(got))):
            got += more
        return got == text
    except OSError:
        return False
for line in orders:
    right = 0
    if line == "speak\\n":
        for i, one in enumerate(held):
            try:
                one.sendall(b"%8d" % i)
            except OSError:
                pass
        right = sum(hears(one, b"%8d" % i) for i, one in enumerate(held))
    elif line == "over\\n":
        poll = select.poll()
        for one in held:
            poll.register(one, select.POLLIN | select.POLLRDHUP)
        right = sum(bool(events & (select.POLLERR | select.POLLHUP | select.POLLRDHUP))
                    for _, events in poll.poll(0))
    elif line == "new\\n":
        try:
            with socket.create_connection((address, port + mine % servers), timeout=5) as one:
                one.sendall(b"new")
                right = hears(one, b"new")
        except OSError:
            pass
    print(int(right), file=reports, flush=True)
"""


class Held:
    """A guest that holds connections."""

    def __init__(self, test, count, limit, processes=4, options=PUBLIC):
        self.program = test.world.start([PYTHON, "-c", HOLD, SERVER4, str(PORT), str(processes), str(count),
                                         str(test.servers)], options, before=["prlimit", f"--nofile={limit}"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.connected = self._number()
        self.translator = test.world.parts(self.program.pid)["translator"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop(self.program)

    def _number(self):
        line = self.program.stdout.readline()
        if not line:
            self.program.terminate()
            raise AssertionError(self.program.stderr.read())
        return int(line)

    def ask(self, words):
        print(words, file=self.program.stdin, flush=True)
        return self._number()

    def relays(self):
        """The folders of what each relay has open."""
        tasks = pathlib.Path(f"/proc/{self.translator}/task").iterdir()
        return [task / "fd" for task in tasks if (task / "comm").read_text().strip() == "cordon relay"]


class Many(NetworkTest):
    servers = 4  # processes, each with a port and a table of its own

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.echo = cls.world.ext.start([PYTHON, "-c", ECHO, SERVER4, str(PORT), str(cls.servers)],
                                       stdout=subprocess.PIPE, text=True, start_new_session=True)
        cls.addClassCleanup(stop, cls.echo)
        for _ in range(cls.servers):
            cls.echo.stdout.readline()

    def test_a_low_soft_limit_is_raised(self):
        with Held(self, 1200, limit="1024:") as held:
            self.assertEqual(held.connected, 1200)
            self.assertEqual(held.ask("speak"), 1200)

    def test_more_connections_than_one_table_has_descriptors_for(self):
        # A table of 1,024 has room for 336 flows; four relays have the rest.
        with Held(self, 1400, limit="1024:1024") as held:
            self.assertEqual(held.connected, 1400)
            for _ in range(3):
                self.assertEqual(held.ask("speak"), 1400)
            self.assertEqual(held.ask("new"), 4)
            self.assertEqual(held.ask("over"), 0)

    def test_the_last_place_is_the_last(self):
        """The twin: without relays that have room nothing is held, and what is there lives on."""
        with Held(self, 1800, limit="1024:1024") as held:
            self.assertEqual(held.ask("over"), 0)
            self.assertLess(held.connected, 1700)
            self.assertGreater(held.connected, 1500)
            self.assertEqual(held.ask("speak"), held.connected)

    def test_thirty_thousand_connections_at_a_hard_limit_of_twenty_thousand(self):
        """Where the machine's own limit is lower, nearly as many as `cordon doctor` says."""
        limit = min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        said = subprocess.run(["prlimit", f"--nofile={limit}", self.world.program, "doctor"], capture_output=True,
                              text=True, timeout=20, check=False).stdout
        most = int(re.search(r"(\d+) TCP connections at once", said)[1])
        count = min(30000, (most - 40) // 4 * 4)
        if limit == 20000:
            self.assertEqual(count, 30000)
        with Held(self, count, limit=f"{limit}:{limit}") as held:
            self.assertEqual(held.connected, count)
            self.assertEqual(held.ask("speak"), count)
            self.assertEqual(held.ask("new"), 4)
            self.assertEqual(held.ask("over"), 0)

    def test_all_end_when_the_sandbox_does(self):
        with Held(self, 1000, limit="1024:1024") as held:
            self.assertEqual(held.connected, 1000)

        def established():
            lines = pathlib.Path("/proc/self/net/tcp").read_text().splitlines()[1:]
            return sum(line.split()[3] == "01" for line in lines)

        def none_is_left():
            with self.world.host:
                return established() == 0
        wait_until(none_is_left, "the host's sockets to be closed")

    def test_each_relay_has_its_own_descriptors_and_no_more(self):
        with Held(self, 900, limit="1024:1024") as held:
            self.assertEqual(held.connected, 900)
            kinds = [sorted(os.readlink(entry) for entry in folder.iterdir()) for folder in held.relays()]
            self.assertEqual(len(kinds), 4)
            for descriptors in kinds:
                self.assertFalse([name for name in descriptors if "tun" in name], descriptors)
                sockets = [name for name in descriptors if name.startswith("socket:")]
                events = [name for name in descriptors if name.startswith("anon_inode:")]
                # Two sockets of each stream, and the end that they came by.
                self.assertGreater(len(sockets), 200)
                self.assertEqual(len(sockets) % 2, 1)
                self.assertEqual(len(events), 3, descriptors)


if __name__ == "__main__":
    world.main()
