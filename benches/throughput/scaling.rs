//! `scaling`: what two workers forward in a second of the processor time of both, over what one does.
//!
//! Packets come in by two ports, half of the hosts by each: one worker polls both, two poll one each, and forward by the flows of one
//! table, of which some have the other worker as their home. The floor, as many threads on the same ports, says what the machine does to
//! two threads that share nothing: two cores that are one core's hyper-threads have less to give than two. One worker, and one thread of
//! the floor, has its turn on either core, of which others may use one more: two are compared with the mean of both. Turns are short and
//! many, because what others use changes; nothing looks at them, because no core is left to look from.

use crate::bed::{Case, Direction, Edge, Kind, Measured, Outcome, Reading, Window};
use crate::capture::{self, Load};
use crate::floor::FloorProcess;
use crate::turns::Spread;
use crate::{load_average, round};
use std::path::Path;
use std::time::Duration;

const WINDOW: Window = Window::whole(Duration::from_millis(100));
const TURNS: usize = 20;

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
    // Either core by itself, and both.
    let cases = [place(&[*first]), place(&[*second]), place(&[*first, *second])];
    let one = &cases[0];
    let halves = [0, 1].map(|half| one.file(&format!("half-{half}")));
    for (half, path) in halves.iter().enumerate() {
        capture::part(path, flows / capture::PORTS_PER_HOST, |host| host % 2 == half as u32)?;
    }
    let source = |n: usize| format!("net_pcap{n},rx_pcap={},infinite_rx=1", halves[n].display());
    let (mbufs, sink) = (one.mbufs(Direction::Out), |n| format!("net_null{n},no-rx=1"));
    let on = |case: &Case| case.cores.iter().map(usize::to_string).collect::<Vec<_>>().join("-");
    let edge = |case: &Case| {
        let name = format!("bench-scaling-{}-{flows}", on(case));
        let ports = [
            ("in-source-0", source(0)),
            ("in-source-1", source(1)),
            ("in-sink", sink(0)),
            ("out-sink", sink(1)),
        ];
        case.start_of(&name, case.config(&name, mbufs, &ports, ""), flows)
    };
    let floor = |case: &Case| {
        let name = format!("bench-floor-scaling-{}-{flows}", on(case));
        case.start_floor_on(&name, &[(source(0), sink(0)), (source(1), sink(1))], mbufs)
    };
    let [mut edges, mut floors] = [Rates::default(), Rates::default()];
    {
        let mut running: Vec<Edge> = cases.iter().map(edge).collect::<Outcome<_>>()?;
        let mut beside: Vec<FloorProcess> = cases.iter().map(floor).collect::<Outcome<_>>()?;
        for turn in 0..=TURNS {
            let edge = running.iter_mut().map(|edge| edge.measure(WINDOW)).collect::<Outcome<_>>()?;
            let floor = beside.iter_mut().map(|floor| floor.measure(WINDOW)).collect::<Outcome<_>>()?;
            // The first turn warms up.
            if turn > 0 {
                edges.add(edge);
                floors.add(floor);
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
            "turns": TURNS, "load_average": load_average()?,
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
    /// Of either core, and of both.
    fn add(&mut self, readings: Vec<Reading>) {
        let rates: Vec<f64> =
            readings.iter().map(|reading| reading.packets as f64 * 1e3 / reading.cpu_ns as f64).collect();
        let (one, two) = ((rates[0] + rates[1]) / 2.0, rates[2]);
        self.rates.push([one, two]);
        self.ratios.push(two / one);
    }

    fn medians(&self) -> [f64; 2] {
        [0, 1].map(|of| Spread::of(self.rates.iter().map(|rates| rates[of]).collect()).0)
    }
}
