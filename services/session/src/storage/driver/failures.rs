//! What Redis and its driver can say went wrong, and what each of it means. `driver.rs` looks up the error word, which is
//! the first one of Redis' answer; inside a script's error it is the word of the command that failed.
//!
//! What Redis refuses with a word of its own has not happened: it looks before it runs a command, and our scripts decide
//! before they write. A script that fails after it has begun to write says `ERR`, which is a defect of the script.
//!
//! Whatever is said while a connection is set up, nothing was sent, and the next try comes at most 250 ms later.

use types::{FailureRow, FailureTable, Verdict, row};

/// See the head of this file.
pub static FAILURES: FailureTable =
    FailureTable { heading: "error word", rows: ROWS, unlisted: Verdict::UNAVAILABLE };

const UNAVAILABLE: Verdict = Verdict::UNAVAILABLE;
/// The server cannot do it now, and has not done it.
const REFUSED: Verdict = Verdict::UNAVAILABLE.without_effect();
const STORAGE_UNAVAILABLE: Verdict = Verdict::STORAGE_UNAVAILABLE;
const INTERNAL: Verdict = Verdict::INTERNAL;

/// The driver's own errors, which have no word.
pub(super) const NOT_CONNECTED: &str = "driver: not connected";
pub(super) const IO: &str = "driver: Io";
pub(super) const AUTHENTICATION: &str = "driver: AuthenticationFailed";
pub(super) const PARSE: &str = "driver: Parse";
pub(super) const RESP3: &str = "driver: RESP3NotSupported";
pub(super) const OTHER: &str = "driver: any other";

/// What Redis says that will not run a command for us, or does not know it.
pub(crate) const NOPERM: &str = "NOPERM";
pub(crate) const ERR: &str = "ERR";

#[rustfmt::skip]
const ROWS: &[FailureRow] = &[
    row("ASK", "a cluster moves the key: this service wants one Redis, not a cluster's node", REFUSED),
    row("BUSY", "a script of somebody else runs for too long", REFUSED),
    row("BUSYKEY", "a key is there that this command was to make", INTERNAL),
    row("CLUSTERDOWN", "the cluster lacks a part", REFUSED),
    row("CROSSSLOT", "a script with keys of two hash tags: it is wrong", INTERNAL),
    row(ERR, "wrong arguments, an unknown command, or a script that failed: we built it wrongly", INTERNAL),
    row("EXECABORT", "a transaction was discarded because one of its commands was refused", REFUSED),
    row("INPROG", "a failover is going on", REFUSED),
    row("LOADING", "Redis reads its data after a start", REFUSED),
    row("MASTERDOWN", "a replica without its master", REFUSED.on_a_new_connection()),
    row("MISCONF", "Redis cannot write to its disk", STORAGE_UNAVAILABLE),
    row("MOVED", "a cluster has moved the key: this service wants one Redis, not a cluster's node", REFUSED),
    row("NOAUTH", "no login, or the user is gone", REFUSED.on_a_new_connection()),
    row("NOGOODSLAVE", "a failover found no replica", REFUSED),
    row(NOPERM, "the user lacks a privilege", REFUSED),
    row("NOREPLICAS", "too few replicas to acknowledge a write", STORAGE_UNAVAILABLE),
    row("NOSCRIPT", "the script is not loaded: we load it and run it again; said twice, somebody flushes scripts all the time", REFUSED),
    row("NOTBUSY", "no script runs that could be killed", REFUSED),
    row("OOM", "memory is full", STORAGE_UNAVAILABLE),
    row("READONLY", "a replica: the next connection may lead to its master", STORAGE_UNAVAILABLE.on_a_new_connection()),
    row("TRYAGAIN", "a cluster moves the keys", REFUSED),
    row("UNBLOCKED", "the server became a replica while it worked for us", UNAVAILABLE.on_a_new_connection()),
    row("UNKILLABLE", "a script of somebody else runs for too long, and has written", REFUSED),
    row("WRONGPASS", "the login is refused", REFUSED.on_a_new_connection()),
    row("WRONGTYPE", "a key holds another type than we write", INTERNAL),
    row(NOT_CONNECTED, "no connection could be made, for a reason that is not listed; nothing was sent", REFUSED.on_a_new_connection()),
    row(IO, "the connection broke, or no answer came in time", UNAVAILABLE.on_a_new_connection()),
    row(AUTHENTICATION, "the login is refused", REFUSED.on_a_new_connection()),
    row(PARSE, "the answer is none of Redis' protocol", UNAVAILABLE.on_a_new_connection()),
    row(RESP3, "the server is older than Redis 6", REFUSED.on_a_new_connection()),
    row(OTHER, "the answer has another type than we read, or the configuration is wrong", INTERNAL),
];
