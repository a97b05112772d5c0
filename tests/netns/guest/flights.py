"""First octets of a connection, made by hand: a ClientHello as any client could write it, in any number of
records and pieces, and whatever else a test wants to say first."""

import errno
import socket
import struct
import time


def name_of(error):
    return "TIMEOUT" if isinstance(error, socket.timeout) else errno.errorcode.get(error.errno, str(error))


def extension(kind, body):
    return struct.pack("!HH", kind, len(body)) + body


def server_names(names):
    entries = b"".join(b"\0" + struct.pack("!H", len(name)) + name for name in names)
    return extension(0, struct.pack("!H", len(entries)) + entries)


def client_hello(names, before=0, after=0, ech=False, grease=False):
    """The handshake message. before, after: octets of padding around the server name extension."""
    extensions = b""
    if grease:
        extensions += extension(0x1A1A, b"")
    if before:
        extensions += extension(21, bytes(before))
    if names:
        extensions += server_names([name.encode("latin-1") for name in names])
    extensions += extension(10, b"\0\4\0\x1d\0\x17") + extension(11, b"\1\0")
    extensions += extension(13, b"\0\x08\4\3\x08\4\4\1\5\3")
    if ech:
        extensions += extension(0xFE0D, b"\0\0\1\0\1\x2a\0\x20" + bytes(32) + b"\0\x80" + bytes(128))
    if after:
        extensions += extension(21, bytes(after))
    ciphers = (b"\x5a\x5a" if grease else b"") + b"\xc0\x2b\xc0\x2f\x13\x01"
    body = (b"\3\3" + bytes(range(32)) + b"\0" + struct.pack("!H", len(ciphers)) + ciphers + b"\1\0" +
            struct.pack("!H", len(extensions)) + extensions)
    return b"\1" + struct.pack("!I", len(body))[1:] + body


def records(message, size=16384):
    """The message in TLS records of at most `size` octets."""
    return b"".join(b"\x16\3\1" + struct.pack("!H", len(message[at:at + size])) + message[at:at + size]
                    for at in range(0, len(message), size))


def say(host, port, octets, pieces=1, pause=0.02, timeout=3, family=0):
    """Connects, sends `octets` in `pieces`, and gives what came back first (latin-1) or the error's name."""
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except OSError as error:
        return {"error": "NONAME", "words": str(error), "text": ""}
    made = socket.socket(found[0][0], socket.SOCK_STREAM)
    made.settimeout(timeout)
    started = time.monotonic()
    try:
        made.connect(found[0][4])
    except OSError as error:
        made.close()
        return {"error": name_of(error), "text": "", "seconds": time.monotonic() - started, "connected": False}
    size = max(1, -(-len(octets) // pieces))
    taken, problem = b"", None
    try:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(octets), size):
            made.sendall(octets[at:at + size])
            if pieces > 1:
                time.sleep(pause)
    except OSError as error:
        problem = name_of(error)
    try:
        taken = made.recv(65536)
    except OSError as error:
        problem = name_of(error)
    made.close()
    return {"error": problem, "text": taken.decode("latin-1"), "connected": True, "peer": found[0][4][0]}


def say_hello(host, port=443, names=(), record=16384, pieces=1, ech=False, grease=False, before=0, after=0, family=0):
    """say() with a ClientHello for `names`."""
    message = client_hello(names, before=before, after=after, ech=ech, grease=grease)
    return say(host, port, records(message, record), pieces, family=family)


def text(host, port, words, pieces=1, family=0):
    """say() with text in which CRLF is written as a line's end."""
    return say(host, port, words.replace("\n", "\r\n").encode("latin-1"), pieces, family=family)
