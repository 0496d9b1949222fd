//! Each rule of the machine: what it is told, and what it says then.

use super::producer::BEHIND_TICKS;
use super::*;
use crate::cloud_event::Heard;
use crate::history::Page;
use crate::store::Head;
use crate::test_support::{EPOCH, event, event_id};

const OTHER: Uuid = Uuid::from_u128(0xf);

fn mark(position: Position) -> Mark {
    Mark { epoch: EPOCH, position, event_id: (position > 0).then(|| event_id(position)) }
}

fn at(position: Position) -> Heard {
    Heard::Event(Box::new(event("s", position)))
}

fn head_at(epoch: Uuid, position: Position) -> Head {
    let event_id = (position > 0).then(|| event_id(position));
    Head { stream: "s".to_owned(), epoch, position, event_id, oldest: 1 }
}

fn head(position: Position) -> Heard {
    Heard::Head(head_at(EPOCH, position))
}

fn page(positions: std::ops::RangeInclusive<Position>) -> Page {
    let head = head_at(EPOCH, *positions.end());
    Page { events: positions.map(|position| event("s", position)).collect(), head }
}

fn replay(after: Position, follow: bool) -> Option<Action> {
    Some(Action::Replay { epoch: EPOCH, after, follow })
}

/// The positions of the next run.
fn run(machine: &mut Machine) -> Vec<Position> {
    let run = machine.next_run(100).unwrap_or_default();
    if let Some(last) = run.last() {
        machine.applied(Mark::after(last));
    }
    run.iter().map(|event| event.position).collect()
}

fn limited(limits: Limits) -> Machine {
    let mut machine = Machine::new(mark(3), limits);
    machine.subscribed();
    assert_eq!(machine.action(), replay(3, false));
    machine.page(Page { events: Vec::new(), head: head_at(EPOCH, 3) });
    machine.replay_ended();
    assert_eq!(machine.action(), None);
    machine
}

/// A machine whose mark is 3, that is subscribed and has missed nothing.
fn live() -> Machine {
    limited(Limits::default())
}

fn ticks(machine: &mut Machine, count: usize) {
    for _ in 0..count {
        machine.tick();
    }
}

#[test]
fn it_subscribes_then_replays_then_drains_what_it_heard_meanwhile() {
    let mut machine = Machine::new(mark(1), Limits::default());
    assert_eq!(machine.action(), None, "not before the subscription is acknowledged");
    machine.subscribed();
    assert_eq!(machine.action(), replay(1, false));
    machine.heard(at(4));
    machine.heard(at(5));
    machine.page(page(2..=3));
    assert_eq!(run(&mut machine), [2, 3]);
    machine.page(page(4..=4));
    machine.replay_ended();
    assert_eq!(run(&mut machine), [4, 5], "4 came twice");
    assert_eq!(machine.action(), None);
}

#[test]
fn a_consumer_that_knows_no_epoch_asks_for_it_first() {
    let mut machine = Machine::new(Mark::START, Limits::default());
    machine.subscribed();
    assert_eq!(machine.action(), Some(Action::Resume(Mark::START)));
    machine.heard(at(1));
    assert_eq!(run(&mut machine), [0; 0]);
    machine.resumed(mark(0));
    assert_eq!(machine.action(), replay(0, false));
}

#[test]
fn live_events_are_applied_as_they_come_and_repetitions_are_dropped() {
    let mut machine = live();
    for position in [4, 4, 3, 5, 1] {
        machine.heard(at(position));
    }
    assert_eq!(run(&mut machine), [4, 5]);
    machine.heard(at(5));
    assert_eq!(run(&mut machine), [0; 0]);
    assert_eq!(machine.action(), None);
}

#[test]
fn a_gap_is_replayed_at_once() {
    for gap in [at(6), Heard::Reference { stream: "s".to_owned(), epoch: EPOCH, position: 4 }] {
        let mut machine = live();
        machine.heard(gap.clone());
        assert_eq!(machine.action(), replay(3, false), "{gap:?}");
        machine.page(page(4..=5));
        machine.replay_ended();
        machine.heard(at(6));
        machine.heard(at(7));
        assert_eq!(run(&mut machine), [4, 5, 6, 7]);
        assert_eq!(machine.action(), None);
    }
}

#[test]
fn a_gap_that_the_producer_knows_nothing_of_is_not_replayed_for_each_message() {
    let mut machine = live();
    machine.heard(at(9));
    assert_eq!(machine.action(), replay(3, false));
    machine.page(Page { events: Vec::new(), head: head_at(EPOCH, 3) });
    machine.replay_ended();
    for position in [9, 10, 11] {
        machine.heard(at(position));
        assert_eq!(machine.action(), None);
    }
    machine.tick();
    machine.heard(at(12));
    assert_eq!(machine.action(), replay(3, false), "in the next tick again");
}

#[test]
fn a_lost_tail_is_replayed_after_more_than_one_tick() {
    let mut machine = live();
    machine.heard(head(5));
    machine.tick();
    assert_eq!(machine.action(), None, "it may be on its way");
    machine.heard(at(4));
    machine.tick();
    assert_eq!(machine.action(), replay(4, false));
    let mut machine = live();
    machine.heard(head(4));
    machine.tick();
    machine.heard(at(4));
    machine.heard(head(4));
    ticks(&mut machine, 2);
    assert_eq!(machine.action(), None, "it came");
}

#[test]
fn silence_of_three_ticks_is_followed_until_the_channel_joins_on() {
    let mut machine = live();
    ticks(&mut machine, 2);
    assert_eq!(machine.action(), None);
    machine.tick();
    assert_eq!(machine.action(), replay(3, true));
    machine.page(page(4..=5));
    machine.heard(head(6));
    machine.heard(at(7));
    assert_eq!(machine.action(), None, "6 is not here yet");
    machine.page(page(6..=6));
    assert_eq!(machine.action(), Some(Action::Stop));
    assert_eq!(run(&mut machine), [4, 5, 6, 7]);
    machine.heard(at(8));
    assert_eq!(run(&mut machine), [8], "live again");
}

#[test]
fn without_a_subscription_at_the_start_it_follows_after_three_ticks() {
    let mut machine = Machine::new(mark(3), Limits::default());
    ticks(&mut machine, 3);
    assert_eq!(machine.action(), replay(3, true));
}

#[test]
fn a_lost_connection_is_followed_at_once_and_a_new_one_begins_at_the_first_step() {
    let mut machine = live();
    machine.lost();
    assert_eq!(machine.action(), replay(3, true));
    machine.subscribed();
    assert_eq!(machine.action(), None, "a follower misses nothing");
    let mut machine = live();
    machine.subscribed();
    assert_eq!(machine.action(), replay(3, false), "a silent resubscription is not trusted");
}

#[test]
fn a_follower_that_ends_goes_on_and_one_that_is_dumb_is_given_up() {
    let mut machine = live();
    machine.lost();
    machine.action();
    machine.page(page(4..=4));
    machine.replay_ended();
    assert_eq!(machine.action(), replay(4, true), "the server drained");
    ticks(&mut machine, 9);
    assert_eq!(machine.action(), Some(Action::Stop), "no heartbeat");
    ticks(&mut machine, 4);
    assert_eq!(machine.action(), replay(4, true));
}

#[test]
fn failures_are_repeated_with_growing_pauses() {
    let mut machine = live();
    machine.heard(at(9));
    let mut pauses = Vec::new();
    for _ in 0..7 {
        assert_eq!(machine.action(), replay(3, false));
        machine.replay_failed();
        let mut pause = 0;
        while machine.phase.attempt() != Some(Attempt::Due) {
            machine.tick();
            pause += 1;
        }
        pauses.push(pause);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 16, 16]);
}

#[test]
fn another_epoch_makes_it_ask_and_never_decides() {
    let mut machine = live();
    machine.heard(Heard::Head(head_at(OTHER, 9)));
    assert_eq!(machine.action(), Some(Action::Resume(mark(3))));
    machine.resumed(mark(3));
    assert_eq!(machine.action(), replay(3, false));
    machine.page(page(4..=4));
    machine.replay_ended();
    for _ in 0..50 {
        machine.heard(Heard::Head(head_at(OTHER, 9)));
    }
    assert_eq!(machine.action(), None, "an old relay may speak for ever");
    assert_eq!(run(&mut machine), [4]);
    ticks(&mut machine, 4);
    machine.action();
    machine.heard(Heard::Head(head_at(OTHER, 9)));
    assert_eq!(machine.action(), Some(Action::Resume(mark(4))), "but it may be right one day");
}

#[test]
fn a_new_epoch_is_adopted_and_what_was_received_under_the_old_one_is_forgotten() {
    let mut machine = live();
    machine.heard(at(4));
    machine.heard(Heard::Head(head_at(OTHER, 4)));
    assert_eq!(machine.action(), Some(Action::Resume(mark(3))));
    assert_eq!(run(&mut machine), [0; 0], "nothing is applied while it asks");
    machine.resumed(Mark { epoch: OTHER, ..mark(3) });
    assert_eq!(machine.action(), Some(Action::Replay { epoch: OTHER, after: 3, follow: false }));
    assert_eq!(run(&mut machine), [0; 0]);
}

#[test]
fn a_head_below_the_mark_makes_it_ask_unless_it_is_only_late() {
    let mut machine = live();
    machine.heard(head(2));
    machine.tick();
    machine.heard(head(3));
    machine.tick();
    machine.heard(head(2));
    machine.tick();
    assert_eq!(machine.action(), None);
    machine.heard(head(2));
    machine.tick();
    assert_eq!(machine.action(), Some(Action::Resume(mark(3))));
}

/// In each tick the head comes first, and then an event, which is applied at once.
#[test]
fn events_that_follow_on_their_head_are_no_reason_to_ask() {
    let mut machine = live();
    for position in 4..14 {
        machine.heard(head(position - 1));
        machine.heard(at(position));
        assert_eq!(run(&mut machine), [position]);
        machine.tick();
        assert_eq!(machine.action(), None, "at {position}");
    }
}

#[test]
fn an_event_with_another_previous_is_not_applied() {
    let mut machine = live();
    let mut strange = event("s", 4);
    strange.previous = Some(event_id(99));
    machine.heard(Heard::Event(Box::new(strange.clone())));
    assert_eq!(machine.action(), Some(Action::Resume(mark(3))));
    assert_eq!(run(&mut machine), [0; 0]);
    machine.resumed(mark(3));
    assert_eq!(machine.action(), replay(3, false));
    machine.page(Page { events: vec![strange], head: head_at(EPOCH, 4) });
    assert_eq!(machine.action(), Some(Action::Stop), "it was told that the history is the same: a pause");
    assert_eq!(run(&mut machine), [0; 0]);
}

#[test]
fn it_asks_only_when_nothing_is_in_flight() {
    let mut machine = live();
    machine.heard(at(4));
    let run = machine.next_run(10).unwrap();
    machine.heard(Heard::Head(head_at(OTHER, 9)));
    assert_eq!(machine.action(), Some(Action::Stop));
    assert_eq!(machine.action(), None);
    machine.applied(Mark::after(&run[0]));
    assert_eq!(machine.action(), Some(Action::Resume(mark(4))), "with the mark as it is then");
}

#[test]
fn a_rewound_stream_halts_it_and_drops_what_is_ready() {
    let mut machine = live();
    machine.heard(at(4));
    machine.heard(Heard::Head(head_at(OTHER, 9)));
    machine.action();
    machine.rewound();
    assert_eq!(run(&mut machine), [0; 0]);
    assert_eq!(machine.action(), Some(Action::Halt("stream_rewound")));
    machine.subscribed();
    machine.heard(at(5));
    machine.lost();
    ticks(&mut machine, 10);
    assert_eq!((machine.action(), run(&mut machine)), (None, vec![]), "for good");
}

#[test]
fn pruned_events_halt_it_after_what_is_ready_was_applied() {
    let mut machine = live();
    machine.heard(at(4));
    machine.heard(at(9));
    machine.action();
    machine.pruned();
    assert_eq!(machine.action(), Some(Action::Stop));
    assert_eq!(run(&mut machine), [4]);
    assert_eq!(machine.action(), Some(Action::Halt("position_pruned")));
}

#[test]
fn another_replica_that_went_ahead_is_caught_up_with() {
    let mut machine = live();
    for position in 4..=6 {
        machine.heard(at(position));
    }
    assert_eq!(machine.next_run(1).unwrap().len(), 1);
    machine.moved(mark(5));
    assert_eq!(run(&mut machine), [6], "what follows on its mark is still good");
    let run_in_flight = machine.next_run(1);
    assert_eq!(run_in_flight, None);
    machine.moved(mark(20));
    assert_eq!(machine.action(), replay(20, false));
    machine.moved(mark(2));
    assert_eq!(machine.action(), replay(2, false), "also back, as after a resync");
}

#[test]
fn memory_is_bounded_and_a_full_buffer_is_replayed() {
    let mut machine = limited(Limits { events: 4, ..Limits::default() });
    for position in 4..=20 {
        machine.heard(at(position));
    }
    assert!(machine.ready.len() <= 4 && machine.buffer.len() <= 4);
    assert_eq!(machine.action(), Some(Action::Stop), "no replay without room for it");
    assert_eq!(run(&mut machine), [4, 5, 6, 7]);
    assert_eq!(machine.action(), replay(7, false));
    for position in 21..=40 {
        machine.heard(at(position));
        assert!(machine.buffer.len() <= 4);
    }
    machine.page(page(8..=10));
    assert!(machine.wants_page());
    machine.page(page(11..=12));
    assert!(!machine.wants_page(), "back pressure");
    assert_eq!(run(&mut machine), [8, 9, 10, 11, 12]);
    machine.replay_ended();
    assert_eq!(machine.action(), replay(12, false), "what was heard meanwhile was lost");
}

#[test]
fn what_is_heard_during_a_replay_is_bounded_by_bytes_too() {
    let mut machine = limited(Limits { buffer_bytes: 5, ..Limits::default() });
    machine.heard(at(5));
    assert_eq!(machine.action(), replay(3, false));
    for position in 6..=40 {
        machine.heard(at(position));
        assert!(machine.buffer.len() <= 5);
    }
    machine.page(page(4..=4));
    machine.replay_ended();
    assert_eq!(machine.action(), replay(4, false), "what was heard meanwhile was lost");
}

/// One such answer may be stale. The same answer for a dozen seconds means that the stream was rewound.
#[test]
fn a_producer_that_is_behind_is_asked_again_before_it_is_believed() {
    for catches_up in [true, false] {
        let mut machine = live();
        machine.heard(at(4));
        machine.heard(Heard::Head(head_at(OTHER, 2)));
        assert_eq!(machine.action(), Some(Action::Resume(mark(3))));
        let mut asked = 1;
        let begun = machine.now;
        machine.behind();
        while machine.now < begun + BEHIND_TICKS - 1 {
            assert_eq!(run(&mut machine), [0; 0], "nothing is applied meanwhile");
            machine.tick();
            match machine.action() {
                Some(Action::Resume(at)) => {
                    assert_eq!(at, mark(3));
                    asked += 1;
                    machine.behind();
                }
                action => assert!(matches!(action, None | Some(Action::Stop)), "{action:?}"),
            }
        }
        assert!((4..=10).contains(&asked), "asked {asked} times");
        ticks(&mut machine, 20);
        assert_eq!(machine.action(), Some(Action::Resume(mark(3))));
        if catches_up {
            machine.resumed(mark(3));
            assert_eq!(machine.action(), replay(4, false));
            assert_eq!(run(&mut machine), [4], "what was ready still follows");
            assert_eq!(machine.behind_since, None);
        } else {
            machine.behind();
            assert_eq!(machine.action(), Some(Action::Halt("stream_rewound")));
        }
    }
}

#[test]
fn a_replay_that_leaves_a_hole_is_not_believed() {
    let mut machine = live();
    machine.heard(at(9));
    machine.action();
    machine.page(page(5..=6));
    assert_eq!(machine.action(), Some(Action::Stop));
    assert_eq!(run(&mut machine), [0; 0]);
}
