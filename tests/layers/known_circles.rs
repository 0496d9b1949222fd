//! The circles that are still there. A new one fails the test, and so does one of these that is gone or has lost a file:
//! the list shrinks and never grows.

/// The folder of a crate, and the files of it that need each other.
pub(crate) const KNOWN_CIRCLES: &[(&str, &[&str])] = &[
    ("services/order", &["audit/chains.rs", "audit/mod.rs", "audit/pass.rs"]),
    ("services/order", &["storage/mod.rs", "storage/pool.rs"]),
    ("services/order", &["transfers/decide.rs", "transfers/recovery.rs", "transfers/work.rs"]),
    ("services/order", &["transfers/start.rs", "transfers/waiters.rs"]),
    ("services/session", &["storage/consumer.rs", "storage/tx.rs"]),
    ("services/user", &["audit/chains.rs", "audit/mod.rs"]),
    ("services/user", &["domain/ledger.rs", "domain/wallet.rs"]),
    (
        "services/user",
        &[
            "storage/event_log.rs",
            "storage/holds.rs",
            "storage/lease.rs",
            "storage/mod.rs",
            "storage/outbox.rs",
            "storage/participant.rs",
            "storage/tx.rs",
            "storage/wallets.rs",
            "storage/writes.rs",
        ],
    ),
    ("shared/events", &["admin.rs", "resync.rs"]),
    ("shared/events", &["apply.rs", "consumer.rs", "consumer/stint.rs"]),
    ("shared/events", &["envelope.rs", "store.rs"]),
    ("shared/events", &["machine.rs", "machine/buffer.rs"]),
    ("shared/events", &["relay.rs", "sequencer.rs"]),
    ("shared/fault", &["lib.rs", "point.rs"]),
    ("shared/runtime", &["server/body.rs", "server/call.rs", "server/connection.rs"]),
    ("shared/runtime", &["telemetry.rs", "telemetry/json.rs", "telemetry/trace.rs"]),
    ("shared/testkit", &["client.rs", "proxy/edges.rs", "stack.rs"]),
    (
        "shared/testkit",
        &["proxy/dialogue.rs", "proxy/grpc.rs", "proxy/mongo.rs", "proxy/postgres.rs", "proxy/redis.rs"],
    ),
    ("tools/tristore", &["consumers.rs", "main.rs", "parked.rs", "transfer.rs"]),
    ("tools/xtask", &["bench/calls.rs", "bench/mod.rs", "bench/rows.rs", "bench/streams.rs"]),
    ("tools/xtask", &["doctor.rs", "tools/apt.rs", "tools/cached.rs", "tools/mod.rs"]),
];
