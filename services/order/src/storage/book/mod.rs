//! Merchants' accounts with what is set aside in them, the book of their entries, and what the auditor reads and keeps.

mod accounts;
mod audit;
mod audit_holds;
mod audit_state;
mod holds;
mod ledger;

pub(crate) use audit::Audited;
pub(crate) use audit_state::Turn;
pub(crate) use ledger::{TrialBalance, TrialBalanceLine};
