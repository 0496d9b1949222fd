//! Lines to paste into a shell once the system is up, from sign-up to a refund. Each works as it is printed.
//!
//! The calls need only grpcurl and a POSIX shell: ids come from the kernel, and tokens are cut out of the answers.

use crate::book_lines::{ALONE, BookLines};
use crate::local::Endpoints;

/// The lines that `up` prints. `path` has the folders that are missing in the shell's `PATH`.
pub(crate) fn lines(endpoints: &Endpoints, books: &BookLines, path: &str) -> Vec<String> {
    let Endpoints { user, order, session, admin_email, admin_password } = endpoints;
    let mut lines = Vec::new();
    if !path.is_empty() {
        lines.push(format!("export PATH=\"$PATH\"{path}"));
    }
    lines.extend([
        "# Nothing that is set in this shell leads grpcurl elsewhere.".to_owned(),
        format!(r#"grpcurl() {{ {ALONE} grpcurl "$@"; }}"#),
        String::new(),
        "# What each service offers.".to_owned(),
    ]);
    for address in [user, order, session] {
        lines.push(format!("grpcurl -plaintext {address} list"));
    }
    lines.push(format!("grpcurl -plaintext {order} describe order.v1.TransferService"));

    lines.extend(
        [
            "",
            "# Helpers: a new request id; one field of an answer; a call with somebody's token.",
            "new_id() { cat /proc/sys/kernel/random/uuid; }",
            r#"field() { sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p" | head -n 1; }"#,
            r#"call() { grpcurl -plaintext -H "authorization: Bearer $1" -d "$4" "$2" "$3"; }"#,
            "PASSWORD='correct horse battery staple'",
            r#"ANN_EMAIL="ann.$(new_id)@example.com"; BEN_EMAIL="ben.$(new_id)@example.com""#,
        ]
        .map(str::to_owned),
    );
    let login = |email: &str, password: &str| {
        format!(
            r#"$(grpcurl -plaintext -d "{{\"email\":\"{email}\",\"password\":\"{password}\"}}" {session} session.v1.SessionService/Login | field accessToken)"#
        )
    };
    let sign_up = |email: &str, name: &str| {
        format!(
            r#"$(grpcurl -plaintext -d "{{\"request_id\":\"$(new_id)\",\"email\":\"{email}\",\"display_name\":\"{name}\",\"password\":\"$PASSWORD\"}}" {user} user.v1.UserService/CreateUser | field id)"#
        )
    };
    lines.extend([
        String::new(),
        "# Ann and Ben sign up; the admin makes Ben a merchant and grants Ann 50.00 EUR.".to_owned(),
        format!("ANN={}", sign_up("$ANN_EMAIL", "Ann")),
        format!("BEN={}", sign_up("$BEN_EMAIL", "Ben")),
        format!("ADMIN_TOKEN={}", login(admin_email, admin_password)),
        format!(
            r#"call "$ADMIN_TOKEN" {user} user.v1.UserService/ChangeUserRole "{{\"request_id\":\"$(new_id)\",\"user_id\":\"$BEN\",\"role\":\"ROLE_MERCHANT\"}}""#
        ),
        format!(
            r#"call "$ADMIN_TOKEN" {user} user.v1.WalletService/GrantCredit "{{\"request_id\":\"$(new_id)\",\"user_id\":\"$ANN\",\"amount\":{{\"currency_code\":\"EUR\",\"minor_units\":5000}}}}""#
        ),
        format!("ANN_TOKEN={}", login("$ANN_EMAIL", "$PASSWORD")),
        format!("BEN_TOKEN={}", login("$BEN_EMAIL", "$PASSWORD")),
        String::new(),
        "# Ben sells tea; Ann orders two and pays; Ben refunds 1.00 EUR.".to_owned(),
        format!(
            r#"PRODUCT=$(call "$BEN_TOKEN" {order} order.v1.CatalogService/CreateProduct "{{\"request_id\":\"$(new_id)\",\"name\":\"Tea\",\"unit_price\":{{\"currency_code\":\"EUR\",\"minor_units\":1250}},\"stock\":10}}" | field id)"#
        ),
        format!(
            r#"ORDER=$(call "$ANN_TOKEN" {order} order.v1.OrderService/PlaceOrder "{{\"request_id\":\"$(new_id)\",\"items\":[{{\"product_id\":\"$PRODUCT\",\"quantity\":2}}]}}" | field id)"#
        ),
        format!(
            r#"PAID=$(call "$ANN_TOKEN" {order} order.v1.TransferService/PayOrder "{{\"request_id\":\"$(new_id)\",\"order_id\":\"$ORDER\"}}"); echo "$PAID""#
        ),
        r#"TRANSFER=$(echo "$PAID" | field id)"#.to_owned(),
        format!(
            r#"call "$BEN_TOKEN" {order} order.v1.TransferService/RefundOrder "{{\"request_id\":\"$(new_id)\",\"order_id\":\"$ORDER\",\"amount\":{{\"currency_code\":\"EUR\",\"minor_units\":100}}}}""#
        ),
        String::new(),
        "# The money: Ann's wallet in MongoDB, Ben's account in PostgreSQL.".to_owned(),
        format!(r#"call "$ANN_TOKEN" {user} user.v1.WalletService/GetWallet '{{"currency_code":"EUR"}}'"#),
        format!(r#"call "$BEN_TOKEN" {order} order.v1.AccountService/GetAccount '{{"currency_code":"EUR"}}'"#),
        String::new(),
        "# Both books straight from the databases; `tristore books` gets them from the services.".to_owned(),
        books.order.clone(),
        books.user.clone(),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_shell() {
        let endpoints = Endpoints {
            user: "127.0.0.1:1".to_owned(),
            order: "127.0.0.1:2".to_owned(),
            session: "127.0.0.1:3".to_owned(),
            admin_email: "admin@example.com".to_owned(),
            admin_password: "secret".to_owned(),
        };
        let books = BookLines { order: "psql -c 'SELECT 1'".to_owned(), user: "mongosh --eval 1".to_owned() };
        let script = lines(&endpoints, &books, ":/opt/bin").join("\n");
        assert!(testkit::shell().args(["-n", "-c", &script]).status().unwrap().success(), "{script}");
        assert!(script.starts_with("export PATH=\"$PATH\":/opt/bin\n"), "{script}");
    }
}
