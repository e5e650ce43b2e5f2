//! The directories of an authority: what one tick does to them, without a clock, a network or a task.
//!
//! The own feed keeps the order of DESIGN §6, "Before signing": it applies a draft where nobody sees it, persists it, reads it
//! back and hands out the checkpoint to sign. So nothing is signed that was not read back, and never a second checkpoint of one
//! size: after a crash the feed hands out the same checkpoint again.

use std::collections::HashSet;
use std::sync::Arc;

use lanyard_core::audience_key::SealedAudienceKey;
use lanyard_core::checkpoint::{Checkpoint, VerifiedCheckpoint};
use lanyard_core::ids::{Audience, Authority, Epoch, EventId, Hash, Origin, Timestamp};
use lanyard_core::manifest::VerifiedManifest;
use lanyard_core::map::Row;
use lanyard_core::note::SigningKey;
use lanyard_core::profile::{ProfileTable, SealedProfiles};
use lanyard_feed::{Content, DirectoryDraft, DirectoryKey, Draft, Mirror};
use rand::CryptoRng;

use crate::error::PublishError;
use crate::keys::KeyFolder;
use crate::registry::Entry;
use crate::reign::Reign;
use crate::sealer::{Amount, Binder, Desired, Rows, Sealer};

/// What a tick needs from outside.
pub(crate) struct TickInput {
    pub(crate) now: Timestamp,
    pub(crate) changed: Vec<Entry>,
    pub(crate) profiles: ProfileTable,
    pub(crate) manifest: Arc<VerifiedManifest>,
}

/// Who publishes, and with what.
pub(crate) struct Press {
    pub(crate) event: EventId,
    pub(crate) authority: Authority,
    pub(crate) log_key: Arc<SigningKey>,
    pub(crate) keys: KeyFolder,
    pub(crate) mirror: Arc<Mirror>,
    /// The instance's turn, where a party has several.
    pub(crate) reign: Option<Reign>,
}

impl Press {
    fn sign(&self, checkpoint: &Checkpoint) -> Result<VerifiedCheckpoint, PublishError> {
        if let Some(reign) = &self.reign {
            reign.record(&self.mirror, checkpoint)?;
        }
        Ok(checkpoint.sign(&self.log_key)?)
    }

    /// Takes up what other instances may have signed, as the store has recorded it. Returns the size that is to be reached
    /// before anything is signed, if a mirror has to bring the rest.
    pub(crate) fn catch_up(&self) -> Result<Option<u64>, PublishError> {
        let Some(reign) = &self.reign else { return Ok(None) };
        let newest = reign.newest()?;
        loop {
            let size = self.mirror.read().size();
            if size >= newest {
                return Ok(None);
            }
            let Some(tick) = reign.recorded(size + 1)? else { return Ok(Some(newest)) };
            self.mirror.take_prepared(&tick)?;
            self.resume()?;
        }
    }

    /// Publishes what was prepared before a crash, with the signature that it may have had already.
    pub(crate) fn resume(&self) -> Result<(), PublishError> {
        if let Some(checkpoint) = self.mirror.unsigned() {
            self.mirror.publish(&self.sign(&checkpoint)?)?;
        }
        Ok(())
    }

    fn binder(&self, key: DirectoryKey, is_new: bool) -> Result<Binder, PublishError> {
        let DirectoryKey { epoch, audience } = key;
        // A key drawn anew would open nothing of what is published.
        let load = if is_new { KeyFolder::load_or_draw } else { KeyFolder::load };
        Ok(Binder {
            event: self.event.clone(),
            origin: Origin::new(&self.event, self.authority),
            epoch,
            audience,
            key: load(&self.keys, epoch, audience)?,
        })
    }
}

struct Directory {
    key: DirectoryKey,
    sealer: Sealer,
    /// The rows of a directory that no signed head has yet.
    unpublished: Option<Vec<Row>>,
    /// The table that the newest head names.
    profiles: Option<Hash>,
}

/// All directories.
pub(crate) struct Publication {
    press: Press,
    desired: Desired,
    last_time: Timestamp,
    live_epoch: Epoch,
    /// Directories of the live epoch, then those of the next: frozen, changes wait until they are live.
    directories: Vec<Directory>,
    /// The first tick of an epoch is padded further.
    catch_up: bool,
    sponsor_swept: Timestamp,
    /// Verifiers that the feed has keys for.
    delivered: HashSet<(DirectoryKey, String)>,
}

impl Publication {
    /// Takes up what the feed has; with nothing there, the first tick makes the first directories.
    pub(crate) fn recover(
        press: Press,
        desired: Desired,
        now: Timestamp,
    ) -> Result<Self, PublishError> {
        let mut publication = Self {
            desired,
            last_time: Timestamp::default(),
            live_epoch: Epoch::new(0),
            directories: Vec::new(),
            catch_up: false,
            sponsor_swept: Timestamp::default(),
            delivered: HashSet::new(),
            press,
        };
        let mirror = Arc::clone(&publication.press.mirror);
        let view = mirror.read();
        let Some(signed) = view.signed() else { return Ok(publication) };
        publication.live_epoch = signed.head().live_epoch;
        publication.last_time = signed.head().time;
        for head in &signed.head().directories {
            let key = DirectoryKey::new(head.epoch, head.audience);
            let Some(held) = view.directory(head.epoch, head.audience) else { continue };
            let binder = publication.press.binder(key, false)?;
            let sealer = Sealer::recover(binder, &publication.desired, held.rows(), now);
            let profiles = Some(head.profiles);
            publication.directories.push(Directory { key, sealer, unpublished: None, profiles });
        }
        Ok(publication)
    }

    pub(crate) fn mirror(&self) -> &Arc<Mirror> {
        &self.press.mirror
    }

    pub(crate) fn live_epoch(&self) -> Epoch {
        self.live_epoch
    }

    /// Changes of the gates' live directory that no signed checkpoint has yet.
    pub(crate) fn waiting(&self) -> usize {
        self.live_gate().map_or(self.desired.len(), |directory| directory.sealer.waiting())
    }

    /// Rows of the gates' live directory.
    pub(crate) fn rows(&self) -> usize {
        self.live_gate().map_or(0, |directory| directory.sealer.rows())
    }

    fn live_gate(&self) -> Option<&Directory> {
        let key = DirectoryKey::new(self.live_epoch, Audience::Gate);
        self.directories.iter().find(|directory| directory.key == key)
    }

    /// One tick: drafts, has the feed prepare it, signs, publishes. After an error nothing is signed, and all that changed
    /// waits.
    pub(crate) fn tick(
        &mut self,
        input: TickInput,
        rng: &mut impl CryptoRng,
    ) -> Result<(), PublishError> {
        let TickInput { now, changed, profiles, manifest } = input;
        // A tick that the disk refused last time goes first: nothing else may be signed for its size.
        self.press.resume()?;
        for entry in changed {
            for directory in &mut self.directories {
                directory.sealer.consider(&entry, now);
            }
            self.desired.insert(entry.id, entry);
        }
        self.roll(now, &manifest, rng)?;
        self.begin_sponsor_sweep(now, &manifest);

        let time = now.max(self.last_time);
        let mut directories = Vec::with_capacity(self.directories.len());
        let mut rows = Vec::with_capacity(self.directories.len());
        let mut tables = Vec::with_capacity(self.directories.len());
        for directory in &self.directories {
            let (content, drafted) = self.content(directory, now, &manifest, rng)?;
            let table = directory.table(&profiles);
            tables.push(table.hash());
            let profiles = (directory.profiles != Some(table.hash())).then_some(table);
            directories.push(DirectoryDraft { key: directory.key, content, profiles });
            rows.push(drafted);
        }
        let draft =
            Draft { time, manifest: manifest.hash(), live_epoch: self.live_epoch, directories };
        let checkpoint = self.press.mirror.prepare(draft)?;
        // From here on the tick is in the feed's hands, published now or after the next start: the rows are what it says.
        for ((directory, rows), table) in self.directories.iter_mut().zip(rows).zip(tables) {
            if let Some(rows) = rows {
                directory.sealer.commit(rows);
            }
            directory.unpublished = None;
            directory.profiles = Some(table);
        }
        self.catch_up = false;
        self.last_time = time;
        self.press.mirror.publish(&self.press.sign(&checkpoint)?)?;
        self.deliver_keys(&manifest, rng)
    }

    /// Makes the directories that are due: of the live epoch if they are missing, of the next when its time has come.
    /// Directories of ended epochs go.
    fn roll(
        &mut self,
        now: Timestamp,
        manifest: &VerifiedManifest,
        rng: &mut impl CryptoRng,
    ) -> Result<(), PublishError> {
        let current = manifest.epochs.epoch_at(now).max(self.live_epoch);
        if current > self.live_epoch {
            self.live_epoch = current;
            self.catch_up = true;
            self.directories.retain(|directory| directory.key.epoch >= current);
            self.delivered.retain(|(key, _)| key.epoch >= current);
            self.press.keys.forget_before(current)?;
        }
        let next = current.next();
        let is_next_due = now >= manifest.epochs.publish_at(next);
        for epoch in [Some(current), is_next_due.then_some(next)].into_iter().flatten() {
            for audience in Audience::published_by(self.press.authority) {
                let key = DirectoryKey::new(epoch, *audience);
                if self.directories.iter().all(|directory| directory.key != key) {
                    let binder = self.press.binder(key, true)?;
                    let (sealer, rows) =
                        Sealer::build(binder, &self.desired, &manifest.padding, now, rng)?;
                    let unpublished = Some(rows);
                    self.directories.push(Directory { key, sealer, unpublished, profiles: None });
                }
            }
        }
        Ok(())
    }

    /// `sponsor` directories are re-sealed whole, at an interval, and not at all in between.
    fn begin_sponsor_sweep(&mut self, now: Timestamp, manifest: &VerifiedManifest) {
        let interval = u64::from(manifest.padding.sponsor_reseal_seconds) * 1_000;
        let key = DirectoryKey::new(self.live_epoch, Audience::Sponsor);
        let sponsor = self.directories.iter_mut().find(|directory| directory.key == key);
        let Some(directory) = sponsor else { return };
        if directory.sealer.is_sweeping() || now.millis_since(self.sponsor_swept) < interval {
            return;
        }
        for entry in self.desired.values() {
            directory.sealer.consider(entry, now);
        }
        directory.sealer.begin_sweep();
        self.sponsor_swept = now;
    }

    /// What the tick says of one directory, and the rows that it writes.
    fn content(
        &self,
        directory: &Directory,
        now: Timestamp,
        manifest: &VerifiedManifest,
        rng: &mut impl CryptoRng,
    ) -> Result<(Content, Option<Rows>), PublishError> {
        let Directory { key, sealer, unpublished, .. } = directory;
        if let Some(rows) = unpublished {
            let audience_key = sealer.binder().key.commitment();
            return Ok((Content::New { rows: rows.clone(), audience_key }, None));
        }
        let rests = key.audience == Audience::Sponsor && !sealer.is_sweeping();
        if key.epoch != self.live_epoch || rests {
            return Ok((Content::Unchanged, None));
        }
        let amount = if self.catch_up {
            let percent = usize::from(manifest.padding.catch_up_percent);
            Amount::AtLeast((sealer.rows() * percent).div_ceil(100))
        } else {
            Amount::Step
        };
        let (delta, rows) = sealer.draft(&self.desired, &manifest.padding, amount, now, rng)?;
        Ok((Content::Delta(delta), Some(rows)))
    }

    /// Gives the feed the audience keys of verifiers that have not got them.
    fn deliver_keys(
        &mut self,
        manifest: &VerifiedManifest,
        rng: &mut impl CryptoRng,
    ) -> Result<(), PublishError> {
        let mut keys = Vec::new();
        for Directory { key, sealer, .. } in &self.directories {
            for verifier in manifest.verifiers_for(key.audience) {
                if self.delivered.contains(&(*key, verifier.id.clone())) {
                    continue;
                }
                keys.push(SealedAudienceKey::seal(
                    &sealer.binder().key,
                    &self.press.event,
                    self.press.authority,
                    key.audience,
                    key.epoch,
                    &verifier.id,
                    &verifier.key,
                    rng,
                )?);
            }
        }
        let named = |key: &SealedAudienceKey| {
            (DirectoryKey::new(key.epoch, key.audience), key.recipient.clone())
        };
        let delivered: Vec<_> = keys.iter().map(named).collect();
        self.press.mirror.publish_keys(keys)?;
        self.delivered.extend(delivered);
        Ok(())
    }
}

impl Directory {
    fn table(&self, profiles: &ProfileTable) -> SealedProfiles {
        let binder = self.sealer.binder();
        profiles.seal(&binder.key, &binder.origin, binder.epoch)
    }
}
