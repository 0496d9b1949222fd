//! Who calls a method.

use std::sync::Arc;

use types::{Role, SessionId, UserId};

/// A person with a live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person {
    /// The user.
    pub user_id: UserId,
    /// The user's role when the session was made; a change of role ends the session.
    pub role: Role,
    /// The session that was shown.
    pub session_id: SessionId,
}

/// Who calls. The server puts one into the extensions of every request that [`crate::AuthLayer`] admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person with a live session.
    User(Person),
    /// A service of ours, by its name, such as `order-service`.
    Service(Arc<str>),
    /// The method admits anyone, so the caller's credentials were not checked.
    Anyone,
}

impl Principal {
    /// The caller of a request, for a handler. Without the layer every caller is [`Principal::Anyone`], which has no
    /// rights.
    #[must_use]
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or(Self::Anyone)
    }

    /// Names the caller in a [`types::RequestKey`]: the user's id, the service's name, or `anyone`.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::User(person) => person.user_id.to_string(),
            Self::Service(name) => name.as_ref().to_owned(),
            Self::Anyone => "anyone".to_owned(),
        }
    }

    /// The person, if it is one.
    #[must_use]
    pub fn person(&self) -> Option<&Person> {
        match self {
            Self::User(person) => Some(person),
            Self::Service(_) | Self::Anyone => None,
        }
    }

    /// The service's name, if it is one.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Service(name) => Some(name),
            Self::User(_) | Self::Anyone => None,
        }
    }

    /// Whether it is a person who operates the system.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.person().is_some_and(|person| person.role == Role::Admin)
    }
}
