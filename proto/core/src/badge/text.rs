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
const SCOPED_MAX: usize = SCOPED_HEADER + 2 * 32 + CHECKSUM;

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

/// Keys of one badge for one audience and one epoch: what a phone shows, and what a scanner that can derive sends on.
///
/// `LYS:` and base45 of version (1), event tag (4), audience (1), epoch (4), one key (32) for each authority that
/// publishes for the audience, checksum (4): 121 characters for gates, 73 for police and sponsor.
pub struct ScopedCode {
    audience: Audience,
    epoch: Epoch,
    committee: EpochKey,
    police: Option<EpochKey>,
}

impl ScopedCode {
    /// The code of a badge for `audience` in `epoch`.
    #[must_use]
    pub fn derive(secret: &BadgeSecret, event: &EventId, audience: Audience, epoch: Epoch) -> Self {
        let key = |authority| secret.seed(authority, audience).epoch_key(event, epoch);
        Self {
            audience,
            epoch,
            committee: key(Authority::Committee),
            police: police_publishes(audience).then(|| key(Authority::Police)),
        }
    }

    /// The text: to show for as long as the epoch lasts, never to log. Wiped on drop.
    #[must_use]
    pub fn to_text(&self, event: &EventId) -> Zeroizing<String> {
        let mut buffer = Zeroizing::new([0; SCOPED_MAX]);
        let bytes = &mut buffer[..scoped_len(self.audience)];
        bytes[0] = VERSION;
        bytes[1..HEADER].copy_from_slice(&event_tag(event));
        bytes[HEADER] = self.audience.byte();
        bytes[HEADER + 1..SCOPED_HEADER].copy_from_slice(&self.epoch.get().to_be_bytes());
        bytes[SCOPED_HEADER..SCOPED_HEADER + 32].copy_from_slice(self.committee.expose_bytes());
        if let Some(police) = &self.police {
            bytes[SCOPED_HEADER + 32..SCOPED_HEADER + 64].copy_from_slice(police.expose_bytes());
        }
        seal_text(SCOPED_PREFIX, &SCOPED_CHECKSUM, bytes).0
    }

    /// Reads a code of `event`.
    ///
    /// # Errors
    /// [`BadgeTextError`].
    pub fn parse(text: &str, event: &EventId) -> Result<Self, BadgeTextError> {
        let body = text.strip_prefix(SCOPED_PREFIX).ok_or(BadgeTextError::NotALanyardCode)?;
        // The length tells one key from two; the audience must then agree with it.
        let two = SCOPED_PREFIX.len() + encoded_len(SCOPED_MAX);
        let length = if text.len() == two { SCOPED_MAX } else { SCOPED_MAX - 32 };
        let mut buffer = Zeroizing::new([0; SCOPED_MAX]);
        let bytes = &mut buffer[..length];
        open_text(body, SCOPED_PREFIX, &SCOPED_CHECKSUM, event, bytes)?;
        let audience = Audience::from_byte(bytes[HEADER])
            .ok_or(BadgeTextError::Audience { audience: bytes[HEADER] })?;
        if scoped_len(audience) != length {
            let expected = SCOPED_PREFIX.len() + encoded_len(scoped_len(audience));
            return Err(BadgeTextError::Length { length: text.len(), expected });
        }
        let mut epoch = [0; 4];
        epoch.copy_from_slice(&bytes[HEADER + 1..SCOPED_HEADER]);
        let key = |index: usize| {
            let mut key = EpochKey([0; 32]);
            key.0.copy_from_slice(
                &bytes[SCOPED_HEADER + 32 * index..SCOPED_HEADER + 32 * (index + 1)],
            );
            key
        };
        Ok(Self {
            audience,
            epoch: Epoch::new(u32::from_be_bytes(epoch)),
            committee: key(0),
            police: police_publishes(audience).then(|| key(1)),
        })
    }

    /// Who may ask with it.
    #[must_use]
    pub const fn audience(&self) -> Audience {
        self.audience
    }

    /// When it is good.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The badge's key for this authority's directory, if the authority publishes for the audience.
    #[must_use]
    pub const fn key(&self, authority: Authority) -> Option<&EpochKey> {
        match authority {
            Authority::Committee => Some(&self.committee),
            Authority::Police => self.police.as_ref(),
        }
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

    /// The badge's key in one directory; `None` if a scoped code is for another audience or epoch.
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
            Self::Scoped(code) if code.audience == audience && code.epoch == epoch => {
                code.key(authority).map(|key| EpochKey::from_bytes(*key.expose_bytes()))
            }
            Self::Scoped(_) => None,
        }
    }
}

fn police_publishes(audience: Audience) -> bool {
    Audience::published_by(Authority::Police).contains(&audience)
}

fn scoped_len(audience: Audience) -> usize {
    if police_publishes(audience) { SCOPED_MAX } else { SCOPED_MAX - 32 }
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
