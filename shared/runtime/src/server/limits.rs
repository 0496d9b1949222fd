//! What the whole process bears, counted over all cores.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::config::ServerConfig;

#[derive(Debug)]
pub(super) struct Limits {
    calls: AtomicUsize,
    calls_max: usize,
    connections: Mutex<Connections>,
    connections_max: usize,
    connections_per_peer_max: usize,
}

#[derive(Debug, Default)]
struct Connections {
    count: usize,
    by_peer: HashMap<IpAddr, usize>,
}

impl Limits {
    pub(super) fn new(config: &ServerConfig) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            calls_max: config.calls_max,
            connections: Mutex::default(),
            connections_max: config.connections_max,
            connections_per_peer_max: config.connections_per_peer_max,
        })
    }

    /// A slot for a call; `None` when there are too many.
    pub(super) fn call(&self) -> Option<CallSlot<'_>> {
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        let slot = CallSlot(self);
        (before < self.calls_max).then_some(slot)
    }

    /// A slot for a connection; `None` when there are too many, or too many of this peer.
    pub(super) fn connection(self: &Arc<Self>, peer: IpAddr) -> Option<ConnectionSlot> {
        let mut connections = self.connections.lock().expect("no holder of this lock panics");
        if connections.count >= self.connections_max {
            return None;
        }
        let of_peer = connections.by_peer.entry(peer).or_default();
        if *of_peer >= self.connections_per_peer_max {
            return None;
        }
        *of_peer += 1;
        connections.count += 1;
        Some(ConnectionSlot { limits: Arc::clone(self), peer })
    }
}

/// Counts a call until it is dropped.
#[derive(Debug)]
pub(super) struct CallSlot<'a>(&'a Limits);

impl Drop for CallSlot<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    limits: Arc<Limits>,
    peer: IpAddr,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut connections = self.limits.connections.lock().expect("no holder of this lock panics");
        connections.count -= 1;
        if let Some(of_peer) = connections.by_peer.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                connections.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back() {
        let config = ServerConfig {
            calls_max: 1,
            connections_max: 3,
            connections_per_peer_max: 2,
            ..ServerConfig::for_tests()
        };
        let limits = Limits::new(&config);
        let call = limits.call();
        assert!(call.is_some() && limits.call().is_none());
        drop(call);
        assert!(limits.call().is_some());

        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let first = limits.connection(one);
        let _second = limits.connection(one).unwrap();
        assert!(limits.connection(one).is_none(), "too many of one peer");
        let _other = limits.connection(two).unwrap();
        assert!(limits.connection(two).is_none(), "too many in all");
        drop(first);
        assert!(limits.connection(two).is_some());
    }
}
