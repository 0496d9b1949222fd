//! What this service reserved for transfers, as documents. What becomes of them is in `participant.rs`.

use bson::{Document, doc};
use events::{Direction, Hold, HoldSpec, HoldState, Refusal};
use futures_util::TryStreamExt as _;
use mongodb::options::Hint;
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};
use types::{Money, OrderId, TransferId, UserId};

use super::wallets::{currency, from_day};
use crate::error::{Error, Result};
use crate::storage::{SERVER_TIME, Store, bounded, from_time, to_time};

pub(super) const HOLDS: &str = "hold";
/// The index of held ones, by when they are due and then by id.
const DUE: &str = "due";

/// A hold, and when it came to be and changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredHold {
    pub(crate) hold: Hold,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HoldRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spec: Option<SpecRow>,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// What a release before the limits of wallets knows no name for. There it is what `refusal` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bar: Option<String>,
    /// The day whose sum has it, by its first moment, if it takes from a wallet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) counted_on: Option<bson::DateTime>,
    version: i64,
    pub(super) event_version: i64,
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

pub(super) const fn state_name(state: HoldState) -> &'static str {
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
                refusal: row.bar.or(row.refusal).map(refusal).transpose()?,
                version: row.version,
            },
            created_at: to_time(row.created_at),
            updated_at: to_time(row.updated_at),
        })
    }
}

pub(super) fn by_id(transfer_id: TransferId) -> Document {
    doc! { "_id": bson::Uuid::from(transfer_id.uuid()) }
}

/// A new hold's document.
pub(super) fn hold_row(
    hold: &Hold,
    counted_on: Option<Date>,
    event_version: i64,
    now: OffsetDateTime,
) -> Result<Document> {
    let now = from_time(now);
    let bar = hold.refusal.filter(|refusal| matches!(refusal, Refusal::WalletFrozen | Refusal::WalletLimit));
    let refusal = if bar.is_some() { Some(Refusal::InsufficientCredit) } else { hold.refusal };
    let row = HoldRow {
        id: hold.transfer_id.uuid().into(),
        spec: hold.spec.as_ref().map(SpecRow::from),
        state: state_name(hold.state).to_owned(),
        refusal: refusal.map(|refusal| refusal.as_str().to_owned()),
        bar: bar.map(|bar| bar.as_str().to_owned()),
        counted_on: counted_on.map(from_day),
        version: hold.version,
        event_version,
        created_at: now,
        updated_at: now,
    };
    bson::serialize_to_document(&row).map_err(Error::internal)
}

/// What a hold's document becomes when its events were counted, and when it changed too.
pub(super) fn hold_change(hold: &Hold, event_version: i64, changed_at: Option<OffsetDateTime>) -> Document {
    let mut set = doc! { "event_version": event_version };
    if let Some(now) = changed_at {
        set.extend(doc! {
            "state": state_name(hold.state),
            "version": hold.version,
            "updated_at": from_time(now),
        });
    }
    doc! { "$set": set }
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
        let mut due_at = doc! { "$lt": from_time(before) };
        if let Some((id, spec)) = after.and_then(|hold| Some((hold.transfer_id, hold.spec.as_ref()?))) {
            let due = from_time(spec.expires_at);
            let id = bson::Uuid::from(id.uuid());
            due_at.insert("$gte", due);
            filter.insert(
                "$or",
                vec![
                    doc! { "spec.expires_at": { "$gt": due } },
                    doc! { "spec.expires_at": due, "_id": { "$gt": id } },
                ],
            );
        }
        filter.insert("spec.expires_at", due_at);
        let holds = self.collection::<HoldRow>(HOLDS);
        let order = doc! { "spec.expires_at": 1, "_id": 1 };
        let find = holds.find(filter).sort(order).limit(limit).hint(Hint::Name(DUE.to_owned()));
        let find = find.max_time(SERVER_TIME);
        let rows: Vec<HoldRow> = bounded(bounded(find).await?.try_collect()).await?;
        rows.into_iter().map(|row| StoredHold::try_from(row).map(|stored| stored.hold)).collect()
    }
}
