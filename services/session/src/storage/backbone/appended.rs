//! Which streams may have events that the relay has not read yet, so that it does not read all sixteen for each event.

use std::sync::atomic::{AtomicU16, Ordering};

use tokio::sync::Notify;

use crate::domain::Partition;

/// Shared by all stores of the process.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    /// One bit for each partition.
    partitions: AtomicU16,
    changed: Notify,
}

impl Appended {
    /// There may be an event in a partition's stream. To be called after it was written, not before.
    pub(super) fn note(&self, partition: Partition) {
        self.partitions.fetch_or(1 << partition.number(), Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Waits until a partition is noted, and takes all that were noted since the last time. Dropping the future loses
    /// nothing.
    pub(super) async fn next(&self) -> Vec<Partition> {
        self.changed.notified().await;
        let partitions = self.partitions.swap(0, Ordering::SeqCst);
        Partition::all().filter(|partition| partitions & (1 << partition.number()) != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn each_partition_is_given_once_after_it_was_noted() {
        let appended = Appended::default();
        assert_eq!(appended.next().now_or_never(), None);
        let [first, last] = [0, 15].map(Partition::of_token);
        appended.note(last);
        appended.note(first);
        appended.note(last);
        assert_eq!(appended.next().await, [first, last]);
        assert_eq!(appended.next().now_or_never(), None);
        appended.note(last);
        assert_eq!(appended.next().await, [last]);
    }
}
