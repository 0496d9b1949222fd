//! The rows that cross the databases, and how soon the services serve.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use measurement::Round;
use testkit::{ServiceName, Signal, serving};
use tokio::time::sleep;

use super::Bench;
use super::calls::Figure;
use super::stage::{Part, Side};
use super::stats::Goal;
use super::table::Line;

/// Why transfers have no floor.
pub(super) const NO_FLOOR: &str = "A transfer has no floor: its protocol is its five transactions, each of which lets the \
    next one go on after a crash. Without them it would be two updates, which do not do the same.";
const WAY: &str = "event's way";
const BACKLOG: &str = "backlog";
pub(super) const TRANSFER: &str = "transfer";
/// Backlogs take long and vary little.
const BACKLOG_ROUNDS: u16 = 3;
const BUYERS: usize = 32;
const SELLERS: usize = 16;
/// Transfers a second when their times are measured: fewer than the system can do.
const CALM_RATE: f64 = 50.0;
/// More payments than are possible in a second.
const PAID_MOST: f64 = 1000.0;
const STARTED_WITHIN: Duration = Duration::from_secs(20);
const STARTS: u16 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(2);

pub(super) const SERVICES: [Part; 2] = [Part::Service(ServiceName::Order), Part::Service(ServiceName::User)];
pub(super) const DATABASES: [Part; 2] = [Part::Postgres, Part::Mongo];
pub(super) const ALL: [Part; 4] = [SERVICES[0], SERVICES[1], DATABASES[0], DATABASES[1]];

/// CPU of the bare drivers for each event. They run in the load generator itself, not in a process of the stage.
fn bare_cpu(round: &Round) -> f64 {
    let used = round.processes.get("floor").map_or(0.0, |used| used.cpu_us);
    used / round.done.max(1) as f64
}

impl Bench {
    /// CPU of several processes together, for each call or event, in each round.
    pub(super) fn cpu_of(&self, rounds: &[Round], parts: &[Part]) -> Vec<f64> {
        let sum = |round: &Round| parts.iter().map(|part| self.cpu_each(round, *part)).sum();
        rounds.iter().map(sum).collect()
    }

    pub(super) async fn measure_way(&mut self) -> Result<()> {
        let text = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let (mut times, mut costs, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            times.push(self.round(Side::Ours, &[], &text(&["events-way"])).await?);
            costs.push(self.round(Side::Ours, &ALL, &text(&["events-way", "--without-times"])).await?);
            floor.push(self.round(Side::Floor, &DATABASES, &text(&["events-way", "--floor"])).await?);
        }
        let figures: [(&str, Figure, f64); 2] =
            [("500/s: p50, ms", |round| round.p50_ms, 4.5), ("500/s: p99, ms", |round| round.p99_ms, 15.0)];
        for (measure, figure, most) in figures {
            let [ours, floor] = [&times, &floor].map(|rounds| rounds.iter().map(figure).collect::<Vec<_>>());
            self.add(Line::beside(WAY, measure, &ours, &floor, Goal::AtMost(most)));
        }
        let services = self.cpu_of(&costs, &SERVICES);
        let measure = "500/s: CPU of relay and consumers, us an event";
        self.add(Line::alone(WAY, measure, services, Goal::AtMost(150.0)));
        let [databases, at_best] = [&costs, &floor].map(|rounds| self.cpu_of(rounds, &DATABASES));
        let measure = "500/s: CPU of the databases, us an event";
        self.add(Line::beside(WAY, measure, &databases, &at_best, Goal::AtMost(500.0)));
        Ok(())
    }

    pub(super) async fn measure_backlog(&mut self) -> Result<()> {
        let args = ["backlog".to_owned(), format!("--events={}", self.args.events)];
        let at_floor = [args[0].clone(), args[1].clone(), "--floor".to_owned()];
        let (mut rounds, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds.min(BACKLOG_ROUNDS) {
            rounds.push(self.round(Side::Ours, &ALL, &args).await?);
            floor.push(self.round(Side::Floor, &DATABASES, &at_floor).await?);
        }
        let [rate, at_best] =
            [&rounds, &floor].map(|rounds| rounds.iter().map(Round::rate).collect::<Vec<_>>());
        let measure = format!("of {} drained, events a second", self.args.events);
        self.add(Line::beside(BACKLOG, measure, &rate, &at_best, Goal::AtLeast(10_000.0)));
        let services = self.cpu_of(&rounds, &SERVICES);
        let at_best: Vec<f64> = floor.iter().map(bare_cpu).collect();
        let measure = "CPU of relay and consumers, us an event";
        self.add(Line::beside(BACKLOG, measure, &services, &at_best, Goal::AtMost(40.0)));
        let [databases, at_best] = [&rounds, &floor].map(|rounds| self.cpu_of(rounds, &DATABASES));
        self.add(Line::beside(
            BACKLOG,
            "CPU of the databases, us an event",
            &databases,
            &at_best,
            Goal::None,
        ));
        Ok(())
    }

    pub(super) async fn measure_transfer(&mut self) -> Result<()> {
        let mut args = vec!["pay".to_owned()];
        for _ in 0..BUYERS {
            args.extend(["--customer-token".to_owned(), self.stage.buyer().await?.access_token]);
        }
        for _ in 0..SELLERS {
            let seller = self.stage.seller().await?;
            for id in self.stage.products(&seller, 1).await? {
                args.extend(["--product-id".to_owned(), id]);
            }
        }
        let seconds = (self.args.duration + self.args.warm_up) as f64 / 1000.0;
        let with = |how: &[String], rate: f64| {
            let orders = format!("--orders={:.0}", (rate * seconds).max(BUYERS as f64));
            how.iter().chain(&args).cloned().chain([orders]).collect::<Vec<_>>()
        };
        let at_once = format!("--in-flight={BUYERS}");
        let calm = with(&[at_once.clone(), format!("--rate={CALM_RATE}")], 2.0 * CALM_RATE);
        let full = with(&[at_once], PAID_MOST);
        let (mut times, mut rates) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            times.push(self.round(Side::Ours, &[], &calm).await?);
            rates.push(self.round(Side::Ours, &ALL, &full).await?);
        }
        let p50 = times.iter().map(|round| round.p50_ms);
        self.add(Line::alone(TRANSFER, format!("{CALM_RATE}/s: p50, ms"), p50, Goal::AtMost(30.0)));
        let p99 = times.iter().map(|round| round.p99_ms);
        self.add(Line::alone(TRANSFER, format!("{CALM_RATE}/s: p99, ms"), p99, Goal::None));
        let rate = rates.iter().map(Round::rate);
        let measure = format!("{BUYERS} at once: transfers a second");
        self.add(Line::alone(TRANSFER, measure, rate, Goal::AtLeast(300.0)));
        let p50 = rates.iter().map(|round| round.p50_ms);
        self.add(Line::alone(TRANSFER, format!("{BUYERS} at once: p50, ms"), p50, Goal::None));
        for part in ALL {
            let measure = format!("{} CPU, us a transfer", part.name());
            self.add(Line::alone(TRANSFER, measure, self.cpu_of(&rates, &[part]), Goal::None));
        }
        Ok(())
    }

    /// Measures the time from the start of a process until it says that it serves.
    pub(super) async fn measure_start(&mut self) -> Result<()> {
        for name in ServiceName::ALL {
            let service = self.stage.stack.services.get(name);
            let mut times = Vec::new();
            for _ in 0..STARTS.min(self.args.rounds) {
                service.process().stop(Signal::SIGTERM, STARTED_WITHIN).await?;
                let began = Instant::now();
                service.process().start_again()?;
                while serving(&service.url()).await.is_err() {
                    ensure!(began.elapsed() < STARTED_WITHIN, "{name} does not serve");
                    sleep(LOOK_EVERY).await;
                }
                times.push(began.elapsed().as_secs_f64() * 1000.0);
            }
            let line = Line::alone("start", format!("{name}, ms to SERVING"), times, Goal::AtMost(300.0));
            self.add(Some(line.context("a start")?));
        }
        Ok(())
    }
}
