# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # names shared with scripts/bench-peers and its other files
# The kernel's own NAT: forwarding, connection tracking and one rule of nftables.

netfilter_packages=(nftables)
netfilter_available() { command -v nft >/dev/null || { echo "nft is not installed"; return 1; }; }

netfilter_start() {
    netfilter_room
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

# The table's size and limit are the machine's: larger for more flows, put back at the end.
netfilter_room() {
    local name before=()
    for name in buckets max; do before+=("net.netfilter.nf_conntrack_$name=$(sysctl -n "net.netfilter.nf_conntrack_$name")"); done
    ((${before[1]#*=} < FLOWS * 11 / 10)) || return 0
    ((${#CONNTRACK_BEFORE[@]} > 0)) || CONNTRACK_BEFORE=("${before[@]}")
    sysctl -qw "net.netfilter.nf_conntrack_buckets=$((FLOWS * 11 / 10))" "net.netfilter.nf_conntrack_max=$((FLOWS * 11 / 10))"
}

netfilter_sessions() { ip netns exec "$NEAR" sysctl -n net.netfilter.nf_conntrack_count; }

# What it had no room for, or could not route or send.
netfilter_faults() {
    # shellcheck disable=SC2016  # fields of awk
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
