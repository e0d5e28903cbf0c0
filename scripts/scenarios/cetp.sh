# shellcheck shell=bash disable=SC2034,SC2153  # names shared with lib/cetp.sh
# Two edges, and hosts of the same private addresses behind both: each reaches the other by its name, as far as the policies of both
# allow, by a tunnel between the edges. The bed is in lib/cetp.sh.
#
# A function runs in the bed and fails by its exit code; its control runs the very same function where it must fail.

CETP_FAR=b.beta.example CETP_STRICT=s.beta.example CETP_CLOSED=n.beta.example CETP_WEB=w.beta.example
CETP_NEAR=c.alpha.example CETP_BY_ETHERNET=e.beta.example
CETP_SITE=site.beta.example CETP_NEAR_SITE=site.alpha.example CETP_WIDE=wide.beta.example # services of $CETP_FAR and $CETP_NEAR

scenario_cetp() {
    if [[ $DEVICE != tap ]]; then
        skip "cetp" "its edges stand on taps"
        return
    fi
    cetp_bed
    cetp_up
    cetp_serve far
    cetp_serve near
    heading "cetp: two edges, a private prefix behind both, hosts by name"
    cetp_capture_begin
    step "a far host's name is a proxy address" cetp_name "$CETP_FAR"
    step "200 MB by name" cetp_fetch "$CETP_FAR" 200M
    step "ssh to a far host" cetp_ssh
    step "ping a far host" ping_all 20 home "$CETP_FAR"
    step "UDP echo of a far host" cetp_udp
    step "iperf3, both ways" cetp_iperf
    cetp_capture_end
    step "the core sees CETP and DNS alone" cetp_capture_is_clean
    step "who must sign signs, and is believed" cetp_fetch "$CETP_STRICT" who
    step "a policy that refuses is no name" cetp_refused "$CETP_CLOSED"
    step "a service not negotiated is dropped" cetp_service
    step "the name of a service opens that alone" cetp_service "$CETP_SITE"
    step "and that of a host behind the same edge" cetp_service "$CETP_NEAR_SITE"
    step "a host by a second address of its own" cetp_from "$CETP_SECOND" "$CETP_FAR"
    step "a host behind the same edge" cetp_fetch "$CETP_NEAR" 50M
    step "a host behind the same edge by a second address" cetp_from "$CETP_SECOND" "$CETP_NEAR"
    control "the core sees CETP and DNS alone" 4 cetp_capture_is_not_clean
    control "a policy that refuses is no name" 3 cetp_refused "$CETP_FAR"
    control "a service not negotiated is dropped" 3 cetp_service "$CETP_FAR"
    control "the name of a service opens that alone" 3 cetp_service "$CETP_WIDE"
    control "and that of a host behind the same edge" 3 cetp_service "$CETP_NEAR"
    control "a host by a second address of its own" "7 28" cetp_from "$CETP_NOBODYS" "$CETP_FAR"
    control "a host behind the same edge by a second address" "7 28" cetp_from "$CETP_NOBODYS" "$CETP_NEAR"
    cetp_down

    heading "cetp: the edges show no certificate, and a link between them takes less than their own"
    cetp_up no-identity routed
    control "who must sign signs, and is believed" 6 cetp_fetch "$CETP_STRICT" who
    cetp_narrow_core ""
    cetp_down

    heading "cetp: the edges meet over IPv6, and a link between them takes less than their own"
    cetp_up v6 routed
    step "200 MB by name, over IPv6" cetp_fetch "$CETP_FAR" 200M
    cetp_narrow_core " over IPv6"
    cetp_down

    heading "cetp: the edges meet over Ethernet"
    cetp_up ethernet
    cetp_capture_begin
    step "50 MB by name, over Ethernet" cetp_fetch "$CETP_BY_ETHERNET" 50M
    step "ping a far host, over Ethernet" ping_all 20 home "$CETP_BY_ETHERNET"
    cetp_capture_end
    step "the core sees CETP's frames alone" cetp_capture_is_clean "ether proto $CETP_ETHER_TYPE"
    control "the core sees CETP's frames alone" 4 cetp_capture_is_not_clean "ether proto $CETP_ETHER_TYPE"
    cetp_down

    heading "cetp: the same cesd without CETP"
    cetp_up no-cetp
    control "a far host's name is a proxy address" 3 cetp_name "$CETP_FAR"
    control "200 MB by name" 6 cetp_fetch "$CETP_FAR" 200M
    control "200 MB by name, over IPv6" 6 cetp_fetch "$CETP_FAR" 200M
    control "50 MB by name, over Ethernet" 6 cetp_fetch "$CETP_BY_ETHERNET" 50M
    control "ping a far host, over Ethernet" "1 2" ping_all 20 home "$CETP_BY_ETHERNET"
    control "ssh to a far host" 255 cetp_ssh
    control "ping a far host" "1 2" ping_all 20 home "$CETP_FAR"
    control "UDP echo of a far host" 3 cetp_udp
    control "iperf3, both ways" 4 cetp_iperf
    control "a host behind the same edge" "6 7" cetp_fetch "$CETP_NEAR" 50M
    cetp_down
}

# cetp_narrow_core HOW : where the core's router says nothing, long packets are lost; where it does, the edges act on it.
cetp_narrow_core() {
    cetp_narrow 1300
    cetp_mute
    control "5 MB through a narrow core$1" 28 cetp_fetch_narrow
    cetp_unmute
    step "5 MB through a narrow core$1" cetp_fetch_narrow
    cetp_widen
}

# The answer is a proxy address of the realm, for a short while. Exit code 3: there is none.
cetp_name() {
    local answer
    answer=$(in_ns home dig +noall +answer +tries=1 +time=3 "$1" A)
    printf '%s\n' "$answer"
    [[ $(awk '$4 == "A" { print $5 }' <<<"$answer") == "$CETP_PROXIES".* ]] || return 3
    note "$(awk '$4 == "A" { print $5 ", TTL " $2; exit }' <<<"$answer")"
}

# cetp_fetch NAME FILE : over HTTP, and it is what it should be.
cetp_fetch() {
    fetch home -o "$WORK/fetched" "http://$1/$2"
    if [[ $2 == who ]]; then
        grep -q " sees $CETP_PROXIES\\." "$WORK/fetched" || fail "$(<"$WORK/fetched")"
        note "$(<"$WORK/fetched")"
    else
        [[ $(sha256sum <"$WORK/fetched") == $(sha256sum <"$WORK/www/$2") ]] || fail "the checksum is another one"
        note "$2, the checksum is right"
    fi
}

# The far edge, whose packets are the long ones, has heard of it.
cetp_fetch_narrow() {
    in_ns home curl -sS --fail --connect-timeout 2 --max-time 4 --range 0-4999999 -o "$WORK/fetched" "http://$CETP_FAR/50M"
    cmp "$WORK/fetched" <(head -c 5000000 "$WORK/www/50M") || fail "not what was sent"
    cetp_ctl peer show cetp >"$WORK/cetp/shown.json"
    jq -e '(.counters | any(.name == "path-mtu-lowered" and .count > 0)) and (.ways | any(.mtu == 1300 and .most == 1500))' \
        "$WORK/cetp/shown.json"
    note "$(jq -r '.ways[] | select(.mtu == 1300) | "to \(.rloc) \(.mtu) of \(.most) bytes, for \(.restored_in_ms / 1000 | floor) s"' "$WORK/cetp/shown.json")"
}

cetp_ssh() {
    local said
    # shellcheck disable=SC2016  # expanded over there
    said=$(in_ns home ssh -F none -i "$WORK/ssh/user" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o ConnectTimeout=5 -o BatchMode=yes "root@$CETP_FAR" 'echo "$SSH_CONNECTION"; ip netns identify')
    [[ $said == "$CETP_PROXIES."*" 10.0.0.2 22"$'\n'"$BED-far" ]] || fail "$said"
    note "${said%%$'\n'*}"
}

cetp_udp() {
    in_ns home /usr/bin/python3 "$LIB/by_name.py" udp "$CETP_FAR" "$ECHO_PORT" | tee "$WORK/cetp/udp"
    note "$(<"$WORK/cetp/udp")"
}

cetp_iperf() {
    local direction rates=
    for direction in "" --reverse; do
        # shellcheck disable=SC2086  # none, or one
        iperf --client "$CETP_FAR" --time 2 $direction
        rates+=" $(jq -r '.end.sum_received.bits_per_second / 1e6 | floor' "$WORK/iperf.json")"
    done
    note "Mbit/s:$rates"
}

# cetp_strangers CETP : what is in the capture beside that, DNS and what a link needs (ARP, neighbour and listener discovery).
cetp_strangers() {
    in_ns core tcpdump -Z root -r "$WORK/cetp/core.pcap" -n \
        "not $1 and not port 53 and not arp and not (icmp6 and ip6[40] >= 130 and ip6[40] <= 143) and not (ip6 and ip6[6] == 0)" 2>/dev/null
}

# cetp_capture_is_clean [CETP] : by what its packets are known.
cetp_capture_is_clean() {
    local all strangers cetp=${1:-udp port $CETP_PORT}
    strangers=$(cetp_strangers "$cetp")
    [[ -z $strangers ]] || { head -n 5 <<<"$strangers"; return 4; }
    all=$(in_ns core tcpdump -Z root -r "$WORK/cetp/core.pcap" -n "$cetp" 2>/dev/null | grep -c .)
    ((all > 10000)) || fail "only $all packets of CETP"
    note "$all packets of CETP"
}

# cetp_capture_is_not_clean [CETP] : the same look at a capture in which there is one packet that is neither.
cetp_capture_is_not_clean() {
    cetp_capture_begin
    in_ns core ping -q -c 1 -W 1 "$CETP_CORE.1"
    cetp_capture_end
    cetp_capture_is_clean "$@"
}

# The DNS says that there is no such name, and the operator sees why. Exit code 3: there is one.
cetp_refused() {
    local answer
    answer=$(in_ns home dig +tries=1 +time=3 "$1" A)
    [[ $answer == *"status: NXDOMAIN"* ]] || return 3
    cetp_ctl peer show cetp >"$WORK/cetp/shown.json"
    jq -e --arg host "$1" '.refusals | any(.host == $host and .rule == "host closed")' "$WORK/cetp/shown.json"
    note "$(jq -r '.refusals[-1] | "\(.reason), by the rule \(.rule)"' "$WORK/cetp/shown.json")"
}

# cetp_from ADDRESS NAME : the answer to what is sent from that address of the asker's.
cetp_from() {
    in_ns home curl -sS --fail --interface "$1" --connect-timeout 2 --max-time 5 -o "$WORK/fetched" "http://$2/who"
    grep -q " sees $CETP_PROXIES\\." "$WORK/fetched" || fail "$(<"$WORK/fetched")"
    note "from $1: $(<"$WORK/fetched")"
}

# cetp_service [NAME] : port 80 is what was agreed on, port 8080 is not. Exit code 3: it is reached.
cetp_service() {
    local name=${1:-$CETP_WEB} status=0 before
    before=$(($(cetp_dropped edge cetp_not_negotiated) + $(cetp_dropped peer cetp_not_negotiated)))
    fetch home -o "$WORK/fetched" "http://$name/who"
    in_ns home curl -sS --connect-timeout 2 "http://$name:8080/who" -o /dev/null || status=$?
    ((status != 0)) || return 3
    before=$(($(cetp_dropped edge cetp_not_negotiated) + $(cetp_dropped peer cetp_not_negotiated) - before))
    ((before > 0)) || fail "no packet was dropped for it"
    note "port 80 answers; $before packets to 8080 dropped"
}
