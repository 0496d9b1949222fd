//! The row of scale: what calls cost with few users and with many, side by side.

use anyhow::Result;
use measurement::Round;
use testkit::MongoKind;

use super::Bench;
use super::prepare::Call;
use super::rows::Row;
use super::stage::{Part, Side};
use super::stats::Goal;
use super::table::Line;

/// The rows whose calls read or write among all users and posts.
const ROWS: [Row; 3] = [Row::UserGet, Row::PostHandOver, Row::PostList];
/// What a call may cost with many, times what it costs with few.
const GOAL: Goal = Goal::TimesFloor(2.0);

/// A row and what was measured of it.
struct Scaled {
    row: Row,
    call: Call,
    few: Vec<Round>,
}

impl Bench {
    /// The column of the floor is that with few users.
    pub(super) async fn measure_scale(&mut self) -> Result<()> {
        let (few, many) = (self.args.users, self.args.many_users);
        self.stage.seed(few).await?;
        let mut scaled = Vec::new();
        for row in ROWS {
            if row == Row::PostList && self.stage.mongo() == MongoKind::Secantus {
                eprintln!(
                    "{} is not measured with {many} users: the stand-in for MongoDB reads all that a filter matches \
                     before it sorts or limits",
                    row.name()
                );
                continue;
            }
            let call = self.prepare(row).await?;
            let few = self.rounds_of(&call).await?;
            scaled.push(Scaled { row, call, few });
        }
        self.stage.seed(many).await?;
        for Scaled { row, call, few: before } in scaled {
            let after = self.rounds_of(&call).await?;
            let parts = [Some(Part::Service(call.service)), call.database];
            for part in parts.into_iter().flatten() {
                let [after, before] = [&after, &before].map(|rounds| self.cpu_of(rounds, &[part]));
                let measure = format!("{}: {} CPU, us a call", row.name(), part.name());
                self.add(Line::beside(Row::Scale.name(), measure, &after, &before, GOAL));
            }
            let [after, before] = [&after, &before].map(|rounds| slowest(rounds));
            let measure = format!("{}: p99, ms", row.name());
            self.add(Line::beside(Row::Scale.name(), measure, &after, &before, GOAL));
        }
        Ok(())
    }

    async fn rounds_of(&mut self, call: &Call) -> Result<Vec<Round>> {
        let parts: Vec<Part> =
            [Some(Part::Service(call.service)), call.database].into_iter().flatten().collect();
        let mut rounds = Vec::new();
        for _ in 0..self.args.rounds {
            rounds.push(self.round(Side::Ours, &parts, &call.args).await?);
        }
        Ok(rounds)
    }
}

fn slowest(rounds: &[Round]) -> Vec<f64> {
    rounds.iter().map(|round| round.p99_ms).collect()
}
