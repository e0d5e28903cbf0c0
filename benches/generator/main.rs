//! A traffic generator for two DPDK ports, paced by the time stamp counter: the one that `scripts/bench-pktgen --local` uses where there
//! is no NIC, and no Pktgen. It sends by the first port, and counts what of it comes in by the second.
//!
//! ```text
//! generator --core CORE --out DEVICE --in DEVICE [--mac MAC]     a line a command, on standard input:
//!     FRAME FLOWS PACKETS_A_SECOND MILLISECONDS                  bytes with checksum, as RFC 2544 counts them
//!     → {"intended":…,"sent":…,"received":…}                     by JSON, two seconds after the last was sent
//! ```
//!
//! Packets are due at equal distances; what is late is sent at once, in bursts of 32 at most. `intended` are those that were due; what the
//! first port didn't take is lost as what didn't come back is: on devices without a wire (memif) a slow receiver shows as a full ring.
//! Frames are UDP of 63 ports of each host of 10.0.0.0/8, to one of 198.51.100.0/24; each bears the number of its
//! trial, so that none of an earlier one counts.

#[path = "../support/template.rs"]
mod template;

use ces::dpdk::{
    Burst, Eal, EalOptions, HugePages, LcoreSpec, Pool, PoolOptions, Port, PortOptions, RxQueue, TxQueue,
    cycles, cycles_hz, pause,
};
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{MacAddr, Protocol, ipv4, udp};
use std::io::BufRead;
use std::net::Ipv4Addr;
use template::{Template, Tuple};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BURST: usize = 32;
const PORTS_PER_HOST: u64 = 63;
/// How long what is on its way may take: RFC 2544 section 23 waits two seconds.
const RESIDUAL_MS: u64 = 2000;
/// The Ethernet checksum, which no frame here has and every size counts.
const FCS: usize = 4;
/// Where a frame's payload is.
const PAYLOAD: usize = 42;

struct Options {
    core: usize,
    out: String,
    back: String,
    to: MacAddr,
}

fn options() -> Outcome<Option<Options>> {
    let mut options =
        Options { core: 0, out: String::new(), back: String::new(), to: MacAddr([2, 0, 0, 0, 0, 1]) };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        // What cargo itself passes.
        if argument == "--bench" {
            continue;
        }
        let value = arguments.next().ok_or(format!("{argument} wants a value"))?;
        match argument.as_str() {
            "--core" => options.core = value.parse()?,
            "--out" => options.out = value,
            "--in" => options.back = value,
            "--mac" => options.to = value.parse().map_err(|_| format!("{value} is no MAC address"))?,
            other => return Err(format!("{other} is not known").into()),
        }
    }
    Ok((!options.out.is_empty() && !options.back.is_empty()).then_some(options))
}

fn main() -> Outcome<()> {
    let Some(options) = options()? else {
        println!("generator: started by scripts/bench-pktgen --local; it wants --core, --out and --in");
        return Ok(());
    };
    let mut eal = EalOptions::new(format!("ces-generator-{}", std::process::id()), 0);
    eal.lcores = vec![LcoreSpec { lcore_id: 1, core: options.core }];
    eal.huge_pages = HugePages::None;
    eal.memory_mb = Some(128);
    eal.vdevs = vec![options.out.clone(), options.back.clone()];
    eal.extra_args.push("--log-level=*:error".into());
    let eal = Eal::init(eal)?;
    let pool = Pool::new(&eal, &PoolOptions::new("generator", 16_383))?;
    let (_out, _, mut tx) = Port::start(&eal, &PortOptions::new(&options.out), &pool)?;
    let (_back, mut rx, _) =
        Port::start(&eal, &PortOptions { promiscuous: true, ..PortOptions::new(&options.back) }, &pool)?;
    let mut generator = Generator { tx: tx.remove(0), rx: rx.remove(0), pool, to: options.to, trial: 0 };
    let lcore = eal.launch(1, "ces-generator", move || -> Result<(), String> {
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(|error| error.to_string())?;
            let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let [frame, flows, rate, milliseconds] = numbers[..] else {
                return Err(format!("\"{line}\" is no trial"));
            };
            println!("{}", generator.trial(frame as usize, flows, rate, milliseconds)?);
        }
        Ok(())
    })?;
    Ok(lcore.join()?)
}

struct Generator {
    tx: TxQueue,
    rx: RxQueue,
    pool: Pool,
    to: MacAddr,
    trial: u64,
}

impl Generator {
    /// Sends for that time, and counts what comes in until it can be no more.
    fn trial(&mut self, frame: usize, flows: u64, rate: u64, milliseconds: u64) -> Result<String, String> {
        self.trial += 1;
        let template = frame_of(frame, self.to, self.trial)?;
        let hertz = cycles_hz();
        let in_cycles = |milliseconds: u64| (u128::from(hertz) * u128::from(milliseconds) / 1000) as u64;
        let (start, length) = (cycles(), in_cycles(milliseconds));
        let intended = (u128::from(rate) * u128::from(milliseconds) / 1000) as u64;
        let (mut offered, mut sent, mut received) = (0, 0, 0);
        let mut burst = Burst::new();
        while offered < intended {
            let elapsed = (cycles() - start).min(length);
            let due = (u128::from(intended) * u128::from(elapsed) / u128::from(length.max(1))) as u64;
            let count = (due - offered).min(BURST as u64);
            for n in offered..offered + count {
                let Some(mut mbuf) = self.pool.alloc_copy(&template.frame) else { break };
                template.fill(mbuf.data_mut(), ends(n % flows));
                burst.push(mbuf);
            }
            offered += count;
            sent += self.tx.send(&mut burst) as u64;
            burst.clear();
            received += self.take(&mut burst);
            if count == 0 {
                pause();
            }
        }
        let (end, patience) = (cycles(), in_cycles(RESIDUAL_MS));
        while cycles() - end < patience {
            received += self.take(&mut burst);
            pause();
        }
        Ok(format!("{{\"intended\":{intended},\"sent\":{sent},\"received\":{received}}}"))
    }

    /// How many of this trial have come.
    fn take(&mut self, burst: &mut Burst) -> u64 {
        self.rx.receive(burst);
        let mark = self.trial.to_be_bytes();
        burst.drain(..).filter(|mbuf| mbuf.data().get(PAYLOAD..PAYLOAD + 8) == Some(&mark)).count() as u64
    }
}

/// A frame of that size, its checksum counted.
fn frame_of(frame: usize, to: MacAddr, trial: u64) -> Result<Template, String> {
    let length = frame.checked_sub(FCS).filter(|length| (PAYLOAD + 8..=1514).contains(length));
    let length = length.ok_or("frames have 64 to 1518 bytes")?;
    let mut payload = vec![0; length - PAYLOAD];
    payload[..8].copy_from_slice(&trial.to_be_bytes());
    let path = Path::untagged(MacAddr([2, 0, 0, 0, 0, 2]), to);
    let ip = Ip::V4(ipv4::Header::new(Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, Protocol::UDP));
    let ports = udp::Header { source_port: 0, destination_port: 0 };
    let mut bytes = vec![0; length];
    build::frame(&mut bytes, &path, &ip, &Transport::Udp(ports, &payload))
        .map_err(|error| error.to_string())?;
    Ok(Template::new(bytes))
}

fn ends(flow: u64) -> Tuple {
    let host = u32::from(Ipv4Addr::new(10, 0, 1, 0)) + (flow / PORTS_PER_HOST) as u32;
    let remote = u32::from(Ipv4Addr::new(198, 51, 100, 1));
    ((host, 1024 + (flow % PORTS_PER_HOST) as u16), (remote, 443))
}
