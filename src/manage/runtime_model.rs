//! What the operator's socket shows of the workers' cycles: a part of [`super::model`], with its promises; the difference of two looks;
//! and laid out for people.

use super::text::{LEFT, RIGHT, Table, count, duration};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Stages in which a worker has nothing to do.
const AT_REST: [&str; 2] = ["idle", "asleep"];

/// `show runtime`: where the workers' cycles went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Milliseconds since the process started; of a difference, those between the two looks.
    pub elapsed_ms: u64,
    /// Cycles a second.
    pub hertz: u64,
    pub workers: Vec<WorkerRuntime>,
}

/// One worker's. The cycles of its stages together are all that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRuntime {
    /// Its number, from 0.
    pub worker: u16,
    /// In the order of a packet's way.
    pub stages: Vec<StageRuntime>,
}

/// What one stage took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRuntime {
    pub stage: String,
    /// Bursts that had packets for it; or, of a stage without packets, how often it was its turn.
    pub calls: u64,
    /// A packet counts in each stage that it comes to.
    pub packets: u64,
    /// Of the time-stamp counter, which goes on while the core runs something else.
    pub cycles: u64,
}

impl Runtime {
    /// What came after an earlier look; `None` where that was at another process, which has ended.
    pub fn since(&self, earlier: &Runtime) -> Option<Runtime> {
        let elapsed_ms = self.elapsed_ms.checked_sub(earlier.elapsed_ms)?;
        let workers = in_pairs(&self.workers, &earlier.workers)?.map(|(now, then)| {
            let stages = in_pairs(&now.stages, &then.stages)?.map(|(now, then)| now.since(then));
            Some(WorkerRuntime { worker: now.worker, stages: stages.collect::<Option<_>>()? })
        });
        Some(Runtime { elapsed_ms, hertz: self.hertz, workers: workers.collect::<Option<_>>()? })
    }
}

fn in_pairs<'t, T>(now: &'t [T], then: &'t [T]) -> Option<impl Iterator<Item = (&'t T, &'t T)>> {
    (now.len() == then.len()).then(|| now.iter().zip(then))
}

impl StageRuntime {
    fn since(&self, earlier: &StageRuntime) -> Option<StageRuntime> {
        Some(StageRuntime {
            stage: (self.stage == earlier.stage).then(|| self.stage.clone())?,
            calls: self.calls.checked_sub(earlier.calls)?,
            packets: self.packets.checked_sub(earlier.packets)?,
            cycles: self.cycles.checked_sub(earlier.cycles)?,
        })
    }

    fn is_at_rest(&self) -> bool {
        AT_REST.contains(&self.stage.as_str())
    }
}

/// For people: a table a worker. `all`: with the stages that had no call.
pub fn text(runtime: &Runtime, all: bool) -> String {
    let elapsed = duration(runtime.elapsed_ms);
    let mut text = format!("{elapsed}, {:.2} GHz\n", runtime.hertz as f64 / 1e9);
    let mut hidden = 0;
    for worker in &runtime.workers {
        let cycles = |s: &StageRuntime| s.cycles;
        let total: u64 = worker.stages.iter().map(cycles).sum();
        let busy: u64 = worker.stages.iter().filter(|s| !s.is_at_rest()).map(cycles).sum();
        let _ = writeln!(text, "\nworker {}: busy {}", worker.worker, percent(busy, total));
        let mut table = Table::new(&[LEFT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT]);
        table.row(
            ["stage", "calls", "packets", "packets/call", "cycles/packet", "cycles/call", "share"]
                .map(str::to_owned),
        );
        for stage in &worker.stages {
            if stage.calls == 0 && !all {
                hidden += 1;
                continue;
            }
            table.row([
                stage.stage.clone(),
                count(stage.calls),
                count(stage.packets),
                each(stage.packets, stage.calls),
                each(stage.cycles, stage.packets),
                each(stage.cycles, stage.calls),
                percent(stage.cycles, total),
            ]);
        }
        let _ = write!(text, "{table}");
    }
    if hidden > 0 {
        let _ = writeln!(text, "\n{hidden} stages without a call are not shown (--all shows them)");
    }
    text
}

/// A mean; nothing of nothing.
fn each(what: u64, of: u64) -> String {
    if of == 0 || what == 0 {
        return "-".into();
    }
    format!("{:.1}", what as f64 / of as f64)
}

fn percent(part: u64, whole: u64) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    format!("{percent:.1} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(stage: &str, calls: u64, packets: u64, cycles: u64) -> StageRuntime {
        StageRuntime { stage: stage.into(), calls, packets, cycles }
    }

    fn runtime(elapsed_ms: u64, stages: Vec<StageRuntime>) -> Runtime {
        Runtime { elapsed_ms, hertz: 2_450_000_000, workers: vec![WorkerRuntime { worker: 3, stages }] }
    }

    #[test]
    fn every_figure_is_told() {
        let stages = vec![
            stage("receive", 1000, 64_000, 640_000),
            stage("ipv4", 1000, 64_000, 1_280_000),
            stage("slow", 0, 0, 0),
            stage("timers", 20, 0, 80_000),
            stage("idle", 40, 0, 3_000_000),
        ];
        let runtime = runtime(61_000, stages);
        let text = text(&runtime, false);
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[0].join(" "), "1m01s, 2.45 GHz");
        assert_eq!(lines[2].join(" "), "worker 3: busy 40.0 %");
        let row =
            |name: &str| lines.iter().find(|words| words.first() == Some(&name)).map(|row| row.join(" "));
        assert_eq!(row("receive").as_deref(), Some("receive 1,000 64,000 64.0 10.0 640.0 12.8 %"));
        assert_eq!(row("ipv4").as_deref(), Some("ipv4 1,000 64,000 64.0 20.0 1280.0 25.6 %"));
        assert_eq!(row("timers").as_deref(), Some("timers 20 0 - - 4000.0 1.6 %"));
        assert_eq!(row("idle").as_deref(), Some("idle 40 0 - - 75000.0 60.0 %"));
        assert_eq!(row("slow"), None);
        assert!(text.contains("1 stages without a call"), "{text}");
        let text = super::text(&runtime, true);
        assert!(text.contains("slow") && !text.contains("without a call"), "{text}");
        let json = serde_json::to_string(&runtime).unwrap();
        assert_eq!(serde_json::from_str::<Runtime>(&json).unwrap(), runtime);
    }

    #[test]
    fn two_looks_differ_by_what_came_between() {
        let first = runtime(1000, vec![stage("receive", 2, 100, 5000), stage("idle", 7, 0, 900)]);
        let second = runtime(3500, vec![stage("receive", 5, 200, 9000), stage("idle", 7, 0, 900)]);
        let between = runtime(2500, vec![stage("receive", 3, 100, 4000), stage("idle", 0, 0, 0)]);
        assert_eq!(second.since(&first), Some(between));
        assert_eq!(first.since(&second), None, "it has been started again");
        // It has been started again, and runs for longer now, but has done less.
        let quiet = runtime(3500, vec![stage("receive", 1, 1, 80), stage("idle", 9, 0, 9000)]);
        assert_eq!(quiet.since(&first), None);
        let other = runtime(3500, vec![stage("receive", 5, 200, 9000)]);
        assert_eq!(other.since(&first), None);
        let workers = vec![];
        assert_eq!(Runtime { workers, ..second }.since(&first), None);
    }
}
