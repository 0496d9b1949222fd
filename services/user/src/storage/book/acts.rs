//! The record of what admins did to wallets, and why: documents are only ever added.

use bson::doc;
use time::OffsetDateTime;
use types::Call;
use uuid::Uuid;

use super::wallets::wallet_id;
use crate::domain::spending::Act;
use crate::domain::wallet::WalletKey;
use crate::storage::{Tx, from_time};

const ACTS: &str = "wallet_act";

impl Tx {
    /// Records an act that this transaction does.
    pub(crate) fn wallet_act_insert(
        &mut self,
        id: Uuid,
        call: &Call,
        wallet: WalletKey,
        act: Act,
        justification: &str,
        now: OffsetDateTime,
    ) {
        let mut row = doc! {
            "_id": bson::Uuid::from(id),
            "wallet": wallet_id(wallet),
            "act": act.as_str(),
            "request_id": bson::Uuid::from(call.key.request_id),
            "caller": &call.key.principal,
            "justification": justification,
            "made_at": from_time(now),
        };
        if let Act::SetLimits(limits) = act {
            let limits = [("payment_limit", limits.payment), ("day_limit", limits.day)];
            row.extend(
                limits.into_iter().filter_map(|(field, limit)| Some((field.to_owned(), limit?.into()))),
            );
        }
        self.insert(ACTS, row, None);
    }
}
