//! What happens when parts of the system are killed, paused or never there. Each test has a system of its own and
//! states its claim.

mod coordinator_killed;
mod edges;
mod peer_away;
mod without_event_redis;
