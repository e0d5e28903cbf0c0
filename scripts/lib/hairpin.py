"""One private host reaches another by its public mapping: `hairpin.py tcp|udp INNER OTHER SERVER PORT`.

INNER asks the echo server at SERVER:PORT from which public address and port it is seen, and listens there; OTHER, which
INNER never spoke to, then sends to that mapping and must get an answer (RFC 4787 REQ-9, RFC 5382 REQ-8: hairpinning, with
endpoint-independent mapping and filtering). INNER must see OTHER by a public address too. Exit 0; 3 when OTHER got no
answer; 4 when the mapping could not even be learnt."""

import socket
import sys

SECONDS = 2


def address(text):
    host, port = text.strip().rsplit(":", 1)
    return host, int(port)


def opened(kind, host, port=0):
    made = socket.socket(socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.settimeout(SECONDS)
    made.bind((host, port))
    return made


def learn(inner, server):
    """The public mapping of the socket `inner`."""
    inner.connect(server)
    inner.sendall(b"who am I\n")
    return address(inner.recv(64).decode())


def udp(inner_host, other_host, server):
    asking = opened(socket.SOCK_DGRAM, inner_host)
    mapping = learn(asking, server)
    listening = opened(socket.SOCK_DGRAM, inner_host, asking.getsockname()[1])
    asking.close()
    other = opened(socket.SOCK_DGRAM, other_host)
    other.sendto(b"over the top\n", mapping)
    try:
        data, seen_from = listening.recvfrom(64)
        listening.sendto(data, seen_from)
        answer, answered_by = other.recvfrom(64)
    except OSError as error:
        return mapping, None, error
    assert answer == data and answered_by == mapping, (answer, answered_by)
    return mapping, seen_from, None


def tcp(inner_host, other_host, server):
    asking = opened(socket.SOCK_STREAM, inner_host)
    mapping = learn(asking, server)
    listening = opened(socket.SOCK_STREAM, inner_host, asking.getsockname()[1])
    listening.listen()
    other = opened(socket.SOCK_STREAM, other_host)
    try:
        other.connect(mapping)
        accepted, seen_from = listening.accept()
        accepted.settimeout(SECONDS)
        other.sendall(b"over the top\n")
        data = accepted.recv(64)
        accepted.sendall(data)
        answer = other.recv(64)
    except OSError as error:
        return mapping, None, error
    assert answer == data, answer
    return mapping, seen_from, None


def main(kind, inner, other, server, port):
    try:
        mapping, seen_from, error = {"udp": udp, "tcp": tcp}[kind](inner, other, (server, int(port)))
    except OSError as failure:
        print(f"the mapping of {inner} could not be learnt: {failure!r}", file=sys.stderr)
        return 4
    if error:
        print(f"{other} does not reach {inner} at {mapping}: {error!r}", file=sys.stderr)
        return 3
    if seen_from[0] == other:
        print(f"{inner} sees {other} by its private address", file=sys.stderr)
        return 1
    print(f"{other} as {seen_from[0]}:{seen_from[1]} reaches {inner} at {mapping[0]}:{mapping[1]}")
    return 0


sys.exit(main(*sys.argv[1:]))
