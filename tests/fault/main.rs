//! What happens when parts of the system are killed, paused or never there. Each test has a system of its own and
//! states its claim.

mod away;
mod coordinator_killed;
mod counted;
mod crash_sweep;
mod edges;
mod failover;
mod flushed;
mod paused;
mod peer_away;
mod promoted;
mod restored_orders;
mod restored_users;
mod teeth;
mod without_event_redis;
