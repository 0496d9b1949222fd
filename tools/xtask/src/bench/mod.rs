//! `bench`: measures what the services cost, and compares each figure with its floor or its goal.
//!
//! The floor of a call is a bare server that sends the same statement (`tools/load`, bin `floor`). The service and its
//! floor are measured in turn, for a short time each, on the same databases: on a machine that others use too, only
//! neighbouring rounds see the same conditions. The idle use of each process is measured first and subtracted.

mod calls;
mod curve;
mod encrypted;
mod hot;
mod prepare;
mod rows;
mod scale;
mod stage;
mod stats;
mod streams;
mod table;
mod tls;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use measurement::Round;
use testkit::{Profile, ServiceName};
use tokio::time::sleep;

use self::rows::Row;
use self::stage::{Part, Side, Stage};
use self::stats::Goal;
use self::table::Line;
use crate::local::asked_to_stop;
use crate::out;

/// When a process counts as idle: it must have freed what it keeps for the next call. User service keeps the memory for
/// hashing passwords for ten seconds.
const IDLE_AFTER: Duration = Duration::from_secs(12);

/// Events a second in row `events-by-rate`, unless others are asked for.
const RATES: [u32; 8] = [10, 50, 100, 500, 1000, 2000, 5000, 10_000];

/// Measures the release builds of all services on private databases, beside their floors and goals. About twelve
/// minutes, not counting the build; nothing else should run meanwhile.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Args {
    /// Counted rounds of each side.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=99))]
    rounds: u16,
    /// Measure only these rows. [default: all but `scale`]
    #[arg(long, value_name = "ROW")]
    only: Vec<Row>,
    /// Length of a round, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    duration: u64,
    /// Time before each round that is not counted, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    warm_up: u64,
    /// Users that there are for the rows that read lists, with twice as many posts.
    #[arg(long, default_value_t = 10_000)]
    users: usize,
    /// Users in row `scale`, which is measured with both numbers.
    #[arg(long, default_value_t = 1_000_000)]
    many_users: usize,
    /// Events of the backlog.
    #[arg(long, default_value_t = 100_000)]
    events: usize,
    /// Events a second in row `events-by-rate`.
    #[arg(long, value_name = "RATES", value_delimiter = ',', default_values_t = RATES,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rates: Vec<u32>,
    /// Give every service this setting; may be given several times.
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Print the table in Markdown, for `tools/load/README.md`.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print a JSON object for each line.
    #[arg(long)]
    json: bool,
    /// Build nothing, and measure the existing build.
    #[arg(long)]
    no_build: bool,
    /// Measure the development builds, only to see that the bench works.
    #[arg(long, hide = true)]
    debug_builds: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE, such as OUTBOX_BATCH_WAIT_MAX=20ms")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    crate::tools::ensure_servers().await?;
    let lines = tokio::select! {
        lines = Box::pin(measure(&args)) => lines?,
        // Everything that was started ends when its owner is dropped.
        asked = asked_to_stop() => {
            asked?;
            bail!("stopped before the end");
        }
    };
    if args.json {
        lines.iter().try_for_each(|line| serde_json::to_string(line).map(out::line))?;
        return Ok(ExitCode::SUCCESS);
    }
    out::line("");
    table::table(&lines, args.markdown).into_iter().for_each(out::line);
    if lines.iter().any(|line| line.row == streams::TRANSFER) {
        out::line(format_args!("\n{}", streams::NO_FLOOR));
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures the rows that are asked for.
async fn measure(args: &Args) -> Result<Vec<Line>> {
    let profile = if args.debug_builds { Profile::Debug } else { Profile::Release };
    if args.no_build {
        Stage::take_built(profile).await?;
    } else {
        eprintln!("==> building");
        Stage::build(profile).await?;
    }
    eprintln!("==> starting everything");
    let mut bench = Bench::start(args.clone(), profile).await?;
    let measured = bench.rows().await;
    let (lines, stopped) = (std::mem::take(&mut bench.lines), bench.stage.stop().await);
    measured?;
    stopped?;
    Ok(lines)
}

/// A bench under way.
struct Bench {
    args: Args,
    stage: Stage,
    lines: Vec<Line>,
    /// CPU of each idle process, in microseconds a second.
    idle: BTreeMap<String, f64>,
    /// The most memory that a service had under load, in MiB.
    loaded: BTreeMap<String, f64>,
}

impl Bench {
    async fn start(args: Args, profile: Profile) -> Result<Self> {
        let stage = Stage::start(profile, &args.settings).await?;
        Ok(Self { args, stage, lines: Vec::new(), idle: BTreeMap::new(), loaded: BTreeMap::new() })
    }

    async fn rows(&mut self) -> Result<()> {
        for row in Row::ALL {
            let is_named = self.args.only.contains(&row);
            let wanted = is_named || (self.args.only.is_empty() && row != Row::Scale);
            // The idle row is always measured, because every row subtracts it.
            if wanted || row == Row::Idle {
                eprintln!("==> {}", row.name());
                Box::pin(self.row(row)).await?;
            }
        }
        Ok(())
    }

    /// Runs `load` once, records how much memory the services had, and returns what it measured.
    async fn round(&mut self, side: Side, watch: &[Part], args: &[String]) -> Result<Round> {
        self.round_of(self.args.duration, side, watch, args).await
    }

    /// The same for so many milliseconds.
    async fn round_of(
        &mut self,
        duration: u64,
        side: Side,
        watch: &[Part],
        args: &[String],
    ) -> Result<Round> {
        let warm_up = self.args.warm_up;
        let times = [format!("--duration={duration}ms"), format!("--warm-up={warm_up}ms")];
        let args: Vec<String> = times.into_iter().chain(args.iter().cloned()).collect();
        let round = self.stage.load(side, watch, &args).await?;
        for name in ServiceName::ALL.map(|name| name.to_string()) {
            if let Some(used) = round.processes.get(&name) {
                let most = self.loaded.entry(name).or_default();
                *most = most.max(used.resident_mib);
            }
        }
        Ok(round)
    }

    /// CPU that a process used in a round, without its idle use, in microseconds for each call or event.
    fn cpu_each(&self, round: &Round, part: Part) -> f64 {
        let name = part.name();
        let used = round.processes.get(&name).map_or(0.0, |used| used.cpu_us);
        let idle = self.idle.get(&name).copied().unwrap_or_default() * round.seconds;
        (used - idle).max(0.0) / round.done.max(1) as f64
    }

    fn add(&mut self, line: Option<Line>) {
        self.lines.extend(line);
    }

    /// Measures what idle processes use.
    async fn measure_idle(&mut self) -> Result<()> {
        let parts = [
            Part::Service(ServiceName::User),
            Part::Service(ServiceName::Order),
            Part::Service(ServiceName::Session),
            Part::Postgres,
            Part::Mongo,
            Part::RedisSession,
            Part::RedisEvents,
        ];
        sleep(IDLE_AFTER).await;
        let mut rounds = Vec::new();
        for _ in 0..self.args.rounds {
            rounds.push(self.stage.load(Side::Ours, &parts, &self.times("idle")).await?);
        }
        for part in parts {
            let name = part.name();
            let each = |round: &Round| round.processes[&name].cpu_us / round.seconds;
            let line =
                Line::alone("idle", format!("{name}, CPU us a second"), rounds.iter().map(each), Goal::None);
            self.idle.extend(line.iter().map(|line| (name.clone(), line.ours.median)));
            self.add(line);
        }
        for name in ServiceName::ALL.map(|name| name.to_string()) {
            let memory = rounds.iter().map(|round| round.processes[&name].resident_mib);
            self.add(Line::alone("idle", format!("{name}, resident MiB"), memory, Goal::AtMost(25.0)));
        }
        Ok(())
    }

    fn times(&self, work: &str) -> Vec<String> {
        vec![format!("--duration={}ms", self.args.duration), work.to_owned()]
    }

    /// Adds the memory that the services had under the loads of the other rows.
    fn add_memory(&mut self) {
        for (name, most) in std::mem::take(&mut self.loaded) {
            let line = Line::alone("loaded", format!("{name}, resident MiB"), [most], Goal::AtMost(60.0));
            self.add(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Claim: the bench works. Services, floors and the load generator start, answer and are measured. It runs on
    /// development builds and so briefly that the figures mean nothing.
    #[tokio::test]
    async fn a_bench_of_some_rows_prints_them_beside_their_floors() {
        let args = Args {
            rounds: 1,
            only: vec![
                Row::Tls,
                Row::UserGet,
                Row::PostList,
                Row::PostHandOver,
                Row::Like,
                Row::OrderPlace,
                Row::EventsWay,
                Row::EventsByRate,
                Row::Backlog,
                Row::Loaded,
                Row::Scale,
            ],
            duration: 1_000,
            warm_up: 300,
            users: 200,
            many_users: 400,
            events: 10,
            rates: vec![1000],
            settings: vec![("OUTBOX_BATCH_WAIT_MAX".to_owned(), "12ms".to_owned())],
            markdown: false,
            json: false,
            no_build: false,
            debug_builds: true,
        };
        let lines = Box::pin(measure(&args)).await.unwrap();
        for row in ["empty call, TLS", "user get", "post list", "post hand-over", "like", "order place"] {
            let line = lines.iter().find(|line| line.row == row && line.measure.starts_with("service CPU"));
            let line = line.unwrap_or_else(|| panic!("{row} is missing in {lines:#?}"));
            assert!(line.ours.median > 0.0 && line.ratio.is_some_and(|ratio| ratio.median > 0.0), "{line:?}");
        }
        for row in ["event's way", "backlog"] {
            let with_floor = |line: &&Line| line.row == row && line.measure.contains("CPU of the databases");
            let line = lines.iter().find(with_floor);
            let line = line.unwrap_or_else(|| panic!("{row} is missing in {lines:#?}"));
            assert!(line.floor.is_some(), "{line:?}");
        }
        assert!(
            lines.iter().any(|line| line.measure == "1000/s: p50, ms" && line.ours.median > 0.0),
            "{lines:#?}"
        );
        assert!(lines.iter().any(|line| line.row == "idle"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.row == "scale" && line.ratio.is_some()), "{lines:#?}");
        assert!(lines.iter().any(|line| line.row == "loaded"), "{lines:#?}");
    }
}
