//! What each trial makes anew: secrets, and an admin.

use tokio::process::Command;
use uuid::Uuid;

use crate::local::ADMIN_EMAIL;

/// The address of an admin of this run's own: those of earlier runs keep their passwords.
pub(super) fn admin_email() -> String {
    format!("{}.{ADMIN_EMAIL}", Uuid::new_v4().simple())
}

/// Prints or writes new secrets for a target of `secrets.sh`. The stand-in for MongoDB is reached in another way.
pub(super) fn secrets(stand_ins: bool, target: &str) -> Command {
    let mut command = Command::from(testkit::tool("sh"));
    if stand_ins {
        command.env("MONGODB_SET", "directConnection=true");
    }
    command.args(["deploy/secrets.sh", target]);
    command
}
