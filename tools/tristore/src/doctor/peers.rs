//! What an answer of a service says of it and of its peers.

use std::time::Duration;

use api::doctor::v1::peer::{Identity, Token};
use api::doctor::v1::{Clock, GetIdentityResponse, Peer};
use runtime::doctor::Seen;

use crate::client::Service;

/// Twenty times what NTP keeps to, and far less than any deadline or lease lasts.
const CLOCK_OFF_MAX: f64 = 1.0;
const SET_CLOCKS: &str = "set the clocks of both machines by NTP, and look with: chronyc tracking";

/// The version of a service among those of all that answered.
pub(super) fn version(own: &GetIdentityResponse, all: &[&GetIdentityResponse]) -> Seen {
    let found = format!("{} {}", own.service, own.version);
    let others: Vec<String> = all
        .iter()
        .filter(|other| other.version != own.version)
        .map(|other| format!("{} {}", other.service, other.version))
        .collect();
    if others.is_empty() {
        Seen::ok(found)
    } else {
        // As it is in the middle of every roll-out.
        Seen::advice(
            format!("{found}; {}", others.join(", ")),
            "end the roll-out, or roll all services out anew",
        )
    }
}

pub(super) fn database_clock(own: &GetIdentityResponse) -> Seen {
    match &own.database_clock {
        Some(clock) => clocks(&format!("{}'s database", own.service), clock),
        None => Seen::failed(
            format!("{}'s database does not say", own.service),
            format!("see why, where it runs: {} doctor", own.service),
        ),
    }
}

/// What a pair of services is called in lines.
fn pair(service: Service, peer: &Peer) -> String {
    format!("{} to {} at {}", service.name(), peer.meant, peer.url)
}

/// A setting of the command line as a variable: `--user-url` is `USER_URL`.
fn variable(setting: &str) -> String {
    setting.trim_start_matches('-').replace('-', "_").to_uppercase()
}

pub(super) fn identity(service: Service, peer: &Peer) -> Seen {
    let pair = pair(service, peer);
    let correct = format!("correct {} of {}, and restart it", variable(&peer.setting), service.name());
    match peer.identity() {
        Identity::Right => Seen::ok(pair),
        Identity::Wrong => Seen::failed(format!("{pair}: {}", peer.found), correct),
        Identity::Away | Identity::Unspecified => {
            Seen::failed(format!("{pair}: nobody answers"), format!("start the peer, or {correct}"))
        }
    }
}

pub(super) fn token(service: Service, peer: &Peer) -> Seen {
    let (pair, own) = (pair(service, peer), service.name());
    let mend = if peer.url.to_ascii_lowercase().starts_with("https://") {
        format!(
            "let TLS_PEER_IDS of the peer have `{own}=<the URI of the certificate of {own}>`, or, where it has none, \
             SERVICE_TOKENS `{own}=<SERVICE_TOKEN of {own}>`, and restart the one that is changed"
        )
    } else {
        format!(
            "let SERVICE_TOKENS of the peer have `{own}=<SERVICE_TOKEN of {own}>`, and restart the one that is changed"
        )
    };
    match peer.token() {
        Token::Accepted if peer.known_as == own => Seen::ok(pair),
        Token::Accepted => Seen::failed(format!("{pair}: taken for {}", peer.known_as), mend),
        Token::Refused => Seen::failed(format!("{pair}: refused"), mend),
        Token::Unspecified => Seen::not_tried(format!("{pair}: nobody answers")),
    }
}

pub(super) fn peer_version(service: Service, own: Option<&GetIdentityResponse>, peer: &Peer) -> Seen {
    let pair = pair(service, peer);
    let Some(own) = own.filter(|_| !peer.version.is_empty()) else {
        return Seen::not_tried(format!("{pair}: nobody says"));
    };
    let found = format!("{pair}: {}", peer.version);
    if own.version == peer.version {
        Seen::ok(found)
    } else {
        Seen::advice(
            format!("{found}, and its own is {}", own.version),
            "end the roll-out, or roll all services out anew",
        )
    }
}

pub(super) fn clock(service: Service, peer: &Peer) -> Seen {
    let pair = pair(service, peer);
    match &peer.clock {
        Some(clock) => clocks(&pair, clock),
        None => Seen::not_tried(format!("{pair}: nobody says")),
    }
}

fn clocks(of: &str, clock: &Clock) -> Seen {
    let seconds = |duration: &Option<_>| duration.as_ref().map_or(0.0, in_seconds);
    let (offset, round_trip) = (seconds(&clock.offset_duration), seconds(&clock.round_trip_duration));
    let side = if offset < 0.0 { "behind" } else { "ahead" };
    let found = format!("{of}: {:.3} s {side}, asked within {round_trip:.3} s", offset.abs());
    // A slow answer is no wrong clock.
    if offset.abs() - round_trip / 2.0 <= CLOCK_OFF_MAX {
        Seen::ok(found)
    } else {
        Seen::failed(found, SET_CLOCKS)
    }
}

fn in_seconds(duration: &prost_types::Duration) -> f64 {
    let length = Duration::new(duration.seconds.unsigned_abs(), duration.nanos.unsigned_abs());
    let sign = if duration.seconds < 0 || duration.nanos < 0 { -1.0 } else { 1.0 };
    sign * length.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use runtime::doctor::Verdict;

    use super::*;

    fn right() -> Peer {
        let mut peer = Peer {
            setting: "--user-url".to_owned(),
            url: "http://127.0.0.1:50051".to_owned(),
            meant: "user.v1.UserService".to_owned(),
            known_as: "order-service".to_owned(),
            version: "1.2.3".to_owned(),
            clock: Some(off(0, 20_000_000)),
            ..Default::default()
        };
        peer.set_identity(Identity::Right);
        peer.set_token(Token::Accepted);
        peer
    }

    fn off(seconds: i64, nanos: i32) -> Clock {
        let duration = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
        Clock { offset_duration: duration(seconds, nanos), round_trip_duration: duration(0, 400_000_000) }
    }

    fn of_version(version: &str) -> GetIdentityResponse {
        GetIdentityResponse {
            service: "order-service".to_owned(),
            version: version.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_peer_that_is_as_it_must_be_is_ok_and_each_difference_is_found_by_one_check() {
        type Change = fn(&mut Peer);
        let changes: [(Change, [Verdict; 4]); 6] = [
            (|_| {}, [Verdict::Ok; 4]),
            (
                |peer| peer.set_identity(Identity::Wrong),
                [Verdict::Failed, Verdict::Ok, Verdict::Ok, Verdict::Ok],
            ),
            (
                |peer| peer.set_identity(Identity::Away),
                [Verdict::Failed, Verdict::Ok, Verdict::Ok, Verdict::Ok],
            ),
            (|peer| peer.set_token(Token::Refused), [Verdict::Ok, Verdict::Failed, Verdict::Ok, Verdict::Ok]),
            (
                |peer| peer.known_as = "user-service".to_owned(),
                [Verdict::Ok, Verdict::Failed, Verdict::Ok, Verdict::Ok],
            ),
            (
                |peer| peer.version = "1.2.4".to_owned(),
                [Verdict::Ok, Verdict::Ok, Verdict::Advice, Verdict::Ok],
            ),
        ];
        for (change, expected) in changes {
            let mut peer = right();
            change(&mut peer);
            let seen = [
                identity(Service::Order, &peer),
                token(Service::Order, &peer),
                peer_version(Service::Order, Some(&of_version("1.2.3")), &peer),
                clock(Service::Order, &peer),
            ];
            assert_eq!(seen.each_ref().map(Seen::verdict), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_clock_is_wrong_when_its_offset_is_more_than_the_round_trip_explains() {
        for (clock, verdict) in [
            (off(0, 0), Verdict::Ok),
            (off(1, 190_000_000), Verdict::Ok),
            (off(-1, -190_000_000), Verdict::Ok),
            (off(1, 210_000_000), Verdict::Failed),
            (off(-1, -210_000_000), Verdict::Failed),
            (off(i64::MIN, i32::MIN), Verdict::Failed),
        ] {
            assert_eq!(clocks("it", &clock).verdict(), verdict, "{clock:?}");
        }
    }

    #[test]
    fn versions_that_differ_are_an_advice() {
        let (old, new) = (of_version("1.2.3"), of_version("1.3.0"));
        assert_eq!(version(&old, &[&old, &old]).verdict(), Verdict::Ok);
        assert_eq!(version(&old, &[&old, &new]).verdict(), Verdict::Advice);
    }
}
