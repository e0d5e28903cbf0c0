# shellcheck shell=bash
# `cesd` on net_af_xdp: the kernel's NAPI thread runs the XDP program, the worker receives, translates and sends. The worker sleeps
# when nothing is there: both share the core.

xdp_available() { ces_available; }

xdp_start() {
    ces_config sleep 32767 "net_af_xdp0,iface=$IN" net_af_xdp1,iface=out >"$WORK/ces.toml"
    process ces ip netns exec "$NEAR" "$CESD" --config "$WORK/ces.toml"
    wait_for 60 ces_ready || show_log ces
    veth_napi
}

ces_ready() { [[ $(ces_ask status | jq .ready) == true ]]; }
xdp_sessions() { ces_sessions; }
xdp_faults() { ces_faults; }

xdp_window() {
    local task
    task=$(grep -l '^ces-worker-0$' "/proc/${PROCESS[ces]}"/task/*/comm)
    task=${task%/comm}
    veth_window "$1" "${task#/proc/}" "$NAPI"
}

xdp_stop() {
    process_end ces
    # Of a killed one it would stay.
    ip -n "$NEAR" link set "$IN" xdp off
    ip -n "$NEAR" link set out xdp off
}
