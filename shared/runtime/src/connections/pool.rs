//! A pool for all cores of a process.
//!
//! - At most as many connections are open as the limit says, on however many cores. While one is being closed, another
//!   may be opening: for that moment the server sees one more.
//! - A core takes a connection of its own first, since another's answers through another thread. With few cores each
//!   opens one while there is room, and only then takes another's. One that has less than its share of the limit gets
//!   one for one that is idle on a core with more. With more cores than connections there are no shares, and an idle one is
//!   taken wherever it is.
//! - Nobody waits while a connection is idle or could be opened, and those who wait are served in their order.
//! - A connection that nobody has used for a while is closed by [`Pool::close_idle`].

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use metrics::database::{Connections, Waits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// What a pool is limited by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most connections at a time.
    pub connections: usize,
    /// The longest wait for one.
    pub wait: Duration,
    /// A connection that was not used for so long is closed.
    pub idle: Duration,
}

/// No connection became free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no connection became free within {0:?}")]
pub struct Busy(Duration);

/// Connections of a process, seen from one of its cores. Cheap to clone.
pub struct Pool<T> {
    shared: Arc<Shared<T>>,
    core: usize,
}

struct Shared<T> {
    limits: Limits,
    /// What a core may have for certain; none when there are more cores than connections.
    share: usize,
    /// One for each connection in use. Whoever has one finds a connection, idle or not open yet.
    permits: Arc<Semaphore>,
    shelves: Mutex<Shelves<T>>,
    waits: Waits,
}

struct Shelves<T> {
    /// Of all cores: idle, in use, being opened.
    open: usize,
    of: Box<[Shelf<T>]>,
}

/// The connections that one core made.
struct Shelf<T> {
    open: usize,
    /// The last used one is at the back, and taken first.
    idle: VecDeque<Idle<T>>,
}

struct Idle<T> {
    connection: T,
    since: Instant,
}

impl<T: Send + 'static> Pool<T> {
    /// An empty pool for a process of `cores` cores, seen from the first. `name` is for metrics.
    #[must_use]
    pub fn new(name: &str, limits: Limits, cores: usize) -> Self {
        let cores = cores.max(1);
        let limits = Limits { connections: limits.connections.max(1), ..limits };
        let shelf = |_| Shelf { open: 0, idle: VecDeque::new() };
        let shared = Arc::new_cyclic(|shared: &Weak<Shared<T>>| {
            let shared = shared.clone();
            let count = move || {
                let (shared, most) = (shared.upgrade()?, limits.connections);
                let (open, idle) = shared.count();
                Some(Connections { open, idle, most })
            };
            Shared {
                limits,
                share: limits.connections / cores,
                permits: Arc::new(Semaphore::new(limits.connections)),
                shelves: Mutex::new(Shelves { open: 0, of: (0..cores).map(shelf).collect() }),
                waits: Waits::of(name, count),
            }
        });
        Self { shared, core: 0 }
    }
}

impl<T> Pool<T> {
    /// The same pool, seen from another core.
    #[must_use]
    pub fn of_core(&self, index: usize) -> Self {
        Self { shared: Arc::clone(&self.shared), core: index % self.shared.lock().of.len() }
    }

    /// A connection: an idle one that `is_good`, or a new one that `open` opens. Idle ones that are not good are
    /// closed.
    ///
    /// # Errors
    /// [`Busy`] when all connections stay in use, and the error of `open`.
    pub async fn get<E: From<Busy>>(
        &self,
        is_good: impl Fn(&T) -> bool,
        open: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<Lease<T>, E> {
        let permit = self.permit().await?;
        let mut lease = loop {
            let (core, connection) = match self.shared.next(self.core) {
                Next::Use(core, connection) if is_good(&connection) => (core, Some(connection)),
                Next::Use(core, connection) => {
                    drop(connection);
                    self.shared.closed(core);
                    continue;
                }
                Next::Open => (self.core, None),
                Next::OpenFor(connection) => {
                    drop(connection);
                    (self.core, None)
                }
            };
            break Lease { connection, core, shared: Arc::clone(&self.shared), _permit: permit };
        };
        if lease.connection.is_none() {
            // Given up in between, the lease is dropped without a connection, and counts no longer.
            lease.connection = Some(open().await?);
        }
        Ok(lease)
    }

    /// Closes connections that stay idle, until `stop`: at the latest when a quarter more than the time for that is
    /// over.
    pub async fn close_idle(self, stop: CancellationToken) {
        let idle = self.shared.limits.idle;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(idle / 4) => self.shared.close_those(|one| one.since.elapsed() >= idle),
            }
        }
    }

    /// How many connections are open, and how many of them are idle; for tests and metrics.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        self.shared.count()
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Busy> {
        const OPEN: &str = "nobody closes the semaphore";
        let permits = &self.shared.permits;
        match Arc::clone(permits).try_acquire_owned() {
            Ok(permit) => {
                self.shared.waits.got(Duration::ZERO);
                Ok(permit)
            }
            Err(TryAcquireError::Closed) => unreachable!("{OPEN}"),
            Err(TryAcquireError::NoPermits) => {
                let (wait, began) = (self.shared.limits.wait, Instant::now());
                let permit = timeout(wait, Arc::clone(permits).acquire_owned()).await;
                match permit {
                    Ok(permit) => {
                        self.shared.waits.got(began.elapsed());
                        Ok(permit.expect(OPEN))
                    }
                    Err(_) => {
                        self.shared.waits.gave_up();
                        Err(Busy(wait))
                    }
                }
            }
        }
    }
}

/// What the owner of a permit does.
enum Next<T> {
    /// It uses a connection that is idle, and that this core made.
    Use(usize, T),
    /// It opens one, which is counted already.
    Open,
    /// It opens one, which is counted already, and closes this one, which no longer is.
    OpenFor(T),
}

impl<T> Shared<T> {
    /// A panic of another thread leaves the counts as they should be: nothing in between can panic.
    fn lock(&self) -> MutexGuard<'_, Shelves<T>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> (usize, usize) {
        let shelves = self.lock();
        (shelves.open, shelves.of.iter().map(|shelf| shelf.idle.len()).sum())
    }

    /// What the owner of a permit does on this core.
    fn next(&self, core: usize) -> Next<T> {
        let mut shelves = self.lock();
        if let Some(idle) = shelves.of[core].idle.pop_back() {
            return Next::Use(core, idle.connection);
        }
        let is_room = shelves.open < self.limits.connections;
        if !is_room || self.share == 0 {
            let is_short = shelves.of[core].open < self.share;
            let cores = shelves.of.len();
            let others = (core + 1..core + cores).map(|other| other % cores);
            // First the other cores that have more than their share, if this one has less.
            for other in others.clone().filter(|_| is_short) {
                let shelf = &mut shelves.of[other];
                if shelf.open > self.share
                    && let Some(idle) = shelf.idle.pop_front()
                {
                    shelf.open -= 1;
                    shelves.of[core].open += 1;
                    return Next::OpenFor(idle.connection);
                }
            }
            for other in others {
                if let Some(idle) = shelves.of[other].idle.pop_back() {
                    return Next::Use(other, idle.connection);
                }
            }
        }
        // None is idle, so each open one has an owner with a permit, and there is a permit more than those.
        debug_assert!(is_room, "{} connections are open", shelves.open);
        shelves.open += 1;
        shelves.of[core].open += 1;
        Next::Open
    }

    fn put_back(&self, core: usize, connection: T) {
        let since = Instant::now();
        self.lock().of[core].idle.push_back(Idle { connection, since });
    }

    /// A connection of this core is no longer open.
    fn closed(&self, core: usize) {
        let mut shelves = self.lock();
        shelves.open -= 1;
        shelves.of[core].open -= 1;
    }

    /// Those that were idle for longest are at the front.
    fn close_those(&self, are: impl Fn(&Idle<T>) -> bool) {
        let mut closing = Vec::new();
        let mut shelves = self.lock();
        let mut count = 0;
        for shelf in &mut shelves.of {
            while let Some(idle) = shelf.idle.pop_front_if(|idle| are(idle)) {
                shelf.open -= 1;
                count += 1;
                closing.push(idle.connection);
            }
        }
        shelves.open -= count;
        // Closing a socket is no work to be done under the lock.
        drop(shelves);
        drop(closing);
    }
}

/// A connection for as long as it is needed. Dropped, it is idle again.
pub struct Lease<T> {
    /// `None` until it is open, and when it is to be closed.
    connection: Option<T>,
    /// Which core made it.
    core: usize,
    shared: Arc<Shared<T>>,
    /// The last field: others may go on when the connection is in its place.
    _permit: OwnedSemaphorePermit,
}

const OPEN: &str = "a lease that is given out has a connection";

impl<T> Lease<T> {
    /// Closes the connection.
    pub fn close(mut self) {
        self.connection = None;
    }

    /// Closes the idle connections of its pool.
    pub fn clear_pool(&self) {
        self.shared.close_those(|_| true);
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        match self.connection.take() {
            Some(connection) => self.shared.put_back(self.core, connection),
            None => self.shared.closed(self.core),
        }
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.connection.as_ref().expect(OPEN)
    }
}

impl<T> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.connection.as_mut().expect(OPEN)
    }
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), core: self.core }
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, idle) = self.count();
        let mut shown = f.debug_struct("Pool");
        shown.field("limits", &self.shared.limits).field("open", &open).field("idle", &idle).finish()
    }
}

impl<T> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("core", &self.core).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
