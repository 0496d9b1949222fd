//! The log: standard error, written by a thread of its own, so that nobody waits for whoever reads it.
//!
//! A container's log is a pipe of 64 KiB. Once its reader stalls, a write blocks for as long as the reader likes, and
//! the threads that log are those that serve. Here they only append to a queue. What does not fit into it, and what
//! standard error does not take (its reader is gone, its disk is full), is lost; the lost lines are counted, and the
//! next line that can be written tells how many there were.
//!
//! A line after silence is written at once. A process that is killed loses what it has logged in its last milliseconds.
//!
//! **Memory**: the queue holds at most [`QUEUE_BYTES`], and the thread as much again, which it is writing.
//!
//! **Why not `tracing-appender`**, whose `NonBlocking` is the usual choice: it counts lines that found its queue full,
//! but does not tell of them in the log, and those that could not be written it does not count at all. Its queue is
//! bounded in lines (128,000 by default), of any length, each in an allocation of its own; and a guard that is dropped
//! while the queue is full complains on standard output, which may be blocked too.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The most bytes of lines that wait to be written: some 4,000 lines.
const QUEUE_BYTES: usize = 1 << 20;
/// So much is written at once, and not after the pause.
const URGENT_BYTES: usize = QUEUE_BYTES / 4;
/// The thread's pause after it has written. Waking it costs more than a line does, so lines that come close together are
/// written together.
const PAUSE: Duration = Duration::from_millis(5);
/// What a buffer keeps of its memory after a burst.
const KEPT_BYTES: usize = 16 << 10;
/// How long a standard error that somebody has made non-blocking, and that is full, is left alone.
const PAUSE_WHEN_FULL: Duration = Duration::from_millis(10);

/// Makes the line that tells how many were lost.
pub(super) type Note = Box<dyn Fn(u64) -> String + Send>;

/// Where lines go. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Log(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// The thread is to write.
    woken: Condvar,
    /// The thread has written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    /// How many lines came after these and did not fit.
    lost: u64,
    thread: State,
}

/// What the thread does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It writes what it has taken, or was woken to take more.
    #[default]
    Busy,
    /// It has just written.
    Pausing,
    /// There is nothing to write.
    Asleep,
}

impl Log {
    /// Starts the thread that writes to `out`. It runs as long as the process.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start(out: impl Write + Send + 'static, note: Note) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut writer = Writer { out, note, untold: 0, is_torn: false };
        let log = Self(Arc::clone(&shared));
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            let mut lines = Vec::new();
            loop {
                let lost = shared.take(&mut lines);
                writer.write(&lines, lost);
                lines.clear();
                lines.shrink_to(KEPT_BYTES);
            }
        })?;
        Ok(log)
    }

    /// Waits until everything that was logged so far was written or is lost, and no longer than `within`. Returns
    /// whether it was in time.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let mut queue = self.0.lock();
        if !queue.is_empty() {
            self.0.wake(&mut queue);
        }
        let is_busy = |queue: &mut Queue| queue.thread == State::Busy || !queue.is_empty();
        let waited = self.0.written.wait_timeout_while(queue, within, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn append(&self, line: &[u8]) {
        // A line that the format has left out.
        if line.is_empty() {
            return;
        }
        let mut queue = self.0.lock();
        if queue.lines.len() + line.len() <= QUEUE_BYTES {
            queue.lines.extend_from_slice(line);
        } else {
            queue.lost += count(line);
        }
        if queue.thread == State::Asleep || queue.lines.len() >= URGENT_BYTES {
            self.0.wake(&mut queue);
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Takes one line: `tracing-subscriber` writes each at once. It never fails and never waits.
#[derive(Debug)]
pub(super) struct Line<'a>(&'a Log);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.lost == 0
    }
}

impl Shared {
    /// A thread that panicked while it held the lock has not broken the queue.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, queue: &mut Queue) {
        if queue.thread != State::Busy {
            queue.thread = State::Busy;
            self.woken.notify_one();
        }
    }

    /// Waits for lines, takes all, and returns how many were lost after them.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let mut queue = self.lock();
        queue.thread = State::Pausing;
        self.written.notify_all();
        let paused = self.woken.wait_timeout_while(queue, PAUSE, |queue| queue.thread == State::Pausing);
        queue = paused.unwrap_or_else(PoisonError::into_inner).0;
        if queue.is_empty() {
            queue.thread = State::Asleep;
            let slept = self.woken.wait_while(queue, |queue| queue.thread == State::Asleep);
            queue = slept.unwrap_or_else(PoisonError::into_inner);
        }
        queue.thread = State::Busy;
        std::mem::swap(&mut queue.lines, lines);
        std::mem::take(&mut queue.lost)
    }
}

/// What the thread works with.
struct Writer<W> {
    out: W,
    note: Note,
    /// Lines that are lost, which the log does not tell yet.
    untold: u64,
    /// Only a part of a line was written last, so the next one must not stand beside it.
    is_torn: bool,
}

impl<W: Write> Writer<W> {
    /// Writes lines, after which so many others were lost.
    fn write(&mut self, lines: &[u8], lost: u64) {
        // A log that cannot take the note cannot take the lines either.
        let written = if self.tell() { self.put(lines) } else { 0 };
        self.untold += count(&lines[written..]) + lost;
        if written == lines.len() {
            self.tell();
        }
    }

    /// Tells of lost lines, if there are any. Returns whether nothing is left to tell.
    fn tell(&mut self) -> bool {
        if self.untold == 0 {
            return true;
        }
        let note = (self.note)(self.untold);
        let note = if self.is_torn { format!("\n{note}") } else { note };
        if self.put(note.as_bytes()) == note.len() {
            self.untold = 0;
        }
        self.untold == 0
    }

    /// Writes, and returns how many bytes were written before it failed.
    fn put(&mut self, text: &[u8]) -> usize {
        let mut written = 0;
        while written < text.len() {
            match self.out.write(&text[written..]) {
                // Nobody takes anything any more.
                Ok(0) => break,
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE_WHEN_FULL),
                Err(_) => break,
            }
        }
        if let Some(last) = text[..written].last() {
            self.is_torn = *last != b'\n';
        }
        written
    }
}

/// How many lines end in `text`.
fn count(text: &[u8]) -> u64 {
    text.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests;
