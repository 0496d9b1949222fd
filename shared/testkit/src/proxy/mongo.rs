//! MongoDB's `OP_MSG`: finds out which transaction a reply acknowledges.
//!
//! A transaction is identified by its session and number, not by a connection. Its commands may come over several
//! connections of a pool, so they are kept for the whole edge.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bson::raw::RawBsonRef;
use bson::{Document, RawDocument};

use super::dialogue::{Dialogue, Heard, Work};

const HEADER: usize = 16;
const OP_MSG: u32 = 2013;
/// Its length, where a message ends with one; shorter than any section.
const CHECKSUM: usize = 4;
const LONGEST: usize = 64 * 1024 * 1024;

/// What each open transaction has asked for.
pub(super) type Transactions = Arc<Mutex<HashMap<Transaction, Work>>>;

/// A session's id and the transaction's number in it.
pub(super) type Transaction = (Vec<u8>, i64);

#[derive(Debug)]
struct Asked {
    command: String,
    text: Arc<str>,
    transaction: Option<Transaction>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Mongo {
    transactions: Transactions,
    unanswered: HashMap<u32, Asked>,
    /// The text of what the last frame answers.
    answered: Option<Arc<str>>,
}

impl Mongo {
    pub(super) fn new(transactions: Transactions) -> Self {
        Self { transactions, unanswered: HashMap::new(), answered: None }
    }
}

impl Dialogue for Mongo {
    fn request_len(&self, bytes: &[u8]) -> Result<Option<usize>> {
        message_len(bytes)
    }

    fn request(&mut self, frame: &[u8]) -> Result<()> {
        let Some(body) = body(frame)? else { return Ok(()) };
        let (command, of) = body.iter().next().context("a command without a name")??;
        let written = collections(frame)?;
        let text: Arc<str> = match of {
            RawBsonRef::String(collection) => format!("{command}({collection})").into(),
            _ if written.is_empty() => command.as_str().into(),
            _ => format!("{command}({})", written.join(",")).into(),
        };
        let transaction = transaction(body)?;
        if let Some(transaction) = &transaction {
            let mut open = self.transactions.lock().unwrap_or_else(PoisonError::into_inner);
            open.entry(transaction.clone()).or_default().push(Arc::clone(&text));
        }
        let command = command.as_str().to_owned();
        let id = number(frame, 4).context("a message without an id")?;
        self.unanswered.insert(id, Asked { command, text, transaction });
        Ok(())
    }

    fn answer_len(&self, bytes: &[u8]) -> Result<Option<usize>> {
        message_len(bytes)
    }

    fn answer(&mut self, frame: &[u8]) -> Result<Heard> {
        let to = number(frame, 8).context("a message without an id")?;
        self.answered = None;
        let Some(asked) = self.unanswered.remove(&to) else { return Ok(Heard::Other) };
        self.answered = Some(Arc::clone(&asked.text));
        let Some(body) = body(frame)? else { return Ok(Heard::Other) };
        if !is_ok(body)? {
            return Ok(Heard::Other);
        }
        let Some(transaction) = asked.transaction else { return Ok(Heard::Done(vec![asked.text])) };
        let open = self.transactions.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match asked.command.as_str() {
            // Kept, because a driver that missed this answer asks again and gets the same one.
            "commitTransaction" => Heard::Done(open.get(&transaction).cloned().unwrap_or_default()),
            _ => Heard::Other,
        })
    }

    fn answered(&self) -> Option<&str> {
        self.answered.as_deref()
    }
}

/// A server's answer with another document in it.
pub(super) fn rewritten(frame: &[u8], change: impl FnOnce(&mut Document)) -> Result<Vec<u8>> {
    let Some(body) = body(frame)? else { return Ok(frame.to_vec()) };
    let mut document = Document::try_from(body)?;
    change(&mut document);
    let body = document.to_vec()?;
    let len = u32::try_from(HEADER + 4 + 1 + body.len())?;
    // The same ids and kind, no flags, and one section.
    let head = [&len.to_le_bytes()[..], &frame[4..HEADER], &[0; 4], &[0]].concat();
    Ok([head, body].concat())
}

/// The transaction that a command is part of.
fn transaction(body: &RawDocument) -> Result<Option<Transaction>> {
    let (Some(RawBsonRef::Boolean(false)), Some(RawBsonRef::Document(session))) =
        (body.get("autocommit")?, body.get("lsid")?)
    else {
        return Ok(None);
    };
    let Some(RawBsonRef::Int64(number)) = body.get("txnNumber")? else { return Ok(None) };
    Ok(Some((session.as_bytes().to_vec(), number)))
}

fn is_ok(body: &RawDocument) -> Result<bool> {
    Ok(match body.get("ok")? {
        Some(RawBsonRef::Double(ok)) => ok == 1.0,
        Some(RawBsonRef::Int32(ok)) => ok == 1,
        Some(RawBsonRef::Boolean(ok)) => ok,
        _ => false,
    })
}

/// The document of a message's section 0; `None` for older kinds of messages, which greetings still use.
fn body(frame: &[u8]) -> Result<Option<&RawDocument>> {
    if number(frame, 12) != Some(OP_MSG) {
        return Ok(None);
    }
    let mut at = HEADER + 4;
    loop {
        let (kind, section) = section(frame, &mut at)?.context("a message without a body")?;
        if kind == 0 {
            return Ok(Some(RawDocument::from_bytes(section)?));
        }
    }
}

/// The collections of a `bulkWrite`, in the order in which it writes to them; none for other commands.
fn collections(frame: &[u8]) -> Result<Vec<String>> {
    let (mut at, mut found) = (HEADER + 4, Vec::new());
    while let Some((kind, section)) = section(frame, &mut at)? {
        let Some(mut documents) = section.get(4..).and_then(|rest| rest.strip_prefix(b"nsInfo\0")) else {
            continue;
        };
        while kind == 1 && !documents.is_empty() {
            let len = number(documents, 0).context("a document without a length")? as usize;
            let (document, rest) = documents.split_at_checked(len).context("a document that is cut off")?;
            let namespace = RawDocument::from_bytes(document)?.get_str("ns")?;
            found.push(namespace.split_once('.').map_or(namespace, |(_, name)| name).to_owned());
            documents = rest;
        }
    }
    Ok(found)
}

/// The section at this place, beginning with its kind and length; moves the place to the next one. A checksum at the
/// end is not a section.
fn section<'a>(frame: &'a [u8], at: &mut usize) -> Result<Option<(u8, &'a [u8])>> {
    if at.saturating_add(CHECKSUM) >= frame.len() {
        return Ok(None);
    }
    let kind = frame[*at];
    let len = number(frame, *at + 1).context("a section without a length")? as usize;
    let end = *at + 1 + len;
    ensure!(len > 4 && end <= frame.len(), "a section is longer than its message");
    let section = &frame[*at + 1..end];
    *at = end;
    Ok(Some((kind, section)))
}

fn message_len(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(len) = number(bytes, 0) else { return Ok(None) };
    let len = len as usize;
    ensure!((HEADER..LONGEST).contains(&len), "a message of {len} bytes is none of MongoDB's");
    Ok(Some(len))
}

/// A little-endian number of four bytes.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::super::dialogue::testing::{ask, hear, work};
    use super::*;

    fn message(id: u32, to: u32, body: &Document) -> Vec<u8> {
        let body = body.to_vec().unwrap();
        // A document sequence comes first here; the body may stand behind it.
        let sequence = [&[1][..], &11u32.to_le_bytes(), b"docs\0\0\0"].concat();
        let len = u32::try_from(HEADER + 4 + sequence.len() + 1 + body.len()).unwrap();
        let head = [len, id, to, OP_MSG, 0].map(u32::to_le_bytes).concat();
        [head, sequence, vec![0], body].concat()
    }

    fn part(id: u32, command: &str, collection: &str) -> Vec<u8> {
        let lsid = doc! { "id": "s" };
        let of = if collection.is_empty() { bson::Bson::Int32(1) } else { collection.into() };
        message(id, 0, &doc! { command: of, "lsid": lsid, "txnNumber": 7i64, "autocommit": false })
    }

    #[test]
    fn a_commit_acknowledges_the_commands_of_its_transaction_over_all_connections() {
        let transactions = Transactions::default();
        let (mut one, mut two) =
            (Mongo::new(Arc::clone(&transactions)), Mongo::new(Arc::clone(&transactions)));
        ask(&mut one, &part(1, "insert", "post"));
        assert_eq!(hear(&mut one, &message(9, 1, &doc! { "n": 1, "ok": 1.0 })), [Heard::Other]);
        ask(&mut two, &part(2, "commitTransaction", ""));
        let whole = Heard::Done(work(&["insert(post)", "commitTransaction"]));
        assert_eq!(hear(&mut two, &message(9, 2, &doc! { "ok": 1.0 })), [whole]);
    }

    #[test]
    fn a_write_to_several_collections_names_them_all() {
        let names = [doc! { "ns": "db.post" }, doc! { "ns": "db.outbox" }];
        let names: Vec<u8> = names.iter().flat_map(|name| name.to_vec().unwrap()).collect();
        let body = doc! { "bulkWrite": 1 }.to_vec().unwrap();
        let sequence_len = u32::try_from(4 + b"nsInfo\0".len() + names.len()).unwrap();
        let sequence = [&[1][..], &sequence_len.to_le_bytes(), b"nsInfo\0", &names].concat();
        let len = u32::try_from(HEADER + 4 + 1 + body.len() + sequence.len()).unwrap();
        let head = [len, 1, 0, OP_MSG, 0].map(u32::to_le_bytes).concat();
        let mut mongo = Mongo::new(Transactions::default());
        ask(&mut mongo, &[head, vec![0], body, sequence].concat());
        let done = Heard::Done(work(&["bulkWrite(post,outbox)"]));
        assert_eq!(hear(&mut mongo, &message(9, 1, &doc! { "ok": 1.0 })), [done]);
    }

    #[test]
    fn an_answer_is_known_by_what_it_answers_and_can_be_another() {
        let mut mongo = Mongo::new(Transactions::default());
        ask(&mut mongo, &part(1, "find", "user"));
        let answer = message(9, 1, &doc! { "ok": 0.0, "code": 13 });
        hear(&mut mongo, &answer);
        assert_eq!(mongo.answered(), Some("find(user)"));
        let other = rewritten(&answer, |answer| drop(answer.insert("code", 14))).unwrap();
        assert_eq!(message_len(&other).unwrap(), Some(other.len()));
        assert_eq!((number(&other, 4), number(&other, 8)), (Some(9), Some(1)));
        assert_eq!(body(&other).unwrap().unwrap().get_i32("code").unwrap(), 14);
        hear(&mut mongo, &message(9, 77, &doc! { "ok": 1.0 }));
        assert_eq!(mongo.answered(), None);
    }

    #[test]
    fn a_refused_commit_acknowledges_nothing() {
        let mut mongo = Mongo::new(Transactions::default());
        ask(&mut mongo, &part(1, "commitTransaction", ""));
        assert_eq!(hear(&mut mongo, &message(9, 1, &doc! { "ok": 0.0, "code": 251 })), [Heard::Other]);
    }

    #[test]
    fn outside_of_transactions_each_reply_acknowledges_its_request() {
        let mut mongo = Mongo::new(Transactions::default());
        let two = [message(1, 0, &doc! { "ping": 1 }), message(2, 0, &doc! { "find": "user" })].concat();
        ask(&mut mongo, &two);
        let replies = [message(8, 2, &doc! { "ok": 1 }), message(9, 1, &doc! { "ok": 1.0 })].concat();
        assert_eq!(
            hear(&mut mongo, &replies),
            [Heard::Done(work(&["find(user)"])), Heard::Done(work(&["ping"]))]
        );
        assert_eq!(hear(&mut mongo, &message(9, 77, &doc! { "ok": 1.0 })), [Heard::Other], "nobody asked");
    }
}
