//! What a receipt says, once opened.

use std::fmt;

use crate::codec::{CodecError, Reader, Writer};
use crate::decision::{Cause, Direction};
use crate::ids::{Epoch, Handle};

/// The version of the encoding.
const VERSION: u8 = 1;
/// Longest id of an access point in bytes.
const MAX_ACCESS_POINT: usize = 256;
/// Longest name of a supervisor in bytes.
const MAX_SUPERVISOR: usize = 256;
/// Longest reason of an override in bytes.
const MAX_REASON: usize = 1_024;

/// Drawn by the scanner for one check, so that a retry is the same check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckNonce([u8; 16]);

impl CheckNonce {
    /// Size in bytes.
    pub const SIZE: usize = 16;

    /// From its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for CheckNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckNonce({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// Where a gate looked at one authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consulted {
    /// The epoch of the directory.
    pub epoch: Epoch,
    /// The badge's handle in it; `None` if the text did not parse.
    pub handle: Option<Handle>,
    /// The size of the log at the checkpoint that the gate stood on; 0 if it had none.
    pub checkpoint_size: u64,
}

/// A supervisor's word against the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The sequence number of the receipt that it overrides.
    pub receipt: u64,
    /// Who; at most 256 bytes.
    pub supervisor: String,
    /// Why; at most 1,024 bytes.
    pub reason: String,
}

/// What a gate knew and said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptBody {
    /// The exact cause; verdict and reason follow from it.
    pub cause: Cause,
    /// The age of what it knew in seconds, if it had one.
    pub age_seconds: Option<u32>,
    /// The committee's directory.
    pub committee: Consulted,
    /// The police's directory.
    pub police: Consulted,
    /// The id of the access point; at most 256 bytes.
    pub access_point: String,
    /// Which way.
    pub direction: Direction,
    /// The scanner's nonce.
    pub nonce: CheckNonce,
    /// The version of the manifest that held.
    pub manifest_version: u32,
    /// If this receipt records an override.
    pub overridden: Option<Override>,
}

impl ReceiptBody {
    /// Its encoding. Every check at one access point has the same length; only an override is longer.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128 + self.access_point.len());
        writer.u8(VERSION).u8(self.cause.byte());
        writer.u32(self.age_seconds.map_or(u32::MAX, |age| age.min(u32::MAX - 1)));
        for consulted in [&self.committee, &self.police] {
            write_consulted(&mut writer, consulted);
        }
        writer
            .field(self.access_point.as_bytes())
            .u8(self.direction.byte())
            .raw(self.nonce.as_bytes())
            .u32(self.manifest_version);
        match &self.overridden {
            None => {
                writer.u8(0);
            }
            Some(overridden) => {
                writer
                    .u8(1)
                    .u64(overridden.receipt)
                    .field(overridden.supervisor.as_bytes())
                    .field(overridden.reason.as_bytes());
            }
        }
        writer.into_vec()
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("receipt body", bytes);
        if reader.u8()? != VERSION {
            return Err(reader.invalid("unknown version"));
        }
        let cause =
            Cause::from_byte(reader.u8()?).ok_or_else(|| reader.invalid("unknown cause"))?;
        let age_seconds = Some(reader.u32()?).filter(|age| *age != u32::MAX);
        let committee = read_consulted(&mut reader)?;
        let police = read_consulted(&mut reader)?;
        let access_point = reader.text(MAX_ACCESS_POINT)?.to_owned();
        let direction = Direction::from_byte(reader.u8()?)
            .ok_or_else(|| reader.invalid("unknown direction"))?;
        let nonce = CheckNonce::new(reader.array()?);
        let manifest_version = reader.u32()?;
        let overridden = match reader.u8()? {
            0 => None,
            1 => Some(Override {
                receipt: reader.u64()?,
                supervisor: reader.text(MAX_SUPERVISOR)?.to_owned(),
                reason: reader.text(MAX_REASON)?.to_owned(),
            }),
            _ => return Err(reader.invalid("neither with nor without an override")),
        };
        reader.finish()?;
        Ok(Self {
            cause,
            age_seconds,
            committee,
            police,
            access_point,
            direction,
            nonce,
            manifest_version,
            overridden,
        })
    }
}

/// Epoch (4), whether there is a handle (1), handle (16, zero without one), checkpoint size (8).
fn write_consulted(writer: &mut Writer, consulted: &Consulted) {
    writer
        .u32(consulted.epoch.get())
        .u8(consulted.handle.is_some().into())
        .raw(consulted.handle.map_or([0; 16], |handle| *handle.as_bytes()).as_slice())
        .u64(consulted.checkpoint_size);
}

fn read_consulted(reader: &mut Reader<'_>) -> Result<Consulted, CodecError> {
    let epoch = Epoch::new(reader.u32()?);
    let handle = match (reader.u8()?, reader.array()?) {
        (0, handle) if handle == [0; 16] => None,
        (1, handle) => Some(Handle::new(handle)),
        _ => return Err(reader.invalid("neither with nor without a handle")),
    };
    Ok(Consulted { epoch, handle, checkpoint_size: reader.u64()? })
}
