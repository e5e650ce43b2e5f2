//! The file form of an attestation: named lines, a blank line, and a C2SP tlog-proof of the map head, verbatim.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Attestation, MAGIC, MAX_MAP_PROOF_BYTES, Opening};
use crate::audience_key::AudienceKey;
use crate::badge::EpochKey;
use crate::checkpoint::parse_decimal;
use crate::head::MAX_HEAD_BYTES;
use crate::ids::{Audience, Authority, Epoch, Handle, Hash};
use crate::map::MapProof;
use crate::record::SealedRecord;
use crate::tlog_proof::{MAX_TEXT_BYTES as MAX_PROOF_TEXT_BYTES, TlogProof, TlogProofError};

/// The most bytes of a text.
const MAX_TEXT_BYTES: usize = MAX_PROOF_TEXT_BYTES + 2 * MAX_MAP_PROOF_BYTES + 4_096;

/// Why a text is no attestation.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttestationTextError {
    /// More bytes than allowed.
    #[error("attestation: {length} bytes, at most {MAX_TEXT_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// Another first line.
    #[error("attestation: the first line is not `lanyard attestation v1`")]
    Header,
    /// A line that is not there or does not hold what its name says.
    #[error("attestation: line {line}: expected `{name} …`: {problem}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// The name of the line that is due.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The proof after the blank line is malformed; its lines are counted from the blank line.
    #[error("attestation: {0}")]
    Proof(#[from] TlogProofError),
    /// The proof has extra data, which nothing would authenticate.
    #[error("attestation: the log proof has extra data")]
    Extra,
}

impl Attestation {
    /// The text; secret if there is an opening.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut public = String::with_capacity(4_096);
        public.push_str(std::str::from_utf8(MAGIC).expect("the magic is ASCII"));
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            writeln!(public, "{name} {value}").expect("writing to a string cannot fail");
        };
        line("manifest", &self.manifest);
        line("authority", &self.authority);
        line("audience", &self.audience);
        line("epoch", &self.epoch);
        line("handle", &BASE64.encode(self.handle.as_bytes()));
        match &self.record {
            None => line("record", &"absent"),
            Some(record) => {
                let encoded = BASE64.encode(record.bytes());
                line("record", &format_args!("{} {encoded}", record.version()));
            }
        }
        line("map-proof", &BASE64.encode(self.map_proof.to_bytes()));
        line("head", &BASE64.encode(&self.head));
        let proof = format!("\n{}", TlogProof { extra: None, ..self.log_proof.clone() });
        // Room for all, so that growing leaves no copy of the keys behind.
        let mut text = Zeroizing::new(String::with_capacity(public.len() + 256 + proof.len()));
        text.push_str(&public);
        if let Some(opening) = &self.opening {
            let keys = [opening.epoch_key.expose_bytes(), opening.audience_key.expose_bytes()];
            for (name, key) in ["epoch-key ", "audience-key "].into_iter().zip(keys) {
                text.push_str(name);
                text.push_str(&Zeroizing::new(BASE64.encode(key)));
                text.push('\n');
            }
        }
        text.push_str(&proof);
        text
    }

    /// Parses the text; only [`verify_attestation`](super::verify_attestation) says whether it proves anything.
    ///
    /// # Errors
    /// [`AttestationTextError`].
    pub fn parse_text(text: &str) -> Result<Self, AttestationTextError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(AttestationTextError::TooLong { length: text.len() });
        }
        let rest = text.as_bytes().strip_prefix(MAGIC).map(|rest| text.len() - rest.len());
        let rest = &text[rest.ok_or(AttestationTextError::Header)?..];
        let mut lines = Lines { rest, number: 1 };
        let manifest =
            lines.value("manifest", "no hash in base64", |text| Hash::parse(text).ok())?;
        let authority = lines.value("authority", "neither committee nor police", |text| {
            Authority::parse(text).ok()
        })?;
        let audience = lines.value("audience", "neither gate, police nor sponsor", |text| {
            Audience::parse(text).ok()
        })?;
        let epoch = lines.value("epoch", "not a plain decimal number", |text| {
            u32::try_from(parse_decimal(text)?).ok().map(Epoch::new)
        })?;
        let handle = lines.value("handle", "not 16 bytes in base64", |text| {
            array(text).map(|bytes| Handle::new(*bytes))
        })?;
        let record = lines.value(
            "record",
            "neither `absent` nor version and 48 bytes",
            |text| match text.split_once(' ') {
                None => (text == "absent").then_some(None),
                Some((version, bytes)) => {
                    let version = u32::try_from(parse_decimal(version)?).ok()?;
                    SealedRecord::new(version, *array(bytes)?).ok().map(Some)
                }
            },
        )?;
        let map_proof = lines.value("map-proof", "no map proof", |text| {
            MapProof::from_bytes(&limited(text, MAX_MAP_PROOF_BYTES)?).ok()
        })?;
        let head = lines.value("head", "not at most 1024 bytes in base64", |text| {
            limited(text, MAX_HEAD_BYTES)
        })?;
        let opening = match lines.rest.starts_with('\n') {
            true => None,
            false => {
                let key = |text: &str| array::<32>(text);
                let problem = "not 32 bytes in base64";
                let epoch_key = lines.value("epoch-key", problem, key)?;
                let audience_key = lines.value("audience-key", problem, key)?;
                Some(Opening {
                    epoch_key: EpochKey::from_bytes(*epoch_key),
                    audience_key: AudienceKey::from_bytes(*audience_key),
                })
            }
        };
        let Some(proof) = lines.rest.strip_prefix('\n') else {
            let (line, name) = (lines.number + 1, "");
            let problem = "a blank line must follow, then the log proof";
            return Err(AttestationTextError::Line { line, name, problem });
        };
        let log_proof = TlogProof::parse(proof)?;
        if log_proof.extra.is_some() {
            return Err(AttestationTextError::Extra);
        }
        Ok(Self {
            manifest,
            authority,
            audience,
            epoch,
            handle,
            record,
            map_proof,
            head,
            log_proof,
            opening,
        })
    }
}

struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    /// The value of the next line, which must bear this name.
    fn value<T>(
        &mut self,
        name: &'static str,
        problem: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, AttestationTextError> {
        self.number += 1;
        let line = self.number;
        let refused = |problem| AttestationTextError::Line { line, name, problem };
        let (content, rest) =
            self.rest.split_once('\n').ok_or_else(|| refused("the text ends too early"))?;
        self.rest = rest;
        let value = content.strip_prefix(name).and_then(|value| value.strip_prefix(' '));
        parse(value.ok_or_else(|| refused("another line stands here"))?)
            .ok_or_else(|| refused(problem))
    }
}

fn limited(text: &str, limit: usize) -> Option<Vec<u8>> {
    BASE64.decode(text).ok().filter(|bytes| bytes.len() <= limit)
}

fn array<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let bytes = Zeroizing::new(BASE64.decode(text).ok()?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}
