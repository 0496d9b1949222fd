//! What lists of posts show of their authors.

use bson::doc;
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use types::UserId;

use crate::domain::post::PostAuthor;
use crate::error::Result;
use crate::storage::{SERVER_TIME, Store, bounded};

const USERS: &str = "user";

#[derive(Debug, Deserialize)]
struct AuthorRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    display_name: String,
    profile: Option<ProfileRow>,
}

/// What an author tells of themselves.
#[derive(Debug, Default, Deserialize)]
struct ProfileRow {
    avatar_url: Option<String>,
    bio: Option<String>,
}

impl From<AuthorRow> for PostAuthor {
    fn from(row: AuthorRow) -> Self {
        let profile = row.profile.unwrap_or_default();
        Self {
            user_id: UserId::from_uuid(row.id.into()),
            display_name: row.display_name,
            avatar_url: profile.avatar_url,
            bio: profile.bio,
        }
    }
}

impl Store {
    /// These users as authors, in any order.
    pub(crate) async fn post_author_list(&self, ids: &[UserId]) -> Result<Vec<PostAuthor>> {
        let ids: Vec<bson::Uuid> = ids.iter().map(|id| id.uuid().into()).collect();
        let users = self.collection::<AuthorRow>(USERS);
        let find = users
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "display_name": 1, "profile.avatar_url": 1, "profile.bio": 1 })
            .max_time(SERVER_TIME);
        let rows: Vec<AuthorRow> = bounded(bounded(find).await?.try_collect()).await?;
        Ok(rows.into_iter().map(PostAuthor::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_author_may_have_told_nothing() {
        let id = Uuid::from_u128(1);
        let author = |row: bson::Document| {
            PostAuthor::from(bson::deserialize_from_document::<AuthorRow>(row).unwrap())
        };
        let silent = PostAuthor {
            user_id: UserId::from_uuid(id),
            display_name: "Ann".to_owned(),
            avatar_url: None,
            bio: None,
        };
        let row = doc! { "_id": bson::Uuid::from(id), "display_name": "Ann" };
        assert_eq!(author(row.clone()), silent);
        let mut told = row;
        told.insert("profile", doc! { "bio": "Tea.", "given_name": "Ann" });
        assert_eq!(author(told.clone()), PostAuthor { bio: Some("Tea.".to_owned()), ..silent.clone() });
        told.insert("profile", doc! { "avatar_url": "https://ann.example/me.png" });
        let avatar_url = Some("https://ann.example/me.png".to_owned());
        assert_eq!(author(told), PostAuthor { avatar_url, ..silent });
    }
}
