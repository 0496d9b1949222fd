//! A shell that is set up for everything but this system. Its variables lead programs to other servers, through proxies,
//! into other folders.

/// A folder name that has to be quoted wherever it is written.
pub(super) const FOLDER: &str = "José's \"state\" folder";

/// Through which nothing gets anywhere.
const PROXY: &str = "http://127.0.0.1:9";

/// The variables.
pub(super) const VARIABLES: [(&str, &str); 36] = [
    ("PGHOST", "db.invalid"),
    ("PGHOSTADDR", "127.0.0.9"),
    ("PGPORT", "1"),
    ("PGUSER", "nobody"),
    ("PGPASSWORD", "wrong"),
    ("PGDATABASE", "nowhere"),
    ("PGSSLMODE", "require"),
    ("PGCHANNELBINDING", "require"),
    ("PGTARGETSESSIONATTRS", "standby"),
    ("PGOPTIONS", "-c search_path=nowhere -c statement_timeout=1"),
    ("PGCLIENTENCODING", "LATIN1"),
    ("PGDATESTYLE", "German, DMY"),
    ("REDISCLI_AUTH", "wrong"),
    ("MONGODB_URL", "mongodb://db.invalid/nowhere"),
    ("POSTGRES_URL", "postgres://db.invalid/nowhere"),
    ("REDIS_SESSION_URL", "redis://db.invalid/0"),
    ("ORDER_URL", "http://order.invalid:1"),
    ("SERVICE_TOKEN", "wrong"),
    ("LISTEN", "nowhere"),
    ("http_proxy", PROXY),
    ("https_proxy", PROXY),
    ("HTTP_PROXY", PROXY),
    ("HTTPS_PROXY", PROXY),
    ("ALL_PROXY", PROXY),
    ("all_proxy", PROXY),
    ("grpc_proxy", PROXY),
    ("CARGO_BUILD_TARGET", "wasm32-unknown-unknown"),
    ("RUSTFLAGS", "--no-such-flag"),
    ("LC_ALL", "tr_TR.nowhere"),
    ("LANG", "tr_TR.nowhere"),
    ("TMPDIR", "/nowhere/to/write"),
    ("GREP_OPTIONS", "--no-such-option"),
    ("POSIXLY_CORRECT", "1"),
    ("NODE_OPTIONS", "--no-such-option"),
    ("PYTHONHOME", "/nowhere"),
    ("LD_LIBRARY_PATH", "/nowhere"),
];
