# shellcheck shell=bash disable=SC2034,SC2153  # names shared with lib/prgw.sh
# The Realm Gateway: an ordinary host on the Internet reaches private hosts by their names, any protocol, with nothing changed on either
# side. The bed is in lib/prgw.sh. The other way, to strangers by proxy addresses, is in lib/outbound.sh.
#
# A function runs in the bed and fails by its exit code; its control runs the very same function where it must fail.

scenario_prgw() {
    heading "prgw: five public addresses, hosts behind them by name"
    local EDGE_CONFIG=prgw_config
    bed_add own
    edge_up
    prgw_servers
    step "a name is an address for a moment" prgw_name
    step "HTTP by name" through_edge prgw_http
    step "HTTPS by name" through_edge prgw_https
    step "ssh by name" prgw_ssh
    step "ping by name" prgw_ping
    step "UDP echo by name" prgw_udp
    step "one service by its name" prgw_service
    step "500 connections at five addresses" prgw_connections 500
    step "names from inside: own and others'" prgw_inside
    step "DNS by TCP beside a flood" prgw_flood 30000
    step "without a question, no connection" prgw_refused "$PRGW_FIRST"
    control "without a question, no connection" 3 prgw_refused a.ces.example
    step "a reservation expires" prgw_expired $((PRGW_WAIT + 1))
    # Asked for and used at once, by one program: what waits follows the delays that were measured, and is short by now.
    control "a reservation expires" 3 prgw_refused a.ces.example
    edge_down

    heading "prgw: the same cesd without the pool, and without a namespace of its own"
    edge_up no-prgw no-resolver
    control "a name is an address for a moment" 3 prgw_name
    control "HTTP by name" 6 prgw_http
    control "HTTPS by name" 6 prgw_https
    control "ssh by name" 255 prgw_ssh
    control "ping by name" 1 prgw_ping
    control "UDP echo by name" 3 prgw_udp
    control "one service by its name" 6 prgw_service
    control "500 connections at five addresses" 3 prgw_connections 500
    control "names from inside: own and others'" 3 prgw_inside
    control "DNS by TCP beside a flood" 3 prgw_flood 30000
    edge_down

    outbound_steps
}

# The answer is of the pool, and nobody may keep it.
prgw_name() {
    local answer ttl
    answer=$(asking dig +noall +answer +tries=1 +time=2 a.ces.example A)
    printf '%s\n' "$answer"
    ttl=$(awk '$4 == "A" { print $2 }' <<<"$answer")
    [[ $(awk '$4 == "A" { print $5 }' <<<"$answer") == 203.0.113.10[1-5] && $ttl == 0 ]] || return 3
    note "$(awk '{ print $5 }' <<<"$answer"), TTL $ttl"
}

# Both hosts, each by its name: the same private address in two realms.
prgw_http() {
    local host realm name
    MOVED=0
    for host in "${PRGW_HOSTS[@]}"; do
        realm=${host%%:*} name=${host#*:}
        fetch internet -o "$WORK/fetched" "http://$name/5M"
        cmp "$WORK/fetched" "$WORK/web-$realm/www/5M"
        [[ $(fetch internet "http://$name/who") == "$name sees $SERVER" ]] || fail "$name sees somebody else"
        MOVED=$((MOVED + 5000000))
    done
    note "5 MB of each host; both see the client's own address"
}

prgw_https() {
    local host realm name
    MOVED=0
    for host in "${PRGW_HOSTS[@]}"; do
        realm=${host%%:*} name=${host#*:}
        fetch internet --cacert "$WORK/web-$realm/cert.pem" -o "$WORK/fetched" "https://$name/5M"
        cmp "$WORK/fetched" "$WORK/web-$realm/www/5M"
        MOVED=$((MOVED + 5000000))
    done
    note "certificates of both names verified"
}

prgw_ssh() {
    local host realm name said
    for host in "${PRGW_HOSTS[@]}"; do
        realm=${host%%:*} name=${host#*:}
        # shellcheck disable=SC2016  # expanded over there
        said=$(asking ssh -F none -i "$WORK/ssh/user" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
            -o ConnectTimeout=3 -o BatchMode=yes "root@$name" 'echo "$SSH_CONNECTION"; ip netns identify')
        printf '%s\n' "$said"
        [[ $said == "$SERVER "*" $HOST 22"$'\n'"$BED-$realm" ]] || fail "$name: $said"
    done
    note "${said%%$'\n'*}"
}

prgw_ping() {
    local host
    for host in "${PRGW_HOSTS[@]}"; do ping_all 5 internet "${host#*:}"; done
}

prgw_udp() {
    local host
    for host in "${PRGW_HOSTS[@]}"; do
        asking /usr/bin/python3 "$LIB/by_name.py" udp "${host#*:}" "$ECHO_PORT"
    done
    note "both answer"
}

# The name of one service, HTTPS of a.ces.example: only that port is reserved.
prgw_service() {
    fetch internet --cacert "$WORK/web-home/cert.pem" --connect-to "a.ces.example:443:www.ces.example:443" \
        -o "$WORK/fetched" https://a.ces.example/5M
    cmp "$WORK/fetched" "$WORK/web-home/www/5M"
    local status=0
    asking curl -sS --connect-timeout 2 http://www.ces.example/5M -o /dev/null || status=$?
    ((status == 7)) || fail "another port of it: exit code $status"
    note "port 443 by www.ces.example, no other"
}

# COUNT connections from one client, all at once, to the same port of both hosts, each by its name, or by that of its service: one of
# the five addresses is for services while others are free.
prgw_connections() {
    # What was asked for before and never claimed is over by then: all five are free.
    sleep "$PRGW_WAIT"
    asking /usr/bin/python3 "$LIB/by_name.py" tcp "$1" "$ECHO_PORT" \
        a.ces.example b.ces.example "tcp$ECHO_PORT.a.ces.example" "tcp$ECHO_PORT.b.ces.example" | tee "$WORK/connections"
    grep -q "of 5 addresses" "$WORK/connections" || fail "not at all addresses: $(tail -n 1 "$WORK/connections")"
    note "$(tail -n 1 "$WORK/connections")"
}

# Nobody is behind an address of the pool unless a name was asked for: a TCP connection is refused at once. Exit code 3: it is not.
prgw_refused() {
    local status=0 begin=$SECONDS
    asking curl -sS --connect-timeout 3 "http://$1/who" -o /dev/null || status=$?
    ((status == 7 && SECONDS - begin < 2)) || return 3
    note "connection refused"
}

# The address of an answer that was asked for so many seconds ago. Exit code 3: it is still somebody's.
prgw_expired() {
    local address
    address=$(asking dig +short +tries=1 +time=2 a.ces.example A)
    sleep "$1"
    prgw_refused "$address"
}

# questions REALM SERVER HOW QUESTION… : what is answered, a line each; HOW is +tcp or +notcp. Exit code 3: not all are.
questions() {
    local answers
    answers=$(in_ns "$1" dig +short +tries=1 +time=1 "$3" "@$2" "${@:4}") || return 3
    printf '%s\n' "$answers"
    (($(grep -c . <<<"$answers") * 2 == $# - 3)) || return 3
}

# A host inside has the edge for its resolver: names of its own realm are private addresses to it, others' are asked for.
prgw_inside() {
    local how answers
    for how in +notcp +tcp; do
        answers=$(questions home "$EDGE_INSIDE" "$how" a.ces.example A "$FOREIGN" A) || return 3
        [[ $answers == "$HOST"$'\n'"$FOREIGN_ADDRESS" ]] || fail "$answers"
    done
    note "$HOST and $FOREIGN_ADDRESS, by UDP and by TCP"
}

# A flood of RATE questions a second by UDP from one source, and all the while somebody else asks by TCP and by UDP.
prgw_flood() {
    local answered=0 before dropped mac flooding ten
    read -ra ten <<<"$(printf 'ces.example SOA %.0s' {1..10})"
    questions internet 203.0.113.1 +tcp "${ten[@]}" || return 3
    mac=$(edge_mac internet 203.0.113.1)
    before=$(dropped punt_rate)
    flood internet "$mac" "$FLOODER" 203.0.113.1 dns "$1" 4 >"$WORK/flood" &
    flooding=$!
    sleep 0.3
    while kill -0 "$flooding" 2>/dev/null; do
        questions internet 203.0.113.1 +tcp "${ten[@]}" || fail "no answer by TCP"
        questions internet 203.0.113.1 +notcp "${ten[@]}" || fail "no answer by UDP"
        answered=$((answered + ${#ten[@]} / 2))
    done
    wait "$flooding" || fail "it has ended early"
    dropped=$(($(dropped punt_rate) - before))
    ((answered > 0 && dropped > $1)) || fail "$answered answered, $dropped dropped"
    note "$answered answered by TCP, as many by UDP; of $(jq .packets "$WORK/flood") others $dropped dropped"
}
