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
    case("pool smaller than the rings", MEMORY, "mbufs = 4096 #!", "eal.mbufs", "cannot fill the receive rings (6144)", "more than 7168"),
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

    // [[realm]]
    case("a realm's name twice", "name = \"internet\"", "name = \"internet\"\nside = \"outside\"\n[[realm]]\nname = \"home\" #!", "realm.name", "another realm is named \"home\"", "another name"),
    case("no side", "[[realm]]\nname = \"home\"\nside = \"inside\"", "[[realm]] #!\nname = \"home\"", "realm.side", "missing", "\"inside\""),
    case("unknown side", "side = \"inside\"", "side = \"in\" #!", "realm.side", "\"in\" is not known", "\"inside\", \"outside\""),

    // [[interface]]
    case("unknown port", "port = \"in\"", "name = \"in\"\nport = \"inn\" #!", "interface.port", "no port is named \"inn\"", "did you mean \"in\"?"),
    case("unknown realm", "realm = \"home\"", "realm = \"hme\" #!", "interface.realm", "no realm is named \"hme\"", "the realms are \"home\", \"internet\"; did you mean \"home\"?"),
    case("two interfaces on a port", IN_ADDRESSES, "[[interface]]\nname = \"again\"\nport = \"in\" #!\nrealm = \"home\"", "interface.port", "has an interface already", "another port"),
    case("an interface's name twice", IN_ADDRESSES, "addresses = [\"10.0.0.1/24\"]\n[[interface]]\nname = \"in\" #!\nport = \"spare\"\nrealm = \"home\"", "interface.name", "another interface is named \"in\"", "another name"),
    case("address without length", IN_ADDRESSES, "addresses = [\"10.0.0.1\"] #!", "interface.addresses", "no prefix length", "10.0.0.1/24"),
    case("address that is none", IN_ADDRESSES, "addresses = [\"10.0.0.256/24\"] #!", "interface.addresses", "not an address", "10.0.0.1/24"),
    case("network address", IN_ADDRESSES, "addresses = [\"10.0.0.0/24\"] #!", "interface.addresses", "is the network address of 10.0.0.0/24", "10.0.0.1/24"),
    case("broadcast address", IN_ADDRESSES, "addresses = [\"10.0.0.255/24\"] #!", "interface.addresses", "is the broadcast address", "10.0.0.1/24"),
    case("subnet-router anycast", IN_ADDRESSES, "addresses = [\"2001:db8:1::/64\"] #!", "interface.addresses", "anycast", "host"),
    case("multicast address", IN_ADDRESSES, "addresses = [\"224.0.0.5/24\"] #!", "interface.addresses", "no host's address", "unicast"),
    case("loopback address", IN_ADDRESSES, "addresses = [\"::1/128\"] #!", "interface.addresses", "no host's address", "unicast"),
    case("an address twice", IN_ADDRESSES, "addresses = [\"10.0.0.1/24\", \"10.0.0.1/25\"] #!", "interface.addresses", "an address of this realm already", "another address"),
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
    case("negative seed", POOL, "pool = [\"198.51.100.0/28\"]\nrandom_seed = -1 #!", "nat44.random_seed", "out of range", "from 0"),
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
    assert!(CASES.len() >= 55, "{} cases", CASES.len());
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
