"""The figures of scripts/bench-peers out of the lines it has recorded.

  figures.py table RECORDS HERTZ          a table, a chart of bars, and the ratios
  figures.py json RECORDS HERTZ           a JSON object a line: every figure, what was left out, the ratios
  figures.py chart RECORDS HERTZ FILE     the bars as SVG
  figures.py self-test

RECORDS is tab separated: `figure BED PEER FRAME FLOWS ROUND NANOSECONDS PACKETS LOST LOAD` of each window, and
`skipped BED PEER FRAME FLOWS REASON`. HERTZ is the rate of the time stamp counter, 0 where nobody knows it."""

import json
import sys
from collections import namedtuple
from statistics import median
from xml.sax.saxutils import escape

NAMES = {
    ("memory", "floor"): "testpmd macswap: the floor",
    ("memory", "ces"): "ces NAT44",
    ("memory", "ovs"): "Open vSwitch-DPDK, conntrack NAT",
    ("memory", "vpp"): "VPP NAT44-ED",
    ("veth", "ces"): "ces NAT44 on net_af_xdp",
    ("veth", "netfilter"): "Linux netfilter, nftables snat",
}
COLOURS = {"floor": "#9a9a9a", "ces": "#1f6fb4", "ovs": "#d9822b", "vpp": "#7d5ba6", "netfilter": "#b03a48"}
# The pairs that are compared, and the case by which they are named.
RATIOS = {"ratio_ovs": ("memory", "ovs"), "ratio_vpp": ("memory", "vpp"), "ratio_netfilter": ("veth", "netfilter")}
NAMED = ("64", 64512)

Case = namedtuple("Case", "bed frame flows")
Spread = namedtuple("Spread", "median least greatest")


def spread(values):
    return Spread(median(values), min(values), max(values))


def frame_name(frame):
    return "IMIX" if frame == "imix" else f"{frame} B"


class Records:
    def __init__(self, lines):
        # (case, peer) -> {round: (mpps, lost share, load)}
        self.rounds, self.skipped = {}, []
        for line in lines:
            kind, bed, peer, frame, flows, *rest = line.rstrip("\n").split("\t")
            if kind == "skipped":
                self.skipped.append((bed, peer, frame, int(flows), rest[0]))
                continue
            of_round, cpu, packets, lost, load = (float(field) for field in rest)
            figure = packets * 1e3 / cpu, lost / (packets + lost), load
            self.rounds.setdefault((Case(bed, frame, int(flows)), peer), {})[int(of_round)] = figure

    def cases(self):
        return list(dict.fromkeys(case for case, _ in self.rounds))

    def peers(self, case):
        return [peer for c, peer in self.rounds if c == case]

    def mpps(self, case, peer):
        return spread([figure[0] for figure in self.rounds[case, peer].values()])

    def worst(self, case, peer):
        """The greatest share lost, and the load average in the middle."""
        figures = self.rounds[case, peer].values()
        return max(figure[1] for figure in figures), median(figure[2] for figure in figures)

    def ratio(self, case, peer):
        """How much more `ces` forwards, by rounds that both have; None without any."""
        ours, theirs = self.rounds.get((case, "ces"), {}), self.rounds.get((case, peer), {})
        ratios = [ours[n][0] / theirs[n][0] for n in ours if n in theirs]
        return spread(ratios) if ratios else None

    def ratios(self):
        """(name, case, ratio), the named cases under their plain names."""
        for name, (bed, peer) in RATIOS.items():
            for case in self.cases():
                if case.bed == bed and (ratio := self.ratio(case, peer)):
                    yield name, case, ratio


def bar(value, most, width=40):
    return "█" * max(1, round(width * value / most))


def table(records, hertz):
    for bed, title in (
        ("memory", "From memory into nothing (net_pcap → net_null), inside → outside, a core"),
        ("veth", "On the same veth pairs, kernel's part counted, inside → outside, a core"),
    ):
        cases = [case for case in records.cases() if case.bed == bed]
        if not cases:
            continue
        print(f"\n{title}\n")
        print(f"  {'frame':>6} {'flows':>8}  {'':34} {'Mpps a CPU-second':>24} {'cycles':>7} {'lost':>7} {'load':>5}")
        for case in cases:
            most = max(records.mpps(case, peer).median for peer in records.peers(case))
            for peer in records.peers(case):
                m, (lost, load) = records.mpps(case, peer), records.worst(case, peer)
                figure = f"{m.median:.2f} ({m.least:.2f}-{m.greatest:.2f})"
                cycles = f"{hertz / 1e6 / m.median:.0f}" if hertz else "-"
                print(
                    f"  {frame_name(case.frame):>6} {case.flows:>8}  {NAMES[bed, peer]:34} {figure:>24} {cycles:>7} "
                    f"{lost * 100:>6.2f}% {load:>5.1f}  {bar(m.median, most)}"
                )
    print()
    for name, case, ratio in records.ratios():
        bed, peer = RATIOS[name]
        print(
            f"  ces : {NAMES[bed, peer]}, {frame_name(case.frame)}, {case.flows} flows: "
            f"{ratio.median:.1f} × ({ratio.least:.1f}-{ratio.greatest:.1f})"
        )
    for bed, peer, frame, flows, reason in records.skipped:
        print(f"  not run: {NAMES.get((bed, peer), peer)}, {frame_name(frame)}, {flows} flows: {reason}")


def json_lines(records, hertz):
    for case, peer in records.rounds:
        m, (lost, load) = records.mpps(case, peer), records.worst(case, peer)
        row = {"case": f"{case.bed}_{peer}", "frame": case.frame, "flows": case.flows, "mpps": round(m.median, 3)}
        row["mpps_range"] = [round(m.least, 3), round(m.greatest, 3)]
        if hertz:
            row["cycles_per_packet"] = round(hertz / 1e6 / m.median, 1)
        yield row | {"lost": round(lost, 5), "rounds": len(records.rounds[case, peer]), "load_average": round(load, 2)}
    for bed, peer, frame, flows, reason in records.skipped:
        yield {"case": "not_run", "what": f"{bed}_{peer}", "frame": frame, "flows": flows, "reason": reason}
    for name, case, ratio in records.ratios():
        row = {"ratio": round(ratio.median, 2), "ratio_range": [round(ratio.least, 2), round(ratio.greatest, 2)]}
        if (case.frame, case.flows) == NAMED:
            yield {"case": name} | row
        else:
            yield {"case": f"{name}_of", "frame": case.frame, "flows": case.flows} | row


def svg(records):
    """A group of bars for each case, as long as they forward packets a second of processor time."""
    rows, y = [], 10
    text = '<text x="{}" y="{}"{}>{}</text>'
    for case in records.cases():
        of = "from memory" if case.bed == "memory" else "on veth"
        rows.append(text.format(10, y + 14, ' font-weight="bold"', f"{frame_name(case.frame)}, {case.flows} flows, {of}"))
        y += 22
        most = max(records.mpps(case, peer).greatest for peer in records.peers(case))
        for peer in records.peers(case):
            m = records.mpps(case, peer)
            x, least, greatest = (260 + 420 * value / most for value in m)
            rows.append(text.format(10, y + 13, "", escape(NAMES[case.bed, peer])))
            rows.append(f'<rect x="260" y="{y}" width="{x - 260:.1f}" height="16" fill="{COLOURS[peer]}"/>')
            rows.append(f'<path d="M{least:.1f} {y + 8}H{greatest:.1f}" stroke="black"/>')
            rows.append(text.format(f"{greatest + 6:.1f}", y + 13, "", f"{m.median:.2f} Mpps"))
            y += 20
        y += 12
    body = "\n".join(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{y}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="800" height="{y}" fill="white"/>\n{body}\n</svg>\n'
    )


def self_test():
    """Medians, ratios by round, and the names under which they are told, of lines whose figures are plain."""
    lines = [
        f"figure\tmemory\t{peer}\t64\t64512\t{n}\t1000000\t{packets}\t0\t{load}\n"
        for peer, figures in (("ces", [30000, 10000, 20000]), ("ovs", [1500, 1000, 4000]))
        for n, (packets, load) in enumerate(zip(figures, (1, 3, 2)))
    ]
    lines.append("figure\tveth\tces\timix\t1008\t0\t1000000\t900\t100\t1\n")
    # A round that one of both has not got is none of the ratio's.
    lines.append("figure\tveth\tnetfilter\timix\t1008\t1\t1000000\t450\t0\t1\n")
    lines.append("skipped\tmemory\tovs\t64\t1032192\tno room\n")
    rows = list(json_lines(Records(lines), 2.6e9))
    assert rows[0] == {
        "case": "memory_ces", "frame": "64", "flows": 64512, "mpps": 20.0, "mpps_range": [10.0, 30.0],
        "cycles_per_packet": 130.0, "lost": 0.0, "rounds": 3, "load_average": 2,
    }, rows[0]  # fmt: skip
    assert rows[2]["lost"] == 0.1 and rows[2]["mpps"] == 0.9, rows[2]
    assert rows[4] == {"case": "not_run", "what": "memory_ovs", "frame": "64", "flows": 1032192, "reason": "no room"}, rows[4]
    assert rows[5:] == [{"case": "ratio_ovs", "ratio": 10.0, "ratio_range": [5.0, 20.0]}], rows[5:]
    assert svg(Records(lines)).count("<rect") == 5


def main(verb, path=None, hertz="0", *arguments):
    if verb == "self-test":
        return self_test()
    with open(path, encoding="utf-8") as file:
        records = Records(file)
    if verb == "table":
        table(records, float(hertz))
    elif verb == "json":
        for row in json_lines(records, float(hertz)):
            print(json.dumps(row))
    elif verb == "chart":
        with open(arguments[0], "w", encoding="utf-8") as file:
            file.write(svg(records))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
