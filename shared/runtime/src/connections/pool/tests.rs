use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{join_all, pending};
use futures_util::{FutureExt as _, poll};

use super::*;

/// A server that counts its sessions.
#[derive(Debug, Clone, Default)]
struct Server {
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    ever: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Session {
    number: usize,
    server: Server,
}

#[derive(Debug, PartialEq, Eq)]
enum Error {
    Busy,
    Refused,
}

impl From<Busy> for Error {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl Server {
    fn connect(&self) -> Session {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        Session { number: self.ever.fetch_add(1, Ordering::SeqCst), server: self.clone() }
    }

    async fn lease(&self, pool: &Pool<Session>) -> Result<Lease<Session>, Error> {
        pool.get(|_| true, async || Ok(self.connect())).await
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.server.open.fetch_sub(1, Ordering::SeqCst);
    }
}

const WAIT: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(60);

fn pool(connections: usize, cores: usize) -> Pool<Session> {
    Pool::new("test", Limits { connections, wait: WAIT, idle: IDLE }, cores)
}

/// As a process of so many cores works: one thread each, with a runtime of its own, all at once.
fn work(cores: usize, connections: usize) -> (usize, usize) {
    let (server, pool) = (Server::default(), pool(connections, cores));
    std::thread::scope(|scope| {
        for index in 0..cores {
            let (server, pool) = (server.clone(), pool.of_core(index));
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let call = async || {
                    for turn in 0..50 {
                        let session = server.lease(&pool).await.unwrap();
                        tokio::task::yield_now().await;
                        if turn % 10 == 9 {
                            session.close();
                        }
                    }
                };
                runtime.block_on(join_all((0..4).map(|_| call())));
            });
        }
    });
    let (open, idle) = pool.count();
    assert_eq!((open, idle), (server.open(), open), "all are counted, and none is in use");
    (server.most.load(Ordering::SeqCst), open)
}

#[test]
fn however_many_cores_there_are_the_process_keeps_its_limit_and_every_call_gets_a_connection() {
    for (cores, connections) in [(2, 16), (48, 16), (48, 1)] {
        let (most, open) = work(cores, connections);
        assert!(most <= connections && open <= connections, "{cores} cores: {most}, then {open}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_core_uses_its_own_connection_although_another_core_has_an_idle_one() {
    let (server, first) = (Server::default(), pool(4, 2));
    let second = first.of_core(1);
    drop(server.lease(&first).await.unwrap());
    let own = server.lease(&second).await.unwrap();
    assert_eq!(own.number, 1);
    drop(own);
    for _ in 0..3 {
        assert_eq!(server.lease(&first).await.unwrap().number, 0);
        assert_eq!(server.lease(&second).await.unwrap().number, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_core_waits_while_another_has_an_idle_connection_or_one_could_be_opened() {
    let (server, first) = (Server::default(), pool(4, 2));
    let second = first.of_core(1);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(server.lease(&second).await.unwrap());
        held.push(server.lease(&first).await.unwrap());
    }
    // The first core's.
    held.pop();
    let taken = server.lease(&second).now_or_never().expect("it does not wait").unwrap();
    assert_eq!((taken.number, server.open()), (3, 4), "all have their share");
    drop(taken);
    // It is where it came from.
    assert_eq!(server.lease(&first).await.unwrap().number, 3);
}

#[tokio::test(start_paused = true)]
async fn a_core_may_open_what_nobody_else_wants_and_gives_back_what_is_above_its_share() {
    let (server, first) = (Server::default(), pool(4, 2));
    let second = first.of_core(1);
    let all = join_all((0..4).map(|_| server.lease(&first))).await;
    assert_eq!(server.open(), 4);
    drop(all);
    let own = join_all((0..3).map(|_| server.lease(&second))).await;
    let numbers: Vec<usize> = own.iter().map(|lease| lease.as_ref().unwrap().number).collect();
    // Two for two that were closed, and one of the two that the first core may keep.
    assert!(matches!(numbers[..], [4, 5, 2 | 3]), "{numbers:?}");
    assert_eq!((server.open(), server.most.load(Ordering::SeqCst)), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn with_more_cores_than_connections_an_idle_one_is_used_before_another_is_opened() {
    let (server, first) = (Server::default(), pool(16, 48));
    for core in 0..48 {
        assert_eq!(server.lease(&first.of_core(core)).await.unwrap().number, 0);
    }
    assert_eq!(server.open(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_in_turn_on_whatever_core_and_not_for_ever() {
    let (server, first) = (Server::default(), pool(1, 2));
    let second = first.of_core(1);
    let held = server.lease(&first).await.unwrap();
    let (mut one, mut two) = (Box::pin(server.lease(&second)), Box::pin(server.lease(&first)));
    assert!(poll!(&mut one).is_pending() && poll!(&mut two).is_pending());
    drop(held);
    // Somebody who comes now does not overtake them.
    let late = server.lease(&first).now_or_never();
    assert!(late.is_none());
    let one = one.now_or_never().expect("it was first").unwrap();
    assert!(poll!(&mut two).is_pending());
    assert_eq!(two.await.unwrap_err(), Error::Busy);
    drop(one);
    assert_eq!(server.lease(&second).await.unwrap().number, 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_given_up_takes_nobodys_turn_and_a_closed_connection_leaves_its_place() {
    let (server, pool) = (Server::default(), pool(1, 1));
    let held = server.lease(&pool).await.unwrap();
    let (mut one, mut two) = (Box::pin(server.lease(&pool)), Box::pin(server.lease(&pool)));
    let mut last = Box::pin(server.lease(&pool));
    assert!(poll!(&mut one).is_pending() && poll!(&mut two).is_pending() && poll!(&mut last).is_pending());
    // One is given up while it waits, the other when its turn has come and it has not heard of it.
    drop(one);
    held.close();
    drop(two);
    let last = last.await.expect("it is the last one's turn");
    assert_eq!((last.number, server.open(), pool.count()), (1, 1, (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_used_is_given_back_in_the_stated_time_and_what_is_used_stays() {
    let (server, pool) = (Server::default(), pool(8, 2));
    let stop = CancellationToken::new();
    let mut closing = Box::pin(pool.clone().close_idle(stop.clone()));
    let used = async {
        let burst = join_all((0..8).map(|_| server.lease(&pool))).await;
        drop(burst);
        for _ in 0..75 {
            drop(server.lease(&pool).await.unwrap());
            sleep(Duration::from_secs(1)).await;
        }
    };
    assert_eq!(pool.count(), (0, 0));
    tokio::select! {
        () = &mut closing => unreachable!("it was not told to stop"),
        () = used => {}
    }
    assert_eq!((server.open(), pool.count()), (1, (1, 1)));
    stop.cancel();
    closing.await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_opened_after_all_leaves_room_for_another() {
    let (server, pool) = (Server::default(), pool(1, 1));
    for _ in 0..3 {
        let given_up = pool.get(|_| true, async || pending::<Result<Session, Error>>().await);
        assert!(given_up.now_or_never().is_none());
        let refused = pool.get(|_| true, async || Err(Error::Refused)).await;
        assert_eq!(refused.unwrap_err(), Error::Refused);
        assert_eq!(pool.count(), (0, 0));
    }
    server.lease(&pool).await.unwrap();
    assert_eq!(pool.count(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_is_no_longer_good_is_replaced() {
    let (server, pool) = (Server::default(), pool(2, 1));
    let both = join_all([server.lease(&pool), server.lease(&pool)]).await;
    drop(both);
    let good = pool.get(|session| session.number > 1, async || Ok::<_, Error>(server.connect())).await;
    assert_eq!((good.unwrap().number, pool.count()), (2, (1, 0)));
    let lease = server.lease(&pool).await.unwrap();
    let other = server.lease(&pool).await.unwrap();
    drop(other);
    lease.clear_pool();
    lease.close();
    assert_eq!((server.open(), pool.count()), (0, (0, 0)));
}
