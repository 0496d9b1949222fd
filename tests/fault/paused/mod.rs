//! Claim: a process that is paused does no harm. Whatever it was doing and whatever it held when it was stopped, another
//! replica goes on with its work within the time of its lease. When it wakes, it writes nothing more of what it had
//! begun.
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
