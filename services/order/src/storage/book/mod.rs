//! Merchants' accounts with what is set aside in them, the book of their entries, and what the auditor reads and keeps.

pub(super) mod accounts;
pub(super) mod audit;
pub(super) mod audit_holds;
pub(super) mod audit_state;
pub(super) mod holds;
pub(super) mod ledger;

pub(crate) use audit::Audited;
pub(crate) use audit_state::Turn;
pub(crate) use ledger::{TrialBalance, TrialBalanceLine};
