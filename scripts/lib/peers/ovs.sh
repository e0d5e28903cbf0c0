# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # names shared with scripts/bench-peers and its other files
# Open vSwitch with DPDK: its userspace connection tracking as NAT. A database and a switch of its own, in directories and a namespace
# of its own; Debian's service is neither started nor asked.
#
# As fast as we found it: one `ct(commit,nat)` on the way out without a second pass, and a rule of ports alone, so that the switch
# takes its "simple match" and no flow cache. It takes no TTL and writes no MAC address, which the others do.

OVS_SWITCH=/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk
ovs_packages=(openvswitch-switch-dpdk)

ovs_available() { [[ -x $OVS_SWITCH ]] || { echo "openvswitch-switch-dpdk is not installed"; return 1; }; }

# MAX_NB_MBUF of its sources: what its ports share.
ovs_takes() { ((MBUFS <= 262144)) || { echo "it has 262,144 buffers at most, and a replay keeps one a packet"; return 1; }; }

# Where it, and its tools, have what is theirs.
OVS=()
ovs_place() { OVS=(env "OVS_RUNDIR=$WORK" "OVS_LOGDIR=$WORK" "OVS_DBDIR=$WORK" "OVS_SYSCONFDIR=$WORK" ip netns exec "$RUN-ovs"); }
ovs_set() { "${OVS[@]}" ovs-vsctl --timeout=60 --db="unix:$WORK/ovs.sock" "$@"; }
ovs_ask() { "${OVS[@]}" ovs-appctl -t "$WORK/ovs.ctl" "$@"; }

ovs_start() {
    ovs_place
    netns_add "$RUN-ovs"
    "${OVS[@]}" ovsdb-tool create "$WORK/ovs.db" /usr/share/openvswitch/vswitch.ovsschema
    process ovsdb "${OVS[@]}" ovsdb-server "$WORK/ovs.db" --remote="punix:$WORK/ovs.sock" --unixctl="$WORK/ovsdb.ctl"
    wait_for 10 test -S "$WORK/ovs.sock"
    ovs_set --no-wait init
    ovs_set --no-wait set Open_vSwitch . other_config:dpdk-init=true other_config:dpdk-alloc-mem=64 \
        "other_config:dpdk-lcore-mask=$(printf 0x%x $((1 << OTHER_CORE)))" \
        "other_config:pmd-cpu-mask=$(printf 0x%x $((1 << CORE)))" \
        "other_config:dpdk-extra=--no-pci --in-memory --file-prefix=$RUN-ovs"
    process ovs "${OVS[@]}" taskset -c "$OTHER_CORE" "$OVS_SWITCH" "unix:$WORK/ovs.sock" --unixctl="$WORK/ovs.ctl"
    # The rule is there before the first packet, and without it none passes.
    ovs_set add-br bridge -- set bridge bridge datapath_type=netdev fail_mode=secure
    "${OVS[@]}" ovs-ofctl add-flow "unix:$WORK/bridge.mgmt" \
        'in_port=1,ip,actions=ct(commit,zone=1,nat(src=198.18.0.0-198.18.0.63)),output:2'
    ovs_set add-port bridge out -- set Interface out type=dpdk ofport_request=2 "options:dpdk-devargs=$1"
    ovs_set add-port bridge in -- set Interface in type=dpdk ofport_request=1 \
        "options:dpdk-devargs=net_pcap0,rx_pcap=$CAPTURE,infinite_rx=1"
}

ovs_stop() {
    process_end ovs
    process_end ovsdb
    rm -f "$WORK"/ovs.db "$WORK"/.ovs.db.* "$WORK"/*.ctl
    netns_delete "$RUN-ovs"
}

ovs_sessions() { ovs_ask dpctl/ct-get-nconns; }

# Drops by the datapath and by its ports.
ovs_faults() {
    ovs_ask coverage/show | awk '/^(datapath_drop|netdev_dpdk_drop)/ { n += $NF } END { print n + 0 }'
}

ovs_window() { python3 "$PEERS/outside.py" dpdk "$1" "$RUN-ovs" net_pcap0 net_null0 "${PROCESS[ovs]}" pmd-c; }
