#!/usr/bin/env python3
"""Asks a Neo4j for its name over Bolt, with the standard library only: bolt_ping.py HOST PORT PASSWORD-FILE prints "Neo4j/5.26.0".

It is what makes `up` and `status` believe in a server: handshake, HELLO, LOGON, RUN "RETURN 1" and PULL, each answered by SUCCESS.
Knows just the PackStream it sends (text and maps below 64 KiB and 16 entries) and reads the server's name out of the reply to HELLO.
"""
import re, socket, struct, sys

TIMEOUT = 4.0
HELLO, LOGON, RUN, PULL, SUCCESS, RECORD = 0x01, 0x6A, 0x10, 0x3F, 0x70, 0x71


def pack(value):
    if isinstance(value, dict):
        return bytes([0xA0 + len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())
    if isinstance(value, int):
        return struct.pack(">b", value)  # -16 to 127
    text = value.encode()
    return (bytes([0x80 + len(text)]) if len(text) < 16 else b"\xd1" + struct.pack(">H", len(text))) + text


def read(s, count):
    data = b""
    while len(data) < count:
        piece = s.recv(count - len(data))
        if not piece:
            raise OSError("connection closed")
        data += piece
    return data


def message(s):
    """The next message, without its chunks' frames; empty chunks before it only keep the connection alive."""
    data = b""
    while True:
        size = struct.unpack(">H", read(s, 2))[0]
        if size:
            data += read(s, size)
        elif data:
            return data


def ask(s, tag, *fields):
    """Sends one request and gives the SUCCESS that answers it, past any records."""
    body = bytes([0xB0 + len(fields), tag]) + b"".join(map(pack, fields))
    s.sendall(struct.pack(">H", len(body)) + body + b"\0\0")
    reply = message(s)
    while reply[1] == RECORD:
        reply = message(s)
    if reply[1] != SUCCESS:
        raise OSError(reply[2:].decode("utf-8", "replace"))
    return reply


def connect(host, port, user, password):
    """A socket on which statements can be run, and the server's name."""
    s = socket.create_connection((host, port), TIMEOUT)
    try:
        s.settimeout(TIMEOUT)
        s.sendall(bytes.fromhex("6060b017") + struct.pack(">4I", 0x00030405, 0, 0, 0))  # 5.4 down to 5.1
        if read(s, 4)[3] != 5:
            raise OSError("speaks no Bolt 5")
        name = re.search(rb"Neo4j/[\w.+-]+", ask(s, HELLO, {"user_agent": "braid-engines/1", "bolt_agent": {"product": "braid-engines/1"}}))
        ask(s, LOGON, {"scheme": "basic", "principal": user, "credentials": password})
        return s, name[0].decode() if name else "Neo4j"
    except BaseException:
        s.close()
        raise


def run(s, statement):
    ask(s, RUN, statement, {}, {})
    ask(s, PULL, {"n": -1})


def ping(host, port, password):
    s, name = connect(host, port, "neo4j", password)
    with s:
        run(s, "RETURN 1")
        return name


if __name__ == "__main__":
    try:
        with open(sys.argv[3]) as file:
            print(ping(sys.argv[1], int(sys.argv[2]), file.read().strip()))
    except OSError as e:
        sys.exit(f"bolt_ping: {e}")
