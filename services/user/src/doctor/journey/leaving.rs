//! People who go, and what is removed of them.

use time::Duration;
use types::{Role, UserId};

use super::book::euros;
use super::people::{app, call, password, person, sign_up};
use super::posts::written;
use crate::app::App;
use crate::app::users::DeleteUser;
use crate::app::wallets::GrantCredit;
use crate::domain::leaving::{Erasure, Holdings};
use crate::error::{Error, Result};
use crate::storage::Store;

/// One of whom all is removed, one whom a wallet keeps from it, and one of whom something is still to be removed.
pub(super) async fn all(store: &Store) -> anyhow::Result<()> {
    let app = &app(store, 1)?;
    let leaver = sign_up(app, "leaver").await?;
    written(app, person(leaver, Role::Customer), "Farewell").await?;
    app.grant_credit(&call("GrantCredit"), GrantCredit { to: leaver, amount: euros(5)? }).await?;
    let kept = delete(app, leaver).await;
    anyhow::ensure!(matches!(kept, Err(Error::User(_))), "whoever has credit was deleted");
    let (poor, later) = (sign_up(app, "poor").await?, sign_up(app, "later").await?);
    written(app, person(poor, Role::Customer), "Goodbye").await?;
    delete(app, poor).await?;
    while app.erase_some().await? {}
    let erasure = Erasure { user_id: poor, delete_posts: true, is_second: true };
    store.erasure_put_off(&erasure, app.now() - Duration::SECOND).await?;
    while app.erase_some().await? {}
    Ok(delete(app, later).await?)
}

/// By the user, who says the password.
async fn delete(app: &App, user: UserId) -> Result<()> {
    let wish = DeleteUser { user_id: user, password: password(), delete_posts: true, etag: None };
    let nothing = async || Ok(Holdings::default());
    let who = person(user, Role::Customer);
    app.delete_user_with(nothing, &call("DeleteUser"), who, &wish).await?;
    Ok(())
}
