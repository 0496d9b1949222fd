//! A system whose services are built with crash points, and the people who are there in every case.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::session::v1::ListSessionsRequest;
use api::user::v1::{GetUserRequest, GetWalletRequest, User};
use testkit::client::Person;
use testkit::{DatabaseOptions, Profile, ServiceName, ServiceOptions};

use super::operation::Measures;
use crate::System;
use crate::people::{Market, PRICE};

/// Enough for every case of a sweep, and less than an order may ask for.
const CREDIT: i64 = 10_000 * PRICE;
const STOCK: i64 = 5_000;

/// Events are pruned all the time, so that crashes while pruning can be made, and nothing relies on old events.
/// Audits are run when a case asks for one. Sessions outlive the longest sweep.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("OUTBOX_RETENTION", "1s"),
    ("OUTBOX_PRUNE_EVERY", "300ms"),
    ("AUDIT_EVERY", "0s"),
    ("ACCESS_TOKEN_LIFE", "10h"),
    ("SESSION_IDLE_LIFE", "11h"),
];

/// The system and the people of one lane of cases.
#[derive(Debug)]
pub struct Stage {
    /// All services with their points.
    pub system: System,
    /// A buyer with much credit, and a merchant.
    pub market: Market,
    /// Somebody to send and to hand over to.
    pub friend: Person,
    /// Somebody without credit.
    pub poor: Person,
}

impl Stage {
    /// Starts a system, with more environment for its services.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn open(env: &[(&str, &str)]) -> Result<Arc<Self>> {
        let mut services = ServiceOptions { profile: Profile::Faults, ..ServiceOptions::default() };
        for name in ServiceName::ALL {
            let all = ENVIRONMENT.iter().chain(env);
            services.env.extend(all.map(|(key, value)| (name, (*key).to_owned(), (*value).to_owned())));
        }
        let system = System::start_with(DatabaseOptions::default(), services).await?;
        let market = Market::open(&system, CREDIT, STOCK).await.context("opening the market")?;
        let friend = system.api.sign_up("Friend").await?;
        let poor = system.api.sign_up("Poor").await?;
        Ok(Arc::new(Self { system, market, friend, poor }))
    }

    /// A user as the admin sees them.
    pub(super) async fn user(&self, user_id: &str) -> Result<User> {
        let request = GetUserRequest { user_id: user_id.to_owned(), read_mask: None };
        let answer = self.system.admin.caller.users().get_user(request).await.context("GetUser")?;
        answer.into_inner().user.context("a user")
    }

    /// How many sessions a user has.
    pub(super) async fn session_count(&self, user_id: &str) -> Result<i64> {
        Ok(i64::try_from(self.session_ids(user_id).await?.len())?)
    }

    /// The sessions that a user has.
    pub(super) async fn session_ids(&self, user_id: &str) -> Result<Vec<String>> {
        let request =
            ListSessionsRequest { user_id: user_id.to_owned(), page_size: 1000, ..Default::default() };
        let answer = self.system.admin.caller.sessions().list_sessions(request).await;
        let sessions = answer.context("ListSessions")?.into_inner().sessions;
        Ok(sessions.into_iter().map(|session| session.id).collect())
    }

    /// What a user has in the wallet: the balance and what is held of it.
    pub(super) async fn wallet(&self, user_id: &str) -> Result<(i64, i64)> {
        let request = GetWalletRequest { user_id: user_id.to_owned(), currency_code: "EUR".to_owned() };
        let answer = self.system.admin.caller.wallets().get_wallet(request).await.context("GetWallet")?;
        let wallet = answer.into_inner().wallet.context("a wallet")?;
        let cents = |money: Option<api::common::v1::Money>| money.map_or(0, |money| money.minor_units);
        Ok((cents(wallet.balance), cents(wallet.held)))
    }

    /// A user's orders, as user service has counted them.
    pub(super) async fn statistics(&self, user_id: &str) -> Result<Measures> {
        let counted = self.user(user_id).await?.order_statistics.unwrap_or_default();
        Ok(vec![
            ("orders placed", counted.placed_count),
            ("orders paid", counted.paid_count),
            ("orders cancelled", counted.cancelled_count),
            ("orders owned", counted.owned_count),
        ])
    }
}
