//! The rows for calls. Each keeps sixteen calls in flight over one connection, to the service and its floor in turn.

use anyhow::Result;
use measurement::Round;

use super::Bench;
use super::rows::Row;
use super::stage::{Part, Side};
use super::stats::Goal;
use super::table::Line;

const SERVICE_GOAL: Goal = Goal::TimesFloor(1.3);
const DATABASE_GOAL: Goal = Goal::TimesFloor(1.1);

/// A figure of a round.
pub(super) type Figure = fn(&Round) -> f64;

impl Bench {
    pub(super) async fn measure_call(&mut self, row: Row) -> Result<()> {
        let call = self.prepare(row).await?;
        let watched = |side: Side| {
            let part = |name| if side == Side::Ours { Part::Service(name) } else { Part::Floor(name) };
            let services = [Some(call.service), call.helper].into_iter().flatten().map(part);
            services.chain(call.database).collect::<Vec<_>>()
        };
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            ours.push(self.round(Side::Ours, &watched(Side::Ours), &call.args).await?);
            floor.push(self.round(Side::Floor, &watched(Side::Floor), &call.args).await?);
        }
        let row = row.name();
        let cpu = |bench: &Self, rounds: &[Round], part: Part| -> Vec<f64> {
            rounds.iter().map(|round| bench.cpu_each(round, part)).collect()
        };
        let services = [(call.service, "service CPU, us a call".to_owned(), SERVICE_GOAL)];
        let helper = call.helper.map(|name| (name, format!("{name} CPU, us a call"), Goal::None));
        for (name, measure, goal) in services.into_iter().chain(helper) {
            let each = cpu(self, &ours, Part::Service(name));
            let at_best = cpu(self, &floor, Part::Floor(name));
            self.add(Line::beside(row, measure, &each, &at_best, goal));
        }
        if let Some(database) = call.database {
            let (each, at_best) = (cpu(self, &ours, database), cpu(self, &floor, database));
            let measure = format!("{} CPU, us a call", database.name());
            self.add(Line::beside(row, measure, &each, &at_best, DATABASE_GOAL));
        }
        let all = |rounds: &[Round], figure: Figure| rounds.iter().map(figure).collect::<Vec<_>>();
        let figures: [(&str, Figure); 3] = [
            ("calls a second", Round::rate),
            ("p50, ms", |round| round.p50_ms),
            ("p99, ms", |round| round.p99_ms),
        ];
        for (measure, figure) in figures {
            self.add(Line::beside(row, measure, &all(&ours, figure), &all(&floor, figure), Goal::None));
        }
        let memory = |rounds: &[Round], part: Part| -> Vec<f64> {
            rounds.iter().map(|round| round.processes[&part.name()].resident_mib).collect()
        };
        let (ours, floor) =
            (memory(&ours, Part::Service(call.service)), memory(&floor, Part::Floor(call.service)));
        self.add(Line::beside(row, "service resident, MiB", &ours, &floor, Goal::AtMost(60.0)));
        Ok(())
    }
}
