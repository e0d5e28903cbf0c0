# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # names shared with scripts/bench-peers and its other files
# VPP's NAT44-ED, where VPP_PREFIX names an installation that has its DPDK and NAT plug-ins (/usr for packages of FD.io). Debian has none, so
# this file has never been run by those who wrote it: expect to mend it.

vpp_packages=()

vpp_available() {
    [[ -n ${VPP_PREFIX:-} ]] || { echo "no VPP: Debian has none; VPP_PREFIX names an installation"; return 1; }
    [[ -x $VPP_PREFIX/bin/vpp && -x $VPP_PREFIX/bin/vppctl ]] || { echo "$VPP_PREFIX/bin has no vpp and vppctl"; return 1; }
}

vpp_takes() { :; }
vpp_ctl() { "$VPP_PREFIX/bin/vppctl" -s "$WORK/vpp.sock" "$@"; }

vpp_start() {
    cat >"$WORK/vpp.conf" <<CONF
unix { nodaemon cli-listen $WORK/vpp.sock runtime-dir $WORK }
cpu { main-core $OTHER_CORE corelist-workers $CORE }
buffers { buffers-per-numa $((MBUFS + 16384)) default data-size $((DATA_ROOM < 2048 ? 256 : 2048)) }
plugins { plugin default { disable } plugin dpdk_plugin.so { enable } plugin nat_plugin.so { enable } plugin nat44_ei_plugin.so { disable } }
dpdk { no-pci file-prefix $RUN-vpp telemetry vdev net_pcap0,rx_pcap=$CAPTURE,infinite_rx=1 { name in } vdev $1 { name out } }
CONF
    process vpp "$VPP_PREFIX/bin/vpp" -c "$WORK/vpp.conf"
    wait_for 60 vpp_ctl show version
    local line
    while read -r line; do
        # shellcheck disable=SC2086  # words of a command
        vpp_ctl $line >>"$WORK/vpp.log"
    done <<CLI
set interface mac address in 02:00:00:00:00:01
set interface ip address in 10.255.255.1/8
set interface ip address out 198.51.100.1/24
ip neighbor out 198.51.100.254 02:00:00:00:00:fe static
ip route add 0.0.0.0/0 via 198.51.100.254 out
nat44 plugin enable sessions $((FLOWS * 2))
nat44 add address 198.18.0.0-198.18.0.63
set interface nat44 in in out out
set interface state out up
set interface state in up
CLI
}

vpp_sessions() { vpp_ctl show nat44 summary | awk '/total sessions:/ { print $NF; exit }'; }
vpp_faults() { vpp_ctl show errors | awk '/drop|out of/ { n += $1 } END { print n + 0 }'; }
vpp_window() { python3 "$PEERS/outside.py" dpdk "$1" "$RUN-vpp" net_pcap0 net_null0 "${PROCESS[vpp]}" vpp_wk_0; }
vpp_stop() { process_end vpp; }
