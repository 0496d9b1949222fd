//! What PostgreSQL and its driver can say went wrong, and what each of it means. `driver.rs` looks up the SQLSTATE, then
//! its class (the first two characters). A session that the server ends (severity FATAL or PANIC) is replaced, with the
//! idle ones, whatever its row says.
//!
//! `INTERNAL` is for what no operator, failover or lack of memory can bring about, because it parks events: the list of it
//! is closed, and a test has it once more. Whatever is unknown is `UNAVAILABLE`.
//!
//! What PostgreSQL reports as an error has not happened: the statement, and the transaction around it, are rolled back.
//! Nobody knows only where the server itself is in trouble or gone, because its answer to a COMMIT may be what is lost.

use types::{FailureRow, FailureTable, Verdict, row};

/// See the head of this file.
pub static FAILURES: FailureTable = FailureTable { heading: "SQLSTATE", rows: ROWS, unlisted: UNAVAILABLE };

const CONTENTION: Verdict = Verdict::CONTENTION;
const UNAVAILABLE: Verdict = Verdict::UNAVAILABLE;
/// The server cannot do it now, and has not done it.
const REFUSED: Verdict = Verdict::UNAVAILABLE.without_effect();
const STORAGE_UNAVAILABLE: Verdict = Verdict::STORAGE_UNAVAILABLE;
const INTERNAL: Verdict = Verdict::INTERNAL;

/// The driver's own errors, which have no SQLSTATE.
pub(super) const IO: &str = "driver: Io";
pub(super) const TLS: &str = "driver: Tls";
pub(super) const PROTOCOL: &str = "driver: Protocol";
pub(super) const WORKER_CRASHED: &str = "driver: WorkerCrashed";
pub(super) const ANSWER: &str = "driver: Decode";
pub(super) const OTHER: &str = "driver: any other";

#[rustfmt::skip]
const ROWS: &[FailureRow] = &[
    row("08", "the connection failed", UNAVAILABLE.on_new_connections()),
    row("0A", "a feature is not supported; here always: a migration changed a table under a prepared statement", REFUSED.on_new_connections().again()),
    row("21", "a subquery gave several rows: the statement is wrong", INTERNAL),
    row("22", "a value does not suit the statement: we checked it badly", INTERNAL),
    row("23", "a constraint that this statement was not expected to violate: those that are expected are told by name before", INTERNAL),
    row("24", "invalid cursor state: the statements are in the wrong order", INTERNAL),
    row("25", "invalid transaction state: the statements are in the wrong order", INTERNAL),
    row("25006", "read-only: a standby, or an operator's setting, which a session keeps once it has it", STORAGE_UNAVAILABLE.on_a_new_connection()),
    row("25P03", "the session was idle in a transaction for too long, and was ended", REFUSED),
    row("25P04", "the transaction took too long, and its session was ended", REFUSED),
    row("26", "a prepared statement is not known: a pooler led to another session", REFUSED.on_new_connections().again()),
    row("27", "a trigger changed what it was about: the statement is wrong", INTERNAL),
    row("28", "the login is refused: a wrong password, a role that may not log in, `pg_hba.conf`", REFUSED),
    row("3D", "the database does not exist", REFUSED),
    row("3F", "the schema does not exist: a migration is missing", REFUSED),
    row("40", "the transaction was rolled back by the server", CONTENTION),
    row("40001", "serialization failure", CONTENTION),
    row("40002", "a deferred constraint that nobody expected", INTERNAL),
    row("40003", "whether the statement completed is unknown", UNAVAILABLE),
    row("40P01", "deadlock", CONTENTION),
    row("42", "wrong syntax, types or names: the statement is wrong", INTERNAL),
    row("42501", "the role lacks a privilege", REFUSED),
    row("42703", "a column does not exist: a migration is missing", REFUSED),
    row("42704", "a type or another object does not exist: a migration is missing", REFUSED),
    row("42883", "a function does not exist: a migration is missing", REFUSED),
    row("42P01", "a table does not exist: a migration is missing", REFUSED),
    row("42P05", "a prepared statement exists already: a pooler led to another session", REFUSED.on_new_connections().again()),
    row("53", "out of resources", REFUSED),
    row("53100", "the disk is full", STORAGE_UNAVAILABLE),
    row("53200", "out of memory", REFUSED),
    row("53300", "too many connections", REFUSED),
    row("53400", "a configured limit, such as `temp_file_limit`", REFUSED),
    row("54", "a limit of the server, such as `max_stack_depth`: an operator can raise it", REFUSED),
    row("55", "an object is not in a state for it; at a connection: the server is a standby", REFUSED),
    row("55P03", "a lock was not free in time", CONTENTION),
    row("57", "an operator intervened", UNAVAILABLE),
    row("57014", "the statement was cancelled: it took too long, or an operator did it", REFUSED),
    row("57P01", "the session was ended: the server shuts down, or an operator did it; a commit may have been done", UNAVAILABLE.on_new_connections()),
    row("57P02", "the server crashed and recovers", UNAVAILABLE.on_new_connections()),
    row("57P03", "the server starts, stops or recovers, and takes no connection", REFUSED),
    row("57P04", "the database was dropped", UNAVAILABLE.on_new_connections()),
    row("57P05", "the session was idle for too long, and was ended", REFUSED.on_new_connections()),
    row("58", "the server's system failed, such as its disk", STORAGE_UNAVAILABLE.in_doubt()),
    row("P0", "raised by a function of our migrations", INTERNAL),
    row("XX", "a defect of the server, or corrupted data", UNAVAILABLE.on_a_new_connection()),
    row(IO, "the connection broke, or no answer came in time", UNAVAILABLE.on_new_connections()),
    row(TLS, "no connection could be made over TLS", REFUSED.on_new_connections()),
    row(PROTOCOL, "the answer is none of PostgreSQL's protocol", UNAVAILABLE.on_new_connections()),
    row(WORKER_CRASHED, "the connection's task has ended", UNAVAILABLE.on_new_connections()),
    row(ANSWER, "the answer, or a value, is not what the statement was written for", INTERNAL.on_new_connections()),
    row(OTHER, "not known here", UNAVAILABLE.on_new_connections()),
];
