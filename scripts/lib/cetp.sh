# shellcheck shell=bash disable=SC2034,SC2153  # names shared with bed.sh and scenarios/cetp.sh
# The bed of the scenario `cetp`: two edges, each before private realms of the same prefix, and a core network between them.
#
#   home    10.0.0.2  a.alpha.example ─┐                 core 203.0.113.0/24, 2001:db8:c::/64
#                                      ├─ edge: cesd ─ .1 ──── bridge ──── .2 ─ peer: cesd ── far  10.0.0.2 b.beta.example
#   near    10.0.0.2  c.alpha.example ─┘                         │                                     .3 s., .4 n., .5 w., .6 e.
#                                                            .53 BIND, which knows of both zones
#
# a.alpha.example has 10.0.0.12, too. Of e.beta.example the DNS says that it is behind an edge without an IP address, which is met over Ethernet.
#
# Hosts have their edge for their resolver and know of nothing else. Each edge asks BIND from a namespace of its own.

CETP_CORE=203.0.113 CETP_CORE6=2001:db8:c:: CETP_DNS=203.0.113.53
CETP_PORT=48001 CETP_ETHER_TYPE=0x88b5
CETP_PROXIES=172.16.64
# Of a.alpha.example, and of no host.
CETP_SECOND=10.0.0.12 CETP_NOBODYS=10.0.0.13

# Namespaces, links between them, keys, servers: all that both edges stand among.
cetp_bed() {
    local name
    for name in near peer far core asks-edge asks-peer; do bed_add "$name"; done
    # Its own: else it takes that of a port, and what is for the edge there ends here.
    at core link add bridge address 02:00:00:63:6f:72 type bridge
    at core link set bridge up
    at core address add "$CETP_CORE.254/24" dev bridge
    at core address add "$CETP_DNS/32" dev bridge
    at core address add "${CETP_CORE6}254/64" dev bridge nodad
    # It is a router, too, between edges whose routes say so: one that tells of each packet that is too long.
    in_ns core sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 \
        net.ipv6.icmp.ratelimit=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.bridge.send_redirects=0
    mkdir -p "$WORK/cetp"
    ssh_keys
    cetp_authority
    cetp_resolver
    for name in home:edge near:edge far:peer; do
        mkdir -p "/etc/netns/$BED-${name%:*}"
        printf 'nameserver %s\n' "$EDGE_INSIDE" >"/etc/netns/$BED-${name%:*}/resolv.conf"
    done
}

# An authority, and the certificates of both edges by it.
cetp_authority() {
    local place=$WORK/cetp edge name
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=demo authority" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$place/ca.key" -out "$place/ca.pem" 2>/dev/null
    for edge in edge:ces1.alpha.example peer:ces1.beta.example; do
        name=${edge#*:} edge=${edge%%:*}
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
            -keyout "$place/$edge.key" -out "$place/$edge.csr" 2>/dev/null
        openssl x509 -req -in "$place/$edge.csr" -CA "$place/ca.pem" -CAkey "$place/ca.key" -CAcreateserial -days 2 \
            -extfile <(printf 'subjectAltName=DNS:%s\nbasicConstraints=CA:FALSE\n' "$name") -out "$place/$edge.pem" 2>/dev/null
    done
}

cetp_resolver() {
    cat >"$WORK/cetp/named.conf" <<NAMED
options {
    directory "$WORK/cetp";
    pid-file none;
    session-keyfile none;
    listen-on { $CETP_DNS; };
    listen-on-v6 { none; };
    query-source address $CETP_DNS;
    allow-query { any; };
    allow-recursion { any; };
    dnssec-validation no;
    empty-zones-enable no;
    max-cache-ttl 1; // an edge that starts anew may be elsewhere
    max-ncache-ttl 1;
};
controls { };
zone "alpha.example" { type static-stub; server-addresses { $CETP_CORE.1; }; };
zone "beta.example" { type static-stub; server-addresses { $CETP_CORE.2; }; };
zone "e.beta.example" { type primary; file "$WORK/cetp/e.zone"; };
NAMED
    cat >"$WORK/cetp/e.zone" <<ZONE
\$TTL 1
@ SOA ns.core.example. operator.core.example. 1 1 1 1 1
@ NS ns.core.example.
@ NAPTR 10 6 "U" "CETP+cesid" "!^(.*)\$!cesid:1=ces1.beta.example?eth=$(cetp_mac 2)!" .
ZONE
    in_ns core named -g -4 -n 1 -c "$WORK/cetp/named.conf" >"$WORK/cetp/named.out" 2>&1 &
    wait_for 5 "the core's name server listens" in_ns core sh -c "ss -Hlun 'sport = :53' | grep -q ."
}

# The MAC address of an edge, by number, on the core.
cetp_mac() { printf '02:00:00:63:65:%02x' "$1"; }

# cetp_serve NAMESPACE : a web server, ssh, echo and iperf3 at all addresses of a namespace.
cetp_serve() {
    local place="$WORK/cetp/web-$1"
    mkdir -p "$place"
    cat >"$place/nginx.conf" <<NGINX
daemon off;
user root;
pid $place/nginx.pid;
worker_processes 1;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $place/body;
    proxy_temp_path $place/proxy;
    fastcgi_temp_path $place/fastcgi;
    uwsgi_temp_path $place/uwsgi;
    scgi_temp_path $place/scgi;
    root $WORK/www;
    sendfile on;
    server {
        listen 80;
        listen 8080;
        location = /who { return 200 "$1 sees \$remote_addr\n"; }
    }
}
NGINX
    in_ns "$1" nginx -e "$place/nginx.log" -p "$place" -c "$place/nginx.conf" >"$place/out" 2>&1 &
    in_ns "$1" /usr/sbin/sshd -D -e -f /dev/null -h "$WORK/ssh/host" -o "AuthorizedKeysFile=$WORK/ssh/authorized" \
        -o StrictModes=no -o UsePAM=yes -o PidFile=none -o PermitRootLogin=prohibit-password >"$place/sshd.log" 2>&1 &
    in_ns "$1" /usr/bin/python3 "$LIB/echo_server.py" "$ECHO_PORT" >"$place/echo.out" 2>&1 &
    in_ns "$1" iperf3 --server >"$place/iperf3.out" 2>&1 &
    wait_for 5 "$1 serves" in_ns "$1" sh -c \
        "for p in 22 80 5201 8080 $ECHO_PORT; do ss -Hltn \"sport = :\$p\" | grep -q . || exit 1; done"
}

# cetp_config EDGE [no-cetp] [no-identity] [v6] [ethernet] [routed] : the configuration of the edge `edge` or `peer`.
cetp_config() {
    local edge=$1 number zone realm realms taps=0 rloc with=" ${*:2} " host hosts name last port
    case $edge in
    edge) number=1 zone=alpha.example realms=(home near) hosts="home:a:2 near:c:2:80" ;;
    peer) number=2 zone=beta.example realms=(far) hosts="far:b:2:80 far:s:3 far:n:4 far:w:5 far:e:6" ;;
    esac
    rloc=$CETP_CORE.$number
    [[ $with != *" v6 "* ]] || rloc=$CETP_CORE6$number
    cat <<TOML
[instance]
name = "$(cetp_instance "$edge")"
[eal]
huge_pages = "none"
[workers]
cores = [$(worker_cores | paste -sd ,)]
distribute = "$DISTRIBUTE"
idle = "sleep"
[[port]]
name = "core"
mac = "$(cetp_mac "$number")"
device = "net_tap0,iface=core-$edge"
[[realm]]
name = "core"
side = "outside"
[[interface]]
port = "core"
realm = "core"
addresses = ["$CETP_CORE.$number/24", "$CETP_CORE6$number/64"]
[[route]]
realm = "core"
prefix = "0.0.0.0/0"
via = "$CETP_CORE.254"
$([[ $with != *" routed "* ]] || cetp_route_to $((3 - number)))
[exception]
netns = "$BED-asks-$edge"
interfaces = ["core"]
TOML
    for realm in "${realms[@]}"; do
        taps=$((taps + 1))
        cat <<TOML
[[port]]
name = "$realm"
device = "net_tap$taps,iface=$realm"
[[realm]]
name = "$realm"
side = "inside"
proxy_addresses = ["$CETP_PROXIES.0/24"]
[[interface]]
port = "$realm"
realm = "$realm"
addresses = ["$EDGE_INSIDE/24"]
TOML
    done
    cat <<TOML
[nat44]
inside = [$(printf '"%s",' "${realms[@]}")]
outside = "core"
pool = ["$CETP_CORE.$((number * 16))-$CETP_CORE.$((number * 16 + 7))"]
[hosts]
capacity = 100
TOML
    for host in $hosts; do
        IFS=: read -r realm name last port <<<"$host"
        printf '[[host]]\nname = "%s"\nrealm = "%s"\naddresses = ["10.0.0.%s"%s]\n' "$name.$zone" "$realm" "$last" \
            "$([[ $name != a ]] || printf ', "%s"' "$CETP_SECOND")"
        [[ -z $port ]] || printf 'services = [{ name = "site.%s", protocol = "tcp", port = %s }, { name = "wide.%s", protocol = "tcp", port = "any" }]\n' \
            "$zone" "$port" "$zone"
    done
    cat <<TOML
[dns]
upstreams = [{ address = "$CETP_DNS" }]
[dns.edge]
cesid = "ces1.$zone"
rlocs = ["$rloc"]
[[dns.zones]]
apex = "$zone"
name_servers = [{ name = "ns1.$zone", addresses = ["$CETP_CORE.$number"] }]
TOML
    # Hosts of the two realms hear of each other at all.
    for realm in "${realms[@]}"; do printf '[[dns.views]]\nrealm = "%s"\nother_realms = "reserve"\n' "$realm"; done
    printf '[policy]\ndefault = "anyone"\n'
    [[ $edge == edge ]] || cat <<TOML
[[policy.host]]
name = "strict"
hosts = ["s.$zone"]
required_as_ices = ["domain RR", "naming-check", "signature RR"]
[[policy.host]]
name = "closed"
hosts = ["n.$zone"]
refuse = true
[[policy.host]]
name = "web"
hosts = ["w.$zone"]
services = ["tcp/80"]
[[policy.host]]
name = "nothing-else"
hosts = ["w.$zone"]
refuse = true
TOML
    [[ $with == *" no-cetp "* ]] || printf '[cetp]\nsessions = 1000\n'
    [[ $with != *" ethernet "* ]] || printf 'ethernet = ["core"]\n'
    [[ $with == *" no-cetp "* || $with == *" no-identity "* ]] || cat <<TOML
[cetp.identity]
certificate = "$WORK/cetp/$edge.pem"
key = "$WORK/cetp/$edge.key"
[[cetp.identity.authorities]]
name = "demo"
certificates = "$WORK/cetp/ca.pem"
TOML
}

# Not across the bridge, but by the core's router.
cetp_route_to() {
    printf '[[route]]\nrealm = "core"\nprefix = "%s"\nvia = "%s"\n' \
        "$CETP_CORE.$1/32" "$CETP_CORE.254" "$CETP_CORE6$1/128" "${CETP_CORE6}254"
}

# cetp_narrow MTU : the core's router sends to edges over links of that MTU; and as it did.
cetp_narrow() {
    local number
    for number in 1 2; do
        at core route replace "$CETP_CORE.$number/32" dev bridge mtu lock "$1"
        at core -6 route replace "$CETP_CORE6$number/128" dev bridge mtu lock "$1"
    done
}

cetp_widen() {
    local number
    for number in 1 2; do
        at core route delete "$CETP_CORE.$number/32"
        at core -6 route delete "$CETP_CORE6$number/128"
    done
}

# The router says nothing to anybody any more; and speaks again.
cetp_mute() {
    in_ns core nft -f - <<'NFT'
table inet mute {
    chain output {
        type filter hook output priority 0
        icmp type destination-unreachable drop
        icmpv6 type packet-too-big drop
    }
}
NFT
}

cetp_unmute() { in_ns core nft delete table inet mute; }

cetp_instance() { if [[ $1 == edge ]]; then echo "$INSTANCE"; else echo "$INSTANCE-$1"; fi; }

# cetp_ctl EDGE ARGS… : the operator of that edge.
cetp_ctl() { "$CESCTL" --instance "$(cetp_instance "$1")" "${@:2}" --json; }

# cetp_up [FEATURES of cetp_config] : both edges, and their hosts at their taps.
cetp_up() {
    local edge
    for edge in edge peer; do
        cetp_config "$edge" "$@" >"$WORK/cetp/$edge.toml"
        cetp_start "$edge"
    done
    cetp_join edge home 10.0.0.2 "$CETP_SECOND" "$CETP_NOBODYS"
    cetp_join edge near 10.0.0.2
    cetp_join peer far 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6
    wait_for 10 "the edges reach the core" cetp_neighbours_answer
}

cetp_start() {
    rm -f "$WORK/cetp/$1.status"
    {
        nice -n -5 ip netns exec "$BED-$1" "$CESD" --config "$WORK/cetp/$1.toml" >>"$WORK/cetp/$1.log" 2>&1 &
        echo $! >"$WORK/cetp/$1.pid"
        local status=0
        wait $! || status=$?
        echo "$status" >"$WORK/cetp/$1.status"
    } 2>/dev/null &
    wait_for 15 "cesd ($1) is ready" cetp_ready_or_ended "$1"
    [[ ! -e $WORK/cetp/$1.status ]] || { tail -n 20 "$WORK/cetp/$1.log" >&2; return 1; }
    wait_for 5 "tap core-$1" at "$1" link show "core-$1"
    at "$1" link set "core-$1" netns "$BED-core"
    in_ns core sysctl -qw "net.ipv6.conf.core-$1.disable_ipv6=1"
    at core link set "core-$1" address "02:00:00:00:63:$(printf '%02x' "'$1")" txqueuelen 5000 master bridge
    at core link set "core-$1" up
}

cetp_ready_or_ended() { [[ -e $WORK/cetp/$1.status || $(cetp_ctl "$1" show status | jq -r .ready) == true ]]; }

# cetp_join EDGE REALM ADDRESS… : the hosts of a realm take their place at its tap.
cetp_join() {
    local address
    wait_for 5 "tap $2" at "$1" link show "$2"
    at "$1" link set "$2" netns "$BED-$2"
    tap_tune "$2"
    at "$2" link set "$2" up
    for address in "${@:3}"; do at "$2" address replace "$address/24" dev "$2"; done
    at "$2" route replace default via "$EDGE_INSIDE"
}

cetp_neighbours_answer() {
    local edge
    for edge in edge peer; do
        cetp_ctl "$edge" show neighbors | jq -e 'all(.[]; (.gateway | not) or .mac != null)' || return 1
    done
    in_ns core ping -q -c 1 -W 1 "$CETP_CORE.1" && in_ns core ping -q -c 1 -W 1 "$CETP_CORE.2"
}

cetp_down() {
    local edge
    for edge in edge peer; do
        [[ -e $WORK/cetp/$edge.pid ]] || continue
        kill -TERM "$(<"$WORK/cetp/$edge.pid")" 2>/dev/null || true
        wait_for 3 "cesd ($edge) ends by itself" test -e "$WORK/cetp/$edge.status" 2>/dev/null ||
            kill -KILL "$(<"$WORK/cetp/$edge.pid")" 2>/dev/null || true
        wait_for 3 "cesd ($edge) is gone" test -e "$WORK/cetp/$edge.status"
        rm -f "$WORK/cetp/$edge.pid"
    done
}

# cetp_dropped EDGE REASON : packets that the workers of an edge have dropped for it.
cetp_dropped() { cetp_ctl "$1" show counters | jq ".drops.$2.total // 0"; }

# What crosses the core from now on, into $WORK/cetp/core.pcap.
cetp_capture_begin() {
    # Not by a function: what is ended later is tcpdump, and no shell before it.
    ip netns exec "$BED-core" tcpdump -Z root -i bridge -n -s 96 -w "$WORK/cetp/core.pcap" --immediate-mode >"$WORK/cetp/tcpdump.out" 2>&1 &
    CETP_CAPTURE=$!
    wait_for 5 "the capture begins" grep -q "listening on" "$WORK/cetp/tcpdump.out"
}

cetp_capture_end() {
    kill -TERM "$CETP_CAPTURE"
    wait "$CETP_CAPTURE" 2>/dev/null || true
}
