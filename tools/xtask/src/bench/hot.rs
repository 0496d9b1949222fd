//! The row of what many want at once: all clients follow one user or like one post, or each one of its own.

use anyhow::Result;
use measurement::Round;

use super::Bench;
use super::rows::Row;
use super::stage::Side;
use super::stats::Goal;
use super::table::Line;

const CLIENTS: usize = 64;
/// The rate with one that all want, beside that with one for each.
const GOAL: Goal = Goal::TimesFloorOrMore(0.5);

impl Bench {
    /// The column of the floor is that with one of its own for each client. Any call that fails fails the row, so that none
    /// met CONTENTION.
    pub(super) async fn measure_hot(&mut self) -> Result<()> {
        for (row, call) in [(Row::Follow, "follows"), (Row::Like, "likes")] {
            let (people, ends) = self.people_with_ends(row, CLIENTS).await?;
            let args = |ends: &[String]| {
                let relate = [format!("--in-flight={CLIENTS}"), "relate".to_owned()];
                relate.into_iter().chain(people.iter().chain(ends).cloned()).collect::<Vec<String>>()
            };
            let (one, each) = (args(&ends[..1]), args(&ends));
            let (mut hot, mut apart) = (Vec::new(), Vec::new());
            for _ in 0..self.args.rounds {
                hot.push(self.round(Side::Ours, &[], &one).await?);
                apart.push(self.round(Side::Ours, &[], &each).await?);
            }
            let [hot, apart] =
                [&hot, &apart].map(|rounds| rounds.iter().map(Round::rate).collect::<Vec<_>>());
            let measure = format!("{CLIENTS} clients: {call} a second");
            self.add(Line::beside(Row::Hot.name(), measure, &hot, &apart, GOAL));
        }
        Ok(())
    }
}
