"""TCP as no ordinary client speaks it: `segments.py VERB ARGS…`.

  holds LOCAL-HOST HOST PORT            a connection to the echo server: a line, a pause, a line. Prints the public endpoint after the first line.
                                        Exit 3 when the second is not answered
  resets DEVICE HOST PORT AHEAD         waits there for such a connection and, in its pause, resets it in the server's name. The sequence number is
                                        AHEAD of the one that the client expects next: 0 is what RFC 9293 section 3.5.3 obeys
  unsolicited LOCAL-HOST HOST PORT      opens a connection to an endpoint that does not expect it. Prints after how many seconds it is refused:
                                        RFC 5382 REQ-4 wants 6 or more. Exit 3 when sooner, 4 when not at all"""

import socket
import struct
import sys
import time

from internet import checksum

ETH_P_IP, ACK, PAUSE = 0x0800, 0x10, 1.0
HELD, AT_MOST = 6.0, 12.0


def holds(local, host, port):
    held = socket.create_connection((host, int(port)), 2, source_address=(local, 0))
    lines = held.makefile("rw")

    def exchange():
        print("hello", file=lines, flush=True)
        return lines.readline().strip()

    print(exchange(), flush=True)
    time.sleep(PAUSE)
    try:
        return 0 if exchange() else 3
    except OSError as error:
        print(f"in its second line: {error!r}", file=sys.stderr)
        return 3


def reset_packet(source, destination, ports, sequence):
    def segment(check):
        return struct.pack("!HHIIBBHHH", *ports, sequence & 0xFFFFFFFF, 0, 0x50, 4, 0, check, 0)

    pseudo = source + destination + struct.pack("!BBH", 0, 6, 20)
    # The kernel fills in total length and checksum: raw(7).
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 9, 0, 64, 6, 0) + source + destination
    return header + segment(checksum(pseudo + segment(0)))


def resets(device, host, port, ahead):
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    wire.bind((device, ETH_P_IP))
    wire.settimeout(5)
    print("listening", flush=True)
    expected, spoke = None, False
    while True:
        try:
            packet, address = wire.recvfrom(2048)
        except TimeoutError:
            if expected and spoke:
                break
            raise
        at = (packet[0] & 15) * 4
        ours = socket.inet_aton(host) in (packet[12:16], packet[16:20])
        if packet[9] != 6 or not ours:
            continue
        source_port, destination_port, sequence, acknowledged, offset, flags = struct.unpack_from("!HHIIBB", packet, at)
        length = struct.unpack_from("!H", packet, 2)[0] - at - (offset >> 4) * 4
        if int(port) not in (source_port, destination_port) or not flags & ACK:
            continue
        # The client has sent its line, and the server its answer: from there on both are silent. What the client expects next is
        # what the server has sent, whether or not it has acknowledged that already.
        if address[2] == socket.PACKET_OUTGOING:
            client, client_port, expects = packet[16:20], destination_port, sequence + length
        else:
            client, client_port, expects = packet[12:16], source_port, acknowledged
            spoke = spoke or length > 0
        behind = expected and (expected[2] - expects) & 0xFFFFFFFF < 1 << 31
        if not behind or expected[:2] != (client, client_port):
            expected = (client, client_port, expects)
        wire.settimeout(PAUSE / 3 if spoke else 5)
    client, client_port, acknowledged = expected
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    packet = reset_packet(socket.inet_aton(host), client, (int(port), client_port), acknowledged + int(ahead))
    for _ in range(3):
        raw.sendto(packet, (socket.inet_ntoa(client), 0))
    print(f"3 resets to {socket.inet_ntoa(client)}:{client_port}, {ahead} ahead")
    return 0


def unsolicited(local, host, port):
    calling = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    calling.bind((local, 0))
    calling.settimeout(AT_MOST)
    begin = time.monotonic()
    try:
        calling.connect((host, int(port)))
        print("it is accepted", file=sys.stderr)
        return 1
    except ConnectionRefusedError:
        took = time.monotonic() - begin
    except OSError as error:
        print(f"not refused in {AT_MOST} s: {error!r}", file=sys.stderr)
        return 4
    print(f"refused after {took:.1f} s")
    return 0 if took >= HELD else 3


sys.exit({"holds": holds, "resets": resets, "unsolicited": unsolicited}[sys.argv[1]](*sys.argv[2:]) or 0)
