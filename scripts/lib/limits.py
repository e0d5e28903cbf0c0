"""New mappings until the edge refuses: `limits.py LOCAL-HOST NEIGHBOUR HOST PORT COUNT [RATE]`, against the UDP echo server at
HOST:PORT.

LOCAL-HOST asks from COUNT ports, at once or RATE a second, then NEIGHBOUR from twenty. Of the first some must be answered and the others refused by ICMP
"communication administratively prohibited" (type 3, code 13: RFC 5508 REQ-8); of the neighbour all must be answered (RFC 6888 REQ-4). Exit 0; 3 when nobody is refused, 1 when it goes wrong otherwise. Prints how many were answered and refused, as JSON."""

import errno
import json
import selectors
import socket
import struct
import sys
import time

IP_RECVERR, MSG_ERRQUEUE = 11, 0x2000
ORIGIN_ICMP, UNREACHABLE, PROHIBITED = 2, 3, 13
SECONDS, NEIGHBOUR_PORTS = 1.0, 20


def refusal(asking):
    """(type, code) of the ICMP error that waits there: a `sock_extended_err`, ip(7)."""
    _, beside, _, _ = asking.recvmsg(1024, 512, MSG_ERRQUEUE)
    for level, kind, data in beside:
        if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR):
            _, origin, icmp_type, code = struct.unpack_from("=IBBB", data)
            return (icmp_type, code) if origin == ORIGIN_ICMP else None
    return None


def asked(host, server, count, rate=0):
    """How many of `count` new ports are answered, how many refused, and what else is heard."""
    selector = selectors.DefaultSelector()
    for _ in range(count):
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asking.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        asking.bind((host, 0))
        asking.connect(server)
        asking.setblocking(False)
        asking.send(b"who am I\n")
        selector.register(asking, selectors.EVENT_READ)
        if rate:
            time.sleep(1 / rate)
    answers, refused, others = set(), 0, []
    end = time.monotonic() + SECONDS
    while selector.get_map() and (left := end - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            try:
                answers.add(key.fileobj.recv(64))
            except OSError as error:
                told = refusal(key.fileobj) if error.errno != errno.EAGAIN else None
                refused += told == (UNREACHABLE, PROHIBITED)
                others += [told] if told != (UNREACHABLE, PROHIBITED) else []
            selector.unregister(key.fileobj)
    return len(answers), refused, others


def main(host, neighbour, server, port, count, rate=0):
    server, count = (server, int(port)), int(count)
    answered, refused, others = asked(host, server, count, int(rate))
    spared = asked(neighbour, server, NEIGHBOUR_PORTS)[0]
    print(json.dumps({"answered": answered, "refused": refused, "silent": count - answered - refused - len(others), "neighbour": spared}))
    if others or spared != NEIGHBOUR_PORTS or answered == 0:
        print(f"told {others}; of the neighbour's {NEIGHBOUR_PORTS} new mappings {spared} work", file=sys.stderr)
        return 1
    return 0 if refused > 0 else 3


sys.exit(main(*sys.argv[1:]))
