//! Asking the producer about its history.

use super::claim::Claim;
use crate::history::History;
use crate::source::{Source, SourceError};
use crate::store::{ConsumerStore, Mark};

/// What is known of the history of a mark.
pub(super) enum Answer {
    /// It is the producer's; the mark has the producer's epoch now.
    Same(Mark),
    /// The producer has another history.
    Rewound,
    /// The producer's stream ends below the mark.
    Behind,
    /// The producer no longer has the event at the mark.
    Pruned,
    /// The mark was moved meanwhile, or the consumer halted.
    Moved,
    /// The producer or the database failed.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// Asks the producer whether a mark is still in its history, and gives the mark the producer's epoch if it is.
pub(super) async fn ask<S: ConsumerStore, P: Source>(claim: Claim<S>, source: P, mark: Mark) -> Answer {
    let consumer = claim.consumer;
    let answer = if mark.position == 0 {
        // There is no history to compare, so any will do.
        source.head(consumer.stream).await.map(History::Same)
    } else {
        source.resume(consumer.stream, &mark).await
    };
    let head = match answer {
        Ok(History::Same(head)) => head,
        Ok(History::Rewound(head)) if head.position < mark.position => return Answer::Behind,
        Ok(History::Rewound(_)) => return Answer::Rewound,
        Err(SourceError::Pruned) => return Answer::Pruned,
        Err(error) => return Answer::Failed(error.into()),
    };
    if head.epoch == mark.epoch {
        return Answer::Same(mark);
    }
    let adopted = Mark { epoch: head.epoch, ..mark };
    match claim.store.mark_adopt(consumer, &mark, &adopted).await {
        Ok(true) => {
            tracing::info!(consumer = consumer.name, epoch = %head.epoch, "adopted the stream's epoch");
            Answer::Same(adopted)
        }
        Ok(false) => Answer::Moved,
        Err(error) => Answer::Failed(error.into()),
    }
}
