//! User service's side of transfers, as far as it is asked rather than told by events.

use api::user::v1::hold::State;
use api::user::v1::wallet_service_client::WalletServiceClient;
use api::user::v1::{GetHoldRequest, GetHoldResponse, HoldEvent, HoldPosting};
use api::violations;
use runtime::client::{Outcome, Peer, PeerChannel, RetryPolicy, classify, retry_unavailable};
use time::OffsetDateTime;
use types::{Decimal, TransferId};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Wallets, asked of user service.
#[derive(Debug, Clone)]
pub(crate) struct Wallets {
    client: WalletServiceClient<PeerChannel>,
    policy: RetryPolicy,
}

/// The wallet's hold of a transfer, and what is known of its past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalletHold {
    /// How far it is, in words.
    pub(crate) state: String,
    pub(crate) created_at: Option<OffsetDateTime>,
    pub(crate) updated_at: Option<OffsetDateTime>,
    /// The events that tell of it.
    pub(crate) events: Vec<WalletEvent>,
    /// What was entered into the wallets' book, in words, and when.
    pub(crate) posting: Option<(String, OffsetDateTime)>,
}

/// An event of the wallets' owner that tells of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalletEvent {
    pub(crate) id: Uuid,
    pub(crate) event_type: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) traceparent: Option<String>,
    /// Once it is stamped.
    pub(crate) position: Option<i64>,
}

impl Wallets {
    /// Asks this peer.
    pub(crate) fn new(user_service: &Peer) -> Self {
        Self { client: WalletServiceClient::new(user_service.channel()), policy: RetryPolicy::default() }
    }

    /// The wallet's hold; `None` when user service never heard of the transfer.
    pub(crate) async fn hold(&self, transfer_id: TransferId) -> Result<Option<WalletHold>> {
        let answer = retry_unavailable(&self.policy, || {
            let mut client = self.client.clone();
            let request = GetHoldRequest { transfer_id: transfer_id.to_string() };
            async move { client.get_hold(request).await }
        });
        match answer.await {
            Ok(answer) => wallet_hold(answer.into_inner()),
            Err(status) => match classify(&status) {
                Outcome::DidNotHappen { reason, .. } if reason == "HOLD_NOT_FOUND" => Ok(None),
                _ => Err(Error::unavailable(status)),
            },
        }
    }
}

fn wallet_hold(answer: GetHoldResponse) -> Result<Option<WalletHold>> {
    let Some(hold) = answer.hold else { return Ok(None) };
    let state = match hold.state() {
        State::Unspecified => "of a state that is unknown here",
        State::Held => "held",
        State::Posted => "posted",
        State::Cancelled => "cancelled",
    };
    let reason = Some(&hold.reason).filter(|reason| !reason.is_empty());
    Ok(Some(WalletHold {
        state: reason.map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}")),
        created_at: hold.create_time.as_ref().and_then(violations::time),
        updated_at: hold.update_time.as_ref().and_then(violations::time),
        events: answer.events.into_iter().map(wallet_event).collect::<Option<_>>().ok_or_else(unreadable)?,
        posting: answer.posting.map(|posting| entered(&posting).ok_or_else(unreadable)).transpose()?,
    }))
}

fn wallet_event(event: HoldEvent) -> Option<WalletEvent> {
    Some(WalletEvent {
        id: event.id.parse().ok()?,
        event_type: event.r#type,
        created_at: event.create_time.as_ref().and_then(violations::time)?,
        traceparent: Some(event.traceparent).filter(|traceparent| !traceparent.is_empty()),
        position: Some(event.position).filter(|position| *position > 0),
    })
}

fn entered(posting: &HoldPosting) -> Option<(String, OffsetDateTime)> {
    let HoldPosting { debit_account, credit_account, amount, create_time } = posting;
    let amount = amount.as_ref()?;
    let what = format!(
        "posted: debit {debit_account}, credit {credit_account}, {} {}",
        Decimal::of(&amount.currency_code, amount.minor_units),
        amount.currency_code
    );
    Some((what, create_time.as_ref().and_then(violations::time)?))
}

fn unreadable() -> Error {
    Error::internal("user service tells of a hold what cannot be read")
}
