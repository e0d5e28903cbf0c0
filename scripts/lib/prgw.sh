# shellcheck shell=bash disable=SC2034,SC2153  # names shared with bed.sh and scenarios/prgw.sh
# The bed of the scenario `prgw`: hosts that serve, with the same private address in two realms, and the Internet that asks for them.
#
#   home    10.0.0.2  a.ces.example ──┐                ┌── internet  203.0.113.254: clients, with a stub resolver that asks
#                                     ├── edge: cesd ──┘             203.0.113.53: BIND, which asks the edge, 203.0.113.1
#   office  10.0.0.2  b.ces.example ──┘
#
# The circular pool is five addresses. Nothing on either side knows of it. Inside, the edge is the hosts' resolver: it asks BIND for
# others' names, from `own`, the namespace of the edge's own, where it serves TCP too.

RESOLVER=203.0.113.53
PRGW_POOL=203.0.113.101-203.0.113.105 PRGW_FIRST=203.0.113.101
PRGW_HOSTS=(home:a.ces.example office:b.ces.example)
# Seconds for which a reservation waits.
PRGW_WAIT=2
# Somebody else's name, and who floods.
FOREIGN=www.foreign.example FOREIGN_ADDRESS=198.51.100.80 FLOODER=203.0.113.66

# Servers of both hosts, the resolver, and who asks it.
prgw_servers() {
    local host realm name
    ssh_keys
    for host in "${PRGW_HOSTS[@]}"; do
        realm=${host%%:*} name=${host#*:}
        prgw_web "$realm" "$name"
        in_ns "$realm" /usr/sbin/sshd -D -e -f /dev/null -h "$WORK/ssh/host" -o "AuthorizedKeysFile=$WORK/ssh/authorized" \
            -o StrictModes=no -o UsePAM=yes -o PidFile=none -o PermitRootLogin=prohibit-password >"$WORK/ssh/$realm.log" 2>&1 &
        in_ns "$realm" /usr/bin/python3 "$LIB/echo_server.py" "$ECHO_PORT" >"$WORK/echo-$realm.out" 2>&1 &
        wait_for 5 "$name serves" in_ns "$realm" sh -c \
            "for p in 22 80 443 $ECHO_PORT; do ss -Hltn \"sport = :\$p\" | grep -q . || exit 1; done"
    done
    at internet address add "$RESOLVER/32" dev lo
    at internet address add "$FLOODER/32" dev lo
    mkdir -p "/etc/netns/$BED-internet"
    printf 'nameserver %s\n' "$RESOLVER" >"/etc/netns/$BED-internet/resolv.conf"
    # shellcheck disable=SC2016  # a directive of the file
    printf '$TTL 60\n@ SOA ns. hostmaster. 1 60 60 60 60\n@ NS ns.foreign.example.\nns A %s\nwww A %s\n' \
        "$RESOLVER" "$FOREIGN_ADDRESS" >"$WORK/foreign.zone"
    # Of the root it knows nothing: names of these two zones alone can be asked.
    cat >"$WORK/named.conf" <<NAMED
options {
    directory "$WORK";
    pid-file none;
    session-keyfile none;
    listen-on { $RESOLVER; };
    listen-on-v6 { none; };
    query-source address $RESOLVER;
    allow-query { any; };
    allow-recursion { any; };
    dnssec-validation no;
    empty-zones-enable no;
};
controls { };
zone "ces.example" { type static-stub; server-addresses { 203.0.113.1; }; };
zone "foreign.example" { type primary; file "foreign.zone"; };
NAMED
    serve named named -g -4 -n 1 -c "$WORK/named.conf"
    wait_for 5 "named listens" in_ns internet sh -c "ss -Hlun 'sport = :53' | grep -q ."
}

# A web server in a realm, by HTTP and HTTPS, that says where it is and whom it sees.
prgw_web() {
    local place="$WORK/web-$1"
    mkdir -p "$place/www"
    head -c 5000000 /dev/urandom >"$place/www/5M"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$2" \
        -addext "subjectAltName=DNS:$2" -keyout "$place/key.pem" -out "$place/cert.pem" 2>/dev/null
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
    root $place/www;
    server {
        listen 80;
        listen 443 ssl;
        ssl_certificate $place/cert.pem;
        ssl_certificate_key $place/key.pem;
        location = /who { return 200 "$2 sees \$remote_addr\n"; }
    }
}
NGINX
    in_ns "$1" nginx -e "$place/nginx.log" -p "$place" -c "$place/nginx.conf" >"$place/out" 2>&1 &
}

# prgw_config [no-prgw] [no-resolver] : the laboratory's, whose hosts these are, with the zone and the pool, and with whom to ask for
# others' names. Without a namespace of its own the edge asks nobody, and answers by UDP alone.
prgw_config() {
    edge_config
    [[ " $* " == *" no-resolver "* ]] || cat <<TOML

[exception]
netns = "$BED-own"
interfaces = ["in", "out"]

[[dns.upstreams]]
address = "$RESOLVER"
TOML
    cat <<TOML

[[dns.zones]]
apex = "ces.example"
contact = "hostmaster.ces.example"
name_servers = [{ name = "ns1.ces.example", addresses = ["203.0.113.1"] }]
TOML
    [[ " $* " == *" no-prgw "* ]] || cat <<TOML

[prgw]
pool = ["$PRGW_POOL"]
timeout_ms = $((PRGW_WAIT * 1000))
TOML
}

# asking COMMAND… : as a client on the Internet, with the stub resolver that every host has.
asking() { in_ns internet "$@"; }
