//! What a full audit looks at besides the chains of the wallets.

use std::collections::BTreeMap;

use bookkeeping::Finding;
use events::HoldState;
use types::{Money, PostingId, TransferId, UserId};

use super::{BookAudit, Page};
use crate::domain::audit::StoredSide;
use crate::domain::wallet::WalletKey;
use crate::error::Result;
use crate::storage::Recount;

const SIDES: usize = 2_000;
const HOLDS: i64 = 500;

impl BookAudit {
    /// The sums of the last days of a user's wallets. A day on which an older release had a part in it may differ: that
    /// one counted nothing.
    pub(super) async fn days(&self, owner: UserId, page: &mut Page) -> Result<()> {
        for recount in self.store.snapshot().await?.spending_recount(owner).await? {
            let Recount { key, spent, found } = recount;
            if spent.amount != found {
                let money = |minor_units| Money::new(key.currency, minor_units);
                let (counted, found) = (money(spent.amount), money(found));
                let what = format!("counts {counted} on {}, and {found} left it or are held", spent.day);
                page.findings.push(Finding::account(key, what, spent.amount.saturating_sub(recount.found)));
            }
        }
        Ok(())
    }

    /// Postings that no wallet's chain leads to: without a wallet's side, or with one behind the wallet's end.
    pub(super) async fn postings(
        &self,
        above: Option<PostingId>,
        page: &mut Page,
    ) -> Result<Option<PostingId>> {
        let sides = self.store.posting_side_page(above, SIDES).await?;
        let last = sides.last().map(|side| side.posting_id);
        page.entries += i64::try_from(sides.len()).unwrap_or(i64::MAX);
        let mut postings: BTreeMap<PostingId, Vec<StoredSide>> = BTreeMap::new();
        for side in sides {
            postings.entry(side.posting_id).or_default().push(side);
        }
        // The wallets after the entries: whoever has an entry has it in the wallet by then.
        let ends = self.ends(postings.values().flatten()).await?;
        let mut lone = Vec::new();
        for (id, sides) in postings {
            if let Some((key, sequence)) = sides.iter().find_map(|side| {
                side.place.filter(|place| ends.get(&place.0).is_none_or(|end| *end < place.1))
            }) {
                let behind = sides.iter().filter(|side| side.place == Some((key, sequence)));
                let amount = behind.map(|side| side.change().minor_units).sum();
                let what = format!("entry {sequence} ({id}) is behind the wallet's end");
                page.findings.push(Finding::account(key, what, amount).seen_by_full(true));
            } else if sides.iter().all(|side| side.place.is_none()) {
                lone.push(id);
            }
        }
        // A page is no snapshot: of a posting that was made meanwhile it may have one side. Read again it has both.
        let mut again: BTreeMap<PostingId, Vec<StoredSide>> = BTreeMap::new();
        for side in self.store.posting_sides(&lone).await? {
            again.entry(side.posting_id).or_default().push(side);
        }
        for (id, sides) in again {
            if sides.iter().all(|side| side.place.is_none()) {
                let amount = sides.iter().map(|side| side.change().minor_units).sum();
                let amount = Money::new(sides[0].amount.currency, amount);
                let finding = Finding::new(format!("posting {id}"), "has no wallet's entry", Some(amount));
                page.findings.push(finding.seen_by_full(true));
            }
        }
        Ok(last)
    }

    async fn ends<'a>(
        &self,
        sides: impl Iterator<Item = &'a StoredSide>,
    ) -> Result<BTreeMap<WalletKey, i64>> {
        let mut keys: Vec<WalletKey> = sides.filter_map(|side| Some(side.place?.0)).collect();
        keys.sort_unstable();
        keys.dedup();
        self.store.wallet_ends(&keys).await
    }

    /// Holds that are POSTED without a posting.
    pub(super) async fn holds(
        &self,
        above: Option<TransferId>,
        page: &mut Page,
    ) -> Result<Option<TransferId>> {
        let holds = self.store.hold_page(above, HOLDS).await?;
        let posted: Vec<PostingId> = holds
            .iter()
            .filter(|(_, state)| **state == HoldState::Posted)
            .map(|(id, _)| PostingId::from_uuid(id.uuid()))
            .collect();
        let found = self.store.posting_list(&posted).await?;
        for id in posted.iter().filter(|id| !found.contains_key(id)) {
            let finding = Finding::transfer(id, "its hold is POSTED and it has no posting", None);
            page.findings.push(finding.seen_by_full(true));
        }
        Ok(holds.last_key_value().map(|(id, _)| *id))
    }
}
