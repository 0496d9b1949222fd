//! Who may be a customer. The read model says so; user service is asked about users that the read model lacks.

use types::UserId;

use super::App;
use crate::domain::{CustomerRefused, CustomerState, Holdings};
use crate::error::Result;

impl App {
    /// What keeps a user from being deleted.
    pub(crate) async fn get_customer_holdings(&self, user_id: UserId) -> Result<Holdings> {
        self.store.holdings_fetch(user_id).await
    }

    /// Refuses a user who is not active. `known` is what the read model says.
    pub(super) async fn require_active(&self, user_id: UserId, known: Option<CustomerState>) -> Result<()> {
        let state = match known {
            Some(state) => state,
            None => self.learn(user_id).await?.ok_or(CustomerRefused::NotFound(user_id))?,
        };
        Ok(state.require_active(user_id)?)
    }

    /// Makes sure that the read model has a user, if there is such a user.
    pub(super) async fn require_known(&self, user_id: UserId) -> Result<()> {
        if self.store.customer_fetch(user_id).await?.is_none() {
            self.learn(user_id).await?.ok_or(CustomerRefused::NotFound(user_id))?;
        }
        Ok(())
    }

    /// Asks user service and keeps the answer; the user's event, when it comes, finds it newer or equal. Tells
    /// what the user may do; `None` when there is no such user.
    async fn learn(&self, user_id: UserId) -> Result<Option<CustomerState>> {
        let Some(customer) = self.users.fetch(user_id).await? else { return Ok(None) };
        let customer = &customer;
        self.store
            .transaction("learn_customer", |mut tx| async move {
                tx.customers_upsert(std::slice::from_ref(customer)).await?;
                Ok(tx.commit(()))
            })
            .await?;
        Ok(Some(customer.state))
    }
}
