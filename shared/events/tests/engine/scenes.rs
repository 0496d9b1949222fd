//! Single disorders, one by one, in virtual time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use events::bus::{Channel as _, Signal, events_channel};
use events::cloud_event::{Heard, from_channel};
use events::{Mark, OutboxStore as _, Position};
use tokio::time::{Instant, sleep};

use crate::admin::Lines;
use crate::lossy::Faults;
use crate::world::{READER, World, check};

const SOON: Duration = Duration::from_secs(20);

async fn started() -> World {
    fastrand::seed(7);
    let mut world = World::new();
    world.long_payloads = false;
    world.start_sequencer();
    world.start_consumer();
    world
}

/// Writes events one by one, and gives the times until each was applied, sorted.
async fn latencies(world: &mut World, count: usize) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for _ in 0..count {
        let written = Instant::now();
        world.write_one();
        let position = world.committed.len() as Position;
        while world.store.stands(READER).await.0.position < position {
            assert!(written.elapsed() < SOON, "{:?}", world.store.stands(READER).await);
            sleep(Duration::from_millis(1)).await;
        }
        latencies.push(written.elapsed());
        sleep(Duration::from_millis(3)).await;
    }
    latencies.sort_unstable();
    latencies
}

async fn applied_as_committed(world: &World) {
    world.until_applied(SOON).await.unwrap();
    let applied = world.store.applied().await;
    check(&world.committed, &world.outbox.ids(), &applied).unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_on_the_way_over_the_channel() {
    let mut world = started().await;
    latencies(&mut world, 1).await;
    let latencies = latencies(&mut world, 200).await;
    // Virtual time stands still while there is work, so a longer latency means that something paused.
    assert!(latencies[199] <= Duration::from_millis(2), "{:?}", latencies[199]);
    applied_as_committed(&world).await;
}

#[tokio::test(start_paused = true)]
async fn with_redis_dead_for_the_whole_run_everything_arrives() {
    fastrand::seed(7);
    let mut world = World::new();
    world.channel.set_down(true);
    world.start_sequencer();
    world.start_consumer();
    let first = latencies(&mut world, 1).await[0];
    assert!(first <= Duration::from_millis(1500), "{first:?}");
    let latencies = latencies(&mut world, 200).await;
    assert!(latencies[100] <= Duration::from_millis(10), "{:?}", latencies[100]);
    applied_as_committed(&world).await;
}

#[tokio::test(start_paused = true)]
async fn redis_goes_away_and_comes_back_without_a_delay_that_anybody_notices() {
    let mut world = started().await;
    latencies(&mut world, 5).await;
    for _ in 0..3 {
        world.channel.set_down(true);
        let away = latencies(&mut world, 50).await;
        assert!(away[49] <= Duration::from_millis(500) && away[25] <= Duration::from_millis(25), "{away:?}");
        world.channel.set_down(false);
        let back = latencies(&mut world, 50).await;
        assert!(back[49] <= Duration::from_millis(500) && back[25] <= Duration::from_millis(25), "{back:?}");
        sleep(Duration::from_secs(2)).await;
        let live = latencies(&mut world, 20).await;
        assert!(live[19] <= Duration::from_millis(2), "it is heard by the channel again: {live:?}");
    }
    applied_as_committed(&world).await;
}

/// A step writes. A poll that finds nothing only reads, until a third of the lease is gone.
#[tokio::test(start_paused = true)]
async fn an_idle_sequencer_writes_only_to_keep_its_lease() {
    let mut world = started().await;
    latencies(&mut world, 3).await;
    world.outbox.take_stamps();
    sleep(Duration::from_secs(10)).await;
    let steps = world.outbox.take_stamps();
    assert!((5..=12).contains(&steps), "{steps} steps in ten seconds");
    latencies(&mut world, 3).await;
}

/// A heartbeat tells whether Redis is back. The events to be published are read only after it was taken.
#[tokio::test(start_paused = true)]
async fn while_redis_is_away_nothing_is_read_for_it() {
    let mut world = World::new();
    world.channel.set_down(true);
    world.start_sequencer();
    sleep(Duration::from_secs(1)).await;
    for _ in 0..600 {
        world.write_one();
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!((world.outbox.pending(), world.outbox.take_reads()), (0, 0));
    world.channel.set_down(false);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.outbox.published_through(), 600);
}

/// A consumer takes a channel without heartbeats for dead, and replays when a heartbeat is ahead of what was published.
#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_while_a_backlog_is_published() {
    let mut world = World::new();
    world.long_payloads = false;
    for _ in 0..4000 {
        world.write_one();
    }
    world.channel.set_slow(Duration::from_millis(200));
    let mut heard = world.channel.subscribe(vec![events_channel(READER.stream)], None);
    world.start_sequencer();
    let (mut heads, mut published) = (Vec::new(), 0);
    while heads.last().is_none_or(|(_, position)| *position < 4000) {
        let Signal::Message { payload, .. } = heard.next().await else { continue };
        match from_channel(payload).unwrap() {
            Heard::Event(event) => published = event.position,
            Heard::Head(head) => {
                assert!(head.position <= published, "{} of {published}", head.position);
                heads.push((Instant::now(), head.position));
            }
            Heard::Reference { .. } => {}
        }
    }
    let longest = heads.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
    assert!(longest <= Duration::from_secs(1), "{longest:?} without a heartbeat: {heads:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_event_is_not_lost_when_nothing_comes_after_it() {
    let mut world = started().await;
    latencies(&mut world, 3).await;
    world.channel.set(Faults { drop: 1.0, ..Faults::default() });
    world.write_one();
    sleep(Duration::from_millis(20)).await;
    world.channel.set(Faults::default());
    world.until_applied(Duration::from_millis(800)).await.unwrap();
    applied_as_committed(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_applied_in_batches_after_the_consumer_was_away() {
    let mut world = started().await;
    world.until_applied(SOON).await.unwrap();
    world.stop_consumers();
    for _ in 0..5000 {
        world.write_one();
    }
    sleep(Duration::from_secs(5)).await;
    world.start_consumer();
    applied_as_committed(&world).await;
}

/// Claim: events that do not concern the consumer share a transaction, and an event that does concern it is not
/// delayed.
#[tokio::test(start_paused = true)]
async fn events_that_say_nothing_to_a_consumer_move_its_mark_together() {
    let mut world = started().await;
    latencies(&mut world, 1).await;
    let runs = world.effects.runs.swap(0, Ordering::Relaxed);
    assert_eq!(runs, 1);
    world.effects.unconcerned.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        world.write_one();
        sleep(Duration::from_millis(2)).await;
    }
    world.until_applied(SOON).await.unwrap();
    let runs = world.effects.runs.swap(0, Ordering::Relaxed);
    assert!((1..=2).contains(&runs), "{runs} runs of ten events");
    world.write_one();
    sleep(Duration::from_millis(2)).await;
    world.effects.unconcerned.store(false, Ordering::Relaxed);
    let latency = latencies(&mut world, 1).await[0];
    assert!(latency <= Duration::from_millis(2), "{latency:?}");
    assert_eq!(world.effects.runs.load(Ordering::Relaxed), 1, "both at once");
    applied_as_committed(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_promotion_without_loss_goes_on_with_the_new_epoch() {
    let mut world = started().await;
    latencies(&mut world, 3).await;
    let before = world.store.stands(READER).await.0;
    world.outbox.move_to_another_server();
    world.kill_sequencer();
    sleep(Duration::from_secs(4)).await;
    latencies(&mut world, 3).await;
    applied_as_committed(&world).await;
    let (mark, halted) = world.store.stands(READER).await;
    assert_ne!(mark.epoch, before.epoch);
    assert_eq!((mark.position, halted), (6, None));
}

#[tokio::test(start_paused = true)]
async fn a_rewound_stream_stops_the_consumer_and_applies_nothing() {
    for consumer_runs in [true, false] {
        let mut world = started().await;
        latencies(&mut world, 3).await;
        let backup = world.outbox.backup();
        latencies(&mut world, 3).await;
        let before = world.store.stands(READER).await.0;
        if !consumer_runs {
            world.stop_consumers();
            sleep(Duration::from_secs(4)).await;
        }
        world.outbox.restore(backup);
        world.outbox.expire_lease();
        // The other history reaches beyond the mark before the consumer notices it.
        for _ in 0..10 {
            world.write_one();
        }
        world.channel.say_again(1000);
        if !consumer_runs {
            world.start_consumer();
        }
        let give_up = Instant::now() + SOON;
        while world.store.stands(READER).await.1.is_none() {
            assert!(Instant::now() < give_up, "it did not halt");
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_secs(10)).await;
        let (mark, halted) = world.store.stands(READER).await;
        assert_eq!((mark, halted.as_deref()), (before, Some("stream_rewound")));
        assert_eq!(world.store.applied().await.len(), 6, "nothing of the other history was applied");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_below_everything_that_is_left_halts_the_consumer() {
    let mut world = started().await;
    latencies(&mut world, 3).await;
    world.stop_consumers();
    sleep(Duration::from_secs(4)).await;
    latencies_unread(&mut world).await;
    world.start_consumer();
    let give_up = Instant::now() + SOON;
    while world.store.stands(READER).await.1.is_none() {
        assert!(Instant::now() < give_up, "it did not halt");
        sleep(Duration::from_millis(10)).await;
    }
    let (mark, halted) = world.store.stands(READER).await;
    assert_eq!((mark.position, halted.as_deref()), (3, Some("position_pruned")));
    assert_eq!(world.store.applied().await.len(), 3);
}

/// Stamps events that nobody consumes, acknowledges them in the consumer's name, and prunes them.
async fn latencies_unread(world: &mut World) {
    use events::EventLog as _;
    for _ in 0..5 {
        world.write_one();
    }
    while world.outbox.pending() > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    world.outbox.acknowledge(READER.stream, READER.name, uuid::Uuid::nil(), 8).await.unwrap();
    world.outbox.expire_lease();
    let thief = uuid::Uuid::new_v4();
    let lease = world.outbox.lease(READER.stream, thief, SOON).await.unwrap().unwrap();
    assert_eq!(world.outbox.prune(&lease, Duration::ZERO, 100).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_producer_hears_of_the_mark() {
    let mut world = started().await;
    latencies(&mut world, 10).await;
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(world.outbox.acknowledged(READER.name), Some(10));
    assert_eq!(world.outbox.published_through(), 10);
}

/// Claim: the log names a consumer that is gone, and not one that has nothing to do.
#[tokio::test(start_paused = true)]
async fn the_log_names_a_consumer_that_is_gone_and_not_an_idle_one() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let warnings =
        || lines.text().lines().filter(|line| line.contains("has not acknowledged for long")).count();
    let mut world = started().await;
    latencies(&mut world, 3).await;
    sleep(Duration::from_secs(30 * 60)).await;
    assert_eq!(warnings(), 0, "{}", lines.text());
    assert_eq!(world.outbox.silent_consumers(READER.stream, Duration::from_secs(70)).await.unwrap(), []);
    world.stop_consumers();
    sleep(Duration::from_secs(12 * 60)).await;
    assert!(warnings() > 0, "{}", lines.text());
    assert!(lines.text().contains("\"consumer\":\"model.reader\""), "{}", lines.text());
}

#[tokio::test(start_paused = true)]
async fn an_absent_producer_and_a_failing_database_only_delay() {
    let mut world = started().await;
    latencies(&mut world, 3).await;
    world.source_failing.store(100, Ordering::Relaxed);
    world.effects.failing.store(100, Ordering::Relaxed);
    world.channel.cut();
    for _ in 0..20 {
        world.write_one();
    }
    sleep(Duration::from_secs(60)).await;
    let (mark, halted) = world.store.stands(READER).await;
    assert_eq!((mark.position, halted), (3, None), "transient failures neither park nor halt");
    world.source_failing.store(0, Ordering::Relaxed);
    world.effects.failing.store(0, Ordering::Relaxed);
    applied_as_committed(&world).await;
    assert_ne!(world.store.stands(READER).await.0, Mark::START);
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_the_other_takes_over_within_five_seconds() {
    let mut world = started().await;
    latencies(&mut world, 3).await;
    world.start_consumer();
    world.start_sequencer();
    sleep(Duration::from_secs(1)).await;
    // Those with the leases die without giving them back; the others were waiting.
    world.kill_first();
    let written = Instant::now();
    world.write_one();
    world.until_applied(Duration::from_secs(5)).await.unwrap();
    assert!(written.elapsed() <= Duration::from_secs(5));
    applied_as_committed(&world).await;
}
