//! Who takes the place of a member that is gone, and who accepts it.
//!
//! A trustee that withdraws, or is not trusted any more, is replaced by another party: with a folder, an authority, keys
//! and a witness of its own, under the name that stands in the manifest. It gets the share of the pseudonym key at its
//! index by a repair, and a refresh after that makes the predecessor's worth nothing.

use std::path::{Path, PathBuf};

use lanyard_core::ids::{Hash, Timestamp};
use lanyard_core::manifest::{KeyEnd, ReplacedKey};
use lanyard_core::note::VerifyingKey;
use lanyard_env::{Env, Mode};
use lanyard_shareholder::Ledger;

use crate::announcement::Announcement;
use crate::error::{CeremonyError, Step};
use crate::exchange::Subject;
use crate::member::Member;
use crate::plan::EventPlan;
use crate::seat::{Seat, announcement_subject};

const STEP: &str = "take another's place";

/// What a predecessor announced.
pub(crate) struct Predecessor {
    text: String,
    announcement: Announcement,
}

impl Predecessor {
    /// Names the one whose place is taken, and ends its witness's key.
    pub(crate) fn make_way(&self, successor: &mut Announcement, now: Timestamp) {
        successor.number = self.announcement.number.saturating_add(1);
        successor.replaces = Some(fingerprint(self.text.as_bytes()));
        successor.replaced.clone_from(&self.announcement.replaced);
        let until = Some(KeyEnd { time: now, log: None });
        let ended = self.announcement.witness.clone().map(|key| ReplacedKey { key, until });
        successor.replaced.extend(ended);
    }
}

impl Seat {
    /// Prepares the party that takes the trustee's place, in a folder of its own: draws its keys and announces them instead of
    /// its predecessor's. Its fingerprint goes to all members over another channel, for [`Seat::accept_successor`]. Resumes.
    ///
    /// # Errors
    /// [`CeremonyError::NotForMember`] for others than the trustee, [`CeremonyError::Waiting`] if nobody was announced before.
    pub fn prepare_successor(
        env: &Env,
        folder: &Path,
        exchange: &Path,
        member: &Member,
        plan: &EventPlan,
    ) -> Result<(Self, Step), CeremonyError> {
        plan.check()?;
        if *member != Member::Trustee {
            return Err(CeremonyError::NotForMember { member: member.clone(), step: STEP });
        }
        let seat = Self::claim(env, folder, exchange, member, &plan.event)?;
        if seat.own_announcement()?.is_some() {
            let step = seat.announce(plan, None, None)?;
            return Ok((seat, step));
        }
        let text = seat.exchange.read(&announcement_subject(member))?;
        let announcement = seat.parse_announcement(member, &text)?;
        seat.keep_predecessor(&announcement, &text)?;
        // Its counts are taken over before it serves: a second quota shall not begin by itself.
        if plan.holders().contains(member) {
            Ledger::expect_take_over(env, &seat.folder.evaluations_dir())?;
        }
        let predecessor = Predecessor { text, announcement };
        let step = seat.announce(plan, None, Some(&predecessor))?;
        Ok((seat, step))
    }

    /// Accepts the announcement of a member that takes another's place, if it has the fingerprint that was read out over
    /// another channel.
    ///
    /// # Errors
    /// [`CeremonyError::OtherFingerprint`]; [`CeremonyError::Tampered`] if it does not name the one known here as its
    /// predecessor.
    pub fn accept_successor(
        &self,
        member: &Member,
        fingerprint: &str,
    ) -> Result<Step, CeremonyError> {
        let subject = announcement_subject(member);
        let (text, path) = (self.exchange.read(&subject)?, self.exchange.path(&subject));
        let found = self::fingerprint(text.as_bytes());
        let shown = hex(&found);
        if !shown.eq_ignore_ascii_case(fingerprint.trim()) {
            let member = member.clone();
            return Err(CeremonyError::OtherFingerprint { path, member, found: shown });
        }
        let successor = self.parse_announcement(member, &text)?;
        let kept = self.files().read_if_exists(&self.known_path(member))?;
        match kept {
            Some(kept) if kept == text.as_bytes() => return Ok(Step::AlreadyDone),
            Some(kept) => {
                if successor.replaces != Some(self::fingerprint(&kept)) {
                    let problem = "it does not take the place of the one that is known here";
                    return Err(CeremonyError::tampered(&path, member, problem));
                }
                let kept = String::from_utf8(kept)
                    .map_err(|error| CeremonyError::state(&self.known_path(member), error))?;
                let known = self.parse_announcement(member, &kept)?;
                self.keep_predecessor(&known, &kept)?;
            }
            None => {}
        }
        self.keep_announcement(member, &text)?;
        Ok(Step::Done)
    }

    /// The announcement in the exchange folder, which is another than the one kept: a later one of the same member is taken.
    pub(crate) fn later_announcement(
        &self,
        member: &Member,
        kept: &[u8],
        text: &str,
    ) -> Result<Announcement, CeremonyError> {
        let kept_path = self.known_path(member);
        let kept = std::str::from_utf8(kept);
        let kept = kept.map_err(|error| CeremonyError::state(&kept_path, error))?;
        let known = self.parse_announcement(member, kept)?;
        let later = self.parse_announcement(member, text)?;
        if later.ceremony == known.ceremony && later.number > known.number {
            self.keep_announcement(member, text)?;
            return Ok(later);
        }
        let problem = match later.replaces {
            Some(of) if of == fingerprint(kept.as_bytes()) => {
                "another party takes its place here; ask it for its fingerprint, then run: accept"
                    .to_owned()
            }
            _ => format!("it differs from the one kept in {}", kept_path.display()),
        };
        let path = self.exchange.path(&announcement_subject(member));
        Err(CeremonyError::tampered(&path, member, problem))
    }

    /// Reads a file that a member left, or its predecessor before it was replaced.
    pub(crate) fn receive_from_any(&self, subject: &Subject<'_>) -> Result<String, CeremonyError> {
        let known = self.known(subject.from)?;
        let text = self.exchange.read(subject)?;
        let own = self.exchange.verify(subject, &text, &known.ceremony);
        let mut number = known.number;
        let mut replaced = known.replaces.is_some();
        while let (Err(_), true, Some(before)) = (&own, replaced, number.checked_sub(1)) {
            let Some(predecessor) = self.predecessor(subject.from, before)? else { break };
            let key: &VerifyingKey = &predecessor.ceremony;
            if let Ok(payload) = self.exchange.verify(subject, &text, key) {
                return Ok(payload);
            }
            (number, replaced) = (before, predecessor.replaces.is_some());
        }
        own
    }

    fn predecessor(
        &self,
        member: &Member,
        number: u32,
    ) -> Result<Option<Announcement>, CeremonyError> {
        let path = self.predecessor_path(member, number);
        let Some(bytes) = self.files().read_if_exists(&path)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|error| CeremonyError::state(&path, error))?;
        self.parse_announcement(member, &text).map(Some)
    }

    fn keep_predecessor(&self, known: &Announcement, text: &str) -> Result<(), CeremonyError> {
        self.files().create_dir_all(&self.state_path("known"))?;
        let path = self.predecessor_path(&known.member, known.number);
        Ok(self.files().write_atomic(&path, text.as_bytes(), Mode::Public)?)
    }

    fn predecessor_path(&self, member: &Member, number: u32) -> PathBuf {
        self.state_path("known").join(format!("{member}.{number}.note"))
    }
}

fn fingerprint(text: &[u8]) -> Hash {
    blake3::hash(text).into()
}

fn hex(hash: &Hash) -> String {
    hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
