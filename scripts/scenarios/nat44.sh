# shellcheck shell=bash
# NAT44 between real hosts: two private realms with the same prefix behind one cesd, real clients and servers, and the
# kernel's own NAT beside it as the measure of throughput.
#
# A client function runs in the bed, sets MOVED (bytes that its transfer must have carried through the edge) and fails
# if the client does. A step runs it `through_edge`; its control runs the very same function with the feature off.

scenario_nat44() {
    heading "nat44: cesd with NAT44, hosts in three namespaces"
    edge_up
    step "ping" through_edge client_ping
    step "200 MB by HTTP, checksum" through_edge client_download
    step "50 MB by HTTPS" through_edge client_https
    step "UDP iperf3, 100 Mb/s each way" through_edge client_udp
    step "TCP iperf3 against the kernel" client_tcp_compared
    step "200 connections at once" through_every_worker client_connections
    step "ICMP traceroute shows the edge" client_traceroute -I
    step "UDP traceroute shows the edge" client_traceroute -U
    step "UDP hairpin" through_edge client_hairpin udp
    step "TCP hairpin" through_edge client_hairpin tcp
    step "two realms, one prefix" through_edge client_two_realms
    step "a closed port answers as closed" through_edge client_closed_port

    # The tap is up and the host keeps its route, but nobody forwards.
    edge_signal STOP
    control "ICMP traceroute shows the edge" 1 client_traceroute -I
    control "UDP traceroute shows the edge" 1 client_traceroute -U
    edge_down

    heading "nat44: the same cesd, hairpinning off"
    edge_up no-hairpin
    control "UDP hairpin" 3 client_hairpin udp
    control "TCP hairpin" 3 client_hairpin tcp
    edge_down

    heading "nat44: the same cesd without NAT44"
    edge_up no-nat44
    control "ping" 1 client_ping
    control "200 MB by HTTP, checksum" "7 28" client_download
    control "50 MB by HTTPS" "7 28" client_https
    control "UDP iperf3, 100 Mb/s each way" 4 client_udp
    control "TCP iperf3 against the kernel" 4 client_tcp "$SERVER" up
    control "200 connections at once" 3 client_connections
    control "two realms, one prefix" "7 28" client_two_realms
    control "a closed port answers as closed" "7 28" client_closed_port
    edge_down
}

client_ping() {
    ping_all 20 home "$SERVER"
    MOVED=$((2 * 20 * 84))
}

client_download() {
    fetch home -o "$WORK/fetched" "http://$SERVER/200M"
    cmp "$WORK/fetched" "$WORK/www/200M"
    MOVED=$(stat -c %s "$WORK/fetched")
    note "sha256 $(sha256sum "$WORK/fetched" | cut -c 1-16)…, both ends"
    rm "$WORK/fetched"
}

client_https() {
    fetch home --cacert "$WORK/cert.pem" --resolve "server.example:443:$SERVER" -o "$WORK/fetched" \
        https://server.example/50M
    cmp "$WORK/fetched" "$WORK/www/50M"
    MOVED=$(stat -c %s "$WORK/fetched")
    note "certificate verified"
    rm "$WORK/fetched"
}

# A receiver that is not run for some milliseconds loses what its socket can't hold: measured again, three times at most.
client_udp() {
    local direction try lost losses=()
    MOVED=0
    for direction in up down; do
        local reverse=()
        [[ $direction == up ]] || reverse=(--reverse)
        for try in 1 2 3; do
            iperf --client "$SERVER" --udp --bitrate 100M --length 1400 --time 2 "${reverse[@]}"
            lost=$(jq .end.sum.lost_percent "$WORK/iperf.json")
            printf '%s, try %s: %s %% lost\n' "$direction" "$try" "$lost"
            ! jq -e '.end.sum | .packets > 10000 and .lost_percent < 2' "$WORK/iperf.json" >/dev/null || break
        done
        jq -e '.end.sum | .packets > 10000 and .lost_percent < 2' "$WORK/iperf.json" >/dev/null ||
            fail "$direction: $(jq -c .end.sum "$WORK/iperf.json")"
        MOVED=$((MOVED + $(jq '.end.sum.bytes * (100 - .end.sum.lost_percent) / 100 | floor' "$WORK/iperf.json")))
        losses+=("$(printf '%.2f' "$lost") % lost $direction")
    done
    note "${losses[0]}, ${losses[1]}"
}

# client_tcp SERVER up|down : sets MOVED and MBPS.
client_tcp() {
    local reverse=()
    [[ $2 == up ]] || reverse=(--reverse)
    iperf --client "$1" --time 2 "${reverse[@]}"
    MOVED=$(jq .end.sum_received.bytes "$WORK/iperf.json")
    MBPS=$(jq '.end.sum_received.bits_per_second / 1e6 | floor' "$WORK/iperf.json")
}

# Each direction beside the kernel's NAT, one right after the other because the machine is shared; half of the kernel's
# figure is the least that passes. A disturbed pair is measured again, five times at most.
client_tcp_compared() {
    local direction try edge kernel figures=()
    for direction in up down; do
        for try in 1 2 3 4 5; do
            client_tcp "$ORACLE_SERVER" "$direction"
            kernel=$MBPS
            through_edge client_tcp "$SERVER" "$direction"
            edge=$MBPS
            printf '%s, try %s: cesd %s Mb/s, kernel %s Mb/s\n' "$direction" "$try" "$edge" "$kernel"
            ((edge * 2 < kernel)) || break
        done
        figures+=("$direction $edge/$kernel Mb/s = $(ratio "$edge" "$kernel")")
        note "cesd/kernel ${figures[*]}"
        ((edge * 2 >= kernel)) || fail "$direction: under half of what the kernel's NAT reaches"
    done
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

# 200 TCP connections from one host; cesctl is asked while all of them stand.
client_connections() {
    in_ns home /usr/bin/python3 "$LIB/connections.py" 200 "$SERVER" "$ECHO_PORT" \
        "'$CESCTL' --instance '$INSTANCE' show flows --realm home --host $HOST --limit 1000 --json >'$WORK/flows.json'" \
        | tee "$WORK/connections"
    local shown
    shown=$(jq "[.flows[] | select(.protocol == \"tcp\" and (.remote | endswith(\":$ECHO_PORT\")))] | length" "$WORK/flows.json")
    ((shown >= 200)) || fail "cesctl shows $shown of the 200 flows"
    MOVED=$((200 * 2 * 2 * 52))
    note "$(<"$WORK/connections"); cesctl shows $shown"
}

client_traceroute() {
    in_ns home traceroute -n "$1" -q 2 -w 1 -m 3 "$SERVER" | tee "$WORK/hops"
    [[ $(awk '$1 == 1 { print $2 }' "$WORK/hops") == "$EDGE_INSIDE" ]] || fail "hop 1 is not $EDGE_INSIDE"
    [[ $(awk '$1 == 2 { print $2 }' "$WORK/hops") == "$SERVER" ]] || fail "hop 2 is not the server"
    note "$EDGE_INSIDE, then $SERVER"
}

client_hairpin() {
    in_ns home /usr/bin/python3 "$LIB/hairpin.py" "$1" "$HOST" "$OTHER_HOST" "$SERVER" "$ECHO_PORT" | tee "$WORK/hairpin"
    MOVED=$((2 * 2 * 40))
    note "$(<"$WORK/hairpin")"
}

# The same private address in both realms, at the same time; the server sees two public mappings.
client_two_realms() {
    local home office seen
    fetch home -o "$WORK/from-home" "http://$SERVER/50M?home" & home=$!
    fetch office -o "$WORK/from-office" "http://$SERVER/50M?office" & office=$!
    wait "$home"
    wait "$office"
    cmp "$WORK/from-home" "$WORK/www/50M"
    cmp "$WORK/from-office" "$WORK/www/50M"
    rm "$WORK/from-home" "$WORK/from-office"
    MOVED=100000000
    seen=$(grep -E '/50M\?(home|office)$' "$WORK/access.log" | awk '{ print $1 }' | sort -u)
    [[ $(wc -l <<<"$seen") == 2 ]] || fail "the server saw: $seen"
    note "$HOST twice, seen as ${seen//$'\n'/ and }"
}

client_closed_port() {
    local status=0 begin=$SECONDS
    in_ns home curl -sv --connect-timeout 3 "http://$SERVER:9/" 2>"$WORK/closed" || status=$?
    cat "$WORK/closed"
    ((status == 7)) && grep -q "Connection refused" "$WORK/closed" || return "$status"
    ((SECONDS - begin < 2)) || fail "refused, but late"
    MOVED=$((40 + 40))
    note "connection refused"
}
