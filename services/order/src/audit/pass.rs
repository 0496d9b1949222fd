//! One audit on its way: a page of accounts, or of user service's wallets, at a time.

use types::TransferId;
use uuid::Uuid;

use super::{Audits, LEASE, must_be_full};
use crate::clients::BookPages;
use crate::domain::account::{Account, AccountKey};
use crate::domain::audit::{Audit, Chain, Cut, Finding, Line, Outcome, Sums, against, compare};
use crate::error::{Error, Result};
use crate::storage::{Advance, Turn};

const ACCOUNTS: i64 = 200;
const ENTRIES: i64 = 500;
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

/// An audit on its way. Dropped before its end, its turn runs out by itself.
pub(crate) struct Pass {
    pub(super) audits: Audits,
    owner: Uuid,
    turn: Turn,
    is_full: bool,
    place: Place,
    cut: Option<Cut>,
    accounts: i64,
    pub(super) entries: i64,
    findings: Vec<Finding>,
    more_findings: i64,
    lines: Vec<Line>,
}

/// What comes next.
enum Place {
    OverdueHolds,
    Accounts(Option<AccountKey>),
    Decided(TransferId),
    Loose(TransferId),
    Book(Option<Box<BookPages>>),
    End,
}

impl Pass {
    pub(super) fn new(audits: Audits, owner: Uuid, turn: Turn, is_full: bool) -> Self {
        let is_full = is_full || must_be_full(&turn);
        Self {
            audits,
            owner,
            turn,
            is_full,
            place: Place::OverdueHolds,
            cut: None,
            accounts: 0,
            entries: 0,
            findings: Vec::new(),
            more_findings: 0,
            lines: Vec::new(),
        }
    }

    /// Goes on; `None` behind the end. After an error there is no going on, and somebody else may begin.
    pub(crate) async fn step(&mut self) -> Result<Option<Step>> {
        let stepped = Box::pin(self.try_step()).await;
        if stepped.is_err()
            && let Err(error) = self.audits.store.audit_give_up(self.owner).await
        {
            tracing::debug!(error = error.chain(), "an audit's turn runs out by itself");
        }
        stepped
    }

    async fn try_step(&mut self) -> Result<Option<Step>> {
        if !matches!(self.place, Place::End) && !self.audits.store.audit_renew(self.owner, LEASE).await? {
            return Err(Error::Contention);
        }
        self.place = match std::mem::replace(&mut self.place, Place::End) {
            Place::OverdueHolds => {
                let overdue = self.audits.overdue_holds().await?;
                self.found(overdue);
                Place::Accounts(None)
            }
            Place::Accounts(above) => match self.accounts(above).await? {
                Some(last) => Place::Accounts(Some(last)),
                None if self.is_full => Place::Decided(Uuid::nil().into()),
                None => Place::Book(None),
            },
            Place::Decided(above) => match self.decided(above).await? {
                Some(last) => Place::Decided(last),
                None => Place::Loose(Uuid::nil().into()),
            },
            Place::Loose(above) => match self.loose(above).await? {
                Some(last) => Place::Loose(last),
                None => Place::Book(None),
            },
            Place::Book(None) => Place::Book(Some(Box::new(self.audits.wallets.audit(self.is_full).await?))),
            Place::Book(Some(mut pages)) => match pages.next().await? {
                Some(page) => {
                    self.accounts += page.wallets;
                    self.entries += page.entries;
                    self.found(page.findings);
                    self.lines.extend(page.lines);
                    Place::Book(Some(pages))
                }
                None => return self.end().await.map(|audit| Some(Step::Done(Box::new(audit)))),
            },
            Place::End => return Ok(None),
        };
        Ok(Some(Step::Progress { accounts: self.accounts, entries: self.entries }))
    }

    pub(super) fn found(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            if self.findings.len() < FINDINGS {
                self.findings.push(finding);
            } else {
                self.more_findings += 1;
            }
        }
    }

    /// The last account of the page; `None` when it was the last of all. The accounts are read first, then the
    /// cut is taken, then their entries are compared.
    async fn accounts(&mut self, above: Option<AccountKey>) -> Result<Option<AccountKey>> {
        let page = self.audits.store.audit_accounts(above, ACCOUNTS, self.is_full).await?;
        if !page.is_empty() || self.cut.is_none() {
            self.cut = Some(self.audits.cut().await?);
        }
        let is_last = i64::try_from(page.len()).is_ok_and(|count| count < ACCOUNTS);
        let last = page.last().map(|(account, _)| account.key).filter(|_| !is_last);
        let (mut advances, mut sums) = (Vec::new(), Sums::default());
        for (account, from) in &page {
            let before = sums.clone();
            match self.follow(account, *from, &mut sums).await? {
                Some(to) => advances.push(Advance { key: account.key, from: *from, to }),
                None => sums = before,
            }
        }
        if !advances.is_empty() {
            let advance = self.audits.store.transaction("audit_advance", async |mut tx| {
                tx.audit_advance(&advances, &sums).await?;
                tx.commit().await
            });
            advance.await?;
        }
        Ok(last)
    }

    /// Follows an account's chain to its end. How far it is in order, if there is something new and nothing is
    /// wrong; only then do the sums count.
    async fn follow(
        &mut self,
        account: &Account,
        from: Option<Chain>,
        sums: &mut Sums,
    ) -> Result<Option<Chain>> {
        let checkpoint = from.unwrap_or(Chain::START);
        let mut chain = if self.is_full { Chain::START } else { checkpoint };
        let (key, mut found) = (account.key, Vec::new());
        self.accounts += 1;
        while chain.sequence < account.sequence {
            let store = &self.audits.store;
            let run = store.audit_entries(key, chain.sequence, account.sequence, ENTRIES).await?;
            if run.is_empty() {
                break;
            }
            let ids: Vec<TransferId> = run.iter().map(|(entry, _)| entry.posting.transfer_id).collect();
            let there = self.audits.wallets.postings(&ids).await?.postings;
            for (entry, evidence) in &run {
                self.entries += 1;
                let id = entry.posting.transfer_id;
                if let Err(what) = chain.follow(entry) {
                    let too_much =
                        entry.balance_after.saturating_sub(entry.amount).saturating_sub(chain.balance);
                    let what = format!("entry {} ({id}): {what}", entry.sequence);
                    found.push(Finding::account(key, what, too_much));
                    chain = Chain::behind(entry);
                }
                let other = there.get(&id);
                found.extend(against(entry, evidence, other));
                if entry.sequence == checkpoint.sequence && chain != checkpoint {
                    let what = format!("entry {} is another than was audited", entry.sequence);
                    found.push(Finding::account(key, what, chain.balance.saturating_sub(checkpoint.balance)));
                }
                if entry.sequence > checkpoint.sequence
                    && let Some((_, amount)) = other.and_then(|other| other.entry)
                {
                    let counted = sums.count(entry, amount);
                    counted.ok_or_else(|| Error::internal("a sum of the audit does not fit"))?;
                }
            }
        }
        if let Err(what) = chain.end_at(account) {
            let what = format!("behind entry {}: {what}", chain.sequence);
            found.push(Finding::account(key, what, account.balance.saturating_sub(chain.balance)));
        }
        let is_sound = found.is_empty() && chain.sequence > checkpoint.sequence;
        self.found(found);
        Ok(is_sound.then_some(chain))
    }

    /// Puts both books' sums together, and keeps the outcome.
    async fn end(&mut self) -> Result<Audit> {
        let here = self.audits.store.audit_sums().await?;
        let (lines, transits, findings) = compare(&here, std::mem::take(&mut self.lines));
        self.found(findings);
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
        };
        let ended = self.audits.store.audit_end(self.owner, self.turn.started_at, outcome).await?;
        let audit = ended.ok_or(Error::Contention)?;
        tell(&audit);
        Ok(audit)
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
            difference = difference.map(|difference| difference.minor_units),
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
