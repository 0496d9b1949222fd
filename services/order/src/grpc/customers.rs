//! How the refusals of customers look on the wire. Customers are user service's, so there are no calls about them here.

use api::order::v1::ErrorReason;
use api::refusal::Refusal;
use tonic::Code;

use crate::domain::CustomerRefused;

impl From<&CustomerRefused> for Refusal {
    fn from(refused: &CustomerRefused) -> Self {
        let refuse = |code, reason: ErrorReason| Self::new(code, &reason, refused.to_string());
        match refused {
            CustomerRefused::NotFound(id) => {
                refuse(Code::NotFound, ErrorReason::UserNotFound).resource("user", id.to_string())
            }
            CustomerRefused::Deactivated(id) => {
                refuse(Code::FailedPrecondition, ErrorReason::CustomerDeactivated)
                    .with("user_id", id.to_string())
                    .precondition(format!("users/{id}"), "must be active")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::refused::wire;
    use super::*;
    use crate::domain::fixtures::user;

    #[test]
    fn every_refusal_has_its_code_reason_and_detail() {
        let id = user(1);
        let refused = wire(CustomerRefused::NotFound(id));
        assert_eq!(refused, (Code::NotFound, "USER_NOT_FOUND".to_owned(), format!("user {id}")));
        let refused = wire(CustomerRefused::Deactivated(id));
        let expected = (Code::FailedPrecondition, "CUSTOMER_DEACTIVATED".to_owned(), format!("users/{id}"));
        assert_eq!(refused, expected);
    }
}
