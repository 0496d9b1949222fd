//! The phases of the machine, and how far the driver is with what a phase wants from it.

/// What the consumer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits until the channel acknowledges the subscription.
    Waiting,
    /// The channel is heard, and what it says continues what was received.
    Live,
    /// It reads the producer's stream: to its end, or without an end while the channel is silent.
    Replaying { follow: bool, attempt: Attempt },
    /// It asks the producer about its history; nothing is applied meanwhile.
    Resuming(Attempt),
    /// It stopped for good, with the reason.
    Halted(&'static str, Attempt),
}

/// One try of what a phase wants from the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It is handed out as soon as that is possible.
    Due,
    /// The driver is at it.
    Running {
        /// Ticks since the last answer.
        idle: u64,
        /// Whether it has brought an event.
        is_fruitful: bool,
    },
    /// It failed, and is due again at this tick.
    Paused { until: u64 },
    /// It came to its end by itself.
    Ended,
}

impl Phase {
    /// In a word.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Live => "live",
            Self::Replaying { .. } => "replaying",
            Self::Resuming(_) => "resuming",
            Self::Halted(..) => "halted",
        }
    }

    pub(super) fn attempt(&self) -> Option<Attempt> {
        match *self {
            Self::Waiting | Self::Live => None,
            Self::Replaying { attempt, .. } | Self::Resuming(attempt) | Self::Halted(_, attempt) => {
                Some(attempt)
            }
        }
    }

    /// Nothing for a phase that wants nothing from the driver.
    pub(super) fn set_attempt(&mut self, to: Attempt) {
        match self {
            Self::Waiting | Self::Live => {}
            Self::Replaying { attempt, .. } | Self::Resuming(attempt) | Self::Halted(_, attempt) => {
                *attempt = to
            }
        }
    }

    /// Whether the driver reads the producer's stream for this phase.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self, Self::Replaying { attempt: Attempt::Running { .. }, .. })
    }
}
