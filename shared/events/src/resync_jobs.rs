//! Resyncs as jobs that outlive the calls that began them: a rebuild may take minutes, a call has seconds. A repeat of
//! the request, on whatever core of the process, joins the job; on another replica it hears of the job's hold; once it
//! has ended, the store knows what it came to.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::admin::{AdminError, ConsumerAdmin};
use crate::store::Resynced;

/// What a job came to. An error is for all who wait for it.
pub(crate) type Outcome = Arc<Result<Resynced, AdminError>>;

/// The resyncs that run in this process: made once, and given to the servers of all cores.
#[derive(Clone, Default)]
pub struct Resyncs(Arc<Mutex<HashMap<&'static str, Job>>>);

#[derive(Clone)]
struct Job {
    request_id: Uuid,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What became of the wish to resync.
pub(crate) enum Joined {
    /// It runs: here is where its outcome will be.
    Runs(watch::Receiver<Option<Outcome>>),
    /// The consumer is being resynced for another request.
    Busy(Uuid),
}

impl fmt::Debug for Resyncs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resyncs").finish_non_exhaustive()
    }
}

impl Resyncs {
    /// Joins the job of this request, or begins it on `tasks` for `caller`; it is given up when `stop` is cancelled.
    pub(crate) fn join(
        &self,
        consumer: &Arc<dyn ConsumerAdmin>,
        request_id: Uuid,
        caller: String,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Joined {
        let name = consumer.id().name;
        let mut jobs = self.lock();
        if let Some(job) = jobs.get(name) {
            if job.request_id != request_id {
                return Joined::Busy(job.request_id);
            }
            return Joined::Runs(job.outcome.clone());
        }
        let (tell, outcome) = watch::channel(None);
        jobs.insert(name, Job { request_id, outcome: outcome.clone() });
        drop(jobs);
        let (entry, consumer, stop) =
            (Entry { jobs: self.clone(), name }, Arc::clone(consumer), stop.clone());
        tasks.spawn(async move {
            let ended = stop.run_until_cancelled(consumer.resync(request_id)).await;
            drop(entry);
            let Some(ended) = ended else { return };
            match &ended {
                Ok(Resynced { aggregates, position, .. }) => tracing::info!(
                    audit = true,
                    action = "event.resync",
                    caller,
                    %request_id,
                    consumer = name,
                    aggregates,
                    position,
                    "a consumer was put elsewhere"
                ),
                Err(AdminError::InProgress(_)) => {}
                Err(error) => {
                    let error = error as &dyn std::error::Error;
                    tracing::warn!(consumer = name, %request_id, error, "a resync did not end well");
                }
            }
            tell.send_replace(Some(Arc::new(ended)));
        });
        Joined::Runs(outcome)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job's place, free again however the job ends.
struct Entry {
    jobs: Resyncs,
    name: &'static str,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.jobs.lock().remove(self.name);
    }
}
