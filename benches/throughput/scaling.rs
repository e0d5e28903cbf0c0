//! `scaling`: what two workers forward in a second of the processor time of both, over what one does.
//!
//! Packets come in by two ports, half of the hosts by each: one worker polls both, two poll one each, and forward by the flows of one
//! table, of which some have the other worker as their home. The floor, as many threads on the same ports, says what the machine does to
//! two threads that share nothing: two cores that are one core's hyper-threads, or that others use, have less to give than two.

use crate::bed::{Case, Direction, Edge, Kind, Measured, Outcome, Reading};
use crate::capture::{self, Load};
use crate::floor::FloorProcess;
use crate::turns::Spread;
use crate::{ROUNDS, WINDOW, load_average, round};
use std::path::Path;

/// The least and the most of what 63 flows a host make.
pub const FLOWS: [u32; 2] = [1024 * capture::PORTS_PER_HOST, 16_384 * capture::PORTS_PER_HOST];

pub fn scaling(directory: &Path, cores: &[usize], flows: u32, json: bool) -> Outcome<()> {
    let [.., first, second] = cores else {
        eprintln!("scaling: left out: two workers want two cores");
        return Ok(());
    };
    let place = |cores: &[usize]| Case {
        kind: Kind::Nat44,
        load: Load::SMALL,
        directory: directory.into(),
        flows,
        cores: cores.into(),
    };
    let (one, two) = (place(&[*second]), place(&[*first, *second]));
    let halves = [0, 1].map(|half| one.file(&format!("half-{half}")));
    for (half, path) in halves.iter().enumerate() {
        capture::part(path, flows / capture::PORTS_PER_HOST, |host| host % 2 == half as u32)?;
    }
    let source = |n: usize| format!("net_pcap{n},rx_pcap={},infinite_rx=1", halves[n].display());
    let (mbufs, sink) = (one.mbufs(Direction::Out), |n| format!("net_null{n},no-rx=1"));
    let edge = |case: &Case| {
        let name = format!("bench-scaling-{}-{flows}", case.cores.len());
        let ports = [
            ("in-source-0", source(0)),
            ("in-source-1", source(1)),
            ("in-sink", sink(0)),
            ("out-sink", sink(1)),
        ];
        case.start_of(&name, case.config(&name, mbufs, &ports, ""), flows)
    };
    let floor = |case: &Case| {
        let name = format!("bench-floor-scaling-{}-{flows}", case.cores.len());
        case.start_floor_on(&name, &[(source(0), sink(0)), (source(1), sink(1))], mbufs)
    };
    let [mut edges, mut floors] = [Rates::default(), Rates::default()];
    {
        let mut running: [Edge; 2] = [edge(&one)?, edge(&two)?];
        let mut beside: [FloorProcess; 2] = [floor(&one)?, floor(&two)?];
        for turn in 0..=ROUNDS {
            let edge = running.each_mut().map(|edge| edge.measure(WINDOW));
            let floor = beside.each_mut().map(|floor| floor.measure(WINDOW));
            // The first turn warms up.
            if turn > 0 {
                edges.add(edge)?;
                floors.add(floor)?;
            }
        }
    }
    halves.iter().try_for_each(std::fs::remove_file)?;
    let ([one, two], [floor_one, floor_two]) = (edges.medians(), floors.medians());
    let (ratio, floor) = (Spread::of(edges.ratios), Spread::of(floors.ratios));
    if json {
        let row = serde_json::json!({
            "case": "scaling", "flows": flows, "workers": 2, "scaling": round(ratio.0),
            "scaling_range": [round(ratio.1), round(ratio.2)], "floor_scaling": round(floor.0),
            "mpps_per_cpu_second_1": round(one), "mpps_per_cpu_second_2": round(two),
            "floor_mpps_per_cpu_second_1": round(floor_one), "floor_mpps_per_cpu_second_2": round(floor_two),
            "rounds": ROUNDS, "load_average": load_average()?,
        });
        println!("{row}");
    } else {
        println!(
            "scaling, {flows} flows, out: one worker {one:.2} million packets a second of CPU time, two {two:.2}: {:.2} ({:.2}-{:.2}); \
             the floor {floor_one:.2} and {floor_two:.2}: {:.2}",
            ratio.0, ratio.1, ratio.2, floor.0
        );
    }
    Ok(())
}

/// Of one worker and of two, turn by turn.
#[derive(Default)]
struct Rates {
    /// Millions of packets a second of processor time.
    rates: Vec<[f64; 2]>,
    ratios: Vec<f64>,
}

impl Rates {
    fn add(&mut self, [one, two]: [Outcome<Reading>; 2]) -> Outcome<()> {
        let rate = |reading: Reading| reading.packets as f64 * 1e3 / reading.cpu_ns as f64;
        let rates = [rate(one?), rate(two?)];
        self.rates.push(rates);
        self.ratios.push(rates[1] / rates[0]);
        Ok(())
    }

    fn medians(&self) -> [f64; 2] {
        [0, 1].map(|of| Spread::of(self.rates.iter().map(|rates| rates[of]).collect()).0)
    }
}
