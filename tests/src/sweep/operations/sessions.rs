//! Sessions. Logging in and refreshing have no request id: their answers are secrets and not stored.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::session::v1::{RefreshSessionRequest, RevokeAllSessionsRequest, RevokeSessionRequest};
use testkit::ServiceName::Session;
use testkit::client::{PASSWORD, Person, request_id};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{Kind, prepared};
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, OF_WHOM, Way, point};

pub(super) const KINDS: &[Kind] = &[
    // A login that nobody settles.
    Kind {
        name: "Login",
        commits: &[Commit::Script("login")],
        way: Way::of(&[OF_WHOM], &[]),
        moments: &[point(Session, "login.counted", "session"), point(Session, "login.checked", "session")],
        prepare: |stage| prepared(Login::new(stage)),
    },
    Kind {
        name: "Refresh",
        commits: &[Commit::Script("refresh_session")],
        way: Way::of(&[OF_WHOM], &[]),
        moments: &[],
        prepare: |stage| prepared(Refresh::new(stage)),
    },
    Kind {
        name: "Revoke",
        commits: &[Commit::Script("revoke_session")],
        way: Way::of(&[OF_WHOM], &[]),
        moments: &[],
        prepare: |stage| prepared(Revoke::new(stage)),
    },
    // A request that is claimed and not done.
    Kind {
        name: "RevokeAll",
        commits: &[Commit::Script("revoke_all_sessions")],
        way: Way::of(&[OF_WHOM], &[]),
        moments: &[point(Session, "request.claimed", "session.v1.SessionService/RevokeAllSessions")],
        prepare: |stage| prepared(RevokeAll::new(stage)),
    },
];

/// The stream that a user's sessions are in.
pub(super) fn stream_of(user_id: &str) -> Option<String> {
    let last = Uuid::try_parse(user_id).ok()?.as_bytes()[15];
    Some(format!("session-{:02}", last % 16))
}

async fn sessions(stage: &Stage, person: &Person) -> Result<Measures> {
    Ok(vec![("sessions", stage.session_count(&person.user_id).await?)])
}

/// A repeat makes another session, so there are at least as many as answers and at most as many as calls.
pub(super) struct Login {
    stage: Arc<Stage>,
    person: Person,
    calls: Cell<i64>,
    answers: Cell<i64>,
}

impl Login {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let person = stage.system.api.sign_up("Coming").await?;
        Ok(Self { stage, person, calls: Cell::new(0), answers: Cell::new(0) })
    }
}

impl Operation for Login {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            self.calls.update(|count| count + 1);
            match self.stage.system.api.log_in(&self.person.email, PASSWORD).await {
                Ok(again) if again.user_id == self.person.user_id => {
                    self.answers.update(|count| count + 1);
                    Ok("logged in".to_owned())
                }
                Ok(other) => Ok(format!("logged in as {}", other.user_id)),
                Err(error) => {
                    Err(error.downcast().unwrap_or_else(|error| Status::unknown(error.to_string())))
                }
            }
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(sessions(&self.stage, &self.person))
    }

    fn effect(&self) -> Changes {
        let made = self.answers.get()..=self.calls.get();
        vec![("sessions", made)]
    }

    fn part(&self) -> Option<String> {
        stream_of(&self.person.user_id)
    }
}

/// A refresh token is exchanged once. When the answer was lost, its repeat ends the session: nobody can tell the
/// owner from a thief.
pub(super) struct Refresh {
    stage: Arc<Stage>,
    person: Person,
    token: RefCell<Option<String>>,
}

impl Refresh {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let person = stage.system.api.sign_up("Staying").await?;
        let token = RefCell::new(Some(person.refresh_token.clone()));
        Ok(Self { stage, person, token })
    }

    fn token(&self) -> Option<String> {
        self.token.borrow().clone()
    }

    fn keep(&self, token: Option<String>) {
        self.token.replace(token);
    }
}

impl Operation for Refresh {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let Some(refresh_token) = self.token() else { return Ok("ended".to_owned()) };
            let request = RefreshSessionRequest { refresh_token };
            match self.stage.system.api.anyone().sessions().refresh_session(request).await {
                Ok(answer) => {
                    self.keep(Some(answer.into_inner().refresh_token));
                    Ok("refreshed".to_owned())
                }
                Err(status) if status.code() == Code::Unauthenticated => {
                    self.keep(None);
                    Ok("ended".to_owned())
                }
                Err(status) => Err(status),
            }
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(sessions(&self.stage, &self.person))
    }

    fn effect(&self) -> Changes {
        vec![("sessions", by(if self.token().is_some() { 0 } else { -1 }))]
    }

    fn part(&self) -> Option<String> {
        stream_of(&self.person.user_id)
    }
}

pub(super) struct Revoke {
    stage: Arc<Stage>,
    person: Person,
    request: RevokeSessionRequest,
}

impl Revoke {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let first = stage.system.api.sign_up("Careful").await?;
        let person = stage.system.api.log_in(&first.email, PASSWORD).await?;
        let request = RevokeSessionRequest {
            request_id: request_id(),
            session_id: first.session_id,
            ..RevokeSessionRequest::default()
        };
        Ok(Self { stage, person, request })
    }
}

impl Operation for Revoke {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let caller = &self.person.caller;
            Ok(format!("{:?}", caller.sessions().revoke_session(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(sessions(&self.stage, &self.person))
    }

    fn effect(&self) -> Changes {
        vec![("sessions", by(-1))]
    }

    fn part(&self) -> Option<String> {
        stream_of(&self.person.user_id)
    }
}

/// By an admin, whose own partition has the claim of the request.
pub(super) struct RevokeAll {
    stage: Arc<Stage>,
    person: Person,
    request: RevokeAllSessionsRequest,
}

impl RevokeAll {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let home = stream_of(&stage.system.admin.user_id);
        let mut person = stage.system.api.sign_up("Suspect").await?;
        while stream_of(&person.user_id) == home {
            person = stage.system.api.sign_up("Suspect").await?;
        }
        stage.system.api.log_in(&person.email, PASSWORD).await.context("another session")?;
        let user_id = person.user_id.clone();
        Ok(Self { stage, person, request: RevokeAllSessionsRequest { request_id: request_id(), user_id } })
    }
}

impl Operation for RevokeAll {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let admin = &self.stage.system.admin.caller;
            Ok(format!(
                "{:?}",
                admin.sessions().revoke_all_sessions(self.request.clone()).await?.into_inner()
            ))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(sessions(&self.stage, &self.person))
    }

    fn effect(&self) -> Changes {
        vec![("sessions", by(-2))]
    }

    fn part(&self) -> Option<String> {
        stream_of(&self.person.user_id)
    }
}
