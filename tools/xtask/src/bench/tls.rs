//! What TLS costs: user service with it, beside another process of it without.

use anyhow::Result;
use measurement::Round;
use testkit::ServiceName;

use super::Bench;
use super::rows::Row;
use super::stage::{Part, Side};
use super::stats::Goal;
use super::table::Line;

/// A figure of a round, of a process that was watched.
type Figure = fn(&Bench, &Round, Part) -> f64;

impl Bench {
    /// Empty calls over one connection, with TLS and without in turn.
    pub(super) async fn measure_tls(&mut self) -> Result<()> {
        self.stage.encrypt().await?;
        // Both are idle in the same way.
        if let Some(idle) = self.idle.get(&Part::Service(ServiceName::User).name()).copied() {
            self.idle.insert(Part::Encrypted.name(), idle);
        }
        let (with, without) = (Part::Encrypted, Part::Service(ServiceName::User));
        let empty = ["empty".to_owned()];
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            ours.push(self.round(Side::Encrypted, &[with], &empty).await?);
            plain.push(self.round(Side::Ours, &[without], &empty).await?);
        }
        let figures: [(&str, Figure, Goal); 4] = [
            ("service CPU, us a call", Self::cpu_each, Goal::None),
            ("calls a second", |_, round, _| round.rate(), Goal::None),
            ("p99, ms", |_, round, _| round.p99_ms, Goal::None),
            (
                "service resident, MiB",
                |_, round, part| round.processes[&part.name()].resident_mib,
                Goal::AtMost(60.0),
            ),
        ];
        for (measure, figure, goal) in figures {
            let of = |rounds: &[Round], part: Part| -> Vec<f64> {
                rounds.iter().map(|round| figure(self, round, part)).collect()
            };
            let (ours, plain) = (of(&ours, with), of(&plain, without));
            self.add(Line::beside(Row::Tls.name(), measure, &ours, &plain, goal));
        }
        self.stage.decrypt().await
    }
}
