//! What the whole process bears, counted over all cores, and what it bears from one source of calls.
//!
//! A share for each source keeps one client from having all places. Calls that show the token of a service have
//! places of their own: one source speaks for everybody there, and what they ask for, such as whose a session is,
//! must be answered when clients fill the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use metrics::Counter;
use types::Source;

use super::metrics::{CONNECTIONS, IN_PROGRESS, OfLimit, Refused};
use crate::config::ServerConfig;

#[derive(Debug)]
pub(super) struct Limits {
    all: Pool,
    services: Pool,
    of_source: Sizes,
    connections: Mutex<Connections>,
    connections_max: usize,
    connections_per_peer_max: usize,
    refused: Refused,
}

#[derive(Debug, Default)]
struct Connections {
    count: usize,
    by_source: HashMap<Source, (usize, Arc<Pool>)>,
}

/// Places for calls, and for streams.
#[derive(Debug)]
pub(super) struct Pool {
    calls: Places,
    streams: Arc<Places>,
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    calls: usize,
    streams: usize,
}

impl Pool {
    fn new(sizes: Sizes) -> Self {
        Self { calls: Places::new(sizes.calls), streams: Arc::new(Places::new(sizes.streams)) }
    }
}

/// So many, and no more.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicUsize,
    max: usize,
}

impl Places {
    fn new(max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), max }
    }
}

/// Counts until it is dropped.
#[derive(Debug)]
struct Place<P: Deref<Target = Places>>(P);

impl<P: Deref<Target = Places>> Place<P> {
    /// One of the places; `None`, which counts as refused, when all are taken.
    fn take(places: P, refused: &Counter) -> Option<Self> {
        let before = places.taken.fetch_add(1, Ordering::Relaxed);
        let place = Self(places);
        if before < place.0.max {
            return Some(place);
        }
        refused.increment();
        None
    }
}

impl<P: Deref<Target = Places>> Drop for Place<P> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a call until it is dropped.
#[derive(Debug)]
pub(super) struct CallSlot<'a> {
    _of_all: Place<&'a Places>,
    _of_source: Option<Place<&'a Places>>,
}

/// Counts a stream until it is dropped.
#[derive(Debug)]
pub(super) struct StreamSlot {
    _of_all: Place<Arc<Places>>,
    _of_source: Option<Place<Arc<Places>>>,
}

impl Limits {
    pub(super) fn new(config: &ServerConfig) -> Arc<Self> {
        let sizes = Sizes { calls: config.calls_max, streams: config.streams_max };
        let limits = Arc::new(Self {
            all: Pool::new(sizes),
            services: Pool::new(sizes),
            of_source: Sizes { calls: config.calls_per_peer_max, streams: config.streams_per_peer_max },
            connections: Mutex::default(),
            connections_max: config.connections_max,
            connections_per_peer_max: config.connections_per_peer_max,
            refused: Refused::new(),
        });
        measure(&limits);
        limits
    }

    /// A slot for a call; `None` when there are too many, or too many of this source.
    pub(super) fn call<'a>(&'a self, source: &'a Pool, is_service: bool) -> Option<CallSlot<'a>> {
        let OfLimit { all: refused, of_peer } = &self.refused.calls;
        if is_service {
            let of_all = Place::take(&self.services.calls, refused)?;
            return Some(CallSlot { _of_all: of_all, _of_source: None });
        }
        let of_source = Place::take(&source.calls, of_peer)?;
        Some(CallSlot { _of_all: Place::take(&self.all.calls, refused)?, _of_source: Some(of_source) })
    }

    /// A slot for a stream; `None` when there are too many, or too many of this source.
    pub(super) fn stream(&self, source: &Pool, is_service: bool) -> Option<StreamSlot> {
        let OfLimit { all: refused, of_peer } = &self.refused.streams;
        if is_service {
            let of_all = Place::take(Arc::clone(&self.services.streams), refused)?;
            return Some(StreamSlot { _of_all: of_all, _of_source: None });
        }
        let of_source = Place::take(Arc::clone(&source.streams), of_peer)?;
        let of_all = Place::take(Arc::clone(&self.all.streams), refused)?;
        Some(StreamSlot { _of_all: of_all, _of_source: Some(of_source) })
    }

    /// A slot for a connection; `None` when there are too many, or too many of this source.
    pub(super) fn connection(self: &Arc<Self>, peer: IpAddr) -> Option<ConnectionSlot> {
        let source = Source::of(peer);
        let mut connections = self.connections.lock().expect("no holder of this lock panics");
        let OfLimit { all: refused, of_peer } = &self.refused.connections;
        if connections.count >= self.connections_max {
            refused.increment();
            return None;
        }
        let new = || (0, Arc::new(Pool::new(self.of_source)));
        let (count, pool) = connections.by_source.entry(source).or_insert_with(new);
        if *count >= self.connections_per_peer_max {
            of_peer.increment();
            return None;
        }
        *count += 1;
        let pool = Arc::clone(pool);
        connections.count += 1;
        Some(ConnectionSlot { limits: Arc::clone(self), source, pool })
    }

    /// Calls that are being answered, those of services included.
    pub(super) fn calls_in_progress(&self) -> usize {
        [&self.all, &self.services].map(|pool| pool.calls.taken.load(Ordering::Relaxed)).iter().sum()
    }

    /// Streams that are open, those of services included.
    pub(super) fn streams_in_progress(&self) -> usize {
        [&self.all, &self.services].map(|pool| pool.streams.taken.load(Ordering::Relaxed)).iter().sum()
    }

    /// Connections that are open.
    pub(super) fn connections_open(&self) -> usize {
        self.connections.lock().expect("no holder of this lock panics").count
    }
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    limits: Arc<Limits>,
    source: Source,
    /// What its source has open, on all its connections.
    pub(super) pool: Arc<Pool>,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut connections = self.limits.connections.lock().expect("no holder of this lock panics");
        connections.count -= 1;
        if let Some((count, _)) = connections.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                connections.by_source.remove(&self.source);
            }
        }
    }
}

/// Measures what is open, for as long as it is there.
fn measure(limits: &Arc<Limits>) {
    let of = |count: fn(&Limits) -> usize| {
        let limits: Weak<Limits> = Arc::downgrade(limits);
        move || Some(metrics::number(count(&*limits.upgrade()?)))
    };
    IN_PROGRESS.measure(["unary"], of(Limits::calls_in_progress));
    IN_PROGRESS.measure(["stream"], of(Limits::streams_in_progress));
    CONNECTIONS.measure([], of(Limits::connections_open));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> [IpAddr; 2] {
        ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap())
    }

    #[test]
    fn slots_come_back() {
        let config = ServerConfig {
            calls_max: 1,
            streams_max: 1,
            connections_max: 3,
            connections_per_peer_max: 2,
            ..ServerConfig::for_tests()
        };
        let limits = Limits::new(&config);
        let [one, two] = addresses();
        let first = limits.connection(one).unwrap();
        let source = Arc::clone(&first.pool);
        let call = limits.call(&source, false);
        assert!(call.is_some() && limits.call(&source, false).is_none());
        drop(call);
        assert!(limits.call(&source, false).is_some());
        let stream = limits.stream(&source, false);
        assert!(stream.is_some() && limits.stream(&source, false).is_none());
        drop(stream);
        assert!(limits.stream(&source, false).is_some());

        let _second = limits.connection(one).unwrap();
        assert!(limits.connection(one).is_none(), "too many of one source");
        let _other = limits.connection(two).unwrap();
        assert!(limits.connection(two).is_none(), "too many in all");
        drop(first);
        assert!(limits.connection(two).is_some());
    }

    #[test]
    fn a_source_has_its_share_and_leaves_the_rest_to_others() {
        let config = ServerConfig {
            calls_max: 3,
            calls_per_peer_max: 2,
            streams_max: 3,
            streams_per_peer_max: 2,
            ..ServerConfig::for_tests()
        };
        let limits = Limits::new(&config);
        let [one, two] = addresses();
        let connections = [one, one, two].map(|ip| limits.connection(ip).unwrap());
        let [here, there, other] = [0, 1, 2].map(|at| &connections[at].pool);
        let _calls = [limits.call(here, false).unwrap(), limits.call(there, false).unwrap()];
        assert!(limits.call(here, false).is_none(), "its connections share the share");
        let _streams = [limits.stream(here, false).unwrap(), limits.stream(there, false).unwrap()];
        assert!(limits.stream(there, false).is_none());
        let _theirs = (limits.call(other, false).unwrap(), limits.stream(other, false).unwrap());
        assert!(
            limits.call(other, false).is_none() && limits.stream(other, false).is_none(),
            "all are taken"
        );
    }

    #[test]
    fn services_have_places_of_their_own() {
        let config = ServerConfig { calls_max: 2, calls_per_peer_max: 1, ..ServerConfig::for_tests() };
        let limits = Limits::new(&config);
        let [one, two] = addresses();
        let connections = [one, two].map(|ip| limits.connection(ip).unwrap());
        let _all = [0, 1].map(|at| limits.call(&connections[at].pool, false).unwrap());
        assert!(limits.call(&connections[0].pool, false).is_none());
        let _services = [0, 1].map(|_| limits.call(&connections[0].pool, true).unwrap());
        assert!(limits.call(&connections[0].pool, true).is_none(), "and no more than these");
    }
}
