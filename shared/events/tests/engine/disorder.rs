//! The contract under random disorder, in virtual time: loss from none to all, repetition, reordering, cut
//! connections, an absent Redis, an old relay that speaks again, stolen leases, promotions, an unreliable
//! producer, effects that fail for a while, and every process killed at any instruction.
//!
//! Each seed is one history. `DISORDER_SEEDS` at compile time runs more of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;
use std::time::Duration;

use events::bus::{Channel as _, Signal, events_channel};
use events::cloud_event::{Heard, from_channel};
use events::source::Source;
use events::{Aggregate, ConsumerStore as _, ConsumerTx as _, Mark, NewEvent};
use futures_util::stream::StreamExt as _;
use tokio::time::{Instant, sleep};

use crate::lossy::{Faults, Lossy};
use crate::memory::MemoryStore;
use crate::world::{READER, World, check};

const CHAOS: Duration = Duration::from_secs(12);
const QUIET: Duration = Duration::from_secs(90);

fn seeds() -> u64 {
    option_env!("DISORDER_SEEDS").map_or(60, |seeds| seeds.parse().unwrap())
}

fn run(future: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

/// Open transactions by aggregate. A transaction holds its aggregate's lock, so there is at most one of each.
#[derive(Default)]
struct Writers(HashMap<Aggregate, (Instant, Vec<NewEvent>)>);

impl Writers {
    fn act(&mut self, world: &mut World) {
        let aggregate = Aggregate::new("thing", fastrand::u8(0..6));
        if let Entry::Vacant(free) = self.0.entry(aggregate.clone()) {
            let events = world.next_events(&aggregate, fastrand::usize(1..4));
            let slow = if fastrand::u8(0..4) == 0 { fastrand::u64(0..400) } else { 0 };
            free.insert((Instant::now() + Duration::from_millis(slow), events));
        }
        self.finish(world, Instant::now());
    }

    fn finish(&mut self, world: &mut World, due: Instant) {
        let done: Vec<Aggregate> = self
            .0
            .iter()
            .filter(|(_, (until, _))| *until <= due)
            .map(|(aggregate, _)| aggregate.clone())
            .collect();
        for aggregate in done {
            let Some((_, events)) = self.0.remove(&aggregate) else { continue };
            if fastrand::u8(0..5) == 0 { world.roll_back(&events) } else { world.commit(events) }
        }
    }
}

async fn disturb(world: &mut World) {
    let some = |values: &[f64]| values[fastrand::usize(..values.len())];
    match fastrand::u8(0..14) {
        0..4 => world.channel.set(Faults {
            drop: some(&[0.0, 0.0, 0.1, 0.5, 0.9, 1.0]),
            repeat: some(&[0.0, 0.0, 0.3, 1.0]),
            delay: some(&[0.0, 0.0, 0.2, 0.8]),
        }),
        4 => world.channel.cut(),
        5 => world.channel.set_down(true),
        6 | 7 => world.channel.set_down(false),
        8 => world.source_failing.store([0, 0, 20, 80][fastrand::usize(..4)], Ordering::Relaxed),
        9 => world.effects.failing.store([0, 0, 5, 30][fastrand::usize(..4)], Ordering::Relaxed),
        10 => world.kill_consumer(),
        11 => world.kill_sequencer(),
        12 => {
            world.outbox.expire_lease();
            world.store.expire_lease(READER).await;
        }
        _ => {
            world.outbox.move_to_another_server();
            world.outbox.expire_lease();
        }
    }
    world.channel.say_again(fastrand::usize(0..30));
}

async fn calm(world: &mut World, writers: &mut Writers) {
    writers.finish(world, Instant::now() + CHAOS);
    world.channel.set_down(false);
    world.channel.set(Faults::default());
    world.source_failing.store(0, Ordering::Relaxed);
    world.effects.failing.store(0, Ordering::Relaxed);
}

async fn history(seed: u64, prepare: impl FnOnce(&World)) -> Result<(), String> {
    fastrand::seed(seed);
    let mut world = World::new();
    prepare(&world);
    if seed.is_multiple_of(2) {
        world.options.retention = Duration::ZERO;
        world.options.prune_every = Duration::from_millis(700);
    }
    for _ in 0..2 {
        world.start_sequencer();
        world.start_consumer();
    }
    let mut writers = Writers::default();
    let end = Instant::now() + CHAOS;
    let mut next_fault = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        writers.act(&mut world);
        if Instant::now() >= next_fault {
            disturb(&mut world).await;
            next_fault = Instant::now() + Duration::from_millis(fastrand::u64(10..500));
        }
        sleep(Duration::from_millis(fastrand::u64(0..25))).await;
    }
    calm(&mut world, &mut writers).await;
    world.until_applied(QUIET).await?;
    // An old relay that speaks after everything is done changes nothing.
    for _ in 0..20 {
        world.channel.say_again(50);
        sleep(Duration::from_millis(100)).await;
    }
    world.until_applied(QUIET).await?;
    check(&world.committed, &world.outbox.ids(), &world.store.applied().await)
}

#[test]
fn every_event_is_applied_once_and_in_order_in_every_disorder() {
    let mut broken = Vec::new();
    for seed in 0..seeds() {
        if let Err(what) = run(history(seed, |_| {})) {
            broken.push(format!("seed {seed}: {what}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// `published_through` only saves work. If it counts events as published that never were, because the owner died
/// before, the consumers notice that they are missing and replay them.
#[test]
fn what_was_noted_as_published_and_never_was_arrives_all_the_same() {
    for seed in 0..seeds() / 4 {
        let outcome = run(history(seed, |world| world.outbox.be_hasty()));
        assert_eq!(outcome, Ok(()), "seed {seed}");
    }
}

/// A consumer that believes the channel: it replays when it starts and then applies every event above its mark. Many
/// consumers that are written by hand do this.
async fn believe_the_channel(channel: Lossy, store: MemoryStore, source: impl Source) {
    let mut subscription = channel.subscribe(vec![events_channel(READER.stream)], None);
    let mut mark = Mark::START;
    loop {
        let mut heard = Vec::new();
        match subscription.next().await {
            Signal::Subscribed => {
                let head = source.head(READER.stream).await.unwrap();
                let pages = source.replay(READER.stream, head.epoch, mark.position, false).await.unwrap();
                heard = pages.map(|page| page.unwrap().events).concat().await;
            }
            Signal::Message { payload, .. } => {
                if let Ok(Heard::Event(event)) = from_channel(payload) {
                    heard.push(*event);
                }
            }
            Signal::Lost => {}
        }
        for event in heard {
            if event.position > mark.position {
                let mut tx = store.begin().await.unwrap();
                tx.apply(&event);
                mark = Mark::after(&event);
                tx.set_mark(READER, mark);
                tx.commit().await.unwrap();
            }
        }
    }
}

/// What the checker says of such a consumer, with so much loss.
async fn believers_history(drop: f64) -> Result<(), String> {
    fastrand::seed(1);
    let mut world = World::new();
    world.long_payloads = false;
    world.start_sequencer();
    world.channel.set(Faults { drop, ..Faults::default() });
    let believer = believe_the_channel(world.channel.clone(), world.store.clone(), world.source());
    world.spawn(believer);
    for _ in 0..200 {
        world.write_one();
        sleep(Duration::from_millis(7)).await;
    }
    sleep(Duration::from_secs(2)).await;
    check(&world.committed, &world.outbox.ids(), &world.store.applied().await)
}

#[test]
fn the_checker_catches_a_consumer_that_believes_the_channel() {
    assert_eq!(run(believers_history(0.0)), Ok(()), "without loss even a believer is right");
    let caught = run(believers_history(0.1)).expect_err("a believer loses what the channel loses");
    assert!(caught.contains("the stream has"), "{caught}");
}
