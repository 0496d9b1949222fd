//! What calls about relations are answered with, as it is kept for their repeats.

use serde::{Deserialize, Serialize};

use super::follows::FollowRow;
use super::likes::LikeRow;
use crate::domain::relation::{Follow, Like, Unfollowed, Unliked};
use crate::error::Result;
use crate::storage::requests::Outcome;

/// There is nothing to say but that it is so.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NothingRow {}

impl Outcome for Follow {
    const KIND: &'static str = "follow";
    type Row = FollowRow;

    fn to_row(&self) -> FollowRow {
        self.into()
    }

    fn from_row(row: FollowRow) -> Result<Self> {
        Ok(row.into())
    }
}

impl Outcome for Like {
    const KIND: &'static str = "like";
    type Row = LikeRow;

    fn to_row(&self) -> LikeRow {
        self.into()
    }

    fn from_row(row: LikeRow) -> Result<Self> {
        Ok(row.into())
    }
}

impl Outcome for Unfollowed {
    const KIND: &'static str = "unfollowed";
    type Row = NothingRow;

    fn to_row(&self) -> NothingRow {
        NothingRow {}
    }

    fn from_row(NothingRow {}: NothingRow) -> Result<Self> {
        Ok(Self)
    }
}

impl Outcome for Unliked {
    const KIND: &'static str = "unliked";
    type Row = NothingRow;

    fn to_row(&self) -> NothingRow {
        NothingRow {}
    }

    fn from_row(NothingRow {}: NothingRow) -> Result<Self> {
        Ok(Self)
    }
}
