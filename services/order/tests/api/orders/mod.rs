//! Orders: each changing call, several at once, and what they add up to.

mod cancel;
mod concurrency;
mod holdings;
mod place;
mod statistics;
mod transfer;
