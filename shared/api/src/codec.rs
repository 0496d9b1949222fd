//! The message codec of all generated clients and servers.
//!
//! tonic reports a request that cannot be decoded as INTERNAL, which blames the server for the client's
//! fault. This codec marks such a status, and the server's outermost layer turns a marked one into
//! INVALID_ARGUMENT `MALFORMED_MESSAGE`. It is only marked here because a client uses the same codec, and
//! there the fault is the server's.
//!
//! It also refuses to encode a message that is too long for the other side to decode: that is a mistake of this side.

use prost::Message;
use prost::bytes::BufMut as _;
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstEncoder};

/// Metadata key of a status that [`Codec`] made because the bytes were no message. Never leaves the server.
pub const MALFORMED: &str = "x-malformed-message";

/// The longest message, in bytes: what tonic decodes at the most, unless it is told otherwise.
pub const MESSAGE_SIZE_LIMIT: usize = 4 * 1024 * 1024;

/// Encodes `T`, decodes `U`.
#[derive(Debug, Clone)]
pub struct Codec<T, U>(std::marker::PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = LimitingEncoder<ProstEncoder<T>>;
    type Decoder = MarkingDecoder<<ProstCodec<T, U> as tonic::codec::Codec>::Decoder>;

    fn encoder(&mut self) -> Self::Encoder {
        LimitingEncoder(ProstCodec::<T, U>::raw_encoder(BufferSettings::default()))
    }

    fn decoder(&mut self) -> Self::Decoder {
        MarkingDecoder(ProstCodec::<T, U>::raw_decoder(BufferSettings::default()))
    }
}

/// An encoder that refuses messages over [`MESSAGE_SIZE_LIMIT`].
#[derive(Debug, Clone)]
pub struct LimitingEncoder<E>(E);

impl<E: Encoder<Error = Status>> Encoder for LimitingEncoder<E> {
    type Item = E::Item;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let room = dst.remaining_mut();
        self.0.encode(item, dst)?;
        let length = room - dst.remaining_mut();
        if length > MESSAGE_SIZE_LIMIT {
            return Err(Status::internal(format!("a message of {length} bytes is too long to be sent")));
        }
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// A decoder that marks its failures.
#[derive(Debug, Clone)]
pub struct MarkingDecoder<D>(D);

impl<D: Decoder<Error = Status>> Decoder for MarkingDecoder<D> {
    type Item = D::Item;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        self.0.decode(src).map_err(|mut status| {
            status.metadata_mut().insert(MALFORMED, tonic::metadata::MetadataValue::from_static("1"));
            status
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
