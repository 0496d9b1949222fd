//! Claim: a process that is paused is not dead, and it makes no difference. Whatever it was doing when it was stopped,
//! and whatever it held, another replica goes on with its work within the time of its lease; and when it wakes, it
//! writes nothing more of what it had begun.
//!
//! A pause is SIGSTOP, at the named moments of `shared/fault`: inside a stamp (the transaction is open, the lease's row
//! and the events' are locked), inside an apply (the same with the mark), right after the recovery worker's claim; and
//! anywhere, under traffic. What a takeover took is printed.

mod mongo;
mod on_mongodb;
mod on_postgresql;
mod pair;
mod postgres;
mod traffic;
