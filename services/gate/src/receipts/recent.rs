//! Recent checks by nonce: a retry is the same check and has the same answer, and a supervisor can name the check that
//! is overridden.
//!
//! What is kept of a check is what its scanner was shown: neither the badge nor the cause. The digest of the request is
//! over the nonce as well, so that two checks of one badge have nothing in common.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use lanyard_core::codec::{CodecError, Reader, Writer};
use lanyard_core::decision::{Decision, Direction, Reason, Verdict};
use lanyard_core::ids::Timestamp;
use lanyard_core::receipt::CheckNonce;
use lanyard_wire::gate::v1 as wire;

/// So long after a check its nonce brings the same answer again; later it is refused, as an old admission is no answer.
pub(super) const RETRY_MILLIS: u64 = 10 * 60 * 1_000;
/// A check is remembered for a day.
pub(super) const KEPT_MILLIS: u64 = 24 * 60 * 60 * 1_000;
/// As long as there are not more than this.
pub(super) const KEPT_CHECKS: usize = 100_000;

const CHECK: u8 = 1;
const OVERRIDE: u8 = 2;
const MAX_TEXT: usize = 1_024;

/// What tells two requests with one nonce apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u8; 16]);

impl Digest {
    /// Of a check.
    pub(super) fn of_check(
        nonce: &CheckNonce,
        credential: &str,
        access_point: &str,
        direction: Direction,
    ) -> Self {
        let direction = [direction.byte()];
        let fields = [access_point.as_bytes(), credential.as_bytes()];
        Self::of("lanyard v1 check request", nonce, &direction, &fields)
    }

    /// Of an override.
    pub(super) fn of_override(nonce: &CheckNonce, admits: bool, who: &str, why: &str) -> Self {
        let fields = [who.as_bytes(), why.as_bytes()];
        Self::of("lanyard v1 override request", nonce, &[admits.into()], &fields)
    }

    fn of(context: &str, nonce: &CheckNonce, fixed: &[u8; 1], fields: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(nonce.as_bytes()).update(fixed);
        for field in fields {
            hasher.update(&(field.len() as u64).to_be_bytes()).update(field);
        }
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(bytes)
    }
}

/// What a scanner is told, with the receipt that it was recorded in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The receipt's sequence number.
    pub receipt: u64,
    /// What to do.
    pub verdict: wire::Verdict,
    /// Why.
    pub reason: wire::Reason,
    /// The category of whoever is admitted.
    pub category: Option<Arc<str>>,
    /// How old knowledge is in seconds, where that matters.
    pub age_seconds: Option<u64>,
    /// Admitted on knowledge that is not fresh.
    pub stale: bool,
    /// Whether a supervisor may let someone in against it.
    pub may_be_overridden: bool,
}

impl Answer {
    /// What is shown of a decision; the receipt's number is not known yet.
    pub(super) fn of(decision: &Decision) -> Self {
        let shown = decision.shown();
        Self {
            receipt: 0,
            verdict: match shown.verdict {
                Verdict::Admit => wire::Verdict::Admit,
                Verdict::Deny => wire::Verdict::Deny,
                Verdict::Refer => wire::Verdict::Refer,
                Verdict::Undetermined => wire::Verdict::Undetermined,
            },
            reason: match shown.reason {
                None => wire::Reason::Good,
                Some(Reason::Malformed) => wire::Reason::Malformed,
                Some(Reason::Stale) => wire::Reason::Stale,
                Some(Reason::Unknown) => wire::Reason::Unknown,
                Some(Reason::Revoked) => wire::Reason::Revoked,
                Some(Reason::Refer) => wire::Reason::Refer,
                Some(Reason::NotYetValid) => wire::Reason::NotYetValid,
                Some(Reason::Expired) => wire::Reason::Expired,
                Some(Reason::WrongVenue) => wire::Reason::WrongVenue,
                Some(Reason::WrongZone) => wire::Reason::WrongZone,
                Some(Reason::WrongTime) => wire::Reason::WrongTime,
                Some(Reason::NoDirectory) => wire::Reason::NoDirectory,
                Some(Reason::Clock) => wire::Reason::Clock,
            },
            category: shown.category,
            age_seconds: shown.age_seconds,
            stale: shown.marked_stale,
            may_be_overridden: decision.may_be_overridden(),
        }
    }
}

impl From<Answer> for wire::CheckResponse {
    fn from(answer: Answer) -> Self {
        Self {
            verdict: answer.verdict.into(),
            reason: answer.reason.into(),
            category: answer.category.map_or_else(String::new, |category| category.to_string()),
            receipt_id: answer.receipt,
            age_seconds: answer.age_seconds.unwrap_or(0),
            stale: answer.stale,
        }
    }
}

/// A check that a retry may ask for again.
#[derive(Debug, Clone)]
pub(super) struct RecentCheck {
    pub(super) time: Timestamp,
    pub(super) digest: Digest,
    pub(super) answer: Answer,
    pub(super) access_point: Arc<str>,
    pub(super) direction: Direction,
    /// The newest override of it, and its receipt.
    pub(super) overridden: Option<(Digest, u64)>,
}

/// The recent checks.
#[derive(Default)]
pub(super) struct Recent {
    checks: HashMap<CheckNonce, RecentCheck>,
    order: VecDeque<(Timestamp, CheckNonce)>,
}

impl Recent {
    pub(super) fn get(&self, nonce: &CheckNonce) -> Option<&RecentCheck> {
        self.checks.get(nonce)
    }

    pub(super) fn insert(&mut self, nonce: CheckNonce, check: RecentCheck) {
        self.order.push_back((check.time, nonce));
        self.checks.insert(nonce, check);
    }

    pub(super) fn note_override(&mut self, nonce: &CheckNonce, digest: Digest, receipt: u64) {
        if let Some(check) = self.checks.get_mut(nonce) {
            check.overridden = Some((digest, receipt));
        }
    }

    /// Forgets what is too old or too much.
    pub(super) fn trim(&mut self, now: Timestamp) {
        while let Some((time, nonce)) = self.order.front()
            && (self.order.len() > KEPT_CHECKS || now.millis_since(*time) > KEPT_MILLIS)
        {
            self.checks.remove(nonce);
            self.order.pop_front();
        }
    }

    /// The receipt of the oldest check that is remembered.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.order.front().and_then(|(_, nonce)| Some(self.checks.get(nonce)?.answer.receipt))
    }

    pub(super) fn len(&self) -> usize {
        self.checks.len()
    }

    /// Takes in what [`encode_check`] or [`encode_override`] wrote.
    pub(super) fn read(&mut self, payload: &[u8]) -> Result<(), CodecError> {
        let mut reader = Reader::new("recent check", payload);
        let receipt = reader.u64()?;
        let kind = reader.u8()?;
        let nonce = CheckNonce::new(reader.array()?);
        let digest = Digest(reader.array()?);
        match kind {
            CHECK => {
                let check = read_check(&mut reader, receipt, digest)?;
                reader.finish()?;
                self.insert(nonce, check);
            }
            OVERRIDE => {
                reader.finish()?;
                self.note_override(&nonce, digest, receipt);
            }
            _ => return Err(reader.invalid("unknown kind")),
        }
        Ok(())
    }
}

/// Receipt (8), kind (1), nonce (16), digest (16), time (8), direction, verdict, reason, flags (1 each), age (8), access
/// point, category.
pub(super) fn encode_check(nonce: &CheckNonce, check: &RecentCheck) -> Vec<u8> {
    let Answer { verdict, reason, category, age_seconds, .. } = &check.answer;
    let (stale, may_be_overridden) = (check.answer.stale, check.answer.may_be_overridden);
    let flags =
        u8::from(stale) | u8::from(may_be_overridden) << 1 | u8::from(category.is_some()) << 2;
    let mut writer = Writer::with_capacity(128);
    writer
        .u64(check.answer.receipt)
        .u8(CHECK)
        .raw(nonce.as_bytes())
        .raw(&check.digest.0)
        .u64(check.time.millis())
        .u8(check.direction.byte())
        .u8(*verdict as u8)
        .u8(*reason as u8)
        .u8(flags)
        .u64(age_seconds.unwrap_or(u64::MAX))
        .field(check.access_point.as_bytes())
        .field(category.as_deref().unwrap_or_default().as_bytes());
    writer.into_vec()
}

/// Receipt (8), kind (1), nonce of the check (16), digest (16).
pub(super) fn encode_override(receipt: u64, nonce: &CheckNonce, digest: Digest) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u64(receipt).u8(OVERRIDE).raw(nonce.as_bytes()).raw(&digest.0);
    writer.into_vec()
}

fn read_check(
    reader: &mut Reader<'_>,
    receipt: u64,
    digest: Digest,
) -> Result<RecentCheck, CodecError> {
    let time = Timestamp::from_millis(reader.u64()?);
    let direction = Direction::from_byte(reader.u8()?);
    let direction = direction.ok_or_else(|| reader.invalid("unknown direction"))?;
    let verdict = wire::Verdict::try_from(i32::from(reader.u8()?));
    let verdict = verdict.map_err(|_| reader.invalid("unknown verdict"))?;
    let reason = wire::Reason::try_from(i32::from(reader.u8()?));
    let reason = reason.map_err(|_| reader.invalid("unknown reason"))?;
    let flags = reader.u8()?;
    let age_seconds = Some(reader.u64()?).filter(|age| *age != u64::MAX);
    let access_point = reader.text(MAX_TEXT)?.into();
    let category: Arc<str> = reader.text(MAX_TEXT)?.into();
    let answer = Answer {
        receipt,
        verdict,
        reason,
        category: (flags & 4 != 0).then_some(category),
        age_seconds,
        stale: flags & 1 != 0,
        may_be_overridden: flags & 2 != 0,
    };
    Ok(RecentCheck { time, digest, answer, access_point, direction, overridden: None })
}
