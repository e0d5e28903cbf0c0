# shellcheck shell=bash disable=SC2034,SC2153  # names shared with lib/cgn.sh
# Carrier-grade NAT as others measure it: coturn's natdiscovery and stun-client name the class, aioice connects or does not, and what
# RFC 4787, 5382, 5508, 6888 and 7857 have a subscriber notice. The bed is in lib/cgn.sh.
#
# A function runs in the bed and fails by its exit code; its control runs the very same function where it must fail.

scenario_cgn() {
    heading "cgn: a pool for each behaviour"
    cgn_up
    cgn_servers
    # While there are few sessions, whose ends are seen at once: with many, a look at each takes up to ten seconds.
    step "a UDP mapping's lifetime" cgn_lifetime "$LIFETIME_PORT"
    control "a UDP mapping's lifetime" 3 cgn_lifetime "$LONG_PORT"
    step "the lifetime by coturn" cgn_lifetime_coturn "$STUN_SHORT_PORT"
    control "the lifetime by coturn" 3 cgn_lifetime_coturn 3478
    step "nine classes by coturn and stun" cgn_classes 0
    control "nine classes by coturn and stun" 3 cgn_classes 1
    step "hairpin by coturn and stun" cgn_hairpin
    step "hairpin from one class to another" through_edge cgn_hairpin_classes
    step "ICE between all classes" cgn_ice
    step "64 KiB in shuffled fragments" through_edge cgn_fragments
    control "64 KiB in shuffled fragments" 3 cgn_fragments missing
    step "a first fragment that never comes" cgn_fragment_drops "$DROP_FRAGMENT_MISSING" missing
    control "a first fragment that never comes" 3 cgn_fragment_drops "$DROP_FRAGMENT_MISSING"
    step "an overlapping fragment" cgn_fragment_drops "$DROP_FRAGMENT_OVERLAP" overlap
    control "an overlapping fragment" 3 cgn_fragment_drops "$DROP_FRAGMENT_OVERLAP"
    step "a subscriber's blocks are used up" cgn_limit "$DROP_BLOCKS" "$BLOCKS_HOST" 10.0.0.41 100
    step "a subscriber's sessions are used up" cgn_limit "$DROP_SESSIONS" "$SESSIONS_HOST" 10.0.0.43 300 100
    step "a subscriber's rate is used up" cgn_limit "$DROP_RATE" "$RATE_HOST" 10.0.0.45 200
    step "a formula finds port and subscriber" cgn_formula
    step "a port mapped by natpmpc" cgn_mapped
    step "GRE ESP SCTP by a whole address" cgn_protocols "$WHOLE_HOST"
    control "GRE ESP SCTP by a whole address" 3 cgn_protocols "$HOST"
    step "GRE without one is dropped by name" cgn_protocols_dropped "$HOST"
    control "GRE without one is dropped by name" 3 cgn_protocols_dropped "$WHOLE_HOST"
    step "an unsolicited SYN waits 6 s" cgn_unsolicited
    step "a reset out of the window" cgn_reset 1073741824
    control "a reset out of the window" 3 cgn_reset 0
    control "a drained pool, then removed" 3 cgn_drain nothing "$OTHER_NEWCOMER"
    step "a drained pool, then removed" cgn_drain drain "$NEWCOMER"
    edge_down

    heading "cgn: the same cesd with none of it"
    cgn_up plain
    control "ICE between all classes" 3 cgn_ice
    control "a subscriber's blocks are used up" 3 cgn_limit "$DROP_BLOCKS" "$BLOCKS_HOST" 10.0.0.41 100
    control "a subscriber's sessions are used up" 3 cgn_limit "$DROP_SESSIONS" "$SESSIONS_HOST" 10.0.0.43 300 100
    control "a subscriber's rate is used up" 3 cgn_limit "$DROP_RATE" "$RATE_HOST" 10.0.0.45 200
    control "a formula finds port and subscriber" 3 cgn_formula
    control "an unsolicited SYN waits 6 s" 3 cgn_unsolicited
    control "a port mapped by natpmpc" 3 cgn_mapped
    edge_down

    heading "cgn: the same again, hairpinning off"
    cgn_up no-hairpin
    control "hairpin by coturn and stun" 3 cgn_hairpin
    control "hairpin from one class to another" 3 cgn_hairpin_classes
    edge_down
}

# ---- the class ----

# coturn_says CLASS : what `turnutils_natdiscovery -m -f` prints of it.
coturn_says() {
    coturn_name Mapping "$(class_mapping "$1")"
    coturn_name Filtering "$(class_filtering "$1")"
}

coturn_name() {
    case $2 in
    endpoint-independent) echo "NAT with Endpoint Independent $1!" ;;
    address-dependent) echo "NAT with Address Dependent $1!" ;;
    address-and-port-dependent) echo "NAT with Address and Port Dependent $1!" ;;
    esac
}

# stun_says CLASS : what `stun` prints of it, which doesn't ask for the filter of a dependent mapping. coturn names that.
stun_says() {
    case $(class_mapping "$1"),$(class_filtering "$1") in
    endpoint-independent,endpoint-independent) echo "Independent Mapping, Independent Filter" ;;
    endpoint-independent,address-dependent) echo "Independent Mapping, Address Dependent Filter" ;;
    endpoint-independent,*) echo "Independent Mapping, Port Dependent Filter" ;;
    *) echo "Dependent Mapping" ;;
    esac
}

# cgn_classes SHIFT : each tool must name the class that is SHIFT after the configured one. Exit code 3: none of the nine was it.
cgn_classes() {
    local class expected said matches=0 asking=()
    for class in {0..8}; do
        in_ns home timeout 20 turnutils_natdiscovery -m -f -L "$(class_host "$class")" "$SERVER" >"$WORK/coturn-$class" 2>&1 & asking+=($!)
        # Its exit code is the class.
        { in_ns home timeout 20 stun "$SERVER" -i "$(class_host "$class")" >"$WORK/stun-$class" 2>&1 || true; } & asking+=($!)
    done
    wait "${asking[@]}" || true
    for class in {0..8}; do
        expected="$(coturn_says $(((class + $1) % 9)))"$'\n'"$(stun_says $(((class + $1) % 9)))"
        said="$(grep '^NAT with' "$WORK/coturn-$class")"$'\n'"$(sed -n 's/^Primary: //p' "$WORK/stun-$class" | sed 's/, [a-z].*//')"
        if [[ $said == "$expected" ]]; then matches=$((matches + 1)); else printf 'expected:\n%s\nsaid:\n%s\n\n' "$expected" "$said"; fi
    done
    ((matches > 0)) || exit 3
    ((matches == 9)) || exit 2
    note "each of 9 named as configured by both tools"
}

# ---- hairpin ----

# Exit code 3: neither tool sees it; 2: they differ.
cgn_hairpin() {
    local host coturn=no stun=no
    host=$(class_host 0)
    in_ns home timeout 20 turnutils_natdiscovery -H -L "$host" "$SERVER" >"$WORK/coturn-hairpin" &
    in_ns home timeout 20 stun "$SERVER" -i "$host" >"$WORK/stun-hairpin" || true
    wait $! || true
    cat "$WORK/coturn-hairpin" "$WORK/stun-hairpin"
    ! grep -q "^Received a request (maybe a successful hairpinning)" "$WORK/coturn-hairpin" || coturn=yes
    ! grep -q ", will hairpin" "$WORK/stun-hairpin" || stun=yes
    [[ $coturn == "$stun" ]] || exit 2
    [[ $coturn == yes ]] || exit 3
    note "a request comes back to its sender"
}

# The host of the most open class is reached from the strictest one, by a public address.
cgn_hairpin_classes() {
    in_ns home /usr/bin/python3 "$LIB/hairpin.py" udp "$(class_host 0)" "$(class_host 8)" "$SERVER" "$ECHO_PORT" | tee "$WORK/hairpin"
    MOVED=$((2 * 2 * 40))
    note "$(<"$WORK/hairpin")"
}

# ---- ICE ----

cgn_ice() {
    local answers status=0
    rm -f "$WORK/ice.sock"
    ice office answers & answers=$!
    ice home calls | tee "$WORK/ice" || status=${PIPESTATUS[0]}
    wait "$answers" || true
    ((status == 0)) || exit "$status"
    note "$(<"$WORK/ice")"
}

ice() { in_ns "$1" target/python/bin/python -B "$LIB/ice.py" "$2" "$WORK/ice.sock" "$(class_host 0)" "$SERVER" 3478; }

# ---- lifetimes ----

cgn_lifetime() {
    in_ns home /usr/bin/python3 "$LIB/lifetime.py" ask "$HOST" "$SERVER" "$1" "$LIFETIME" | tee "$WORK/lifetime"
    note "$(<"$WORK/lifetime")"
}

# cgn_lifetime_coturn PORT : alive after half a lifetime, dead after one and a half. Exit code 3: never dead.
cgn_lifetime_coturn() {
    local young old=0
    natdiscovery_lifetime "$1" $((LIFETIME / 2)) young & young=$!
    natdiscovery_lifetime "$1" $((LIFETIME * 3 / 2)) old || old=$?
    wait "$young" || fail "dead after $((LIFETIME / 2)) s"
    ((old == 1)) || exit 3
    note "alive after $((LIFETIME / 2)) s, dead after $((LIFETIME * 3 / 2)) s"
}

# The second answer, asked for from another port, comes to the first one's mapping.
natdiscovery_lifetime() {
    in_ns home timeout 20 turnutils_natdiscovery -t -T "$2" -p "$1" -L "$HOST" "$SERVER" >"$WORK/lifetime-$3"
    cat "$WORK/lifetime-$3"
    grep -q '^RFC 5780 response 1' "$WORK/lifetime-$3" || exit 4
    grep -q '^RFC 5780 response 2' "$WORK/lifetime-$3"
}

# ---- fragments ----

# cgn_fragments [CHANGE] : both ways.
cgn_fragments() {
    local way
    for way in out back; do
        fragments "$way" "$@" | tee "$WORK/fragments"
    done
    MOVED=$((2 * 65507))
    note "$(<"$WORK/fragments")"
}

fragments() { in_ns home /usr/bin/python3 -B "$LIB/fragments.py" ask "$HOST" "$SERVER" "$FRAGMENTS_PORT" "$@"; }

# cgn_fragment_drops REASON [CHANGE] : such a datagram arrives neither way, and REASON counts it. Exit code 3: it arrives.
cgn_fragment_drops() {
    local way before status
    for way in out back; do
        before=$(dropped "$1") status=0
        fragments "$way" "${@:2}" || status=$?
        ((status != 0)) || exit 3
        ((status == 3)) || fail "$way: exit code $status"
        wait_for 5 "more of $1" dropped_more "$1" "$before" || fail "$way: $1 counts nothing"
    done
    note "$1 counts"
}

dropped_more() { (($(dropped "$1") > $2)); }

# ---- limits ----

# cgn_limit REASON HOST NEIGHBOUR COUNT [RATE] : HOST takes all that it may have; its neighbour has its own.
cgn_limit() {
    local before after refused status=0
    before=$(dropped "$1")
    in_ns home /usr/bin/python3 -B "$LIB/limits.py" "$2" "$3" "$SERVER" "$ECHO_PORT" "${@:4}" | tee "$WORK/limit" || status=${PIPESTATUS[0]}
    ((status == 0)) || exit "$status"
    after=$(dropped "$1")
    refused=$(jq '.refused + .silent' "$WORK/limit")
    ((after - before == refused)) || fail "$refused were not answered, $1 counts $((after - before))"
    note "$(jq -r '"\(.answered) answered, \(.refused) told that it is prohibited, neighbour \(.neighbour) of 20"' "$WORK/limit")"
}

# ---- the formula ----

# The real server sees what the formula says, and from what it sees the formula finds the subscriber.
cgn_formula() {
    local said seen public first last
    said=$(ctl nat44 inside home "$FORMULA_HOST") || exit 3
    read -r public first last < <(jq -r '.[0] | "\(.public) \(.ports.first) \(.ports.last)"' <<<"$said")
    fetch home --interface "$FORMULA_HOST" -o /dev/null "http://$SERVER/?formula" || true
    seen=$(seen_as formula)
    [[ ${seen%:*} == "$public" ]] || fail "seen as $seen, predicted $said"
    ((${seen#*:} >= first && ${seen#*:} <= last)) || fail "seen as $seen, predicted $said"
    said=$(ctl nat44 public "${seen%:*}" "${seen#*:}")
    [[ $(jq -r '.[0] | .realm + " " + .inside' <<<"$said") == "home $FORMULA_HOST" ]] || fail "$seen is $said"
    note "$FORMULA_HOST is $public:$first-$last, seen as $seen"
}

# ---- what subscribers ask for ----

# A host maps a port, and a server there is reached from outside by it; unmapped, it is not. Exit code 3: nobody maps ports.
cgn_mapped() {
    local served end
    mkdir -p "$WORK/mapped"
    head -c 1000000 "$WORK/www/50M" >"$WORK/mapped/1M"
    # (Not by its own main, which would ask a name server for its name first.)
    ip netns exec "$BED-home" timeout 30 /usr/bin/python3 -c '
import functools, http.server, socketserver, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[3])
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((sys.argv[1], int(sys.argv[2])), handler).serve_forever()
' "$HOST" "$MAPPED_PORT" "$WORK/mapped" & served=$!
    wait_for 5 "port $MAPPED_PORT is served" in_ns home sh -c "ss -Hltn 'sport = :$MAPPED_PORT' | grep -q ."
    in_ns home timeout 3 natpmpc -g "$EDGE_INSIDE" -a 0 "$MAPPED_PORT" tcp 600 | tee "$WORK/natpmpc" || { kill "$served"; exit 3; }
    end=$(sed -n 's/^Public IP address : //p' "$WORK/natpmpc"):$(sed -n 's/^Mapped public port \([0-9]*\) .*/\1/p' "$WORK/natpmpc")
    fetch internet --max-time 5 -o "$WORK/mapped/got" "http://$end/1M"
    cmp "$WORK/mapped/got" "$WORK/mapped/1M"
    ctl show counters | jq -e '[.workers[].asked_mappings] | add == 1' >/dev/null || fail "it is not counted"
    in_ns home timeout 3 natpmpc -g "$EDGE_INSIDE" -a 0 "$MAPPED_PORT" tcp 0
    ! fetch internet --max-time 2 -o /dev/null "http://$end/1M" || fail "$end is open still"
    kill "$served"
    note "1 MB from it by $end, and nothing once it is unmapped"
}

# ---- other protocols ----

cgn_protocols() {
    at home address replace "$1/24" dev home
    in_ns home /usr/bin/python3 "$LIB/protocols.py" ask "$1" "$SERVER" gre esp sctp 253 | tee "$WORK/protocols"
    note "$(<"$WORK/protocols")"
}

cgn_protocols_dropped() {
    local before after
    before=$(dropped "$DROP_PROTOCOL")
    in_ns home /usr/bin/python3 "$LIB/protocols.py" ask "$1" "$SERVER" gre || true
    after=$(dropped "$DROP_PROTOCOL")
    ((after > before)) || exit 3
    ((after == before + 1)) || fail "$DROP_PROTOCOL counts $((after - before))"
    note "$DROP_PROTOCOL counts it"
}

# ---- TCP ----

# A stranger calls the mapping of a host whose NAT filters by address and port: RFC 5382 REQ-4.
cgn_unsolicited() {
    local mapping
    mapping=$(in_ns home /usr/bin/python3 "$LIB/segments.py" holds "$(class_host 2)" "$SERVER" "$ECHO_PORT" | head -n 1)
    in_ns internet /usr/bin/python3 "$LIB/segments.py" unsolicited "$SERVER2" "${mapping%:*}" "${mapping#*:}" | tee "$WORK/unsolicited"
    note "$(<"$WORK/unsolicited")"
}

# cgn_reset AHEAD : while a connection rests, the server's name is used to end it.
cgn_reset() {
    local resets status=0
    in_ns internet /usr/bin/python3 "$LIB/segments.py" resets internet "$SERVER" "$ECHO_PORT" "$1" >"$WORK/resets" & resets=$!
    wait_for 2 "the resetter listens" grep -q listening "$WORK/resets"
    in_ns home /usr/bin/python3 "$LIB/segments.py" holds "$HOST" "$SERVER" "$ECHO_PORT" || status=$?
    wait "$resets" || fail "nothing was sent: $(<"$WORK/resets")"
    ((status == 0)) || exit "$status"
    note "$(tail -n 1 "$WORK/resets"): it lives on"
}

# ---- drain ----

# cgn_drain drain|nothing NEWCOMER : a download through the pool goes on while it drains and a newcomer is put elsewhere; it stands still
# when the pool is removed, and a download through another pool notices nothing. Exit code 3: the newcomer is
# put there all the same.
cgn_drain() {
    local through other newcomer
    fetch home --interface "$OLD_HOST" --limit-rate 10M -o "$WORK/old" "http://$SERVER/200M?old" & through=$!
    fetch home --interface "$HOST" --limit-rate 20M -o "$WORK/other" "http://$SERVER/50M?other" & other=$!
    sleep 0.5
    [[ $1 == nothing ]] || ctl pool drain old
    at home address replace "$2/24" dev home
    fetch home --interface "$2" -o /dev/null "http://$SERVER/?newcomer" || true
    newcomer=$(seen_as newcomer)
    [[ ${newcomer%:*} != "$OLD_PUBLIC" ]] || { kill "$through" "$other"; exit 3; }
    [[ ${newcomer%:*} == "$NEW_PUBLIC" ]] || fail "the newcomer is seen as $newcomer"
    pool_is draining || fail "the pool is not draining"
    grows "$WORK/old" || fail "the download through the drained pool stands still"
    ctl pool remove old
    pool_is removed || fail "the pool is not removed"
    wait_for 8 "the removed pool's download stands still" stands_still "$WORK/old"
    wait "$other"
    cmp "$WORK/other" "$WORK/www/50M"
    kill "$through"
    rm "$WORK/old" "$WORK/other"
    note "newcomer on ${newcomer%:*}; removed, the old download stands and the other is whole"
}

pool_is() { ctl show pools | jq -e --arg state "$1" 'any(.[]; .name == "old" and .state == $state)' >/dev/null; }

# seen_as MARK : the public endpoint that a request with this mark came from.
seen_as() { grep "?$1\$" "$WORK/access.log" | tail -n 1 | cut -d ' ' -f 1; }

# With a limit to its rate curl rests for up to a second at a time.
grows() {
    local before
    before=$(stat -c %s "$1")
    wait_for 3 "$1 grows" larger "$1" "$before"
}

stands_still() {
    local before
    before=$(stat -c %s "$1")
    sleep 2
    ! larger "$1" "$before"
}

larger() { (($(stat -c %s "$1") > $2)); }
