//! What calls that change a user are answered with.

use time::OffsetDateTime;
use types::{Answer, Call, Keep};

use crate::domain::user::{User, WholeUser};
use crate::error::Result;
use crate::storage::Tx;

/// The first answer of a call that made this of a user, kept for its repeats.
pub(super) async fn first_whole(
    tx: &mut Tx,
    call: &Call,
    user: User,
    now: OffsetDateTime,
) -> Result<Answer<WholeUser>> {
    let statistics = tx.statistics_fetch(user.id).await?;
    let whole = WholeUser { user, statistics };
    tx.request_insert(call, &whole, now, Keep::ThirtyDays)?;
    Ok(Answer::first(whole))
}
