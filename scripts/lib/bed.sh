# shellcheck shell=bash
# The test bed: network namespaces with a `cesd` between them.
#
#   home      10.0.0.2, .3 /24 ──┐
#                                ├── edge: cesd ── internet  203.0.113.254/24 (servers)
#   office    10.0.0.2 /24 ──────┘
#
# Both private realms have the same prefix, and the edge is 10.0.0.1 in each. Beside it stands the oracle: the same home
# and internet hosts joined by a second path, over veth, through the kernel's own NAT in the namespace `router`.
#
# Every namespace has this run's own prefix; no interface is ever made in the root namespace; every process that is
# ended here runs in one of those namespaces.

# shellcheck source=scripts/lib/precedence.sh
. "$LIB/precedence.sh"

SERVER=203.0.113.254 EDGE_INSIDE=10.0.0.1 HOST=10.0.0.2 OTHER_HOST=10.0.0.3
ORACLE_SERVER=198.51.100.254 ORACLE_HOST=10.0.1.2
ECHO_PORT=7
REALMS=(home office internet)
NAMESPACES=()

bed_init() {
    BED="ces-demo-$$"
    WORK=$(mktemp -d "/tmp/$BED.XXXXXX")
    INSTANCE=$BED
    DEVICE=$1 WORKERS=$2 DISTRIBUTE=$3
    take_precedence
}

in_ns() { ip netns exec "$BED-$1" "${@:2}"; }
at() { ip -n "$BED-$1" "${@:2}"; }

# wait_for SECONDS WHAT COMMAND… : until COMMAND succeeds.
wait_for() {
    local deadline=$((SECONDS + $1 + 1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { printf 'timed out: %s\n' "$what" >&2; return 1; }
        sleep 0.05
    done
}

# ---- namespaces, hosts and servers ----

bed_up() {
    local name
    for name in edge "${REALMS[@]}" router; do bed_add "$name"; done
    oracle_up
    servers_up
}

# One more namespace, gone with the bed.
bed_add() {
    NAMESPACES+=("$1")
    ip netns add "$BED-$1"
    at "$1" link set lo up
}

# The kernel's NAT between the same two hosts. Offloads are off, so that it too forwards one frame at a time.
oracle_up() {
    at router link add inside type veth peer name oracle netns "$BED-home"
    at router link add outside type veth peer name oracle netns "$BED-internet"
    local end
    for end in router:inside router:outside home:oracle internet:oracle; do
        in_ns "${end%:*}" ethtool -K "${end#*:}" tx off >/dev/null
        at "${end%:*}" link set "${end#*:}" up
    done
    [[ $DEVICE != tap ]] || for end in home internet; do hosts_receive_elsewhere "$end" oracle; done
    at router address add 10.0.1.1/24 dev inside
    at router address add 198.51.100.1/24 dev outside
    at home address add "$ORACLE_HOST/24" dev oracle
    at home route add 198.51.100.0/24 via 10.0.1.1
    at internet address add "$ORACLE_SERVER/24" dev oracle
    in_ns router sysctl -qw net.ipv4.ip_forward=1
    in_ns router nft -f - <<'NFT'
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat
        oifname "outside" masquerade
    }
}
NFT
}

servers_up() {
    mkdir -p "$WORK/www"
    head -c 200000000 /dev/urandom >"$WORK/www/200M"
    head -c 50000000 "$WORK/www/200M" >"$WORK/www/50M"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=server.example \
        -addext subjectAltName=DNS:server.example -keyout "$WORK/key.pem" -out "$WORK/cert.pem" 2>/dev/null
    cat >"$WORK/nginx.conf" <<NGINX
daemon off;
user root;
pid $WORK/nginx.pid;
worker_processes 1;
events { worker_connections 4096; }
http {
    log_format mapping '\$remote_addr:\$remote_port \$request_uri';
    access_log $WORK/access.log mapping;
    client_body_temp_path $WORK/nginx-body;
    proxy_temp_path $WORK/nginx-proxy;
    fastcgi_temp_path $WORK/nginx-fastcgi;
    uwsgi_temp_path $WORK/nginx-uwsgi;
    scgi_temp_path $WORK/nginx-scgi;
    root $WORK/www;
    sendfile on;
    server { listen 80 backlog=1024; listen [::]:80; }
    server { listen 443 ssl; ssl_certificate $WORK/cert.pem; ssl_certificate_key $WORK/key.pem; }
}
NGINX
    serve nginx nginx -e "$WORK/nginx.log" -p "$WORK" -c "$WORK/nginx.conf"
    serve iperf3 iperf3 --server
    serve echo /usr/bin/python3 "$LIB/echo_server.py" "$ECHO_PORT"
    wait_for 5 "the servers listen" servers_listen
}

serve() { in_ns internet "${@:2}" >"$WORK/$1.out" 2>&1 & }

servers_listen() {
    local port
    for port in 80 443 5201 "$ECHO_PORT"; do
        in_ns internet ss -Hltn "sport = :$port" | grep -q . || return 1
    done
}

# fetch NAMESPACE ARGS… : curl, as a host there.
fetch() { in_ns "$1" curl -sS --fail --connect-timeout 2 --max-time 60 "${@:2}"; }

# With --json iperf3 exits 0 even when it fails. Exit code 4: the server was not reached at all.
iperf() {
    in_ns home iperf3 --json --connect-timeout 2000 "$@" >"$WORK/iperf.json"
    local error
    error=$(jq -r '.error // empty' "$WORK/iperf.json")
    [[ -n $error ]] || return 0
    echo "iperf3: $error" >&2
    [[ $error != "unable to connect"* ]] || exit 4
    exit 1
}

# Ends what runs in our namespaces, by id, and removes them.
bed_down() {
    local name pids
    give_precedence_back
    for name in "${NAMESPACES[@]}"; do
        pids=$(ip netns pids "$BED-$name" 2>/dev/null) || continue
        # shellcheck disable=SC2086  # one argument a process
        [[ -z $pids ]] || kill -KILL $pids 2>/dev/null || true
    done
    for name in "${NAMESPACES[@]}"; do
        ip netns delete "$BED-$name" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    # cesd clears up after itself; a killed one could not.
    rm -rf "/etc/netns/$BED"-* "$WORK" "/run/ces/$INSTANCE."* "/run/dpdk/ces-$INSTANCE"
}

# ---- the edge ----

# The cores of the workers, from the second one on.
worker_cores() {
    local worker
    for ((worker = 0; worker < WORKERS; worker++)); do echo $(((worker + 1) % $(nproc))); done
}

# configs/lab.toml with this bed's instance, workers and devices, and without the features named: no-nat44, no-hairpin, no-sleep.
edge_config() {
    awk -v instance="$INSTANCE" -v cores="$(worker_cores | paste -sd ,)" -v distribute="$DISTRIBUTE" \
        -v device="$DEVICE" -v without=" $* " '
        BEGIN { ports = 0; realm["ces-in"] = "home"; realm["ces-in2"] = "office"; realm["ces-out"] = "internet" }
        /^\[/ { section = $1 }
        section ~ /^\[nat44/ && without ~ / no-nat44 / { next }
        section == "[nat44]" && /^hairpin/ { next }
        section == "[instance]" && /^name/ { $0 = "name = \"" instance "\"" }
        section == "[workers]" && /^cores/ { $0 = "cores = [" cores "]\ndistribute = \"" distribute "\"" }
        section == "[workers]" && /^idle/ && without ~ / no-sleep / { $0 = "idle = \"poll\"" }
        section == "[[port]]" && /^device/ {
            match($0, /iface=[a-z0-9-]+/)
            end = realm[substr($0, RSTART + 6, RLENGTH - 6)]
            if (device == "tap") $0 = "net_tap" ports ",iface=" end
            if (device == "af_xdp") $0 = "net_af_xdp" ports ",iface=port-" end
            if (device == "af_packet") $0 = "net_af_packet" ports ",iface=port-" end ",framecnt=4096,qdisc_bypass=1"
            $0 = "device = \"" $0 "\""
            # On veth what does not fit into the ring is lost: enough for what comes while the worker is not run.
            if (device != "tap") $0 = $0 "\nrx_descriptors = 4096\ntx_descriptors = 4096"
            ports++
        }
        { print }
        section == "[nat44]" && /^\[/ { print "hairpin = " (without ~ / no-hairpin / ? "false" : "true") }
    ' configs/lab.toml
}

# Starts cesd on devices of the bed's kind, without the features named (see edge_config), and joins the hosts to it.
# A scenario with a configuration of its own names its function in EDGE_CONFIG.
edge_up() {
    edge_down
    [[ $DEVICE == tap ]] || veths_up
    "${EDGE_CONFIG:-edge_config}" "$@" >"$WORK/edge.toml"
    edge_start
    [[ $DEVICE != tap ]] || taps_move
    local realm
    for realm in "${REALMS[@]}"; do
        [[ $DEVICE != tap ]] || tap_tune "$realm"
        at "$realm" link set "$realm" up
        case $realm in
        internet) at internet address replace "$SERVER/24" dev internet ;;
        *)
            at "$realm" address replace "$HOST/24" dev "$realm"
            at "$realm" route replace default via "$EDGE_INSIDE"
            ;;
        esac
    done
    at home address replace "$OTHER_HOST/24" dev home
    # What was asked of the link before the host stood on it is asked again a second later.
    wait_for 10 "the gateways answer" gateways_answer
}

gateways_answer() { ctl show neighbors | jq -e 'all(.[]; (.gateway | not) or .mac != null)'; }

# The kernel forwards in soft interrupts, ahead of every process: cesd goes ahead of the hosts too.
edge_start() {
    rm -f "$WORK/edge.status"
    {
        nice -n -5 ip netns exec "$BED-edge" "$CESD" --config "$WORK/edge.toml" >>"$WORK/cesd.log" 2>&1 &
        echo $! >"$WORK/edge.pid"
        local status=0
        wait $! || status=$?
        echo "$status" >"$WORK/edge.status"
    } 2>/dev/null &
    wait_for 15 "cesd is ready" edge_ready_or_ended
    edge_ready || { tail -n 20 "$WORK/cesd.log" >&2; return 1; }
}

edge_ready_or_ended() { edge_ended || edge_ready; }

edge_ready() { [[ $(ctl show status | jq -r .ready) == true ]]; }
edge_pid() { cat "$WORK/edge.pid"; }
edge_ended() { [[ -e $WORK/edge.status ]]; }

edge_signal() { kill "-$1" "$(edge_pid)" 2>/dev/null || true; }

edge_down() {
    [[ -e $WORK/edge.pid ]] || return 0
    edge_signal CONT
    edge_signal TERM
    wait_for 3 "cesd ends by itself" edge_ended 2>/dev/null || edge_signal KILL
    wait_for 3 "cesd is gone" edge_ended
    rm -f "$WORK/edge.pid"
}

ctl() { "$CESCTL" --instance "$INSTANCE" "$@" --json; }

# A tap appears where cesd runs and lives as long as cesd does; its host's namespace is where it belongs.
taps_move() {
    local realm
    for realm in "${REALMS[@]}"; do
        wait_for 5 "tap $realm" at edge link show "$realm"
        at edge link set "$realm" netns "$BED-$realm"
    done
}

# A tap is to behave as a wire with a host at its end. A packet that cesd writes is received by the host right there, in the
# worker's time, unless the host receives on cores of its own; the kernel's NAT has the same of its hosts. And what the host
# sends waits in the tap while the worker's core runs something else: 1000 packets are 4 ms. And both ends of a wire have a MAC
# address each: net_tap gives the kernel's end its own; the host's is made of its name here.
tap_tune() {
    local mac
    mac=$(printf '%-5.5s' "$1" | od -An -tx1 | tr -d '\n' | tr ' ' ':')
    at "$1" link set "$1" address "02$mac"
    hosts_receive_elsewhere "$1" "$1"
    at "$1" link set "$1" txqueuelen 5000
}

# hosts_receive_elsewhere NAMESPACE DEVICE : on the cores that have no worker, or on all where each has one.
hosts_receive_elsewhere() {
    local core all=$(((1 << $(nproc)) - 1)) mask
    mask=$all
    for core in $(worker_cores); do mask=$((mask & ~(1 << core))); done
    # shellcheck disable=SC2016  # expanded where the device is
    in_ns "$1" sh -c 'for queue in /sys/class/net/"$0"/queues/rx-*; do echo "$1" >"$queue/rps_cpus"; done' \
        "$2" "$(printf '%x' $((mask > 0 ? mask : all)))"
}

# The host's end is called after its realm, as a tap is; the edge's end is `port-REALM`.
veths_up() {
    local realm
    for realm in "${REALMS[@]}"; do
        at edge link show "port-$realm" >/dev/null 2>&1 && continue
        at edge link add "port-$realm" type veth peer name "$realm" netns "$BED-$realm"
        in_ns "$realm" ethtool -K "$realm" tx off >/dev/null
        at edge link set "port-$realm" up
    done
}

veths_down() {
    local realm
    for realm in "${REALMS[@]}"; do
        at edge link delete "port-$realm"
    done
}

# ---- what crossed the edge ----

# The keys of who logs in and of who is logged in to, the same for all scenarios of a run.
ssh_keys() {
    local key
    mkdir -p "$WORK/ssh" /run/sshd
    for key in user host; do
        [[ -e $WORK/ssh/$key ]] || ssh-keygen -q -t ed25519 -N '' -f "$WORK/ssh/$key"
    done
    cp "$WORK/ssh/user.pub" "$WORK/ssh/authorized"
}

forwarded_bytes() { ctl show counters | jq '[.workers[].forwarded_bytes] | add'; }

# through_edge CLIENT… : runs a client that sets MOVED, the bytes it moved; the workers must have forwarded as many.
through_edge() {
    local before after
    before=$(forwarded_bytes)
    "$@"
    after=$(forwarded_bytes)
    ((after - before >= MOVED)) ||
        fail "the client moved $MOVED bytes, but the workers forwarded only $((after - before))"
}

# ping_all COUNT REALM PING-ARGUMENT… : every one of COUNT echo requests is answered. Exit code 1: none is.
ping_all() {
    local answered
    in_ns "$2" ping -q -c "$1" -i 0.05 -W 1 "${@:3}" | tee "$WORK/ping" || return 1
    answered=$(awk '/ packets transmitted, / { print $4 }' "$WORK/ping")
    ((answered == $1)) || { printf '%s of %s answered\n' "$answered" "$1" >&2; return 2; }
    note "$answered of $1 answered"
}

# As through_edge, and every worker had a part in it. The sessions of one host have one home: with `distribute = "software"`
# the worker that receives from that host or the one that receives from the server hands packets over.
through_every_worker() {
    local before after idle handed
    before=$(ctl show counters)
    through_edge "$@"
    after=$(ctl show counters)
    idle=$(jq -n --argjson a "$before" --argjson b "$after" \
        '[$a.workers, $b.workers] | transpose | map(select(.[0].rx_packets == .[1].rx_packets)) | length')
    ((idle == 0)) || fail "$idle of $WORKERS workers received nothing"
    handed=$(jq -n --argjson a "$before" --argjson b "$after" '[$b, $a] | map([.workers[].handed_off] | add) | .[0] - .[1]')
    [[ $WORKERS == 1 || $DISTRIBUTE == rss ]] || ((handed >= 200)) || fail "only $handed packets were handed over"
}
