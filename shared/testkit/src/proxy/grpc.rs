//! gRPC over HTTP/2 in clear text: finds out which call a stream's frames answer.
//!
//! All header blocks of a connection share one compression table, so every block is decoded. For the same reason no
//! single answer can be taken out of a connection that goes on: an answer is lost together with its connection.
//!
//! A service whose peer closes a connection without a word asks it by a greeting of TLS whether it speaks that. Such a
//! connection is passed on, and none of it is understood.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use loona_hpack::Decoder;

use super::dialogue::{Dialogue, Heard, Work};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first byte of a TLS client's greeting: the type of a record of its handshake.
const TLS_HANDSHAKE: u8 = 22;
const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// One direction's header blocks.
struct Blocks {
    decoder: Decoder<'static>,
    open: Vec<u8>,
    ends_stream: bool,
}

impl Blocks {
    fn new() -> Self {
        Self { decoder: Decoder::new(), open: Vec::new(), ends_stream: false }
    }

    /// The headers, and whether they end the stream, once their block is whole.
    fn add(&mut self, frame: &Frame<'_>) -> Result<Option<(Headers, bool)>> {
        if frame.kind == HEADERS {
            self.open.clear();
            self.ends_stream = frame.has(END_STREAM);
        }
        self.open.extend_from_slice(frame.content()?);
        if !frame.has(END_HEADERS) {
            return Ok(None);
        }
        let headers = self.decoder.decode(&self.open).map_err(|error| anyhow!("header block: {error:?}"))?;
        Ok(Some((headers, self.ends_stream)))
    }
}

/// What the client's first byte said of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    Awaited,
    Http2,
    Tls,
}

/// One connection.
pub(super) struct Grpc {
    greeting: Greeting,
    requests: Blocks,
    answers: Blocks,
    /// The path of each open stream.
    calls: HashMap<u32, Arc<str>>,
}

impl Grpc {
    pub(super) fn new() -> Self {
        Self {
            greeting: Greeting::Awaited,
            requests: Blocks::new(),
            answers: Blocks::new(),
            calls: HashMap::new(),
        }
    }
}

impl Dialogue for Grpc {
    fn request_len(&self, bytes: &[u8]) -> Result<Option<usize>> {
        Ok(match (self.greeting, bytes.first()) {
            (Greeting::Http2, _) => frame_len(bytes),
            (Greeting::Tls, _) | (Greeting::Awaited, Some(&TLS_HANDSHAKE)) => whatever_arrived(bytes),
            (Greeting::Awaited, _) => Some(PREFACE.len()),
        })
    }

    fn request(&mut self, frame: &[u8]) -> Result<()> {
        match (self.greeting, frame.first()) {
            (Greeting::Http2, _) => {}
            (Greeting::Tls, _) => return Ok(()),
            (Greeting::Awaited, Some(&TLS_HANDSHAKE)) => {
                self.greeting = Greeting::Tls;
                return Ok(());
            }
            (Greeting::Awaited, _) => {
                ensure!(frame == PREFACE, "not HTTP/2");
                self.greeting = Greeting::Http2;
                return Ok(());
            }
        }
        let frame = Frame::new(frame)?;
        match frame.kind {
            HEADERS | CONTINUATION => {
                let Some((headers, _)) = self.requests.add(&frame)? else { return Ok(()) };
                if let Some(path) = value(&headers, b":path") {
                    self.calls.insert(frame.stream, path.into());
                }
            }
            RST_STREAM => drop(self.calls.remove(&frame.stream)),
            _ => {}
        }
        Ok(())
    }

    fn answer_len(&self, bytes: &[u8]) -> Result<Option<usize>> {
        Ok(if self.greeting == Greeting::Tls { whatever_arrived(bytes) } else { frame_len(bytes) })
    }

    fn answer(&mut self, frame: &[u8]) -> Result<Heard> {
        if self.greeting == Greeting::Tls {
            return Ok(Heard::Other);
        }
        let frame = Frame::new(frame)?;
        match frame.kind {
            DATA => Ok(self.part(frame.stream)),
            HEADERS | CONTINUATION => match self.answers.add(&frame)? {
                Some((trailers, true)) => {
                    let work: Work = self.calls.remove(&frame.stream).into_iter().collect();
                    let is_ok = value(&trailers, b"grpc-status").is_some_and(|status| status == "0");
                    Ok(Heard::Done(if is_ok { work } else { Work::new() }))
                }
                _ => Ok(self.part(frame.stream)),
            },
            RST_STREAM => {
                self.calls.remove(&frame.stream);
                Ok(Heard::Other)
            }
            _ => Ok(Heard::Other),
        }
    }
}

impl Grpc {
    fn part(&self, stream: u32) -> Heard {
        self.calls.get(&stream).map_or(Heard::Other, |path| Heard::Part(vec![Arc::clone(path)]))
    }
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self> {
        let (head, payload) = bytes.split_at_checked(FRAME_HEAD).context("a short frame")?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Ok(Self { kind: head[3], flags: head[4], stream, payload })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The part of a header block that a frame carries, without padding and priority.
    fn content(&self) -> Result<&'a [u8]> {
        let mut content = self.payload;
        if self.kind == HEADERS && self.has(PADDED) {
            let (padding, rest) = content.split_first().context("a frame without its padding")?;
            let end = rest.len().checked_sub(usize::from(*padding)).context("more padding than frame")?;
            content = &rest[..end];
        }
        if self.kind == HEADERS && self.has(PRIORITY) {
            content = content.get(5..).context("a frame without its priority")?;
        }
        Ok(content)
    }
}

fn frame_len(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..FRAME_HEAD)?;
    Some(FRAME_HEAD + (usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])))
}

/// What is not understood is a frame as it comes.
fn whatever_arrived(bytes: &[u8]) -> Option<usize> {
    (!bytes.is_empty()).then_some(bytes.len())
}

fn value(headers: &Headers, name: &[u8]) -> Option<String> {
    let found = headers.iter().find(|(known, _)| known == name)?;
    Some(String::from_utf8_lossy(&found.1).into_owned())
}

#[cfg(test)]
mod tests {
    use loona_hpack::Encoder;

    use super::super::dialogue::Frames;
    use super::super::dialogue::testing::{ask, hear, work};
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn block(encoder: &mut Encoder<'_>, headers: &[(&str, &str)]) -> Vec<u8> {
        encoder.encode(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    #[test]
    fn trailers_acknowledge_the_call_of_their_stream() {
        let (mut grpc, mut client, mut server) = (Grpc::new(), Encoder::new(), Encoder::new());
        let one = block(&mut client, &[(":method", "POST"), (":path", "/a.A/One")]);
        // The second time, the path is a number in the table that both ends keep.
        let again = block(&mut client, &[(":method", "POST"), (":path", "/a.A/One")]);
        let two = block(&mut client, &[(":path", "/a.A/Two")]);
        let padded = [&[2][..], &[0; 5], &two, &[0, 0]].concat();
        let (head, tail) = again.split_at(1);
        let asked = [
            PREFACE.to_vec(),
            frame(4, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, &one),
            frame(DATA, END_STREAM, 1, b"request"),
            frame(HEADERS, 0, 3, head),
            frame(CONTINUATION, END_HEADERS, 3, tail),
            frame(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITY, 5, &padded),
        ];
        ask(&mut grpc, &asked.concat());

        let headers = block(&mut server, &[(":status", "200"), ("content-type", "application/grpc")]);
        let (ok, refused) =
            (block(&mut server, &[("grpc-status", "0")]), block(&mut server, &[("grpc-status", "5")]));
        let answered = [
            frame(4, 1, 0, &[]),
            frame(HEADERS, END_HEADERS, 3, &headers),
            frame(DATA, 0, 3, b"answer"),
            frame(HEADERS, END_HEADERS | END_STREAM, 3, &ok),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &refused),
            frame(DATA, 0, 5, b"answer"),
        ];
        let one = work(&["/a.A/One"]);
        assert_eq!(
            hear(&mut grpc, &answered.concat()),
            [
                Heard::Other,
                Heard::Part(one.clone()),
                Heard::Part(one.clone()),
                Heard::Done(one),
                Heard::Done(work(&[])),
                Heard::Part(work(&["/a.A/Two"])),
            ]
        );
    }
    #[test]
    fn a_greeting_of_tls_passes_without_being_understood() {
        let mut grpc = Grpc::new();
        ask(&mut grpc, b"\x16\x03\x01\x00\x02\x01\x00");
        assert!(hear(&mut grpc, b"\x15\x03\x03").iter().all(|heard| *heard == Heard::Other));

        let mut frames = Frames::default();
        frames.push(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut grpc = Grpc::new();
        let other = frames.next(|bytes| grpc.request_len(bytes)).unwrap().unwrap();
        assert!(grpc.request(&other).is_err());
    }
}
