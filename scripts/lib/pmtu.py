"""Path MTU as an ordinary UDP server learns it (RFC 1191, RFC 8201): `pmtu.py serve HOST PORT` or `pmtu.py ask LOCAL-HOST HOST PORT`.

The server answers each question with a datagram of 1,472 bytes that may not be fragmented, until the path's MTU is known, and then with
one line: the MTU that its kernel learned for that client. The asker prints it; exit 3 when no answer comes."""

import errno
import socket
import sys
import time

IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
IPV6_MTU_DISCOVER, IPV6_MTU = 23, 24


def opened(host, port):
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[0]
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    return made


def learned(host, port, peer):
    """The MTU towards `peer`, from a socket connected to it on the server's own port."""
    made = opened(host, port)
    is_v6 = made.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if is_v6 else socket.IPPROTO_IP
    made.setsockopt(level, IPV6_MTU_DISCOVER if is_v6 else IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    made.connect(peer[:2])
    for _ in range(10):
        try:
            made.send(b"x" * (1452 if is_v6 else 1472))
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            break
        time.sleep(0.1)
    mtu = made.getsockopt(level, IPV6_MTU if is_v6 else IP_MTU)
    for _ in range(2):
        try:  # an ICMP error that came late is told once
            made.send(f"{mtu}\n".encode())
            break
        except OSError:
            pass
    made.close()


def serve(host, port):
    for attempt in range(50):  # an IPv6 address is not there before its detection of duplicates is over
        try:
            asked = opened(host, port)
            break
        except OSError:
            if attempt == 49:
                raise
            time.sleep(0.1)
    while True:
        try:
            _, peer = asked.recvfrom(2048)
            learned(host, port, peer)
        except OSError as error:  # one asker has gone; the next is served
            print(f"an asker had no answer: {error!r}", file=sys.stderr)


def ask(local, host, port):
    asking = opened(local, 0)
    asking.settimeout(3)
    asking.connect((host, int(port)))
    for attempt in range(20):
        try:
            asking.send(b"how large?\n")
            while len(answer := asking.recv(2048)) > 8:
                pass
            print(answer.decode().strip())
            return 0
        except ConnectionRefusedError as error:  # the server of the step before has gone, and this one has not come yet
            refused = error
            time.sleep(0.2)
        except OSError as error:
            print(f"no answer: {error!r}", file=sys.stderr)
            return 3
    print(f"no answer: {refused!r}", file=sys.stderr)
    return 3


sys.exit({"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:]))
