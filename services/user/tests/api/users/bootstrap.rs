//! The first admin.

use api::auth::v1::Role;
use api::user::v1::VerifyPasswordRequest;
use bson::doc;
use user_service::config::PasswordConfig;
use user_service::{Bootstrapped, NewAdmin, bootstrap_admin};

use crate::harness::{Harness, PASSWORD};

const CHEAP: PasswordConfig = PasswordConfig { memory_kib: 64, passes: 1, lanes: 1, queue: 8 };

async fn bootstrap(harness: &Harness, email: &str, password: &str) -> anyhow::Result<Bootstrapped> {
    let admin = NewAdmin {
        email: email.to_owned(),
        display_name: "Root".to_owned(),
        password: password.to_owned().into(),
    };
    bootstrap_admin(&harness.mongo_config(), CHEAP, admin).await
}

#[tokio::test]
async fn the_first_admin_is_made_once_and_can_log_in() {
    let harness = Harness::start().await;
    let Bootstrapped::Created(id) = bootstrap(&harness, "root@example.com", PASSWORD).await.unwrap() else {
        panic!("there was no admin before")
    };
    let user = harness.user(&id.to_string()).await;
    assert_eq!((user.role(), user.version), (Role::Admin, 1));
    assert_eq!(harness.events("user.v1.UserCreated").await, 1);
    let again = bootstrap(&harness, "ROOT@example.com", "quite another password").await.unwrap();
    assert_eq!(again, Bootstrapped::AlreadyAdmin(id));
    assert_eq!(harness.count("user", doc! {}).await, 1);
    let request = VerifyPasswordRequest { email: "root@example.com".into(), password: PASSWORD.into() };
    let login = harness.session_service().users().verify_password(request).await.unwrap().into_inner();
    assert_eq!(login.role(), Role::Admin, "the second run did not change the password");
}

#[tokio::test]
async fn nobody_is_made_an_admin_who_signed_up_as_somebody_else() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let before = harness.user(&ann.id).await;
    let refused = bootstrap(&harness, &ann.email, PASSWORD).await.unwrap_err().to_string();
    assert!(refused.contains("not an active admin"), "{refused}");
    assert_eq!(harness.user(&ann.id).await, before);
}

#[tokio::test]
async fn an_admins_password_keeps_the_rules_of_everybodys() {
    let harness = Harness::start().await;
    for (email, password) in [
        ("root@example.com", "short"),
        ("root@example.com", ""),
        ("root", PASSWORD),
        ("root@example.com", "passwordpassword"),
    ] {
        assert!(bootstrap(&harness, email, password).await.is_err(), "{email} {password}");
    }
    let admin = NewAdmin {
        email: "root".into(),
        display_name: "a\u{202e}b".into(),
        password: "short".to_owned().into(),
    };
    let all = bootstrap_admin(&harness.mongo_config(), CHEAP, admin).await.unwrap_err().to_string();
    assert!(
        ["email must", "display_name must", "password must"].iter().all(|rule| all.contains(rule)),
        "{all}"
    );
    assert_eq!(harness.count("user", doc! {}).await, 0);
}
