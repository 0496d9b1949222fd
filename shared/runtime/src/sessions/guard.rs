//! Keeps the cache of verified sessions honest by session service's events.
//!
//! An answer that was right when it was given is dropped when it stops being right. The cache is used only while all
//! streams of session service are heard: without one of them a revocation would pass unnoticed for as long as an answer
//! is kept. An event that cannot be understood may have ended any session, and so it ends all of them.

use std::sync::{Mutex, PoisonError};

use api::session::v1::{AllSessionsRevoked, SessionCreated, SessionRefreshed, SessionRevoked};
use auth::SessionCache;
use auth::token::PARTITIONS;
use events::{Bus, Ephemeral, Event, Listener, Liveness};
use types::{SessionId, UserId};

use crate::server::Core;

/// Guards `cache` until the workers of the process are stopped. It is off until all streams are heard.
///
/// One core of a process does this: its cores share the cache.
pub fn spawn_guard(core: &Core, bus: Bus, cache: SessionCache) {
    let guard = Ephemeral::new(streams(), bus, SessionGuard::new(cache));
    core.spawn("session-guard", guard.run(core.workers_stop.clone()));
}

/// The streams of session service.
fn streams() -> impl Iterator<Item = String> {
    (0..PARTITIONS).map(|partition| format!("session-{partition:02}"))
}

#[derive(Debug)]
struct SessionGuard {
    cache: SessionCache,
    liveness: Mutex<Liveness>,
}

impl SessionGuard {
    fn new(cache: SessionCache) -> Self {
        cache.set_enabled(false);
        Self { cache, liveness: Mutex::new(Liveness::new(streams())) }
    }
}

/// Which cached answers an event makes wrong.
enum Ended {
    Nothing,
    Session(SessionId),
    User(UserId),
}

/// `None` when the event is of an unknown type or cannot be read.
fn ended_by(event: &Event) -> Option<Ended> {
    if let Some(created) = event.decode::<SessionCreated>() {
        created.ok().map(|_| Ended::Nothing)
    } else if let Some(refreshed) = event.decode::<SessionRefreshed>() {
        refreshed.ok()?.session_id.parse().ok().map(Ended::Session)
    } else if let Some(revoked) = event.decode::<SessionRevoked>() {
        revoked.ok()?.session_id.parse().ok().map(Ended::Session)
    } else if let Some(revoked) = event.decode::<AllSessionsRevoked>() {
        revoked.ok()?.user_id.parse().ok().map(Ended::User)
    } else {
        None
    }
}

impl Listener for SessionGuard {
    fn on_event(&self, event: &Event) {
        match ended_by(event) {
            Some(Ended::Nothing) => {}
            Some(Ended::Session(session)) => self.cache.invalidate_session(session),
            Some(Ended::User(user)) => self.cache.invalidate_user(user),
            None => self.cache.clear(),
        }
    }

    fn on_clear(&self, _stream: &str) {
        self.cache.clear();
    }

    fn on_live(&self, stream: &str, live: bool) {
        let mut liveness = self.liveness.lock().unwrap_or_else(PoisonError::into_inner);
        self.cache.set_enabled(liveness.report(stream, live));
    }
}

#[cfg(test)]
mod tests;
