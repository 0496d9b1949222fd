//! Searches for users: for what, and in which order they are found.

use types::UserId;

use super::profile::Location;
use super::user_view::UserView;

/// How many users a search finds at most, on all of its pages together.
pub(crate) const FOUND_MAX: u32 = 200;
/// The radius of the Earth in millimetres, as MongoDB has it.
const EARTH_MM: f64 = 6_378_100_000.0;
const MM_OF_KM: u64 = 1_000_000;

/// What somebody is looked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserSearch {
    /// Words, each once, perhaps none: then nobody is found.
    Words(Vec<String>),
    /// How the folded name begins.
    NamePrefix(String),
    Near(Near),
}

/// A place and how far around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Near {
    pub(crate) place: Location,
    pub(crate) radius_km: u32,
}

/// By what those who are found are ordered, the least first; then it is by their ids. One search has ranks of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The folded name.
    Name(String),
    /// How well the words fit, the best the least.
    Score(i64),
    /// Where the words are, if nothing tells how well they fit.
    Words { in_bio: bool },
    /// How far away.
    Distance { mm: u64 },
}

/// Somebody who was found. They are ordered as they are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) rank: Rank,
    pub(crate) id: UserId,
}

/// Somebody who was found, as they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundUser {
    pub(crate) user: UserView,
    pub(crate) distance_km: Option<u32>,
}

impl Rank {
    /// A distance, rounded up to kilometres.
    pub(crate) fn distance_km(&self) -> Option<u32> {
        match self {
            Self::Distance { mm } => u32::try_from(mm.div_ceil(MM_OF_KM)).ok(),
            Self::Name(_) | Self::Score(_) | Self::Words { .. } => None,
        }
    }
}

impl Location {
    /// How far it is to another place over the ground, to the millimetre, so that equal distances are equal.
    pub(crate) fn distance_mm(self, other: Self) -> u64 {
        let radians = |hundredths: i32| (f64::from(hundredths) / 100.0).to_radians();
        let ((longitude, latitude), (other_longitude, other_latitude)) =
            (self.hundredths(), other.hundredths());
        let half = |one: i32, other: i32| (radians(one - other) / 2.0).sin().powi(2);
        let across = radians(latitude).cos() * radians(other_latitude).cos();
        let chord = half(latitude, other_latitude) + across * half(longitude, other_longitude);
        let angle = 2.0 * chord.clamp(0.0, 1.0).sqrt().asin();
        (angle * EARTH_MM).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn place(longitude: i32, latitude: i32) -> Location {
        Location::from_hundredths(longitude, latitude)
    }

    #[test]
    fn distances_are_those_over_the_ground() {
        let quarter = (EARTH_MM * std::f64::consts::FRAC_PI_2).round() as u64;
        for (one, other, expected) in [
            ((0, 0), (0, 0), 0),
            ((0, 0), (9000, 0), quarter),
            ((1234, 9000), (-5678, 0), quarter),
            ((0, 0), (18_000, 0), 2 * quarter),
            ((0, 9000), (0, -9000), 2 * quarter),
            ((17_999, 0), (-17_999, 0), (EARTH_MM * 0.02_f64.to_radians()).round() as u64),
        ] {
            let (one, other) = (place(one.0, one.1), place(other.0, other.1));
            assert!(one.distance_mm(other).abs_diff(expected) <= 1, "{one:?} {other:?}");
            assert_eq!(one.distance_mm(other), other.distance_mm(one));
        }
    }

    #[test]
    fn a_distance_is_rounded_up_to_kilometres() {
        for (mm, km) in [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2), (100_000_000, 100)] {
            assert_eq!(Rank::Distance { mm }.distance_km(), Some(km));
        }
        assert_eq!(Rank::Score(3).distance_km(), None);
    }

    #[test]
    fn the_nearest_come_first_and_names_before_bios() {
        let found = |rank, id| Found { rank, id: UserId::from_uuid(Uuid::from_u128(id)) };
        let distance = |mm| Rank::Distance { mm };
        let near = [found(distance(1), 9), found(distance(2), 1), found(distance(2), 2)];
        assert!(near.is_sorted());
        let in_bio = |in_bio| Rank::Words { in_bio };
        assert!([found(in_bio(false), 9), found(in_bio(true), 1)].is_sorted());
        assert!([found(Rank::Score(-7), 9), found(Rank::Score(-2), 1)].is_sorted());
    }
}
