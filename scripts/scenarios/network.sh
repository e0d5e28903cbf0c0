# shellcheck shell=bash disable=SC2034,SC2153  # names shared with bed.sh and lib/network.sh
# The network functions around the translation: IPv6, VLANs, ICMP errors, MTUs, the edge's own servers, routes that change and
# next hops that die, and what is refused. Real stacks at both ends; the bed is in lib/network.sh.
#
# A function runs in the bed and fails by its exit code; its control runs the very same function where it must fail.

scenario_network() {
    local REALMS=("${NETWORK_REALMS[@]}")
    network_bed

    heading "network: every function on"
    network_up "${FEATURES[@]}"
    step "IPv6: ping, HTTP" through_edge network_ipv6
    step "IPv6: neighbours are reachable" network_neighbors6
    step "IPv6: unsolicited is refused" network_unsolicited "$HOST6"
    control "IPv6: unsolicited is refused" 1 network_unsolicited "$OUT6"
    step "VLAN 100: ARP, ping, NAT44" network_tagged 100 10.0.100
    step "VLAN 200.100: ARP, ping, NAT44" network_tagged 200,100 10.0.101
    step "an unknown VLAN is dropped" network_drops vlan_unknown home "$HOST" "$GATEWAY" udp.999
    control "an unknown VLAN is dropped" 1 network_drops vlan_unknown home "$HOST" "$GATEWAY" udp
    step "IPv4 traceroute shows the edge" network_hops -4 "$EDGE_INSIDE" "$GATEWAY"
    step "IPv6 traceroute shows the edge" network_hops -6 "$EDGE_INSIDE6" "$GATEWAY6"
    step "IPv4 unreachable, prohibit, blackhole" network_route_kinds4
    step "IPv6 unreachable, prohibit, blackhole" network_route_kinds6
    step "own addresses answer HTTP" network_local_answers
    step "the kernel's neighbours are the wire's" network_local_mirrors
    step "a UDP flood to the edge itself" network_flood udp
    step "a SYN flood to the edge itself" network_flood syn
    step "a route moves a running download" network_route_moves add
    control "a route moves a running download" 1 network_route_moves nothing
    step "two next hops share 64 flows" network_spread
    step "flows of a dead router move" network_router_dies
    step "a router that is back has flows again" network_router_returns
    step "a spoofed source is dropped" network_drops source_spoofed home 10.77.0.1 "$GATEWAY" udp
    control "a spoofed source is dropped" 1 network_drops source_spoofed home "$HOST" "$GATEWAY" udp
    step "a martian source is dropped" network_drops ipv4_source_invalid home 127.0.0.1 "$GATEWAY" udp
    control "a martian source is dropped" 1 network_drops ipv4_source_invalid home "$HOST" "$GATEWAY" udp
    step "a bogon source is dropped" network_drops source_bogon internet 192.88.99.1 203.0.113.16 udp
    control "a bogon source is dropped" 1 network_drops source_bogon internet "$GATEWAY" 203.0.113.16 udp
    step "SYN and FIN at once are dropped" network_drops tcp_flags_invalid home "$HOST" "$GATEWAY" tcp:03
    step "no TCP flag at all is dropped" network_drops tcp_flags_invalid home "$HOST" "$GATEWAY" tcp:00
    control "SYN and FIN at once are dropped" 1 network_drops tcp_flags_invalid home "$HOST" "$GATEWAY" tcp:02
    control "no TCP flag at all is dropped" 1 network_drops tcp_flags_invalid home "$HOST" "$GATEWAY" tcp:02
    control "a port's packets a second are limited" 1 network_port_limit

    # The tap is up and the host keeps its route, but nobody forwards.
    edge_signal STOP
    control "IPv4 traceroute shows the edge" 1 network_hops -4 "$EDGE_INSIDE" "$GATEWAY"
    control "IPv6 traceroute shows the edge" 1 network_hops -6 "$EDGE_INSIDE6" "$GATEWAY6"
    edge_down

    heading "network: MTU 1300 inside and 1400 outside, on ports of 1500"
    network_up ipv6 mtu port-rate
    step "1500 bytes arrive as fragments" through_edge network_fragments
    step "TCP is told what fits" network_mss
    step "IPv4 path MTU from inside" network_pmtu "$GATEWAY"
    step "IPv6 path MTU from inside" network_pmtu -6 "$GATEWAY6"
    step "IPv4 path MTU from outside" network_pmtu_outside "$HOST" "$GATEWAY"
    step "IPv6 path MTU from outside" network_pmtu_outside "$HOST6" "$GATEWAY6"
    step "a port's packets a second are limited" network_port_limit
    edge_down

    heading "network: the same cesd with none of it"
    network_up
    control "IPv6: ping, HTTP" 1 network_ipv6
    control "IPv6: neighbours are reachable" 1 network_neighbors6
    control "VLAN 100: ARP, ping, NAT44" 3 network_tagged 100 10.0.100
    control "VLAN 200.100: ARP, ping, NAT44" 3 network_tagged 200,100 10.0.101
    control "IPv4 unreachable, prohibit, blackhole" 1 network_route_kinds4
    control "IPv6 unreachable, prohibit, blackhole" 1 network_route_kinds6
    control "own addresses answer HTTP" "7 28" network_local_answers
    control "the kernel's neighbours are the wire's" 1 network_local_mirrors
    control "a UDP flood to the edge itself" "7 28" network_flood udp
    control "a SYN flood to the edge itself" "7 28" network_flood syn
    control "two next hops share 64 flows" 1 network_spread
    control "flows of a dead router move" 1 network_router_dies
    control "a router that is back has flows again" 1 network_router_returns
    control "1500 bytes arrive as fragments" 1 network_fragments
    control "TCP is told what fits" 1 network_mss
    control "IPv4 path MTU from inside" 1 network_pmtu "$GATEWAY"
    control "IPv6 path MTU from inside" 1 network_pmtu -6 "$GATEWAY6"
    control "IPv4 path MTU from outside" 1 network_pmtu_outside "$HOST" "$GATEWAY"
    control "IPv6 path MTU from outside" 3 network_pmtu_outside "$HOST6" "$GATEWAY6"
    edge_down

    # On veth, which is there before cesd is: a tap comes too late to hear the beginning. And af_packet takes a tag off, and puts
    # it on, by itself, as a NIC does.
    heading "network: the first words of cesd, and tags by the device, ports on veth"
    local DEVICE=af_packet
    network_up ipv6 vlan
    step "VLAN 100, tags by the device" network_tagged_by_device 100 10.0.100
    step "VLAN 200.100, the outer by the device" network_tagged_by_device 200,100 10.0.101
    edge_down
    network_up ipv6
    control "VLAN 100, tags by the device" 3 network_tagged 100 10.0.100
    control "VLAN 200.100, the outer by the device" 3 network_tagged 200,100 10.0.101
    # They are said more than once.
    sleep 10
    control "addresses are announced at the start" 3 network_announced
    edge_down
    step "addresses are announced at the start" network_announced edge_start
    edge_down
    veths_down
}

# ---- IPv6 ----

network_ipv6() {
    ping_all 20 home "$GATEWAY6"
    fetch home -o "$WORK/fetched" "http://[$GATEWAY6]/50M"
    cmp "$WORK/fetched" "$WORK/www/50M"
    rm "$WORK/fetched"
    MOVED=$((50000000 + 2 * 20 * 104))
    note "$(<"$NOTE"), 50 MB equal"
}

# Only a neighbour that is used is asked whether it is there.
reached6() {
    in_ns home ping -q -c 1 -W 1 "$GATEWAY6" || true
    neighbor_is "$1" reachable
}

network_neighbors6() {
    local address
    for address in "$HOST6" "$GATEWAY6"; do
        wait_for 12 "$address is reachable" reached6 "$address" || fail "$address: $(neighbor_state "$address")"
    done
    note "$HOST6 and $GATEWAY6"
}

# network_unsolicited ADDRESS : nobody outside gets an answer from it, and each attempt is counted.
network_unsolicited() {
    local before after status=0
    before=$(dropped no_session)
    ! in_ns internet ping -q -c 3 -i 0.2 -W 1 "$1" || fail "$1 answers a ping from outside"
    fetch internet -o /dev/null "http://[$1]:22/" || status=$?
    ((status == 28 || status == 7)) || fail "curl ended with $status"
    after=$(dropped no_session)
    ((after >= before + 4)) || fail "no_session counts $((after - before))"
    note "no_session counts $((after - before)) more"
}

# ---- VLANs and what is dropped ----

# network_tagged TAGS PREFIX : host .2 of PREFIX, to an untagged server.
network_tagged() {
    frames home tagged "$1" "$2.2" "$2.1" "$GATEWAY" "$ECHO_PORT" | tee "$WORK/tagged"
    note "$(<"$WORK/tagged")"
}

network_tagged_by_device() {
    ctl show ports | jq -e '.[] | select(.name == "in") | .offloads | index("rx_vlan_strip") and index("tx_vlan_insert")' ||
        fail "the device leaves tags alone: $(ctl show ports | jq -c 'map(.offloads)')"
    network_tagged "$@"
}

# network_drops REASON NAMESPACE SOURCE DESTINATION KIND : 20 such frames, sent to the edge from there, are dropped for REASON.
network_drops() {
    local reason=$1 from=$2 mac before after gateway=$EDGE_INSIDE
    shift 2
    [[ $from != internet ]] || gateway=$OUT
    mac=$(edge_mac "$from" "$gateway")
    before=$(dropped "$reason")
    frames "$from" send "$mac" "$@"
    wait_for 1 "20 more of $reason" dropped_since "$reason" $((before + 20)) || true
    after=$(dropped "$reason")
    ((after == before + 20)) || fail "$reason counts $((after - before)) more"
    note "$reason counts 20 more"
}

dropped_since() { (($(dropped "$1") >= $2)); }

# 20,000 packets a second onto a port that takes 2,000.
network_port_limit() {
    local mac before after rate
    mac=$(edge_mac transit "$OUT2")
    before=$(dropped port_rate)
    flood transit "$mac" 203.0.113.200 203.0.113.16 udp 20000 2 | tee "$WORK/flood"
    sleep 0.2
    after=$(dropped port_rate)
    rate=$(jq .rate "$WORK/flood")
    # What is let in: 2,000 a second and a burst.
    ((after - before >= 2 * (rate - 2000) * 8 / 10)) || fail "port_rate counts $((after - before)) of $((2 * rate))"
    note "$rate a second, $(((after - before) / 2)) of them dropped"
}

# ---- ICMP errors ----

# network_hops -4|-6 EDGE SERVER
network_hops() {
    in_ns home traceroute "$1" -n -q 2 -w 1 -m 3 "$3" | tee "$WORK/hops"
    [[ $(awk '$1 == 1 { print $2 }' "$WORK/hops") == "$2" ]] || fail "hop 1 is not $2"
    [[ $(awk '$1 == 2 { print $2 }' "$WORK/hops") == "$3" ]] || fail "hop 2 is not $3"
    note "$2, then $3"
}

# told ADDRESS : what ping is told about it, by whom; nothing when nobody says anything.
told() {
    in_ns home ping -n -c 2 -i 0.3 -W 1 "$1" >"$WORK/told" || true
    sed -n '/^From /{s/^From \(.*\) icmp_seq=[0-9]* /\1: /p;q}' "$WORK/told"
}

network_route_kinds4() { network_route_kinds "$EDGE_INSIDE" "$UNREACHABLE" "$PROHIBITED" "$BLACKHOLE"; }
network_route_kinds6() { network_route_kinds "$EDGE_INSIDE6" "$UNREACHABLE6" "$PROHIBITED6" "$BLACKHOLE6"; }

network_route_kinds() {
    local unreachable prohibited blackhole
    unreachable=$(told "$2")
    prohibited=$(told "$3")
    blackhole=$(told "$4")
    printf 'unreachable: %s\nprohibit: %s\nblackhole: %s\n' "$unreachable" "$prohibited" "$blackhole"
    [[ $unreachable =~ ^$1:\ Destination\ (Net|Host)\ Unreachable || $unreachable == "$1: Destination unreachable: No route"* ||
        $unreachable == "$1: Destination unreachable: Unknown code 6"* ]] || fail "unreachable: $unreachable"
    [[ $prohibited == "$1: Packet filtered"* || $prohibited == "$1: Destination unreachable: Administratively prohibited"* ]] ||
        fail "prohibit: $prohibited"
    [[ -z $blackhole ]] || fail "blackhole: $blackhole"
    note "${unreachable#*: }, ${prohibited#*: }, silence"
}

# ---- MTU ----

# kernel_counter NAMESPACE NAME : of the kernel there.
kernel_counter() { in_ns "$1" nstat -asz "$2" | awk -v name="$2" '$1 == name { print $2 }'; }

# What the kernels learnt before is not to count.
forget_mtus() {
    local end
    for end in home internet; do
        at "$end" route flush cache
        at "$end" -6 route flush cache
    done
}

network_fragments() {
    local inside outside
    forget_mtus
    # The neighbours are known: what waits for them is bounded.
    in_ns home ping -q -c 1 -W 2 "$GATEWAY"
    inside=$(kernel_counter home IpReasmOKs)
    outside=$(kernel_counter internet IpReasmOKs)
    in_ns home ping -q -M dont -s 1472 -c 5 -i 0.1 -W 1 "$GATEWAY"
    inside=$(($(kernel_counter home IpReasmOKs) - inside))
    outside=$(($(kernel_counter internet IpReasmOKs) - outside))
    ((inside == 5 && outside == 5)) || fail "put together: $outside outside, $inside inside"
    MOVED=$((2 * 5 * 1500))
    note "5 requests and 5 replies put together again"
}

# Both ends use segments that fit, and nobody needed an ICMP error for it.
network_mss() {
    local errors download mss end
    forget_mtus
    errors=$(($(kernel_counter home IcmpInDestUnreachs) + $(kernel_counter internet IcmpInDestUnreachs)))
    fetch home --limit-rate 10M -o "$WORK/fetched" "http://$GATEWAY/50M" &
    download=$!
    sleep 1
    for end in home internet; do
        mss=$(in_ns "$end" ss -Htin state established "( sport = :80 or dport = :80 )" | grep -o '\<mss:[0-9]*' | head -n 1)
        echo "$end: $mss"
        mss=${mss#mss:}
        ((mss > 500 && mss <= 1260)) || { kill "$download"; fail "$end sends segments of $mss bytes"; }
    done
    wait "$download"
    cmp "$WORK/fetched" "$WORK/www/50M"
    rm "$WORK/fetched"
    errors=$(($(kernel_counter home IcmpInDestUnreachs) + $(kernel_counter internet IcmpInDestUnreachs) - errors))
    ((errors == 0)) || fail "$errors ICMP errors were needed"
    note "segments of at most $mss bytes, no ICMP error"
}

# network_pmtu [-6] SERVER
network_pmtu() {
    forget_mtus
    in_ns home tracepath -n -m 3 "$@" | tee "$WORK/path"
    grep -q 'Resume: pmtu 1400 ' "$WORK/path" || fail "$(tail -n 1 "$WORK/path")"
    note "1400"
}

# network_pmtu_outside HOST SERVER : a UDP server there answers HOST, and learns how large it may.
network_pmtu_outside() {
    local server learned status=0
    forget_mtus
    in_ns internet /usr/bin/python3 "$LIB/pmtu.py" serve "$2" "$PMTU_PORT" &
    server=$!
    wait_for 3 "the server listens" internet_listens "$PMTU_PORT"
    learned=$(in_ns home /usr/bin/python3 "$LIB/pmtu.py" ask "$1" "$2" "$PMTU_PORT") || status=$?
    kill "$server"
    ((status == 0)) || exit "$status"
    [[ $learned == 1300 ]] || fail "the server learned $learned"
    note "$learned"
}

internet_listens() { in_ns internet ss -Hlun "sport = :$1" | grep -q .; }

# ---- the edge's own servers ----

network_local_answers() {
    local place
    for place in "home $EDGE_INSIDE" "internet $OUT" "transit $OUT2" "home [$EDGE_INSIDE6]" "internet [$OUT6]"; do
        fetch "${place% *}" "http://${place#* }/" | tee "$WORK/answer"
        grep -q "the edge itself" "$WORK/answer"
    done
    note "in two realms, IPv4 and IPv6"
}

# What the kernel in `local` knows is what is on the wire.
network_local_mirrors() {
    fetch internet -o /dev/null "http://$OUT/" || true
    local wire kernel
    wire=$(at internet -j link show internet | jq -r '.[0].address')
    kernel=$(at local -j neigh show "$GATEWAY" | jq -r '.[0].lladdr')
    [[ $kernel == "$wire" ]] || fail "$GATEWAY is $wire, the kernel has $kernel"
    at local -j address show | jq -e --arg own "$EDGE_INSIDE" 'any(.[].addr_info[]; .local == $own)' >/dev/null ||
        fail "the kernel has no $EDGE_INSIDE"
    at local -j route show table all | jq -e --arg via "$GATEWAY" 'any(.[]; .dst == "default" and .gateway == $via)' >/dev/null ||
        fail "the kernel has no default route by $GATEWAY"
    note "$GATEWAY is $kernel in both"
}

# network_udp : sets MBPS, what of 100 Mb/s arrived.
network_udp() {
    iperf --client "$GATEWAY" --udp --bitrate 100M --length 1400 --time 3
    MBPS=$(jq '.end.sum | .bits_per_second * (100 - .lost_percent) / 1e8 | floor' "$WORK/iperf.json")
}

# network_flood udp|syn : 500,000 packets a second to an own address, from a source of its own, for as long as is measured. The
# machine is shared with the flood itself: the same flood to nobody's MAC address, which costs its sending and its receiving, is the
# measure. 90 % of it is the least that passes; measured again when disturbed, three times at most.
network_flood() {
    local mac try alone beside under real kind=$1 to
    mac=$(edge_mac transit "$OUT2")
    fetch home -o /dev/null "http://$EDGE_INSIDE/"
    for try in 1 2 3; do
        network_udp
        alone=$MBPS
        for to in 02:00:00:00:77:77 "$mac"; do
            flood transit "$to" 203.0.113.200 "$OUT2" "$kind" 500000 6 >"$WORK/flood" &
            sleep 1
            network_udp
            [[ $to != "$mac" ]] || network_answers_under_flood
            wait $!
            real=$(jq .rate "$WORK/flood")
            [[ $to == "$mac" ]] || beside=$MBPS
            under=$MBPS
            echo "try $try: $alone Mb/s alone; with $real packets/s to $to: $under Mb/s"
        done
        ((under * 10 < beside * 9)) || break
    done
    note "$real/s: $under Mb/s; to nobody: $beside, without: $alone"
    ((under * 10 >= beside * 9)) || fail "under 90 % of $beside Mb/s"
}

network_answers_under_flood() {
    local answer
    for answer in 1 2 3 4 5; do
        fetch home -o /dev/null "http://$EDGE_INSIDE/" || fail "request $answer is not answered"
    done
}

# ---- routes ----

cesctl_route() { "$CESCTL" --instance "$INSTANCE" route "$@"; }

# network_route_moves add|nothing : under a download, its server gets a route by the other router, and loses it again.
network_route_moves() {
    local download before moved back
    fetch home --limit-rate 8M -o "$WORK/fetched" "http://$MOVING/50M" &
    download=$!
    sleep 1
    before=$(transit_packets)
    [[ $1 != add ]] || cesctl_route add 198.18.10.0/24 --realm internet via "$GATEWAY2"
    sleep 2
    moved=$(transit_packets)
    [[ $1 != add ]] || [[ $(kernel_gateway 198.18.10.0/24) == "$GATEWAY2" ]] || fail "the edge's kernel has not got the route"
    [[ $1 != add ]] || cesctl_route del 198.18.10.0/24 --realm internet
    sleep 0.5
    back=$(transit_packets)
    [[ -z $(kernel_gateway 198.18.10.0/24) ]] || fail "the edge's kernel keeps the route"
    wait "$download"
    cmp "$WORK/fetched" "$WORK/www/50M"
    rm "$WORK/fetched"
    ((moved - before > 20)) || fail "$((moved - before)) packets by the other router"
    (($(transit_packets) - back < 5)) || fail "still by the other router after its route is gone"
    note "$((moved - before)) packets by the other router, then none; 50 MB equal"
}

# kernel_gateway PREFIX : by which the kernel in `local` reaches it, in the outside's table as in the main one.
kernel_gateway() { at local -j route show table main | jq -r --arg to "$1" '.[] | select(.dst == $to) | .gateway'; }

network_spread() {
    in_ns transit nft flush set ip seen ports
    in_ns home /usr/bin/python3 "$LIB/connections.py" 64 "$SPREAD" "$ECHO_PORT" true
    local flows
    flows=$(transit_flows)
    # Four standard deviations to either side of a half.
    ((flows >= 16 && flows <= 48)) || fail "$flows of 64 by the second router"
    note "$((64 - flows)) and $flows"
}

# 64 connections last while the second router dies: its flows go by the first one.
network_router_dies() {
    local standing="$WORK/standing" dead="$WORK/dead" connections flows noticed=yes lasted=yes
    rm -f "$standing" "$dead"
    in_ns transit nft flush set ip seen ports
    in_ns home /usr/bin/python3 "$LIB/connections.py" 64 "$SPREAD" "$ECHO_PORT" \
        "touch '$standing'; until [ -e '$dead' ]; do sleep 0.1; done" &
    connections=$!
    wait_for 5 "64 connections stand" test -e "$standing"
    flows=$(transit_flows)
    if ((flows > 0)); then
        at transit link set transit down
        wait_for 60 "the edge notices that $GATEWAY2 is dead" router_is_dead || noticed=no
    fi
    touch "$dead"
    wait "$connections" || lasted=no
    at transit link set transit up
    at transit -6 address replace "$GATEWAY2_6/64" dev transit
    ((flows > 0)) || fail "no flow was by the second router"
    [[ $noticed$lasted == yesyes ]] || fail "noticed: $noticed, all connections lasted: $lasted"
    note "$flows connections lost their router and last"
}

network_router_returns() {
    wait_for 15 "the edge sees $GATEWAY2 again" neighbor_is "$GATEWAY2" reachable
    network_spread
}

router_is_dead() { [[ ! $(neighbor_state "$GATEWAY2") =~ ^(reachable|stale|delay|probe)$ ]]; }

# ---- announcements ----

# network_announced [COMMAND] : what COMMAND, or nothing, makes be announced within 5 s.
network_announced() {
    local inside outside status=0
    frames home announced 5 "$EDGE_INSIDE" "$EDGE_INSIDE6" & inside=$!
    frames internet announced 5 "$OUT" "$OUT6" & outside=$!
    sleep 0.5
    "$@"
    wait "$inside" || status=$?
    wait "$outside" || status=$?
    ((status == 0)) || exit "$status"
    note "own addresses by gratuitous ARP and NA, in two realms"
}
