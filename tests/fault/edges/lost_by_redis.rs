//! Claim: when a script has run and Redis' reply gets lost, session service says that the outcome is unknown. Ending a
//! session can be repeated with its request id. Logging in and refreshing have none: a repeated login leaves a session
//! that its user sees and can end; a repeated refresh shows a used token, which ends the session.

use anyhow::{Context, Result};
use api::session::v1::{
    ListSessionsRequest, LoginRequest, RefreshSessionRequest, RevokeSessionRequest, Session,
};
use api::user::v1::GetWalletRequest;
use testkit::client::{PASSWORD, Person, request_id};
use testkit::proxy::{Acknowledgements, Edge, Then};
use testkit::{ServiceName, wait_until};
use tests::status::code_and_reason;
use tonic::Code;

use super::ground::{Ground, SOON, answered, is_unknown};

const REDIS: Edge = Edge::Database(ServiceName::Session);
/// The first words of each script.
const CREATE: &str = "-- Makes a session and tells it.";
const REFRESH: &str = "-- Exchanges a refresh token for new tokens";
const REVOKE: &str = "-- Ends one session because its user or an admin asked";

async fn sessions(person: &Person) -> Result<Vec<Session>> {
    let answer = person.caller.sessions().list_sessions(ListSessionsRequest::default()).await;
    Ok(answer.context("ListSessions")?.into_inner().sessions)
}

/// Whether both other services still take somebody's token; they may for as long as an event takes.
async fn is_refused(person: &Person) -> Result<()> {
    let request = GetWalletRequest { user_id: String::new(), currency_code: "EUR".to_owned() };
    wait_until(SOON, "the ended session to be refused", async || {
        match person.caller.wallets().get_wallet(request.clone()).await {
            Err(status) if status.code() == Code::Unauthenticated => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_login_whose_reply_was_lost_leaves_a_session_that_its_user_can_end() -> Result<()> {
    let ground = Ground::take().await?;
    let person = ground.system.api.sign_up("Ann").await?;
    for then in [Then::Reset, Then::Silence] {
        let before = sessions(&person).await?;
        let request = LoginRequest {
            email: person.email.clone(),
            password: PASSWORD.to_owned(),
            client_name: format!("{then:?}"),
        };
        let lost = ground.edge(REDIS).lose(Acknowledgements::of(CREATE).then(then));
        let unknown = ground.api.anyone().sessions().login(request.clone()).await.expect_err("nobody told");
        is_unknown(&unknown)?;
        assert_eq!(lost.count(), 1);
        let made = answered(async || ground.api.anyone().sessions().login(request.clone()).await).await?;
        let made = made.session.context("a session")?.id;
        let after = sessions(&person).await?;
        assert_eq!(after.len(), before.len() + 2, "the one whose tokens nobody has, and the repeat's");
        let orphan = after
            .iter()
            .find(|session| session.id != made && before.iter().all(|known| known.id != session.id))
            .context("the one whose tokens nobody has")?;
        assert_eq!(orphan.client_name, request.client_name);
        let request = RevokeSessionRequest {
            request_id: request_id(),
            session_id: orphan.id.clone(),
            ..RevokeSessionRequest::default()
        };
        person.caller.sessions().revoke_session(request).await.context("RevokeSession")?;
        assert_eq!(sessions(&person).await?.len(), before.len() + 1);
    }
    ground.settled().await
}

#[tokio::test]
async fn a_refresh_whose_reply_was_lost_costs_the_session_and_nothing_else() -> Result<()> {
    let ground = Ground::take().await?;
    let person = ground.system.api.sign_up("Ben").await?;
    let request = RefreshSessionRequest { refresh_token: person.refresh_token.clone() };
    let lost = ground.edge(REDIS).lose(Acknowledgements::of(REFRESH));
    let refresh = async || ground.api.anyone().sessions().refresh_session(request.clone()).await;
    is_unknown(&refresh().await.expect_err("nobody told"))?;
    assert_eq!(lost.count(), 1);
    let refused = wait_until(SOON, "the repeat to be answered", async || match refresh().await {
        Err(status) if status.code() == Code::Unauthenticated => Ok(status),
        other => Err(format!("{other:?}")),
    })
    .await?;
    assert_eq!(code_and_reason(&refused), (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned()));
    is_refused(&person).await?;
    let again = ground.api.log_in(&person.email, PASSWORD).await?;
    assert_eq!(sessions(&again).await?.len(), 1);
    ground.settled().await
}

#[tokio::test]
async fn a_revocation_that_was_not_acknowledged_is_done_and_its_repeat_says_so() -> Result<()> {
    let ground = Ground::take().await?;
    let person = ground.system.api.sign_up("Cid").await?;
    for then in [Then::Reset, Then::Silence] {
        let other = ground.system.api.log_in(&person.email, PASSWORD).await?;
        let before = sessions(&person).await?.len();
        let request = RevokeSessionRequest {
            request_id: request_id(),
            session_id: other.session_id.clone(),
            ..RevokeSessionRequest::default()
        };
        let caller = ground.caller(&person)?;
        let lost = ground.edge(REDIS).lose(Acknowledgements::of(REVOKE).then(then));
        is_unknown(&caller.sessions().revoke_session(request.clone()).await.expect_err("nobody told"))?;
        assert_eq!(lost.count(), 1);
        is_refused(&other).await?;
        answered(async || caller.sessions().revoke_session(request.clone()).await).await?;
        assert_eq!(sessions(&person).await?.len(), before - 1);
    }
    ground.settled().await
}
