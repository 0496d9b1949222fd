//! Resyncs are jobs that outlive the calls that began them: a rebuild may take minutes, a call has seconds. A repeat of
//! the request to this process joins the job; on another replica it finds the job's hold. Once the job has ended, its
//! answer is in the store.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::admin::{AdminError, ConsumerAdmin};
use crate::store::Resynced;

/// The outcome of a job, for everybody who waits for it.
pub(crate) type Outcome = Arc<Result<Resynced, AdminError>>;

/// The resyncs that run in this process. The servers of all cores share them.
#[derive(Clone, Default)]
pub struct Resyncs(Arc<Mutex<HashMap<&'static str, Job>>>);

#[derive(Clone)]
struct Job {
    request_id: Uuid,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// The answer to a request to resync.
pub(crate) enum Joined {
    /// The job runs, and its outcome will be here.
    Runs(watch::Receiver<Option<Outcome>>),
    /// The consumer is being resynced for the request with this id.
    Busy(Uuid),
}

impl fmt::Debug for Resyncs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resyncs").finish_non_exhaustive()
    }
}

impl Resyncs {
    /// Joins the job of this request, or begins it on `tasks` for `caller`. The job is given up when `stop` is
    /// cancelled.
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
                    "resynced a consumer"
                ),
                Err(AdminError::InProgress(_)) => {}
                Err(error) => {
                    let error = error as &dyn std::error::Error;
                    tracing::warn!(consumer = name, %request_id, error, "a resync failed");
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

/// A job's entry in the map, removed however the job ends.
struct Entry {
    jobs: Resyncs,
    name: &'static str,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.jobs.lock().remove(self.name);
    }
}
