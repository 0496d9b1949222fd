//! The memory of password hashes. It is kept for the next one while passwords come, and given back when none has come
//! for a while.
//!
//! Given back after each hash, it would stay with whichever thread had it: the system's allocator keeps such a piece
//! for each of them, which becomes hundreds of megabytes. And what is given back to it at last has to leave it, too:
//! glibc maps a piece of more than 32 MiB by itself and unmaps it when it is freed, whatever it has learned from
//! others; of a smaller one it may keep every page. So a piece has room for more than that. The room that no hash
//! touches is an address and no memory.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::Block;
use tokio::time::{Instant, sleep, sleep_until};

/// How long no password came when the memory is given back.
const IDLE: Duration = Duration::from_secs(10);
/// More than the 32 MiB of glibc.
const ROOM: usize = 33 * 1024 * 1024 / Block::SIZE;

/// Pieces of memory that are not in use: never more than hashes were computed at once.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Pieces>);

#[derive(Debug, Default)]
struct Pieces {
    free: Vec<Vec<Block>>,
    /// When the last one came back.
    used: Option<Instant>,
}

impl Memory {
    /// Does `work` with so many blocks.
    pub(super) fn lend<T>(&self, blocks: usize, work: impl FnOnce(&mut [Block]) -> T) -> T {
        let mut piece = self.pieces().free.pop().unwrap_or_default();
        piece.reserve_exact(ROOM.max(blocks).saturating_sub(piece.len()));
        piece.resize(blocks, Block::new());
        let result = work(&mut piece);
        let mut pieces = self.pieces();
        pieces.free.push(piece);
        pieces.used = Some(Instant::now());
        result
    }

    /// Gives everything back whenever nothing was lent for a while; has no end.
    pub(super) async fn give_back_when_idle(&self) {
        loop {
            sleep(IDLE).await;
            while let Some(until) = self.busy_until() {
                sleep_until(until).await;
            }
            self.pieces().free = Vec::new();
        }
    }

    /// Until when it may be needed, as far as is known now.
    fn busy_until(&self) -> Option<Instant> {
        let used = self.pieces().used?;
        Some(used + IDLE).filter(|until| *until > Instant::now())
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lengths of the pieces that are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<usize> {
        self.pieces().free.iter().map(Vec::len).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// What this process has in memory, in bytes.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_given_back_when_nothing_was_lent_for_a_while() {
        let memory = Memory::default();
        let lent = async || {
            for _ in 0..2 {
                for _ in 0..5 {
                    memory.lend(8, |_| ());
                    sleep(IDLE - Duration::from_millis(100)).await;
                    assert_eq!(memory.kept(), [8], "while passwords come, it is kept");
                }
                sleep(IDLE + Duration::from_millis(100)).await;
                assert_eq!(memory.kept(), [0; 0]);
            }
        };
        tokio::select! {
            () = memory.give_back_when_idle() => unreachable!("it has no end"),
            () = lent() => {}
        }
    }

    /// Pieces of the size of a real hash's, of as many threads as there may be: what glibc would keep. Other tests of
    /// this process use memory as well; this is much more than theirs.
    #[tokio::test(start_paused = true)]
    async fn memory_that_is_given_back_leaves_the_process() {
        const PIECES: usize = 12;
        let memory = Arc::new(Memory::default());
        let all = Arc::new(Barrier::new(PIECES));
        for _ in 0..3 {
            let threads = (0..PIECES).map(|_| {
                let (memory, all) = (Arc::clone(&memory), Arc::clone(&all));
                std::thread::spawn(move || memory.lend(19 * MIB / Block::SIZE, |_| all.wait()))
            });
            let threads: Vec<_> = threads.collect();
            for thread in threads {
                thread.join().unwrap();
            }
        }
        assert_eq!(memory.kept().len(), PIECES);
        let full = resident();
        tokio::select! {
            () = memory.give_back_when_idle() => unreachable!("it has no end"),
            () = sleep(3 * IDLE) => {}
        }
        let left = resident();
        assert!(left + 150 * MIB < full, "of {} MiB {} MiB are left", full / MIB, left / MIB);
    }
}
