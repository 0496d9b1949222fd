//! A message as gRPC sends it: whether it is compressed, its length, and its bytes.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Flag and length before each message.
pub(super) const PREFIX: usize = 5;

/// An uncompressed message with its prefix.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(PREFIX + message.len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).expect("no message is as long as 4 GiB"));
    body.put_slice(message);
    body.freeze()
}

/// The message of a body that has exactly one, uncompressed.
pub(super) fn unframed(body: &Bytes) -> Option<Bytes> {
    let [flag, length @ ..] = *body.first_chunk::<PREFIX>()?;
    let message = body.slice(PREFIX..);
    (flag == 0 && u32::from_be_bytes(length) as usize == message.len()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_can_be_unframed() {
        for message in [&b""[..], b"m", &[0xff; 70_000]] {
            assert_eq!(unframed(&framed(message)).unwrap(), message);
        }
    }

    #[test]
    fn anything_but_one_whole_plain_message_is_none() {
        let [empty, one] = [framed(b""), framed(b"one")];
        let compressed = [&[1], &one[1..]].concat();
        for body in
            [&one[..4], &one[..7], &[&*one, b"x"].concat(), &[one.clone(), empty].concat(), &compressed, b""]
        {
            assert_eq!(unframed(&Bytes::copy_from_slice(body)), None, "{body:?}");
        }
    }
}
