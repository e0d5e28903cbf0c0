"""Captures for scripts/bench-peers: what is replayed, and whether what came out was translated.

  capture.py write FILE FLOWS FRAME [MAC]  one UDP frame a flow, shuffled; FRAME is a size on the wire, or `imix`
  capture.py check FILE FLOWS              frames of FILE (a pipe) are such, translated, until all flows have been there
  capture.py listen DEVICE FRAMES FLOWS    so many frames that arrive at a network device are such frames
  capture.py self-test

FLOWS are walked as CSIT's NAT cases walk them: 63 ports a host, host h is 10.0.1.0 + h and talks to 20.0.1.0 + h from and to port
1024 and on. MAC is whom the frames are sent to. `check` and `listen` print a line that says what is wrong, and exit 1 then."""

import random
import socket
import struct
import sys

PORTS_PER_HOST, FIRST_PORT = 63, 1024
INSIDE, REMOTE, POOL = 0x0A000100, 0x14000100, 0xC6120000  # 10.0.1.0, 20.0.1.0, 198.18.0.0
POOL_BITS = 26
EDGE_MAC, HOST_MAC = "02:00:00:00:00:01", bytes.fromhex("020000000002")
CHECK_SEQUENCE = 4  # on the wire, not in memory
# 7 : 4 : 1 of the sizes of "simple IMIX", in the order that repeats.
IMIX = [64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594]
# Checksums over payloads are slow to compute: of so many frames, evenly spread.
CHECKSUMS = 65536
# Within how many frames each flow must have come by: a peer may drop some before it is ready.
REPLAYS, WARMING_UP = 8, 1_000_000


def ones_complement_sum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ends(flow):
    """(host, its port, whom it talks to, the same port)."""
    host, port = flow // PORTS_PER_HOST, FIRST_PORT + flow % PORTS_PER_HOST
    return INSIDE + host, port, REMOTE + host, port


def frame(size, head, source, source_port, destination, port, ttl=64):
    """A datagram of zeroes: the checksum is one of headers alone."""
    length = size - CHECK_SEQUENCE - 14
    addresses = struct.pack("!II", source, destination)
    start = struct.pack("!HHIBB", 0x4500, length, 0, ttl, 17)
    ip = start + struct.pack("!H", ~ones_complement_sum(start + addresses) & 0xFFFF) + addresses
    ports = struct.pack("!HHH", source_port, port, length - 20)
    of_udp = ~ones_complement_sum(addresses + struct.pack("!HH", 17, length - 20) + ports) & 0xFFFF
    return head + ip + ports + struct.pack("!H", of_udp or 0xFFFF) + bytes(length - 28)


def write(path, flows, sizes, mac=EDGE_MAC):
    order = list(range(flows))
    random.Random(42).shuffle(order)
    head = bytes.fromhex(mac.replace(":", "")) + HOST_MAC + b"\x08\x00"
    with open(path, "wb", buffering=1 << 20) as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for n, flow in enumerate(order):
            data = frame(sizes[n % len(sizes)], head, *ends(flow))
            file.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)


def read(path):
    """The frames of a classic capture, with time stamps of either resolution."""
    with open(path, "rb", buffering=1 << 20) as file:
        magic = struct.unpack("<I", file.read(24)[:4])[0]
        if magic not in (0xA1B2C3D4, 0xA1B23C4D):
            raise ValueError(f"{path} is no capture")
        while header := file.read(16):
            yield file.read(struct.unpack("<IIII", header)[2])


class Translated:
    """What has been seen of the flows after their translation."""

    def __init__(self, flows):
        self.flows, self.public = flows, {}

    def add(self, data, with_checksum):
        """Takes a frame; fails with what is wrong with it."""
        if data[12:15] != b"\x08\x00\x45" or data[23] != 17:
            raise ValueError(f"a frame that is no UDP: {data[:34].hex()}")
        source, destination, source_port, port = struct.unpack("!IIHH", data[26:38])
        host, nth = destination - REMOTE, port - FIRST_PORT
        flow = host * PORTS_PER_HOST + nth
        if not (0 <= nth < PORTS_PER_HOST and 0 <= flow < self.flows):
            raise ValueError(f"a frame of none of the flows: {data[14:42].hex()}")
        if (source ^ POOL) >> (32 - POOL_BITS) or data[22] not in (63, 64):
            raise ValueError(f"a frame that was not translated: {data[14:42].hex()}")
        # The payload is zeroes, padding is too.
        datagram = data[34 : 14 + struct.unpack("!H", data[16:18])[0]]
        pseudo = data[26:34] + struct.pack("!HH", 17, len(datagram))
        if ones_complement_sum(data[14:34]) != 0xFFFF:
            raise ValueError(f"a wrong checksum of IP: {data[14:42].hex()}")
        if with_checksum and ones_complement_sum(pseudo + datagram) != 0xFFFF:
            raise ValueError(f"a wrong checksum of UDP: {data[14:42].hex()}")
        public = (source, source_port)
        if self.public.setdefault(flow, public) != public:
            raise ValueError(f"flow {flow} has two public endpoints")


def check(path, flows):
    seen, every = Translated(flows), max(1, flows // CHECKSUMS)
    for n, data in enumerate(read(path)):
        seen.add(data, n % every == 0)
        if len(seen.public) == flows or n > REPLAYS * flows + WARMING_UP:
            break
    if len(seen.public) != flows:
        raise ValueError(f"{len(seen.public)} of {flows} flows were translated")


def listen(device, frames, flows):
    """Of those that arrive; the kernel's own, such as router solicitations, are no IPv4."""
    seen = Translated(flows)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as end:
        end.bind((device, 0x0800))
        end.settimeout(5)
        for _ in range(frames):
            seen.add(end.recv(2048), True)


def self_test():
    """What is translated passes; what is not, or wrongly, or twice, does not."""
    head = bytes(12) + b"\x08\x00"

    def translated(flow, address=POOL + 5, port=2000):
        return frame(64, head, address, port, *ends(flow)[2:], ttl=63)

    def refused(*frames):
        seen = Translated(126)
        try:
            for data in frames:
                seen.add(data, True)
        except ValueError as reason:
            return str(reason).split(":")[0]
        return None

    assert refused(translated(7), translated(125), translated(7)) is None
    assert refused(frame(64, head, *ends(7))) == "a frame that was not translated"
    assert refused(translated(7, POOL + 64)) == "a frame that was not translated"
    assert refused(translated(126)) == "a frame of none of the flows"
    assert refused(translated(7), translated(7, port=2001)) == "flow 7 has two public endpoints"
    for place, what in ((22, "a frame that was not translated"), (24, "a wrong checksum of IP"), (45, "a wrong checksum of UDP")):
        wrong = bytearray(translated(7))
        wrong[place] ^= 4
        assert refused(bytes(wrong)) == what, place
    assert len(frame(1518, head, *ends(0))) == 1514


def sizes_of(frame):
    return IMIX if frame == "imix" else [int(frame)]


def main(verb, *arguments):
    if verb == "write":
        path, flows, frame = arguments[:3]
        write(path, int(flows), sizes_of(frame), *arguments[3:])
    elif verb == "check":
        check(arguments[0], int(arguments[1]))
    elif verb == "listen":
        listen(arguments[0], int(arguments[1]), int(arguments[2]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    if sys.argv[1:] == ["self-test"]:
        sys.exit(self_test())
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError) as reason:
        sys.exit(str(reason))
