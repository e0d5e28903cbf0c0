"""A forwarder seen from outside, for scripts/bench-peers: processor time by the kernel, packets by DPDK or the kernel.

  outside.py dpdk SECONDS PREFIX SOURCE SINK PID THREAD    of a thread whose name starts with THREAD, between two DPDK ports
  outside.py veth SECONDS NETNS DEVICE NETNS DEVICE TASK…  of threads by their place below /proc, between two network devices: the
                                                           one that receives, and the one that everything arrives at
  outside.py sent PREFIX PORT                              packets that a DPDK port has sent so far

Prints `nanoseconds packets lost`: processor time, packets that left, and packets that came in and did not leave. Exits with 1 and
a reason where a port counts errors. In `dpdk`, `lost` is 0 while it is within what is on its way as the counters are read."""

import glob
import json
import os
import socket
import subprocess
import sys
import time

ON_THEIR_WAY = 1024


def telemetry(prefix):
    """A function that asks the DPDK process of that file prefix."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end.settimeout(10)
    end.connect(f"/run/dpdk/{prefix}/dpdk_telemetry.v2")
    end.recv(16384)

    def ask(command):
        end.send(command.encode())
        return json.loads(end.recv(65536))[command.split(",")[0]]

    return ask


def ports_of(ask):
    return {ask(f"/ethdev/info,{port}")["name"]: port for port in ask("/ethdev/list")}


def thread_of(pid, name):
    for task in glob.glob(f"/proc/{pid}/task/*"):
        with open(f"{task}/comm", encoding="ascii") as comm:
            if comm.read().startswith(name):
                return task
    raise ValueError(f"no thread of {pid} is named {name}")


def cpu_time(task):
    with open(f"{task}/schedstat", encoding="ascii") as stat:
        return int(stat.read().split()[0])


def dpdk(seconds, prefix, source, sink, pid, thread):
    ask, task = telemetry(prefix), thread_of(pid, thread)
    ports = ports_of(ask)

    def stats(name):
        return ask(f"/ethdev/stats,{ports[name]}")

    def sample():
        # What has been sent is read on both sides of what has been received: it is between the two at that moment.
        cpu, first, received, second = cpu_time(task), stats(sink), stats(source), stats(sink)
        errors = sum(s[e] for s in (received, second) for e in ("imissed", "ierrors", "oerrors", "rx_nombuf"))
        return cpu, first["opackets"], received["ipackets"], second["opackets"], errors

    a = sample()
    time.sleep(seconds)
    b = sample()
    if b[4] != a[4]:
        raise ValueError(f"the ports of {prefix} counted {b[4] - a[4]} errors")
    least_sent, most_sent, received = b[1] - a[3], b[3] - a[1], b[2] - a[2]
    lost = max(0, received - most_sent - ON_THEIR_WAY)
    if least_sent > received + ON_THEIR_WAY:
        raise ValueError(f"{prefix} sent {least_sent} packets and received {received}")
    return b[0] - a[0], b[1] - a[1], lost


def device(netns, name):
    """Packets (received, sent) by a network device."""
    answer = subprocess.run(["ip", "-n", netns, "-s", "-j", "link", "show", name], capture_output=True, check=True)
    stats = json.loads(answer.stdout)[0]["stats64"]
    return stats["rx"]["packets"], stats["tx"]["packets"]


def veth(seconds, near_netns, near, far_netns, far, *tasks):
    def sample():
        left = device(far_netns, far)[0]
        cpu = sum(cpu_time(f"/proc/{task}") for task in tasks)
        return cpu, left, device(near_netns, near)[0], device(far_netns, far)[0]

    a = sample()
    time.sleep(seconds)
    b = sample()
    came, most_left = b[2] - a[2], b[3] - a[1]
    return b[0] - a[0], b[1] - a[1], max(0, came - most_left)


def main(verb, *arguments):
    if verb == "sent":
        ask = telemetry(arguments[0])
        return [ask(f"/ethdev/stats,{ports_of(ask)[arguments[1]]}")["opackets"]]
    return {"dpdk": dpdk, "veth": veth}[verb](float(arguments[0]), *arguments[1:])


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        print(*main(*sys.argv[1:]))
    except (OSError, ValueError, KeyError) as reason:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {reason}")
