//! MongoDB's messages, as far as they are looked at.

use anyhow::{Context, Result, ensure};
use bson::Document;
use tokio::io::{AsyncRead, AsyncReadExt as _};

const HEADER: usize = 16;
const LONGEST: usize = 64 * 1024 * 1024;
/// Kinds of messages: the reply to an old question, the old question, by which drivers greet, and everything else.
const OP_REPLY: u32 = 1;
const OP_QUERY: u32 = 2004;
const OP_MSG: u32 = 2013;
/// Where the document begins, after the flags, in each kind; of the question, after the name of a collection.
const IN_REPLY: usize = HEADER + 20;
const IN_MSG: usize = HEADER + 5;

/// Reads a message; `None` at the end.
pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Vec<u8>>> {
    let mut frame = vec![0; HEADER];
    if from.read_exact(&mut frame).await.is_err() {
        return Ok(None);
    }
    let len = number(&frame, 0)? as usize;
    ensure!((HEADER..LONGEST).contains(&len), "a message of {len} bytes");
    frame.resize(len, 0);
    from.read_exact(&mut frame[HEADER..]).await?;
    Ok(Some(frame))
}

/// The command or the answer in a message.
pub(crate) fn document(frame: &[u8]) -> Result<Document> {
    let begin = match number(frame, 12)? {
        OP_REPLY => IN_REPLY,
        OP_MSG => {
            ensure!(frame.get(IN_MSG - 1) == Some(&0), "the body does not come first");
            IN_MSG
        }
        OP_QUERY => {
            let name = frame.get(HEADER + 4..).context("a question")?;
            let end = name.iter().position(|byte| *byte == 0).context("a name that ends")?;
            HEADER + 4 + end + 1 + 8
        }
        other => anyhow::bail!("a message of kind {other}"),
    };
    let body = frame.get(begin..).context("a message without a body")?;
    Ok(Document::from_reader(body)?)
}

/// An answer to the message `asked`, of the kind that goes with it.
pub(crate) fn answer(asked: &[u8], body: &Document) -> Result<Vec<u8>> {
    let body = body.to_vec()?;
    let (kind, rest) = match number(asked, 12)? {
        OP_QUERY => (OP_REPLY, [&[0; 16][..], &1_u32.to_le_bytes()].concat()),
        _ => (OP_MSG, vec![0; 5]),
    };
    let len = u32::try_from(HEADER + rest.len() + body.len())?;
    let head = [len, 0, number(asked, 4)?, kind].map(u32::to_le_bytes).concat();
    Ok([head, rest, body].concat())
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes.get(at..at + 4).context("a number that is cut off")?;
    Ok(u32::from_le_bytes(four.try_into()?))
}
