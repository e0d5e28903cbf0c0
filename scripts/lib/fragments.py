"""A UDP datagram of 64 KiB in fragments that come in any order, both ways: `fragments.py serve HOST PORT`, or
`fragments.py ask LOCAL-HOST HOST PORT WHICH [CHANGE]`.

WHICH is `out` or `back`. The sender cuts the datagram itself and shuffles the fragments, never the same way twice; the receiver is an
ordinary UDP socket. What arrived is told by its SHA-256. CHANGE is what a sender does to the fragments before: `missing` leaves the first
one out, `overlap` sends one that overlaps another, with other bytes. Exit 0; 3 when the datagram did not arrive, 1 when it is another."""

import hashlib
import random
import socket
import struct
import sys
import time

from internet import checksum

LENGTH, PIECE, SECONDS = 65507, 1480, 1.0
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0


def datagram(source, destination, payload):
    """The UDP datagram with its checksum, by RFC 768."""
    header = struct.pack("!HHHH", source[1], destination[1], 8 + len(payload), 0)
    pseudo = socket.inet_aton(source[0]) + socket.inet_aton(destination[0]) + struct.pack("!BBH", 0, 17, 8 + len(payload))
    return header[:6] + struct.pack("!H", checksum(pseudo + header + payload) or 0xFFFF) + payload


def fragments(data, identification, source, destination):
    """(offset, IPv4 packet) of each. The kernel fills in the header's checksum and total length: raw(7)."""
    for offset in range(0, len(data), PIECE):
        yield offset, fragment(data[offset:offset + PIECE], offset, offset + PIECE < len(data), identification, source, destination)


def fragment(piece, offset, more, identification, source, destination):
    field = offset // 8 | (0x2000 if more else 0)
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(piece), identification, field, 64, 17, 0) + addresses + piece


def send(source, destination, payload, change=""):
    identification = random.randrange(1, 65536)
    data = datagram(source, destination, payload)
    pieces = list(fragments(data, identification, source[0], destination[0]))
    if change == "missing":
        del pieces[0]
    random.shuffle(pieces)
    packets = [packet for _, packet in pieces]
    if change == "overlap":
        # Between the others, so that the datagram is not whole yet.
        at = 4 * PIECE + 8
        packets.insert(1, fragment(b"X" * PIECE, at, True, identification, source[0], destination[0]))
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for packet in packets:
        raw.sendto(packet, (destination[0], 0))
        # 45 at once are more than a tap's queue may get to hold while its reader sleeps.
        time.sleep(0.0005)
    return hashlib.sha256(payload).hexdigest()


def opened(address):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind(address)
    return made


def serve(host, port):
    """Tells the hash of what it got; asked `send CHANGE`, sends a datagram of that length and its hash."""
    serving = opened((host, int(port)))
    own = (host, int(port))
    while True:
        data, peer = serving.recvfrom(65536)
        if not data.startswith(b"send"):
            serving.sendto(hashlib.sha256(data).hexdigest().encode(), peer)
            continue
        said = send(own, peer, random.randbytes(LENGTH), data.decode().removeprefix("send").strip())
        serving.sendto(said.encode(), peer)


def ask(local, host, port, which, change=""):
    server = (host, int(port))
    asking = opened((local, 0))
    own = asking.getsockname()
    asking.settimeout(SECONDS)
    # The mapping and the neighbours are there: what waits for them is bounded.
    asking.sendto(b"hello", server)
    try:
        asking.recv(65536)
    except TimeoutError:
        print("the server does not answer", file=sys.stderr)
        return 4
    payload = b""
    if which == "out":
        said = send(own, server, random.randbytes(LENGTH), change)
    else:
        asking.sendto(f"send {change}".encode(), server)
    heard = []
    try:
        while len(heard) < (1 if which == "out" else 2):
            heard.append(asking.recv(65536))
    except TimeoutError:
        print(f"{len(heard)} datagram(s) arrived", file=sys.stderr)
        return 3
    if which == "back":
        payload = max(heard, key=len)
        said, heard = min(heard, key=len).decode(), [hashlib.sha256(payload).hexdigest().encode()]
    if heard[0].decode() != said:
        print(f"sent {said}, arrived {heard[0].decode()}", file=sys.stderr)
        return 1
    print(f"{LENGTH} bytes in {-(-(LENGTH + 8) // PIECE)} shuffled fragments, sha256 {said[:16]}… at both ends")
    return 0


sys.exit({"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:]) or 0)
