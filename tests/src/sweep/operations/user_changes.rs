//! What a user says of themselves, another address, another password, and coming back.

use std::sync::Arc;

use anyhow::Result;
use api::update_mask::FieldMask;
use api::user::v1::user::State;
use api::user::v1::{
    ChangeEmailRequest, ChangePasswordRequest, ReactivateUserRequest, ResetPasswordRequest,
    UpdateUserRequest, User as WireUser,
};
use testkit::ServiceName::User;
use testkit::client::{PASSWORD, Person, request_id};
use tonic::{Code, Status};
use uuid::Uuid;

use super::sessions::stream_of;
use super::{Kind, prepared};
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, OF_WHOM, Way};

const NEW_PASSWORD: &str = "a morning on the river";

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "UpdateUser",
        commits: &[Commit::Transaction(User, "update_user")],
        way: Way::of(&["user"], &[]),
        moments: &[],
        prepare: |stage| prepared(Update::new(stage)),
    },
    Kind {
        name: "Reactivate",
        commits: &[Commit::Transaction(User, "reactivate_user")],
        way: Way::of(&["user"], &["order.customers"]),
        moments: &[],
        prepare: |stage| prepared(Reactivate::new(stage)),
    },
    Kind {
        name: "ChangeEmail",
        commits: &[Commit::Transaction(User, "change_email")],
        way: Way::of(&["user"], &[]),
        moments: &[],
        prepare: |stage| prepared(ChangeEmail::new(stage)),
    },
    Kind {
        name: "ChangePassword",
        commits: &[Commit::Transaction(User, "change_password"), Commit::Script("revoke_below")],
        way: Way::of(&["user", OF_WHOM], &["session.revocations"]),
        moments: &[],
        prepare: |stage| prepared(ChangePassword::new(stage)),
    },
    Kind {
        name: "ResetPassword",
        commits: &[Commit::Transaction(User, "reset_password"), Commit::Script("revoke_below")],
        way: Way::of(&["user", OF_WHOM], &["session.revocations"]),
        moments: &[],
        prepare: |stage| prepared(ResetPassword::new(stage)),
    },
];

pub(super) struct Update {
    stage: Arc<Stage>,
    whom: Person,
    request: UpdateUserRequest,
}

impl Update {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let whom = stage.system.api.sign_up("Nameless").await?;
        let username = format!("u{}", &Uuid::new_v4().simple().to_string()[..24]);
        let request = UpdateUserRequest {
            request_id: request_id(),
            user_id: whom.user_id.clone(),
            user: Some(WireUser { username, ..WireUser::default() }),
            update_mask: Some(FieldMask { paths: vec!["username".to_owned()] }),
            etag: String::new(),
        };
        Ok(Self { stage, whom, request })
    }
}

impl Operation for Update {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            Ok(format!(
                "{:?}",
                self.whom.caller.users().update_user(self.request.clone()).await?.into_inner()
            ))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async {
            let user = self.stage.user(&self.whom.user_id).await?;
            Ok(vec![("usernames", i64::from(!user.username.is_empty())), ("version", user.version)])
        })
    }

    fn effect(&self) -> Changes {
        vec![("usernames", by(1)), ("version", by(1)), ("events of user", by(1))]
    }
}

pub(super) struct Reactivate {
    stage: Arc<Stage>,
    whom: Person,
    request: ReactivateUserRequest,
}

impl Reactivate {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let whom = stage.system.api.sign_up("Returning").await?;
        stage.system.admin.deactivate(&whom).await?;
        let request = ReactivateUserRequest {
            request_id: request_id(),
            user_id: whom.user_id.clone(),
            etag: String::new(),
        };
        Ok(Self { stage, whom, request })
    }
}

impl Operation for Reactivate {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let admin = &self.stage.system.admin.caller;
            Ok(format!("{:?}", admin.users().reactivate_user(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async {
            let user = self.stage.user(&self.whom.user_id).await?;
            Ok(vec![("active", i64::from(user.state() == State::Active)), ("version", user.version)])
        })
    }

    fn effect(&self) -> Changes {
        vec![("active", by(1)), ("version", by(1)), ("events of user", by(1))]
    }
}

pub(super) struct ChangeEmail {
    stage: Arc<Stage>,
    whom: Person,
    request: ChangeEmailRequest,
}

impl ChangeEmail {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let whom = stage.system.api.sign_up("Moving").await?;
        let request_id = request_id();
        let request = ChangeEmailRequest {
            email: format!("moved.{request_id}@example.com"),
            request_id,
            password: PASSWORD.to_owned(),
            etag: String::new(),
        };
        Ok(Self { stage, whom, request })
    }
}

impl Operation for ChangeEmail {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            Ok(format!(
                "{:?}",
                self.whom.caller.users().change_email(self.request.clone()).await?.into_inner()
            ))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async {
            let user = self.stage.user(&self.whom.user_id).await?;
            Ok(vec![("moved", i64::from(user.email == self.request.email)), ("version", user.version)])
        })
    }

    fn effect(&self) -> Changes {
        vec![("moved", by(1)), ("version", by(1)), ("events of user", by(1))]
    }
}

/// The version of somebody, and the sessions that are left of those that were there at first.
async fn standing(stage: &Stage, whom: &Person) -> Result<Measures> {
    let user = stage.user(&whom.user_id).await?;
    let first = stage.session_ids(&whom.user_id).await?.contains(&whom.session_id);
    Ok(vec![("version", user.version), ("first session", i64::from(first))])
}

fn new_password() -> Changes {
    vec![("version", by(1)), ("first session", by(-1)), ("events of user", by(1))]
}

pub(super) struct ChangePassword {
    stage: Arc<Stage>,
    whom: Person,
    request: ChangePasswordRequest,
}

impl ChangePassword {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let whom = stage.system.api.sign_up("Careful").await?;
        let request = ChangePasswordRequest {
            request_id: request_id(),
            password: PASSWORD.to_owned(),
            new_password: NEW_PASSWORD.to_owned(),
            etag: String::new(),
        };
        Ok(Self { stage, whom, request })
    }
}

impl Operation for ChangePassword {
    /// The change ends the session that it was made with, so whoever repeats it logs in with the new password.
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let first = self.whom.caller.users().change_password(self.request.clone()).await;
            let answer = match first {
                Err(status) if status.code() == Code::Unauthenticated => {
                    let again = self.stage.system.api.log_in(&self.whom.email, NEW_PASSWORD).await;
                    let again = again.map_err(|error| match error.downcast::<Status>() {
                        Ok(status) => status,
                        Err(error) => Status::unavailable(format!("{error:#}")),
                    })?;
                    again.caller.users().change_password(self.request.clone()).await
                }
                answer => answer,
            };
            Ok(format!("{:?}", answer?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(standing(&self.stage, &self.whom))
    }

    fn effect(&self) -> Changes {
        new_password()
    }

    fn part(&self) -> Option<String> {
        stream_of(&self.whom.user_id)
    }
}

pub(super) struct ResetPassword {
    stage: Arc<Stage>,
    whom: Person,
    request: ResetPasswordRequest,
}

impl ResetPassword {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let whom = stage.system.api.sign_up("Forgetful").await?;
        let request = ResetPasswordRequest {
            request_id: request_id(),
            user_id: whom.user_id.clone(),
            new_password: NEW_PASSWORD.to_owned(),
            etag: String::new(),
        };
        Ok(Self { stage, whom, request })
    }
}

impl Operation for ResetPassword {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let admin = &self.stage.system.admin.caller;
            Ok(format!("{:?}", admin.users().reset_password(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(standing(&self.stage, &self.whom))
    }

    fn effect(&self) -> Changes {
        new_password()
    }

    fn part(&self) -> Option<String> {
        stream_of(&self.whom.user_id)
    }
}
