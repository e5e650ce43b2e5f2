//! The feed's messages at rest: one after the other, each with its length before it, as protobuf does it.

use bytes::{Buf as _, Bytes, BytesMut};
use lanyard_feed::MAX_MESSAGE_BYTES;
use lanyard_wire::feed::v1::FollowResponse;
use lanyard_wire::feed::v1::follow_response::Update;
use prost::Message as _;
use prost::encoding::decode_varint;

/// The most bytes of a length.
const MAX_LENGTH_BYTES: usize = 10;

/// A message with its length.
pub(crate) fn encode(update: Update) -> Bytes {
    FollowResponse { update: Some(update) }.encode_length_delimited_to_vec().into()
}

/// Takes messages out of bytes that come in parts of any size.
#[derive(Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, if all of it is there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn next(&mut self) -> Result<Option<FollowResponse>, String> {
        let mut head = &self.buffer[..self.buffer.len().min(MAX_LENGTH_BYTES)];
        let is_cut = head.len() < MAX_LENGTH_BYTES && head.iter().all(|byte| byte & 0x80 != 0);
        if is_cut {
            return Ok(None);
        }
        let before = head.len();
        let length = decode_varint(&mut head).map_err(|error| error.to_string())?;
        let prefix = before - head.len();
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_MESSAGE_BYTES);
        let length =
            length.ok_or_else(|| format!("a message of more than {MAX_MESSAGE_BYTES} bytes"))?;
        if self.buffer.len() < prefix + length {
            return Ok(None);
        }
        self.buffer.advance(prefix);
        let message = self.buffer.split_to(length).freeze();
        FollowResponse::decode(message).map(Some).map_err(|error| error.to_string())
    }

    /// Whether bytes are left that make no message.
    pub(crate) fn has_rest(&self) -> bool {
        !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use lanyard_wire::feed::v1::Cosigned;

    use super::*;

    fn update(length: usize) -> Update {
        Update::Cosigned(Cosigned { checkpoint: "x".repeat(length) })
    }

    #[test]
    fn messages_come_out_whole_however_the_bytes_arrive() {
        let lengths = [0, 1, 127, 128, 5_000];
        let bytes: Vec<u8> = lengths.iter().flat_map(|length| encode(update(*length))).collect();
        for step in [1, 2, 7, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for part in bytes.chunks(step) {
                decoder.push(part);
                while let Some(message) = decoder.next().unwrap() {
                    found.push(message.update.unwrap());
                }
            }
            assert_eq!(found, lengths.map(update));
            assert!(!decoder.has_rest());
        }
    }

    #[test]
    fn endless_lengths_and_garbage_are_refused() {
        for bytes in [[0xff; 10].as_slice(), &[0xff, 0xff, 0xff, 0xff, 0x0f], &[2, 0xff, 0xff]] {
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            assert!(decoder.next().is_err(), "{bytes:?}");
        }
    }
}
