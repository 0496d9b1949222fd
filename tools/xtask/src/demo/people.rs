//! The people of the demo: how they sign up, and how a session ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::auth::v1::Role;
use api::session::v1::{ListSessionsRequest, RevokeSessionRequest};
use api::user::v1::{ChangeUserRoleRequest, CreateUserRequest, GetUserRequest};
use testkit::client::{Api, PASSWORD, Person, request_id};
use testkit::wait_until;
use tonic::Code;
use uuid::Uuid;

use super::script::Script;

/// The people.
#[derive(Debug)]
pub(crate) struct Cast {
    /// The admin.
    pub(crate) admin: Person,
    /// The customer.
    pub(crate) ann: Person,
    /// The merchant.
    pub(crate) ben: Person,
}

impl Cast {
    /// Signs up and logs in.
    pub(crate) async fn enter(script: &mut Script, api: &Api, admin: (&str, &str)) -> Result<Self> {
        script.step("Ann and Ben sign up")?;
        sign_up_repeated(script, api).await?;
        let ann = api.sign_up("Ann").await?;
        let ben = api.sign_up("Ben").await?;
        let admin = api.log_in(admin.0, admin.1).await?;

        script.step("Ben wants to be a merchant")?;
        let request = ChangeUserRoleRequest {
            request_id: request_id(),
            user_id: ben.user_id.clone(),
            role: Role::Merchant.into(),
            etag: String::new(),
        };
        let refused = ben.caller.users().change_user_role(request).await;
        let refused = refused.err().context("Ben gave himself a role")?;
        ensure!(refused.code() == Code::PermissionDenied, "Ben should hear PERMISSION_DENIED: {refused}");
        script.saw("Ben asks for it himself: PERMISSION_DENIED")?;
        let old = ben.clone();
        let ben = admin.make(&ben, Role::Merchant).await?;
        ends(&old, "Ben's session of the old role").await?;
        script.saw("the admin grants it, and Ben's old session ends")?;
        script.proves("nobody can change their own role, and new rights apply at once")?;
        Ok(Self { admin, ann, ben })
    }
}

async fn sign_up_repeated(script: &Script, api: &Api) -> Result<()> {
    let request = CreateUserRequest {
        request_id: request_id(),
        email: format!("twice.{}@example.com", Uuid::new_v4().simple()),
        display_name: "Twice".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let first = api.anyone().users().create_user(request.clone()).await?;
    let repeat = api.anyone().users().create_user(request).await?;
    let replayed = repeat.metadata().get("idempotent-replay").is_some();
    ensure!(
        first.get_ref() == repeat.get_ref() && replayed,
        "a repeated sign-up must return the first answer"
    );
    script.proves("a repeated call returns the first answer: one person, not two")
}

/// Waits until a session's token is refused.
async fn ends(person: &Person, what: &str) -> Result<()> {
    let request = GetUserRequest { user_id: person.user_id.clone(), read_mask: None };
    wait_until(Duration::from_secs(5), &format!("{what} to end"), async || {
        match person.caller.users().get_user(request.clone()).await {
            Err(status) if status.code() == Code::Unauthenticated => Ok(()),
            Err(status) => Err(status.to_string()),
            Ok(_) => Err("the token is still good".to_owned()),
        }
    })
    .await
}

/// Ann ends one of her two sessions; the other lives.
pub(crate) async fn session_revoked(script: &mut Script, cast: &Cast) -> Result<()> {
    script.step("Ann ends the session on her phone")?;
    let phone = cast.ann.caller.api().log_in(&cast.ann.email, PASSWORD).await?;
    let me = GetUserRequest { user_id: phone.user_id.clone(), read_mask: None };
    phone.caller.users().get_user(me.clone()).await.context("the phone's session is good")?;
    let list = ListSessionsRequest::default();
    let before = cast.ann.caller.sessions().list_sessions(list.clone()).await?.into_inner().sessions;
    let revoke = RevokeSessionRequest {
        request_id: request_id(),
        session_id: phone.session_id.clone(),
        user_id: String::new(),
    };
    cast.ann.caller.sessions().revoke_session(revoke).await?;
    ends(&phone, "the phone's session").await?;
    let after = cast.ann.caller.sessions().list_sessions(list).await?.into_inner().sessions;
    ensure!(
        before.len() == after.len() + 1 && after.iter().any(|session| session.current),
        "the list of sessions must lose the phone's and keep the present one"
    );
    cast.ann.caller.users().get_user(me).await.context("Ann's other session lives")?;
    script.saw("user service had verified the token, and was told to forget it")?;
    script.proves("a revoked session ends in every service, and only that session")
}
