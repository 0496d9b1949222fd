//! What the role may do.

use runtime::doctor::Seen;

use super::place::Place;
use super::plans::{Planned, plan_all};

pub(super) async fn ordinary(place: &Place) -> anyhow::Result<Seen> {
    let query =
        "SELECT quote_ident(rolname), rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user";
    let (role, is_super, skips_policies): (String, bool, bool) = place.row(query).await?;
    Ok(if is_super || skips_policies {
        Seen::advice(
            format!("{role} may do everything"),
            format!("ALTER ROLE {role} NOSUPERUSER NOBYPASSRLS; the role that migrates can be another one"),
        )
    } else {
        Seen::ok(format!("{role} is an ordinary role"))
    })
}

pub(super) async fn statements(place: &Place) -> anyhow::Result<Seen> {
    let planned = plan_all(place).await?;
    let refused: Vec<(&str, &str)> =
        planned.iter().filter_map(|planned| Some((planned.name, planned.refusal()?))).collect();
    if refused.is_empty() {
        return Ok(Seen::ok(format!("all {}", planned.len())));
    }
    let found: Vec<String> = refused.iter().map(|(name, refusal)| format!("{name}: {refusal}")).collect();
    let (role, _) = place.names().await?;
    let mend = if planned.iter().any(Planned::lacks_privilege) {
        format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA <schema> TO {role};\n\
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA <schema> TO {role};"
        )
    } else {
        "order-service migrate".to_owned()
    };
    Ok(Seen::failed(format!("{} of {}: {}", found.len(), planned.len(), found.join("; ")), mend))
}
