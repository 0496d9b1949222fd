//! Sessions and their tokens.

mod forget;
mod revoke;
mod verify;

use auth::token::{AccessToken, PARTITIONS, RefreshToken};
use events::Headers;
use time::OffsetDateTime;
use types::{SessionId, UserId};

use super::backbone::{self, Cause};
use super::driver::{Reply, millis, time_of};
use super::{Store, keys, scripts};
use crate::domain::{NewSession, Partition, Session};
use crate::error::{Error, Result};

const _: () = assert!(PARTITIONS == 16, "tokens and keys must agree about the partitions");

/// How many sessions a login may end to make room. More than one ends only after the limit was lowered.
const EVICTIONS_MAX: usize = 4;

/// The tokens of a session, for the one answer that hands them out.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) access: AccessToken,
    pub(crate) access_until: OffsetDateTime,
    pub(crate) refresh: RefreshToken,
}

/// The outcome of making a session.
#[derive(Debug)]
pub(crate) enum CreateReply {
    Created(Box<(Session, Tokens)>),
    /// The user's sessions were revoked since the password was checked, so it must be checked again.
    Stale,
}

/// The outcome of exchanging a refresh token.
#[derive(Debug)]
pub(crate) enum RefreshReply {
    Refreshed(Box<(Session, Tokens)>),
    /// There is no such token, or not any more.
    Unknown,
    /// The token was exchanged before; its session has ended.
    Reused {
        session_id: SessionId,
        user_id: UserId,
    },
    /// The session was refreshed as often as is allowed, and has ended.
    UsedUp {
        session_id: SessionId,
        user_id: UserId,
    },
}

impl Store {
    /// Makes a session, unless its user's sessions were revoked since the password was checked.
    pub(crate) async fn session_create(&self, new: NewSession, headers: &Headers) -> Result<CreateReply> {
        let partition = Partition::of(new.user_id);
        let id = SessionId::from_uuid(self.options.ids.next());
        let access = AccessToken::generate(partition.number());
        let refresh = RefreshToken::generate(partition.number());
        let (access_hash, refresh_hash) = (keys::hex(&access.hash()), keys::hex(&refresh.hash()));
        let mut script = self.event_append_script(&scripts::SESSION_CREATE, partition, headers);
        script
            .key(keys::user(new.user_id))
            .key(keys::sessions(new.user_id))
            .key(keys::session(partition, id))
            .key(keys::access(partition, &access_hash))
            .key(keys::refresh(partition, &refresh_hash))
            .arg(new.user_id.to_string())
            .arg(id.to_string())
            .arg(new.role.as_str())
            .arg(new.auth_epoch)
            .arg(&new.client_name)
            .arg(access_hash)
            .arg(refresh_hash)
            .arg(millis(self.options.lifetimes.access))
            .arg(millis(self.options.lifetimes.idle))
            .arg(millis(self.options.lifetimes.absolute))
            .arg(millis(self.options.lifetimes.touch))
            .arg(self.options.lifetimes.sessions_per_user)
            .arg(self.event_id().to_string())
            .arg(backbone::created(id, new.user_id))
            .arg(backbone::revoked_somewhere(Cause::TooMany));
        for _ in 0..EVICTIONS_MAX {
            script.arg(self.event_id().to_string());
        }
        let mut reply: Reply = self.event_append("login", partition, &script).await?;
        if reply.next::<String>()? == "STALE" {
            return Ok(CreateReply::Stale);
        }
        let created_at = time_of(reply.next()?)?;
        let access_until = time_of(reply.next()?)?;
        let session = Session {
            id,
            user_id: new.user_id,
            client_name: new.client_name,
            created_at,
            used_at: created_at,
            idle_until: time_of(reply.next()?)?,
            expires_at: time_of(reply.next()?)?,
        };
        Ok(CreateReply::Created(Box::new((session, Tokens { access, access_until, refresh }))))
    }

    /// Exchanges a refresh token.
    pub(crate) async fn session_refresh(
        &self,
        old: &RefreshToken,
        headers: &Headers,
    ) -> Result<RefreshReply> {
        let partition = Partition::of_token(old.partition());
        let access = AccessToken::generate(partition.number());
        let refresh = RefreshToken::generate(partition.number());
        let [old, access_hash, refresh_hash] =
            [old.hash(), access.hash(), refresh.hash()].map(|hash| keys::hex(&hash));
        let mut script = self.event_append_script(&scripts::SESSION_REFRESH, partition, headers);
        script
            .key(keys::refresh(partition, &old))
            .key(keys::access(partition, &access_hash))
            .key(keys::refresh(partition, &refresh_hash))
            .arg(old)
            .arg(access_hash)
            .arg(refresh_hash)
            .arg(millis(self.options.lifetimes.access))
            .arg(millis(self.options.lifetimes.idle))
            .arg(millis(self.options.lifetimes.touch))
            .arg(self.options.lifetimes.rotated_max)
            .arg(self.event_id().to_string())
            .arg(backbone::refreshed())
            .arg(backbone::revoked_somewhere(Cause::RefreshReused))
            .arg(backbone::revoked_somewhere(Cause::RefreshesUsedUp));
        let mut reply: Reply = self.event_append("refresh_session", partition, &script).await?;
        let outcome: String = reply.next()?;
        if outcome == "UNKNOWN" {
            return Ok(RefreshReply::Unknown);
        }
        let id = id(&mut reply)?;
        let user_id = UserId::from_uuid(id_text(&mut reply)?);
        match outcome.as_str() {
            "REUSED" => return Ok(RefreshReply::Reused { session_id: id, user_id }),
            "FULL" => return Ok(RefreshReply::UsedUp { session_id: id, user_id }),
            _ => {}
        }
        let session = Session {
            id,
            user_id,
            client_name: reply.next()?,
            created_at: time_of(reply.next()?)?,
            used_at: time_of(reply.next()?)?,
            idle_until: time_of(reply.next()?)?,
            expires_at: time_of(reply.next()?)?,
        };
        let access_until = time_of(reply.next()?)?;
        Ok(RefreshReply::Refreshed(Box::new((session, Tokens { access, access_until, refresh }))))
    }

    /// The live sessions of a user, oldest first.
    pub(crate) async fn session_list(&self, user_id: UserId) -> Result<Vec<Session>> {
        let replies: Vec<Reply> =
            self.redis.script(&scripts::SESSION_LIST.key(keys::sessions(user_id))).await?;
        let read = |mut reply: Reply| {
            Ok(Session {
                id: id(&mut reply)?,
                user_id,
                client_name: reply.next()?,
                created_at: time_of(reply.next()?)?,
                used_at: time_of(reply.next()?)?,
                idle_until: time_of(reply.next()?)?,
                expires_at: time_of(reply.next()?)?,
            })
        };
        let mut sessions = replies.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        sessions.sort_by_key(|session| (session.created_at, session.id));
        Ok(sessions)
    }
}

fn id(reply: &mut Reply) -> Result<SessionId> {
    id_text(reply).map(SessionId::from_uuid)
}

fn id_text(reply: &mut Reply) -> Result<uuid::Uuid> {
    uuid::Uuid::try_parse(&reply.next::<String>()?).map_err(Error::internal)
}
