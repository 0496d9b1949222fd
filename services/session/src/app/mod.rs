//! What callers can do: the use cases, by noun.

pub(crate) mod sessions;

use events::Headers;
use tokio_util::task::TaskTracker;
use types::Call;

use self::sessions::Logins;
use crate::admission::Admission;
use crate::clients::user::Users;
use crate::storage::Store;

/// The use cases. Cheap to clone; belongs to the runtime that it was made in.
#[derive(Clone)]
pub(crate) struct App {
    store: Store,
    users: Users,
    admission: Admission,
    logins: Logins,
    /// Checks of passwords, which go on when their callers go away. They are waited for before the process ends.
    tasks: TaskTracker,
}

impl App {
    /// The use cases over this store and this user service. `tasks` is waited for before the process ends.
    pub(crate) fn new(store: Store, users: Users, admission: Admission, tasks: TaskTracker) -> Self {
        Self { store, users, admission, logins: Logins::new(), tasks }
    }
}

/// The headers of a call's events: its trace and its request id.
fn headers(call: Option<&Call>) -> Headers {
    let traceparent = runtime::telemetry::current_traceparent();
    Headers { traceparent, tracestate: None, request_id: call.map(|call| call.key.request_id) }
}
