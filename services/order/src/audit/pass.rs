//! One audit on its way: a page of accounts, a run of entries, or what user service found in its book, at a time.

use std::time::Duration;

use bookkeeping::{Chains, Finding};
use tokio::runtime::Handle;
use tokio::time::timeout;
use types::{OrderId, TransferId, chain};
use uuid::Uuid;

use super::{Audits, LEASE};
use crate::clients::BookPages;
use crate::domain::account::AccountKey;
use crate::domain::audit_outcome::{Audit, Cut, Drift, Line, Outcome, compare};
use crate::error::{Error, Result};
use crate::storage::Turn;

/// How often the turn is renewed while a step takes its time: often enough for one renewal to fail.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// Findings that are kept: whoever has more has one cause for them.
const FINDINGS: usize = 200;

/// How far an audit is.
#[derive(Debug)]
pub(crate) enum Step {
    /// So many accounts and entries were looked at.
    Progress { accounts: i64, entries: i64 },
    /// It has ended, and its outcome is kept.
    Done(Box<Audit>),
}

/// An audit on its way. Dropped before its end, it gives its turn back.
pub(crate) struct Pass {
    pub(super) audits: Audits,
    owner: Uuid,
    turn: Turn,
    pub(super) is_full: bool,
    place: Place,
    pub(super) cut: Option<Cut>,
    pub(super) accounts: i64,
    pub(super) entries: i64,
    findings: Vec<Drift>,
    more_findings: i64,
    has_only_full: bool,
    lines: Vec<Line>,
    has_turn: bool,
}

/// What comes next.
enum Place {
    Held,
    Accounts(Option<AccountKey>),
    Chains(Box<Chains<AccountKey>>),
    Transfers(TransferId),
    Loose(TransferId),
    Holds(TransferId),
    Orders(OrderId),
    Book(Option<Box<BookPages>>),
    End,
}

impl Pass {
    /// One that reads both books from their first entries, or what is new. In the latter case what only a full one
    /// sees is still held against the books: until such a one has found it mended.
    pub(super) fn new(audits: Audits, owner: Uuid, turn: Turn, is_full: bool) -> Self {
        let mut pass = Self {
            audits,
            owner,
            is_full,
            place: Place::Held,
            cut: None,
            accounts: 0,
            entries: 0,
            findings: Vec::new(),
            more_findings: 0,
            has_only_full: false,
            lines: Vec::new(),
            has_turn: true,
            turn,
        };
        if let Some(last) = pass.turn.last.take().filter(|last| !is_full && last.outcome.asks_for_full()) {
            pass.drifted(last.outcome.findings.into_iter().filter(|drift| drift.only_full));
        }
        pass
    }

    /// Goes on; `None` behind the end. After an error there is no going on, and somebody else may begin.
    pub(crate) async fn step(&mut self) -> Result<Option<Step>> {
        if matches!(self.place, Place::End) {
            return Ok(None);
        }
        let (store, owner) = (self.audits.store.clone(), self.owner);
        let stepped = async {
            let mut work = Box::pin(self.try_step());
            loop {
                if !store.audit_renew(owner, LEASE).await? {
                    return Err(Error::contention("another audit has taken the turn"));
                }
                if let Ok(stepped) = timeout(RENEW_EVERY, &mut work).await {
                    return stepped;
                }
            }
        };
        let stepped = stepped.await;
        if let Err(error) = &stepped {
            self.place = Place::End;
            let failed = self.audits.store.audit_fail(owner, &error.to_string(), self.is_full).await;
            self.has_turn = false;
            if let Err(error) = failed {
                tracing::debug!(error = chain(&error), "an audit's turn runs out by itself");
            }
        }
        stepped
    }

    async fn try_step(&mut self) -> Result<Option<Step>> {
        self.place = match std::mem::replace(&mut self.place, Place::End) {
            Place::Held => {
                let found = self.audits.held(self.is_full).await?;
                self.found(found);
                Place::Accounts(None)
            }
            Place::Accounts(above) => Place::Chains(Box::new(self.accounts(above).await?)),
            Place::Chains(mut chains) => match (self.follow(&mut chains).await?, chains.last) {
                (false, _) => Place::Chains(chains),
                (true, Some(last)) => Place::Accounts(Some(last)),
                (true, None) if self.is_full => Place::Transfers(Uuid::nil().into()),
                (true, None) => Place::Book(None),
            },
            Place::Transfers(above) => match self.transfers(above).await? {
                Some(last) => Place::Transfers(last),
                None => Place::Loose(Uuid::nil().into()),
            },
            Place::Loose(above) => match self.loose(above).await? {
                Some(last) => Place::Loose(last),
                None => Place::Holds(Uuid::nil().into()),
            },
            Place::Holds(above) => match self.holds(above).await? {
                Some(last) => Place::Holds(last),
                None => Place::Orders(Uuid::nil().into()),
            },
            Place::Orders(above) => match self.orders(above).await? {
                Some(last) => Place::Orders(last),
                None => Place::Book(None),
            },
            Place::Book(None) => Place::Book(Some(Box::new(self.audits.wallets.audit(self.is_full).await?))),
            Place::Book(Some(mut pages)) => match pages.next().await? {
                Some(page) => {
                    self.accounts += page.wallets;
                    self.entries += page.entries;
                    self.drifted(page.findings);
                    self.lines.extend(page.lines);
                    Place::Book(Some(pages))
                }
                None => return self.end().await.map(|audit| Some(Step::Done(Box::new(audit)))),
            },
            Place::End => return Ok(None),
        };
        Ok(Some(Step::Progress { accounts: self.accounts, entries: self.entries }))
    }

    /// Takes down what was found in this book.
    pub(super) fn found(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.drifted(findings.into_iter().map(Drift::from));
    }

    fn drifted(&mut self, drifts: impl IntoIterator<Item = Drift>) {
        for drift in drifts {
            self.has_only_full |= drift.only_full;
            if self.findings.len() < FINDINGS {
                self.findings.push(drift);
            } else {
                self.more_findings += 1;
            }
        }
    }

    /// Puts both books' sums together, and keeps the outcome.
    async fn end(&mut self) -> Result<Audit> {
        let here = self.audits.store.audit_sums().await?;
        let (lines, transits, findings) = compare(&here, std::mem::take(&mut self.lines));
        self.drifted(findings);
        let cut = self.cut.ok_or_else(|| Error::internal("an audit without a cut"))?;
        let outcome = Outcome {
            is_full: self.is_full,
            cut,
            accounts: self.accounts,
            entries: self.entries,
            lines,
            transits,
            findings: std::mem::take(&mut self.findings),
            more_findings: self.more_findings,
            has_only_full: self.has_only_full,
        };
        let ended = self.audits.store.audit_end(self.owner, self.turn.started_at, outcome).await?;
        let audit = ended.ok_or_else(|| Error::contention("another audit has taken the turn"))?;
        self.has_turn = false;
        tell(&audit);
        Ok(audit)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // Whoever asked for it is gone, or the process leaves. Without a runtime the turn runs out by itself.
        if let (true, Ok(runtime)) = (self.has_turn, Handle::try_current()) {
            let (store, owner) = (self.audits.store.clone(), self.owner);
            let give_up = async move {
                if let Err(error) = store.audit_give_up(owner).await {
                    tracing::debug!(error = chain(&error), "an audit's turn runs out by itself");
                }
            };
            self.audits.tracker.spawn_on(give_up, &runtime);
        }
    }
}

/// Drift is an ERROR each time that it is seen, until it is mended.
fn tell(audit: &Audit) {
    let outcome = &audit.outcome;
    for finding in &outcome.findings {
        let difference = finding.difference.as_ref();
        tracing::error!(
            target: "audit",
            source = finding.source,
            subject = finding.subject,
            what = finding.description,
            currency = difference.map(|difference| difference.currency.as_str()),
            difference_minor_units = difference.map(|difference| difference.minor_units),
            "drift"
        );
    }
    tracing::info!(
        target: "audit",
        full = outcome.is_full,
        position = outcome.cut.position,
        accounts = outcome.accounts,
        entries = outcome.entries,
        findings = i64::try_from(outcome.findings.len()).unwrap_or(i64::MAX) + outcome.more_findings,
        "both books were audited"
    );
}
