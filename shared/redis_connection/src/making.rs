//! The one connection at a time: in the making, made, or to be made again after a pause.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisError};
use types::Backoff;

use crate::CurrentAddress;

/// The pauses between tries: short, because calls come to nothing meanwhile, and growing, because a server that refuses
/// us has others to answer.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Bytes that are not acknowledged for this long mean that the connection is dead.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(2);

/// A connection that everybody who needs it waits for.
pub(crate) type Connecting = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

/// Which connection it is: what is heard of an older one does not count for this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(u64);

/// See the head of this file.
pub(crate) struct Making {
    address: CurrentAddress,
    /// Whether Sentinels tell which server it is.
    is_watched: bool,
    connects_within: Duration,
    answers_within: Duration,
    number: u64,
    current: Option<Current>,
    failed: Option<Failed>,
    pauses: Backoff,
    doubted_at: Option<Instant>,
}

struct Current {
    connecting: Connecting,
    is_lost: Arc<AtomicBool>,
    silent_since: Option<Instant>,
}

/// The last try came to nothing.
struct Failed {
    error: RedisError,
    again_at: Instant,
}

impl Making {
    pub(crate) fn new(address: CurrentAddress, connects_within: Duration, answers_within: Duration) -> Self {
        let pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        Self {
            is_watched: address.now().is_watched(),
            address,
            connects_within,
            answers_within,
            number: 0,
            current: None,
            failed: None,
            pauses,
            doubted_at: None,
        }
    }

    /// The connection, or a new one where there is none. During the pause after a failure, that failure.
    pub(crate) fn connection(&mut self, now: Instant) -> Result<(Number, Connecting), RedisError> {
        let current = self.current.take().filter(|current| !current.is_lost.load(Ordering::Relaxed));
        if current.is_none() {
            if let Some(failed) = &self.failed
                && now < failed.again_at
            {
                return Err(failed.error.clone());
            }
            self.number += 1;
        }
        let current = current.unwrap_or_else(|| self.connect());
        let connecting = current.connecting.clone();
        self.current = Some(current);
        Ok((Number(self.number), connecting))
    }

    /// The connection stands.
    pub(crate) fn is_made(&mut self, number: Number) {
        if self.is_current(number) && self.failed.take().is_some() {
            self.pauses.reset();
        }
    }

    /// No connection could be made.
    pub(crate) fn has_failed(&mut self, number: Number, error: &RedisError, now: Instant) {
        if self.is_current(number) {
            self.current = None;
            self.failed = Some(Failed { error: error.clone(), again_at: now + self.pauses.next_delay() });
        }
    }

    /// A command was answered.
    pub(crate) fn answers(&mut self, number: Number) {
        if let Some(current) = self.current_of(number) {
            current.silent_since = None;
        }
    }

    /// A command was not answered. A connection that nobody closes and that answers nothing is given up after `longest`.
    pub(crate) fn is_silent(&mut self, number: Number, longest: Duration, now: Instant) {
        let Some(current) = self.current_of(number) else { return };
        let since = *current.silent_since.get_or_insert(now);
        if now.duration_since(since) >= longest {
            self.current = None;
        }
    }

    /// The connection is of no more use.
    pub(crate) fn give_up(&mut self, number: Number) {
        if self.is_current(number) {
            self.current = None;
        }
    }

    /// The connection may lead to a server that is the master no more. Where Sentinels tell who is, they are asked, and
    /// only once in `pause`: it may be right all the same.
    pub(crate) fn doubt(&mut self, number: Number, pause: Duration, now: Instant) {
        let is_due = self.doubted_at.is_none_or(|at| now.duration_since(at) >= pause);
        if self.is_watched && is_due && self.is_current(number) {
            self.doubted_at = Some(now);
            self.current = None;
        }
    }

    fn current_of(&mut self, number: Number) -> Option<&mut Current> {
        if self.number == number.0 { self.current.as_mut() } else { None }
    }

    fn is_current(&self, number: Number) -> bool {
        self.number == number.0 && self.current.is_some()
    }

    fn connect(&self) -> Current {
        let is_lost = Arc::new(AtomicBool::new(false));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connects_within))
            .set_response_timeout(Some(self.answers_within))
            .set_push_sender(noting(Arc::clone(&is_lost)));
        let address = self.address.clone();
        let connecting = async move {
            // With RESP3 the driver notices a lost connection at once, not only with the next command.
            let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED_MAX);
            let address = address.latest().await.with(ProtocolVersion::RESP3, tcp);
            address.client().await?.get_multiplexed_async_connection_with_config(&config).await
        };
        let connecting = connecting.boxed().shared();
        Current { connecting, is_lost, silent_since: None }
    }
}

/// Hears from the driver that a connection is lost.
fn noting(is_lost: Arc<AtomicBool>) -> impl Fn(PushInfo) -> Result<(), redis::aio::SendError> {
    move |push| {
        if push.kind == PushKind::Disconnection {
            is_lost.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl fmt::Debug for Making {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Making").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn making() -> Making {
        let second = Duration::from_secs(1);
        Making::new(CurrentAddress::of("redis://127.0.0.1:1".into()).unwrap(), second, second)
    }

    fn refused() -> RedisError {
        (redis::ErrorKind::AuthenticationFailed, "a wrong password").into()
    }

    #[test]
    fn all_wait_for_one_connection_and_no_failure_outlives_its_pause() {
        let (mut making, now) = (making(), Instant::now());
        let (first, _) = making.connection(now).unwrap();
        assert_eq!(making.connection(now).unwrap().0, first);
        making.has_failed(first, &refused(), now);
        // The others who waited for it hear the same, and change nothing.
        making.has_failed(first, &io::Error::from(io::ErrorKind::TimedOut).into(), now);
        let after = now + LONGEST_PAUSE;
        let (second, _) = making.connection(after).unwrap();
        assert_ne!(second, first);
        for _ in 0..10 {
            let (number, _) = making.connection(after).unwrap();
            making.has_failed(number, &refused(), after);
            let error = making.connection(after - LONGEST_PAUSE).unwrap_err();
            assert_eq!(error.kind(), redis::ErrorKind::AuthenticationFailed);
            // However often it failed, the next try is never far.
            assert!(making.connection(after + LONGEST_PAUSE).is_ok());
        }
    }

    #[test]
    fn what_is_heard_of_an_old_connection_does_not_count_for_the_new_one() {
        let (mut making, now) = (making(), Instant::now());
        let (old, _) = making.connection(now).unwrap();
        making.give_up(old);
        let (new, _) = making.connection(now).unwrap();
        assert_ne!(old, new);
        making.give_up(old);
        making.has_failed(old, &refused(), now);
        assert_eq!(making.connection(now).unwrap().0, new);
    }

    #[test]
    fn a_connection_that_stays_silent_is_replaced_and_one_that_answers_is_not() {
        let (mut making, now) = (making(), Instant::now());
        let longest = Duration::from_secs(2);
        let (number, _) = making.connection(now).unwrap();
        making.is_silent(number, longest, now);
        making.answers(number);
        making.is_silent(number, longest, now + longest);
        assert_eq!(making.connection(now).unwrap().0, number);
        making.is_silent(number, longest, now + longest * 2);
        assert_ne!(making.connection(now).unwrap().0, number);
    }

    #[test]
    fn sentinels_are_asked_again_about_a_doubtful_master_and_not_all_the_time() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let mut alone = making();
        let (number, _) = alone.connection(now).unwrap();
        alone.doubt(number, second, now);
        assert_eq!(alone.connection(now).unwrap().0, number, "there is nobody to ask");

        let watched = CurrentAddress::of("redis-sentinel://127.0.0.1:1/0?master=m".into()).unwrap();
        let mut making = Making::new(watched, second, second);
        let (first, _) = making.connection(now).unwrap();
        making.doubt(first, second, now);
        let (again, _) = making.connection(now).unwrap();
        assert_ne!(again, first);
        making.doubt(again, second, now + second / 2);
        assert_eq!(making.connection(now).unwrap().0, again);
        making.doubt(again, second, now + second);
        assert_ne!(making.connection(now).unwrap().0, again);
    }
}
