//! Users.

use std::sync::Arc;

use anyhow::Context as _;
use auth::Person;
use types::{Call, Fingerprint, RequestKey, Role, SessionId, SystemClock, SystemIds, UserId};
use uuid::Uuid;

use super::lists;
use crate::app::App;
use crate::app::users::{
    ChangeEmail, ChangePassword, ChangeUserRole, CreateUser, DeactivateUser, ListUserChanges, NewUser,
    ReactivateUser, ResetPassword, UpdateUser, VerifyPassword,
};
use crate::config::PasswordConfig;
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::domain::user::{OrderStatistics, UserChange};
use crate::domain::user_view::{UserField, UserFields, Viewer};
use crate::domain::username::Username;
use crate::passwords::Hasher;
use crate::storage::Store;

const PASSWORD: &str = "an evening in the garden";
/// As little work as Argon2 takes.
const CHEAP: PasswordConfig = PasswordConfig { memory_kib: 64, passes: 1, lanes: 1, queue: 64 };

/// The use cases on the scratch database.
pub(in crate::doctor) fn app(store: &Store, passes: u32) -> anyhow::Result<App> {
    let hasher = Hasher::new(PasswordConfig { passes, ..CHEAP })?;
    Ok(App::new(store.clone(), hasher, Arc::new(SystemClock), Arc::new(SystemIds)))
}

/// A call that nobody has made before.
pub(in crate::doctor) fn call(method: &'static str) -> Call {
    let key = RequestKey { principal: "doctor".to_owned(), method, request_id: Uuid::new_v4() };
    Call { key, fingerprint: Fingerprint::new([7; 32], &[]) }
}

pub(super) fn person(user_id: UserId, role: Role) -> Person {
    Person { user_id, role, session_id: SessionId::from_uuid(Uuid::new_v4()) }
}

fn email(name: &str) -> anyhow::Result<Email> {
    format!("{name}@doctor.example").parse().ok().context("an e-mail address")
}

fn newcomer(name: &str) -> anyhow::Result<NewUser> {
    let email = email(name)?;
    let password = Password::new(PASSWORD.to_owned(), email.address()).ok().context("a password")?;
    Ok(NewUser { email, display_name: name.to_owned(), password })
}

/// Somebody who signs up.
pub(in crate::doctor) async fn sign_up(app: &App, name: &str) -> anyhow::Result<UserId> {
    let wish = CreateUser { user: newcomer(name)?, secret: &[] };
    Ok(app.create_user(&call("CreateUser"), wish).await?.value.user.id)
}

/// Two people who are there in the end, of three.
pub(super) async fn all(store: &Store) -> anyhow::Result<[UserId; 2]> {
    let app = app(store, 1)?;
    app.bootstrap_admin(newcomer("root")?).await?;
    let (ann, ben) = (sign_up(&app, "ann").await?, sign_up(&app, "ben").await?);
    let gone = sign_up(&app, "gone").await?;
    let admin = person(ann, Role::Admin);
    let wish = ChangeUserRole { user_id: gone, role: Role::Merchant, etag: None };
    app.change_user_role(&call("ChangeUserRole"), admin, wish).await?;
    let wish = DeactivateUser { user_id: gone, etag: None };
    app.deactivate_user(&call("DeactivateUser"), admin, wish).await?;
    app.reactivate_user(&call("ReactivateUser"), ReactivateUser { user_id: gone, etag: None }).await?;
    credentials(&app, gone).await?;
    log_in(store).await?;
    let change = UserChange { username: Some(Username::new("ann".to_owned()).ok()), ..UserChange::default() };
    let wish = UpdateUser { user_id: ann, change, etag: None };
    app.update_user(&call("UpdateUser"), person(ann, Role::Customer), wish).await?;
    read(&app, ann).await?;
    app.snapshot_head().await?;
    lists::all(store, &app).await?;
    statistics(store, ann).await?;
    Ok([ann, ben])
}

/// A user in each way to be found.
async fn read(app: &App, user: UserId) -> anyhow::Result<()> {
    let (all, viewer) = (UserFields::everything(), |_| Viewer::Service);
    app.get_user(user, Viewer::Service, &all).await?;
    app.get_user(user, Viewer::Service, &UserFields::of([UserField::RecentPosts])).await?;
    app.list_user_changes(ListUserChanges { user_id: user, below: None, size: 1 }).await?;
    let username = Username::new("ann".to_owned()).ok().context("a username")?;
    app.get_user_by_username(&username, viewer, &all).await?;
    app.get_user_by_email(&email("ann")?, viewer, &all).await?;
    app.batch_get_users(&[user], viewer, &all).await?;
    Ok(())
}

/// The password of everybody.
pub(super) fn password() -> Option<Password> {
    Password::to_verify(PASSWORD.to_owned())
}

/// An address and passwords that take the place of others.
async fn credentials(app: &App, user: UserId) -> anyhow::Result<()> {
    let (who, present) = (person(user, Role::Customer), password);
    let new_password = Password::new(PASSWORD.to_owned(), "").ok().context("a password")?;
    let wish = ChangeEmail { email: email("back")?, password: present(), etag: None, secret: &[] };
    app.change_email(&call("ChangeEmail"), who, wish).await?;
    let (password, new_again) = (present(), new_password.clone());
    let wish = ChangePassword { password, new_password: new_again, etag: None, secret: &[] };
    app.change_password(&call("ChangePassword"), who, wish).await?;
    let wish = ResetPassword { user_id: user, new_password, etag: None, secret: &[] };
    app.reset_password(&call("ResetPassword"), wish).await?;
    Ok(())
}

/// With parameters that have been raised since, so that the hash is renewed.
async fn log_in(store: &Store) -> anyhow::Result<()> {
    let wish = VerifyPassword { email: Some(email("ann")?), password: password() };
    app(store, 2)?.verify_password(wish).await?;
    Ok(())
}

async fn statistics(store: &Store, user: UserId) -> anyhow::Result<()> {
    let more = OrderStatistics { placed_count: 1, ..OrderStatistics::default() };
    let mut tx = store.begin("doctor").await?;
    tx.statistics_fetch(user).await?;
    tx.statistics_add([(user, more)].into_iter()).await?;
    tx.statistics_replace(&[(user, more)]).await?;
    tx.statistics_remove_some(None, None, &[user]).await?;
    tx.statistics_remove_some(Some(user), Some(user), &[user]).await?;
    tx.commit_now().await?;
    // Once more with somebody to remove, and the sums are there again afterwards.
    let mut tx = store.begin("doctor").await?;
    tx.statistics_remove_some(None, Some(user), &[]).await?;
    tx.rollback().await;
    Ok(())
}
