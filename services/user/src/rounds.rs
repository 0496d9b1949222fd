//! Work that is done again and again.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Result;

/// Does rounds, with pauses of about `every`, until one says that it was the last or `stop` is cancelled. The pauses differ, so
/// that replicas which were started together do not stay together. A round that fails is logged as `failed` and is no end.
pub(crate) async fn repeat<F>(
    every: Duration,
    failed: &'static str,
    stop: CancellationToken,
    round: impl Fn() -> F,
) where
    F: Future<Output = Result<ControlFlow<()>>>,
{
    loop {
        match stop.run_until_cancelled(round()).await {
            None | Some(Ok(ControlFlow::Break(()))) => return,
            Some(Ok(ControlFlow::Continue(()))) => {}
            Some(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "{failed}"),
        }
        let pause = every.mul_f64(0.75 + 0.5 * fastrand::f64());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;

    #[tokio::test(start_paused = true)]
    async fn a_failed_round_is_followed_by_others_until_the_last() {
        let rounds = AtomicUsize::new(0);
        let round = || async {
            match rounds.fetch_add(1, Ordering::Relaxed) {
                0 => Err(Error::unavailable("away")),
                1 => Ok(ControlFlow::Continue(())),
                _ => Ok(ControlFlow::Break(())),
            }
        };
        repeat(Duration::from_secs(10), "cannot", CancellationToken::new(), round).await;
        assert_eq!(rounds.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_is_under_way_ends_when_it_is_to_stop() {
        let stop = CancellationToken::new();
        let rounds = repeat(Duration::from_secs(10), "cannot", stop.clone(), || async {
            std::future::pending::<Result<ControlFlow<()>>>().await
        });
        let cancel = async { stop.cancel() };
        tokio::join!(rounds, cancel);
    }
}
