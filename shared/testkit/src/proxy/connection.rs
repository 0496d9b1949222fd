//! One connection through a proxy: two pumps, which pass bytes on as the faults allow.

use std::io;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

use super::dialogue::{Dialogue, Frames};
use super::loss::{Fate, Then};
use super::mongo::rewritten;
use super::switches::{Direction, Switches};

const CHUNK: usize = 16 * 1024;

/// Why a connection is reset before both ends have closed it.
#[derive(Debug)]
enum Broken {
    Fault,
    Socket,
    /// The bytes do not follow the edge's protocol.
    Misunderstood(anyhow::Error),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Socket
    }
}

/// An accepted connection's view of its edge.
pub(super) struct Line {
    switches: watch::Receiver<Switches>,
    /// The count when the connection was accepted. A higher count resets it.
    resets: u64,
    heals: u64,
}

impl Line {
    pub(super) fn new(switches: &watch::Receiver<Switches>) -> Self {
        let (resets, heals) = {
            let now = switches.borrow();
            (now.resets, now.heals)
        };
        Self { switches: switches.clone(), resets, heals }
    }
}

/// What both pumps of a connection share.
struct Connection {
    line: Line,
    dialogue: Option<Mutex<Box<dyn Dialogue>>>,
    /// An acknowledgement was lost, so nothing more reaches the client.
    is_mute: watch::Sender<bool>,
}

/// Passes bytes on between two sockets, until both are closed or a fault resets them. Fails when the bytes do not
/// follow the protocol.
pub(super) async fn serve(
    mut client: TcpStream,
    mut server: TcpStream,
    line: Line,
    dialogue: Option<Box<dyn Dialogue>>,
) -> Result<()> {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let connection =
        Connection { line, dialogue: dialogue.map(Mutex::new), is_mute: watch::Sender::new(false) };
    let broken = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let pumps = async {
            tokio::try_join!(
                connection.ask(from_client, to_server),
                connection.answer(from_server, to_client)
            )
        };
        tokio::select! {
            ended = pumps => ended.err(),
            broken = connection.reset() => Some(broken),
        }
    };
    if broken.is_some() {
        // This fails when the peer is gone already, which does not matter.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
    match broken {
        Some(Broken::Misunderstood(error)) => Err(error),
        _ => Ok(()),
    }
}

impl Connection {
    /// From the client to the server.
    async fn ask(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Broken> {
        let (mut chunk, mut frames) = (vec![0; CHUNK], Frames::default());
        loop {
            let count = from.read(&mut chunk).await?;
            if count == 0 {
                return Ok(to.shutdown().await?);
            }
            if let Some(dialogue) = &self.dialogue {
                hear_request(dialogue, &mut frames, &chunk[..count]).map_err(Broken::Misunderstood)?;
            }
            self.send(Direction::ToServer, &chunk[..count], &mut to).await?;
        }
    }

    /// From the server to the client.
    async fn answer(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Broken> {
        let mut chunk = vec![0; CHUNK];
        let (mut frames, mut held) = (Frames::default(), Vec::new());
        loop {
            let count = from.read(&mut chunk).await?;
            if count == 0 {
                return Ok(to.shutdown().await?);
            }
            if *self.is_mute.borrow() {
                continue;
            }
            let Some(dialogue) = &self.dialogue else {
                self.send(Direction::ToClient, &chunk[..count], &mut to).await?;
                continue;
            };
            let (passed, lost) = self
                .hear_answer(dialogue, &mut frames, &mut held, &chunk[..count])
                .map_err(Broken::Misunderstood)?;
            self.send(Direction::ToClient, &passed, &mut to).await?;
            match lost {
                Some(Then::Reset) => return Err(Broken::Fault),
                Some(Then::Silence) => drop(self.is_mute.send_replace(true)),
                None => {}
            }
        }
    }

    /// The bytes that may be sent, of those that arrived now and those that were held; and what happens to the
    /// connection if an acknowledgement is lost.
    fn hear_answer(
        &self,
        dialogue: &Mutex<Box<dyn Dialogue>>,
        frames: &mut Frames,
        held: &mut Vec<u8>,
        bytes: &[u8],
    ) -> Result<(Vec<u8>, Option<Then>)> {
        let mut dialogue = dialogue.lock().unwrap_or_else(PoisonError::into_inner);
        let (loss, instead, rewrites) = {
            let switches = self.line.switches.borrow();
            (switches.loss.clone(), switches.instead.clone(), switches.rewrites.clone())
        };
        let mut passed = Vec::new();
        frames.push(bytes);
        while let Some(mut frame) = frames.next(|bytes| dialogue.answer_len(bytes))? {
            let heard = dialogue.answer(&frame)?;
            let text = dialogue.answered().unwrap_or_default();
            for rewrite in rewrites.iter().filter(|rewrite| rewrite.concerns(text)) {
                frame = rewritten(&frame, |answer| rewrite.apply(answer))?;
            }
            let fate = loss.as_ref().map_or(Fate::Pass, |loss| loss.fate(&heard, !held.is_empty()));
            if let Fate::Lose(then) = fate {
                return Ok((passed, Some(then)));
            }
            match instead.as_ref().and_then(|instead| instead.of(&heard)) {
                Some(answer) => held.extend(answer),
                None => held.extend(frame),
            }
            if fate == Fate::Pass {
                passed.append(held);
            }
        }
        Ok((passed, None))
    }

    async fn send(&self, direction: Direction, bytes: &[u8], to: &mut WriteHalf<'_>) -> Result<(), Broken> {
        if bytes.is_empty() {
            return Ok(());
        }
        let delay = self.line.switches.borrow().delay.clone();
        if let Some((delay, bites)) = delay {
            bites.add();
            sleep(delay).await;
        }
        self.while_silent(direction).await;
        let cut = self.line.switches.borrow().cut.clone();
        match cut.and_then(|cut| cut.last_of(direction, bytes)) {
            Some(last) => {
                to.write_all(last).await?;
                Err(Broken::Fault)
            }
            None => Ok(to.write_all(bytes).await?),
        }
    }

    async fn while_silent(&self, direction: Direction) {
        let mut switches = self.line.switches.clone();
        let silent = |switches: &Switches| switches.silent[direction as usize].clone();
        let bites = silent(&switches.borrow_and_update());
        let Some(bites) = bites else { return };
        bites.add();
        // When the sender is gone, so is the proxy, and this connection ends with it.
        let _ = switches.wait_for(|switches| silent(switches).is_none()).await;
    }

    /// Waits until this connection is to be reset, or until its edge is healed after it lost an acknowledgement.
    async fn reset(&self) -> Broken {
        let Line { switches, resets, heals } = &self.line;
        let mut switches = switches.clone();
        let is_mute = || *self.is_mute.borrow();
        let _ = switches.wait_for(|now| now.resets != *resets || (now.heals != *heals && is_mute())).await;
        Broken::Fault
    }
}

fn hear_request(dialogue: &Mutex<Box<dyn Dialogue>>, frames: &mut Frames, bytes: &[u8]) -> Result<()> {
    let mut dialogue = dialogue.lock().unwrap_or_else(PoisonError::into_inner);
    frames.push(bytes);
    while let Some(frame) = frames.next(|bytes| dialogue.request_len(bytes))? {
        dialogue.request(&frame)?;
    }
    Ok(())
}
