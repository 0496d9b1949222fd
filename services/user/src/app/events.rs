//! Domain changes as events: the only file of `app/` that knows their messages.

use api::user::v1::{
    CreditGranted, CreditSent, PostArchived, PostCreated, PostDeleted, PostLabels, PostLiked, PostPublished,
    PostTransferred, PostUnliked, PostUpdated, UserCreated, UserDeactivated, UserDeleted, UserEmailChanged,
    UserFollowed, UserPasswordChanged, UserReactivated, UserRoleChanged, UserUnfollowed, UserUpdated,
    WalletFrozen, WalletLimitsChanged, WalletUnfrozen, post,
};
use events::{Aggregate, Headers, NewEvent};
use prost::{Message, Name};
use types::{EventId, Money, UserId};
use uuid::Uuid;

use super::App;
use crate::domain::ledger::Posting;
use crate::domain::post::{Post, PostState};
use crate::domain::relation::{Follow, Like};
use crate::domain::spending::Act;
use crate::domain::user::User;
use crate::domain::wallet::Wallet;

/// The versions of an edge, which is made and removed and never anything else.
const EDGE_MADE: i64 = 1;
const EDGE_REMOVED: i64 = 2;

impl App {
    /// Somebody signed up.
    pub(super) fn user_created(&self, user: &User, request_id: Option<Uuid>) -> NewEvent {
        let payload = UserCreated {
            user_id: user.id.to_string(),
            display_name: user.display_name.clone(),
            role: api::auth::v1::Role::from(user.role).into(),
        };
        self.of_user(user, &payload, request_id)
    }

    /// A user was deactivated.
    pub(super) fn user_deactivated(&self, user: &User, request_id: Uuid) -> NewEvent {
        let payload = UserDeactivated { user_id: user.id.to_string(), auth_epoch: user.auth_epoch };
        self.of_user(user, &payload, Some(request_id))
    }

    /// A user's role changed.
    pub(super) fn user_role_changed(&self, user: &User, request_id: Uuid) -> NewEvent {
        let payload = UserRoleChanged {
            user_id: user.id.to_string(),
            role: api::auth::v1::Role::from(user.role).into(),
            auth_epoch: user.auth_epoch,
        };
        self.of_user(user, &payload, Some(request_id))
    }

    /// What a user says of themselves was changed.
    pub(super) fn user_updated(&self, user: &User, request_id: Uuid) -> NewEvent {
        let payload = UserUpdated { user_id: user.id.to_string(), display_name: user.display_name.clone() };
        self.of_user(user, &payload, Some(request_id))
    }

    /// A user has another e-mail address.
    pub(super) fn user_email_changed(&self, user: &User, request_id: Uuid) -> NewEvent {
        self.of_user(user, &UserEmailChanged { user_id: user.id.to_string() }, Some(request_id))
    }

    /// A user has another password.
    pub(super) fn user_password_changed(&self, user: &User, request_id: Uuid) -> NewEvent {
        let payload = UserPasswordChanged { user_id: user.id.to_string(), auth_epoch: user.auth_epoch };
        self.of_user(user, &payload, Some(request_id))
    }

    /// A user who was deactivated is active again.
    pub(super) fn user_reactivated(&self, user: &User, request_id: Uuid) -> NewEvent {
        self.of_user(user, &UserReactivated { user_id: user.id.to_string() }, Some(request_id))
    }

    /// A user is gone.
    pub(super) fn user_deleted(&self, user: &User, request_id: Uuid) -> NewEvent {
        let payload = UserDeleted { user_id: user.id.to_string(), auth_epoch: user.auth_epoch };
        self.of_user(user, &payload, Some(request_id))
    }

    /// A post was written.
    pub(super) fn post_created(&self, post: &Post, request_id: Uuid) -> NewEvent {
        let payload = PostCreated {
            post_id: post.id.to_string(),
            author_id: post.author_id.to_string(),
            labels: Some(labels(post)),
        };
        self.of_post(post, &payload, request_id)
    }

    /// What a post says was changed.
    pub(super) fn post_updated(&self, before: &Post, post: &Post, request_id: Uuid) -> NewEvent {
        let payload = PostUpdated {
            post_id: post.id.to_string(),
            author_id: post.author_id.to_string(),
            labels: Some(labels(post)),
            labels_before: Some(labels(before)),
        };
        self.of_post(post, &payload, request_id)
    }

    /// A post was handed over.
    pub(super) fn post_transferred(&self, post: &Post, from: UserId, request_id: Uuid) -> NewEvent {
        let payload = PostTransferred {
            post_id: post.id.to_string(),
            from_user_id: from.to_string(),
            to_user_id: post.author_id.to_string(),
            labels: Some(labels(post)),
        };
        self.of_post(post, &payload, request_id)
    }

    /// A post was published.
    pub(super) fn post_published(&self, before: &Post, post: &Post, request_id: Uuid) -> NewEvent {
        let payload = PostPublished {
            post_id: post.id.to_string(),
            author_id: post.author_id.to_string(),
            labels: Some(labels(post)),
            is_first: !before.was_published(),
        };
        self.of_post(post, &payload, request_id)
    }

    /// A post was archived.
    pub(super) fn post_archived(&self, post: &Post, request_id: Uuid) -> NewEvent {
        let payload = PostArchived {
            post_id: post.id.to_string(),
            author_id: post.author_id.to_string(),
            labels: Some(labels(post)),
        };
        self.of_post(post, &payload, request_id)
    }

    /// A post was deleted: one change more than it had. By no call when its author was deleted.
    pub(super) fn post_deleted(&self, post: &Post, request_id: Option<Uuid>) -> NewEvent {
        let payload = PostDeleted {
            post_id: post.id.to_string(),
            author_id: post.author_id.to_string(),
            labels: Some(labels(post)),
        };
        self.event(Aggregate::new("post", post.id), post.version + 1, &payload, request_id)
    }

    /// Somebody follows somebody.
    pub(super) fn user_followed(&self, follow: &Follow, request_id: Uuid) -> NewEvent {
        let payload = UserFollowed {
            follow_id: follow.id.to_string(),
            follower_id: follow.follower.to_string(),
            followee_id: follow.followee.to_string(),
        };
        self.event(Aggregate::new("follow", follow.id), EDGE_MADE, &payload, Some(request_id))
    }

    /// Somebody follows somebody no more.
    pub(super) fn user_unfollowed(&self, follow: &Follow, request_id: Option<Uuid>) -> NewEvent {
        let payload = UserUnfollowed {
            follow_id: follow.id.to_string(),
            follower_id: follow.follower.to_string(),
            followee_id: follow.followee.to_string(),
        };
        self.event(Aggregate::new("follow", follow.id), EDGE_REMOVED, &payload, request_id)
    }

    /// Somebody likes a post.
    pub(super) fn post_liked(&self, like: &Like, author: UserId, request_id: Uuid) -> NewEvent {
        let payload = PostLiked {
            like_id: like.id.to_string(),
            post_id: like.post.to_string(),
            author_id: author.to_string(),
            user_id: like.user.to_string(),
        };
        self.event(Aggregate::new("like", like.id), EDGE_MADE, &payload, Some(request_id))
    }

    /// Somebody likes a post no more, which may be gone.
    pub(super) fn post_unliked(
        &self,
        like: &Like,
        author: Option<UserId>,
        request_id: Option<Uuid>,
    ) -> NewEvent {
        let payload = PostUnliked {
            like_id: like.id.to_string(),
            post_id: like.post.to_string(),
            author_id: author.as_ref().map(UserId::to_string).unwrap_or_default(),
            user_id: like.user.to_string(),
        };
        self.event(Aggregate::new("like", like.id), EDGE_REMOVED, &payload, request_id)
    }

    /// New credit was made.
    pub(super) fn credit_granted(&self, posting: &Posting, to: &Wallet, request_id: Uuid) -> NewEvent {
        let payload = CreditGranted {
            posting_id: posting.id.to_string(),
            user_id: to.key.owner.to_string(),
            amount: Some(posting.amount.into()),
        };
        self.of_wallet(to, &payload, request_id)
    }

    /// Credit went from one wallet to another.
    pub(super) fn credit_sent(
        &self,
        posting: &Posting,
        from: &Wallet,
        to: UserId,
        request_id: Uuid,
    ) -> NewEvent {
        let payload = CreditSent {
            posting_id: posting.id.to_string(),
            from_user_id: from.key.owner.to_string(),
            to_user_id: to.to_string(),
            amount: Some(posting.amount.into()),
        };
        self.of_wallet(from, &payload, request_id)
    }

    /// An admin froze, unfroze or limited a wallet.
    pub(super) fn wallet_acted_on(&self, wallet: &Wallet, act: Act, request_id: Uuid) -> NewEvent {
        let (user_id, currency) = (wallet.key.owner.to_string(), wallet.key.currency);
        let currency_code = currency.to_string();
        let money = |minor_units| Money::new(currency, minor_units).into();
        match act {
            Act::Freeze => self.of_wallet(wallet, &WalletFrozen { user_id, currency_code }, request_id),
            Act::Unfreeze => self.of_wallet(wallet, &WalletUnfrozen { user_id, currency_code }, request_id),
            Act::SetLimits(limits) => {
                let (payment_limit, day_limit) = (limits.payment.map(money), limits.day.map(money));
                let payload = WalletLimitsChanged { user_id, currency_code, payment_limit, day_limit };
                self.of_wallet(wallet, &payload, request_id)
            }
        }
    }

    /// The wallet that was written has counted the event.
    fn of_wallet<M: Message + Name>(&self, wallet: &Wallet, payload: &M, request_id: Uuid) -> NewEvent {
        let aggregate = Aggregate::new("wallet", wallet.key.aggregate_id());
        self.event(aggregate, wallet.event_version, payload, Some(request_id))
    }

    fn of_user<M: Message + Name>(&self, user: &User, payload: &M, request_id: Option<Uuid>) -> NewEvent {
        self.event(Aggregate::new("user", user.id), user.event_version, payload, request_id)
    }

    fn of_post<M: Message + Name>(&self, post: &Post, payload: &M, request_id: Uuid) -> NewEvent {
        self.event(Aggregate::new("post", post.id), post.version, payload, Some(request_id))
    }

    /// An event of the call that is being served.
    pub(crate) fn event<M: Message + Name>(
        &self,
        aggregate: Aggregate,
        version: i64,
        payload: &M,
        request_id: Option<Uuid>,
    ) -> NewEvent {
        let headers =
            Headers { traceparent: runtime::telemetry::current_traceparent(), tracestate: None, request_id };
        NewEvent::new(self.next_id::<EventId>(), aggregate, version, payload, headers, self.now())
    }
}

/// How a post is found.
fn labels(post: &Post) -> PostLabels {
    PostLabels {
        slug: post.address(),
        category: post.category.as_ref().map(ToString::to_string).unwrap_or_default(),
        tags: post.tags.iter().map(ToString::to_string).collect(),
        state: post::State::from(post.state).into(),
    }
}

impl From<PostState> for post::State {
    fn from(state: PostState) -> Self {
        match state {
            PostState::Draft => Self::Draft,
            PostState::Published => Self::Published,
            PostState::Archived => Self::Archived,
        }
    }
}
