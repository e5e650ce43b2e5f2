//! Requests drawn from the protos: well formed, with fields that make little sense, or some.

use std::collections::HashMap;

use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use crate::rpcs::descriptors;

/// Messages within messages, at most.
const DEPTH: usize = 4;

/// Texts that mean something somewhere.
const TEXTS: &[&str] = &[
    "",
    "P-0001",
    "crew",
    "Volunteer",
    "sta-main",
    "passport",
    "UTO",
    "2028-07-14",
    "daily 08:00-22:00",
    "LY1:0000000000",
    "LYS:0000000000",
    "lanyard/harbour-games-2027/committee",
    "lanyard/harbour-games-2027/police",
    "STA",
    "PUB",
    "\u{202e}نام\u{0}",
    "'; DROP TABLE people; --",
    "../../../../etc/passwd",
];

/// Lengths that bytes have somewhere.
const LENGTHS: &[usize] = &[0, 1, 4, 16, 20, 32, 48, 52, 64, 68, 96, 300];

/// Draws messages and damages them; repeatable.
pub struct Inventor {
    rng: ChaCha20Rng,
    messages: HashMap<String, DescriptorProto>,
}

impl Inventor {
    /// Draws from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut messages = HashMap::new();
        for file in descriptors().file {
            let package = format!(".{}", file.package());
            for message in file.message_type {
                messages.insert(format!("{package}.{}", message.name()), message);
            }
        }
        Self { rng: ChaCha20Rng::seed_from_u64(seed), messages }
    }

    /// A message of this type, `.package.Message`.
    #[must_use]
    pub fn message(&mut self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(name, 0, &mut bytes);
        bytes
    }

    /// The bytes with some of them changed, repeated or gone.
    #[must_use]
    pub fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..self.rng.random_range(1..=4) {
            if bytes.is_empty() {
                bytes.push(self.rng.random());
                continue;
            }
            let at = self.rng.random_range(0..bytes.len());
            match self.rng.random_range(0..5) {
                0 => bytes[at] ^= 1 << self.rng.random_range(0..8),
                1 => bytes[at] = self.rng.random(),
                2 => bytes.truncate(at),
                3 => bytes.insert(at, 0xff),
                _ => {
                    let again = bytes[at..].to_vec();
                    bytes.extend(again);
                    bytes.truncate(64 * 1024);
                }
            }
        }
        bytes
    }

    fn write(&mut self, name: &str, depth: usize, bytes: &mut Vec<u8>) {
        // Messages within messages of another file, such as enums' owners, are all top level here.
        let Some(message) = self.messages.get(name).cloned() else { return };
        for field in &message.field {
            if depth > 0 && self.rng.random_range(0..8) == 0 {
                continue;
            }
            let count = match field.label() {
                Label::Repeated => self.rng.random_range(0..=3),
                _ => 1,
            };
            for _ in 0..count {
                self.field(field, depth, bytes);
            }
        }
    }

    fn field(&mut self, field: &FieldDescriptorProto, depth: usize, bytes: &mut Vec<u8>) {
        let number = field.number().unsigned_abs();
        let value = match field.r#type() {
            Type::Message if depth == DEPTH => return,
            Type::Message => {
                let mut inner = Vec::new();
                self.write(field.type_name(), depth + 1, &mut inner);
                inner
            }
            Type::String => {
                let text = TEXTS[self.rng.random_range(0..TEXTS.len())];
                text.as_bytes().to_vec()
            }
            Type::Bytes => {
                let mut value = vec![0; LENGTHS[self.rng.random_range(0..LENGTHS.len())]];
                self.rng.fill_bytes(&mut value);
                value
            }
            _ => {
                let value = match self.rng.random_range(0..4) {
                    0 => u64::MAX,
                    1 => u64::from(u32::MAX),
                    _ => self.rng.random_range(0..5),
                };
                encode_key(number, WireType::Varint, bytes);
                encode_varint(value, bytes);
                return;
            }
        };
        encode_key(number, WireType::LengthDelimited, bytes);
        encode_varint(value.len() as u64, bytes);
        bytes.extend(value);
    }
}
