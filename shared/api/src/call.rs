//! What the descriptors say about each method's request: the method that it belongs to, and for a changing method the
//! request id and the secret fields. `build.rs` writes the implementations, so no method name is typed by hand.

use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};

/// The request of one method.
pub trait Rpc: Message {
    /// The method's full name, such as `order.v1.OrderService/PlaceOrder`.
    const METHOD: &'static str;
}

/// A request that changes something, and may be repeated under its `request_id`.
pub trait Changing: Rpc {
    /// The numbers of the fields that are marked `debug_redact`, such as passwords. Nothing may be kept from which they
    /// could be guessed.
    const SECRET: &'static [u32];

    /// The client's name for this call. It is not checked yet.
    fn request_id(&self) -> &str;
}

include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// The metadata key of an answer, or of a refusal, that an earlier call with the same request id got first.
pub const REPLAY: &str = "idempotent-replay";

/// Marks an answer that was given before.
pub fn mark_replay(metadata: &mut MetadataMap) {
    metadata.insert(REPLAY, MetadataValue::from_static("true"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::v1::{GetOrderRequest, PlaceOrderRequest};
    use crate::user::v1::CreateUserRequest;

    #[test]
    fn the_descriptors_name_the_method_the_request_id_and_the_secrets() {
        assert_eq!(GetOrderRequest::METHOD, "order.v1.OrderService/GetOrder");
        assert_eq!(PlaceOrderRequest::METHOD, "order.v1.OrderService/PlaceOrder");
        assert_eq!(PlaceOrderRequest::SECRET, [] as [u32; 0]);
        assert_eq!(CreateUserRequest::SECRET, [4]);
        let request = PlaceOrderRequest { request_id: "mine".to_owned(), ..PlaceOrderRequest::default() };
        assert_eq!(request.request_id(), "mine");
    }
}
