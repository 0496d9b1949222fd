//! Ending every session of every user, for a resync.

use events::Headers;
use types::UserId;

use crate::domain::Partition;
use crate::error::{Error, Result};
use crate::storage::{Store, backbone, keys, scripts};

/// About how many keys one step of a scan looks at.
const SCAN_COUNT: usize = 500;

impl Store {
    /// Ends every session of some users of a partition and forgets their auth epochs. The first call has `cursor` 0.
    /// Returns how many users there were, and the cursor to go on with, which is 0 at the end. May be repeated.
    pub(crate) async fn sessions_forget_some(
        &self,
        partition: Partition,
        cursor: u64,
        headers: &Headers,
    ) -> Result<(u64, u64)> {
        let (prefix, mut users) = (keys::user_prefix(partition), 0);
        let mut scan = redis::cmd("SCAN");
        // Braces and digits have no special meaning in a pattern.
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(SCAN_COUNT);
        let (next, found): (u64, Vec<String>) = self.redis.run(&scan).await?;
        for key in found {
            let user = key.strip_prefix(&prefix).and_then(|user| user.parse().ok());
            let user = user.ok_or_else(|| Error::internal(format!("{key} names no user")))?;
            self.session_forget(user, headers).await?;
            users += 1;
        }
        Ok((users, next))
    }

    async fn session_forget(&self, user: UserId, headers: &Headers) -> Result<u32> {
        let partition = Partition::of(user);
        let mut script = self.event_append_script(&scripts::SESSION_FORGET, partition, headers);
        script
            .key(keys::user(user))
            .key(keys::sessions(user))
            .arg(user.to_string())
            .arg(self.event_id().to_string())
            .arg(backbone::all_revoked(user, 0));
        self.event_append("forget_user", partition, &script).await
    }
}
