"""A DNS server with scripted zones, which counts every query, and a certificate authority: what a test of
policies by name needs of the world outside."""

import collections
import ipaddress
import random
import struct
import subprocess
import threading

from servers import TcpServer, UdpServer
from world import SCRATCH

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33,
         "SVCB": 64, "HTTPS": 65, "AXFR": 252, "ANY": 255}
NOERROR, SERVFAIL, NXDOMAIN, NOTIMP = 0, 2, 3, 4

# One question as it came: `name` in lower case, `raw` as it was written, `options` the EDNS option codes.
Query = collections.namedtuple("Query", "transport name raw kind klass has_edns options source_port size")


def encode_name(name):
    labels = [label for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode("latin-1") for label in labels) + b"\0"


def encode_data(kind, value):
    """The octets of a record's data, from text."""
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind in ("CNAME", "PTR", "NS"):
        return encode_name(value)
    if kind == "TXT":
        return b"".join(bytes([len(value[at:at + 200])]) + value[at:at + 200].encode() for at in
                        range(0, len(value), 200))
    if kind == "MX":
        preference, host = value.split()
        return struct.pack("!H", int(preference)) + encode_name(host)
    if kind == "SRV":
        priority, weight, port, host = value.split()
        return struct.pack("!HHH", int(priority), int(weight), int(port)) + encode_name(host)
    return value  # octets already


class Zones:
    """Answers as a recursive server would, from what add() was told. A value may be a function, called for
    each query: addresses that rotate. Names under a `*.` entry share its records."""

    def __init__(self, namespace, *addresses):
        self.records, self.queries, self.is_silent, self.truncates = {}, [], False, set()
        self._lock = threading.Lock()
        self._servers = []
        for address in addresses:
            udp = UdpServer(namespace, address, 53)
            udp.reply = lambda data, peer, udp=udp: self._over_udp(udp, data, peer)
            self._servers += [udp, TcpServer(namespace, address, 53, self._over_tcp)]

    def close(self):
        for server in self._servers:
            server.close()

    def add(self, name, kind, *values, ttl=60):
        self.records.setdefault(name.lower(), {})[kind] = (ttl, values)

    def host(self, name, *addresses, ttl=60):
        """A and AAAA."""
        for kind, version in (("A", 4), ("AAAA", 6)):
            mine = [a for a in addresses if ipaddress.ip_address(a).version == version]
            if mine:
                self.add(name, kind, *mine, ttl=ttl)

    def asked(self, name=None, kind=None):
        """The queries so far for `name` and `kind`."""
        with self._lock:
            return [q for q in self.queries if name in (None, q.name) and kind in (None, q.kind)]

    def forget(self):
        with self._lock:
            self.queries.clear()

    def _over_udp(self, server, data, peer):
        answer = self._answer(data, "udp", peer[1])
        if answer and not self.is_silent:
            server.socket.sendto(answer, peer)

    def _over_tcp(self, client):
        while header := client.recv(2, 256):  # MSG_WAITALL
            data = client.recv(struct.unpack("!H", header)[0], 256)
            answer = self._answer(data, "tcp", client.getpeername()[1])
            if answer and not self.is_silent:
                client.sendall(struct.pack("!H", len(answer)) + answer)

    @staticmethod
    def _edns_options(data, at, additional):
        """Whether an OPT record is there, and its options' codes. Queries hold no other record."""
        if not additional or data[at:at + 3] != b"\0\0\x29":
            return False, ()
        length, at, codes = struct.unpack_from("!H", data, at + 9)[0], at + 11, []
        end = at + length
        while at + 4 <= end:
            code, size = struct.unpack_from("!HH", data, at)
            codes.append(code)
            at += 4 + size
        return True, tuple(codes)

    def _read(self, data, transport, source_port):
        questions, _, _, additional = struct.unpack_from("!HHHH", data, 4)
        if questions != 1:
            return None, b""
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1"))
            at += data[at] + 1
        number, klass = struct.unpack_from("!HH", data, at + 1)
        kind = next((name for name, value in TYPES.items() if value == number), str(number))
        has_edns, options = self._edns_options(data, at + 5, additional)
        raw = ".".join(labels)
        query = Query(transport, raw.lower(), raw, kind, klass, has_edns, options, source_port, len(data))
        return query, data[12:at + 5]

    def _find(self, name):
        if name in self.records:
            return self.records[name]
        labels = name.split(".")
        for cut in range(1, len(labels)):
            wildcard = "*." + ".".join(labels[cut:])
            if wildcard in self.records:
                return self.records[wildcard]
        return None

    def _collect(self, query):
        """The answer's records, a CNAME followed as far as the zones know, and the response code."""
        name, answers = query.name, []
        for _ in range(20):
            kinds = self._find(name)
            if kinds is None:
                return answers, NXDOMAIN
            wanted = query.kind if query.kind in kinds else "CNAME" if "CNAME" in kinds else None
            if wanted is None:
                return answers, NOERROR
            ttl, values = kinds[wanted]
            texts = values[0](query) if values and callable(values[0]) else values
            answers += [(name, wanted, ttl, encode_data(wanted, text)) for text in texts]
            if wanted == query.kind:
                return answers, NOERROR
            name = texts[0].lower()
        return answers, SERVFAIL

    def _answer(self, data, transport, source_port):
        query, question = self._read(data, transport, source_port)
        if query is None:
            return None
        with self._lock:
            self.queries.append(query)
        answers, code = self._collect(query)
        identifier = data[:2]
        if transport == "udp" and query.name in self.truncates:
            return identifier + struct.pack("!HHHHH", 0x8780, 1, 0, 0, 0) + question
        body = b"".join(encode_name(name) + struct.pack("!HHIH", TYPES[kind], 1, ttl, len(octets)) + octets
                        for name, kind, ttl, octets in answers)
        return identifier + struct.pack("!HHHHH", 0x8580 | code, 1, len(answers), 0, 0) + question + body


def rotating(addresses, seed=1):
    """A value for Zones.add(): another one of `addresses` at every query, as a large CDN does."""
    rng = random.Random(seed)
    return lambda query: [rng.choice(addresses)]


class Authority:
    """Certificates for names that exist only in this test."""

    def __init__(self):
        self.folder = SCRATCH / "authority"
        self.folder.mkdir()
        self.certificate = self.folder / "ca.pem"
        self._openssl("req", "-x509", *self._key("ca"), "-out", self.certificate, "-days", "30", "-subj",
                      "/CN=authority of a test", "-addext", "basicConstraints=critical,CA:TRUE")
        self.folder.chmod(0o755)
        # Programs that ask neither the environment nor their user: wget does so. /etc is the test's own copy.
        with open("/etc/ssl/certs/ca-certificates.crt", "a", encoding="ascii") as bundle:
            bundle.write(self.certificate.read_text())

    @staticmethod
    def _openssl(*words):
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False, timeout=20)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {words}: {done.stderr}")

    def _key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                self.folder / f"{name}.key"]

    def issue(self, label, *names):
        """A certificate for `names`: the paths of the chain and of the key."""
        request, chain = self.folder / f"{label}.csr", self.folder / f"{label}.pem"
        extension = self.folder / f"{label}.ext"
        extension.write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in names))
        self._openssl("req", *self._key(label), "-out", request, "-subj", f"/CN={names[0]}")
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / "ca.key",
                      "-CAcreateserial", "-days", "30", "-extfile", extension, "-out", chain)
        (self.folder / f"{label}.key").chmod(0o644)
        return chain, self.folder / f"{label}.key"

    def environment(self):
        """What makes programs trust it."""
        path = str(self.certificate)
        return {name: path for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
                                        "PIP_CERT", "REQUESTS_CA_BUNDLE")}
