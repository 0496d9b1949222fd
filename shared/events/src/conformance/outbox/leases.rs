//! The lease, its fence, and the history that it belongs to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, join3};
use types::{Clock as _, SystemClock};
use uuid::Uuid;

use super::super::{aggregate, new_event, until};
use super::{
    LONG, OutboxHarness, SHORT, append_many, append_one, assert_chain, head, lease, leased, read, stamp,
    stamp_all,
};
use crate::envelope::{Event, NewEvent};
use crate::store::{Lease, OutboxStore as _, Pending, Stamp, StoreError};

/// The lease belongs to one owner until it runs out; the owner can renew it, or give it back by a duration of zero. The
/// next owner has a higher fence.
pub async fn one_owner_at_a_time_has_the_lease<H: OutboxHarness>(harness: H) {
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let first = lease(&harness, ann, LONG).await.expect("free");
    assert_eq!((first.owner, first.head, first.published_through), (ann, 0, 0));
    assert_eq!(lease(&harness, bob, LONG).await, None, "it is taken");
    let renewed = lease(&harness, ann, SHORT).await.expect("it is her own");
    assert_eq!(renewed.fence, first.fence, "a renewal is no takeover");
    let taken = until("a lease that ran out is free", async || lease(&harness, bob, LONG).await).await;
    assert!(taken.fence > first.fence, "the fence rises at a takeover");
    assert_eq!(taken.epoch, first.epoch, "a takeover is no new history");
    assert_eq!(lease(&harness, ann, LONG).await, None);
    lease(&harness, bob, Duration::ZERO).await;
    let again = lease(&harness, ann, LONG).await.expect("it was given back");
    assert!(again.fence > taken.fence);
}

/// A step has something to do if an event is pending, or if the lease was lost or should be renewed.
pub async fn a_step_with_nothing_to_do_is_known_by_a_look<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    let idle =
        async |lease: &Lease, duration: Duration| store.is_idle(lease, duration).await.expect("answered");
    let ann = Uuid::new_v4();
    let mine = lease(&harness, ann, LONG).await.expect("free");
    assert!(idle(&mine, LONG).await);
    assert!(!idle(&mine, LONG * 2).await, "less than two thirds are left");
    let renewed = store.stamp(&mine, 10, LONG * 2).await.expect("answered");
    assert_eq!(renewed, Stamp::Stamped(Vec::new()));
    assert!(idle(&mine, LONG * 2).await, "the step has renewed it");
    append_one(&harness, new_event(&aggregate("a"), 1)).await;
    assert!(!idle(&mine, LONG).await, "an event waits");
    assert_eq!(stamp_all(&harness, &mine).await.len(), 1);
    assert!(idle(&mine, LONG).await);
    lease(&harness, ann, Duration::ZERO).await;
    leased(&harness).await;
    assert!(!idle(&mine, LONG).await, "another has the stream");
    assert_eq!(store.stamp(&mine, 10, LONG).await.expect("answered"), Stamp::LeaseLost);
}

/// What waits for a position is counted, with the age of its oldest, and what has one is not.
pub async fn what_waits_for_a_position_is_counted<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    let stream = harness.stream();
    let pending = async || store.pending(&stream).await.expect("answered");
    assert_eq!(pending().await, Pending::default());
    let now = SystemClock.now();
    let made = |id: &str, minutes: i64| {
        let event = new_event(&aggregate(id), 1);
        NewEvent { created_at: now - time::Duration::minutes(minutes), ..event }
    };
    let minutes = |count: u64| Duration::from_secs(60 * count);
    append_one(&harness, made("a", 3)).await;
    append_one(&harness, made("b", 7)).await;
    append_one(&harness, made("c", -60)).await;
    let Pending { events, oldest } = pending().await;
    assert!(events == 3 && (minutes(7)..minutes(12)).contains(&oldest), "{events} {oldest:?}");
    let mine = leased(&harness).await;
    assert_eq!(stamp_all(&harness, &mine).await.len(), 3);
    assert_eq!(pending().await, Pending::default());
    append_one(&harness, made("d", -60)).await;
    let ahead = Pending { events: 1, oldest: Duration::ZERO };
    assert_eq!(pending().await, ahead, "a clock that is ahead makes no event younger than new");
}

/// An owner that was paused while another took its lease writes nothing, however late it goes on.
pub async fn a_stale_owner_writes_nothing<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    append_many(&harness, 2).await;
    let stale = lease(&harness, Uuid::new_v4(), SHORT).await.expect("free");
    let Stamp::Stamped(stamped) = store.stamp(&stale, 1, SHORT).await.expect("answered") else {
        panic!("the owner has the lease");
    };
    assert_eq!(stamped.len(), 1);
    let bob = Uuid::new_v4();
    let taken = until("a lease that ran out is free", async || lease(&harness, bob, LONG).await).await;
    assert_eq!(taken.head, 1);

    let late = store.stamp(&stale, 10, LONG).await.expect("answered");
    assert_eq!(late, Stamp::LeaseLost);
    assert!(!store.published(&stale, 1).await.expect("answered"), "it notes nothing");
    assert_eq!(store.prune(&stale, Duration::ZERO, 10).await.expect("answered"), 0, "it prunes nothing");
    assert_eq!(head(&harness).await.position, 1);
    assert_eq!(lease(&harness, bob, LONG).await.expect("his own").published_through, 0);

    assert!(store.published(&taken, 1).await.expect("answered"));
    assert_eq!(lease(&harness, bob, LONG).await.expect("his own").published_through, 1);
    assert_eq!(stamp_all(&harness, &taken).await.len(), 1);
    // The old fence counts for nothing even when the other has given the lease back and nobody has it.
    lease(&harness, bob, Duration::ZERO).await;
    append_one(&harness, new_event(&aggregate("after"), 1)).await;
    assert_eq!(store.stamp(&stale, 10, LONG).await.expect("answered"), Stamp::LeaseLost);
}

/// Two sequencers take the lease from each other again and again, while events are appended.
pub async fn two_sequencers_never_stamp_an_event_twice<H: OutboxHarness>(harness: H) {
    let done = AtomicBool::new(false);
    let sequencer = |owner: Uuid| {
        let (harness, done) = (&harness, &done);
        async move {
            let store = harness.store();
            let mut stamped = Vec::new();
            loop {
                let finished = done.load(Ordering::Relaxed);
                let stream = harness.stream();
                let lease = match store.lease(&stream, owner, Duration::from_millis(5)).await {
                    Ok(Some(lease)) => lease,
                    Ok(None) | Err(StoreError::Transient(_)) => {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        continue;
                    }
                    Err(error) => panic!("{}", types::chain(&error)),
                };
                // The other may take the lease in between.
                tokio::task::yield_now().await;
                let events = match store.stamp(&lease, 3, Duration::from_millis(5)).await {
                    Ok(Stamp::Stamped(events)) => events,
                    Ok(Stamp::LeaseLost) | Err(StoreError::Transient(_)) => continue,
                    Err(error) => panic!("{}", types::chain(&error)),
                };
                if finished && events.is_empty() {
                    return stamped;
                }
                stamped.extend(events);
            }
        }
    };
    let writer = async {
        let events = append_many(&harness, 40).await;
        done.store(true, Ordering::Relaxed);
        events
    };
    let (ann, bob, written) = join3(sequencer(Uuid::new_v4()), sequencer(Uuid::new_v4()), writer).await;
    let mut stamped: Vec<Event> = ann.into_iter().chain(bob).collect();
    stamped.sort_by_key(|event| event.position);
    assert_chain(&stamped);
    assert_eq!(stamped.len(), written.len());
    assert_eq!(read(&harness, 0, 100).await, stamped);
}

/// A step whose answer was lost may still be running when its owner begins the next one. Both have the same fence.
pub async fn steps_of_one_lease_at_once_stamp_each_event_once<H: OutboxHarness>(harness: H) {
    let lease = leased(&harness).await;
    let steps = async || {
        let step = async |_| {
            let mut stamped = Vec::new();
            loop {
                let events = stamp(&harness, &lease, 3).await;
                if events.is_empty() {
                    return stamped;
                }
                stamped.extend(events);
            }
        };
        join_all((0..6).map(step)).await.concat()
    };
    // The first steps open the connections, which takes so long that the steps would not run at the same time.
    assert_eq!(steps().await, []);
    let written = append_many(&harness, 60).await;
    let mut stamped = steps().await;
    stamped.sort_by_key(|event| event.position);
    assert_chain(&stamped);
    assert_eq!(stamped.len(), written.len());
    assert_eq!(read(&harness, 0, 100).await, stamped);
}

/// A database that was restored or failed over begins a new history: its events have the new epoch.
pub async fn a_new_server_makes_a_new_epoch<H: OutboxHarness>(harness: H) {
    append_many(&harness, 2).await;
    let ann = Uuid::new_v4();
    let before = lease(&harness, ann, LONG).await.expect("free");
    stamp(&harness, &before, 1).await;
    harness.move_to_another_server().await;
    let after = lease(&harness, ann, LONG).await.expect("her own");
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.head, 1, "positions go on");
    assert_eq!(lease(&harness, ann, LONG).await.expect("her own").epoch, after.epoch, "once");
    let stamped = stamp(&harness, &after, 1).await;
    assert_eq!(stamped[0].epoch, after.epoch);
    assert_eq!(head(&harness).await.epoch, after.epoch);
    let all = read(&harness, 0, 10).await;
    assert!(all.iter().all(|event| event.epoch == after.epoch), "a replay is of one epoch");
    assert_chain(&all);
}
