# shellcheck shell=bash disable=SC2034,SC2153  # names shared with bed.sh and scenarios/cgn.sh
# The bed of the scenario `cgn`: a cesd whose NAT has a pool of its own for each behaviour, and hosts of each pool.
#
#   home    10.0.0.11–.19  one behind each class of NAT ──┐                ┌── internet  203.0.113.254 and .253: coturn,
#           10.0.0.40–.81  limits, formula, drain …     ──┼── edge: cesd ──┘             the servers of the other scenarios
#   office  10.0.0.11–.19  the same classes             ──┘
#
# A class is a mapping and a filtering behaviour (RFC 4787 sections 4.1 and 5), each with a pool of one public address in each realm.

SERVER2=203.0.113.253
BEHAVIOURS=(endpoint-independent address-dependent address-and-port-dependent)
CLASS_HOST=11 # the first host of the nine, in both realms
# Public addresses: the classes' first ones, then one a pool.
CLASS_PUBLIC_HOME=16 CLASS_PUBLIC_OFFICE=25
LIMITED_PUBLIC=203.0.113.34 FORMULA_PUBLIC=203.0.113.35 OLD_PUBLIC=203.0.113.36 NEW_PUBLIC=203.0.113.37 WHOLE_PUBLIC=203.0.113.38
# Hosts: a subscriber and its neighbour in the same pool, for each of what is limited; then those of the other pools.
BLOCKS_HOST=10.0.0.40 SESSIONS_HOST=10.0.0.42 RATE_HOST=10.0.0.44
FORMULA_HOST=10.0.0.50 OLD_HOST=10.0.0.80 MORE_HOSTS=(40 41 42 43 44 45 50 80)
# Those come later: two to the pools of OLD_HOST, and one whose whole address would rest if it had been here before and silent since.
NEWCOMER=10.0.0.81 OTHER_NEWCOMER=10.0.0.82 WHOLE_HOST=10.0.0.64
# Destination ports with a lifetime of their own, in seconds, and one without. Shorter than 2 minutes only for well-known ports: RFC 4787 REQ-5.
LIFETIME=2 LIFETIME_PORT=19 LONG_PORT=9019 STUN_SHORT_PORT=17
FRAGMENTS_PORT=9020
# What a host serves by a port that it has mapped itself.
MAPPED_PORT=8070

# What counts what is refused.
DROP_BLOCKS=nat_no_port DROP_SESSIONS=nat_session_limit DROP_RATE=nat_session_rate
DROP_FRAGMENT_MISSING=ipv4_fragment_timeout DROP_FRAGMENT_OVERLAP=ipv4_fragment_overlap
DROP_PROTOCOL=protocol_unsupported

# Servers, once, when their addresses are there.
cgn_servers() {
    at internet address add "$SERVER2/32" dev lo
    stun_server 3478 3479 stun
    stun_server "$STUN_SHORT_PORT" 18 stun-short
    serve lifetime-short /usr/bin/python3 "$LIB/lifetime.py" serve "$LIFETIME_PORT"
    serve lifetime-long /usr/bin/python3 "$LIB/lifetime.py" serve "$LONG_PORT"
    serve fragments /usr/bin/python3 "$LIB/fragments.py" serve "$SERVER" "$FRAGMENTS_PORT"
    serve protocols /usr/bin/python3 "$LIB/protocols.py" serve
    local port
    for port in 3478 "$STUN_SHORT_PORT" "$LIFETIME_PORT" "$LONG_PORT" "$FRAGMENTS_PORT"; do
        wait_for 5 "port $port is served" in_ns internet sh -c "ss -Hlun 'sport = :$port' | grep -q ."
    done
}

# stun_server PORT OTHER-PORT NAME : on both addresses, as RFC 5780 needs it.
stun_server() {
    serve "$3" turnserver -n -L "$SERVER" -L "$SERVER2" --listening-port "$1" --alt-listening-port "$2" --stun-only \
        --no-tls --no-dtls --no-tcp --no-cli --log-file "$WORK/$3.log" --simple-log --pidfile "$WORK/$3.pid" --userdb "$WORK/$3.db"
}

# cgn_up [plain|no-hairpin] : a cesd with all of it, or with none of it; all hosts joined to it, and known to it.
cgn_up() {
    local EDGE_CONFIG=cgn_config
    edge_up "$@"
    local host realm
    for realm in home office; do
        for host in $(seq "$CLASS_HOST" $((CLASS_HOST + 8))); do at "$realm" address replace "10.0.0.$host/24" dev "$realm"; done
    done
    for host in "${MORE_HOSTS[@]}"; do at home address replace "10.0.0.$host/24" dev home; done
    # What waits for a neighbour is bounded: the first packets of nine hosts at once would be too many.
    for realm in home office; do
        at "$realm" -j address show dev "$realm" | jq -r '.[0].addr_info[].local | select(startswith("10."))' |
            while read -r host; do in_ns "$realm" ping -q -c 1 -w 5 -I "$host" "$SERVER" >/dev/null; done
    done
}

cgn_config() {
    edge_config no-nat44
    case $* in
    plain) plain_nat true ;;
    no-hairpin) plain_nat false ;;
    *) full_nat ;;
    esac
}

plain_nat() {
    cat <<TOML
[nat44]
inside = ["home", "office"]
outside = "internet"
pool = ["203.0.113.16-203.0.113.63"]
hairpin = $1
TOML
}

full_nat() {
    cat <<TOML
[limits]
fragment_timeout = 2

[nat44]
inside = ["home", "office"]
outside = "internet"
sessions_per_subscriber = 200
new_sessions_per_second = 120

[nat44.timeouts]
udp_ports = { "$LIFETIME_PORT" = $LIFETIME, "$STUN_SHORT_PORT" = $LIFETIME }

[nat44.pcp]
mappings_per_subscriber = 8
TOML
    local class
    for class in {0..8}; do
        class_pool home "$class" "$CLASS_PUBLIC_HOME"
        class_pool office "$class" "$CLASS_PUBLIC_OFFICE"
    done
    pool blocks "$LIMITED_PUBLIC" "$BLOCKS_HOST/31" 'block_size = 64' 'first_block_size = 64' 'blocks_per_subscriber = 1'
    pool formula "$FORMULA_PUBLIC" 10.0.0.48/28 'deterministic = true'
    pool old "$OLD_PUBLIC" "$OLD_HOST/30"
    pool new "$NEW_PUBLIC" "$OLD_HOST/30"
    pool whole "$WHOLE_PUBLIC" "$WHOLE_HOST/32" 'whole_address = true'
    pool everybody 203.0.113.48-203.0.113.63 ''
}

# pool NAME ADDRESSES SUBSCRIBERS LINE… : of the realm home; everybody's without subscribers.
pool() {
    printf '\n[[nat44.pools]]\nname = "%s"\naddresses = ["%s"]\n' "$1" "$2"
    [[ -z $3 ]] || printf 'realms = ["home"]\nsubscribers = ["%s"]\n' "$3"
    printf '%s\n' "${@:4}"
}

class_mapping() { echo "${BEHAVIOURS[$(($1 / 3))]}"; }
class_filtering() { echo "${BEHAVIOURS[$(($1 % 3))]}"; }
class_host() { echo "10.0.0.$((CLASS_HOST + $1))"; }

# class_pool REALM CLASS FIRST : the public address 203.0.113.(FIRST + CLASS), for the one host of that class.
class_pool() {
    cat <<TOML

[[nat44.pools]]
name = "$1-$2"
addresses = ["203.0.113.$(($3 + $2))"]
realms = ["$1"]
subscribers = ["$(class_host "$2")/32"]
mapping = "$(class_mapping "$2")"
filtering = "$(class_filtering "$2")"
TOML
}
