//! The texts that carry badges: what is printed, and what a phone or a sponsor's desk shows.

use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use super::base45::{decode_into, encode_into, encoded_len};
use super::{BadgeSecret, EpochKey};
use crate::ids::{Audience, Authority, Epoch, EventId};
use crate::secret::Context;

static EVENT_TAG: Context = Context::new("lanyard v1 event tag");
static BADGE_CHECKSUM: Context = Context::new("lanyard v1 badge checksum");
static SCOPED_CHECKSUM: Context = Context::new("lanyard v1 scoped code checksum");

/// The version of both texts.
const VERSION: u8 = 1;
const BADGE_PREFIX: &str = "LY1:";
const SCOPED_PREFIX: &str = "LYS:";

/// Version (1), event tag (4).
const HEADER: usize = 5;
const CHECKSUM: usize = 4;
const BADGE_BYTES: usize = HEADER + 32 + CHECKSUM;
/// Version and tag, audience (1), epoch (4).
const SCOPED_HEADER: usize = HEADER + 5;
/// Of two authorities in two epochs.
const MAX_KEYS: usize = 4;
const SCOPED_MAX: usize = scoped_len(MAX_KEYS);

/// Why a presented text is refused. None of these holds any of the text.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadgeTextError {
    /// Some other code.
    #[error("badge text: not a Lanyard code, which starts with LY1: or LYS:")]
    NotALanyardCode,
    /// Cut off or run together.
    #[error("badge text: {length} characters, {expected} expected; scan again")]
    Length {
        /// Characters given.
        length: usize,
        /// Characters expected.
        expected: usize,
    },
    /// A character or group that base45 does not have.
    #[error("badge text: not base45 (RFC 9285); scan again")]
    Base45,
    /// From a later or broken issuer.
    #[error("badge text: version {version} is unknown; this software reads version {VERSION}")]
    Version {
        /// The version given.
        version: u8,
    },
    /// Misread.
    #[error("badge text: checksum does not match; scan again")]
    Checksum,
    /// Intact, but not of this event.
    #[error("badge text: issued for another event")]
    OtherEvent,
    /// A scoped code for an audience that does not exist.
    #[error("badge text: unknown audience {audience}")]
    Audience {
        /// The byte given.
        audience: u8,
    },
}

/// The printed form of a badge secret: 66 characters of QR's alphanumeric mode, wiped on drop.
///
/// `LY1:` and base45 of version (1), event tag (4), secret (32), checksum (4).
pub struct BadgeText(Zeroizing<String>);

impl BadgeText {
    /// Characters of every badge text.
    pub const LENGTH: usize = BADGE_PREFIX.len() + encoded_len(BADGE_BYTES);

    /// The text of a badge of `event`.
    #[must_use]
    pub fn new(secret: &BadgeSecret, event: &EventId) -> Self {
        let mut bytes = Zeroizing::new([0; BADGE_BYTES]);
        bytes[0] = VERSION;
        bytes[1..HEADER].copy_from_slice(&event_tag(event));
        bytes[HEADER..HEADER + 32].copy_from_slice(secret.expose_bytes());
        seal_text(BADGE_PREFIX, &BADGE_CHECKSUM, &mut *bytes)
    }

    /// The text itself: to print, never to log.
    #[must_use]
    pub fn expose_str(&self) -> &str {
        &self.0
    }

    /// Reads a badge of `event`.
    ///
    /// # Errors
    /// [`BadgeTextError`].
    pub fn parse(text: &str, event: &EventId) -> Result<BadgeSecret, BadgeTextError> {
        let body = text.strip_prefix(BADGE_PREFIX).ok_or(BadgeTextError::NotALanyardCode)?;
        let mut bytes = Zeroizing::new([0; BADGE_BYTES]);
        open_text(body, BADGE_PREFIX, &BADGE_CHECKSUM, event, &mut *bytes)?;
        let mut secret = BadgeSecret([0; 32]);
        secret.0.copy_from_slice(&bytes[HEADER..HEADER + 32]);
        Ok(secret)
    }
}

/// The epochs that a scoped code is for: one, or, around a change of epochs, two that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeEpochs {
    oldest: Epoch,
    newest: Epoch,
}

impl From<Epoch> for CodeEpochs {
    fn from(epoch: Epoch) -> Self {
        Self { oldest: epoch, newest: epoch }
    }
}

impl CodeEpochs {
    /// This epoch and the next.
    #[must_use]
    pub const fn both(oldest: Epoch) -> Self {
        Self { oldest, newest: oldest.next() }
    }

    /// The first of them.
    #[must_use]
    pub const fn oldest(self) -> Epoch {
        self.oldest
    }

    /// The last of them.
    #[must_use]
    pub const fn newest(self) -> Epoch {
        self.newest
    }

    fn iter(self) -> impl Iterator<Item = Epoch> {
        [Some(self.oldest), (self.newest > self.oldest).then_some(self.newest)]
            .into_iter()
            .flatten()
    }
}

/// Keys of one badge for one audience and one epoch, or two: what a phone shows, and what a scanner that can derive sends on.
///
/// `LYS:` and base45 of version (1), event tag (4), audience (1), the oldest epoch (4), for each epoch one key (32) for each
/// authority that publishes for the audience, checksum (4): 121 characters for gates, 73 for police and sponsor; for two
/// epochs 217 and 121.
pub struct ScopedCode {
    audience: Audience,
    epochs: CodeEpochs,
    /// Epoch by epoch, of each the committee's first.
    keys: Vec<EpochKey>,
}

impl ScopedCode {
    /// The code of a badge for `audience` in `epochs`.
    #[must_use]
    pub fn derive(
        secret: &BadgeSecret,
        event: &EventId,
        audience: Audience,
        epochs: impl Into<CodeEpochs>,
    ) -> Self {
        let epochs = epochs.into();
        // One that grows would leave copies behind.
        let mut keys = Vec::with_capacity(MAX_KEYS);
        for (authority, epoch) in places(audience, epochs) {
            keys.push(secret.seed(authority, audience).epoch_key(event, epoch));
        }
        Self { audience, epochs, keys }
    }

    /// The text: to show for as long as the epochs last, never to log. Wiped on drop.
    #[must_use]
    pub fn to_text(&self, event: &EventId) -> Zeroizing<String> {
        let mut buffer = Zeroizing::new([0; SCOPED_MAX]);
        let bytes = &mut buffer[..scoped_len(self.keys.len())];
        bytes[0] = VERSION;
        bytes[1..HEADER].copy_from_slice(&event_tag(event));
        bytes[HEADER] = self.audience.byte();
        bytes[HEADER + 1..SCOPED_HEADER].copy_from_slice(&self.epochs.oldest.get().to_be_bytes());
        for (bytes, key) in bytes[SCOPED_HEADER..].chunks_exact_mut(32).zip(&self.keys) {
            bytes.copy_from_slice(key.expose_bytes());
        }
        seal_text(SCOPED_PREFIX, &SCOPED_CHECKSUM, bytes).0
    }

    /// Reads a code of `event`.
    ///
    /// # Errors
    /// [`BadgeTextError`].
    pub fn parse(text: &str, event: &EventId) -> Result<Self, BadgeTextError> {
        let body = text.strip_prefix(SCOPED_PREFIX).ok_or(BadgeTextError::NotALanyardCode)?;
        // The length tells how many keys there are; the audience must then agree with it.
        let keys = [1, 2]
            .into_iter()
            .find(|keys| text.len() <= scoped_text_len(*keys))
            .unwrap_or(MAX_KEYS);
        let mut buffer = Zeroizing::new([0; SCOPED_MAX]);
        let bytes = &mut buffer[..scoped_len(keys)];
        open_text(body, SCOPED_PREFIX, &SCOPED_CHECKSUM, event, bytes)?;
        let audience = Audience::from_byte(bytes[HEADER])
            .ok_or(BadgeTextError::Audience { audience: bytes[HEADER] })?;
        let mut oldest = [0; 4];
        oldest.copy_from_slice(&bytes[HEADER + 1..SCOPED_HEADER]);
        let oldest = Epoch::new(u32::from_be_bytes(oldest));
        let in_one = publishers(audience).count();
        // After the last epoch there is none.
        let of_epochs = [CodeEpochs::from(oldest), CodeEpochs::both(oldest)];
        let epochs = of_epochs.into_iter().find(|epochs| epochs.iter().count() * in_one == keys);
        let expected = scoped_text_len(in_one);
        let epochs = epochs.ok_or(BadgeTextError::Length { length: text.len(), expected })?;
        let key = |bytes: &[u8]| {
            let mut key = EpochKey([0; 32]);
            key.0.copy_from_slice(bytes);
            key
        };
        let keys = bytes[SCOPED_HEADER..].chunks_exact(32).map(key).collect();
        Ok(Self { audience, epochs, keys })
    }

    /// Who may ask with it.
    #[must_use]
    pub const fn audience(&self) -> Audience {
        self.audience
    }

    /// When it is good.
    #[must_use]
    pub const fn epochs(&self) -> CodeEpochs {
        self.epochs
    }

    /// The badge's key for this authority's directory of an epoch, if the authority publishes for the audience and the code is
    /// for the epoch.
    #[must_use]
    pub fn key(&self, authority: Authority, epoch: Epoch) -> Option<&EpochKey> {
        let mut places = places(self.audience, self.epochs);
        self.keys.get(places.position(|place| place == (authority, epoch))?)
    }
}

/// What was held before a scanner.
pub enum Presented {
    /// A badge, with its secret.
    Badge(BadgeSecret),
    /// A code for one audience and epoch.
    Scoped(ScopedCode),
}

impl Presented {
    /// Reads either text.
    ///
    /// # Errors
    /// [`BadgeTextError`].
    pub fn parse(text: &str, event: &EventId) -> Result<Self, BadgeTextError> {
        if text.starts_with(SCOPED_PREFIX) {
            ScopedCode::parse(text, event).map(Self::Scoped)
        } else {
            BadgeText::parse(text, event).map(Self::Badge)
        }
    }

    /// The badge's key in one directory; `None` if a scoped code is for another audience or for other epochs.
    #[must_use]
    pub fn epoch_key(
        &self,
        event: &EventId,
        authority: Authority,
        audience: Audience,
        epoch: Epoch,
    ) -> Option<EpochKey> {
        match self {
            Self::Badge(secret) => Some(secret.seed(authority, audience).epoch_key(event, epoch)),
            Self::Scoped(code) if code.audience == audience => {
                code.key(authority, epoch).map(|key| EpochKey::from_bytes(*key.expose_bytes()))
            }
            Self::Scoped(_) => None,
        }
    }
}

/// Who publishes for an audience, the committee first.
fn publishers(audience: Audience) -> impl Iterator<Item = Authority> {
    let publishes = move |one: &Authority| Audience::published_by(*one).contains(&audience);
    Authority::ALL.into_iter().filter(publishes)
}

/// Whose directories of which epochs a code has keys for, in the order in which it has them.
fn places(audience: Audience, epochs: CodeEpochs) -> impl Iterator<Item = (Authority, Epoch)> {
    epochs.iter().flat_map(move |epoch| publishers(audience).map(move |one| (one, epoch)))
}

const fn scoped_len(keys: usize) -> usize {
    SCOPED_HEADER + 32 * keys + CHECKSUM
}

const fn scoped_text_len(keys: usize) -> usize {
    SCOPED_PREFIX.len() + encoded_len(scoped_len(keys))
}

/// Four bytes that tell events apart; not a secret, and not a proof.
fn event_tag(event: &EventId) -> [u8; 4] {
    first_four(EVENT_TAG.derive(event.as_bytes()))
}

fn first_four([a, b, c, d, ..]: [u8; 32]) -> [u8; 4] {
    [a, b, c, d]
}

/// Fills in the checksum, the last four bytes, and encodes.
fn seal_text(prefix: &str, context: &Context, bytes: &mut [u8]) -> BadgeText {
    let (covered, checksum) = bytes.split_at_mut(bytes.len() - CHECKSUM);
    checksum.copy_from_slice(&first_four(context.derive(covered)));
    // The capacity is exact: a String that grows would leave a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + encoded_len(bytes.len())));
    text.push_str(prefix);
    encode_into(bytes, &mut text);
    BadgeText(text)
}

/// Decodes `body` into `bytes` and checks what both texts share.
fn open_text(
    body: &str,
    prefix: &str,
    context: &Context,
    event: &EventId,
    bytes: &mut [u8],
) -> Result<(), BadgeTextError> {
    let expected = prefix.len() + encoded_len(bytes.len());
    let length = prefix.len() + body.len();
    if length != expected {
        return Err(BadgeTextError::Length { length, expected });
    }
    decode_into(body.as_bytes(), bytes).ok_or(BadgeTextError::Base45)?;
    if bytes[0] != VERSION {
        return Err(BadgeTextError::Version { version: bytes[0] });
    }
    let (covered, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    let mut sum = context.derive(covered);
    let intact = sum[..CHECKSUM] == *checksum;
    sum.zeroize();
    if !intact {
        return Err(BadgeTextError::Checksum);
    }
    if bytes[1..HEADER] != event_tag(event) {
        return Err(BadgeTextError::OtherEvent);
    }
    Ok(())
}
