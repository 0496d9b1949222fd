//! What is lost, what is told of it, and that nobody waits.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// Takes what the test lets it take. Each write waits for the test's word, as a pipe waits for its reader.
struct Pipe {
    words: Receiver<Word>,
    tried: Sender<()>,
    taken: Arc<Mutex<Vec<u8>>>,
    answers: VecDeque<Word>,
}

/// What becomes of a write.
#[derive(Clone, Copy)]
enum Word {
    Take,
    TakeBytes(usize),
    Fail(ErrorKind),
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _nobody_watches = self.tried.send(());
        let word = self.answers.pop_front().or_else(|| self.words.recv().ok()).unwrap_or(Word::Take);
        let taken = match word {
            Word::Take => bytes.len(),
            Word::TakeBytes(count) => count.min(bytes.len()),
            Word::Fail(kind) => return Err(kind.into()),
        };
        self.taken.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log on such a pipe.
struct Stage {
    log: Log,
    /// Dropped when the reader is to read everything from now on.
    words: Option<Sender<Word>>,
    tried: Receiver<()>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Stage {
    fn new(answers: &[Word]) -> Self {
        let (words, heard) = channel();
        let (tries, tried) = channel();
        let taken = Arc::default();
        let answers = answers.iter().copied().collect();
        let pipe = Pipe { words: heard, tried: tries, taken: Arc::clone(&taken), answers };
        let log = Log::start(pipe, Box::new(|count| format!("lost {count}\n"))).unwrap();
        Self { log, words: Some(words), tried, taken }
    }

    fn line(&self, line: &str) {
        self.log.make_writer().write_all(line.as_bytes()).unwrap();
    }

    /// From now on everything is read.
    fn read_all(&mut self) -> String {
        self.words = None;
        assert!(self.log.flush(SOON));
        String::from_utf8(self.taken.lock().unwrap().clone()).unwrap()
    }

    /// The thread has begun a write.
    fn is_writing(&self) {
        self.tried.recv_timeout(SOON).unwrap();
    }
}

#[test]
fn a_stalled_reader_costs_lines_and_is_told_how_many_when_it_reads_again() {
    let mut stage = Stage::new(&[]);
    stage.line("first\n");
    stage.is_writing();
    let line = format!("{}\n", "x".repeat(1023));
    let fits = QUEUE_BYTES / line.len();
    // Nobody waits, though nobody reads: this returns.
    (0..fits + 7).for_each(|_| stage.line(&line));
    assert!(!stage.log.flush(Duration::from_millis(1)), "the end of the process waits no longer than it may");
    assert!(stage.log.0.lock().lines.capacity() <= 2 * QUEUE_BYTES);

    let read = stage.read_all();
    let expected = format!("first\n{}lost 7\n", line.repeat(fits));
    assert!(read == expected, "{} bytes instead of {}", read.len(), expected.len());
    stage.line("later\n");
    assert!(stage.read_all().ends_with("lost 7\nlater\n"));
}

#[test]
fn what_cannot_be_written_is_counted_and_told_before_the_next_line() {
    let full = Word::Fail(ErrorKind::StorageFull);
    // The second line is torn. With the third comes the note, which cannot be written either.
    let mut stage = Stage::new(&[Word::Take, Word::TakeBytes(3), full, full]);
    for line in ["first\n", "second\n", "third\n"] {
        stage.line(line);
        assert!(stage.log.flush(SOON));
    }
    assert_eq!(stage.read_all(), "first\nsec");
    stage.line("fourth\n");
    assert_eq!(stage.read_all(), "first\nsec\nlost 2\nfourth\n");
}

#[test]
fn a_line_longer_than_the_queue_is_lost_alone() {
    let mut stage = Stage::new(&[]);
    stage.line(&format!("{}\n", "x".repeat(QUEUE_BYTES)));
    stage.line("next\n");
    let read = stage.read_all();
    // Whichever of the two the thread has seen first.
    assert!(["lost 1\nnext\n", "next\nlost 1\n"].contains(&&*read), "{read}");
}

#[test]
fn an_interrupted_or_full_standard_error_is_written_to_again() {
    let mut stage = Stage::new(&[
        Word::Fail(ErrorKind::Interrupted),
        Word::Fail(ErrorKind::WouldBlock),
        Word::TakeBytes(2),
        Word::Take,
    ]);
    stage.line("line\n");
    assert_eq!(stage.read_all(), "line\n");
}

#[test]
fn a_burst_leaves_no_memory_behind() {
    let mut stage = Stage::new(&[]);
    stage.line("first\n");
    stage.is_writing();
    (0..QUEUE_BYTES / 64).for_each(|_| stage.line(&format!("{}\n", "x".repeat(63))));
    stage.read_all();
    // Both buffers come by in turn.
    for _ in 0..2 {
        stage.line("later\n");
        stage.read_all();
        assert!(stage.log.0.lock().lines.capacity() <= KEPT_BYTES);
    }
}
