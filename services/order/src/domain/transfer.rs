//! A transfer of credit as a state machine: what each answer of the wallet, and each end of time, does to it.
//! Pure, so that every interleaving can be enumerated; `transfers/` does with the database what is decided
//! here.
//!
//! ```text
//! RESERVING ── decision CONFIRM ──> CONFIRMING ──> COMPLETED
//!     └─────── decision CANCEL ───> CANCELLING ──> CANCELLED
//! ```
//!
//! RESERVED of the API is never stored: the answer that makes a transfer reserved decides it in the same
//! transaction, because the merchant's side is in the same database.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use types::{Money, OrderId, TransferId, UserId};

use super::OrderNow;

macro_rules! names {
    ($type:ident, $($variant:ident => $name:literal),* $(,)?) => {
        impl $type {
            /// All values.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in the database.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The value with this name.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|each| each.as_str() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// What a transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From a wallet to a merchant's account.
    Pay,
    /// From a merchant's account to the wallet that paid.
    Refund,
}

names!(Kind, Pay => "pay", Refund => "refund");

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// The wallet was asked to reserve.
    Reserving,
    /// Decided CONFIRM: this side has posted, the wallet was told to.
    Confirming,
    /// Decided CANCEL: this side has released, the wallet was told to.
    Cancelling,
    /// Final: both books have it.
    Completed,
    /// Final: nothing moved.
    Cancelled,
}

names!(
    State,
    Reserving => "reserving",
    Confirming => "confirming",
    Cancelling => "cancelling",
    Completed => "completed",
    Cancelled => "cancelled",
);

impl State {
    /// Whether nothing changes it any more.
    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }

    /// The decision that a transfer in this state has.
    pub(crate) const fn decision(self) -> Option<Decision> {
        match self {
            Self::Reserving => None,
            Self::Confirming | Self::Completed => Some(Decision::Confirm),
            Self::Cancelling | Self::Cancelled => Some(Decision::Cancel),
        }
    }
}

/// The pivot: before it a transfer can only be cancelled, after CONFIRM only completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It will be completed.
    Confirm,
    /// It will be cancelled.
    Cancel,
}

impl Decision {
    /// Its name in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
        }
    }
}

/// Why a transfer was cancelled; the names are those of the packages' `ErrorReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The paying side has too little.
    InsufficientCredit,
    /// The receiving balance would pass its limit.
    BalanceLimit,
    /// The wallet's owner is unknown.
    UserNotFound,
    /// The wallet's owner is deactivated.
    UserDeactivated,
    /// Nothing may leave the wallet.
    WalletFrozen,
    /// More than a limit of the wallet.
    WalletLimit,
    /// Nobody decided it in time.
    TransferExpired,
    /// An operator cancelled it.
    CancelledByOperator,
    /// The order's state does not allow it.
    InvalidState,
    /// Another payment of the order was running.
    PaymentPending,
    /// Refunds would have exceeded what was paid.
    RefundExceedsPayment,
    /// The amount's currency is not the order's.
    CurrencyMismatch,
}

names!(
    Reason,
    InsufficientCredit => "INSUFFICIENT_CREDIT",
    BalanceLimit => "BALANCE_LIMIT",
    UserNotFound => "USER_NOT_FOUND",
    UserDeactivated => "USER_DEACTIVATED",
    WalletFrozen => "WALLET_FROZEN",
    WalletLimit => "WALLET_LIMIT",
    TransferExpired => "TRANSFER_EXPIRED",
    CancelledByOperator => "CANCELLED_BY_OPERATOR",
    InvalidState => "INVALID_STATE",
    PaymentPending => "PAYMENT_PENDING",
    RefundExceedsPayment => "REFUND_EXCEEDS_PAYMENT",
    CurrencyMismatch => "CURRENCY_MISMATCH",
);

impl Reason {
    /// The reason of a refusal by the wallet's owner. One that this version does not know must not stop the
    /// stream: the refusal itself is definite, so it reads as `INVALID_STATE`. `CANCELLED` says that the
    /// wallet's hold was released before it was asked for, which is what happens past the time.
    pub(crate) fn of_refusal(name: &str) -> Self {
        match name {
            "CANCELLED" => Self::TransferExpired,
            name => Self::from_name(name).unwrap_or(Self::InvalidState),
        }
    }
}

/// Why a transfer is not shown, or does not do what its caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferRefused {
    /// No such transfer, or the caller has nothing to do with it.
    #[error("there is no such transfer")]
    NotFound(TransferId),
    /// The transfer was cancelled: no money moved, and none will under its request id.
    #[error("no money moved: {reason}")]
    Cancelled {
        /// Which transfer.
        transfer_id: TransferId,
        /// The order that was to be paid or refunded.
        order_id: OrderId,
        /// Whose wallet takes part.
        wallet_user_id: UserId,
        /// Why it was cancelled.
        reason: Reason,
    },
    /// The transfer has not ended yet. It goes on, and a repeat of the request waits for its end again.
    #[error("the transfer is still running")]
    Running(TransferId),
    /// The transfer is decided, and no decision changes.
    #[error("the transfer is decided already")]
    AlreadyDecided(TransferId),
    /// The transfer has ended, so there is no command to send again.
    #[error("the transfer is {state}")]
    Ended {
        /// Which transfer.
        transfer_id: TransferId,
        /// Its state.
        state: &'static str,
    },
}

/// A movement of credit between a wallet (user service) and an account (here).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transfer {
    pub(crate) id: TransferId,
    /// Who started it.
    pub(crate) principal: String,
    pub(crate) kind: Kind,
    pub(crate) order_id: OrderId,
    /// Whose wallet takes part.
    pub(crate) wallet_user_id: UserId,
    /// Whose account takes part.
    pub(crate) account_owner_id: UserId,
    pub(crate) amount: Money,
    /// How far it is; the decision is part of it.
    pub(crate) state: State,
    /// Why it was cancelled.
    pub(crate) reason: Option<Reason>,
    /// A transfer that is undecided by then is cancelled.
    pub(crate) deadline: OffsetDateTime,
    pub(crate) decided_at: Option<OffsetDateTime>,
    pub(crate) created_at: OffsetDateTime,
    /// When its state changed last.
    pub(crate) updated_at: OffsetDateTime,
    /// An operator should look at it. The recovery worker goes on looking, too.
    pub(crate) needs_operator: bool,
    /// What went wrong last; empty when nothing did.
    pub(crate) last_error: String,
    /// When the recovery worker looks at it next; `None` once it has ended.
    pub(crate) next_attempt_at: Option<OffsetDateTime>,
    /// How often it has looked since the state changed.
    pub(crate) attempts: i32,
    /// Counts the transfer's events: the version of its aggregate.
    pub(crate) event_version: i64,
    /// Counts changes of the row that a watcher sees.
    pub(crate) version: i64,
    /// The order as it was when this was decided CONFIRM: with what never changes it is what the first answer
    /// said, so that every repeat says the same.
    pub(crate) order_then: Option<OrderNow>,
}

impl Transfer {
    /// The decision.
    pub(crate) const fn decision(&self) -> Option<Decision> {
        self.state.decision()
    }

    /// Whether a person started it or takes part in it.
    pub(crate) fn is_of(&self, user_id: UserId) -> bool {
        self.wallet_user_id == user_id
            || self.account_owner_id == user_id
            || self.principal == user_id.to_string()
    }
}

/// The part of a transfer that changes, as its readers see it: recorded with what an operator did to it, so
/// that the first answer can be given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TransferNow {
    state: State,
    reason: Option<Reason>,
    needs_operator: bool,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

impl Transfer {
    /// The part that changes.
    pub(crate) const fn now(&self) -> TransferNow {
        TransferNow {
            state: self.state,
            reason: self.reason,
            needs_operator: self.needs_operator,
            updated_at: self.updated_at,
        }
    }

    /// The transfer as its readers saw it at another time.
    pub(crate) fn at(self, then: TransferNow) -> Self {
        let TransferNow { state, reason, needs_operator, updated_at } = then;
        Self { state, reason, needs_operator, updated_at, ..self }
    }
}

/// What may happen to a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// The wallet's hold stands.
    Reserved,
    /// The wallet's owner refused for good.
    Refused(Reason),
    /// The wallet's book has it.
    Posted,
    /// Nothing is held in the wallet, and nothing will be.
    Released,
    /// The wallet's owner was asked for a step that its table calls impossible.
    StepImpossible(String),
    /// Somebody looked whether its time is over.
    Expiry,
    /// An operator wants it cancelled.
    OperatorCancel,
}

impl Input {
    /// Whether a transfer may be in a final state after it.
    pub(crate) const fn may_end(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Posted | Self::Released)
    }

    /// Its name.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Refused(_) => "refused",
            Self::Posted => "posted",
            Self::Released => "released",
            Self::StepImpossible(_) => "step_impossible",
            Self::Expiry => "expiry",
            Self::OperatorCancel => "operator_cancel",
        }
    }
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing: a duplicate, a late answer, or too early.
    Nothing,
    /// Decide CONFIRM, if this side can post; else CANCEL.
    Confirm,
    /// Decide CANCEL and tell the wallet's owner.
    Cancel(Reason),
    /// Decide CANCEL; the wallet's owner has nothing to release, so the transfer is CANCELLED at once.
    CancelAtOnce(Reason),
    /// The wallet's owner has done its part: COMPLETED or CANCELLED.
    Finish,
    /// The decision is made and stays.
    AlreadyDecided,
    /// Contradicts the protocol: change nothing but raise `needs_operator` with these words.
    Alarm(String),
}

/// What `input` does to a transfer in `state`; `late` says whether its deadline has passed.
pub(crate) fn step(state: State, late: bool, input: &Input) -> Action {
    use Action::{Alarm, AlreadyDecided, Cancel, CancelAtOnce, Confirm, Finish, Nothing};
    match (state, input) {
        (_, Input::StepImpossible(what)) => Alarm(format!("the wallet's owner calls it impossible: {what}")),

        (State::Reserving, Input::Reserved) if late => Cancel(Reason::TransferExpired),
        (State::Reserving, Input::Reserved) => Confirm,
        (State::Reserving, Input::Refused(reason)) => CancelAtOnce(*reason),
        // It asked for no release, yet there is nothing left to confirm: only CANCEL is true now.
        (State::Reserving, Input::Released) => CancelAtOnce(Reason::TransferExpired),
        (State::Reserving, Input::Expiry) if late => Cancel(Reason::TransferExpired),
        (State::Reserving, Input::OperatorCancel) => Cancel(Reason::CancelledByOperator),

        (State::Confirming, Input::Posted) => Finish,
        (State::Cancelling, Input::Released | Input::Refused(_)) => Finish,

        (
            State::Confirming | State::Cancelling | State::Completed | State::Cancelled,
            Input::OperatorCancel,
        ) => AlreadyDecided,
        (State::Confirming | State::Completed, Input::Refused(_) | Input::Released) => {
            Alarm("the wallet's owner released what was decided CONFIRM".to_owned())
        }
        (State::Reserving | State::Cancelling | State::Cancelled, Input::Posted) => {
            Alarm("the wallet's owner posted what was not decided CONFIRM".to_owned())
        }

        (_, Input::Expiry | Input::Reserved)
        | (State::Completed, Input::Posted)
        | (State::Cancelled, Input::Released | Input::Refused(_)) => Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Vec<Input> {
        vec![
            Input::Reserved,
            Input::Refused(Reason::InsufficientCredit),
            Input::Posted,
            Input::Released,
            Input::StepImpossible("confirm on none".to_owned()),
            Input::Expiry,
            Input::OperatorCancel,
        ]
    }

    /// The whole table, on time: rows are states, columns are the inputs above.
    #[test]
    fn every_cell_of_the_table_is_as_the_protocol_says() {
        let table = [
            (State::Reserving, "confirm cancelled alarm cancelled alarm - cancel"),
            (State::Confirming, "- alarm finish alarm alarm - decided"),
            (State::Cancelling, "- finish alarm finish alarm - decided"),
            (State::Completed, "- alarm - alarm alarm - decided"),
            (State::Cancelled, "- - alarm - alarm - decided"),
        ];
        for (state, row) in table {
            let found: Vec<&str> = inputs().iter().map(|input| word(&step(state, false, input))).collect();
            assert_eq!(found.join(" "), row, "{state}");
        }
    }

    #[test]
    fn past_the_deadline_an_undecided_transfer_can_only_be_cancelled() {
        let expired = Action::Cancel(Reason::TransferExpired);
        assert_eq!(step(State::Reserving, true, &Input::Reserved), expired);
        assert_eq!(step(State::Reserving, true, &Input::Expiry), expired);
    }

    #[test]
    fn a_decided_transfer_does_not_know_what_time_it_is() {
        for state in State::ALL.iter().copied().filter(|state| state.decision().is_some()) {
            for input in inputs() {
                assert_eq!(step(state, true, &input), step(state, false, &input), "{state} {input:?}");
            }
        }
    }

    /// Kept for ever with what an operator did, so this literal never changes.
    #[test]
    fn what_is_stored_of_a_transfer_stays_as_it_is() {
        let now = TransferNow {
            state: State::Cancelling,
            reason: Some(Reason::CancelledByOperator),
            needs_operator: true,
            updated_at: OffsetDateTime::UNIX_EPOCH,
        };
        let stored = serde_json::json!({
            "state": "cancelling",
            "reason": "CANCELLED_BY_OPERATOR",
            "needs_operator": true,
            "updated_at": "1970-01-01T00:00:00Z",
        });
        assert_eq!(serde_json::to_value(now).unwrap(), stored);
        assert_eq!(serde_json::from_value::<TransferNow>(stored).unwrap(), now);
    }

    /// Every sequence of up to six inputs, each on time or late: no path leads from one decision to the
    /// other, none leaves a final state, and the wallet's answers always find an end.
    #[test]
    fn no_interleaving_turns_a_decision_round() {
        let mut paths = vec![(State::Reserving, 0)];
        let mut seen = 0_u64;
        while let Some((state, depth)) = paths.pop() {
            seen += 1;
            if depth == 6 {
                continue;
            }
            for late in [false, true] {
                for input in inputs() {
                    for next in outcomes(state, &step(state, late, &input)) {
                        assert!(
                            state.decision().is_none() || state.decision() == next.decision(),
                            "{state} + {input:?} became {next}"
                        );
                        assert!(!state.is_final() || next == state, "{state} + {input:?} became {next}");
                        if next != state {
                            paths.push((next, depth + 1));
                        }
                    }
                }
            }
        }
        assert!(seen > 20, "the enumeration went nowhere: {seen}");
        for (state, answer) in [(State::Confirming, Input::Posted), (State::Cancelling, Input::Released)] {
            assert_eq!(step(state, true, &answer), Action::Finish);
        }
    }

    #[test]
    fn names_are_read_back() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.as_str()), Some(*state));
        }
        assert_eq!(State::from_name("reserved"), None);
        assert_eq!(Reason::of_refusal("USER_DEACTIVATED"), Reason::UserDeactivated);
        assert_eq!(Reason::of_refusal("CANCELLED"), Reason::TransferExpired);
        assert_eq!(Reason::of_refusal("OF_A_NEWER_VERSION"), Reason::InvalidState);
    }

    fn word(action: &Action) -> &'static str {
        match action {
            Action::Nothing => "-",
            Action::Confirm => "confirm",
            Action::Cancel(_) => "cancel",
            Action::CancelAtOnce(_) => "cancelled",
            Action::Finish => "finish",
            Action::AlreadyDecided => "decided",
            Action::Alarm(_) => "alarm",
        }
    }

    /// Where an action may lead; CONFIRM becomes CANCEL when this side cannot post.
    fn outcomes(state: State, action: &Action) -> Vec<State> {
        match action {
            Action::Nothing | Action::AlreadyDecided | Action::Alarm(_) => vec![state],
            Action::Confirm => vec![State::Confirming, State::Cancelling],
            Action::Cancel(_) => vec![State::Cancelling],
            Action::CancelAtOnce(_) => vec![State::Cancelled],
            Action::Finish => {
                vec![if state == State::Confirming { State::Completed } else { State::Cancelled }]
            }
        }
    }
}
