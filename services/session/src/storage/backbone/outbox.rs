//! How an event gets into its stream: the script that changes a session appends it.

use events::Headers;
use redis::{FromRedisValue, Script, ScriptInvocation};
use uuid::Uuid;

use crate::domain::Partition;
use crate::error::Result;
use crate::storage::{Store, keys};

impl Store {
    /// The invocation of a script that appends events, with the keys and arguments that all of these begin with.
    pub(crate) fn event_append_script<'a>(
        &self,
        script: &'a Script,
        partition: Partition,
        headers: &Headers,
    ) -> ScriptInvocation<'a> {
        let mut script = script.key(keys::stream(partition));
        script
            .key(keys::events(partition))
            .arg(Uuid::new_v4().to_string())
            .arg(self.options.lifetimes.stream_length)
            .arg(headers.traceparent.as_deref().unwrap_or_default())
            .arg(headers.request_id.map(|id| id.to_string()).unwrap_or_default());
        script
    }

    /// Runs a script that may append events, and wakes the relay.
    pub(crate) async fn event_append<T: FromRedisValue>(
        &self,
        operation: &'static str,
        partition: Partition,
        script: &ScriptInvocation<'_>,
    ) -> Result<T> {
        fault::point!("business.committing", operation);
        let answer = self.redis.script(script).await;
        fault::point!("business.committed", operation);
        // Also after a failure: the script may have run, and only its answer got lost.
        self.options.appended.note(partition);
        answer
    }
}
