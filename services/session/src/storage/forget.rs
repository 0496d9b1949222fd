//! Starting over: ending every session of everybody.

use events::Headers;
use types::UserId;

use super::{Store, events as entries, keys, script};
use crate::domain::Partition;
use crate::error::{Error, Result};

/// Keys that a step of a scan looks at.
const SCAN_COUNT: usize = 500;

impl Store {
    /// Ends every session of a partition and forgets its auth epochs; tells of how many users. May be repeated.
    pub(crate) async fn sessions_forget(&self, partition: Partition, headers: &Headers) -> Result<u64> {
        let (prefix, mut users) = (keys::user_prefix(partition), 0);
        let mut cursor: u64 = 0;
        loop {
            let mut scan = redis::cmd("SCAN");
            // Braces and digits mean themselves in a pattern.
            scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(SCAN_COUNT);
            let (next, found): (u64, Vec<String>) = self.redis.run(&scan).await?;
            for key in found {
                let user = key.strip_prefix(&prefix).and_then(|user| user.parse().ok());
                let user = user.ok_or_else(|| Error::internal(format!("{key} names no user")))?;
                self.session_forget(user, headers).await?;
                users += 1;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(users);
            }
        }
    }

    async fn session_forget(&self, user: UserId, headers: &Headers) -> Result<u32> {
        let partition = Partition::of(user);
        let mut call = self.appending(&script::SESSION_FORGET, partition, headers);
        call.key(keys::user(user))
            .key(keys::sessions(user))
            .arg(user.to_string())
            .arg(self.event_id().to_string())
            .arg(entries::all_revoked(user, 0));
        self.append("forget_user", partition, &call).await
    }
}
