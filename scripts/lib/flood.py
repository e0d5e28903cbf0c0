"""Floods: `flood.py DEVICE MAC SOURCE DESTINATION KIND RATE SECONDS` sends RATE packets a second to MAC, from 64 ports of SOURCE to
DESTINATION: `udp` or `syn` to port 80, or questions, `dns`, to port 53. Prints what it really sent, as JSON: packets, seconds, rate.

Batches by sendmmsg(2), past the queueing discipline; what the device does not take is not counted."""

import ctypes
import ipaddress
import json
import os
import socket
import sys
import time

from frames import IPV4, SOL_PACKET, ethernet, ipv4, tcp, udp

PACKET_QDISC_BYPASS = 20
BATCH = 64
# A question for the SOA of ces.example, which its authority answers at once.
QUESTION = bytes.fromhex("beef00000001000000000000") + b"\3ces\7example\0" + bytes.fromhex("00060001")


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class MsgHdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(IoVec)), ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t), ("flags", ctypes.c_int),
    ]


class MMsgHdr(ctypes.Structure):
    _fields_ = [("header", MsgHdr), ("length", ctypes.c_uint)]


def frames(mac, source, destination, kind):
    to = bytes.fromhex(mac.replace(":", ""))
    source, destination = map(ipaddress.IPv4Address, (source, destination))
    for number in range(BATCH):
        if kind == "syn":
            payload = ipv4(source, destination, 6, tcp(source, destination, 0x02, 20000 + number))
        else:
            port, data = (53, QUESTION) if kind == "dns" else (80, b"flood\n")
            payload = ipv4(source, destination, 17, udp(20000 + number, port, data))
        yield ethernet(to, [], IPV4, payload)


def main(device, mac, source, destination, kind, rate, seconds):
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    wire.bind((device, 0))
    buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames(mac, source, destination, kind)]
    vectors = (IoVec * BATCH)(*(IoVec(ctypes.addressof(buffer), len(buffer)) for buffer in buffers))
    messages = (MMsgHdr * BATCH)()
    for message, vector in zip(messages, vectors):
        message.header.iov, message.header.iov_length = ctypes.pointer(vector), 1
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    rate, seconds, tried, sent = int(rate), float(seconds), 0, 0
    begin = now = time.monotonic()
    while now - begin < seconds:
        if tried >= rate * (now - begin):
            time.sleep(0.0002)
        else:
            # With an error nothing was sent, or the device was full: the next batch tries again.
            sent += max(sendmmsg(wire.fileno(), messages, BATCH, 0), 0)
            tried += BATCH
        now = time.monotonic()
    print(json.dumps({"packets": sent, "seconds": round(now - begin, 3), "rate": round(sent / (now - begin))}))


if __name__ == "__main__":
    os.nice(5)
    main(*sys.argv[1:])
