//! Calls to paste into a terminal once the system is up.

use testkit::programs::on_path;

use crate::local::Endpoints;
use crate::tools;

/// The lines that `up` prints.
pub(crate) fn lines(endpoints: &Endpoints) -> Vec<String> {
    let Endpoints {
        user,
        order,
        session,
        admin_email,
        admin_password,
    } = endpoints;
    let mut lines = Vec::new();
    if on_path("grpcurl").is_none() {
        lines.push(
            match tools::find("grpcurl").as_deref().and_then(|path| path.parent()) {
                Some(folder) => format!("  export PATH=\"$PATH:{}\"", folder.display()),
                None => "(`cargo xtask tools` installs grpcurl.)".to_owned(),
            },
        );
    }
    lines.extend([
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
    ]);
    lines
}
