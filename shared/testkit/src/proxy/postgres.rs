//! PostgreSQL's protocol, version 3: finds out which statements a `ReadyForQuery` acknowledges.
//!
//! Clients send cycles, which end with Sync or consist of one simple Query. The answer to a cycle ends with a
//! `ReadyForQuery`, which says whether a transaction is open. Only this shows that a commit is done: the
//! `CommandComplete` of a statement outside of a transaction comes before its commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use super::dialogue::{Dialogue, Heard, Work, u32_at};

const PROTOCOL: u32 = 0x0003_0000;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

#[derive(Debug, Default)]
struct Cycle {
    work: Work,
    /// The client wants answers before the cycle ends, and may wait for them.
    is_flushed: bool,
}

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Postgres {
    started: bool,
    asked_for_encryption: bool,
    statements: HashMap<Vec<u8>, Arc<str>>,
    portals: HashMap<Vec<u8>, Arc<str>>,
    asking: Cycle,
    unanswered: VecDeque<Cycle>,
    /// The statements of earlier cycles of the open transaction.
    transaction: Work,
    failed: bool,
}

impl Dialogue for Postgres {
    fn request_len(&self, bytes: &[u8]) -> Result<Option<usize>> {
        // The first messages have no type.
        if self.started { typed_len(bytes) } else { Ok(u32_at(bytes, 0).map(|len| len as usize)) }
    }

    fn request(&mut self, frame: &[u8]) -> Result<()> {
        if !self.started {
            let code = u32_at(frame, 4).context("a first message without a code")?;
            self.started = code == PROTOCOL;
            self.asked_for_encryption = matches!(code, SSL_REQUEST | GSS_REQUEST);
            return Ok(());
        }
        let body = &frame[5..];
        match frame[0] {
            b'P' => {
                let (name, rest) = text(body)?;
                let statement = String::from_utf8_lossy(text(rest)?.0).into();
                self.statements.insert(name.to_vec(), statement);
            }
            b'B' => {
                let (portal, rest) = text(body)?;
                if let Some(statement) = self.statements.get(text(rest)?.0) {
                    self.portals.insert(portal.to_vec(), Arc::clone(statement));
                }
            }
            b'E' => self.asking.work.extend(self.portals.get(text(body)?.0).cloned()),
            b'H' => self.asking.is_flushed = true,
            b'Q' => {
                self.asking.work.push(String::from_utf8_lossy(text(body)?.0).into());
                self.unanswered.push_back(std::mem::take(&mut self.asking));
            }
            b'S' => self.unanswered.push_back(std::mem::take(&mut self.asking)),
            _ => {}
        }
        Ok(())
    }

    fn answer_len(&self, bytes: &[u8]) -> Result<Option<usize>> {
        if self.asked_for_encryption {
            return Ok((!bytes.is_empty()).then_some(1));
        }
        typed_len(bytes)
    }

    fn answer(&mut self, frame: &[u8]) -> Result<Heard> {
        if std::mem::take(&mut self.asked_for_encryption) {
            ensure!(frame == b"N", "the connection is encrypted");
            return Ok(Heard::Other);
        }
        match frame[0] {
            b'E' => self.failed = true,
            b'C' if frame[5..].starts_with(b"ROLLBACK") => self.failed = true,
            b'Z' => return Ok(self.ready(frame.get(5) == Some(&b'I'))),
            _ => {}
        }
        Ok(match self.unanswered.front() {
            Some(cycle) if !cycle.is_flushed => {
                Heard::Part(self.transaction.iter().chain(&cycle.work).cloned().collect())
            }
            _ => Heard::Other,
        })
    }
}

impl Postgres {
    fn ready(&mut self, is_idle: bool) -> Heard {
        let failed = std::mem::take(&mut self.failed);
        // The first `ReadyForQuery` ends the log-in.
        let Some(cycle) = self.unanswered.pop_front() else { return Heard::Other };
        self.transaction.extend(cycle.work);
        if !is_idle {
            return Heard::Done(Work::new());
        }
        let work = std::mem::take(&mut self.transaction);
        Heard::Done(if failed { Work::new() } else { work })
    }
}

fn typed_len(bytes: &[u8]) -> Result<Option<usize>> {
    Ok(u32_at(bytes, 1).map(|len| 1 + len as usize))
}

/// The text up to a zero byte, and the bytes that follow.
fn text(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0).context("a text without an end")?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::super::dialogue::testing::{ask, hear, work};
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &len.to_be_bytes(), body].concat()
    }

    fn query(text: &str) -> Vec<u8> {
        message(b'Q', format!("{text}\0").as_bytes())
    }

    fn complete(tag: &str) -> Vec<u8> {
        message(b'C', format!("{tag}\0").as_bytes())
    }

    fn ready(state: u8) -> Vec<u8> {
        message(b'Z', &[state])
    }

    /// A connection that has logged in, after it asked for encryption, which the server does not have.
    fn connected() -> Postgres {
        let mut postgres = Postgres::default();
        ask(&mut postgres, &[8u32.to_be_bytes(), SSL_REQUEST.to_be_bytes()].concat());
        assert_eq!(hear(&mut postgres, b"N"), [Heard::Other]);
        let start = [&13u32.to_be_bytes()[..], &PROTOCOL.to_be_bytes(), b"user\0"].concat();
        ask(&mut postgres, &start);
        ask(&mut postgres, &message(b'p', b"md5\0"));
        let answer = [message(b'R', &[0; 4]), ready(b'I')].concat();
        assert_eq!(hear(&mut postgres, &answer), [Heard::Other, Heard::Other]);
        postgres
    }

    #[test]
    fn a_commit_acknowledges_the_statements_of_its_transaction() {
        let mut postgres = connected();
        ask(&mut postgres, &query("BEGIN"));
        let heard = hear(&mut postgres, &[complete("BEGIN"), ready(b'T')].concat());
        assert_eq!(heard, [Heard::Part(work(&["BEGIN"])), Heard::Done(work(&[]))]);
        let prepare = [message(b'P', b"s1\0UPDATE a\0\0\0"), message(b'S', b"")].concat();
        ask(&mut postgres, &prepare);
        hear(&mut postgres, &[message(b'1', b""), ready(b'T')].concat());
        let run = [
            message(b'B', b"\0s1\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
            query("COMMIT"),
        ];
        ask(&mut postgres, &run.concat());
        hear(&mut postgres, &[message(b'2', b""), complete("UPDATE 1"), ready(b'T')].concat());
        let whole = work(&["BEGIN", "UPDATE a", "COMMIT"]);
        let heard = hear(&mut postgres, &[complete("COMMIT"), ready(b'I')].concat());
        assert_eq!(heard, [Heard::Part(whole.clone()), Heard::Done(whole)]);
    }

    #[test]
    fn a_statement_outside_of_a_transaction_is_acknowledged_when_the_server_is_ready() {
        let mut postgres = connected();
        ask(&mut postgres, &query("INSERT INTO a"));
        let heard = hear(&mut postgres, &[complete("INSERT 0 1"), ready(b'I')].concat());
        assert_eq!(heard, [Heard::Part(work(&["INSERT INTO a"])), Heard::Done(work(&["INSERT INTO a"]))]);
    }

    #[test]
    fn what_failed_or_was_rolled_back_took_no_effect() {
        let mut postgres = connected();
        ask(&mut postgres, &query("INSERT INTO a"));
        let heard = hear(&mut postgres, &[message(b'E', b"SERROR\0\0"), ready(b'I')].concat());
        assert_eq!(heard.last(), Some(&Heard::Done(work(&[]))));
        ask(&mut postgres, &[query("BEGIN"), query("COMMIT")].concat());
        hear(&mut postgres, &[complete("BEGIN"), ready(b'T')].concat());
        // PostgreSQL answers COMMIT like this after a statement of the transaction has failed.
        let heard = hear(&mut postgres, &[complete("ROLLBACK"), ready(b'I')].concat());
        assert_eq!(heard.last(), Some(&Heard::Done(work(&[]))));
    }
}
