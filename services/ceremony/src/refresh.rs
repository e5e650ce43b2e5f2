//! Refreshing the shares: new ones of the same key, so that what was stolen before is worth nothing after.
//!
//! Every holder contributes a polynomial that is zero at the key (see `lanyard_core::threshold`), and adds up what it got.
//! The new generation lies beside the old one until all holders have confirmed it; then each one switches, in any order and
//! at any time, because services answer either; and when all have switched, each one destroys its old share. Wherever it
//! stops, the old shares stay in force.

use lanyard_core::threshold::{Root, refresh};
use lanyard_party::{Generation, NamedShare};

use crate::error::{CeremonyError, Step};
use crate::exchange::Subject;
use crate::member::Member;
use crate::seat::Seat;
use crate::sharing::{KeyHolders, Sharing};

/// How far a refresh is at this holder.
enum Progress {
    /// Only the generation in force is here.
    One { in_force: Generation },
    /// The next one is here and confirmed, the old one in force.
    Ready { next: Generation },
    /// The new one is in force, the old one not destroyed yet.
    Switched { old: Generation, in_force: Generation },
}

impl Seat {
    /// Round 1: draws a polynomial and publishes the commitment to it. Begins a new refresh if the one before is finished.
    ///
    /// # Errors
    /// [`CeremonyError::NotForMember`] and others.
    pub fn refresh_round1(&self) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        match self.progress()? {
            Progress::One { in_force } => self.share_out(&refreshing(&holders, in_force.next())),
            _ => Ok(Step::AlreadyDone),
        }
    }

    /// Round 2: sends each other holder its value, sealed.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until all holders took round 1, and others.
    pub fn refresh_round2(&self) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        match self.progress()? {
            Progress::One { in_force } => self.send_values(&refreshing(&holders, in_force.next())),
            _ => Ok(Step::AlreadyDone),
        }
    }

    /// Round 3: adds up the new share, keeps it beside the one in force, and confirms the new public shares.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until all holders took round 2; [`CeremonyError::Contribution`] names the file of a
    /// holder that cheated; and others.
    pub fn refresh_round3(&self) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        let (next, step) = match self.progress()? {
            Progress::One { in_force } => {
                self.keep_refreshed(&holders, in_force)?;
                (in_force.next(), Step::Done)
            }
            Progress::Ready { next } => (next, Step::AlreadyDone),
            Progress::Switched { .. } => return Ok(Step::AlreadyDone),
        };
        self.confirm(next)?;
        self.forget_sharing(&refreshing(&holders, next))?;
        Ok(step)
    }

    /// Puts the new share in force, once every holder has confirmed that it has its own. A running service follows within
    /// seconds; others may still ask under the old generation.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until all holders have confirmed; [`CeremonyError::Tampered`] if they confirm different
    /// public shares; and others.
    pub fn refresh_switch(&self) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        let (in_force, step) = match self.progress()? {
            Progress::One { .. } => return Err(self.out_of_order("refresh 3")),
            Progress::Ready { next } => {
                self.check_confirmations(next, &holders.members())?;
                self.folder.put_in_force(next)?;
                (next, Step::Done)
            }
            Progress::Switched { in_force, .. } => (in_force, Step::AlreadyDone),
        };
        let kind = switched(in_force);
        let subject = switched_subject(&kind, &self.member);
        if !self.exchange.has(&subject)? {
            self.publish(&subject, "in force\n")?;
        }
        Ok(step)
    }

    /// Destroys the old share, once every holder has switched.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until all holders have switched, and others.
    pub fn refresh_finish(&self) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        let (old, in_force) = match self.progress()? {
            Progress::One { .. } => return Ok(Step::AlreadyDone),
            Progress::Ready { .. } => return Err(self.out_of_order("refresh switch")),
            Progress::Switched { old, in_force } => (old, in_force),
        };
        let kind = switched(in_force);
        for (holder, _) in &holders.list {
            self.receive(&switched_subject(&kind, holder))?;
        }
        self.remove_values(&refreshing(&holders, in_force))?;
        self.folder.destroy_share(old)?;
        Ok(Step::Done)
    }

    /// Gives a refresh up that this holder has not confirmed yet: forgets its polynomial and takes back what it published.
    /// All holders must do so before one begins again.
    ///
    /// # Errors
    /// [`CeremonyError::OutOfOrder`] once it is confirmed: others may have switched already.
    pub fn refresh_abandon(&self) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        let Progress::One { in_force } = self.progress()? else {
            let problem = "this holder has confirmed its new share, and others may use theirs; go on with: refresh switch";
            return Err(CeremonyError::OutOfOrder { problem: problem.to_owned() });
        };
        let sharing = refreshing(&holders, in_force.next());
        if !self.has_begun(&sharing)? {
            return Ok(Step::AlreadyDone);
        }
        self.withdraw_sharing(&sharing)?;
        Ok(Step::Done)
    }

    fn keep_refreshed(
        &self,
        holders: &KeyHolders,
        in_force: Generation,
    ) -> Result<(), CeremonyError> {
        let next = in_force.next();
        let own = holders.index_of(&self.member)?;
        let held = self.folder.held_share(in_force)?;
        let contributions = self.contributions(&refreshing(holders, next), own)?;
        let (share, public) = refresh(held.share(), held.public(), &contributions)?;
        let named = holders
            .list
            .iter()
            .map(|(member, index)| Ok(NamedShare::new(member.name(), public.get(*index)?)))
            .collect::<Result<_, CeremonyError>>()?;
        Ok(self.folder.write_held_share(next, &share, holders.threshold, named)?)
    }

    fn progress(&self) -> Result<Progress, CeremonyError> {
        let in_force = self.folder.generation_in_force()?;
        let here = self.folder.share_generations()?;
        Ok(match here.iter().find(|generation| **generation != in_force) {
            None => Progress::One { in_force },
            Some(next) if *next > in_force => Progress::Ready { next: *next },
            Some(old) => Progress::Switched { old: *old, in_force },
        })
    }

    fn out_of_order(&self, first: &str) -> CeremonyError {
        let problem = format!("{}: not yet; run first: {first}", self.folder.path().display());
        CeremonyError::OutOfOrder { problem }
    }
}

fn refreshing(holders: &KeyHolders, next: Generation) -> Sharing {
    Sharing {
        name: format!("refresh-{next}"),
        steps: ["refresh 1", "refresh 2"],
        root: Root::Key,
        threshold: holders.threshold,
        contributors: holders.list.clone(),
    }
}

fn switched(generation: Generation) -> String {
    format!("refresh-{generation}-switched")
}

const fn switched_subject<'a>(kind: &'a str, from: &'a Member) -> Subject<'a> {
    Subject { kind, from, to: None, step: "refresh switch" }
}
