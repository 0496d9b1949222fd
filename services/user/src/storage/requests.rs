//! What was answered to a `request_id`: in the transaction of the effect, claimed by the insert. A repeat gets the
//! first answer, whatever has become of the thing since.

use bson::spec::BinarySubtype;
use bson::{Binary, doc};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use types::{Fingerprint, RequestKey};

use super::driver::bounded;
use super::posts::PostRow;
use super::statistics::SumsRow;
use super::users::UserRow;
use super::wallets::CreditRefusedRow;
use super::writes::Duplicate;
use super::{SERVER_TIME, Store, Tx, from_time};
use crate::domain::post::Post;
use crate::domain::user::Profile;
use crate::domain::wallet::CreditRefused;
use crate::error::{Error, Result};

const COLLECTION: &str = "request";
/// How long an answer is kept that no money and no order hangs on. A TTL index deletes it then.
const KEPT: Duration = Duration::days(30);

/// An answer that can be given again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// A user as it was then.
    User(Profile),
    /// A post as it was then.
    Post(Post),
    /// A grant or a sending of credit that was refused.
    CreditRefused(CreditRefused),
}

impl Outcome {
    /// The user that a call was answered with.
    pub(crate) fn into_profile(self) -> Result<Profile> {
        match self {
            Self::User(profile) => Ok(profile),
            _ => Err(Error::internal("a call that answers with a user was answered with something else")),
        }
    }

    /// The post that a call was answered with.
    pub(crate) fn into_post(self) -> Result<Post> {
        match self {
            Self::Post(post) => Ok(post),
            _ => Err(Error::internal("a call that answers with a post was answered with something else")),
        }
    }

    /// The refusal that a grant or a sending was answered with.
    pub(crate) fn into_credit_refused(self) -> Result<CreditRefused> {
        match self {
            Self::CreditRefused(refused) => Ok(refused),
            _ => Err(Error::internal("a call that was refused credit was answered with something else")),
        }
    }
}

/// For how long a repeat gets the first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// As long as a client may still be trying.
    ThirtyDays,
    /// For ever: money hangs on it.
    Forever,
}

/// What the first call said, and what it was answered.
#[derive(Debug)]
pub(crate) struct Saved {
    fingerprint: Fingerprint,
    outcome: Outcome,
}

impl Saved {
    /// The first answer, if this call says the same.
    pub(crate) fn replay(self, key: &RequestKey, fingerprint: &Fingerprint) -> Result<Outcome> {
        if self.fingerprint.same_content(fingerprint) {
            return Ok(self.outcome);
        }
        let fields = self.fingerprint.differing_fields(fingerprint);
        Err(Error::RequestIdReused { method: key.method, fields })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct RequestRow {
    #[serde(rename = "_id")]
    id: KeyRow,
    fingerprint: Binary,
    outcome: OutcomeRow,
    create_time: bson::DateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expire_time: Option<bson::DateTime>,
}

/// The order of these fields is part of the key: `_id`s are compared as they are written.
#[derive(Debug, Serialize, Deserialize)]
struct KeyRow {
    principal: String,
    method: String,
    request_id: bson::Uuid,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeRow {
    User {
        user: UserRow,
        statistics: SumsRow,
    },
    Post(PostRow),
    #[serde(rename = "send_refused")]
    CreditRefused(CreditRefusedRow),
}

impl From<&RequestKey> for KeyRow {
    fn from(key: &RequestKey) -> Self {
        Self {
            principal: key.principal.clone(),
            method: key.method.to_owned(),
            request_id: key.request_id.into(),
        }
    }
}

impl From<&Outcome> for OutcomeRow {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::User(profile) => {
                Self::User { user: (&profile.user).into(), statistics: profile.statistics.into() }
            }
            Outcome::Post(post) => Self::Post(post.into()),
            Outcome::CreditRefused(refused) => Self::CreditRefused(refused.into()),
        }
    }
}

impl TryFrom<OutcomeRow> for Outcome {
    type Error = Error;

    fn try_from(row: OutcomeRow) -> Result<Self> {
        match row {
            OutcomeRow::User { user, statistics } => {
                Ok(Self::User(Profile { user: user.try_into()?, statistics: statistics.into() }))
            }
            OutcomeRow::Post(post) => Ok(Self::Post(post.into())),
            OutcomeRow::CreditRefused(refused) => refused.try_into().map(Self::CreditRefused),
        }
    }
}

impl TryFrom<RequestRow> for Saved {
    type Error = Error;

    fn try_from(row: RequestRow) -> Result<Self> {
        let fingerprint = Fingerprint::from_bytes(row.fingerprint.bytes)
            .ok_or_else(|| Error::internal("a fingerprint in `request` is none"))?;
        Ok(Self { fingerprint, outcome: row.outcome.try_into()? })
    }
}

fn filter(key: &RequestKey) -> Result<bson::Document> {
    let id = bson::serialize_to_bson(&KeyRow::from(key)).map_err(Error::internal)?;
    Ok(doc! { "_id": id })
}

impl Store {
    /// What a request id was answered.
    pub(crate) async fn request_fetch(&self, key: &RequestKey) -> Result<Option<Saved>> {
        let requests = self.collection::<RequestRow>(COLLECTION);
        let row = bounded(requests.find_one(filter(key)?).max_time(SERVER_TIME)).await?;
        row.map(Saved::try_from).transpose()
    }
}

impl Tx {
    /// What a request id was answered, before this transaction began.
    pub(crate) async fn request_fetch(&mut self, key: &RequestKey) -> Result<Option<Saved>> {
        let (requests, session) = self.on::<RequestRow>(COLLECTION);
        let row = bounded(requests.find_one(filter(key)?).session(session)).await?;
        row.map(Saved::try_from).transpose()
    }

    /// Claims a request id and keeps its answer. When another call has claimed it meanwhile this comes to
    /// [`Error::Contention`]: the next try of the transaction finds that call's answer.
    pub(crate) fn request_insert(
        &mut self,
        key: &RequestKey,
        fingerprint: &Fingerprint,
        outcome: &Outcome,
        now: OffsetDateTime,
        keep: Keep,
    ) -> Result<()> {
        let row = RequestRow {
            id: key.into(),
            fingerprint: Binary { subtype: BinarySubtype::Generic, bytes: fingerprint.as_bytes().to_vec() },
            outcome: outcome.into(),
            create_time: from_time(now),
            expire_time: (keep == Keep::ThirtyDays).then(|| from_time(now + KEPT)),
        };
        let row = bson::serialize_to_document(&row).map_err(Error::internal)?;
        self.insert(COLLECTION, row, Duplicate::Conflict);
        Ok(())
    }
}
