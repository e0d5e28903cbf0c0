"""Protocols that have no ports, and SCTP, which keeps its own: `protocols.py serve`, or `protocols.py ask LOCAL-HOST HOST NAME…`.

The server answers each packet of GRE, ESP, SCTP and of a protocol number for experiments (RFC 3692) with the same payload and the address
that it saw. Exit 0 when all named are answered from HOST; 3 when one is not."""

import selectors
import socket
import struct
import sys

NUMBERS = {"gre": 47, "esp": 50, "sctp": 132, "253": 253}
# A GRE header for IPv4 (RFC 2784), an SPI with a sequence number (RFC 4303), an SCTP header (RFC 9260), nothing known.
HEADERS = {
    "gre": struct.pack("!HH", 0, 0x0800),
    "esp": struct.pack("!II", 0x1234, 1),
    "sctp": struct.pack("!HHII", 5000, 5001, 7, 0),
    "253": b"",
}
SECONDS = 1


def serve():
    selector = selectors.DefaultSelector()
    for number in NUMBERS.values():
        selector.register(socket.socket(socket.AF_INET, socket.SOCK_RAW, number), selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            packet, peer = key.fileobj.recvfrom(2048)
            payload = packet[(packet[0] & 15) * 4:]
            try:
                key.fileobj.sendto(payload + socket.inet_aton(peer[0]), peer)
            except OSError as error:  # a source that was not translated has no route
                print(f"{peer[0]} is not answered: {error!r}", file=sys.stderr)


def ask(local, host, *names):
    seen = set()
    for name in names:
        asking = socket.socket(socket.AF_INET, socket.SOCK_RAW, NUMBERS[name])
        asking.bind((local, 0))
        asking.settimeout(SECONDS)
        payload = HEADERS[name] + b"over the top"
        asking.sendto(payload, (host, 0))
        try:
            packet, peer = asking.recvfrom(2048)
        except TimeoutError:
            print(f"{name}: no answer", file=sys.stderr)
            return 3
        answer = packet[(packet[0] & 15) * 4:]
        assert peer[0] == host and answer[:-4] == payload, (peer, answer)
        seen.add(socket.inet_ntoa(answer[-4:]))
    print(f"{', '.join(names)}: seen as {' and '.join(sorted(seen))}")
    return 0 if local not in seen else 1


sys.exit({"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:]) or 0)
