"""Lets libpq read what servers that mean harm send, by `entrypoint.postgres.libpq` as it is.

Arguments: a number to begin with, and how many servers. Each sends a login and an answer that are
changed at random. Prints how many looks had rows; a crash of the library is this program's.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import threading
from contextlib import suppress

from entrypoint.postgres import libpq


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def column(number: int) -> bytes:
    return b"c%d\0" % number + struct.pack("!IhIhih", 0, 0, (16, 19, 20, 23, 25)[number], -1, -1, 0)


def row(*values: bytes) -> bytes:
    fields = b"".join(struct.pack("!i", len(each)) + each for each in values)
    return message(b"D", struct.pack("!h", len(values)) + fields)


LOGIN = [
    message(b"R", struct.pack("!I", 0)),
    message(b"S", b"server_version\x0018.0\0"),
    message(b"S", b"client_encoding\0UTF8\0"),
    message(b"K", struct.pack("!II", 77, 2)),
    message(b"Z", b"I"),
]

ANSWER = [
    message(b"T", struct.pack("!h", 5) + b"".join(map(column, range(5)))),
    row(b"t", b"name", b"1", b"2", b"text"),
    message(b"C", b"SELECT 1\0"),
    message(b"N", b"SWARNING\0C01000\0Mhello\0\0"),
    message(b"C", b"SET\0"),
    message(b"Z", b"I"),
]


def changed(messages: list[bytes], chance: random.Random) -> bytes:
    """The messages with a few of them lost, doubled, cut or overwritten."""
    messages = list(messages)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(messages))
        match chance.randrange(7):
            case 0:
                messages[at] = b""
            case 1:
                messages[at] *= 2
            case 2:
                messages[at] = messages[at][: chance.randrange(len(messages[at]) + 1)]
            case 3:
                messages.insert(at, chance.randbytes(chance.randrange(40)))
            case 4:
                length = struct.pack("!I", chance.choice([0, 3, 4, 5, 1 << 20, (1 << 31) - 1]))
                messages[at] = messages[at][:1] + length + messages[at][5:]
            case 5:
                body = bytearray(messages[at])
                for _ in range(3):
                    if body:
                        body[chance.randrange(len(body))] = chance.randrange(256)
                messages[at] = bytes(body)
            case 6:
                big = row(*[b"x" * chance.randrange(1 << 20)] * 5)
                messages.insert(at, big)
    return b"".join(messages)


def serve(listener: socket.socket, chance: random.Random) -> None:
    with suppress(OSError):
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(2)
            connection.recv(65536)
            connection.sendall(changed(LOGIN, chance))
            connection.recv(65536)
            connection.sendall(changed(ANSWER, chance))


def main() -> None:
    first, count = map(int, sys.argv[1:])
    read = 0
    for number in range(first, first + count):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = threading.Thread(target=serve, args=[listener, random.Random(number)])
            server.start()
            params = {
                "host": "127.0.0.1",
                "port": str(listener.getsockname()[1]),
                "user": "u",
                "dbname": "d",
                "sslmode": "disable",
                "gssencmode": "disable",
            }
            found = libpq.look(params, lambda pid, ask: (pid, ask("select 1")), 0.3)
            read += found is not None
            assert found is None or isinstance(found[0], int)
        server.join(5)
    print(read)


main()
