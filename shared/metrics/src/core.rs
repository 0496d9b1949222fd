//! Numbers that each core has of its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many cores the process has.
static CORES: AtomicUsize = AtomicUsize::new(1);

thread_local! {
    static CORE: Cell<usize> = const { Cell::new(0) };
}

/// Says how many cores the process has. Series that were made before stay right; cores share their numbers there.
pub fn cores(count: usize) {
    CORES.store(count.max(1), Ordering::Relaxed);
}

/// Says that this thread is the core with this number. Every other thread counts with the first core.
pub fn on_core(index: usize) {
    CORE.set(index);
}

/// One `T` for each core.
#[derive(Debug)]
pub(crate) struct PerCore<T>(Box<[Apart<T>]>);

/// On cache lines of its own: two on the processors that fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T: Default> PerCore<T> {
    pub(crate) fn new() -> Self {
        Self((0..CORES.load(Ordering::Relaxed)).map(|_| Apart::default()).collect())
    }
}

impl<T> PerCore<T> {
    /// The one of the core that this thread is.
    pub(crate) fn here(&self) -> &T {
        let index = CORE.get();
        let Apart(here) = self.0.get(index).unwrap_or_else(|| &self.0[index % self.0.len()]);
        here
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|Apart(one)| one)
    }
}
