//! Calls to paste into a terminal once the system is up.

use crate::local::Endpoints;

/// The lines that `up` prints.
pub(crate) fn lines(endpoints: &Endpoints) -> Vec<String> {
    let Endpoints {
        user,
        order,
        session,
        admin_email,
        admin_password,
    } = endpoints;
    vec![
        "What each service offers:".to_owned(),
        format!("  grpcurl -plaintext {user} list"),
        format!("  grpcurl -plaintext {order} list"),
        format!("  grpcurl -plaintext {session} list"),
        "Log in as the first admin; the answer holds the token for `-H 'authorization: Bearer <token>'`:"
            .to_owned(),
        format!(
            "  grpcurl -plaintext -d '{{\"email\":\"{admin_email}\",\"password\":\"{admin_password}\"}}' \
             {session} session.v1.SessionService/Login"
        ),
    ]
}
