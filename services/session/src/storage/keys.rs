//! The names of all keys, in one place. What each holds is in `migrations/session/KEYS.md`.

use data_encoding::HEXLOWER;
use types::{RequestKey, SessionId, UserId};

use crate::domain::Partition;

/// The layout of the keys.
pub(crate) const SCHEMA: &str = "session:schema";

/// The lease of the replica that publishes the streams.
pub(crate) const RELAY_LEASE: &str = "{relay}:lease";

/// What our keys begin with.
const PREFIXES: [&str; 5] = ["{s", "login:{", "{consumer:", RELAY_LEASE, SCHEMA];

/// Whether a key is one that this service makes.
pub(crate) fn is_ours(key: &str) -> bool {
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// The stream's epoch, head and server.
pub(crate) fn stream(partition: Partition) -> String {
    format!("{{s{partition}}}:stream")
}

/// The events themselves.
pub(crate) fn events(partition: Partition) -> String {
    format!("{{s{partition}}}:events")
}

/// What is kept of a user besides sessions.
pub(crate) fn user(user: UserId) -> String {
    format!("{}{user}", user_prefix(Partition::of(user)))
}

/// What the keys of a partition's users begin with.
pub(crate) fn user_prefix(partition: Partition) -> String {
    format!("{{s{partition}}}:user:")
}

/// The index of a user's sessions.
pub(crate) fn sessions(user: UserId) -> String {
    format!("{{s{}}}:sessions:{user}", Partition::of(user))
}

/// A session.
pub(crate) fn session(partition: Partition, session: SessionId) -> String {
    format!("{{s{partition}}}:session:{session}")
}

/// An access token.
pub(crate) fn access(partition: Partition, hash: &str) -> String {
    format!("{{s{partition}}}:access:{hash}")
}

/// A refresh token, whether it was used or not.
pub(crate) fn refresh(partition: Partition, hash: &str) -> String {
    format!("{{s{partition}}}:refresh:{hash}")
}

/// The answer to a request.
pub(crate) fn request(partition: Partition, key: &RequestKey) -> String {
    format!("{{s{partition}}}:request:{}:{}:{}", key.principal, key.method, key.request_id)
}

/// The keys of an address' logins.
#[derive(Debug)]
pub(crate) struct Login {
    /// The sources from which logins succeeded lately.
    pub(crate) known: String,
    /// Failures from one source, and tries in progress.
    pub(crate) of_source: [String; 2],
    /// The same from everywhere.
    pub(crate) of_all: [String; 2],
}

/// The keys of an address' logins, and of those from one source.
pub(crate) fn login(address: &str, source: &str) -> Login {
    Login {
        known: format!("login:{{{address}}}:known"),
        of_source: ["failures", "tries"].map(|kind| format!("login:{{{address}}}:{kind}:{source}")),
        of_all: ["failures", "tries"].map(|kind| format!("login:{{{address}}}:{kind}")),
    }
}

/// A consumer's mark, and its parked events.
pub(crate) fn consumer(name: &str) -> [String; 2] {
    ["mark", "parked"].map(|kind| format!("{{consumer:{name}}}:{kind}"))
}

/// The record of a consumer's parked events that operators dropped.
pub(crate) fn skips(name: &str) -> String {
    format!("{{consumer:{name}}}:skips")
}

/// How a token's hash is written in keys.
pub(crate) fn hex(hash: &[u8; 32]) -> String {
    HEXLOWER.encode(hash)
}
