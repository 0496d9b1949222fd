//! Signing up, deactivating, changing a role.

use std::sync::Arc;

use anyhow::Result;
use api::auth::v1::Role;
use api::user::v1::user::State;
use api::user::v1::{ChangeUserRoleRequest, CreateUserRequest, DeactivateUserRequest};
use testkit::ServiceName::User;
use testkit::client::{PASSWORD, Person, request_id};
use tonic::{Code, Status};

use super::sessions::stream_of;
use super::{Kind, prepared};
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, OF_WHOM, Way};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "SignUp",
        commits: &[Commit::Transaction(User, "create_user")],
        way: Way::of(&["user"], &["order.customers"]),
        moments: &[],
        prepare: |stage| prepared(async move { Ok(SignUp::new(stage)) }),
    },
    Kind {
        name: "Deactivate",
        commits: &[Commit::Transaction(User, "deactivate_user"), Commit::Script("revoke_below")],
        way: Way::of(&["user", OF_WHOM], &["order.customers", "session.revocations"]),
        moments: &[],
        prepare: |stage| prepared(Deactivate::new(stage)),
    },
    Kind {
        name: "ChangeRole",
        commits: &[Commit::Transaction(User, "change_user_role")],
        way: Way::of(&["user", OF_WHOM], &["order.customers", "session.revocations"]),
        moments: &[],
        prepare: |stage| prepared(ChangeRole::new(stage)),
    },
];

pub(super) struct SignUp {
    stage: Arc<Stage>,
    request: CreateUserRequest,
}

impl SignUp {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        let request_id = request_id();
        let request = CreateUserRequest {
            email: format!("new.{request_id}@example.com"),
            request_id,
            display_name: "New".to_owned(),
            password: PASSWORD.to_owned(),
        };
        Self { stage, request }
    }
}

impl Operation for SignUp {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let answer = self.stage.system.api.anyone().users().create_user(self.request.clone()).await?;
            Ok(format!("{:?}", answer.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async {
            let (known, version) = match self.stage.system.api.log_in(&self.request.email, PASSWORD).await {
                Ok(person) => (1, self.stage.user(&person.user_id).await?.version),
                Err(error) => match error.downcast_ref::<Status>().map(Status::code) {
                    Some(Code::Unauthenticated) => (0, 0),
                    _ => return Err(error),
                },
            };
            Ok(vec![("users of the address", known), ("version", version)])
        })
    }

    fn effect(&self) -> Changes {
        vec![("users of the address", by(1)), ("version", by(1)), ("events of user", by(1))]
    }
}

/// What a change of state or role changes of somebody.
async fn standing(stage: &Stage, whom: &Person) -> Result<Measures> {
    let user = stage.user(&whom.user_id).await?;
    Ok(vec![
        ("active", i64::from(user.state() == State::Active)),
        ("merchants", i64::from(user.role() == Role::Merchant)),
        ("version", user.version),
        ("sessions", stage.session_count(&whom.user_id).await?),
    ])
}

pub(super) struct Deactivate {
    stage: Arc<Stage>,
    whom: Person,
    request: DeactivateUserRequest,
}

impl Deactivate {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let whom = stage.system.api.sign_up("Leaving").await?;
        let request = DeactivateUserRequest {
            request_id: request_id(),
            user_id: whom.user_id.clone(),
            ..DeactivateUserRequest::default()
        };
        Ok(Self { stage, whom, request })
    }
}

impl Operation for Deactivate {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let admin = &self.stage.system.admin.caller;
            Ok(format!("{:?}", admin.users().deactivate_user(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(standing(&self.stage, &self.whom))
    }

    fn effect(&self) -> Changes {
        vec![("active", by(-1)), ("version", by(1)), ("sessions", by(-1)), ("events of user", by(1))]
    }

    fn part(&self) -> Option<String> {
        stream_of(&self.whom.user_id)
    }
}

pub(super) struct ChangeRole {
    stage: Arc<Stage>,
    whom: Person,
    request: ChangeUserRoleRequest,
}

impl ChangeRole {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let whom = stage.system.api.sign_up("Rising").await?;
        let request = ChangeUserRoleRequest {
            request_id: request_id(),
            user_id: whom.user_id.clone(),
            role: Role::Merchant.into(),
            ..ChangeUserRoleRequest::default()
        };
        Ok(Self { stage, whom, request })
    }
}

impl Operation for ChangeRole {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let admin = &self.stage.system.admin.caller;
            Ok(format!("{:?}", admin.users().change_user_role(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(standing(&self.stage, &self.whom))
    }

    fn effect(&self) -> Changes {
        vec![("merchants", by(1)), ("version", by(1)), ("sessions", by(-1)), ("events of user", by(1))]
    }

    fn part(&self) -> Option<String> {
        stream_of(&self.whom.user_id)
    }
}
