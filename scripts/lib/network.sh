# shellcheck shell=bash disable=SC2034,SC2153  # names shared with bed.sh and scenarios/network.sh
# The bed of the scenario `network`: a cesd with both address families, VLANs, two outside routers and a namespace of its own.
#
#   home 10.0.0.2/24        ─┐                  ┌─ out   internet 203.0.113.126/25, 2001:db8:2::fe
#        2001:db8:1::2/64    ├─ in    cesd      ┤              │ back
#        VLAN 100, 200.100  ─┘        │         └─ out2  transit  203.0.113.254/25, 2001:db8:3::fe
#                                   local: the kernel that serves the edge's own addresses
#
# Both outside namespaces are next hops, and the servers' addresses behind them live in `internet`: `transit` is a router. What
# went through `transit` it tells by the sets of `seen` source ports.

# REALMS is what the functions of bed.sh give a device to.
NETWORK_REALMS=(home internet transit)
OUT=203.0.113.1 OUT2=203.0.113.129 GATEWAY=203.0.113.126 GATEWAY2=203.0.113.254
HOST6=2001:db8:1::2 EDGE_INSIDE6=2001:db8:1::1 OUT6=2001:db8:2::1 OUT2_6=2001:db8:3::1
GATEWAY6=2001:db8:2::fe GATEWAY2_6=2001:db8:3::fe
# Served by `internet`, reached by a route each: one moves at run time, one has two next hops.
MOVING=198.18.10.1 SPREAD=198.18.20.1
UNREACHABLE=198.18.30.1 PROHIBITED=198.18.31.1 BLACKHOLE=198.18.32.1
UNREACHABLE6=2001:db8:30::1 PROHIBITED6=2001:db8:31::1 BLACKHOLE6=2001:db8:32::1
PMTU_PORT=9000
FEATURES=(ipv6 vlan route-kinds ecmp exception checks)

# Namespaces and servers, once.
network_bed() {
    bed_add transit
    bed_add local
    at transit link add back type veth peer name back netns "$BED-internet"
    local end
    for end in transit internet; do
        at "$end" link set back up
        in_ns "$end" sysctl -qw net.ipv4.conf.{all,default,back}.rp_filter=0
        in_ns "$end" ethtool -K back tx off >/dev/null
    done
    at transit address add 198.18.0.1/30 dev back
    at internet address add 198.18.0.2/30 dev back
    at transit route add 198.18.8.0/21 via 198.18.0.2
    at transit route add 198.18.16.0/21 via 198.18.0.2
    at internet address add "$MOVING/32" dev lo
    at internet address add "$SPREAD/32" dev lo
    in_ns transit sysctl -qw net.ipv4.ip_forward=1
    in_ns transit nft -f - <<'NFT'
table ip seen {
    set ports { type inet_service; flags dynamic; size 4096; }
    chain forward {
        type filter hook forward priority 0
        iifname "transit" tcp dport 7 add @ports { tcp sport }
        iifname "transit" counter comment "all"
    }
}
NFT
    cat >"$WORK/local.conf" <<NGINX
daemon off;
user root;
pid $WORK/local.pid;
worker_processes 1;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $WORK/local-body;
    proxy_temp_path $WORK/local-proxy;
    fastcgi_temp_path $WORK/local-fastcgi;
    uwsgi_temp_path $WORK/local-uwsgi;
    scgi_temp_path $WORK/local-scgi;
    server {
        listen 80;
        listen [::]:80;
        location / { return 200 "the edge itself, asked by \$remote_addr\n"; }
    }
}
NGINX
    in_ns local nginx -e "$WORK/local.log" -p "$WORK" -c "$WORK/local.conf" >"$WORK/local.out" 2>&1 &
}

# network_up FEATURES… : a cesd with these, of FEATURES and `mtu` and `port-rate`; hosts and routers joined to it.
network_up() {
    edge_down
    [[ $DEVICE == tap ]] || veths_up
    network_config " $* " >"$WORK/edge.toml"
    edge_start
    [[ $DEVICE != tap ]] || taps_move
    local realm
    for realm in "${REALMS[@]}"; do
        [[ $DEVICE != tap ]] || tap_tune "$realm"
        # No DAD: an address that waits a second for itself would be no server yet.
        in_ns "$realm" sysctl -qw "net.ipv6.conf.$realm.accept_dad=0" "net.ipv6.conf.$realm.accept_ra=0"
        in_ns "$realm" sysctl -qw "net.ipv4.conf.$realm.rp_filter=0"
        at "$realm" link set "$realm" up
    done
    at home address replace "$HOST/24" dev home
    at home route replace default via "$EDGE_INSIDE"
    at home -6 address replace "$HOST6/64" dev home
    at home -6 route replace default via "$EDGE_INSIDE6"
    at internet address replace "$GATEWAY/25" dev internet
    at internet -6 address replace "$GATEWAY6/64" dev internet
    at internet -6 route replace 2001:db8:1::/64 via "$OUT6"
    at transit address replace "$GATEWAY2/25" dev transit
    at transit -6 address replace "$GATEWAY2_6/64" dev transit
    at transit -6 route replace 2001:db8:1::/64 via "$OUT2_6"
    wait_for 10 "the gateways answer" gateways_answer
}

# port_lines NAME REALM : the device of a realm's namespace, the same as in bed.sh.
port_lines() {
    local number=$1 name=$2 realm=$3
    printf '\n[[port]]\nname = "%s"\n' "$name"
    case $DEVICE in
    tap) printf 'device = "net_tap%s,iface=%s"\n' "$number" "$realm" ;;
    af_xdp) printf 'device = "net_af_xdp%s,iface=port-%s"\n' "$number" "$realm" ;;
    af_packet) printf 'device = "net_af_packet%s,iface=port-%s,framecnt=4096,qdisc_bypass=1"\n' "$number" "$realm" ;;
    esac
    [[ $DEVICE == tap ]] || printf 'rx_descriptors = 4096\ntx_descriptors = 4096\n'
}

interface_lines() { printf '\n[[interface]]\nport = "%s"\nrealm = "%s"\naddresses = [%s]\n' "$1" "$2" "$3"; }
route_lines() { printf '\n[[route]]\nrealm = "%s"\nprefix = "%s"\n%s\n' "$1" "$2" "$3"; }

network_config() {
    local with=$1 inside='"home"' sixth=
    has() { [[ $with == *" $1 "* ]]; }
    has ipv6 && sixth=yes
    has vlan && inside='"home", "tagged", "stacked"'
    cat <<TOML
[instance]
name = "$INSTANCE"

[eal]
huge_pages = "none"

[workers]
cores = [$(worker_cores | paste -sd ,)]
distribute = "$DISTRIBUTE"
idle = "sleep"
TOML
    port_lines 0 in home
    port_lines 1 out internet
    port_lines 2 out2 transit
    has port-rate && printf 'rx_packets_per_second = 2000\n'
    local realm
    for realm in home tagged stacked; do
        [[ $inside != *"\"$realm\""* ]] || printf '\n[[realm]]\nname = "%s"\nside = "inside"\n' "$realm"
    done
    printf '\n[[realm]]\nname = "internet"\nside = "outside"\n'
    if has checks; then printf 'bogons = ["192.88.99.0/24", "fec0::/10"]\n'; fi

    interface_lines in home "\"$EDGE_INSIDE/24\"${sixth:+, \"$EDGE_INSIDE6/64\"}"
    if has mtu; then printf 'mtu = 1300\n'; fi
    interface_lines out internet "\"$OUT/25\"${sixth:+, \"$OUT6/64\"}"
    if has mtu; then printf 'mtu = 1400\n'; fi
    interface_lines out2 internet "\"$OUT2/25\"${sixth:+, \"$OUT2_6/64\"}"
    if has vlan; then
        interface_lines in tagged '"10.0.100.1/24"'
        printf 'vlan = 100\n'
        interface_lines in stacked '"10.0.101.1/24"'
        printf 'vlan = [200, 100]\n'
    fi

    route_lines internet 0.0.0.0/0 "via = \"$GATEWAY\""
    [[ -z $sixth ]] || route_lines internet ::/0 "via = \"$GATEWAY6\""
    if has ecmp; then route_lines internet 198.18.20.0/24 "via = [\"$GATEWAY\", \"$GATEWAY2\"]"; fi
    if has route-kinds; then
        route_lines internet 198.18.30.0/24 'unreachable = true'
        route_lines internet 198.18.31.0/24 'prohibit = true'
        route_lines internet 198.18.32.0/24 'blackhole = true'
        route_lines internet 2001:db8:30::/48 'unreachable = true'
        route_lines internet 2001:db8:31::/48 'prohibit = true'
        route_lines internet 2001:db8:32::/48 'blackhole = true'
    fi
    printf '\n[nat44]\ninside = [%s]\noutside = "internet"\npool = ["203.0.113.16-203.0.113.31"]\n' "$inside"
    [[ -z $sixth ]] || printf '\n[ipv6]\ninside = ["home"]\noutside = "internet"\n'
    if has exception; then printf '\n[exception]\nnetns = "%s-local"\n' "$BED"; fi
}

# ---- what the edge and the routers tell ----

# dropped REASON : packets dropped for it so far.
dropped() { ctl show counters | jq ".drops.$1.total // 0"; }

# neighbor_state ADDRESS : as the edge sees it.
neighbor_state() { ctl show neighbors | jq -r --arg address "$1" '.[] | select(.address == $address) | .state'; }
neighbor_is() { [[ $(neighbor_state "$1") == "$2" ]]; }

# edge_mac NAMESPACE ADDRESS : the MAC address that the edge answers with.
edge_mac() {
    in_ns "$1" ping -q -c 1 -W 1 "$2" >/dev/null
    at "$1" -j neigh show "$2" | jq -er '.[0].lladdr'
}

frames() { in_ns "$1" /usr/bin/python3 "$LIB/frames.py" "$1" "${@:2}"; }
flood() { in_ns "$1" /usr/bin/python3 -B "$LIB/flood.py" "$1" "${@:2}"; }

# Flows to the echo server, and packets in all, that the second router forwarded.
transit_flows() { in_ns transit nft -j list set ip seen ports | jq '[.nftables[] | .set // empty | .elem // [] | length] | add'; }
transit_packets() { in_ns transit nft -j list chain ip seen forward | jq '[.nftables[].rule.expr[]? | .counter // empty | .packets] | add'; }
