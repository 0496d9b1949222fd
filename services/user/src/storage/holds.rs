//! What this service reserved for transfers: the participant's side of `events::participant`, on MongoDB.
//!
//! A read locks nothing here. Two transactions that change one hold both write its document, and two that find
//! none both insert it, so one of them conflicts and tries again on what the other left.

use bson::{Document, doc};
use events::{Direction, Hold, HoldSpec, HoldState, ParticipantTx, Refusal, StoreError};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use types::{Clock as _, Money, OrderId, PostingId, SystemClock, TransferId, UserId};

use super::driver::bounded_raw;
use super::wallets::{conflict_on_duplicate, currency};
use super::{SERVER_TIME, Store, Tx, bounded, from_time, to_time};
use crate::domain::ledger::{Memo, Posting};
use crate::domain::user::UserState;
use crate::domain::wallet::{Change, WalletKey};
use crate::error::{Error, Result};

const HOLDS: &str = "hold";

/// A hold, and when it came to be and changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredHold {
    /// The hold.
    pub(crate) hold: Hold,
    /// When it was made.
    pub(crate) created_at: OffsetDateTime,
    /// When it last changed.
    pub(crate) updated_at: OffsetDateTime,
}

#[derive(Debug, Serialize, Deserialize)]
struct HoldRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spec: Option<SpecRow>,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    version: i64,
    event_version: i64,
    created_at: bson::DateTime,
    updated_at: bson::DateTime,
}

#[derive(Debug, Serialize, Deserialize)]
struct SpecRow {
    owner: bson::Uuid,
    direction: String,
    currency: String,
    amount: i64,
    expires_at: bson::DateTime,
    /// What the date cuts off. A reserve that is repeated must find its own content here, to the nanosecond.
    expires_nanos: i64,
    order_id: bson::Uuid,
}

const DEBIT: &str = "DEBIT";
const CREDIT: &str = "CREDIT";

const fn state_name(state: HoldState) -> &'static str {
    match state {
        HoldState::Held => "HELD",
        HoldState::Posted => "POSTED",
        HoldState::Cancelled => "CANCELLED",
    }
}

fn state_of(name: &str) -> Result<HoldState> {
    [HoldState::Held, HoldState::Posted, HoldState::Cancelled]
        .into_iter()
        .find(|state| state_name(*state) == name)
        .ok_or_else(|| Error::internal(format!("{name:?} is no state of a hold")))
}

impl From<&HoldSpec> for SpecRow {
    fn from(spec: &HoldSpec) -> Self {
        Self {
            owner: spec.owner.uuid().into(),
            direction: match spec.direction {
                Direction::Debit => DEBIT,
                Direction::Credit => CREDIT,
            }
            .to_owned(),
            currency: spec.amount.currency.code().to_owned(),
            amount: spec.amount.minor_units,
            expires_at: from_time(spec.expires_at),
            expires_nanos: i64::from(spec.expires_at.nanosecond() % 1_000_000),
            order_id: spec.order_id.uuid().into(),
        }
    }
}

impl SpecRow {
    fn into_spec(self, transfer_id: TransferId) -> Result<HoldSpec> {
        let direction = match self.direction.as_str() {
            DEBIT => Direction::Debit,
            CREDIT => Direction::Credit,
            other => return Err(Error::internal(format!("{other:?} is no direction"))),
        };
        Ok(HoldSpec {
            transfer_id,
            owner: UserId::from_uuid(self.owner.into()),
            direction,
            amount: Money::new(currency(&self.currency)?, self.amount),
            expires_at: to_time(self.expires_at) + time::Duration::nanoseconds(self.expires_nanos),
            order_id: OrderId::from_uuid(self.order_id.into()),
        })
    }
}

impl TryFrom<HoldRow> for StoredHold {
    type Error = Error;

    fn try_from(row: HoldRow) -> Result<Self> {
        let transfer_id = TransferId::from_uuid(row.id.into());
        let refusal = |name: String| {
            Refusal::from_name(&name).ok_or_else(|| Error::internal(format!("{name:?} is no refusal")))
        };
        Ok(Self {
            hold: Hold {
                transfer_id,
                spec: row.spec.map(|spec| spec.into_spec(transfer_id)).transpose()?,
                state: state_of(&row.state)?,
                refusal: row.refusal.map(refusal).transpose()?,
                version: row.version,
            },
            created_at: to_time(row.created_at),
            updated_at: to_time(row.updated_at),
        })
    }
}

fn by_id(transfer_id: TransferId) -> Document {
    doc! { "_id": bson::Uuid::from(transfer_id.uuid()) }
}

/// For the reader only: nothing hangs on these times.
fn now() -> bson::DateTime {
    from_time(SystemClock.now())
}

impl Store {
    /// A hold.
    pub(crate) async fn hold_fetch(&self, transfer_id: TransferId) -> Result<Option<StoredHold>> {
        let holds = self.collection::<HoldRow>(HOLDS);
        let row = bounded(holds.find_one(by_id(transfer_id)).max_time(SERVER_TIME)).await?;
        row.map(StoredHold::try_from).transpose()
    }

    /// At most `limit` holds that are HELD and were due before a time, after a place in their order of being
    /// due.
    pub(crate) async fn hold_list_due(
        &self,
        before: OffsetDateTime,
        after: Option<&Hold>,
        limit: i64,
    ) -> Result<Vec<Hold>> {
        let mut filter = doc! { "state": state_name(HoldState::Held) };
        filter.insert("spec.expires_at", doc! { "$lt": from_time(before) });
        if let Some((id, spec)) = after.and_then(|hold| Some((hold.transfer_id, hold.spec.as_ref()?))) {
            let due = from_time(spec.expires_at);
            let id = bson::Uuid::from(id.uuid());
            filter.insert(
                "$or",
                vec![
                    doc! { "spec.expires_at": { "$gt": due } },
                    doc! { "spec.expires_at": due, "_id": { "$gt": id } },
                ],
            );
        }
        let holds = self.collection::<HoldRow>(HOLDS);
        let order = doc! { "spec.expires_at": 1, "_id": 1 };
        let find = holds.find(filter).sort(order).limit(limit).max_time(SERVER_TIME);
        let rows: Vec<HoldRow> = bounded(bounded(find).await?.try_collect()).await?;
        rows.into_iter().map(|row| StoredHold::try_from(row).map(|stored| stored.hold)).collect()
    }
}

impl Tx {
    /// The wallets that these transfers have held something of.
    pub(crate) async fn hold_wallets(&mut self, transfers: &[TransferId]) -> Result<Vec<WalletKey>> {
        let ids: Vec<bson::Uuid> = transfers.iter().map(|id| id.uuid().into()).collect();
        let (holds, session) = self.on::<HoldRow>(HOLDS);
        let mut rows = bounded(holds.find(doc! { "_id": { "$in": ids } }).session(&mut *session)).await?;
        let rows: Vec<HoldRow> = bounded(rows.stream(session).try_collect()).await?;
        rows.into_iter()
            .filter_map(|row| row.spec)
            .map(|spec| {
                let owner = UserId::from_uuid(spec.owner.into());
                Ok(WalletKey { owner, currency: currency(&spec.currency)? })
            })
            .collect()
    }

    /// Counts one more event of a hold, and tells which it is.
    pub(crate) async fn hold_count_event(&mut self, transfer_id: TransferId) -> Result<i64> {
        let (holds, session) = self.on::<HoldRow>(HOLDS);
        let count = holds
            .find_one_and_update(by_id(transfer_id), doc! { "$inc": { "event_version": 1_i64 } })
            .return_document(mongodb::options::ReturnDocument::After)
            .session(session);
        let row = bounded(count).await?;
        row.map(|row| row.event_version)
            .ok_or_else(|| Error::internal(format!("hold {transfer_id} is gone in its own transaction")))
    }

    async fn hold_read(&mut self, transfer_id: TransferId) -> Result<Option<Hold>> {
        let (holds, session) = self.on::<HoldRow>(HOLDS);
        let row = bounded(holds.find_one(by_id(transfer_id)).session(session)).await?;
        row.map(|row| StoredHold::try_from(row).map(|stored| stored.hold)).transpose()
    }

    async fn hold_write_new(&mut self, hold: &Hold) -> Result<()> {
        let now = now();
        let row = HoldRow {
            id: hold.transfer_id.uuid().into(),
            spec: hold.spec.as_ref().map(SpecRow::from),
            state: state_name(hold.state).to_owned(),
            refusal: hold.refusal.map(|refusal| refusal.as_str().to_owned()),
            version: hold.version,
            event_version: 0,
            created_at: now,
            updated_at: now,
        };
        let (holds, session) = self.on::<HoldRow>(HOLDS);
        conflict_on_duplicate(bounded_raw(holds.insert_one(row).session(session)).await).map(drop)
    }

    async fn hold_write(&mut self, hold: &Hold) -> Result<()> {
        let mut filter = by_id(hold.transfer_id);
        filter.insert("version", hold.version - 1);
        let update = doc! { "$set": {
            "state": state_name(hold.state),
            "version": hold.version,
            "updated_at": now(),
        } };
        let (holds, session) = self.on::<HoldRow>(HOLDS);
        let done = bounded(holds.update_one(filter, update).session(session)).await?;
        if done.matched_count == 1 { Ok(()) } else { Err(Error::Contention) }
    }

    /// A debit needs a user who may spend. Credit reaches everybody who ever was a user: what is refunded must
    /// arrive somewhere.
    async fn wallet_reserve(&mut self, spec: &HoldSpec) -> Result<Result<(), Refusal>> {
        let states = self.user_state_list(&[spec.owner]).await?;
        let Some((_, state)) = states.first() else {
            return Ok(Err(Refusal::UserNotFound));
        };
        let key = WalletKey::of(spec.owner, spec.amount);
        let change = held(spec);
        match spec.direction {
            Direction::Debit if *state == UserState::Deactivated => Ok(Err(Refusal::UserDeactivated)),
            Direction::Debit => {
                let is_held = self.wallet_change(key, change).await?;
                Ok(if is_held { Ok(()) } else { Err(Refusal::InsufficientCredit) })
            }
            Direction::Credit => {
                if self.wallet_change(key, change).await? {
                    return Ok(Ok(()));
                }
                if !self.wallet_read(key).await?.has_room(spec.amount.minor_units) {
                    return Ok(Err(Refusal::BalanceLimit));
                }
                self.wallet_insert(key, change).await?;
                Ok(Ok(()))
            }
        }
    }

    async fn wallet_release(&mut self, spec: &HoldSpec) -> Result<()> {
        let key = WalletKey::of(spec.owner, spec.amount);
        if self.wallet_change(key, held(spec).undone()).await? {
            return Ok(());
        }
        Err(nothing_held(spec))
    }

    async fn wallet_post(&mut self, spec: &HoldSpec) -> Result<()> {
        let key = WalletKey::of(spec.owner, spec.amount);
        let mut wallet = self.wallet_read(key).await?;
        let held = match spec.direction {
            Direction::Debit => wallet.held,
            Direction::Credit => wallet.incoming,
        };
        if held < spec.amount.minor_units {
            return Err(nothing_held(spec));
        }
        let id = PostingId::from_uuid(spec.transfer_id.uuid());
        let memo = Memo::new(id, spec.amount, SystemClock.now());
        let posting = match spec.direction {
            Direction::Debit => Posting::payment(memo, &mut wallet, spec.order_id),
            Direction::Credit => Posting::refund(memo, &mut wallet, spec.order_id),
        };
        self.posting_insert(&posting, None, None).await
    }
}

/// What a hold sets aside.
fn held(spec: &HoldSpec) -> Change {
    match spec.direction {
        Direction::Debit => Change::hold_debit(spec.amount.minor_units),
        Direction::Credit => Change::hold_credit(spec.amount.minor_units),
    }
}

/// The snapshot of one transaction has the hold and not the amount: no conflict, a broken book.
fn nothing_held(spec: &HoldSpec) -> Error {
    Error::internal(format!("transfer {} is held and its wallet has nothing set aside", spec.transfer_id))
}

impl ParticipantTx for Tx {
    async fn hold_fetch(&mut self, transfer_id: TransferId) -> Result<Option<Hold>, StoreError> {
        Ok(self.hold_read(transfer_id).await?)
    }

    async fn hold_insert(&mut self, hold: &Hold) -> Result<(), StoreError> {
        Ok(self.hold_write_new(hold).await?)
    }

    async fn hold_update(&mut self, hold: &Hold) -> Result<(), StoreError> {
        Ok(self.hold_write(hold).await?)
    }

    async fn balance_reserve(&mut self, spec: &HoldSpec) -> Result<Result<(), Refusal>, StoreError> {
        Ok(self.wallet_reserve(spec).await?)
    }

    async fn balance_release(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
        Ok(self.wallet_release(spec).await?)
    }

    async fn balance_post(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
        Ok(self.wallet_post(spec).await?)
    }
}
