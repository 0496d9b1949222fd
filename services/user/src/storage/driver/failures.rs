//! What MongoDB and its driver can say went wrong, and what each of it means. `driver.rs` looks up the code, then the
//! kind of the driver's error, then the labels. The driver itself replaces connections that failed, and tries a retryable
//! read or write once more.
//!
//! `INTERNAL` is for what no operator, election or lack of memory can bring about, because it parks events: the list of it
//! is closed, and a test has it once more. Whatever is unknown is `UNAVAILABLE`.
//!
//! Whether it took effect is told of a single statement. Inside a transaction nothing has, whatever a statement says: it
//! is rolled back, and only the commit may have been done without an answer.

use mongodb::error::{
    NO_WRITES_PERFORMED, RETRYABLE_ERROR, RETRYABLE_WRITE_ERROR, SYSTEM_OVERLOADED_ERROR,
    TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
};
use types::{FailureRow, FailureTable, Verdict, row};

/// See the head of this file.
pub static FAILURES: FailureTable =
    FailureTable { heading: "code, kind or label", rows: ROWS, unlisted: Verdict::UNAVAILABLE };

const CONTENTION: Verdict = Verdict::CONTENTION;
/// The server goes away, and another try may meet the next one.
const AWAY: Verdict = Verdict::UNAVAILABLE.again();
const UNAVAILABLE: Verdict = Verdict::UNAVAILABLE;
/// The server cannot do it now, and has not done it.
const REFUSED: Verdict = Verdict::UNAVAILABLE.without_effect();
const STORAGE_UNAVAILABLE: Verdict = Verdict::STORAGE_UNAVAILABLE;
const INTERNAL: Verdict = Verdict::INTERNAL;

/// The labels, from the one that says the most.
pub(super) const LABELS: [&str; 6] = [
    TRANSIENT_TRANSACTION_ERROR,
    NO_WRITES_PERFORMED,
    UNKNOWN_TRANSACTION_COMMIT_RESULT,
    RETRYABLE_WRITE_ERROR,
    SYSTEM_OVERLOADED_ERROR,
    RETRYABLE_ERROR,
];

/// The driver's own errors, which have no code.
pub(super) const IO: &str = "driver: Io";
pub(super) const SERVER_SELECTION: &str = "driver: ServerSelection";
pub(super) const POOL_CLEARED: &str = "driver: ConnectionPoolCleared";
pub(super) const DNS_RESOLVE: &str = "driver: DnsResolve";
pub(super) const AUTHENTICATION: &str = "driver: Authentication";
pub(super) const TLS_CONFIG: &str = "driver: InvalidTlsConfig";
pub(super) const INVALID_RESPONSE: &str = "driver: InvalidResponse";
pub(super) const INCOMPATIBLE: &str = "driver: IncompatibleServer";
pub(super) const SHUTDOWN: &str = "driver: Shutdown";
pub(super) const ARGUMENT: &str = "driver: InvalidArgument";
pub(super) const DOCUMENT: &str = "driver: Bson";
pub(super) const OTHER: &str = "driver: any other";

/// [`NO_SUCH_TRANSACTION`] in answer to a commit.
pub(super) const COMMIT_WITHOUT_TRANSACTION: &str = "251 of a commit";
pub(super) const NO_SUCH_TRANSACTION: i32 = 251;

#[rustfmt::skip]
const ROWS: &[FailureRow] = &[
    row("1", "InternalError: a defect of the server", UNAVAILABLE),
    row("2", "BadValue: the statement is wrong", INTERNAL),
    row("6", "HostUnreachable", AWAY),
    row("7", "HostNotFound", AWAY),
    row("8", "UnknownError: a defect of the server", UNAVAILABLE),
    row("9", "FailedToParse: the statement is wrong", INTERNAL),
    row("11", "UserNotFound: the login is refused", REFUSED),
    row("13", "Unauthorized: the user lacks a privilege", REFUSED),
    row("14", "TypeMismatch: the statement is wrong", INTERNAL),
    row("18", "AuthenticationFailed: the login is refused", REFUSED),
    row("24", "LockTimeout", CONTENTION),
    row("26", "NamespaceNotFound: a migration is missing", REFUSED),
    row("27", "IndexNotFound: a migration is missing", REFUSED),
    row("39", "FileStreamFailed: the server's disk", STORAGE_UNAVAILABLE.in_doubt()),
    row("40", "ConflictingUpdateOperators: the statement is wrong", INTERNAL),
    row("43", "CursorNotFound: the server has closed it meanwhile", REFUSED),
    row("46", "LockBusy", CONTENTION),
    row("50", "MaxTimeMSExpired", AWAY),
    row("59", "CommandNotFound: the server is too old, or no MongoDB", REFUSED),
    row("64", "WriteConcernTimeout: written, and not acknowledged by a majority in time", UNAVAILABLE),
    row("66", "ImmutableField: the statement is wrong", INTERNAL),
    row("67", "CannotCreateIndex: a migration is wrong, or wants an index that this server lacks", INTERNAL),
    row("72", "InvalidOptions: the server does not take an option, such as after a downgrade", REFUSED),
    row("79", "UnknownReplWriteConcern: written, and nobody can acknowledge it", UNAVAILABLE),
    row("89", "NetworkTimeout", AWAY),
    row("91", "ShutdownInProgress", AWAY),
    row("100", "UnsatisfiableWriteConcern: written, and too few members to acknowledge it", UNAVAILABLE),
    row("112", "WriteConflict", CONTENTION),
    row("121", "DocumentValidationFailure: we checked the document badly", INTERNAL),
    row("133", "FailedToSatisfyReadPreference: there is no primary", AWAY.without_effect()),
    row("134", "ReadConcernMajorityNotAvailableYet", AWAY),
    row("146", "ExceededMemoryLimit", REFUSED),
    row("175", "QueryPlanKilled: an index or the collection was changed meanwhile", REFUSED),
    row("189", "PrimarySteppedDown", AWAY),
    row("202", "NetworkInterfaceExceededTimeLimit", AWAY),
    row("225", "TransactionTooOld: the session is used for a newer one", CONTENTION),
    row("237", "CursorKilled: an operator did it", REFUSED),
    row("239", "SnapshotTooOld", CONTENTION),
    row("246", "SnapshotUnavailable", CONTENTION),
    row("251", "NoSuchTransaction: it was ended by the server or an operator", CONTENTION),
    row(COMMIT_WITHOUT_TRANSACTION, "NoSuchTransaction without TransientTransactionError: an earlier try may have committed it", UNAVAILABLE),
    row("256", "TransactionCommitted: an earlier try has committed it", UNAVAILABLE),
    row("257", "TransactionTooLarge: we put too much into one", INTERNAL),
    row("261", "TooManyLogicalSessions", REFUSED),
    row("262", "ExceededTimeLimit", AWAY),
    row("263", "OperationNotSupportedInTransaction: the server does not take the statement there, such as after a downgrade", REFUSED),
    row("264", "TooManyFilesOpen", REFUSED),
    row("279", "ClientDisconnect: the connection was lost meanwhile", AWAY),
    row("290", "TransactionExceededLifetimeLimitSeconds", AWAY),
    row("292", "QueryExceededMemoryLimitNoDiskUseAllowed", REFUSED),
    row("365", "TemporarilyUnavailable: the server's cache is full", REFUSED.again()),
    row("371", "UserWritesBlocked: an operator has made it read-only", STORAGE_UNAVAILABLE),
    row("388", "TransactionTooLargeForCache: the server's cache is full", REFUSED),
    row("391", "ReauthenticationRequired: the login has expired", REFUSED),
    row("402", "ResourceExhausted", REFUSED),
    row("433", "AdmissionQueueOverflow: the server is overloaded", REFUSED),
    row("449", "RateLimitExceeded: the server is overloaded", REFUSED),
    row("9001", "SocketException", AWAY),
    row("10058", "LegacyNotPrimary", AWAY),
    row("10107", "NotWritablePrimary", AWAY),
    row("10334", "BSONObjectTooLarge: we let a document grow too large", INTERNAL),
    row("11000", "DuplicateKey, which this statement was not expected to meet: those that are expected are told before", INTERNAL),
    row("11600", "InterruptedAtShutdown", AWAY),
    row("11601", "Interrupted: an operator did it", UNAVAILABLE),
    row("11602", "InterruptedDueToReplStateChange", AWAY),
    row("13435", "NotPrimaryNoSecondaryOk", AWAY),
    row("13436", "NotPrimaryOrSecondary", AWAY),
    row("14031", "OutOfDiskSpace", STORAGE_UNAVAILABLE),
    row("17280", "KeyTooLong: we checked a value badly", INTERNAL),
    row("17419", "an update lets a document grow too large", INTERNAL),
    row("17420", "an upsert lets a document grow too large", INTERNAL),
    row(IO, "the connection broke, or no answer came in time", AWAY.on_new_connections()),
    row(SERVER_SELECTION, "no primary answers; nothing was sent", AWAY.without_effect()),
    row(POOL_CLEARED, "the server was lost while a connection was waited for; nothing was sent", AWAY.without_effect()),
    row(DNS_RESOLVE, "the server's name is not known", REFUSED),
    row(AUTHENTICATION, "the login is refused; nothing was sent", REFUSED.on_new_connections()),
    row(TLS_CONFIG, "the certificates cannot be used", REFUSED),
    row(INVALID_RESPONSE, "the answer is none of MongoDB's protocol", UNAVAILABLE),
    row(INCOMPATIBLE, "the server is too old, or no MongoDB", REFUSED),
    row(SHUTDOWN, "the client is closed: the service is shutting down", REFUSED),
    row(ARGUMENT, "the statement is wrong", INTERNAL),
    row(DOCUMENT, "a document is not what the code was written for", INTERNAL),
    row(OTHER, "not known here", UNAVAILABLE),
    row(TRANSIENT_TRANSACTION_ERROR, "the transaction can be tried again as a whole", CONTENTION),
    row(NO_WRITES_PERFORMED, "nothing was written", REFUSED),
    row(UNKNOWN_TRANSACTION_COMMIT_RESULT, "whether the commit was done is unknown; we ask again before we say so", UNAVAILABLE),
    row(RETRYABLE_WRITE_ERROR, "the driver has tried it again in vain", AWAY),
    row(SYSTEM_OVERLOADED_ERROR, "the server is overloaded", UNAVAILABLE),
    row(RETRYABLE_ERROR, "it may work in a moment", AWAY),
];
