//! Wrong configurations, as an operator writes them: each gives exactly one refusal, at the right line and key, that
//! says what is wrong and what to write instead.

use ces::config::{self, Refusal};

/// A right configuration. A case replaces one piece of it.
const GOOD: &str = r#"[instance]
name = "test"
[eal]
memory_mb = 512
[workers]
cores = [1, 2]
[[port]]
name = "in"
device = "net_tap0,iface=a"
[[port]]
name = "out"
device = "net_tap1,iface=b"
[[port]]
name = "spare"
device = "net_tap2,iface=c"
[[realm]]
name = "home"
side = "inside"
[[realm]]
name = "internet"
side = "outside"
[[interface]]
port = "in"
realm = "home"
addresses = ["10.0.0.1/24"]
[[interface]]
port = "out"
realm = "internet"
addresses = ["203.0.113.1/24", "2001:db8::1/64"]
[[route]]
realm = "internet"
prefix = "0.0.0.0/0"
via = "203.0.113.254"
[[neighbor]]
interface = "out"
address = "203.0.113.254"
mac = "02:00:00:00:00:01"
[flow]
sessions = 65536
[limits]
arp_per_second = 100
[nat44]
inside = ["home"]
outside = "internet"
pool = ["198.51.100.0/28"]
[manage]
log = "info"
"#;

struct Case {
    name: &'static str,
    /// The piece of `GOOD` that is replaced, its first occurrence.
    replace: &'static str,
    /// What stands there instead. The refusal is expected on the line that ends with `#!`, or else on line 1.
    with: &'static str,
    key: &'static str,
    message: &'static str,
    hint: &'static str,
}

const fn case(
    name: &'static str,
    replace: &'static str,
    with: &'static str,
    key: &'static str,
    message: &'static str,
    hint: &'static str,
) -> Case {
    Case { name, replace, with, key, message, hint }
}

const NAME: &str = r#"name = "test""#;
const MEMORY: &str = "memory_mb = 512";
const CORES: &str = "cores = [1, 2]";
const DEVICE: &str = r#"device = "net_tap0,iface=a""#;
const IN_ADDRESSES: &str = r#"addresses = ["10.0.0.1/24"]"#;
const PREFIX: &str = r#"prefix = "0.0.0.0/0""#;
const VIA: &str = r#"via = "203.0.113.254""#;
const NEIGHBOR: &str = r#"address = "203.0.113.254""#;
const SESSIONS: &str = "sessions = 65536";
const POOL: &str = r#"pool = ["198.51.100.0/28"]"#;
const NEIGHBOR_WHOLE: &str =
    "[[neighbor]]\ninterface = \"out\"\naddress = \"203.0.113.254\"\nmac = \"02:00:00:00:00:01\"";
const NAT_WHOLE: &str = "[nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"198.51.100.0/28\"]";
const FLOW_TO_NAT: &str = "sessions = 65536\n[limits]\narp_per_second = 100\n[nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"198.51.100.0/28\"]";
const LOG: &str = r#"log = "info""#;
const INSTANCE: &str = "[instance]";
const SIDE: &str = r#"side = "inside""#;
const ARP: &str = "arp_per_second = 100";
const MANAGE: &str = "[manage]";
const OUT_ADDRESSES: &str = r#"addresses = ["203.0.113.1/24", "2001:db8::1/64"]"#;

#[rustfmt::skip]
const CASES: &[Case] = &[
    // The text.
    case("no equals sign", NAME, "name #!", "", "", "TOML"),
    case("open string", LOG, r#"log = "info #!"#, "", "", "TOML"),
    case("duplicate key", NAME, "name = \"a\"\nname = \"b\" #!", "", "duplicate", "TOML"),
    case("duplicate section", "[manage]", "[flow] #!", "", "duplicate", "TOML"),
    case("unknown section", "[manage]", "[managed] #!", "managed", "no section", "did you mean `manage`?"),
    case("unknown section like none", "[manage]\nlog = \"info\"", "[xyzzy] #!", "xyzzy", "no section", "the sections are instance, eal"),
    case("key outside of a section", "[instance]", "mtu = 9000 #!\n[instance]", "mtu", "no section", "the sections are"),

    // [hosts] and [[host]]
    case("capacity of the register", MANAGE, "[hosts]\ncapacity = 0 #!\n[manage]", "hosts.capacity", "out of range", "16777216"),
    case("store that is relative", MANAGE, "[hosts]\nstore = \"hosts\" #!\n[manage]", "hosts.store", "not an absolute path", "begin it with /"),
    case("misspelt key of the register", MANAGE, "[hosts]\nstor = \"/h\" #!\n[manage]", "hosts.stor", "no key has this name", "did you mean `store`?"),
    case("host without a name", MANAGE, "[[host]] #!\nrealm = \"home\"\n[manage]", "host.name", "is missing", "host.ces.example"),
    case("host without a realm", MANAGE, "[[host]] #!\nname = \"a.ces.example\"\n[manage]", "host.realm", "is missing", "[[realm]]"),
    case("host of no realm", MANAGE, "[[host]]\nname = \"a.ces.example\"\nrealm = \"hoem\" #!\n[manage]", "host.realm", "no realm is named", "did you mean \"home\"?"),
    case("host outside", MANAGE, "[[host]]\nname = \"a.ces.example\"\nrealm = \"internet\" #!\n[manage]", "host.realm", "is outside", "\"home\""),
    case("host of one label", MANAGE, "[[host]]\nname = \"a\" #!\nrealm = \"home\"\n[manage]", "host.name", "only one label", "full name"),
    case("host with the edge's address", MANAGE, "[[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\naddresses = [\"10.0.0.1\"] #!\n[manage]", "host.addresses", "edge's own", "host's address"),
    case("host with an address of a link", MANAGE, "[[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\naddresses = [\"fe80::1\"] #!\n[manage]", "host.addresses", "one link only", "unique local"),
    case("address of a host twice", MANAGE, "[[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\naddresses = [\"10.0.0.2\", \"10.0.0.2\"] #!\n[manage]", "host.addresses", "listed twice", "one of the two"),
    case("address of two hosts", MANAGE, "[[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\naddresses = [\"10.0.0.2\"]\n[[host]]\nname = \"b.ces.example\"\nrealm = \"home\"\naddresses = [\"10.0.0.2\"] #!\n[manage]", "host.addresses", "an address of host \"a.ces.example\"", "another address"),
    case("name of two hosts", MANAGE, "[[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\n[[host]]\nname = \"A.ces.example.\" #!\nrealm = \"home\"\n[manage]", "host.name", "a name of host \"a.ces.example\"", "another name"),
    case("service by a host's name", MANAGE, "[[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\nservices = [{ name = \"a.ces.example\" }] #!\n[manage]", "host.services.name", "the host itself", "of the service's own"),
    case("service of no protocol", MANAGE, "[[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\nservices = [{ name = \"w.ces.example\", protocol = \"tpc\" }] #!\n[manage]", "host.services.protocol", "no protocol", "did you mean \"tcp\"?"),
    case("service of port 0", MANAGE, "[[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\nservices = [{ name = \"w.ces.example\", port = 0 }] #!\n[manage]", "host.services.port", "out of range", "65535"),
    case("more hosts than the capacity", MANAGE, "[hosts]\ncapacity = 1\n[[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\n[[host]] #!\nname = \"b.ces.example\"\nrealm = \"home\"\n[manage]", "host", "more than 1", "remove the rest"),

    // Proxy addresses.
    case("remote hosts of no kind", SIDE, "side = \"inside\"\nremote = \"proxi\" #!", "realm.remote", "not known here", "did you mean \"proxy\"?"),
    case("proxies without addresses", SIDE, "side = \"inside\"\nremote = \"proxy\" #!", "realm.remote", "no proxy addresses", "write proxy_addresses"),
    case("proxies without a resolver", SIDE, "side = \"inside\"\nremote = \"proxy\" #!\nproxy_addresses = [\"172.16.64.0/18\"]", "realm.remote", "no dns.upstreams", "[[dns.upstreams]]"),
    case("proxies that nobody translates", "[[realm]]", "[dns]\nupstreams = [{ address = \"203.0.113.53\" }]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns1.ces.example\"\naddresses = [\"203.0.113.1\"]\n[[realm]]\nname = \"office\"\nside = \"inside\"\nremote = \"proxy\" #!\nproxy_addresses = [\"172.16.64.0/18\"]\n[[realm]]", "realm.remote", "not translated", "nat44.inside"),
    case("proxies without translation", FLOW_TO_NAT, "sessions = 65536\n[dns]\nupstreams = [{ address = \"203.0.113.53\" }]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns1.ces.example\"\naddresses = [\"203.0.113.1\"]\n[[realm]]\nname = \"office\"\nside = \"inside\"\nremote = \"proxy\" #!\nproxy_addresses = [\"172.16.64.0/18\"]\n[limits]\narp_per_second = 100", "realm.remote", "no [nat44]", "write [nat44]"),
    case("proxies outside", "side = \"outside\"", "side = \"outside\"\nproxy_addresses = [\"172.16.64.0/18\"] #!", "realm.proxy_addresses", "of side outside", "remove it"),
    case("proxies that are no range", SIDE, "side = \"inside\"\nproxy_addresses = [\"172.16.64.1/18\"] #!", "realm.proxy_addresses", "host bits", "172.16.64.0/18"),
    case("proxies twice", SIDE, "side = \"inside\"\nproxy_addresses = [\"172.16.64.0/18\", \"172.16.64.9\"] #!", "realm.proxy_addresses", "172.16.64.9 overlaps", "once"),
    case("proxies where hosts are", SIDE, "side = \"inside\"\nproxy_addresses = [\"10.0.0.128-10.0.1.255\"] #!", "realm.proxy_addresses", "10.0.0.0/24, where hosts of this realm are", "that no host"),
    case("proxies with the edge outside", SIDE, "side = \"inside\"\nproxy_addresses = [\"203.0.113.0/24\"] #!", "realm.proxy_addresses", "203.0.113.1 in it, an address of the edge", "without it"),
    case("proxies of the NAT", SIDE, "side = \"inside\"\nproxy_addresses = [\"198.51.100.8/30\"] #!", "realm.proxy_addresses", "overlaps 198.51.100.0-198.51.100.15", "private addresses"),
    case("proxies of the circular pool", "[[route]]", "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\n[[realm]]\nname = \"office\"\nside = \"inside\"\nproxy_addresses = [\"192.0.2.8/29\"] #!\n[[route]]", "realm.proxy_addresses", "overlaps 192.0.2.0-192.0.2.15", "private addresses"),
    case("proxies behind a route", "[[route]]", "[[realm]]\nname = \"office\"\nside = \"inside\"\nproxy_addresses = [\"172.16.0.0/16\"] #!\n[[port]]\nname = \"office\"\ndevice = \"net_tap9\"\n[[interface]]\nport = \"office\"\nrealm = \"office\"\naddresses = [\"10.1.0.1/24\"]\n[[route]]\nrealm = \"office\"\nprefix = \"172.16.9.0/24\"\nvia = \"10.1.0.2\"\n[[route]]", "realm.proxy_addresses", "172.16.9.0/24, where hosts of this realm are", "that no host"),
    case("proxies with a gateway", "[[route]]", "[[realm]]\nname = \"office\"\nside = \"inside\"\nproxy_addresses = [\"172.16.0.0/16\"] #!\n[[port]]\nname = \"office\"\ndevice = \"net_tap9\"\n[[interface]]\nport = \"office\"\nrealm = \"office\"\n[[route]]\nrealm = \"office\"\nprefix = \"10.9.0.0/16\"\nvia = \"172.16.0.7\"\ninterface = \"office\"\n[[route]]", "realm.proxy_addresses", "172.16.0.7 in it, the gateway of a route", "without it"),
    case("proxies too many", SIDE, "side = \"inside\"\nproxy_addresses = [\"100.64.0.0/10\"] #!", "realm.proxy_addresses", "4194304 proxy addresses", "1048576 or less"),
    case("proxies of a host, none", SIDE, "side = \"inside\"\nproxies_per_host = 0 #!", "realm.proxies_per_host", "out of range", "from 1 to 1048576"),
    case("host at a proxy address", SIDE, "side = \"inside\"\nproxy_addresses = [\"172.16.64.0/18\"]\n[[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\naddresses = [\"172.16.64.9\"] #!", "host.addresses", "a proxy address of its realm", "another address"),

    // [prgw]
    case("circular pool without a register", MANAGE, "[prgw] #!\npool = [\"203.0.113.64/28\"]\n[manage]", "prgw", "no [hosts]", "write [hosts]"),
    case("circular pool without translation", FLOW_TO_NAT, "sessions = 65536\n[limits]\n[hosts]\n[prgw] #!\npool = [\"203.0.113.64/28\"]", "prgw", "no [nat44]", "write [nat44]"),
    case("circular pool without addresses", MANAGE, "[hosts]\n[prgw] #!\n[manage]", "prgw.pool", "is missing", "write pool"),
    case("circular pool of the NAT's addresses", MANAGE, "[hosts]\n[prgw]\npool = [\"198.51.100.12-198.51.100.20\"] #!\n[manage]", "prgw.pool", "overlaps 198.51.100.0-198.51.100.15, of pool \"pool\" of nat44", "nothing is translated to"),
    case("circular pool with an own address", MANAGE, "[hosts]\n[prgw]\npool = [\"203.0.113.1-203.0.113.8\"] #!\n[manage]", "prgw.pool", "203.0.113.1 in it, an address of the edge", "without it"),
    case("circular pool with a gateway", MANAGE, "[hosts]\n[prgw]\npool = [\"203.0.113.254\"] #!\n[manage]", "prgw.pool", "gateway of a route", "without it"),
    case("circular pool of inside addresses", MANAGE, "[hosts]\n[prgw]\npool = [\"10.0.0.64/28\"] #!\n[manage]", "prgw.pool", "where inside hosts are", "public addresses"),
    case("circular pool twice", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\", \"192.0.2.8\"] #!\n[manage]", "prgw.pool", "192.0.2.8 overlaps", "once"),
    case("circular pool too large", MANAGE, "[hosts]\n[prgw]\npool = [\"100.64.0.0/15\"] #!\n[manage]", "prgw.pool", "131072 addresses", "65536 addresses or less"),
    case("reservations that never wait", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\ntimeout_ms = 50 #!\n[manage]", "prgw.timeout_ms", "out of range", "from 100 to 10000"),
    case("reservations that wait less than they do", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\ntimeout_ms = 500\ntimeout_least_ms = 501 #!\n[manage]", "prgw.timeout_least_ms", "more than timeout_ms, 500 ms", "500 or less"),
    case("three tiers", MANAGE, "[hosts]\n[prgw] #!\npool = [\"192.0.2.0/28\"]\n[[prgw.tiers]]\n[[prgw.tiers]]\n[[prgw.tiers]]\n[manage]", "prgw.tiers", "3 of 4 tiers", "four times"),
    case("proof of nothing known", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\n[[prgw.tiers]]\nproof = \"tcp\" #!\n[[prgw.tiers]]\n[[prgw.tiers]]\n[[prgw.tiers]]\n[manage]", "prgw.tiers.proof", "not known here", "return-path"),
    case("reputation above all", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\n[[prgw.tiers]]\nasker = 101 #!\n[[prgw.tiers]]\n[[prgw.tiers]]\n[[prgw.tiers]]\n[manage]", "prgw.tiers.asker", "out of range", "from 0 to 100"),
    case("first packets, none", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\nfirst_packets_per_second = 0 #!\n[manage]", "prgw.first_packets_per_second", "out of range", "from 1"),
    case("misspelt key of the circular pool", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\nper_resolvers = 3 #!\n[manage]", "prgw.per_resolvers", "no key has this name", "did you mean `per_resolver`?"),
    case("trusted resolver that is none", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\ntrusted_resolvers = [\"resolver.example\"] #!\n[manage]", "prgw.trusted_resolvers", "is not an address", "192.0.2.53"),
    case("trusted resolver with host bits", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\ntrusted_resolvers = [\"198.51.100.53/24\"] #!\n[manage]", "prgw.trusted_resolvers", "has host bits", "\"198.51.100.0/24\""),
    case("everybody as a trusted resolver", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\ntrusted_resolvers = [\"0.0.0.0/0\"] #!\n[manage]", "prgw.trusted_resolvers", "every address of its family", "prefixes of resolvers"),
    case("group as a trusted resolver", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\ntrusted_resolvers = [\"224.0.0.1\"] #!\n[manage]", "prgw.trusted_resolvers", "no host's address", "unicast"),
    case("trusted resolver twice", MANAGE, "[hosts]\n[prgw]\npool = [\"192.0.2.0/28\"]\ntrusted_resolvers = [\"198.51.100.53\", \"198.51.100.53/32\"] #!\n[manage]", "prgw.trusted_resolvers", "stands twice", "one of the two"),

    // [instance]
    case("no instance section", "[instance]\nname = \"test\"", "", "instance", "missing", "[instance]"),
    case("instance as a list", "[instance]", "[[instance]] #!", "instance", "expected one table, found an array", "write [instance]"),
    case("no instance name", "[instance]\nname = \"test\"", "[instance] #!", "instance.name", "missing", "write name"),
    case("instance name with a space", NAME, "name = \"my edge\" #!", "instance.name", "\"my edge\" is not a name", "1 to 32"),
    case("empty instance name", NAME, "name = \"\" #!", "instance.name", "not a name", "1 to 32"),
    case("long instance name", NAME, "name = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" #!", "instance.name", "not a name", "1 to 32"),
    case("instance name like an option", NAME, "name = \"-x\" #!", "instance.name", "not a name", "not beginning"),
    case("instance name as a number", NAME, "name = 7 #!", "instance.name", "expected a string, found an integer", "quotes"),
    case("relative runtime directory", NAME, "name = \"t\"\nruntime_dir = \"run\" #!", "instance.runtime_dir", "not an absolute path", "begin it with /"),
    case("runtime directory too long", NAME, concat!("name = \"t\"\nruntime_dir = \"/1234567890123456789012345678901234567890123456789012345", "678901234567890123456789012345678901234567890\" #!"), "instance.runtime_dir", "too long", "1 bytes shorter"),
    case("NUL in a path", NAME, "name = \"t\"\nruntime_dir = \"/a\\u0000b\" #!", "instance.runtime_dir", "control character", "remove"),

    // [eal]
    case("unknown huge pages", MEMORY, "huge_pages = \"requird\" #!", "eal.huge_pages", "\"requird\" is not known", "did you mean \"required\"?"),
    case("huge pages as a boolean", MEMORY, "huge_pages = true #!", "eal.huge_pages", "expected a string, found a boolean", "\"auto\""),
    case("too little memory", MEMORY, "memory_mb = 63 #!", "eal.memory_mb", "63 is out of range", "from 64 to 1048576"),
    case("negative memory", MEMORY, "memory_mb = -1 #!", "eal.memory_mb", "-1 is out of range", "from 64"),
    case("memory as a string", MEMORY, "memory_mb = \"512\" #!", "eal.memory_mb", "expected an integer, found a string", "without quotes"),
    case("a number beyond 64 bits", MEMORY, "mbufs = 99999999999999999999 #!", "eal.mbufs", "out of range", "from 1024"),
    case("a float", MEMORY, "mbufs = 4e6 #!", "eal.mbufs", "found a float", "whole number"),
    case("data room without room", MEMORY, "mbuf_data_room = 128 #!", "eal.mbuf_data_room", "out of range", "from 192 to 16384"),
    case("pool larger than memory", MEMORY, "memory_mb = 512\nmbufs = 1_000_000 #!", "eal.mbufs", "1000000 mbufs take 2258 MiB", "fewer mbufs"),
    case("pool smaller than the rings", MEMORY, "mbufs = 4096 #!", "eal.mbufs", "cannot fill the receive rings (6144)", "more than 8192"),
    case("EAL's core list", MEMORY, "args = [\"-l\", \"1\"] #!", "eal.args", "cesd itself decides about \"-l\"", "workers.cores"),
    case("EAL's core list, glued", MEMORY, "args = [\"-l1-3\"] #!", "eal.args", "\"-l1-3\"", "workers.cores"),
    case("EAL's lcores", MEMORY, "args = [\"--lcores=0@1\"] #!", "eal.args", "--lcores", "workers.cores"),
    case("EAL's allow list", MEMORY, "args = [\"-a\", \"0000:03:00.0\"] #!", "eal.args", "\"-a\"", "port.device"),
    case("EAL's block list", MEMORY, "args = [\"-b0000:03:00.0\"] #!", "eal.args", "\"-b0000", "port.device"),
    case("EAL's vdev", MEMORY, "args = [\"--vdev=net_null0\"] #!", "eal.args", "--vdev", "port.device"),
    case("EAL's vdev, shortened", MEMORY, "args = [\"--vde=net_null0\"] #!", "eal.args", "--vde", "port.device"),
    case("EAL's PCI switch", MEMORY, "args = [\"--no-pci\"] #!", "eal.args", "--no-pci", "port.device"),
    case("EAL's file prefix", MEMORY, "args = [\"--file-prefix\", \"x\"] #!", "eal.args", "--file-prefix", "instance.name"),
    case("EAL's memory", MEMORY, "args = [\"-m512\"] #!", "eal.args", "-m512", "eal.memory_mb"),
    case("EAL's huge pages", MEMORY, "args = [\"--no-huge\"] #!", "eal.args", "--no-huge", "eal.huge_pages"),
    case("EAL's help", MEMORY, "args = [\"--help\"] #!", "eal.args", "--help", "remove"),
    case("args as a string", MEMORY, "args = \"-n 4\" #!", "eal.args", "expected a list, found a string", "write args = ["),

    // [workers]
    case("no workers section", "[workers]\ncores = [1, 2]", "", "workers", "missing", "cores = [1]"),
    case("no cores", "[workers]\ncores = [1, 2]", "[workers] #!", "workers.cores", "missing", "cores = [1]"),
    case("empty cores", CORES, "cores = [] #!", "workers.cores", "empty", "cores = [1]"),
    case("cores as a string", CORES, "cores = \"1-2\" #!", "workers.cores", "expected a list", "cores = [1]"),
    case("a core that cannot be", CORES, "cores = [1, 1024] #!", "workers.cores", "1024 is out of range", "from 0 to 1023"),
    case("a core twice", CORES, "cores = [1, 1] #!", "workers.cores", "core 1 stands twice", "sleep"),
    case("control core that cannot be", CORES, "cores = [1, 2]\ncontrol_core = 5000 #!", "workers.control_core", "out of range", "1023"),
    case("unknown distribution", CORES, "cores = [1, 2]\ndistribute = \"rrs\" #!", "workers.distribute", "\"rrs\"", "did you mean \"rss\"?"),
    case("unknown idle", CORES, "cores = [1, 2]\nidle = \"yield\" #!", "workers.idle", "\"yield\"", "\"poll\", \"sleep\""),
    case("unknown worker key", CORES, "cores = [1, 2]\ncontrol-core = 0 #!", "workers.control-core", "no key", "did you mean `control_core`?"),

    // [[port]]
    case("no device", "[[port]]\nname = \"in\"\ndevice = \"net_tap0,iface=a\"", "[[port]] #!\nname = \"in\"", "port.device", "missing", "net_tap0"),
    case("a kernel's interface", DEVICE, "device = \"ens3\" #!", "port.device", "\"ens3\" is not a device", "net_af_packet0,iface=ens3"),
    case("misspelt driver", DEVICE, "device = \"net_tab0\" #!", "port.device", "not a device", "did you mean \"net_tap0\"?"),
    case("unknown driver", DEVICE, "device = \"crypto_null0\" #!", "port.device", "not a device", "PCI address"),
    case("PCI without domain", DEVICE, "device = \"03:00.0\" #!", "port.device", "not a PCI address", "\"0000:03:00.0\""),
    case("PCI function 8", DEVICE, "device = \"0000:03:00.8\" #!", "port.device", "not a PCI address", "lspci"),
    case("PCI device 20 (hex)", DEVICE, "device = \"0000:03:20.0\" #!", "port.device", "not a PCI address", "lspci"),
    case("PCI punctuation", DEVICE, "device = \"0000.03:00:0\" #!", "port.device", "not a PCI address", "lspci"),
    case("a device twice", "device = \"net_tap1,iface=b\"", "device = \"net_tap0,iface=b\" #!", "port.device", "net_tap0 is another port's", "another number"),
    case("a port's name twice", "name = \"spare\"", "name = \"in\" #!", "port.name", "another port is named \"in\"", "another name"),
    case("MTU too large", DEVICE, "device = \"net_tap0\"\nmtu = 9601 #!", "port.mtu", "9601 is out of range", "from 68 to 9600"),
    case("too few descriptors", DEVICE, "device = \"net_tap0\"\nrx_descriptors = 32 #!", "port.rx_descriptors", "out of range", "from 64"),
    case("no queue", DEVICE, "device = \"net_tap0\"\nqueues = 0 #!", "port.queues", "out of range", "from 1"),
    case("more queues than workers", DEVICE, "device = \"net_tap0\"\nqueues = 3 #!", "port.queues", "3 queues are more than the 2", "write 2 or less"),
    case("an owner who isn't there", DEVICE, "device = \"net_tap0\"\nowner = 2 #!", "port.owner", "no worker 2", "write 1 or less"),
    case("multicast MAC", DEVICE, "device = \"net_tap0\"\nmac = \"01:00:5e:00:00:01\" #!", "port.mac", "unicast", "02:00:00:00:00:01"),
    case("short MAC", DEVICE, "device = \"net_tap0\"\nmac = \"02:00:00:00:01\" #!", "port.mac", "not a MAC address", "02:00:00:00:00:01"),
    case("MAC with signs", DEVICE, "device = \"net_tap0\"\nmac = \"+2:00:00:00:00:01\" #!", "port.mac", "not a MAC address", "02:00:00:00:00:01"),
    case("unknown port key", DEVICE, "device = \"net_tap0\"\nmtuu = 1 #!", "port.mtuu", "no key", "did you mean `mtu`?"),

    case("a rate of nothing", DEVICE, "device = \"net_tap0\"\nrx_packets_per_second = 999 #!", "port.rx_packets_per_second", "999 is out of range", "from 1000 to 1000000000"),
    case("a rate as a string", DEVICE, "device = \"net_tap0\"\nrx_packets_per_second = \"1M\" #!", "port.rx_packets_per_second", "expected an integer, found a string", "without quotes"),
    case("offload as a number", DEVICE, "device = \"net_tap0\"\nvlan_offload = 1 #!", "port.vlan_offload", "expected a boolean, found an integer", "true or false"),
    case("offload misspelt", DEVICE, "device = \"net_tap0\"\nvlan_offlaod = true #!", "port.vlan_offlaod", "no key", "did you mean `vlan_offload`?"),

    // [[realm]]
    case("a realm's name twice", "name = \"internet\"", "name = \"internet\"\nside = \"outside\"\n[[realm]]\nname = \"home\" #!", "realm.name", "another realm is named \"home\"", "another name"),
    case("no side", "[[realm]]\nname = \"home\"\nside = \"inside\"", "[[realm]] #!\nname = \"home\"", "realm.side", "missing", "\"inside\""),
    case("unknown side", "side = \"inside\"", "side = \"in\" #!", "realm.side", "\"in\" is not known", "\"inside\", \"outside\""),
    case("unknown source check", SIDE, "side = \"inside\"\nsource_check = \"lose\" #!", "realm.source_check", "\"lose\" is not known", "did you mean \"loose\"?"),
    case("source check as a boolean", SIDE, "side = \"inside\"\nsource_check = true #!", "realm.source_check", "expected a string, found a boolean", "\"strict\", \"loose\", \"off\""),
    case("bogons of an unknown name", SIDE, "side = \"inside\"\nbogons = \"rfc6980\" #!", "realm.bogons", "\"rfc6980\" is not known", "write \"rfc6890\", or a list of prefixes: [\"192.168.0.0/16\", \"fc00::/7\"]; did you mean \"rfc6890\"?"),
    case("bogons as a boolean", SIDE, "side = \"inside\"\nbogons = true #!", "realm.bogons", "expected a string, found a boolean", "a list of prefixes"),
    case("bogon as a number", SIDE, "side = \"inside\"\nbogons = [10] #!", "realm.bogons", "expected a string, found an integer", "quotes"),
    case("bogon without length", SIDE, "side = \"inside\"\nbogons = [\"192.168.0.0\"] #!", "realm.bogons", "no prefix length", "\"192.168.0.0/16\""),
    case("bogon with host bits", SIDE, "side = \"inside\"\nbogons = [\"192.168.0.1/16\"] #!", "realm.bogons", "has host bits", "write \"192.168.0.0/16\""),
    case("everything is a bogon", SIDE, "side = \"inside\"\nbogons = [\"::/0\"] #!", "realm.bogons", "every address of its family", "narrower"),
    case("public prefix that is private", SIDE, "side = \"inside\"\npublic = [\"2001:db8:5::/48\", \"10.1.0.0/16\"] #!", "realm.public", "not globally routable: it overlaps 10.0.0.0/8", "the circular pool"),
    case("everything is public", SIDE, "side = \"inside\"\npublic = [\"::/0\"] #!", "realm.public", "no host's address", "unicast"),
    case("half of everything is public", SIDE, "side = \"inside\"\npublic = [\"128.0.0.0/1\"] #!", "realm.public", "not globally routable: it overlaps 169.254.0.0/16", "remove it"),
    case("public prefix with host bits", SIDE, "side = \"inside\"\npublic = [\"2001:db8:5::1/48\"] #!", "realm.public", "has host bits", "2001:db8:5::/48"),
    case("public prefix twice", SIDE, "side = \"inside\"\npublic = [\"2001:db8:5::/48\", \"2001:db8:5:1::/64\"] #!", "realm.public", "2001:db8:5:1::/64 is in 2001:db8:5::/48", "write it once"),
    case("public prefix that is translated", SIDE, "side = \"inside\"\npublic = [\"192.0.2.0/24\"] #!", "realm.public", "hosts of this realm are translated", "not in nat44.inside"),
    case("public prefix of a pool", "[[interface]]", "[[realm]]\nname = \"servers\"\nside = \"inside\"\npublic = [\"198.51.100.8/29\"] #!\n[[interface]]", "realm.public", "overlaps 198.51.100.0-198.51.100.15, of a pool", "hosts' own"),
    case("public prefix of the circular pool", "[[interface]]", "[hosts]\n[prgw]\npool = [\"192.0.2.1-192.0.2.9\"]\n[[realm]]\nname = \"servers\"\nside = \"inside\"\npublic = [\"192.0.2.0/28\"] #!\n[[interface]]", "realm.public", "overlaps 192.0.2.1-192.0.2.9, of a pool", "hosts' own"),
    case("public prefix outside", "side = \"outside\"", "side = \"outside\"\npublic = [\"192.0.2.0/24\"] #!", "realm.public", "the realm is outside", "of the hosts"),
    case("a bogon twice", SIDE, "side = \"inside\"\nbogons = [\"fc00::/7\", \"127.0.0.0/8\", \"fc00::/7\"] #!", "realm.bogons", "fc00::/7 stands twice", "remove"),
    case("a bogon over the edge", SIDE, "side = \"inside\"\nbogons = [\"127.0.0.0/8\", \"10.0.0.0/24\"] #!", "realm.bogons", "10.0.0.0/24 has 10.0.0.1 in it, an address of the edge", "without 10.0.0.0/24"),
    case("a bogon over the edge's IPv6", "side = \"outside\"", "side = \"outside\"\nbogons = [\"2001:db8::/32\"] #!", "realm.bogons", "2001:db8::/32 has 2001:db8::1 in it", "without 2001:db8::/32"),
    case("a bogon over the gateway", "side = \"outside\"", "side = \"outside\"\nbogons = [\"203.0.113.254/32\"] #!", "realm.bogons", "has 203.0.113.254 in it, a gateway", "without"),
    case("all special ranges, and the edge in one", SIDE, "side = \"inside\"\nbogons = \"rfc6890\" #!", "realm.bogons", "10.0.0.0/8 has 10.0.0.1", "a list of prefixes without 10.0.0.0/8"),
    case("all special ranges, and the edge in two", "side = \"outside\"", "side = \"outside\"\nbogons = \"rfc6890\" #!", "realm.bogons", "203.0.113.0/24 has 203.0.113.1", "without"),

    // [[interface]]
    case("unknown port", "port = \"in\"", "name = \"in\"\nport = \"inn\" #!", "interface.port", "no port is named \"inn\"", "did you mean \"in\"?"),
    case("unknown realm", "realm = \"home\"", "realm = \"hme\" #!", "interface.realm", "no realm is named \"hme\"", "the realms are \"home\", \"internet\"; did you mean \"home\"?"),
    case("two interfaces on a port", IN_ADDRESSES, "[[interface]]\nname = \"again\"\nport = \"in\" #!\nrealm = \"home\"", "interface.port", "has an interface already", "another port, or a vlan"),
    case("two interfaces on a port, both without a name", IN_ADDRESSES, "[[interface]]\nport = \"in\" #!\nrealm = \"home\"", "interface.port", "has an interface already", "another port, or a vlan"),
    case("a VLAN twice on a port", IN_ADDRESSES, "[[interface]]\nport = \"in\"\nrealm = \"home\"\nvlan = 7\n[[interface]]\nport = \"in\"\nrealm = \"home\"\nvlan = 7 #!", "interface.vlan", "port \"in\" has an interface with vlan = 7 already", "another vlan"),
    case("two tags twice on a port", IN_ADDRESSES, "[[interface]]\nport = \"in\"\nrealm = \"home\"\nvlan = [8, 7]\n[[interface]]\nname = \"x\"\nport = \"in\"\nrealm = \"home\"\nvlan = [8, 7] #!", "interface.vlan", "with vlan = [8, 7] already", "another vlan"),
    case("VLAN 0", IN_ADDRESSES, "vlan = 0 #!", "interface.vlan", "0 is out of range", "from 1 to 4094"),
    case("VLAN 4095", IN_ADDRESSES, "vlan = 4095 #!", "interface.vlan", "4095 is out of range", "from 1 to 4094"),
    case("a VLAN as a string", IN_ADDRESSES, "vlan = \"100\" #!", "interface.vlan", "expected an integer, found a string", "without quotes"),
    case("an S-tag that cannot be", IN_ADDRESSES, "vlan = [4095, 100] #!", "interface.vlan", "4095 is out of range", "from 1 to 4094"),
    case("one tag in a list", IN_ADDRESSES, "vlan = [100] #!", "interface.vlan", "the list has one tag", "write vlan = 100 for one tag"),
    case("three tags", IN_ADDRESSES, "vlan = [1, 2, 3] #!", "interface.vlan", "more than 2 entries", "remove"),
    case("no tag in a list", IN_ADDRESSES, "vlan = [] #!", "interface.vlan", "empty", "vlan = [200, 100]"),
    case("a VLAN's default name is taken", IN_ADDRESSES, "addresses = []\n[[interface]]\nname = \"spare-7\"\nport = \"spare\"\nrealm = \"home\"\n[[interface]]\nport = \"spare\" #!\nvlan = 7\nrealm = \"home\"", "interface.port", "another interface is named \"spare-7\"", "another name"),
    case("interface MTU below IPv4's", IN_ADDRESSES, "mtu = 67 #!", "interface.mtu", "67 is out of range", "from 68 to 9600"),
    case("interface MTU above the port's", IN_ADDRESSES, "mtu = 1501 #!", "interface.mtu", "1501 is more than the port's MTU, 1500", "1500 or less, or a larger port.mtu"),
    case("interface MTU as a string", IN_ADDRESSES, "mtu = \"port\" #!", "interface.mtu", "expected an integer", "without quotes"),
    case("MTU too small for IPv6", "addresses = [\"203.0.113.1/24\", ", "mtu = 1279 #!\naddresses = [\"203.0.113.1/24\", ", "interface.mtu", "1279 is less than the 1280 that IPv6 needs", "1280 or more, or remove the IPv6"),
    case("the port's MTU too small for IPv6", IN_ADDRESSES, "[[port]]\nname = \"small\"\ndevice = \"net_tap7\"\nmtu = 1000\n[[interface]]\nport = \"small\"\nrealm = \"home\"\naddresses = [\"10.9.0.1/24\", \"2001:db8:9::1/64\"] #!", "interface.addresses", "an MTU of 1000 is less than the 1280", "port.mtu = 1280"),
    case("unknown clamping", IN_ADDRESSES, "tcp_mss = \"atuo\" #!", "interface.tcp_mss", "\"atuo\" is not known", "or a number from 88 to the MTU less 40, without quotes; did you mean \"auto\"?"),
    case("segment size in quotes", IN_ADDRESSES, "tcp_mss = \"1400\" #!", "interface.tcp_mss", "\"1400\" is not known", "or a number from 88 to the MTU less 40, without quotes"),
    case("clamping as a boolean", IN_ADDRESSES, "tcp_mss = false #!", "interface.tcp_mss", "expected a string, found a boolean", "\"off\", or a number"),
    case("segment size too small", IN_ADDRESSES, "tcp_mss = 87 #!", "interface.tcp_mss", "87 is out of range", "from 88"),
    case("segment size above the port's MTU", IN_ADDRESSES, "tcp_mss = 1461 #!", "interface.tcp_mss", "do not fit the MTU, 1500", "1460 or less"),
    case("segment size above the interface's MTU", IN_ADDRESSES, "mtu = 1400\ntcp_mss = 1361 #!", "interface.tcp_mss", "do not fit the MTU, 1400", "1360 or less"),
    case("no segment size fits", IN_ADDRESSES, "mtu = 100\ntcp_mss = 88 #!", "interface.tcp_mss", "do not fit the MTU, 100", "too small for a number"),
    case("an interface's name twice", IN_ADDRESSES, "addresses = [\"10.0.0.1/24\"]\n[[interface]]\nname = \"in\" #!\nport = \"spare\"\nrealm = \"home\"", "interface.name", "another interface is named \"in\"", "another name"),
    case("address without length", IN_ADDRESSES, "addresses = [\"10.0.0.1\"] #!", "interface.addresses", "no prefix length", "10.0.0.1/24"),
    case("address that is none", IN_ADDRESSES, "addresses = [\"10.0.0.256/24\"] #!", "interface.addresses", "not an address", "10.0.0.1/24"),
    case("network address", IN_ADDRESSES, "addresses = [\"10.0.0.0/24\"] #!", "interface.addresses", "is the network address of 10.0.0.0/24", "10.0.0.1/24"),
    case("broadcast address", IN_ADDRESSES, "addresses = [\"10.0.0.255/24\"] #!", "interface.addresses", "is the broadcast address", "10.0.0.1/24"),
    case("subnet-router anycast", IN_ADDRESSES, "addresses = [\"2001:db8:1::/64\"] #!", "interface.addresses", "anycast", "host"),
    case("multicast address", IN_ADDRESSES, "addresses = [\"224.0.0.5/24\"] #!", "interface.addresses", "no host's address", "unicast"),
    case("loopback address", IN_ADDRESSES, "addresses = [\"::1/128\"] #!", "interface.addresses", "no host's address", "unicast"),
    case("an address twice", IN_ADDRESSES, "addresses = [\"10.0.0.1/24\", \"10.0.0.1/25\"] #!", "interface.addresses", "an address of this realm already", "another address"),
    case("a link-local address twice on a link", IN_ADDRESSES, "addresses = [\"fe80::1/64\", \"fe80::1/10\"] #!", "interface.addresses", "fe80::1 is an address of this realm already", "another address"),
    case("an enclosing prefix after what it encloses", IN_ADDRESSES, "addresses = [\"10.0.1.1/24\", \"10.0.2.1/24\"]\n[[interface]]\nport = \"spare\"\nrealm = \"home\"\naddresses = [\"10.0.3.1/16\"] #!", "interface.addresses", "10.0.3.1/16 overlaps 10.0.1.1/24", "disjoint"),
    case("a prefix within that of its own interface and that of another", IN_ADDRESSES, "addresses = [\"10.0.0.1/16\", \"10.0.1.1/24\"]\n[[interface]]\nport = \"spare\"\nrealm = \"home\"\naddresses = [\"10.0.1.129/25\"] #!", "interface.addresses", "10.0.1.129/25 overlaps 10.0.0.1/16", "disjoint"),
    case("overlapping prefixes", IN_ADDRESSES, "addresses = [\"10.0.0.1/24\"]\n[[interface]]\nport = \"spare\"\nrealm = \"home\"\naddresses = [\"10.0.0.129/25\"] #!", "interface.addresses", "overlaps 10.0.0.1/24", "disjoint"),

    // [[route]]
    case("route without realm", "[[route]]\nrealm = \"internet\"", "[[route]] #!", "route.realm", "missing", "realm ="),
    case("route into an unknown realm", "realm = \"internet\"\nprefix", "realm = \"intranet\" #!\nprefix", "route.realm", "no realm is named", "did you mean \"internet\"?"),
    case("route with host bits", PREFIX, "prefix = \"198.51.100.1/24\" #!", "route.prefix", "has host bits", "write \"198.51.100.0/24\""),
    case("route without length", PREFIX, "prefix = \"default\" #!", "route.prefix", "not an address", "0.0.0.0/0"),
    case("route leads nowhere", VIA, "via = \"203.0.113.254\"\n[[route]] #!\nrealm = \"internet\"\nprefix = \"192.0.2.0/24\"", "route", "leads nowhere", "blackhole = true"),
    case("gateway that isn't connected", VIA, "via = \"192.0.2.1\" #!", "route.via", "no interface of this realm has 192.0.2.1", "interface ="),
    case("gateway of another family", VIA, "via = \"2001:db8::2\" #!", "route.via", "address family", "prefix's family"),
    case("gateway is the edge", VIA, "via = \"203.0.113.1\" #!", "route.via", "own address", "next router"),
    case("gateway is a broadcast address", VIA, "via = \"203.0.113.255\" #!", "route.via", "broadcast", "next router"),
    case("gateway with a length", VIA, "via = \"203.0.113.254/24\" #!", "route.via", "not an IP address", "without a prefix length"),
    case("link-local gateway without interface", VIA, "via = \"203.0.113.254\"\n[[route]]\nrealm = \"internet\"\nprefix = \"::/0\"\nvia = \"fe80::1\" #!", "route.via", "no interface", "interface ="),
    case("interface of another realm", VIA, "interface = \"in\" #!", "route.interface", "another realm", "route's realm"),
    case("unknown interface", VIA, "interface = \"outt\" #!", "route.interface", "no interface is named", "did you mean \"out\"?"),
    case("blackhole with a gateway", VIA, "via = \"203.0.113.254\"\nblackhole = true #!", "route.blackhole", "via or an interface too", "remove"),
    case("prohibit with an interface", VIA, "interface = \"out\"\nprohibit = true #!", "route.prohibit", "via or an interface too", "remove it, or prohibit"),
    case("blackhole and unreachable", VIA, "blackhole = true\nunreachable = true #!", "route.unreachable", "the route has blackhole too", "remove blackhole, or unreachable"),
    case("unreachable as a number", VIA, "unreachable = 1 #!", "route.unreachable", "expected a boolean, found an integer", "true or false"),
    case("prohibit as a number", VIA, "via = \"203.0.113.254\"\n[[route]]\nrealm = \"internet\"\nprefix = \"192.0.2.0/24\"\nprohibit = 3 #!", "route.prohibit", "expected a boolean", "true or false"),
    case("the same gateway twice", VIA, "via = [\"203.0.113.254\", \"203.0.113.254\"] #!", "route.via", "203.0.113.254 is listed twice", "remove one"),
    case("one gateway of two isn't connected", VIA, "via = [\"203.0.113.254\", \"192.0.2.1\"] #!", "route.via", "no interface of this realm has 192.0.2.1", "interface ="),
    case("one gateway of two is of another family", VIA, "via = [\"203.0.113.254\", \"2001:db8::2\"] #!", "route.via", "address family", "prefix's family"),
    case("no gateway at all", VIA, "via = [] #!", "route.via", "the list is empty", "via = ["),
    case("too many gateways", VIA, "via = [\"203.0.113.2\",\"203.0.113.3\",\"203.0.113.4\",\"203.0.113.5\",\"203.0.113.6\",\"203.0.113.7\",\"203.0.113.8\",\"203.0.113.9\",\"203.0.113.10\",\"203.0.113.11\",\"203.0.113.12\",\"203.0.113.13\",\"203.0.113.14\",\"203.0.113.15\",\"203.0.113.16\",\"203.0.113.17\",\"203.0.113.254\"] #!", "route.via", "more than 16 entries", "remove the rest"),
    case("a gateway as a number", VIA, "via = 7 #!", "route.via", "expected a string, found an integer", "quotes"),
    case("a gateway in a list as a number", VIA, "via = [\"203.0.113.254\", 7] #!", "route.via", "expected a string, found an integer", "quotes"),
    case("blackhole as a string", VIA, "blackhole = \"yes\" #!", "route.blackhole", "expected a boolean, found a string", "true or false"),
    case("a route twice", VIA, "via = \"203.0.113.254\"\n[[route]]\nrealm = \"internet\"\nprefix = \"0.0.0.0/0\" #!\nblackhole = true", "route.prefix", "a route to 0.0.0.0/0 in this realm already", "remove"),
    case("a connected route", PREFIX, "prefix = \"203.0.113.0/24\" #!", "route.prefix", "prefix of an interface", "by themselves"),

    // [[neighbor]]
    case("neighbour elsewhere", NEIGHBOR, "address = \"192.0.2.7\" #!", "neighbor.address", "neither in a prefix", "via it"),
    case("neighbour on an unknown interface", "interface = \"out\"", "interface = \"outside\" #!", "neighbor.interface", "no interface is named \"outside\"", "the interfaces are \"in\", \"out\""),
    case("neighbour is the edge", NEIGHBOR, "address = \"203.0.113.1\" #!", "neighbor.address", "own address", "neighbour's"),
    case("neighbour is the broadcast address", NEIGHBOR, "address = \"203.0.113.255\" #!", "neighbor.address", "broadcast", "neighbour's"),
    case("a neighbour twice", "mac = \"02:00:00:00:00:01\"", "mac = \"02:00:00:00:00:01\"\n[[neighbor]]\ninterface = \"out\"\naddress = \"203.0.113.254\" #!\nmac = \"02:00:00:00:00:02\"", "neighbor.address", "already", "remove"),
    case("neighbour without MAC", NEIGHBOR_WHOLE, "[[neighbor]] #!\ninterface = \"out\"\naddress = \"203.0.113.254\"", "neighbor.mac", "missing", "mac ="),

    // [flow], [limits], [manage]
    case("too few sessions", SESSIONS, "sessions = 1000 #!", "flow.sessions", "1000 is out of range", "from 1024 to 67108864"),
    case("too few sessions for two workers", SESSIONS, "sessions = 1024 #!", "flow.sessions", "fewer than 1024 for each worker", "2048 or more"),
    case("too many neighbours", SESSIONS, "neighbors = 65536 #!", "flow.neighbors", "out of range", "from 16 to 32768"),
    case("British spelling", SESSIONS, "neighbours = 64 #!", "flow.neighbours", "no key", "did you mean `neighbors`?"),
    case("no ARP at all", "arp_per_second = 100", "arp_per_second = 0 #!", "limits.arp_per_second", "out of range", "from 1"),
    case("hold less in all than for one", "arp_per_second = 100", "neighbor_hold_total = 4 #!", "limits.neighbor_hold_total", "4 is less than neighbor_hold, 8", "8 or more"),
    case("echo as a boolean", ARP, "echo_per_second = false #!", "limits.echo_per_second", "expected an integer, found a boolean", "from 0 to 1000000"),
    case("too many echo replies", ARP, "echo_per_second = 1_000_001 #!", "limits.echo_per_second", "out of range", "from 0 to 1000000"),
    case("deaf to neighbours", ARP, "neighbor_messages_per_second = 0 #!", "limits.neighbor_messages_per_second", "out of range", "from 1 to 1000000"),
    case("too many exceptions", ARP, "exception_per_second = 2_000_000 #!", "limits.exception_per_second", "out of range", "from 0 to 1000000"),
    case("no exception from anyone", ARP, "exception_per_source_per_second = 0 #!", "limits.exception_per_source_per_second", "out of range", "from 1 to 1000000"),
    case("too much DNS", ARP, "dns_per_second = 2_000_000 #!", "limits.dns_per_second", "out of range", "from 0 to 1000000"),
    case("no DNS from anyone", ARP, "dns_per_source_per_second = 0 #!", "limits.dns_per_source_per_second", "out of range", "from 1 to 1000000"),
    case("a starved subscriber", ARP, "subscriber_packets_per_second = 99 #!", "limits.subscriber_packets_per_second", "out of range", "from 100 to 100000000"),
    case("few datagrams in fragments", ARP, "fragment_datagrams = 63 #!", "limits.fragment_datagrams", "out of range", "from 64 to 1048576"),
    case("more of one source than of all", ARP, "fragment_datagrams_per_source = 4097 #!", "limits.fragment_datagrams_per_source", "4097 is more than fragment_datagrams, 4096", "4096 or less"),
    case("more held of one source than of all", ARP, "fragment_hold_per_source = 1025 #!", "limits.fragment_hold_per_source", "1025 is more than fragment_hold, 1024", "1024 or less"),
    case("fragments for ever", ARP, "fragment_timeout = 121 #!", "limits.fragment_timeout", "out of range", "from 1 to 120"),
    case("misspelt limit", ARP, "echos_per_second = 1 #!", "limits.echos_per_second", "no key", "did you mean `echo_per_second`?"),
    case("misspelt log level", LOG, "log = \"debg\" #!", "manage.log", "\"debg\" is no log level", "did you mean \"debug\"?"),
    case("broken log filter", LOG, "log = \"info,ces=loud\" #!", "manage.log", "no log filter", "ces::nat=debug"),
    case("the socket is derived", LOG, "socket = \"/run/x.sock\" #!", "manage.socket", "no key", "the keys are log"),

    // [nat44]
    case("no inside", "[nat44]\ninside = [\"home\"]", "[nat44] #!", "nat44.inside", "missing", "inside ="),
    case("inside as a string", "inside = [\"home\"]", "inside = \"home\" #!", "nat44.inside", "expected a list", "inside = ["),
    case("empty inside", "inside = [\"home\"]", "inside = [] #!", "nat44.inside", "empty", "inside = ["),
    case("inside unknown", "inside = [\"home\"]", "inside = [\"homes\"] #!", "nat44.inside", "no realm is named \"homes\"", "did you mean \"home\"?"),
    case("inside is outside", "inside = [\"home\"]", "inside = [\"home\", \"internet\"] #!", "nat44.inside", "of side outside", "side inside"),
    case("inside twice", "inside = [\"home\"]", "inside = [\"home\", \"home\"] #!", "nat44.inside", "stands twice", "remove"),
    case("no outside", "[nat44]\ninside = [\"home\"]\noutside = \"internet\"", "[nat44] #!\ninside = [\"home\"]", "nat44.outside", "missing", "outside ="),
    case("outside is inside", "outside = \"internet\"", "outside = \"home\" #!", "nat44.outside", "of side inside", "side outside"),
    case("outside unknown", "outside = \"internet\"", "outside = \"world\" #!", "nat44.outside", "no realm is named \"world\"", "the realms are"),
    case("no pool", NAT_WHOLE, "[nat44] #!\ninside = [\"home\"]\noutside = \"internet\"", "nat44.pool", "missing", "198.51.100.0/28"),
    case("empty pool", POOL, "pool = [] #!", "nat44.pool", "empty", "pool = ["),
    case("IPv6 pool", POOL, "pool = [\"2001:db8::/64\"] #!", "nat44.pool", "no range of IPv4", "198.51.100.0/28"),
    case("pool with host bits", POOL, "pool = [\"198.51.100.1/28\"] #!", "nat44.pool", "host bits", "198.51.100.0/28"),
    case("pool upside down", POOL, "pool = [\"198.51.100.9-198.51.100.1\"] #!", "nat44.pool", "is above", "lower address first"),
    case("pool overlaps itself", POOL, "pool = [\"198.51.100.0/28\", \"198.51.100.15\"] #!", "nat44.pool", "198.51.100.15 overlaps 198.51.100.0-198.51.100.15", "once"),
    case("pool has the edge", POOL, "pool = [\"203.0.113.1-203.0.113.9\"] #!", "nat44.pool", "203.0.113.1 in it, an address of the edge", "without it"),
    case("pool has the gateway", POOL, "pool = [\"203.0.113.240-203.0.113.254\"] #!", "nat44.pool", "203.0.113.254 in it, the gateway", "without it"),
    case("pool has the broadcast address", POOL, "pool = [\"203.0.113.255\"] #!", "nat44.pool", "network or broadcast", "without it"),
    case("pool has a static neighbour", NAT_WHOLE, "[[neighbor]]\ninterface = \"out\"\naddress = \"203.0.113.7\"\nmac = \"02:00:00:00:00:07\"\n[nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"203.0.113.6-203.0.113.9\"] #!", "nat44.pool", "203.0.113.7 in it, a static neighbour", "without it"),
    case("pool among inside hosts", POOL, "pool = [\"10.0.0.64/28\"] #!", "nat44.pool", "where inside hosts are", "public"),
    case("pool too large", POOL, "pool = [\"100.64.0.0/15\"] #!", "nat44.pool", "131072 addresses", "65536"),
    case("pool over loopback", POOL, "pool = [\"126.255.255.0-128.0.0.1\"] #!", "nat44.pool", "loopback", "write"),
    case("pool of multicast", POOL, "pool = [\"239.0.0.0/28\"] #!", "nat44.pool", "no host's address", "unicast"),
    case("port 0", POOL, "pool = [\"198.51.100.0/28\"]\nports = \"0-65535\" #!", "nat44.ports", "no range of ports", "1-65535"),
    case("ports upside down", POOL, "pool = [\"198.51.100.0/28\"]\nports = \"2048-1024\" #!", "nat44.ports", "no range of ports", "FIRST-LAST"),
    case("ports not in whole blocks", POOL, "pool = [\"198.51.100.0/28\"]\nports = \"1000-65535\" #!", "nat44.ports", "not whole blocks of 64", "ports = \"1024-65535\""),
    case("ports narrower than a block", POOL, "pool = [\"198.51.100.0/28\"]\nports = \"1024-1030\" #!", "nat44.ports", "not whole blocks", "wider"),
    case("block larger than the default's alignment", POOL, "pool = [\"198.51.100.0/28\"]\nblock_size = 4096 #!", "nat44.block_size", "not whole blocks of 4096", "ports = \"4096-65535\""),
    case("block not a power of two", POOL, "pool = [\"198.51.100.0/28\"]\nblock_size = 100 #!", "nat44.block_size", "100 is not a power of two", "64 or 128"),
    case("more blocks than an address has", POOL, "pool = [\"198.51.100.0/28\"]\nports = \"1024-1535\"\nblocks_per_subscriber = 9 #!", "nat44.blocks_per_subscriber", "only 8 block(s)", "8 or less"),
    case("more subscribers than blocks", POOL, "pool = [\"198.51.100.0/31\"]\nsubscribers = 2017 #!", "nat44.subscribers", "port blocks (2016)", "2016 or less"),
    case("more subscribers than sessions", FLOW_TO_NAT, "sessions = 2048\n[nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"198.51.100.0/24\"]\nsubscribers = 2049 #!", "nat44.subscribers", "sessions (2048)", "2048 or less"),
    case("unknown filtering", POOL, "pool = [\"198.51.100.0/28\"]\nfiltering = \"endpoint_independent\" #!", "nat44.filtering", "is not known", "did you mean \"endpoint-independent\"?"),
    case("timeout of nothing", POOL, "pool = [\"198.51.100.0/28\"]\ntimeouts.udp = 0 #!", "nat44.timeouts.udp", "out of range", "from 1 to 86400"),
    case("unknown timeout", POOL, "pool = [\"198.51.100.0/28\"]\ntimeouts.tcp_establishd = 60 #!", "nat44.timeouts.tcp_establishd", "no key", "did you mean `tcp_established`?"),
    case("a PCP life time upside down", POOL, "pool = [\"198.51.100.0/28\"]\npcp.lifetime_min = 600\npcp.lifetime_max = 500 #!", "nat44.pcp.lifetime_max", "less than lifetime_min, 600 s", "write 600 or more"),
    case("a PCP life time beyond the clock", POOL, "pool = [\"198.51.100.0/28\"]\npcp.lifetime_max = 864001 #!", "nat44.pcp.lifetime_max", "out of range", "from 1 to 864000"),
    case("more asked for than there are", POOL, "pool = [\"198.51.100.0/28\"]\nmappings = 2000\npcp.mappings = 2001 #!", "nat44.pcp.mappings", "out of range", "from 1 to 2000"),
    case("PCP for others", POOL, "pool = [\"198.51.100.0/28\"]\npcp.third_party = true #!", "nat44.pcp.third_party", "no key", "the keys are enabled"),
    case("an opening time of nothing", POOL, "pool = [\"198.51.100.0/28\"]\ntimeouts.tcp_opening = 0 #!", "nat44.timeouts.tcp_opening", "out of range", "from 1 to 86400"),
    case("a refresh that is no boolean", POOL, "pool = [\"198.51.100.0/28\"]\ntimeouts.udp_inbound_refresh = 1 #!", "nat44.timeouts.udp_inbound_refresh", "expected a boolean", "true or false"),
    case("UDP ports as a list", POOL, "pool = [\"198.51.100.0/28\"]\ntimeouts.udp_ports = [53] #!", "nat44.timeouts.udp_ports", "expected one table", "[nat44.timeouts.udp_ports]"),
    case("a UDP port that is a name", POOL, "pool = [\"198.51.100.0/28\"]\ntimeouts.udp_ports = { domain = 20 } #!", "nat44.timeouts.udp_ports.domain", "no number of that kind", "from 1 to 65535"),
    case("UDP port 0", POOL, "pool = [\"198.51.100.0/28\"]\ntimeouts.udp_ports = { \"0\" = 20 } #!", "nat44.timeouts.udp_ports.0", "no number of that kind", "from 1 to 65535"),
    case("a UDP port written twice", POOL, "pool = [\"198.51.100.0/28\"]\ntimeouts.udp_ports = { \"53\" = 20, \"053\" = 30 } #!", "nat44.timeouts.udp_ports.053", "no number of that kind", "from 1 to 65535"),
    case("a UDP port's time out of range", POOL, "pool = [\"198.51.100.0/28\"]\ntimeouts.udp_ports = { \"53\" = 0 } #!", "nat44.timeouts.udp_ports", "out of range", "from 1 to 86400"),
    case("unknown mapping", POOL, "pool = [\"198.51.100.0/28\"]\nmapping = \"symmetric\" #!", "nat44.mapping", "is not known", "endpoint-independent"),
    case("unknown port selection", POOL, "pool = [\"198.51.100.0/28\"]\nport_selection = \"preserve-parities\" #!", "nat44.port_selection", "is not known", "did you mean \"preserve-parity\"?"),
    case("block too small", POOL, "pool = [\"198.51.100.0/28\"]\nblock_size = 32 #!", "nat44.block_size", "out of range", "from 64 to 4096"),
    case("block too large", POOL, "pool = [\"198.51.100.0/28\"]\nblock_size = 8192 #!", "nat44.block_size", "out of range", "from 64 to 4096"),
    case("first block too small", POOL, "pool = [\"198.51.100.0/28\"]\nfirst_block_size = 1 #!", "nat44.first_block_size", "out of range", "from 64 to 4096"),
    case("first block not a power of two", POOL, "pool = [\"198.51.100.0/28\"]\nblock_size = 512\nfirst_block_size = 96 #!", "nat44.first_block_size", "96 is not a power of two", "64 or 128"),
    case("first block larger than the others", POOL, "pool = [\"198.51.100.0/28\"]\nblock_size = 64\nfirst_block_size = 128 #!", "nat44.first_block_size", "128 is more than block_size, 64", "64 or less"),
    case("no room for two blocks", POOL, "pool = [\"198.51.100.0/28\"]\nports = \"1024-1535\"\nblock_size = 512\nfirst_block_size = 64 #!", "nat44.first_block_size", "no room for a first block and another", "wider"),
    case("no blocks at all", POOL, "pool = [\"198.51.100.0/28\"]\nblocks_per_subscriber = 0 #!", "nat44.blocks_per_subscriber", "out of range", "from 1 to 1024"),
    case("no sessions for a subscriber", POOL, "pool = [\"198.51.100.0/28\"]\nsessions_per_subscriber = 0 #!", "nat44.sessions_per_subscriber", "out of range", "from 1 to 67108864"),
    case("no new sessions", POOL, "pool = [\"198.51.100.0/28\"]\nnew_sessions_per_second = 0 #!", "nat44.new_sessions_per_second", "out of range", "from 1 to 1000000"),
    case("too many new sessions", POOL, "pool = [\"198.51.100.0/28\"]\nnew_sessions_per_second = 1_000_001 #!", "nat44.new_sessions_per_second", "out of range", "from 1 to 1000000"),
    case("a cool-down of more than a day", POOL, "pool = [\"198.51.100.0/28\"]\nport_cool_down = 86_401 #!", "nat44.port_cool_down", "out of range", "from 0 to 86400"),
    case("a cool-down as text", POOL, "pool = [\"198.51.100.0/28\"]\nport_cool_down = \"2 min\" #!", "nat44.port_cool_down", "expected an integer", "whole number"),
    case("no inbound sessions", POOL, "pool = [\"198.51.100.0/28\"]\ninbound_sessions_per_mapping = 0 #!", "nat44.inbound_sessions_per_mapping", "out of range", "from 1 to 65535"),
    case("deterministic without pools", POOL, "pool = [\"198.51.100.0/28\"]\ndeterministic = true #!", "nat44.deterministic", "no key", "keys"),
    case("a destination of two words", POOL, "pool = [\"198.51.100.0/28\"]\nuntranslated = [\"192.0.2.0/24 443\"] #!", "nat44.untranslated", "no destination", "port 443"),
    case("a destination of IPv6", POOL, "pool = [\"198.51.100.0/28\"]\nuntranslated = [\"2001:db8::/32\"] #!", "nat44.untranslated", "no destination", "192.0.2.0/24"),
    case("a destination's port 0", POOL, "pool = [\"198.51.100.0/28\"]\nuntranslated = [\"port 0\"] #!", "nat44.untranslated", "no destination", "port 25"),
    case("a destination with host bits", POOL, "pool = [\"198.51.100.0/28\"]\nuntranslated = [\"192.0.2.1/24\"] #!", "nat44.untranslated", "host bits", "192.0.2.0/24"),
    case("destinations as text", POOL, "pool = [\"198.51.100.0/28\"]\nuntranslated = \"port 25\" #!", "nat44.untranslated", "expected a list", "untranslated = ["),
    case("negative seed", POOL, "pool = [\"198.51.100.0/28\"]\nrandom_seed = -1 #!", "nat44.random_seed", "out of range", "from 0"),

    // [[nat44.pools]]
    case("pool and pools", NAT_WHOLE, "[nat44] #!\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"198.51.100.0/28\"]\n[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\n", "nat44", "both pool and pools", "into one of [[nat44.pools]]"),
    case("pools as one table", POOL, "[nat44.pools] #!\nname = \"a\"", "nat44.pools", "expected a list of tables", "[[nat44.pools]]"),
    case("pools as text", POOL, "pools = [\"198.51.100.0/28\"] #!", "nat44.pools", "expected a table", "[[nat44.pools]]"),
    case("no pools", POOL, "pools = [] #!", "nat44.pools", "empty", "[[nat44.pools]]"),
    case("a pool without a name", POOL, "[[nat44.pools]] #!\naddresses = [\"198.51.100.0/28\"]", "nat44.pools.name", "missing", "name = "),
    case("a pool by a wrong name", POOL, "[[nat44.pools]]\nname = \"Homes\" #!\naddresses = [\"198.51.100.0/28\"]", "nat44.pools.name", "not a name", "1 to 32"),
    case("two pools of one name", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\n[[nat44.pools]] #!\nname = \"a\"\naddresses = [\"198.51.100.16/28\"]", "nat44.pools", "pool \"a\" stands twice", "a name of its own"),
    case("a pool without addresses", POOL, "[[nat44.pools]] #!\nname = \"a\"", "nat44.pools.addresses", "missing", "198.51.100.0/28"),
    case("a pool of none", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [] #!", "nat44.pools.addresses", "empty", "addresses = ["),
    case("a pool of IPv6", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"2001:db8::/64\"] #!", "nat44.pools.addresses", "no range of IPv4", "198.51.100.0/28"),
    case("pools that overlap", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\n[[nat44.pools]]\nname = \"b\"\naddresses = [\"198.51.100.15-198.51.100.31\"] #!", "nat44.pools.addresses", "198.51.100.15-198.51.100.31 overlaps 198.51.100.0-198.51.100.15", "once"),
    case("a second pool with the edge", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\n[[nat44.pools]]\nname = \"b\"\naddresses = [\"203.0.113.1\"] #!", "nat44.pools.addresses", "203.0.113.1 in it, an address of the edge", "without it"),
    case("a second pool among inside hosts", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\n[[nat44.pools]]\nname = \"b\"\naddresses = [\"10.0.0.64/28\"] #!", "nat44.pools.addresses", "where inside hosts are", "public"),
    case("pools too large together", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"] #!\n[[nat44.pools]]\nname = \"b\"\naddresses = [\"100.64.0.0/16\"]", "nat44.pools.addresses", "65552 addresses", "65536"),
    case("a pool for an unknown realm", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nrealms = [\"hom\"] #!", "nat44.pools.realms", "no realm is named \"hom\"", "did you mean \"home\"?"),
    case("a pool for the outside", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nrealms = [\"internet\"] #!", "nat44.pools.realms", "realm \"internet\" is not in nat44.inside", "a realm of nat44.inside"),
    case("a pool for a realm twice", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nrealms = [\"home\", \"home\"] #!", "nat44.pools.realms", "stands twice", "remove"),
    case("a pool for no realm", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nrealms = [] #!", "nat44.pools.realms", "empty", "realms = ["),
    case("a pool for a realm that is not translated", NAT_WHOLE, "[[realm]]\nname = \"office\"\nside = \"inside\"\n[nat44]\ninside = [\"home\"]\noutside = \"internet\"\n[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nrealms = [\"office\"] #!", "nat44.pools.realms", "realm \"office\" is not in nat44.inside", "\"office\" into nat44.inside too"),
    case("subscribers of IPv6", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsubscribers = [\"2001:db8::/64\"] #!", "nat44.pools.subscribers", "not of IPv4", "10.0.0.0/24"),
    case("subscribers with host bits", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsubscribers = [\"10.0.0.1/24\"] #!", "nat44.pools.subscribers", "host bits", "10.0.0.0/24"),
    case("subscribers wider than any private network", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsubscribers = [\"10.0.0.0/7\"] #!", "nat44.pools.subscribers", "wider than any private network", "/8 or longer"),
    case("subscribers that overlap", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsubscribers = [\"10.0.0.0/24\", \"10.0.0.128/25\"] #!", "nat44.pools.subscribers", "10.0.0.128/25 overlaps 10.0.0.0/24", "once"),
    case("subscribers as a number", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsubscribers = 256 #!", "nat44.pools.subscribers", "expected a list", "subscribers = ["),
    case("deterministic and of whole addresses", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsubscribers = [\"10.0.0.0/24\"]\nwhole_address = true\ndeterministic = true #!", "nat44.pools.deterministic", "not both", "remove one"),
    case("deterministic as text", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsubscribers = [\"10.0.0.0/24\"]\ndeterministic = \"yes\" #!", "nat44.pools.deterministic", "expected a boolean", "true or false"),
    case("deterministic without subscribers", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\ndeterministic = true #!", "nat44.pools.deterministic", "must know its subscribers", "subscribers = ["),
    case("a ratio too high", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0\"]\nsubscribers = [\"10.0.0.0/22\"]\ndeterministic = true #!", "nat44.pools.deterministic", "1024 subscribers share 1 address(es): 1024 to one", "2 addresses or more"),
    case("a ratio too high for its ports", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsubscribers = [\"10.0.0.0/23\"]\nports = \"1024-2047\"\ndeterministic = true #!", "nat44.pools.deterministic", "512 subscribers share 16 address(es): 32 to one", "32 addresses or more"),
    case("blocks in a deterministic pool", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsubscribers = [\"10.0.0.0/24\"]\nblock_size = 128\ndeterministic = true #!", "nat44.pools.deterministic", "no blocks that block_size could cut", "remove block_size"),
    case("a subscriber's blocks in a deterministic pool", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsubscribers = [\"10.0.0.0/24\"]\nblocks_per_subscriber = 2\ndeterministic = true #!", "nat44.pools.deterministic", "no blocks that blocks_per_subscriber could cut", "remove"),
    case("first blocks of whole addresses", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nfirst_block_size = 64\nwhole_address = true #!", "nat44.pools.whole_address", "no blocks that first_block_size could cut", "remove first_block_size"),
    case("a pool's block not a power of two", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nblock_size = 65 #!", "nat44.pools.block_size", "65 is not a power of two", "64 or 128"),
    case("a pool's first block larger than the others", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nfirst_block_size = 128 #!", "nat44.pools.first_block_size", "128 is more than block_size, 64", "64 or less"),
    case("a pool's ports not in whole blocks", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nports = \"1000-65535\" #!", "nat44.pools.ports", "not whole blocks of 64", "ports = \"1024-65535\""),
    case("a pool's ports not in whole blocks of all pools", POOL, "block_size = 1024\n[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nports = \"1536-65535\" #!", "nat44.pools.ports", "not whole blocks of 1024", "ports = \"2048-65535\""),
    case("a pool with no room for two blocks", POOL, "block_size = 512\nfirst_block_size = 64\n[[nat44.pools]] #!\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nports = \"1024-1535\"", "nat44.pools", "no room for a first block and another", "wider"),
    case("more blocks than a pool's address has", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nports = \"1024-1535\"\nblocks_per_subscriber = 9 #!", "nat44.pools.blocks_per_subscriber", "only 8 block(s)", "8 or less"),
    case("a pool's unknown filtering", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nfiltering = \"none\" #!", "nat44.pools.filtering", "is not known", "endpoint-independent"),
    case("a limit in a pool", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nsessions_per_subscriber = 9 #!", "nat44.pools.sessions_per_subscriber", "no key", "keys"),
    case("a cool-down of one pool", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nport_cool_down = 120 #!", "nat44.pools.port_cool_down", "no key", "keys"),
    case("an unknown key of a pool", POOL, "[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0/28\"]\nadresses = [\"198.51.100.16\"] #!", "nat44.pools.adresses", "no key", "did you mean `addresses`?"),
    case("more subscribers than all pools have room for", POOL, "subscribers = 2017 #!\n[[nat44.pools]]\nname = \"a\"\naddresses = [\"198.51.100.0\"]\n[[nat44.pools]]\nname = \"b\"\naddresses = [\"198.51.100.1\"]", "nat44.subscribers", "port blocks (2016)", "2016 or less"),

    // [ipv6]
    case("ipv6 as a boolean", INSTANCE, "ipv6 = true #!\n[instance]", "ipv6", "expected one table, found a boolean", "write [ipv6]"),
    case("ipv6 without inside", MANAGE, "[ipv6] #!\noutside = \"internet\"\n[manage]", "ipv6.inside", "missing", "inside = ["),
    case("ipv6 without outside", MANAGE, "[ipv6] #!\ninside = [\"home\"]\n[manage]", "ipv6.outside", "missing", "outside ="),
    case("ipv6 inside as a string", MANAGE, "[ipv6]\noutside = \"internet\"\ninside = \"home\" #!\n[manage]", "ipv6.inside", "expected a list", "inside = ["),
    case("ipv6 inside unknown", MANAGE, "[ipv6]\noutside = \"internet\"\ninside = [\"hom\"] #!\n[manage]", "ipv6.inside", "no realm is named \"hom\"", "did you mean \"home\"?"),
    case("ipv6 inside is outside", MANAGE, "[ipv6]\noutside = \"internet\"\ninside = [\"internet\"] #!\n[manage]", "ipv6.inside", "of side outside", "side inside"),
    case("ipv6 inside twice", MANAGE, "[ipv6]\noutside = \"internet\"\ninside = [\"home\", \"home\"] #!\n[manage]", "ipv6.inside", "stands twice", "remove"),
    case("ipv6 outside is inside", MANAGE, "[ipv6]\ninside = [\"home\"]\noutside = \"home\" #!\n[manage]", "ipv6.outside", "of side inside", "side outside"),
    case("ipv6 outside unknown", MANAGE, "[ipv6]\ninside = [\"home\"]\noutside = \"www\" #!\n[manage]", "ipv6.outside", "no realm is named \"www\"", "the realms are"),
    case("too few ipv6 sessions", MANAGE, "[ipv6]\ninside = [\"home\"]\noutside = \"internet\"\nsessions = 1023 #!\n[manage]", "ipv6.sessions", "out of range", "from 1024 to 67108864"),
    case("too few ipv6 sessions for two workers", MANAGE, "[ipv6]\ninside = [\"home\"]\noutside = \"internet\"\nsessions = 2047 #!\n[manage]", "ipv6.sessions", "fewer than 1024 for each worker", "2048 or more"),
    case("ipsec as a string", MANAGE, "[ipv6]\ninside = [\"home\"]\noutside = \"internet\"\nallow_ipsec = \"no\" #!\n[manage]", "ipv6.allow_ipsec", "expected a boolean, found a string", "true or false"),
    case("an ipv6 timeout too long", MANAGE, "[ipv6]\ninside = [\"home\"]\noutside = \"internet\"\ntimeouts.other = 86_401 #!\n[manage]", "ipv6.timeouts.other", "out of range", "from 1 to 86400"),
    case("unknown ipv6 timeout", MANAGE, "[ipv6]\ninside = [\"home\"]\noutside = \"internet\"\ntimeouts.icmpv6 = 60 #!\n[manage]", "ipv6.timeouts.icmpv6", "no key", "did you mean `icmp`?"),
    case("unknown ipv6 key", MANAGE, "[ipv6]\ninside = [\"home\"]\noutside = \"internet\"\nalow_ipsec = true #!\n[manage]", "ipv6.alow_ipsec", "no key", "did you mean `allow_ipsec`?"),
    case("an IPv6 prefix in two realms", OUT_ADDRESSES, "addresses = [\"203.0.113.1/24\", \"2001:db8::1/64\"]\n[[interface]]\nport = \"spare\"\nrealm = \"home\"\naddresses = [\"2001:db8::2/63\"] #!\n[ipv6]\ninside = [\"home\"]\noutside = \"internet\"", "interface.addresses", "2001:db8::2/63 overlaps 2001:db8::1/64, of another realm of [ipv6]", "disjoint IPv6 prefixes"),

    // [cetp]
    case("tunnels without a name", MANAGE, "[hosts]\n[cetp] #!\n[manage]", "cetp", "no [dns.edge]", "write [dns.edge]"),
    case("tunnels without hosts", MANAGE, "[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp] #!\nport = 48001\n[manage]", "cetp", "no [hosts]", "write [hosts]"),
    case("tunnels at another's address", MANAGE, "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.9\"]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp] #!\nsessions = 5\n[cetp.identity]\n[manage]", "cetp", "203.0.113.9, of dns.edge.rlocs, is no address of the edge", "interface.addresses"),
    case("tunnels at a port that is taken", MANAGE, "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp]\nport = 5351 #!\n[manage]", "cetp.port", "ask for mappings", "another port"),
    case("tunnels at a port of others", MANAGE, "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp]\nport = 53 #!\n[manage]", "cetp.port", "out of range", "from 1024"),
    case("sessions, none", MANAGE, "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp]\nsessions = 0 #!\n[manage]", "cetp.sessions", "out of range", "from 1 to 4194304"),
    case("edges, too many", MANAGE, "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp]\nedges = 70000 #!\n[manage]", "cetp.edges", "out of range", "from 1 to 65536"),
    case("Ethernet of nobody", MANAGE, "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp]\nethernet = [\"outt\"] #!\n[manage]", "cetp.ethernet", "no interface is named \"outt\"", "did you mean"),
    case("Ethernet twice", MANAGE, "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp]\nethernet = [\"out\", \"out\"] #!\n[manage]", "cetp.ethernet", "stands twice", "one of the two"),
    case("tunnels on a short link", MANAGE, "[[port]]\nname = \"small\"\ndevice = \"net_tap7\"\nmtu = 1279\n[[interface]]\nname = \"far\"\nport = \"small\"\nrealm = \"internet\"\naddresses = [\"203.0.114.1/24\"]\n[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.114.1\"]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp] #!\nport = 48001\n[manage]", "cetp", "interface \"far\", of an RLOC, has an MTU of 1279: messages between edges need 1280", "interface.mtu = 1280"),
    case("misspelt key of tunnels", MANAGE, "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp]\nsession = 5 #!\n[manage]", "cetp.session", "no key has this name", "did you mean `sessions`?"),
    // [exception]
    case("exception as a list", MANAGE, "[[exception]] #!\nnetns = \"e\"\n[manage]", "exception", "expected one table, found an array", "write [exception]"),
    case("no namespace", MANAGE, "[exception] #!\n[manage]", "exception.netns", "missing", "ip netns add"),
    case("namespace as a path", MANAGE, "[exception]\nnetns = \"/run/netns/x\" #!\n[manage]", "exception.netns", "not a namespace's name", "1 to 64 of a-z"),
    case("namespace above", MANAGE, "[exception]\nnetns = \"..\" #!\n[manage]", "exception.netns", "not a namespace's name", "1 to 64 of a-z"),
    case("namespace without a name", MANAGE, "[exception]\nnetns = \"\" #!\n[manage]", "exception.netns", "not a namespace's name", "1 to 64 of a-z"),
    case("namespace like an option", MANAGE, "[exception]\nnetns = \"-all\" #!\n[manage]", "exception.netns", "not a namespace's name", "not beginning"),
    case("namespace too long", MANAGE, concat!("[exception]\nnetns = \"1234567890123456789012345678901234567890", "1234567890123456789012345\" #!\n[manage]"), "exception.netns", "not a namespace's name", "1 to 64"),
    case("namespace as a number", MANAGE, "[exception]\nnetns = 7 #!\n[manage]", "exception.netns", "expected a string", "quotes"),
    case("exception beside one address in two realms", MANAGE, "[[realm]]\nname = \"twin\"\nside = \"inside\"\n[[interface]]\nport = \"spare\"\nrealm = \"twin\"\naddresses = [\"fe80::1/64\", \"169.254.0.1/16\", \"10.0.0.1/24\"] #!\n[exception]\nnetns = \"e\"\n[manage]", "interface.addresses", "10.0.0.1 is the edge's address in realm \"home\" too", "another address, or exception.interfaces without"),
    case("exception for an unknown interface", MANAGE, "[exception]\nnetns = \"e\"\ninterfaces = [\"inn\"] #!\n[manage]", "exception.interfaces", "no interface is named \"inn\"", "did you mean \"in\"?"),
    case("exception for an interface twice", MANAGE, "[exception]\nnetns = \"e\"\ninterfaces = [\"in\", \"in\"] #!\n[manage]", "exception.interfaces", "stands twice", "remove"),
    case("exception for none", MANAGE, "[exception]\nnetns = \"e\"\ninterfaces = [] #!\n[manage]", "exception.interfaces", "empty", "interfaces = ["),
    case("exception for a string", MANAGE, "[exception]\nnetns = \"e\"\ninterfaces = \"in\" #!\n[manage]", "exception.interfaces", "expected a list", "interfaces = ["),
    case("exception without an address", IN_ADDRESSES, "[exception]\nnetns = \"e\"\ninterfaces = [\"in\"] #!", "exception.interfaces", "interface \"in\" has no address", "write its addresses"),
    case("exception with a long name", IN_ADDRESSES, "name = \"sixteen-letters-\"\naddresses = [\"10.0.0.1/24\"]\n[exception]\nnetns = \"e\"\ninterfaces = [\"out\", \"sixteen-letters-\"] #!", "exception.interfaces", "longer than the 15 bytes", "shorter interface.name"),
    case("exception with a long name, not named", "[[interface]]", "[exception]\nnetns = \"e\"\n[[interface]] #!\nname = \"sixteen-letters-\"", "interface.name", "longer than the 15 bytes", "shorter interface.name"),
    case("exception by the name of the loopback", "[[interface]]", "[exception]\nnetns = \"e\"\n[[interface]] #!\nname = \"lo\"", "interface.name", "loopback interface by this name", "another interface.name"),
    case("unknown exception key", MANAGE, "[exception]\nnetns = \"e\"\ninterface = [\"in\"] #!\n[manage]", "exception.interface", "no key", "did you mean `interfaces`?"),
];

fn refusals(text: &str) -> Vec<Refusal> {
    config::parse("test.toml", text).err().map(|errors| errors.refusals().to_vec()).unwrap_or_default()
}

impl Case {
    fn text(&self) -> String {
        assert!(GOOD.contains(self.replace), "{}: nothing to replace", self.name);
        GOOD.replacen(self.replace, self.with, 1)
    }

    /// What is not as expected, if anything.
    fn judge(&self) -> Option<String> {
        let text = self.text();
        let line = text.lines().position(|line| line.ends_with("#!")).map_or(1, |index| index + 1);
        let found = refusals(&text);
        let is_expected = |refusal: &Refusal| {
            refusal.line == line
                && refusal.key == self.key
                && refusal.message.contains(self.message)
                && refusal.hint.contains(self.hint)
        };
        if matches!(&found[..], [only] if is_expected(only)) {
            return None;
        }
        let found: Vec<String> = found.iter().map(Refusal::to_string).collect();
        Some(format!(
            "{}: expected line {line}, {}; found {}:\n{}",
            self.name,
            self.key,
            found.len(),
            found.join("\n")
        ))
    }
}

#[test]
fn the_right_one_is_accepted() {
    assert_eq!(refusals(GOOD), []);
}

#[test]
fn each_wrong_one_is_refused_once_at_its_place() {
    assert!(CASES.len() >= 200, "{} cases", CASES.len());
    let failures: Vec<String> = CASES.iter().filter_map(Case::judge).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), CASES.len(), failures.join("\n\n"));
}

#[test]
fn a_refusal_reads_like_a_compilers() {
    let text = GOOD.replace("realm = \"home\"", "realm = \"hme\"");
    let errors = config::parse("lab.toml", &text).expect_err("no such realm");
    assert_eq!(
        errors.to_string(),
        "lab.toml:24:9: interface.realm: no realm is named \"hme\"\n  \
         hint: the realms are \"home\", \"internet\"; did you mean \"home\"?"
    );
}

#[test]
fn independent_errors_are_reported_together_in_order() {
    let text = GOOD
        .replace("cores = [1, 2]", "cores = [1, 1]")
        .replace("device = \"net_tap1,iface=b\"", "device = \"net_tab1\"\nmtuu = 1")
        .replace("side = \"outside\"", "side = \"outsde\"")
        .replace("via = \"203.0.113.254\"", "via = \"192.0.2.1\"")
        .replace("sessions = 65536", "sessions = 1")
        .replace("198.51.100.0/28", "10.0.0.0/24");
    let found = refusals(&text);
    let keys: Vec<&str> = found.iter().map(|refusal| refusal.key.as_str()).collect();
    let expected = [
        "workers.cores",
        "port.device",
        "port.mtuu",
        "realm.side",
        "route.via",
        "flow.sessions",
        "nat44.pool",
    ];
    assert_eq!(keys, expected);
    assert!(found.is_sorted_by_key(|refusal| refusal.line));
}

#[test]
fn a_flood_of_errors_is_cut() {
    let unknown: String = (0..50_000).map(|number| format!("x{number} = 1\n")).collect();
    let errors = config::parse("t.toml", &format!("{unknown}{GOOD}")).expect_err("unknown keys");
    assert_eq!(errors.refusals().len(), 100);
    assert!(errors.to_string().ends_with("\nand 49900 more"), "{}", errors.refusals()[99]);
}

/// `workers.stop = "end-of-input"` with this device, and the hint if it is refused.
fn hint_at_end_of_input(device: &str) -> Option<String> {
    let text = format!(
        "[instance]\nname = \"t\"\n[workers]\ncores = [0]\nstop = \"end-of-input\"\n\
         [[port]]\nname = \"p\"\ndevice = \"{device}\"\n"
    );
    let found = refusals(&text);
    assert!(found.iter().all(|refusal| refusal.key == "port.device" && refusal.line == 8), "{found:?}");
    found.into_iter().next().map(|refusal| refusal.hint)
}

#[test]
fn end_of_input_needs_devices_that_end() {
    for device in
        ["net_pcap0,rx_pcap=a.pcap,tx_pcap=b.pcap", "net_null0,no-rx=1", "net_ring0", "eth_pcap0,rx_pcap=a"]
    {
        assert_eq!(hint_at_end_of_input(device), None, "{device}");
    }
    for (device, hint) in [
        ("net_tap0,iface=a", "net_pcap"),
        ("0000:03:00.0", "net_pcap"),
        ("net_null0", "no-rx=1"),
        ("net_pcap0,iface=lo", "rx_pcap=FILE"),
        ("net_pcap0,rx_pcap=a.pcap,infinite_rx=1", "remove infinite_rx"),
    ] {
        let found = hint_at_end_of_input(device).unwrap_or_default();
        assert!(found.contains(hint), "{device}: {found}");
    }
}
