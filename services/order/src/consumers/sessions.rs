//! Drops verified sessions from this process' memory when session service tells that they ended.
//!
//! The memory is used only while all session streams are heard: without them a revocation would pass unnoticed for
//! as long as an answer is kept.

use std::collections::HashSet;
use std::sync::Mutex;

use api::session::v1::{AllSessionsRevoked, SessionRefreshed, SessionRevoked};
use auth::SessionCache;
use auth::token::PARTITIONS;
use events::{Event, Listener, Undecodable};
use prost::{Message, Name};

/// The streams of session service.
pub(crate) fn session_streams() -> impl Iterator<Item = String> {
    (0..PARTITIONS).map(|partition| format!("session-{partition:02}"))
}

/// Keeps a cache of verified sessions honest.
#[derive(Debug)]
pub(crate) struct Sessions {
    cache: SessionCache,
    silent: Mutex<HashSet<String>>,
}

impl Sessions {
    /// Switches the cache off until every stream is heard.
    pub(crate) fn new(cache: SessionCache) -> Self {
        cache.set_enabled(false);
        Self { cache, silent: Mutex::new(session_streams().collect()) }
    }

    /// What an event ends; `None` when it ends nothing, and when it cannot be read.
    fn ended(event: &Event) -> Option<Ended> {
        if let Some(revoked) = decode::<SessionRevoked>(event) {
            Some(Ended::Session(revoked.ok()?.session_id))
        } else if let Some(refreshed) = decode::<SessionRefreshed>(event) {
            Some(Ended::Session(refreshed.ok()?.session_id))
        } else if let Some(all) = decode::<AllSessionsRevoked>(event) {
            Some(Ended::User(all.ok()?.user_id))
        } else {
            None
        }
    }

    fn is_harmless(event: &Event) -> bool {
        event.new.event_type == "session.v1.SessionCreated"
    }
}

enum Ended {
    Session(String),
    User(String),
}

fn decode<M: Message + Name + Default>(event: &Event) -> Option<Result<M, Undecodable>> {
    event.decode()
}

impl Listener for Sessions {
    fn on_event(&self, event: &Event) {
        let done = match Self::ended(event) {
            Some(Ended::Session(id)) => id.parse().map(|id| self.cache.invalidate_session(id)).is_ok(),
            Some(Ended::User(id)) => id.parse().map(|id| self.cache.invalidate_user(id)).is_ok(),
            None => Self::is_harmless(event),
        };
        if !done {
            // Something ended, and nobody can tell what.
            self.cache.clear();
        }
    }

    fn on_clear(&self, _stream: &str) {
        self.cache.clear();
    }

    fn on_live(&self, stream: &str, live: bool) {
        let mut silent = self.silent.lock().expect("no holder of this lock panics");
        if live {
            silent.remove(stream);
        } else {
            silent.insert(stream.to_owned());
        }
        self.cache.set_enabled(silent.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use auth::CacheConfig;
    use types::SystemClock;

    use super::*;

    #[test]
    fn sessions_are_remembered_only_while_every_stream_is_heard() {
        let cache = SessionCache::new(CacheConfig::default(), Arc::new(SystemClock));
        let sessions = Sessions::new(cache.clone());
        assert!(!cache.is_enabled());
        let streams: Vec<_> = session_streams().collect();
        assert_eq!((streams.len(), &*streams[0], &*streams[15]), (16, "session-00", "session-15"));
        for stream in &streams {
            assert!(!cache.is_enabled());
            sessions.on_live(stream, true);
        }
        assert!(cache.is_enabled());
        sessions.on_live("session-07", false);
        assert!(!cache.is_enabled());
        sessions.on_live("session-07", true);
        assert!(cache.is_enabled());
    }
}
