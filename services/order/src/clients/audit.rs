//! User service's book, as the auditor asks about it.

use std::collections::BTreeMap;
use std::time::Duration;

use api::user::v1::audit_service_client::AuditServiceClient;
use api::user::v1::hold::State;
use api::user::v1::{
    AuditBookRequest, AuditBookResponse, AuditFinding, AuditLine, GetPostingsRequest, TransferPosting,
};
use events::HoldState;
use runtime::client::{Peer, PeerChannel, RetryPolicy, retry_unavailable};
use tokio::time::timeout;
use tonic::{Status, Streaming};
use types::{Money, TransferId};
use uuid::Uuid;

use crate::domain::audit::OtherBook;
use crate::domain::audit_outcome::{Difference, Drift, Line, THERE};
use crate::error::{Error, Result};

/// Longer than a step of its audit takes: it tells of every one, however long a chain is.
const STEP_WITHIN: Duration = Duration::from_secs(60);

/// The wallets' book, asked of user service.
#[derive(Debug, Clone)]
pub(crate) struct WalletBook {
    client: AuditServiceClient<PeerChannel>,
    policy: RetryPolicy,
}

/// What user service has of some transfers.
#[derive(Debug)]
pub(crate) struct OtherSide {
    /// The history of stream `order` that it is in.
    pub(crate) epoch: Uuid,
    /// Every command up to there shows in the postings.
    pub(crate) position: i64,
    pub(crate) postings: BTreeMap<TransferId, OtherBook>,
}

/// A step of user service's own audit.
#[derive(Debug)]
pub(crate) struct BookPage {
    pub(crate) wallets: i64,
    pub(crate) entries: i64,
    pub(crate) findings: Vec<Drift>,
    /// At the end.
    pub(crate) lines: Vec<Line>,
}

/// User service's own audit, step by step.
#[derive(Debug)]
pub(crate) struct BookPages(Streaming<AuditBookResponse>);

impl WalletBook {
    /// Asks this peer.
    pub(crate) fn new(user_service: &Peer) -> Self {
        Self { client: AuditServiceClient::new(user_service.channel()), policy: RetryPolicy::default() }
    }

    /// What it has of these transfers, at most 500.
    pub(crate) async fn postings(&self, transfers: &[TransferId]) -> Result<OtherSide> {
        let transfer_ids: Vec<String> = transfers.iter().map(TransferId::to_string).collect();
        let answer = retry_unavailable(&self.policy, || {
            let mut client = self.client.clone();
            let request = GetPostingsRequest { transfer_ids: transfer_ids.clone() };
            async move { client.get_postings(request).await }
        });
        let answer = answer.await.map_err(Error::unavailable)?.into_inner();
        let epoch = answer.epoch.parse().map_err(|_| unreadable("a mark without its history"))?;
        let postings = answer.postings.iter().map(other_book).collect::<Result<_>>()?;
        Ok(OtherSide { epoch, position: answer.position, postings })
    }

    /// Lets it audit its own book.
    pub(crate) async fn audit(&self, is_full: bool) -> Result<BookPages> {
        let mut client = self.client.clone();
        let begun = timeout(
            STEP_WITHIN,
            client.audit_book(AuditBookRequest { full: is_full, ..AuditBookRequest::default() }),
        )
        .await;
        Ok(BookPages(begun.map_err(|_| silent())?.map_err(failed)?.into_inner()))
    }
}

impl BookPages {
    /// The next step; `None` behind the last.
    pub(crate) async fn next(&mut self) -> Result<Option<BookPage>> {
        let page = timeout(STEP_WITHIN, self.0.message()).await.map_err(|_| silent())?.map_err(failed)?;
        Ok(page.map(|page| BookPage {
            wallets: page.wallets_count,
            entries: page.entries_count,
            findings: page.findings.into_iter().map(drift).collect(),
            lines: page.lines.into_iter().map(line).collect(),
        }))
    }
}

fn drift(finding: AuditFinding) -> Drift {
    let difference = finding
        .difference
        .map(|money| Difference { currency: money.currency_code, minor_units: money.minor_units });
    Drift {
        source: THERE.to_owned(),
        subject: finding.subject,
        description: finding.description,
        difference,
        only_full: finding.only_full,
    }
}

fn line(line: AuditLine) -> Line {
    Line {
        source: THERE.to_owned(),
        account: line.account,
        currency: line.currency_code,
        debit: line.debit_minor_units,
        credit: line.credit_minor_units,
    }
}

fn other_book(posting: &TransferPosting) -> Result<(TransferId, OtherBook)> {
    let hold = match posting.hold_state() {
        State::Unspecified => None,
        State::Held => Some(HoldState::Held),
        State::Posted => Some(HoldState::Posted),
        State::Cancelled => Some(HoldState::Cancelled),
    };
    let entry = match &posting.amount {
        None => None,
        Some(money) => {
            let currency = money.currency_code.parse().map_err(|_| unreadable("an unknown currency"))?;
            let user = posting.user_id.parse().map_err(|_| unreadable("a posting without its user"))?;
            Some((user, Money::new(currency, money.minor_units)))
        }
    };
    let order_id = Some(posting.order_id.as_str()).filter(|id| !id.is_empty());
    let order_id = order_id.map(str::parse).transpose().map_err(|_| unreadable("an order without an id"))?;
    let id = posting.transfer_id.parse().map_err(|_| unreadable("a posting without its transfer"))?;
    Ok((id, OtherBook { hold, entry, order_id }))
}

fn unreadable(what: &str) -> Error {
    Error::internal(format!("user service tells of {what}"))
}

fn silent() -> Error {
    Error::unavailable(format!("user service's audit says nothing for {STEP_WITHIN:?}"))
}

fn failed(status: Status) -> Error {
    Error::unavailable(status)
}
