//! How much of it.

/// What whoever starts a trial decides.
#[derive(Debug, Clone, Copy)]
pub(in crate::deploy::kubernetes) struct Plan {
    /// Calls a second of each client.
    pub(in crate::deploy::kubernetes) rate: u32,
    /// How often every service is restarted.
    pub(in crate::deploy::kubernetes) rounds: u32,
}
