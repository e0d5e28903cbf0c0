//! What a packet costs while the host is quiet.
//!
//! On a machine that others share, a hyper-thread's neighbour takes up to half of what the core can do, from millisecond to
//! millisecond: medians then say how busy the neighbours were. So each thread under measurement is looked at every half
//! millisecond, too: packets and cycles since the look before, by itself and by stage. The slices that took fewest cycles a packet
//! are those in which the neighbours were at rest; floor and edge are cut and chosen alike, and the floor's figure, beside that of a
//! machine with cores of its own, says whether there were enough of them.

use crate::round;
use ces::dataplane::account::Stage;
use ces::manage::Runtime;
use std::time::Duration;

/// Between two looks: shorter than the quiet of such a host lasts (one to two milliseconds), and thousands of packets.
pub const SLICE: Duration = Duration::from_micros(400);
/// Which slices count, of a hundred in the order of their cycles a packet. Below are those in which a look fell between a stage's
/// counts.
const QUIET: [usize; 2] = [1, 10];
/// Fewer say nothing.
const LEAST: usize = 200;

/// A thread's counts so far.
pub struct Look {
    /// Received.
    pub packets: u64,
    /// Of the time-stamp counter, by stage; of a thread without stages, one.
    pub cycles: Vec<u64>,
}

impl Look {
    /// Each worker's, from the account of its stages.
    pub fn of_workers(runtime: &Runtime) -> Vec<Self> {
        let workers = runtime.workers.iter().map(|worker| {
            let received = worker.stages.iter().find(|stage| stage.stage == Stage::Receive.name());
            Self {
                packets: received.map_or(0, |stage| stage.packets),
                cycles: worker.stages.iter().map(|stage| stage.cycles).collect(),
            }
        });
        workers.collect()
    }

    /// Cycles a packet since `earlier`, in all; `None` without packets.
    fn since(&self, earlier: &Look) -> Option<Slice> {
        let packets = self.packets.checked_sub(earlier.packets).filter(|&packets| packets > 0)?;
        let cycles: Vec<u64> =
            self.cycles.iter().zip(&earlier.cycles).map(|(now, then)| now - then).collect();
        Some(Slice { packets, each: cycles.iter().sum::<u64>() as f64 / packets as f64, cycles })
    }
}

/// What a thread did between two looks.
#[derive(Clone)]
struct Slice {
    packets: u64,
    cycles: Vec<u64>,
    /// Cycles a packet.
    each: f64,
}

/// Those of one thread.
#[derive(Clone, Default)]
pub struct Slices(Vec<Slice>);

impl Slices {
    /// The slices between looks that followed each other.
    pub fn between(looks: &[Look]) -> Self {
        Self(looks.windows(2).filter_map(|pair| pair[1].since(&pair[0])).collect())
    }

    pub fn append(&mut self, more: Slices) {
        self.0.extend(more.0);
    }

    /// Of all cycles, those of a stage.
    pub fn share(&self, stage: Stage) -> f64 {
        let sum = |of: &dyn Fn(&Slice) -> u64| self.0.iter().map(of).sum::<u64>() as f64;
        sum(&|slice| slice.cycles[stage as usize]) / sum(&|slice| slice.cycles.iter().sum())
    }

    /// Of the quiet ones; `None` where there are too few to choose from.
    pub fn quiet(&self) -> Option<Quiet> {
        let mut slices: Vec<&Slice> = self.0.iter().collect();
        if slices.len() < LEAST {
            return None;
        }
        slices.sort_by(|a, b| a.each.total_cmp(&b.each));
        let [first, end] = QUIET.map(|hundredth| slices.len() * hundredth / 100);
        let chosen = &slices[first..end];
        let packets = chosen.iter().map(|slice| slice.packets).sum::<u64>() as f64;
        let stages = (0..chosen[0].cycles.len())
            .map(|stage| chosen.iter().map(|slice| slice.cycles[stage]).sum::<u64>() as f64 / packets);
        let stages: Vec<f64> = stages.collect();
        Some(Quiet { cycles: stages.iter().sum(), stages, of: slices.len() })
    }
}

/// Cycles a packet of a quiet host.
pub struct Quiet {
    pub cycles: f64,
    /// By stage.
    pub stages: Vec<f64>,
    /// Slices that were chosen from.
    pub of: usize,
}

impl Quiet {
    /// A worker's stages that took a twentieth of a cycle or more, by name.
    pub fn stages_json(&self) -> serde_json::Value {
        let stages = Stage::ALL.iter().zip(&self.stages).filter(|(_, cycles)| **cycles >= 0.05);
        stages.map(|(stage, cycles)| (stage.name(), serde_json::Value::from(round(*cycles)))).collect()
    }
}
