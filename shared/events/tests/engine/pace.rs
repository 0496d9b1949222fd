//! How long events wait for each other, in virtual time: a stamp takes 1 ms here, and a transaction of the consumer 2 ms.

use std::sync::atomic::Ordering;
use std::time::Duration;

use events::bus::{Channel as _, wake_channel};
use events::{Aggregate, Sequencer};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use types::EventId;

use crate::memory::MemoryOutbox;
use crate::world::{READER, World, check};

const STAMP: Duration = Duration::from_millis(1);
const RUN: Duration = Duration::from_millis(2);
const SOON: Duration = Duration::from_secs(20);
/// A call of the model's, and the wheel of the timers.
const SLACK: Duration = Duration::from_millis(2);

/// The wait that the services have unless they are told otherwise.
const WAIT: Duration = Duration::from_millis(8);

async fn started(batch_wait_max: Duration) -> World {
    fastrand::seed(7);
    let mut world = World::new();
    world.long_payloads = false;
    world.options.batch_wait_max = batch_wait_max;
    world.start_sequencer();
    world.start_consumer();
    world.write_one();
    world.until_applied(SOON).await.unwrap();
    world.outbox.set_stamp_takes(STAMP);
    world.effects.takes_ms.store(RUN.as_millis() as u64, Ordering::Relaxed);
    world
}

/// What a load came to.
struct Seen {
    stamps: u32,
    runs: u32,
    /// From the commit until the event was applied, sorted.
    latencies: Vec<Duration>,
}

/// Commits events one by one at this distance.
async fn load(world: &mut World, count: u32, gap: Duration) -> Seen {
    world.outbox.take_stamps();
    world.effects.runs.store(0, Ordering::Relaxed);
    let began = Instant::now();
    let mut written: Vec<(EventId, Instant)> = Vec::new();
    for number in 0..count {
        sleep_until(began + gap * number).await;
        world.write_one();
        written.extend(world.committed.last().map(|id| (*id, Instant::now())));
    }
    let stamps = world.outbox.take_stamps();
    world.until_applied(SOON).await.unwrap();
    let applied_at = world.effects.applied_at.lock().unwrap();
    let mut latencies: Vec<_> = written.iter().map(|(id, at)| applied_at[id] - *at).collect();
    latencies.sort_unstable();
    Seen { stamps, runs: world.effects.runs.load(Ordering::Relaxed), latencies }
}

async fn applied_as_committed(world: &World) {
    check(&world.committed, &world.outbox.ids(), &world.store.applied().await).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_quiet_stream_waits_for_nothing_but_the_work() {
    let mut world = started(WAIT).await;
    for per_second in [10, 50, 100, 150] {
        let gap = Duration::from_secs(1) / per_second;
        let Seen { stamps, runs, latencies } = load(&mut world, per_second, gap).await;
        assert!(latencies.last().unwrap() <= &(STAMP + RUN + SLACK), "{per_second}/s: {latencies:?}");
        assert!(runs >= per_second && stamps + 1 >= per_second, "{per_second}/s: {stamps} {runs}");
    }
    applied_as_committed(&world).await;
}

#[tokio::test(start_paused = true)]
async fn events_of_a_busy_stream_share_stamps_and_transactions() {
    for (wait, per_second, stamps_of_them) in [
        // Pauses of 2 ms, each up to a millisecond longer.
        (WAIT, 1000, 330..=500),
        // Pauses of 8 ms, since four events come in each of 2 ms.
        (WAIT, 2000, 110..=130),
        // Pauses of 25 ms at first, and then of 100 ms.
        (Duration::from_millis(100), 500, 10..=15),
    ] {
        let mut world = started(wait).await;
        let gap = Duration::from_secs(1) / per_second;
        let Seen { stamps, runs, latencies } = load(&mut world, per_second, gap).await;
        assert!(stamps_of_them.contains(&stamps), "{wait:?}, {per_second}/s: {stamps} stamps");
        assert!(runs <= per_second / 2, "{wait:?}, {per_second}/s: {runs} transactions");
        let longest = latencies[latencies.len() - 1];
        // The consumer takes at most twenty events at once here.
        assert!(longest <= wait + STAMP + RUN * 4 + SLACK, "{wait:?}, {per_second}/s: {longest:?}");
        applied_as_committed(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_setting_of_zero_makes_no_event_wait() {
    let mut world = started(Duration::ZERO).await;
    let Seen { stamps, runs, latencies } = load(&mut world, 500, Duration::from_millis(2)).await;
    assert!(stamps >= 499 && runs >= 450, "{stamps} stamps, {runs} transactions");
    assert!(latencies.last().unwrap() <= &(STAMP + RUN * 2 + SLACK), "{latencies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_stamped_and_applied_without_a_pause() {
    let mut world = started(Duration::from_millis(250)).await;
    world.stop_consumers();
    // The pause after the first event.
    sleep(Duration::from_millis(250)).await;
    world.outbox.set_stamp_takes(Duration::from_millis(100));
    let aggregate = Aggregate::new("thing", 9);
    let backlog = world.next_events(&aggregate, 5000);
    let began = Instant::now();
    world.commit(backlog);
    while world.outbox.pending() > 0 {
        assert!(began.elapsed() < SOON);
        sleep(Duration::from_millis(1)).await;
    }
    let stamped = began.elapsed();
    assert!(stamped <= Duration::from_millis(5 * 100) + SLACK, "five full stamps took {stamped:?}");
    world.store.expire_lease(READER).await;
    let began = Instant::now();
    world.start_consumer();
    world.until_applied(SOON).await.unwrap();
    // A transaction takes twenty events in this world.
    let work = RUN * (5000 / 20);
    let applied = began.elapsed();
    assert!(applied <= work * 12 / 10, "{applied:?}, and {work:?} of it is work");
    applied_as_committed(&world).await;
}

/// Claim: hints that come during a pause cause no stamp after the one that finds their events.
#[tokio::test(start_paused = true)]
async fn hints_of_events_that_are_stamped_already_cause_no_stamp() {
    let mut world = started(WAIT * 2).await;
    world.stop_consumers();
    world.outbox.set_stamp_takes(Duration::from_millis(5));
    let aggregate = Aggregate::new("thing", 9);
    world.outbox.take_stamps();
    for _ in 0..20 {
        // Many events at once, and two in the pause after their stamp, which is from 5 to 16 ms.
        for (count, wait) in [(300, 6), (1, 2), (1, 50)] {
            let events = world.next_events(&aggregate, count);
            world.outbox.commit_elsewhere(events).unwrap();
            let hint = vec![(wake_channel(READER.stream), bytes::Bytes::new())];
            world.channel.publish(hint).await.unwrap();
            sleep(Duration::from_millis(wait)).await;
        }
    }
    assert_eq!(world.outbox.pending(), 0);
    let stamps = world.outbox.take_stamps();
    assert!((40..=42).contains(&stamps), "{stamps} stamps of twenty times three commits");
}

#[tokio::test(start_paused = true)]
async fn a_pause_does_not_delay_the_shutdown() {
    let mut world = started(Duration::from_millis(250)).await;
    world.kill_first();
    world.outbox.expire_lease();
    let (shutdown, bus) = (CancellationToken::new(), world.channel.clone());
    let sequencer = Sequencer::new(world.outbox.clone(), READER.stream, bus, world.options.clone());
    let mut running = JoinSet::new();
    running.spawn(sequencer.run(shutdown.clone()));
    let many = world.next_events(&Aggregate::new("thing", 9), 500);
    world.commit(many);
    sleep(Duration::from_millis(20)).await;
    world.write_one();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(world.outbox.pending(), 1, "it waits");
    let asked = Instant::now();
    shutdown.cancel();
    running.join_next().await.unwrap().unwrap();
    assert!(asked.elapsed() <= SLACK, "{:?}", asked.elapsed());
}

/// What the metrics say of a stream, by the name of the metric.
fn told(metric: &str, stream: &str) -> Option<f64> {
    let series = format!("{metric}{{stream=\"{stream}\"}} ");
    metrics::text().lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
}

/// Who watches looks now and then: what is told for moments only is not seen.
#[tokio::test(start_paused = true)]
async fn how_many_events_wait_is_told_also_while_no_stamp_succeeds() {
    const STREAM: &str = "stuck";
    let mut world = World::new();
    let events = world.next_events(&Aggregate::new("thing", 9), 3);
    let outbox = MemoryOutbox::new(STREAM);
    outbox.fail_stamps(true);
    outbox.commit_elsewhere(events).unwrap();
    let (shutdown, bus) = (CancellationToken::new(), world.channel.clone());
    let sequencer = Sequencer::new(outbox.clone(), STREAM, bus, world.options.clone());
    let mut running = JoinSet::new();
    running.spawn(sequencer.run(shutdown.clone()));
    sleep(Duration::from_secs(1)).await;
    for look in 0..100 {
        sleep(Duration::from_millis(137)).await;
        assert_eq!(told("outbox_pending_events", STREAM), Some(3.0), "look {look}");
    }
    outbox.fail_stamps(false);
    sleep(SOON).await;
    assert_eq!(told("outbox_pending_events", STREAM), Some(0.0));
    shutdown.cancel();
    running.join_next().await.unwrap().unwrap();
    assert_eq!(told("outbox_pending_events", STREAM), None, "it has given the lease back");
}
