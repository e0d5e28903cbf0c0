# shellcheck shell=bash disable=SC2034,SC2153  # names shared with bed.sh and scenarios/prgw.sh
# The other way of the scenario `prgw`: hosts ask the edge for a stranger's name, and see him by a proxy address.
#
#   home  10.0.0.2 ── edge: cesd ── internet  203.0.113.254: www.far.example, a web server
#                        │                    203.0.113.54: the name server of far.example
#                      asks: the kernel from which the edge asks it
#
# Nothing outside knows of it: the server sees an address of the NAT.

FAR=www.far.example FAR_DNS=203.0.113.54
FAR_PROXIES=172.16.64.0/24 FAR_NOBODY=172.16.64.200

outbound_steps() {
    heading "prgw: a host inside sees a stranger by a proxy address"
    local EDGE_CONFIG=outbound_config
    outbound_bed
    edge_up proxy
    step "a stranger's name is a proxy address" outbound_name
    step "HTTP by a proxy address" through_edge outbound_http
    step "its PTR is the stranger's name" outbound_pointer
    step "a proxy address of nobody is refused" outbound_nobody
    edge_down

    heading "prgw: the same cesd with remote = \"real\""
    edge_up real
    control "a stranger's name is a proxy address" 3 outbound_name
    control "HTTP by a proxy address" 3 outbound_http
    control "its PTR is the stranger's name" 3 outbound_pointer
    control "a proxy address of nobody is refused" 3 outbound_nobody
    edge_down
}

# The stranger's name server, and whom hosts at home ask.
outbound_bed() {
    bed_add asks
    at internet address add "$FAR_DNS/32" dev lo
    mkdir -p "$WORK/far" "/etc/netns/$BED-home"
    printf 'nameserver %s\n' "$EDGE_INSIDE" >"/etc/netns/$BED-home/resolv.conf"
    cat >"$WORK/far/zone" <<ZONE
\$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A $FAR_DNS
www CNAME server
server A $SERVER
ZONE
    cat >"$WORK/far/named.conf" <<NAMED
options {
    directory "$WORK/far";
    pid-file none;
    session-keyfile none;
    listen-on { $FAR_DNS; };
    listen-on-v6 { none; };
    recursion no;
};
controls { };
zone "far.example" { type primary; file "$WORK/far/zone"; };
NAMED
    serve far named -g -4 -n 1 -c "$WORK/far/named.conf"
    wait_for 5 "the stranger's name server listens" in_ns internet \
        sh -c "ss -Hlun 'src $FAR_DNS and sport = :53' | grep -q ."
}

# outbound_config real|proxy : the laboratory's, with a resolver for its hosts.
outbound_config() {
    edge_config | awk -v remote="$1" -v proxies="$FAR_PROXIES" '
        { print }
        remote == "proxy" && /^name = "home"/ { print "remote = \"proxy\"\nproxy_addresses = [\"" proxies "\"]" }'
    cat <<TOML

[exception]
netns = "$BED-asks"
interfaces = ["out"]

[dns]
upstreams = [{ address = "$FAR_DNS" }]

[[dns.zones]]
apex = "ces.example"
name_servers = [{ name = "ns1.ces.example", addresses = ["203.0.113.1"] }]
TOML
}

# What the edge's resolver says, and no longer than half a minute. Exit code 3: another address.
outbound_name() {
    local answer address ttl
    answer=$(in_ns home dig +noall +answer +tries=2 +time=2 "$FAR" A)
    printf '%s\n' "$answer"
    address=$(awk '$4 == "A" { print $5 }' <<<"$answer") ttl=$(awk '$4 == "A" { print $2 }' <<<"$answer")
    [[ $(awk '$4 == "CNAME" { print $5 }' <<<"$answer") == server.far.example. ]] || fail "no alias"
    [[ $address == 172.16.64.* ]] || return 3
    ((ttl <= 30)) || fail "TTL $ttl"
    note "$FAR is $address, TTL $ttl"
}

# The whole file from there, and who asked for it as the server sees it. Exit code 3: not by a proxy address.
outbound_http() {
    local by seen
    by=$(fetch home -o "$WORK/fetched" -w '%{remote_ip}' "http://$FAR/50M?outbound")
    cmp "$WORK/fetched" "$WORK/www/50M"
    MOVED=50000000
    [[ $by == 172.16.64.* ]] || return 3
    seen=$(awk '/outbound/ { seen = $1 } END { print seen }' "$WORK/access.log")
    [[ $seen == 203.0.113.1[6-9]:* || $seen == 203.0.113.2?:* || $seen == 203.0.113.3[01]:* ]] || fail "seen as $seen"
    [[ $(ctl show proxies --address "$SERVER" | jq -r '.proxies[0] | .proxy, .names[0]') == "$by"$'\n'"$FAR" ]] ||
        fail "$(ctl show proxies)"
    note "50 MB from $by; the server sees ${seen%:*}"
}

# Of the address that the name has. Exit code 3: it has none.
outbound_pointer() {
    local address name
    address=$(in_ns home dig +short +tries=2 +time=2 "$FAR" A | tail -n 1)
    name=$(in_ns home dig +short +tries=2 +time=2 -x "$address")
    printf '%s: %s\n' "$address" "$name"
    [[ $name == "$FAR." ]] || return 3
    note "$address is $FAR"
}

# A connection is refused at once, by name. Exit code 3: it is not.
outbound_nobody() {
    local status=0 begin=$SECONDS
    in_ns home curl -sS --connect-timeout 3 "http://$FAR_NOBODY/" -o /dev/null || status=$?
    ((status == 7 && SECONDS - begin < 2)) || return 3
    (($(ctl show counters | jq '.drops.proxy_unassigned.total // 0') > 0)) || fail "not under its name"
    note "host unreachable"
}
