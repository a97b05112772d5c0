"""Servers that the tests talk to, in threads of the test's own process, and the real ones as children."""

import hashlib
import ipaddress
import os
import pathlib
import socket
import struct
import subprocess
import threading
import time

from world import ORDINARY_USER, SCRATCH, stop, wait_until

BLOCK = bytes(range(256)) * 1024


def pattern(size):
    """The same octets as guest/agent.py's."""
    index = 0
    while size > 0:
        turn = index % 251
        block = BLOCK[turn:] + BLOCK[:turn]
        yield block[:size]
        size -= len(block)
        index += 1


def pattern_sha256(size):
    digest = hashlib.sha256()
    for block in pattern(size):
        digest.update(block)
    return digest.hexdigest()


def echo(client):
    while data := client.recv(65536):
        client.sendall(data)


def answer_at_end(client):
    """Reads to the end of file, then answers: the other direction of a half-closed connection."""
    taken = b""
    while data := client.recv(65536):
        taken += data
    client.sendall(b"got %d octets: " % len(taken) + taken[:100])


def hash_all(client):
    digest, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(1 << 20))
    while length := client.recv_into(buffer):
        digest.update(buffer[:length])
        size += length
    client.sendall(f"{digest.hexdigest()} {size}".encode())


def source(size):
    def serve(client):
        for block in pattern(size):
            client.sendall(block)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(30)
        client.recv(1)
    return serve


def speak_first_then_listen(client):
    """Half-closes its own direction at once, then goes on reading."""
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    client.settimeout(30)
    taken = b""
    while data := client.recv(65536):
        taken += data
    client.server.notes.append(taken.decode())


def reset(client):
    """Answers one message, then resets."""
    client.sendall(client.recv(65536))
    client.recv(65536)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def note_end(client):
    """Notes how the connection ended: `end` or the error's name."""
    try:
        while client.recv(65536):
            pass
        client.server.notes.append("end")
    except OSError as error:
        client.server.notes.append(type(error).__name__)


def hold(client):
    """Keeps the connection until the other side ends it."""
    note_end(client)


def slow_reader(pause):
    def serve(client):
        time.sleep(pause)
        hash_all(client)
    return serve


class TcpServer:
    """Listens in a namespace and gives each connection to `serve` in a thread. peers: who connected;
    notes: what serve wrote down."""

    def __init__(self, namespace, address, port, serve, backlog=2048, receive_buffer=None):
        self.listener = namespace.socket(address)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if ":" in address:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.listener.bind((address, port))
        self.listener.listen(backlog)
        self.serve, self.peers, self.notes, self.clients = serve, [], [], []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                client, peer = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer[:2])
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, raw):
        client = _Client(fileno=raw.detach())
        client.server = self
        self.clients.append(client)
        try:
            with client:
                self.serve(client)
        except OSError:
            pass

    def close(self):
        # A thread blocked in accept() keeps the socket: shutdown() wakes it.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self._thread.join(2)


class _Client(socket.socket):
    """A socket that knows the server that it came in by."""

    server = None


class UdpServer:
    """Echoes datagrams; peers: who sent them. `reply` may change what is said back, or to whom."""

    def __init__(self, namespace, address, port, reply=None):
        self.socket = namespace.socket(address, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((address, port))
        self.peers, self.count = [], 0
        self.reply = reply or (lambda data, peer: self.socket.sendto(data, peer))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(65536)
            except OSError:
                return
            if peer is None:  # shut down
                self.socket.close()
                return
            self.count += 1
            if len(self.peers) < 10000:
                self.peers.append(peer[:2])
            try:
                self.reply(data, peer)
            except OSError:
                pass

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closes
        except OSError:
            pass
        self._thread.join(2)


class DnsServer:
    """Answers A and AAAA from a table over UDP and TCP, and keeps what was asked in `queries`."""

    def __init__(self, namespace, address, table, is_silent=False, big=()):
        self.table, self.queries, self.is_silent, self.big = table, [], is_silent, set(big)
        self._udp = UdpServer(namespace, address, 53, self._over_udp)
        self._tcp = TcpServer(namespace, address, 53, self._over_tcp)

    def close(self):
        self._udp.close()
        self._tcp.close()

    def _over_udp(self, data, peer):
        answer = self._answer(data, "udp")
        if answer and not self.is_silent:
            self._udp.socket.sendto(answer, peer)

    def _over_tcp(self, client):
        while header := client.recv(2, socket.MSG_WAITALL):
            data = client.recv(struct.unpack("!H", header)[0], socket.MSG_WAITALL)
            answer = self._answer(data, "tcp")
            if self.is_silent:
                continue
            client.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, data, transport):
        identifier, _, questions = struct.unpack_from("!HHH", data)
        if questions != 1:
            return None
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1"))
            at += data[at] + 1
        kind = struct.unpack_from("!H", data, at + 1)[0]
        question = data[12:at + 5]
        name = ".".join(labels).lower()
        self.queries.append((transport, name, kind))
        if name in self.big and kind == 16:
            if transport == "udp":
                return struct.pack("!HHHHHH", identifier, 0x8780, 1, 0, 0, 0) + question
            text = b"".join(b"\xc8" + bytes([65 + n % 26]) * 200 for n in range(20))
            record = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 60, len(text)) + text
            return struct.pack("!HHHHHH", identifier, 0x8580, 1, 1, 0, 0) + question + record
        if name not in self.table:
            return struct.pack("!HHHHHH", identifier, 0x8583, 1, 0, 0, 0) + question
        records = [ipaddress.ip_address(a).packed for a in self.table[name]]
        records = [r for r in records if len(r) == {1: 4, 28: 16}.get(kind)]
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(r)) + r for r in records)
        return struct.pack("!HHHHHH", identifier, 0x8580, 1, len(records), 0, 0) + question + body


def nginx(world, port=80):
    """The real one, on all addresses of ext; serves SCRATCH/www, and takes PUT below /upload/."""
    folder = SCRATCH / "nginx"
    folder.mkdir(exist_ok=True)
    (SCRATCH / "www/upload").mkdir(exist_ok=True)
    (SCRATCH / "www/upload").chmod(0o777)
    (folder / "nginx.conf").write_text(f"""
        daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error;
        events {{ worker_connections 4096; }}
        http {{
          access_log off; sendfile on; client_body_temp_path {folder}/body; proxy_temp_path {folder}/p;
          fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
          server {{ listen {port} backlog=2048; listen [::]:{port} backlog=2048; root {SCRATCH}/www;
            client_max_body_size 0; location /upload/ {{ dav_methods PUT; }} }}
        }}""")
    child = world.ext.start(["nginx", "-e", f"{folder}/error", "-c", f"{folder}/nginx.conf"],
                            stdin=subprocess.DEVNULL)
    _await_listener(world.ext, port)
    return child


def iperf3(world, addresses, port=5201):
    """One for each address: a UDP server on the wildcard would answer from another one."""
    children = [world.ext.start(["iperf3", "--server", "--port", str(port), "--bind", address],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL) for address in addresses]
    _await_listener(world.ext, port, len(addresses))
    return children


def sshd(world, port=22):
    """The real one, as the ordinary user; gives the words for a client."""
    folder = SCRATCH / "ssh"
    folder.mkdir()
    shell = "/bin/sh"
    passwd = pathlib.Path("/etc/passwd")
    lines = [line for line in passwd.read_text().splitlines()
             if line.split(":")[2] != str(ORDINARY_USER)]
    name = "nobody"
    passwd.write_text("\n".join(
        [*lines, f"{name}:*:{ORDINARY_USER}:{ORDINARY_USER}::{SCRATCH}/home:{shell}"]) + "\n")
    shadow = pathlib.Path("/etc/shadow")  # a copy, as all of /etc: sshd takes an account with "!" for locked
    shadow.unlink(missing_ok=True)
    shadow.write_text(f"{name}:*:19000:0:99999:7:::\n")
    for key in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)],
                       check=True)
    (folder / "authorized").write_text((folder / "client.pub").read_text())
    (folder / "config").write_text(
        f"Port {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nUsePAM no\n"
        f"StrictModes no\nPidFile none\nPasswordAuthentication no\n")
    words = ["setpriv", "--reuid", str(ORDINARY_USER), "--regid", str(ORDINARY_USER),
             "--clear-groups", "--"]
    if os.environ["CORDON_WORLD"] == "userns":
        words = ["unshare", "--user", f"--map-user={ORDINARY_USER}",
                 f"--map-group={ORDINARY_USER}", "--"]
        pathlib.Path(folder / "host").chmod(0o600)
    else:
        for file in folder.iterdir():
            os.chown(file, ORDINARY_USER, ORDINARY_USER)
    world.ext.sysctl("net.ipv4.ip_unprivileged_port_start", 0)
    child = world.ext.start([*words, "/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")],
                            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _await_listener(world.ext, port)
    (folder / "client").chmod(0o600)
    return child, name, folder / "client"


def _await_listener(namespace, port, count=1):
    def listening():
        with namespace:
            lines = [line.split() for path in ("tcp", "tcp6")
                     for line in open(f"/proc/thread-self/net/{path}").read().splitlines()[1:]]
        return sum(words[1].endswith(f":{port:04X}") and words[3] == "0A" for words in lines) >= count
    wait_until(listening, f"a listener on port {port}")


def stop_all(*children):
    for child in children:
        stop(child)
