//! Two that run in turns: the floor and what is measured, so that what else the machine does hits both.

use crate::bed::Reading;
use crate::quiet::{Quiet, Slices};
use crate::round;

/// Median, least and greatest.
pub struct Spread(pub f64, pub f64, pub f64);

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values[values.len() / 2], values[0], values[values.len() - 1])
    }

    pub fn text(&self) -> String {
        format!("{:.1} ({:.1}-{:.1})", self.0, self.1, self.2)
    }
}

/// Cycles a packet, turn by turn, and the slices of all turns.
#[derive(Default)]
pub struct Turns {
    pub floors: Vec<f64>,
    pub cycles: Vec<f64>,
    pub above: Vec<f64>,
    /// Of the floor, and of what is above it.
    slices: [Slices; 2],
}

impl Turns {
    /// A turn of each.
    pub fn add(&mut self, floor: Reading, edge: Reading, hertz: f64) {
        let [base, cycles] = [&floor, &edge].map(|reading| reading.cycles(hertz));
        self.floors.push(base);
        self.cycles.push(cycles);
        self.above.push(cycles - base);
        for (all, reading) in self.slices.iter_mut().zip([floor, edge]) {
            reading.slices.into_iter().for_each(|slices| all.append(slices));
        }
    }

    /// Both while the host was quiet.
    pub fn quiet(&self) -> Option<Above> {
        Some(Above { floor: self.slices[0].quiet()?, edge: self.slices[1].quiet()? })
    }
}

/// What a quiet host makes of the two.
pub struct Above {
    pub floor: Quiet,
    pub edge: Quiet,
}

impl Above {
    fn above(&self) -> f64 {
        self.edge.cycles - self.floor.cycles
    }

    pub fn text(&self) -> String {
        format!("{:.1} above {:.1}", self.above(), self.floor.cycles)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "cycles_above_floor": round(self.above()),
            "cycles_per_packet": round(self.edge.cycles),
            "floor_cycles_per_packet": round(self.floor.cycles),
            "stages": self.edge.stages_json(),
            "slices": self.edge.of,
        })
    }
}
