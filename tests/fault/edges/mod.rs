//! What happens when the connections between clients, services and databases fail: all of it through proxies on every
//! edge, whose faults must have bitten. They share one system; each test brings people of its own.

mod ground;
mod lost_by_mongo;
mod lost_by_peers;
mod lost_by_postgres;
mod lost_by_redis;
mod payments;
mod resets;
mod silences;
mod teeth;
mod traffic;
