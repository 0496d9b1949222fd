//! Why a consumer reads the producer's stream instead of the channel.

/// The cause of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It subscribed anew, and must hear of what was published before.
    Subscribed,
    /// The channel is silent, or its connection is lost.
    Silence,
    /// The channel left something out.
    Gap,
    /// The channel brought more than there is room for.
    Overflow,
    /// The producer was asked about its history, and it is the same.
    Resumed,
    /// Somebody else has moved the mark.
    Moved,
}

impl Why {
    pub(crate) const ALL: [Self; 6] =
        [Self::Subscribed, Self::Silence, Self::Gap, Self::Overflow, Self::Resumed, Self::Moved];

    /// In a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Subscribed => "subscribed",
            Self::Silence => "silence",
            Self::Gap => "gap",
            Self::Overflow => "overflow",
            Self::Resumed => "resumed",
            Self::Moved => "moved",
        }
    }
}
