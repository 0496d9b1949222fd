//! Redis' protocol, versions 2 and 3: finds out which command a reply answers. Replies come in the order of the
//! commands, however many are under way. Messages that the server pushes in between are not replies.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use super::dialogue::{Dialogue, Heard};

/// The source of each script that was loaded over this edge, by its hash.
pub(super) type Scripts = Arc<Mutex<HashMap<String, Arc<str>>>>;

#[derive(Debug)]
enum Asked {
    Command(Arc<str>),
    /// `SCRIPT LOAD` of this source.
    Load(Arc<str>),
    /// `HELLO 3`.
    Version3,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Redis {
    scripts: Scripts,
    unanswered: VecDeque<Asked>,
    is_version_3: bool,
    /// The client has subscribed in version 2, where messages cannot be told from replies any more.
    is_subscribed: bool,
}

impl Redis {
    pub(super) fn new(scripts: Scripts) -> Self {
        Self { scripts, unanswered: VecDeque::new(), is_version_3: false, is_subscribed: false }
    }

    fn script(&self, hash: &str) -> Option<Arc<str>> {
        let scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        scripts.get(&hash.to_lowercase()).cloned()
    }
}

impl Dialogue for Redis {
    fn request_len(&self, bytes: &[u8]) -> Result<Option<usize>> {
        value_len(bytes)
    }

    fn request(&mut self, frame: &[u8]) -> Result<()> {
        let words = words(frame)?;
        let name = words.first().map(|word| word.to_uppercase()).unwrap_or_default();
        let second = words.get(1).map_or("", String::as_str);
        let is_about_channels = matches!(
            name.as_str(),
            "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE" | "SUNSUBSCRIBE"
        );
        if is_about_channels {
            // In version 3 these are answered by pushes.
            self.is_subscribed |= !self.is_version_3;
            return Ok(());
        }
        self.unanswered.push_back(match name.as_str() {
            "HELLO" if second == "3" => Asked::Version3,
            "SCRIPT" if second.eq_ignore_ascii_case("LOAD") => {
                Asked::Load(words.get(2).context("SCRIPT LOAD without a script")?.as_str().into())
            }
            "EVALSHA" => Asked::Command(self.script(second).unwrap_or_else(|| second.into())),
            _ => Asked::Command(words.join(" ").into()),
        });
        Ok(())
    }

    fn answer_len(&self, bytes: &[u8]) -> Result<Option<usize>> {
        value_len(bytes)
    }

    fn answer(&mut self, frame: &[u8]) -> Result<Heard> {
        if self.is_subscribed || frame[0] == b'>' {
            return Ok(Heard::Other);
        }
        let asked = self.unanswered.pop_front().context("a reply that nobody asked for")?;
        if matches!(frame[0], b'-' | b'!') {
            return Ok(Heard::Other);
        }
        match asked {
            Asked::Command(text) => return Ok(Heard::Done(vec![text])),
            Asked::Load(source) => {
                let hash = bulks(frame)?.concat().to_lowercase();
                self.scripts.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, source);
            }
            Asked::Version3 => self.is_version_3 = true,
        }
        Ok(Heard::Other)
    }
}

/// The words of a command.
fn words(frame: &[u8]) -> Result<Vec<String>> {
    let (head, rest) = line(frame)?.context("a command without a length")?;
    if !head.starts_with(b"*") {
        // An inline command, as people type them.
        return Ok(String::from_utf8_lossy(head).split_whitespace().map(str::to_owned).collect());
    }
    bulks(rest)
}

/// Strings one after the other.
fn bulks(mut bytes: &[u8]) -> Result<Vec<String>> {
    let mut words = Vec::new();
    while let Some((head, rest)) = line(bytes)? {
        if let Some(text) = head.strip_prefix(b"+") {
            words.push(String::from_utf8_lossy(text).into_owned());
            bytes = rest;
            continue;
        }
        let len = head.strip_prefix(b"$").and_then(number).context("not a string")?;
        let len = usize::try_from(len).context("a string without a length")?;
        words.push(String::from_utf8_lossy(rest.get(..len).context("a short string")?).into_owned());
        bytes = rest.get(len + 2..).context("a string without an end")?;
    }
    Ok(words)
}

/// The length of the value that begins here, with everything in it; `None` until all of it has arrived.
fn value_len(bytes: &[u8]) -> Result<Option<usize>> {
    let mut at = 0;
    let mut values: u64 = 1;
    while values > 0 {
        let Some((head, rest)) = line(&bytes[at..])? else { return Ok(None) };
        at = bytes.len() - rest.len();
        values -= 1;
        let count = || number(&head[1..]).context("a length that is no number");
        match head.first() {
            // Version 2 writes a null value as the length -1.
            Some(b'*' | b'~' | b'>') => values += u64::try_from(count()?).unwrap_or(0),
            Some(b'%') => values += 2 * u64::try_from(count()?).unwrap_or(0),
            // Attributes stand before the value that they describe.
            Some(b'|') => values += 1 + 2 * u64::try_from(count()?).unwrap_or(0),
            Some(b'$' | b'!' | b'=') => {
                if let Ok(len) = usize::try_from(count()?) {
                    at += len + 2;
                    if at > bytes.len() {
                        return Ok(None);
                    }
                }
            }
            Some(b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(') => {}
            _ => bail!("{:?} is no value of Redis", String::from_utf8_lossy(head)),
        }
    }
    Ok(Some(at))
}

/// A line without its line end, and the bytes that follow.
fn line(bytes: &[u8]) -> Result<Option<(&[u8], &[u8])>> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n");
    Ok(end.map(|end| (&bytes[..end], &bytes[end + 2..])))
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::dialogue::testing::{ask, hear, work};
    use super::*;

    fn command(words: &[&str]) -> Vec<u8> {
        let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        format!("*{}\r\n{words}", words.matches('$').count()).into_bytes()
    }

    #[test]
    fn replies_are_counted_over_pushes_nested_values_and_errors() {
        let mut redis = Redis::new(Scripts::default());
        ask(&mut redis, &command(&["HELLO", "3"]));
        assert_eq!(hear(&mut redis, b"%1\r\n+proto\r\n:3\r\n"), [Heard::Other]);
        let asked = [
            command(&["SUBSCRIBE", "news"]),
            command(&["GET", "a"]),
            command(&["HGETALL", "b"]),
            command(&["BROKEN"]),
            command(&["SET", "c", "two\r\nlines"]),
        ];
        ask(&mut redis, &asked.concat());
        let replies: [&[u8]; 6] = [
            b">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n",
            b"|1\r\n+ttl\r\n:7\r\n$5\r\n\r\n$1\r\r\n",
            b">2\r\n$7\r\nmessage\r\n*2\r\n$1\r\nx\r\n_\r\n",
            b"*3\r\n$-1\r\n%1\r\n+k\r\n,1.5\r\n*0\r\n",
            b"-ERR unknown\r\n",
            b"+OK\r\n",
        ];
        let heard = hear(&mut redis, &replies.concat());
        let done = |text: &str| Heard::Done(work(&[text]));
        assert_eq!(
            heard,
            [
                Heard::Other,
                done("GET a"),
                Heard::Other,
                done("HGETALL b"),
                Heard::Other,
                done("SET c two\r\nlines")
            ]
        );
    }

    #[test]
    fn a_script_is_known_by_its_source_on_every_connection() {
        let scripts = Scripts::default();
        let (mut one, mut two) = (Redis::new(Arc::clone(&scripts)), Redis::new(Arc::clone(&scripts)));
        ask(&mut one, &command(&["SCRIPT", "LOAD", "-- Makes a session"]));
        assert_eq!(hear(&mut one, b"$4\r\nAbC1\r\n"), [Heard::Other]);
        ask(&mut two, &[command(&["EVALSHA", "abc1", "0"]), command(&["EVALSHA", "abc1", "0"])].concat());
        assert_eq!(
            hear(&mut two, b"-NOSCRIPT\r\n*1\r\n+OK\r\n"),
            [Heard::Other, Heard::Done(work(&["-- Makes a session"]))]
        );
    }
}
