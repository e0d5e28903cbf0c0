# shellcheck shell=bash
# The kernel's own NAT: forwarding, connection tracking and one rule of nftables.

netfilter_packages=(nftables)
netfilter_available() { command -v nft >/dev/null || { echo "nft is not installed"; return 1; }; }

netfilter_start() {
    # The limit is the machine's: raised for more flows, put back at the end.
    local limit
    limit=$(sysctl -n net.netfilter.nf_conntrack_max)
    if ((limit < FLOWS * 11 / 10)); then
        CONNTRACK_BEFORE=${CONNTRACK_BEFORE:-$limit}
        sysctl -qw "net.netfilter.nf_conntrack_max=$((FLOWS * 11 / 10))"
    fi
    ip -n "$NEAR" address add 10.255.255.1/8 dev "$IN"
    ip -n "$NEAR" address add 198.51.100.1/24 dev out
    ip -n "$NEAR" neighbor add 198.51.100.254 lladdr 02:00:00:00:00:fe dev out nud permanent
    ip -n "$NEAR" route add default via 198.51.100.254
    ip netns exec "$NEAR" nft -f - <<'NFT'
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat
        oifname "out" snat to 198.18.0.0-198.18.0.63
    }
}
NFT
    ip netns exec "$NEAR" sysctl -qw net.ipv4.ip_forward=1
    ip netns exec "$NEAR" ethtool -K "$IN" gro on
    veth_napi
}

netfilter_sessions() { ip netns exec "$NEAR" sysctl -n net.netfilter.nf_conntrack_count; }

# What it had no room for, or could not route or send.
netfilter_faults() {
    ip netns exec "$NEAR" awk '/^Ip: [0-9]/ { print $9 + $10 + $12 + $13 }' /proc/net/snmp
}

netfilter_window() { veth_window "$1" "$NAPI"; }

netfilter_stop() {
    ip netns exec "$NEAR" sysctl -qw net.ipv4.ip_forward=0
    ip netns exec "$NEAR" nft flush ruleset
    ip netns exec "$NEAR" ethtool -K "$IN" gro off
    ip -n "$NEAR" address flush dev "$IN"
    ip -n "$NEAR" address flush dev out
    ip -n "$NEAR" neighbor flush dev out nud permanent
}
