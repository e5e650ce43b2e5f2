//! A receipt as a file that proves itself, offline and years later.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::chain::{
    ReceiptChain, ReceiptEntry, VerifiedBatchHead, parse_decimal, verify_batch_head,
};
use super::{OpenedBody, ReceiptBody, ReceiptError, ReceiptOrigin, SealedBody, SealedSession};
use crate::hpke_box::HpkeSecretKey;
use crate::ids::{Hash, Timestamp};
use crate::manifest::Manifest;
use crate::note::{Note, NoteError, VerifyingKey};

/// The first line of the file.
const TITLE: &str = "lanyard receipt v1";
/// Most entries from the receipt to its head.
const MAX_ENTRIES: usize = 65_536;

/// One receipt with what proves it; nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The chain's hash before the entry.
    pub before: Hash,
    /// The entry.
    pub entry: ReceiptEntry,
    /// The entries after it, up to the signed head.
    pub after: Vec<ReceiptEntry>,
    /// The signed head.
    pub head: Note,
    /// The session that the body is sealed in, unless retention deleted it.
    pub session: Option<SealedSession>,
    /// The sealed body, unless retention deleted it.
    pub sealed: Option<SealedBody>,
    /// The body, if an auditor revealed it.
    pub opened: Option<OpenedBody>,
}

impl Receipt {
    /// Reveals the body with the audit key.
    ///
    /// # Errors
    /// [`ReceiptError::Sealed`] if there is no sealed body; else as [`SealedSession::open`] and
    /// [`super::AuditSession::open`].
    pub fn open(
        &mut self,
        audit: &HpkeSecretKey,
        origin: &ReceiptOrigin,
    ) -> Result<(), ReceiptError> {
        let sequence = self.entry.sequence;
        let (Some(session), Some(sealed)) = (&self.session, &self.sealed) else {
            return Err(ReceiptError::Sealed { sequence });
        };
        self.opened = Some(session.open(audit, origin)?.open(sequence, sealed)?);
        Ok(())
    }

    /// Parses the file.
    ///
    /// # Errors
    /// [`ReceiptError::Text`], [`ReceiptError::Codec`] or [`ReceiptError::Note`].
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let (fields, note) = text.split_once("\n\n").ok_or(ReceiptError::Text {
            line: 1,
            problem: "no blank line before the signed head",
        })?;
        let mut lines = Lines { lines: fields.split('\n'), line: 0, ahead: None };
        lines.title()?;
        let before = lines
            .take("before")
            .and_then(|hash| Hash::parse(hash).ok())
            .ok_or_else(|| lines.refused("before HASH expected"))?;
        let mut entries = Vec::new();
        while let Some(entry) = lines.take("entry") {
            let entry = parse_entry(entry)
                .ok_or_else(|| lines.refused("entry SEQUENCE MILLISECONDS HASH expected"))?;
            entries.push(entry);
            if entries.len() > MAX_ENTRIES {
                return Err(lines.refused("too many entries"));
            }
        }
        if entries.is_empty() {
            return Err(lines.refused("no entry"));
        }
        let entry = entries.remove(0);
        let session = lines.bytes("session")?.map(SealedSession::new);
        let sealed =
            lines.bytes("sealed")?.map(|bytes| SealedBody::from_bytes(&bytes)).transpose()?;
        let opened =
            lines.bytes("opened")?.map(|bytes| OpenedBody::from_bytes(&bytes)).transpose()?;
        lines.finish()?;
        let head = Note::parse(note)?;
        Ok(Self { before, entry, after: entries, head, session, sealed, opened })
    }
}

impl fmt::Display for Receipt {
    /// The file: a title, a line a field, a blank line, the signed head.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}\nbefore {}", self.before)?;
        for entry in std::iter::once(&self.entry).chain(&self.after) {
            let ReceiptEntry { sequence, time, commitment } = entry;
            writeln!(f, "entry {sequence} {} {commitment}", time.millis())?;
        }
        let bytes = [
            ("session", self.session.as_ref().map(|session| session.as_bytes().to_vec())),
            ("sealed", self.sealed.as_ref().map(SealedBody::to_bytes)),
            ("opened", self.opened.as_ref().map(OpenedBody::to_bytes)),
        ];
        for (name, bytes) in bytes {
            if let Some(bytes) = bytes {
                writeln!(f, "{name} {}", BASE64.encode(bytes))?;
            }
        }
        write!(f, "\n{}", self.head)
    }
}

fn parse_entry(text: &str) -> Option<ReceiptEntry> {
    let (sequence, rest) = text.split_once(' ')?;
    let (time, commitment) = rest.split_once(' ')?;
    Some(ReceiptEntry {
        sequence: parse_decimal(sequence)?,
        time: Timestamp::from_millis(parse_decimal(time)?),
        commitment: Hash::parse(commitment).ok()?,
    })
}

/// The lines before the note, one ahead.
struct Lines<'a> {
    lines: std::str::Split<'a, char>,
    line: usize,
    ahead: Option<&'a str>,
}

impl<'a> Lines<'a> {
    fn refused(&self, problem: &'static str) -> ReceiptError {
        ReceiptError::Text { line: self.line.max(1), problem }
    }

    fn peek(&mut self) -> Option<&'a str> {
        if self.ahead.is_none() {
            self.ahead = self.lines.next();
            self.line += 1;
        }
        self.ahead
    }

    fn title(&mut self) -> Result<(), ReceiptError> {
        if self.peek() != Some(TITLE) {
            return Err(self.refused("not a receipt, which starts with: lanyard receipt v1"));
        }
        self.ahead = None;
        Ok(())
    }

    /// The value of the next line if it is the field `name`.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let value = self.peek()?.strip_prefix(name)?.strip_prefix(' ')?;
        self.ahead = None;
        Some(value)
    }

    fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, ReceiptError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match BASE64.decode(value) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(_) => Err(self.refused("not base64")),
            },
        }
    }

    fn finish(mut self) -> Result<(), ReceiptError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.refused("unknown or misplaced field")),
        }
    }
}

/// A receipt that the gate signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt {
    entry: ReceiptEntry,
    head: VerifiedBatchHead,
    body: Option<ReceiptBody>,
}

impl VerifiedReceipt {
    /// The entry.
    #[must_use]
    pub const fn entry(&self) -> &ReceiptEntry {
        &self.entry
    }

    /// The signed head that covers it.
    #[must_use]
    pub const fn head(&self) -> &VerifiedBatchHead {
        &self.head
    }

    /// What the gate knew and said, if the receipt reveals it.
    #[must_use]
    pub const fn body(&self) -> Option<&ReceiptBody> {
        self.body.as_ref()
    }
}

/// Verifies that the gate of `origin` signed for the receipt, and that a revealed body is the one it signed for.
///
/// # Errors
/// As [`verify_batch_head`]; [`ReceiptError::Sequence`], [`ReceiptError::Chain`] or [`ReceiptError::Commitment`].
pub fn verify_receipt(
    receipt: &Receipt,
    origin: &ReceiptOrigin,
    key: &VerifyingKey,
) -> Result<VerifiedReceipt, ReceiptError> {
    let head = verify_batch_head(&receipt.head, origin, key)?;
    let entry = receipt.entry;
    let before = entry.sequence.checked_sub(1);
    let before = before.ok_or(ReceiptError::Sequence { last: 0, given: entry.sequence })?;
    let mut chain = ReceiptChain::resume(before, receipt.before);
    chain.extend(&entry)?;
    receipt.after.iter().try_for_each(|entry| chain.extend(entry))?;
    if (chain.sequence(), chain.hash()) != (head.head().sequence, head.head().chain) {
        return Err(ReceiptError::Chain { sequence: head.head().sequence });
    }
    let body = match &receipt.opened {
        None => None,
        Some(opened) if opened.opens(&entry.commitment) => Some(opened.body().clone()),
        Some(_) => return Err(ReceiptError::Commitment { sequence: entry.sequence }),
    };
    Ok(VerifiedReceipt { entry, head, body })
}

/// Verifies a receipt under whichever of a gate's `keys` signed its head, unless the `newest` manifest says that this key had
/// come to its end by then, as when the gate was stolen.
///
/// # Errors
/// As [`verify_receipt`], and [`ReceiptError::Ended`].
pub fn verify_receipt_given(
    receipt: &Receipt,
    origin: &ReceiptOrigin,
    keys: &[VerifyingKey],
    newest: &Manifest,
) -> Result<VerifiedReceipt, ReceiptError> {
    let signed = |key: &&VerifyingKey| receipt.head.signatures().iter().any(|line| line.is_by(key));
    let Some(key) = keys.iter().find(signed).or(keys.first()) else {
        return Err(NoteError::Unsigned { expected: Vec::new() }.into());
    };
    let verified = verify_receipt(receipt, origin, key)?;
    let (sequence, time) = (verified.entry.sequence, verified.entry.time);
    match newest.end_of(key) {
        Some(end) if time >= end.time => Err(ReceiptError::Ended { sequence, until: end.time }),
        _ => Ok(verified),
    }
}
