//! Whether our user may do what the service does. `migrations/session/users.acl` says what that is.

use anyhow::Result;
use runtime::doctor::Seen;

use super::place::Place;
use crate::storage::Right;

/// The least that the service's user needs, as a line of an ACL file.
const RIGHTS: &str = include_str!("../../../../migrations/session/users.acl");

/// Stands for a scratch key.
const KEY: &str = "KEY";

/// How each command is tried. Where it can be, the arguments are such that Redis refuses them once it has looked at the
/// rights, so that nothing changes.
const TRIALS: &[(&str, &[&str])] = &[
    ("hello", &["HELLO"]),
    ("ping", &["PING"]),
    ("select", &["SELECT", "no number"]),
    ("evalsha", &["EVALSHA", "0000000000000000000000000000000000000000", "0"]),
    ("script|load", &["SCRIPT", "LOAD", "this does not compile"]),
    // Outside of a transaction it is an error.
    ("exec", &["EXEC"]),
    ("multi", &["MULTI"]),
    ("del", &["DEL", KEY]),
    ("setnx", &["SETNX", KEY, "1"]),
    ("rpush", &["RPUSH", KEY, "1"]),
    ("get", &["GET", KEY]),
    ("set", &["SET", KEY, "1", "PX", "no number"]),
    ("pexpire", &["PEXPIRE", KEY, "no number"]),
    ("pexpireat", &["PEXPIREAT", KEY, "no number"]),
    ("exists", &["EXISTS", KEY]),
    ("scan", &["SCAN", "0", "COUNT", "1"]),
    ("time", &["TIME"]),
    ("info", &["INFO", "server"]),
    ("config|get", &["CONFIG", "GET", "appendonly"]),
    ("hget", &["HGET", KEY, "field"]),
    ("hset", &["HSET", KEY, "field", "1", "a field without a value"]),
    ("hmget", &["HMGET", KEY, "field"]),
    ("hdel", &["HDEL", KEY, "field"]),
    ("hexists", &["HEXISTS", KEY, "field"]),
    ("hincrby", &["HINCRBY", KEY, "field", "no number"]),
    ("hvals", &["HVALS", KEY]),
    ("zadd", &["ZADD", KEY, "no number", "member"]),
    ("zrem", &["ZREM", KEY, "member"]),
    ("zrange", &["ZRANGE", KEY, "0", "-1"]),
    ("zscore", &["ZSCORE", KEY, "member"]),
    ("zcard", &["ZCARD", KEY]),
    ("zremrangebyscore", &["ZREMRANGEBYSCORE", KEY, "0", "0"]),
    ("lrange", &["LRANGE", KEY, "0", "-1"]),
    ("llen", &["LLEN", KEY]),
    ("xadd", &["XADD", KEY, "no id", "field", "1"]),
    ("xrange", &["XRANGE", KEY, "-", "+"]),
    ("xrevrange", &["XREVRANGE", KEY, "+", "-"]),
];

/// What the line of the ACL file grants that begins with this sign: commands (`+`), patterns of keys (`~`).
fn granted(sign: char) -> impl Iterator<Item = &'static str> {
    RIGHTS.split_ascii_whitespace().filter_map(move |word| word.strip_prefix(sign))
}

/// What ends the effect of a trial that has one. It is itself a command of [`TRIALS`], and stands before them there.
fn undo(command: &str) -> Option<(&'static str, &'static [&'static str])> {
    match command {
        "multi" => Some(("exec", &["EXEC"])),
        "setnx" | "rpush" => Some(("del", &["DEL", KEY])),
        _ => None,
    }
}

pub(super) async fn commands(place: &Place) -> Result<Seen> {
    let (store, user) = (&place.store, &place.address.user);
    let key = format!("{{s{}}}:right", place.scratch);
    let on_key = |words: &[&'static str]| -> Vec<String> {
        words.iter().map(|word| if *word == KEY { key.clone() } else { (*word).to_owned() }).collect()
    };
    let mut refused: Vec<&str> = Vec::new();
    for (command, words) in TRIALS {
        let undo = undo(command);
        // What could not be undone is not tried.
        if undo.is_some_and(|(undoing, _)| refused.contains(&undoing)) {
            continue;
        }
        match store.right_to(&on_key(words)).await? {
            Right::NoCommand => refused.push(command),
            Right::Granted if let Some((_, undoing)) = undo => store.send(&on_key(undoing)).await?,
            Right::Granted | Right::NoKey => {}
        }
    }
    Ok(if refused.is_empty() {
        Seen::ok(format!("user {user} may send all {}", TRIALS.len()))
    } else {
        Seen::failed(
            format!("user {user} may not send {}", refused.join(", ")),
            format!("ACL SETUSER {user} +{}", refused.join(" +")),
        )
    })
}

pub(super) async fn keys(place: &Place) -> Result<Seen> {
    let (store, user) = (&place.store, &place.address.user);
    let mut refused = Vec::new();
    for pattern in granted('~') {
        let key = pattern.replace('*', &place.scratch);
        // A time that is no number is looked at after the right to write.
        for words in
            [vec!["GET".to_owned(), key.clone()], vec!["PEXPIRE".to_owned(), key, "no number".to_owned()]]
        {
            if store.right_to(&words).await? == Right::NoKey && !refused.contains(&pattern) {
                refused.push(pattern);
            }
        }
    }
    Ok(if refused.is_empty() {
        Seen::ok(format!("user {user} may read and write all of them"))
    } else {
        Seen::failed(
            format!("user {user} may not read and write {}", refused.join(", ")),
            format!("ACL SETUSER {user} ~{}", refused.join(" ~")),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_granted_command_is_tried_and_no_other() {
        let tried: BTreeSet<_> = TRIALS.iter().map(|(command, _)| *command).collect();
        assert_eq!(tried, granted('+').collect());
        assert_eq!(tried.len(), TRIALS.len());
    }

    #[test]
    fn what_undoes_a_trial_is_tried_before_it() {
        for (at, (command, _)) in TRIALS.iter().enumerate() {
            if let Some((undoing, _)) = undo(command) {
                assert!(TRIALS[..at].iter().any(|(before, _)| *before == undoing), "{command}");
            }
        }
    }
}
