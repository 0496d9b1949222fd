//! What the auditor reads of the book, and what it keeps.

mod audit;
mod audit_holds;
mod audit_state;

pub(crate) use audit::Audited;
pub(crate) use audit_state::Turn;
