//! The row of an event's way at different rates: what a wait of events for each other costs in time and saves in work.

use anyhow::Result;

use super::Bench;
use super::rows::Row;
use super::stage::Side;
use super::stats::Goal;
use super::streams::{ALL, DATABASES, SERVICES};
use super::table::Line;

/// The producer commits at most so many times a second. With more, its own commits would be most of what is measured.
const COMMITS_MAX: u32 = 500;
/// Fewer events than this say little about the slowest hundredth.
const EVENTS_MIN: u32 = 100;
/// It is for comparison with itself, and takes long.
const ROUNDS_MAX: u16 = 3;

impl Bench {
    pub(super) async fn measure_curve(&mut self) -> Result<()> {
        for rate in self.args.rates.clone() {
            let args = [
                "events-way".to_owned(),
                format!("--events-rate={rate}"),
                format!("--events-a-commit={}", rate.div_ceil(COMMITS_MAX)),
            ];
            let without_times: Vec<String> =
                args.iter().cloned().chain(["--without-times".to_owned()]).collect();
            let duration = self.args.duration.max(u64::from(EVENTS_MIN * 1000 / rate));
            let (mut times, mut costs) = (Vec::new(), Vec::new());
            for _ in 0..self.args.rounds.min(ROUNDS_MAX) {
                times.push(self.round_of(duration, Side::Ours, &[], &args).await?);
                costs.push(self.round_of(duration, Side::Ours, &ALL, &without_times).await?);
            }
            let [services, databases] = [SERVICES, DATABASES].map(|parts| self.cpu_of(&costs, &parts));
            let figures = [
                ("p50, ms", times.iter().map(|round| round.p50_ms).collect()),
                ("p99, ms", times.iter().map(|round| round.p99_ms).collect()),
                ("CPU of relay and consumers, us an event", services),
                ("CPU of the databases, us an event", databases),
            ];
            for (measure, found) in figures {
                let found: Vec<f64> = found;
                let row = Row::EventsByRate.name();
                self.add(Line::alone(row, format!("{rate}/s: {measure}"), found, Goal::None));
            }
        }
        Ok(())
    }
}
