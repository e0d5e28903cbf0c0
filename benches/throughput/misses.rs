//! `nat44_miss`: packets from outside that are nobody's: looked up, not found, judged, and dropped under their name. What a scan costs.

use crate::bed::{Case, Direction, Kind, Measured, Outcome};
use crate::capture::{self, Load};
use crate::setup::Place;
use crate::turns::{Spread, Turns};
use crate::{ROUNDS, WINDOW, load_average, round};

const HOSTS: u32 = 1024;
/// The name under which they are dropped.
const REASON: &str = "nat_no_mapping";

pub fn misses(place: &Place<'_>, json: bool) -> Outcome<()> {
    let flows = HOSTS * capture::PORTS_PER_HOST;
    let directory = place.directory.into();
    let case = Case { kind: Kind::Nat44, load: Load::SMALL, directory, flows, cores: vec![place.core] };
    let file = case.file("strangers");
    capture::strangers(&file, HOSTS)?;
    let source = || format!("net_pcap1,rx_pcap={},infinite_rx=1", file.display());
    let sink = |n: u32| format!("net_null{n},no-rx=1");
    let ports = [("out-source", source()), ("in-sink", sink(0)), ("out-sink", sink(1))];
    let mbufs = case.mbufs(Direction::In);
    let mut edge = case.start_of("bench-miss", case.config("bench-miss", mbufs, &ports, ""), 0)?;
    let mut floor = case.start_floor_on("bench-floor-miss", &[(source(), sink(1))], mbufs)?;
    let mut turns = Turns::default();
    for turn in 0..=ROUNDS {
        let (floor, edge) = (floor.measure(WINDOW)?, edge.measure_drops(WINDOW, REASON)?);
        // The first turn warms up.
        if turn > 0 {
            turns.add(floor, edge, place.hertz);
        }
    }
    std::fs::remove_file(&file)?;
    let quiet = turns.quiet();
    let (floor, above) = (Spread::of(turns.floors), Spread::of(turns.above));
    if json {
        let row = serde_json::json!({
            "case": "nat44_miss", "flows": flows, "dropped_as": REASON, "floor_cycles_per_packet": round(floor.0),
            "cycles_above_floor": round(above.0), "cycles_above_floor_range": [round(above.1), round(above.2)],
            "quiet": quiet.map(|quiet| quiet.json()), "rounds": ROUNDS, "load_average": load_average()?,
        });
        println!("{row}");
    } else {
        println!(
            "nat44_miss, {flows} flows that are nobody's: dropped in {} cycles a packet above the floor, {}; quiet: {}",
            above.text(),
            floor.text(),
            quiet.map_or_else(|| "-".into(), |quiet| quiet.text())
        );
    }
    Ok(())
}
