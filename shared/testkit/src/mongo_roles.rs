//! The roles of MongoDB's users: the files that an operator pastes, `migrations/user/roles/`, read as commands.

use anyhow::{Context, Result};
use bson::Document;

/// The database that the files are written for. Its name is in the names of the roles and users too.
const DATABASE: &str = "user_service";
/// What asks for the password where a file is pasted.
const PASSWORD: &str = "passwordPrompt()";
/// What each statement of a file begins and ends with.
const STATEMENT: (&str, &str) = ("db.adminCommand(", "\n})");

/// What a user of user service's database may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MongoRole {
    /// Apply migrations.
    Migrate,
    /// Be the service.
    Runtime,
    /// Look.
    Reader,
}

impl MongoRole {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Migrate, Self::Runtime, Self::Reader];

    const fn file(self) -> &'static str {
        match self {
            Self::Migrate => include_str!("../../../migrations/user/roles/migrate.js"),
            Self::Runtime => include_str!("../../../migrations/user/roles/runtime.js"),
            Self::Reader => include_str!("../../../migrations/user/roles/reader.js"),
        }
    }

    /// The name of the role for this database, and of the user who has it.
    #[must_use]
    pub fn name(self, database: &str) -> String {
        let role = match self {
            Self::Migrate => "migrate",
            Self::Runtime => "runtime",
            Self::Reader => "reader",
        };
        format!("{database}_{role}")
    }

    /// The commands of its file, for a database of another name.
    pub(crate) fn commands(self, database: &str, password: &str) -> Result<Vec<Document>> {
        let quoted = serde_json::to_string(password)?;
        let text = self.file().replace(DATABASE, database).replace(PASSWORD, &quoted);
        let (begin, end) = STATEMENT;
        let command = |rest: &str| -> Result<Document> {
            let (body, _) = rest.split_once(end).context("a statement without an end")?;
            serde_json::from_str(&format!("{body}\n}}")).with_context(|| format!("the file of {self:?}"))
        };
        text.split(begin).skip(1).map(command).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_for_another_database_and_with_a_password_that_needs_quotes() {
        for role in MongoRole::ALL {
            let commands = role.commands("t_1", r#"a"b\c"#).unwrap();
            let [of_role, of_user] = commands.as_slice() else { panic!("{commands:?}") };
            let name = role.name("t_1");
            assert_eq!(of_role.get_str("createRole").unwrap(), name);
            assert_eq!(of_user.get_str("createUser").unwrap(), name);
            assert_eq!(of_user.get_str("pwd").unwrap(), r#"a"b\c"#);
            assert_eq!(of_user.get_array("roles").unwrap(), &[name.into()]);
            assert!(!format!("{commands:?}").contains(DATABASE), "{commands:?}");
            assert_eq!(of_role.keys().next().unwrap(), "createRole", "a command's name comes first");
        }
    }
}
