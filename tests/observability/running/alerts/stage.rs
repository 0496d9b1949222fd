//! A watched system in which alerts are provoked, and what was seen of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testkit::{Alert, AlertState, DatabaseOptions, PostgresAdmin, ServiceName, ServiceOptions, wait_until};
use tests::people::{Market, PRICE};
use tests::rest::database_name;

use super::super::watched::{Options, Watched};
use super::shortened::shortened;
use crate::files::Files;

/// How long an alert may take from its cause, and how long it may stay when that is gone.
const WITHIN: Duration = Duration::from_secs(120);

/// An alert by its name, and labels that it has.
pub(super) type Wanted = (&'static str, &'static [(&'static str, &'static str)]);

/// Changes to rows of a table that fail, as on a server that has run out of memory.
pub(super) struct Refused {
    pub(super) table: &'static str,
    /// Such as `INSERT OR UPDATE`.
    pub(super) change: &'static str,
    /// Of the rows.
    pub(super) condition: &'static str,
}

pub(super) struct Stage {
    pub(super) watched: Watched,
    pub(super) market: Market,
    database: String,
    /// What each alert said that was provoked.
    provoked: RefCell<BTreeMap<String, String>>,
}

impl Stage {
    /// Everything that goes by the clock in a service is as much quicker as the rules are.
    pub(super) async fn start(files: &Files) -> Result<Self> {
        let quick = [
            ("AUDIT_EVERY", "5s"),
            ("TRANSFER_DEADLINE", "2500ms"),
            ("TRANSFER_LOOK_AFTER", "500ms"),
            ("TRANSFER_LOOK_CAP", "2s"),
            ("TRANSFER_ATTEMPTS", "3"),
        ];
        let env = quick.map(|(name, value)| (ServiceName::Order, name.to_owned(), value.to_owned())).to_vec();
        let options = Options {
            rules: shortened(&files.rules_text)?,
            settings: Vec::new(),
            databases: DatabaseOptions::default(),
            services: ServiceOptions { env, ..ServiceOptions::default() },
        };
        let watched = Box::pin(Watched::start(options)).await?;
        let market = Market::open(&watched.system, 1_000_000 * PRICE, 1_000_000).await?;
        let urls = watched.system.stack.databases.urls_for_services().await?;
        let database = database_name(&urls.postgres).to_owned();
        Ok(Self { watched, market, database, provoked: RefCell::default() })
    }

    /// What each alert said that was provoked.
    pub(super) fn provoked(&self) -> BTreeMap<String, String> {
        self.provoked.borrow().clone()
    }

    /// Waits until none of these is on.
    pub(super) async fn are_over(&self, wanted: &[Wanted]) -> Result<()> {
        wait_until(WITHIN, "alerts to end", async || {
            let on = self.on(wanted).await.map_err(|error| format!("{error:#}"))?;
            if on.is_empty() { Ok(()) } else { Err(format!("{on:?}")) }
        })
        .await
    }

    /// Waits until all of these fire, and notes what they say.
    pub(super) async fn fire(&self, wanted: &[Wanted]) -> Result<()> {
        let began = Instant::now();
        for one in wanted {
            let alert = wait_until(WITHIN, &format!("{one:?} to fire"), async || {
                let on = self.on(&[*one]).await.map_err(|error| format!("{error:#}"))?;
                let firing = on.iter().find(|alert| alert.state == AlertState::Firing);
                firing.cloned().ok_or_else(|| format!("{on:?}"))
            })
            .await?;
            let summary = alert.annotations.get("summary").context("a summary")?;
            ensure!(!summary.contains("<no value>"), "{summary}");
            let said = format!("within {:>3} s: {summary}", began.elapsed().as_secs() + 1);
            self.provoked.borrow_mut().insert(one.0.to_owned(), said);
        }
        Ok(())
    }

    async fn on(&self, wanted: &[Wanted]) -> Result<Vec<Alert>> {
        let alerts = self.watched.prometheus.alerts().await?;
        let is_wanted = |alert: &Alert| {
            let has =
                |(name, value): &(&str, &str)| alert.labels.get(*name).is_some_and(|found| found == value);
            wanted.iter().any(|(name, labels)| alert.labels["alertname"] == *name && labels.iter().all(has))
        };
        Ok(alerts.into_iter().filter(is_wanted).collect())
    }

    /// Changes order service's database behind its back.
    pub(super) async fn sql(&self, statements: &str) -> Result<()> {
        self.postgres().run(&self.database, statements.to_owned()).await.map(drop)
    }

    /// Lets order service's database refuse changes while `act` is done and until all of these fire; and waits until they
    /// are over when it takes them again.
    pub(super) async fn fire_while_refused(
        &self,
        refused: &Refused,
        wanted: &[Wanted],
        act: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<()> {
        let Refused { table, change, condition } = refused;
        self.are_over(wanted).await?;
        self.sql(&format!(
            "CREATE OR REPLACE FUNCTION provoked() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'provoked' USING ERRCODE = 'out_of_memory'; END $$;
             CREATE TRIGGER provoked BEFORE {change} ON {table} FOR EACH ROW WHEN ({condition})
             EXECUTE FUNCTION provoked();"
        ))
        .await?;
        let provoked = async {
            act().await?;
            self.fire(wanted).await
        };
        let provoked = provoked.await;
        self.sql(&format!("DROP TRIGGER provoked ON {table}")).await?;
        provoked?;
        self.are_over(wanted).await
    }

    fn postgres(&self) -> &PostgresAdmin {
        self.watched.system.stack.databases.postgres.admin()
    }

    /// The address of order service's database.
    pub(super) async fn postgres_url(&self) -> Result<String> {
        Ok(self.watched.system.stack.databases.urls_for_services().await?.postgres)
    }
}
