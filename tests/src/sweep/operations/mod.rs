//! What is done while a service dies. Each file has the operations of one part of the API.

mod credit;
mod held_stream;
mod orders;
mod overdue;
mod payments;
mod posts;
mod sessions;
mod undecided;
mod upkeep;
mod users;

use std::sync::Arc;

use anyhow::Result;

use super::operation::Operation;
use super::stage::Stage;

/// Which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `CreateUser`.
    SignUp,
    /// `DeactivateUser`.
    Deactivate,
    /// `ChangeUserRole`.
    ChangeRole,
    /// `GrantCredit`.
    Grant,
    /// `SendCredit`.
    Send,
    /// `SendCredit` of more than there is.
    SendTooMuch,
    /// `CreatePost`.
    CreatePost,
    /// `TransferPost`.
    TransferPost,
    /// `CreateProduct`.
    CreateProduct,
    /// `PlaceOrder`.
    Place,
    /// `PlaceOrder` of more than there is.
    PlaceTooMany,
    /// `PlaceOrder` by somebody whom order service has not heard of.
    PlaceUnheard,
    /// `CancelOrder`.
    CancelOrder,
    /// `TransferOrder`.
    HandOver,
    /// `PayOrder`.
    Pay,
    /// `PayOrder` without the credit for it.
    PayTooMuch,
    /// Several `PayOrder` at once.
    PayMany,
    /// `RefundOrder`.
    Refund,
    /// `CancelTransfer`, by an operator.
    CancelTransfer,
    /// `RetryTransfer`, by an operator.
    RetryTransfer,
    /// A payment that nobody decides in time: the recovery worker does.
    Overdue,
    /// A hold past its time: the participant asks for the decision.
    HoldOverdue,
    /// `Login`.
    Login,
    /// `RefreshSession`.
    Refresh,
    /// `RevokeSession`.
    Revoke,
    /// `RevokeAllSessions`, by an admin.
    RevokeAll,
    /// `RunAudit`.
    Audit,
    /// SIGTERM to user service.
    StopUser,
    /// SIGTERM to order service.
    StopOrder,
    /// SIGTERM to session service.
    StopSession,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::SignUp,
        Self::Deactivate,
        Self::ChangeRole,
        Self::Grant,
        Self::Send,
        Self::SendTooMuch,
        Self::CreatePost,
        Self::TransferPost,
        Self::CreateProduct,
        Self::Place,
        Self::PlaceTooMany,
        Self::PlaceUnheard,
        Self::CancelOrder,
        Self::HandOver,
        Self::Pay,
        Self::PayTooMuch,
        Self::PayMany,
        Self::Refund,
        Self::CancelTransfer,
        Self::RetryTransfer,
        Self::Overdue,
        Self::HoldOverdue,
        Self::Login,
        Self::Refresh,
        Self::Revoke,
        Self::RevokeAll,
        Self::Audit,
        Self::StopUser,
        Self::StopOrder,
        Self::StopSession,
    ];
}

/// Makes what an operation needs, before anything is killed.
pub(super) async fn prepare(kind: Kind, stage: &Arc<Stage>) -> Result<Box<dyn Operation>> {
    let stage = Arc::clone(stage);
    Ok(match kind {
        Kind::SignUp => Box::new(users::SignUp::new(stage)),
        Kind::Deactivate => Box::new(users::Deactivate::new(stage).await?),
        Kind::ChangeRole => Box::new(users::ChangeRole::new(stage).await?),
        Kind::Grant => Box::new(credit::Grant::new(stage)),
        Kind::Send => Box::new(credit::Send::new(stage, false)),
        Kind::SendTooMuch => Box::new(credit::Send::new(stage, true)),
        Kind::CreatePost => Box::new(posts::Create::new(stage)),
        Kind::TransferPost => Box::new(posts::Transfer::new(stage).await?),
        Kind::CreateProduct => Box::new(orders::CreateProduct::new(stage)),
        Kind::Place => Box::new(orders::Place::new(stage, 1)),
        Kind::PlaceTooMany => Box::new(orders::Place::new(stage, 10_000)),
        Kind::PlaceUnheard => Box::new(undecided::PlaceUnheard::new(stage)),
        Kind::CancelOrder => Box::new(orders::Cancel::new(stage).await?),
        Kind::HandOver => Box::new(orders::HandOver::new(stage).await?),
        Kind::Pay => Box::new(payments::Pay::new(stage).await?),
        Kind::PayTooMuch => Box::new(payments::Pay::too_much(stage).await?),
        Kind::PayMany => Box::new(payments::PayMany::new(stage).await?),
        Kind::Refund => Box::new(payments::Refund::new(stage).await?),
        Kind::CancelTransfer => Box::new(undecided::Operator::new(stage, undecided::Act::Cancel).await?),
        Kind::RetryTransfer => Box::new(undecided::Operator::new(stage, undecided::Act::Retry).await?),
        Kind::Overdue => Box::new(overdue::Late::recovered(stage).await?),
        Kind::HoldOverdue => Box::new(overdue::Late::asked(stage).await?),
        Kind::Login => Box::new(sessions::Login::new(stage).await?),
        Kind::Refresh => Box::new(sessions::Refresh::new(stage).await?),
        Kind::Revoke => Box::new(sessions::Revoke::new(stage).await?),
        Kind::RevokeAll => Box::new(sessions::RevokeAll::new(stage).await?),
        Kind::Audit => Box::new(upkeep::Audit::new(stage).await?),
        Kind::StopUser => Box::new(upkeep::Stop::new(stage, testkit::ServiceName::User)),
        Kind::StopOrder => Box::new(upkeep::Stop::new(stage, testkit::ServiceName::Order)),
        Kind::StopSession => Box::new(upkeep::Stop::new(stage, testkit::ServiceName::Session)),
    })
}
