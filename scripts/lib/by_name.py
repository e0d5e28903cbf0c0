"""A client that knows names only, and asks the host's own resolver for each connection.

`by_name.py udp NAME PORT` sends a datagram and waits for its echo. `by_name.py tcp COUNT PORT NAME…` opens COUNT connections, the names
in turn, exchanges a line on each, and again when all stand. Prints one line. Exit 0, or 3 when something was not reached or did not last."""

import collections
import socket
import sys

SECONDS = 3


def look_up(name, port, kind):
    return socket.getaddrinfo(name, port, socket.AF_INET, kind)[0][4]


def udp(name, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.connect(look_up(name, port, socket.SOCK_DGRAM))
        client.send(b"hello")
        return f"{name}: seen as {client.recv(100).decode().strip()}"


def exchange(connection):
    connection.sendall(b"hello\n")
    answer = connection.recv(100)
    if not answer:
        raise OSError("closed by the other end")
    return answer


def tcp(count, port, names):
    connections = []
    for n in range(count):
        address = look_up(names[n % len(names)], port, socket.SOCK_STREAM)
        connections.append(socket.create_connection(address, SECONDS))
    first = [exchange(c) for c in connections]
    again = [exchange(c) for c in connections]
    # Each host has its own view: one client port may well go to both.
    seen = {(names[n % len(names)].removeprefix(f"tcp{port}."), answer) for n, answer in enumerate(first)}
    if first != again or len(seen) != count:
        raise OSError("a connection changed, or a host sees two as one")
    ends = collections.Counter(c.getpeername() for c in connections)
    return f"{count} connections at once to port {port} of {len(ends)} addresses, up to {max(ends.values())} at one"


try:
    kind, *rest = sys.argv[1:]
    print(udp(rest[0], int(rest[1])) if kind == "udp" else tcp(int(rest[0]), int(rest[1]), rest[2:]))
except OSError as error:
    print(f"not reached: {error!r}", file=sys.stderr)
    sys.exit(3)
