//! What a request said, without its `request_id`: see [`types::Fingerprint`].

use prost::encoding::{decode_varint, encode_varint};
use sha2::{Digest, Sha256};
use types::Fingerprint;

use crate::call::Changing;
use crate::descriptor;

/// Every changing request has its `request_id` as field 1; a test of the house rules checks it.
const REQUEST_ID_FIELD: u32 = 1;

/// The fingerprint of a decoded request. It is taken of our own encoding, so it is the same however the client encoded
/// the request: fields are in the order of their numbers, defaults and unknown fields are left out. Secret fields are
/// left out as well, since a password can be guessed from its hash.
pub fn of<R: Changing>(request: &R) -> Fingerprint {
    let bytes = request.encode_to_vec();
    let mut whole = Sha256::new();
    let mut fields: Vec<(u32, Sha256)> = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((number, field)) = split_field(&mut rest) {
        if number == REQUEST_ID_FIELD || R::SECRET.contains(&number) {
            continue;
        }
        whole.update(field);
        match fields.last_mut() {
            Some((last, hash)) if *last == number => hash.update(field),
            _ => fields.push((number, Sha256::new_with_prefix(field))),
        }
    }
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(number, hash)| {
            let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
            (number, [a, b, c, d])
        })
        .collect();
    Fingerprint::new(whole.finalize().into(), &fields)
}

/// The names of fields of a method's request. Numbers that it does not have are left out.
pub fn field_names(method: &str, numbers: &[u32]) -> Vec<String> {
    let Some(method) = descriptor::method(method) else {
        return Vec::new();
    };
    let input = method.input();
    numbers
        .iter()
        .filter_map(|number| input.get_field(*number))
        .map(|field| field.name().to_owned())
        .collect()
}

/// Splits the first field, with its key, off a message that prost encoded.
fn split_field<'a>(rest: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    const WELL_FORMED: &str = "prost encoded this message";
    if rest.is_empty() {
        return None;
    }
    let start = *rest;
    let key = decode_varint(rest).expect(WELL_FORMED);
    let skip = match key & 7 {
        0 => {
            decode_varint(rest).expect(WELL_FORMED);
            0
        }
        1 => 8,
        2 => usize::try_from(decode_varint(rest).expect(WELL_FORMED)).expect(WELL_FORMED),
        5 => 4,
        _ => unreachable!("prost encodes no groups"),
    };
    *rest = &rest[skip..];
    let number = u32::try_from(key >> 3).expect(WELL_FORMED);
    Some((number, &start[..start.len() - rest.len()]))
}

/// Joins parts for a hash. Each part is preceded by its length, so two different lists never give the same bytes.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        encode_varint(part.len() as u64, &mut out);
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::order::v1::{OrderItem, PlaceOrderRequest, RefundOrderRequest};
    use crate::user::v1::CreateUserRequest;

    use super::*;

    fn order(request_id: &str, quantities: &[i64]) -> PlaceOrderRequest {
        let items =
            quantities.iter().map(|quantity| OrderItem { quantity: *quantity, ..OrderItem::default() });
        PlaceOrderRequest { request_id: request_id.to_owned(), items: items.collect() }
    }

    #[test]
    fn the_request_id_is_not_content_and_the_rest_is() {
        let one = of(&order("a", &[1, 2]));
        assert_eq!(one, of(&order("b", &[1, 2])));
        let two = of(&order("a", &[2, 1]));
        assert!(!one.same_content(&two));
        let numbers = one.differing_fields(&two);
        assert_eq!(field_names("order.v1.OrderService/PlaceOrder", &numbers), ["items"]);
    }

    #[test]
    fn a_missing_field_differs_from_a_present_one() {
        let refund = |minor_units| RefundOrderRequest {
            amount: Some(crate::common::v1::Money { currency_code: "EUR".to_owned(), minor_units }),
            ..RefundOrderRequest::default()
        };
        let none = of(&RefundOrderRequest::default());
        assert_eq!(none.differing_fields(&of(&refund(1))), [3]);
        assert_eq!(of(&refund(1)).differing_fields(&of(&refund(2))), [3]);
    }

    #[test]
    fn a_secret_leaves_no_trace() {
        let user = |password: &str| CreateUserRequest { password: password.to_owned(), ..Default::default() };
        assert_eq!(of(&user("one")), of(&user("two")));
    }
}
