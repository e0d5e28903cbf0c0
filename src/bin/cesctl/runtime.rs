//! The verb of `cesctl` about where the workers' cycles go: since the start, or between two looks.

use std::time::Duration;

use ces::manage::client::Error;
use ces::manage::runtime_model::{self, Runtime};
use clap::{Args, value_parser};
use serde_json::Value;

/// What is shown.
#[derive(Args)]
pub struct Which {
    /// Show what comes in so many seconds from now, 1 to 3600, instead of all since the start
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u16).range(1..=3600))]
    interval: Option<u16>,
    /// Show the stages without a call too
    #[arg(long)]
    all: bool,
}

impl Which {
    /// What is shown, after one look or two; `None` where the second one was at another process.
    pub fn answer(&self, look: impl Fn() -> Result<Value, Error>) -> Result<Option<Value>, Error> {
        let first = look()?;
        let Some(seconds) = self.interval else { return Ok(Some(first)) };
        std::thread::sleep(Duration::from_secs(seconds.into()));
        let second: Runtime = serde_json::from_value(look()?)?;
        let between = second.since(&serde_json::from_value(first)?);
        Ok(between.map(serde_json::to_value).transpose()?)
    }

    pub fn layout(&self, answer: Value) -> Result<String, Error> {
        Ok(runtime_model::text(&serde_json::from_value(answer)?, self.all))
    }
}
