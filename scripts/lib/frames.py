"""Frames that no socket of the kernel's sends or shows, on a raw socket: `frames.py DEVICE VERB ARGS…`.

  tagged TAGS HOST EDGE SERVER PORT   is HOST behind VLAN tags (`100`, `200,100` from the outside in, or none at all): ARP for EDGE, ping EDGE,
                                      and the UDP echo server at SERVER:PORT, all of it answered with the same tags
  send MAC SOURCE DESTINATION KIND    sends 20 packets to MAC: KIND is `udp`, `udp.TAG`, or `tcp:FLAGS` in hexadecimal
  announced SECONDS ADDRESS…          waits until each ADDRESS was announced: gratuitous ARP, or an unsolicited NA

Exit 0; 3 when an answer or announcement did not come. The kernel takes the outermost tag off a received frame and tells it
beside (packet(7), PACKET_AUXDATA)."""

import ipaddress
import socket
import struct
import sys
import time

from internet import checksum

SOL_PACKET, PACKET_AUXDATA, ETH_P_ALL, PACKET_OUTGOING = 263, 8, 3, 4
ARP, IPV4, IPV6, C_TAG, S_TAG = 0x0806, 0x0800, 0x86DD, 0x8100, 0x88A8
OWN_MAC = bytes.fromhex("020000c0ffee")
BROADCAST = b"\xff" * 6
COUNT = 20


def ethernet(to, tags, ether_type, payload):
    """The outer one of two tags is an 802.1ad S-tag."""
    header = to + OWN_MAC
    for depth, tag in enumerate(tags):
        header += struct.pack("!HH", S_TAG if depth == 0 and len(tags) > 1 else C_TAG, tag)
    return (header + struct.pack("!H", ether_type) + payload).ljust(60, b"\0")


def arp_request(host, target):
    return struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + OWN_MAC + host.packed + b"\0" * 6 + target.packed


def ipv4(source, destination, protocol, payload):
    def header(check):
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, 0, 64, protocol, check, source.packed, destination.packed)

    return header(checksum(header(0))) + payload


def icmp_echo(number):
    return struct.pack("!BBHHH", 8, 0, checksum(struct.pack("!BBHHH", 8, 0, 0, 77, number)), 77, number)


def udp(source_port, port, data):
    return struct.pack("!HHHH", source_port, port, 8 + len(data), 0) + data


def tcp(source, destination, flags, source_port=40000):
    def segment(check):
        return struct.pack("!HHIIBBHHH", source_port, 80, 1, 0, 0x50, flags, 1024, check, 0)

    pseudo = source.packed + destination.packed + struct.pack("!BBH", 0, 6, 20)
    return segment(checksum(pseudo + segment(0)))


class Wire:
    """The device, with tags taken apart."""

    def __init__(self, device):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.bind((device, ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)

    def send(self, frame):
        self.socket.send(frame)

    def received(self, seconds):
        """Yields (to, tags, EtherType, payload) of what comes in, for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frame, beside, _, address = self.socket.recvmsg(65536, 256)
            except TimeoutError:
                return
            if address[2] == PACKET_OUTGOING or len(frame) < 14:
                continue
            tags = [auxiliary_tag(data) for level, kind, data in beside if (level, kind) == (SOL_PACKET, PACKET_AUXDATA)]
            tags = [tag for tag in tags if tag is not None]
            at = 12
            while (ether_type := struct.unpack_from("!H", frame, at)[0]) in (C_TAG, S_TAG) and len(frame) >= at + 6:
                tags.append(struct.unpack_from("!H", frame, at + 2)[0] & 0xFFF)
                at += 4
            yield frame[:6], tags, ether_type, frame[at + 2 :]


def auxiliary_tag(data):
    """The tag in a `tpacket_auxdata`, if TP_STATUS_VLAN_VALID is set."""
    status, tag = struct.unpack_from("=I12xH", data)
    return tag & 0xFFF if status & 0x10 else None


def asked(wire, frame, tags, is_answer):
    """Sends `frame` until a frame with the same tags is the answer: its payload."""
    for _ in range(4):
        wire.send(frame)
        for to, seen, ether_type, payload in wire.received(0.5):
            if to in (OWN_MAC, BROADCAST) and seen == tags and is_answer(ether_type, payload):
                return payload
    return None


def is_ipv4(payload, protocol, source, host):
    return len(payload) >= 28 and payload[9] == protocol and payload[12:20] == source.packed + host.packed


def tagged(wire, tags, host, edge, server, port):
    tags = [int(tag) for tag in tags.split(",") if tag]
    host, edge, server = map(ipaddress.IPv4Address, (host, edge, server))
    name = "VLAN " + ", ".join(map(str, tags))
    answer = asked(wire, ethernet(BROADCAST, tags, ARP, arp_request(host, edge)), tags,
                   lambda kind, data: kind == ARP and data[6:8] == b"\0\2" and data[14:18] == edge.packed)
    if not answer:
        return f"{name}: no ARP reply from {edge}"
    mac = answer[8:14]
    answer = asked(wire, ethernet(mac, tags, IPV4, ipv4(host, edge, 1, icmp_echo(1))), tags,
                   lambda kind, data: kind == IPV4 and is_ipv4(data, 1, edge, host) and data[20] == 0)
    if not answer:
        return f"{name}: no echo reply from {edge}"
    question = ethernet(mac, tags, IPV4, ipv4(host, server, 17, udp(40000, int(port), b"who am I\n")))

    def is_reply(kind, data):
        # The edge may have to ask for us first.
        if kind == ARP and data[6:8] == b"\0\1" and data[24:28] == host.packed:
            reply = struct.pack("!HHBBH", 1, IPV4, 6, 4, 2) + OWN_MAC + host.packed + data[8:18]
            wire.send(ethernet(data[8:14], tags, ARP, reply))
        return kind == IPV4 and is_ipv4(data, 17, server, host) and data[20:24] == struct.pack("!HH", int(port), 40000)

    answer = asked(wire, question, tags, is_reply)
    if not answer:
        return f"{name}: no answer of {server}:{port}"
    length = struct.unpack_from("!H", answer, 24)[0]
    print(f"{name}: {edge} answers, {server} sees {answer[28 : 20 + length].decode().strip()}")
    return None


def send(wire, mac, source, destination, kind):
    source, destination = map(ipaddress.IPv4Address, (source, destination))
    kind, _, tag = kind.partition(".")
    if kind == "udp":
        packet = ipv4(source, destination, 17, udp(40000, 7, b"hello\n"))
    else:
        packet = ipv4(source, destination, 6, tcp(source, destination, int(kind.removeprefix("tcp:"), 16)))
    tags = [int(tag)] if tag else []
    for _ in range(COUNT):
        wire.send(ethernet(bytes.fromhex(mac.replace(":", "")), tags, IPV4, packet))
    print(f"{COUNT} packets from {source} to {destination}")


def announcement(ether_type, payload):
    """Which address the frame announces without being asked; None for every other frame."""
    if ether_type == ARP and len(payload) >= 28 and payload[14:18] == payload[24:28]:
        return ipaddress.ip_address(payload[14:18])
    # An unsolicited NA to all nodes: the solicited flag is clear.
    if ether_type == IPV6 and len(payload) >= 64 and payload[6] == 58 and payload[40] == 136 and not payload[44] & 0x40:
        return ipaddress.ip_address(payload[48:64])
    return None


def announced(wire, seconds, *addresses):
    missing = set(map(ipaddress.ip_address, addresses))
    for _, _, ether_type, payload in wire.received(float(seconds)):
        missing.discard(announcement(ether_type, payload))
        if not missing:
            print("announced: " + ", ".join(addresses))
            return None
    return "not announced: " + ", ".join(map(str, missing))


def main(device, verb, *arguments):
    failure = {"tagged": tagged, "send": send, "announced": announced}[verb](Wire(device), *arguments)
    if failure:
        print(failure, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
