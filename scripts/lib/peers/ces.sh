# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # names shared with scripts/bench-peers and its other files
# A plain `cesd` as NAT44, from memory. Its processor time and packets are read from outside; of itself it tells sessions and drops.

CESD=target/release/cesd CESCTL=target/release/cesctl

ces_packages=()
ces_available() { [[ -x $CESD && -x $CESCTL ]] || { echo "not built: cargo build --release --locked --bins"; return 1; }; }
ces_takes() { :; }

# ces_config IDLE BUFFERS SOURCE SINK : hosts of 10.0.0.0/8 arrive at one device and leave by the other.
ces_config() {
    cat <<TOML
[instance]
name = "$RUN-ces"
runtime_dir = "$WORK"

[eal]
mbufs = $2
mbuf_data_room = $DATA_ROOM

[manage]
log = "error"

[workers]
cores = [$CORE]
control_core = $OTHER_CORE
idle = "$1"

[[port]]
name = "in"
device = "$3"
mac = "02:00:00:00:00:01"
rx_descriptors = 4096

[[port]]
name = "out"
device = "$4"
tx_descriptors = 4096

[[realm]]
name = "inside"
side = "inside"
source_check = "off"

[[realm]]
name = "outside"
side = "outside"

[[interface]]
port = "in"
realm = "inside"

[[interface]]
port = "out"
realm = "outside"

[[route]]
realm = "outside"
prefix = "0.0.0.0/0"
via = "198.51.100.254"
interface = "out"

[[neighbor]]
interface = "out"
address = "198.51.100.254"
mac = "02:00:00:00:00:fe"

[flow]
sessions = $((FLOWS < 1900 ? 2048 : FLOWS * 100 / 95 + 100))

[nat44]
inside = ["inside"]
outside = "outside"
pool = ["198.18.0.0/26"]
block_size = 64
TOML
}

ces_start() {
    ces_config poll "$MBUFS" "net_pcap0,rx_pcap=$CAPTURE,infinite_rx=1" "$1" >"$WORK/ces.toml"
    process ces "$CESD" --config "$WORK/ces.toml"
}

ces_ask() { "$CESCTL" --runtime-dir "$WORK" --instance "$RUN-ces" show "$1" --json; }
ces_sessions() { ces_ask status | jq .sessions; }
ces_faults() { ces_ask counters | jq '[.drops | .. | .total? // empty] | add'; }
ces_window() { python3 "$PEERS/outside.py" dpdk "$1" "ces-$RUN-ces" net_pcap0 net_null0 "${PROCESS[ces]}" ces-worker-0; }
ces_stop() { process_end ces; }
