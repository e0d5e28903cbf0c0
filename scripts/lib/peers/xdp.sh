# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # names shared with scripts/bench-peers and its other files
# `cesd` on net_af_xdp: the kernel's NAPI thread runs the XDP program, the worker receives, translates and sends. Both share the core, so
# the worker sleeps when nothing is there, and as SCHED_BATCH it does not take the core from that thread whenever it wakes.

xdp_available() { ces_available; }

xdp_start() {
    ces_config sleep 32767 "net_af_xdp0,iface=$IN" net_af_xdp1,iface=out >"$WORK/ces.toml"
    process ces ip netns exec "$NEAR" "$CESD" --config "$WORK/ces.toml"
    wait_for 60 ces_ready || { show_log ces; return 1; }
    veth_napi || return 1
    WORKER=$(grep -l '^ces-worker-0$' "/proc/${PROCESS[ces]}"/task/*/comm)
    WORKER=${WORKER%/comm}
    chrt --batch --pid 0 "${WORKER##*/}"
}

ces_ready() { [[ $(ces_ask status | jq .ready) == true ]]; }
xdp_sessions() { ces_sessions; }
xdp_faults() { ces_faults; }

xdp_window() { veth_window "$1" "${WORKER#/proc/}" "$NAPI"; }

xdp_stop() {
    process_end ces
    # Of a killed one it would stay.
    ip -n "$NEAR" link set "$IN" xdp off
    ip -n "$NEAR" link set out xdp off
}
