# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # names shared with scripts/bench-peers and its other files
# The second bed: forwarders that the kernel brings packets to. Two veth pairs, a generator at the end of one, nobody at the other's.
#
#   far:  testpmd ── gen ═══ in ── near: the forwarder ── out ═══ sink, whose kernel drops all as another station's
#
# testpmd sends by a socket whose frames it gets back when the forwarder has taken them: it never overruns the forwarder for long.
# The forwarder's packets come by NAPI on its own core, in a kernel thread (`threaded` of the device): its time is the soft interrupt's, which
# nobody counts well otherwise. That thread's time, and that of `cesd`'s worker, is the figure. The generator sends on the other core,
# before that; what the ring of `in` has no room for is nobody's loss. The sink's end is paid by who sends, which both do, to the same kernel.
#
# In `near`, NAPI needs GRO or an XDP program: netfilter runs with the first, `cesd` brings the second.

NEAR='' FAR='' IN='' NAPI=''

veth_up() {
    NEAR=$RUN-near FAR=$RUN-far IN=n$$
    netns_add "$NEAR"
    netns_add "$FAR"
    ip -n "$NEAR" link add "$IN" address 02:00:00:00:00:01 type veth peer name gen netns "$FAR"
    ip -n "$NEAR" link add out type veth peer name sink netns "$FAR"
    local end
    for end in "$NEAR:$IN" "$NEAR:out" "$FAR:gen" "$FAR:sink"; do
        ip netns exec "${end%:*}" sysctl -qw "net.ipv6.conf.${end#*:}.disable_ipv6=1"
        ip netns exec "${end%:*}" ethtool -K "${end#*:}" tx off >/dev/null
        ip -n "${end%:*}" link set "${end#*:}" up
    done
}

veth_down() {
    netns_delete "$NEAR"
    netns_delete "$FAR"
}

# The kernel thread of `in`, on the forwarding core. A name of its own tells it from all others.
veth_napi() {
    ip netns exec "$NEAR" sh -c "echo 1 >/sys/class/net/$IN/threaded"
    wait_for 5 pgrep "^napi/$IN-"
    NAPI=$(pgrep "^napi/$IN-")
    taskset -cp "$CORE" "$NAPI" >/dev/null
    # The processes of this bed are ahead of others, and this thread is in the midst of them.
    renice -n -10 -p "$NAPI" >/dev/null
}

generator_start() {
    process generator ip netns exec "$FAR" dpdk-testpmd --lcores "0@$OTHER_CORE,1@$OTHER_CORE" --main-lcore 0 --in-memory --no-pci \
        --file-prefix "$RUN-generator" --log-level lib.eal:debug --vdev "net_pcap0,rx_pcap=$CAPTURE,infinite_rx=1" \
        --vdev net_af_packet0,iface=gen,qdisc_bypass=1,framecnt=512 -- \
        --forward-mode=io --auto-start --no-flush-rx --total-num-mbufs="$MBUFS" --mbuf-size="$DATA_ROOM"
    wait_for 60 generator_sends || { show_log generator; return 1; }
    hertz_by generator
    process_pause generator
}

generator_stop() { testpmd_end generator; }

generator_sends() { (($(python3 "$PEERS/outside.py" sent "$RUN-generator" net_af_packet0) > 0)); }

# veth_window SECONDS TASK… : of tasks by their place below /proc.
veth_window() { python3 "$PEERS/outside.py" veth "$1" "$NEAR" "$IN" "$FAR" sink "${@:2}"; }

# A sample of what arrives at the sink.
veth_sample() { ip netns exec "$FAR" python3 "$PEERS/capture.py" listen sink 2000 "$FLOWS"; }
