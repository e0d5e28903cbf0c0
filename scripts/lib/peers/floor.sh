# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # names shared with scripts/bench-peers and its other files
# The floor: DPDK's own testpmd swaps the MAC addresses of each frame (so that it is read and written) and sends it on.

floor_packages=(dpdk-dev)
floor_available() { command -v dpdk-testpmd >/dev/null || { echo "dpdk-testpmd is not installed"; return 1; }; }
floor_takes() { :; }

floor_start() {
    process floor dpdk-testpmd --lcores "0@$OTHER_CORE,1@$CORE" --main-lcore 0 --in-memory --no-pci --file-prefix "$RUN-floor" \
        --log-level lib.eal:debug --vdev "net_pcap0,rx_pcap=$CAPTURE,infinite_rx=1" --vdev "$1" -- \
        --forward-mode=macswap --auto-start --no-flush-rx --total-num-mbufs="$MBUFS" --mbuf-size="$DATA_ROOM"
    wait_for 60 floor_runs || { show_log floor; return 1; }
    hertz_by floor
}

floor_runs() { (($(python3 "$PEERS/outside.py" sent "$RUN-floor" net_null0) > 0)); }
floor_sessions() { echo "$FLOWS"; }
floor_faults() { echo 0; }
floor_window() { python3 "$PEERS/outside.py" dpdk "$1" "$RUN-floor" net_pcap0 net_null0 "${PROCESS[floor]}" rte-worker-1; }
floor_stop() { testpmd_end floor; }
