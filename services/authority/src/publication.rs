//! The directories of an authority: what one tick does to them, without a clock, a network or a task.
//!
//! The own feed keeps the order of DESIGN §6, "Before signing": it applies a draft where nobody sees it, persists it, reads it
//! back and hands out the checkpoint to sign. So nothing is signed that was not read back, and never a second checkpoint of one
//! size: after a crash the feed hands out the same checkpoint again.

use std::collections::HashSet;
use std::sync::Arc;

use lanyard_core::audience_key::{AudienceKey, SealedAudienceKey};
use lanyard_core::checkpoint::{Checkpoint, VerifiedCheckpoint};
use lanyard_core::head::DirectoryHead;
use lanyard_core::hpke_box::{HpkeSecretKey, OVERHEAD};
use lanyard_core::ids::{Audience, Authority, Epoch, EventId, Hash, Origin, Timestamp};
use lanyard_core::manifest::{Padding, VerifiedManifest};
use lanyard_core::map::{Row, snapshot};
use lanyard_core::profile::{ProfileTable, SealedProfiles};
use lanyard_core::record::Status;
use lanyard_env::Env;
use lanyard_feed::{Content, DirectoryDraft, DirectoryKey, Draft, Mirror, View};
use lanyard_telemetry::metrics;
use rand::CryptoRng;

use crate::epochs::{Cost, DirectoryCost};
use crate::error::PublishError;
use crate::keys::KeyFolder;
use crate::publisher::LogKeySource;
use crate::recovery::{Held, Report};
use crate::registry::Entry;
use crate::reign::Reign;
use crate::sealer::{Amount, Binder, Desired, Rows, Sealer, decoys_wanted, seal_sample};

/// What a tick needs from outside.
pub(crate) struct TickInput {
    pub(crate) now: Timestamp,
    pub(crate) profiles: ProfileTable,
    pub(crate) manifest: Arc<VerifiedManifest>,
}

/// Who publishes, and with what.
pub(crate) struct Press {
    pub(crate) event: EventId,
    pub(crate) authority: Authority,
    pub(crate) log_keys: LogKeySource,
    pub(crate) keys: KeyFolder,
    pub(crate) mirror: Arc<Mirror>,
    /// The instance's turn, where a party has several.
    pub(crate) reign: Option<Reign>,
    /// Opens the copies of audience keys that the authority sends itself.
    pub(crate) own_key: Option<Arc<HpkeSecretKey>>,
}

impl Press {
    fn sign(&self, checkpoint: &Checkpoint) -> Result<VerifiedCheckpoint, PublishError> {
        if let Some(reign) = &self.reign {
            reign.record(&self.mirror, checkpoint)?;
        }
        let keys = (self.log_keys)()?;
        Ok(checkpoint.sign_all(&keys.iter().collect::<Vec<_>>())?)
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

    /// The audience key of a directory that was published and is not in the folder, as after a restored backup: the feed has a
    /// copy that only this authority can open.
    fn recover_key(&self, view: &View<'_>, head: &DirectoryHead) -> Result<(), PublishError> {
        let DirectoryHead { epoch, audience, audience_key, .. } = head;
        if self.keys.find(*epoch, *audience)?.is_some() {
            return Ok(());
        }
        let recipient = self.mirror.own_id();
        let copy = view.directory(*epoch, *audience).and_then(|held| held.sealed_key(&recipient));
        let (Some(copy), Some(own_key)) = (copy, &self.own_key) else { return Ok(()) };
        let sealed = SealedAudienceKey {
            authority: self.authority,
            audience: *audience,
            epoch: *epoch,
            recipient,
            bytes: copy.to_vec(),
        };
        let key = sealed.open(own_key, &self.event, audience_key)?;
        tracing::warn!(%epoch, %audience, "audience key taken from the own feed");
        self.keys.store(*epoch, *audience, &key)
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
    /// The table that the newest head names, if the feed has it: otherwise it goes out again.
    profiles: Option<Hash>,
}

/// All directories.
pub(crate) struct Publication {
    press: Press,
    desired: Desired,
    last_time: Timestamp,
    live_epoch: Epoch,
    /// Directories of the live epoch, then those of the next: frozen, changes wait until they are live or too many.
    directories: Vec<Directory>,
    /// The size of the log whose rows these are.
    size: u64,
    /// The first tick of an epoch is padded further.
    catch_up: bool,
    /// Keys of epochs before this one are to be deleted once it is signed: until then a start needs them.
    forget_before: Option<Epoch>,
    /// The epoch to begin out of turn.
    decided: Option<Epoch>,
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
            size: 0,
            catch_up: false,
            forget_before: None,
            decided: None,
            sponsor_swept: Timestamp::default(),
            delivered: HashSet::new(),
            press,
        };
        publication.take_up(now)?;
        Ok(publication)
    }

    /// Takes the directories as the feed has them.
    fn take_up(&mut self, now: Timestamp) -> Result<(), PublishError> {
        let mirror = Arc::clone(&self.press.mirror);
        let view = mirror.read();
        let Some(signed) = view.signed() else { return Ok(()) };
        let mut directories = Vec::new();
        for head in &signed.head().directories {
            let key = DirectoryKey::new(head.epoch, head.audience);
            let Some(held) = view.directory(head.epoch, head.audience) else { continue };
            self.press.recover_key(&view, head)?;
            let binder = self.press.binder(key, false)?;
            let sealer = Sealer::recover(binder, &self.desired, held.rows(), now);
            let profiles = held.sealed_profiles().map(SealedProfiles::hash);
            directories.push(Directory { key, sealer, unpublished: None, profiles });
        }
        (self.directories, self.size) = (directories, view.size());
        self.live_epoch = signed.head().live_epoch;
        self.last_time = signed.head().time;
        // A crash may have come between an epoch's first tick and the end of its predecessor's keys.
        self.forget_before = Some(self.live_epoch);
        Ok(())
    }

    /// Takes up what an entry is to say from now on. It cannot fail: whoever has read an entry from the store and gives it
    /// here need not read it again, whatever becomes of the next tick.
    pub(crate) fn take(&mut self, entry: Entry, now: Timestamp) {
        for directory in &mut self.directories {
            directory.sealer.consider(&entry, now);
        }
        self.desired.insert(entry.id, entry);
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
        let TickInput { now, profiles, manifest } = input;
        // A tick that the disk refused last time goes first: nothing else may be signed for its size.
        self.press.resume()?;
        if self.press.mirror.read().size() != self.size {
            // It was refused after it was written: the feed has rows of it that are not here.
            self.take_up(now)?;
        }
        self.roll(now, &manifest, rng)?;
        self.begin_sponsor_sweep(now, &manifest);

        // Time goes on, but for a last head that was signed by a clock ahead of everybody's.
        let skew = u64::from(manifest.skew_millis);
        let time = match self.last_time.millis_since(now) {
            ahead if ahead > skew => now,
            _ => now.max(self.last_time),
        };
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
        self.size = checkpoint.size();
        self.catch_up = false;
        self.last_time = time;
        self.press.mirror.publish(&self.press.sign(&checkpoint)?)?;
        self.decided = self.decided.filter(|decided| *decided > self.live_epoch);
        if let Some(epoch) = self.forget_before {
            self.press.keys.forget_before(epoch)?;
            self.forget_before = None;
        }
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
        let planned = manifest.epochs.epoch_at(now).max(self.live_epoch);
        let current = self.decided.map_or(planned, |decided| self.towards(decided, planned));
        if current > self.live_epoch {
            self.live_epoch = current;
            self.catch_up = true;
            self.directories.retain(|directory| directory.key.epoch >= current);
            self.delivered.retain(|(key, _)| key.epoch >= current);
            self.forget_before = Some(current);
        }
        let next = current.next();
        let is_decided = self.decided.is_some_and(|decided| decided > current);
        let is_next_due = is_decided || now >= manifest.epochs.publish_at(next);
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

    /// The epoch to live in on the way to the one decided on: as in turn, a directory is published with its keys before it
    /// is live, so that no check falls between. It takes two ticks.
    fn towards(&self, decided: Epoch, planned: Epoch) -> Epoch {
        let next = planned.next();
        if decided >= next && self.is_published(next) { next } else { planned }
    }

    fn is_published(&self, epoch: Epoch) -> bool {
        let of_epoch = |one: &&Directory| one.key.epoch == epoch && one.unpublished.is_none();
        let published = self.directories.iter().filter(of_epoch).count();
        published == Audience::published_by(self.press.authority).len()
    }

    /// The epoch out of turn that is under way; none once it is live.
    pub(crate) fn decided(&self) -> Option<Epoch> {
        self.decided
    }

    /// Goes to this epoch out of turn with the coming ticks.
    pub(crate) fn decide(&mut self, epoch: Epoch) {
        self.decided = Some(epoch).filter(|epoch| *epoch > self.live_epoch);
    }

    /// The epoch that a new one out of turn would be: the first whose keys nobody has; or that of the other authority, if it
    /// is a later one, so that codes for phones, which are for the same epochs of both, go on being good.
    pub(crate) fn next_out_of_turn(&self, other: Option<Epoch>) -> Epoch {
        let newest = self.directories.iter().map(|one| one.key.epoch).max();
        let free = newest.unwrap_or(self.live_epoch).max(self.live_epoch).next();
        let near = |other: &Epoch| other.get().saturating_sub(free.get()) <= NEAR;
        other.filter(near).map_or(free, |other| free.max(other))
    }

    /// What a new epoch out of turn would cost.
    pub(crate) fn cost(
        &self,
        manifest: &VerifiedManifest,
        other: Option<Epoch>,
        env: &Env,
    ) -> Result<Cost, PublishError> {
        let mut directories = Vec::new();
        let mut sealing_millis = 0;
        for audience in Audience::published_by(self.press.authority) {
            let real = self.desired.values().filter(|one| one.seed(*audience).is_some()).count();
            let rows = (real + decoys_wanted(&manifest.padding, real)) as u64;
            let verifiers: Vec<String> =
                manifest.verifiers_for(*audience).map(|one| one.id.clone()).collect();
            let bytes = self.bytes_sent(*audience, rows, &verifiers, manifest);
            sealing_millis += sealing_millis_of(&self.desired, *audience, real, &self.press, env)?;
            directories.push(DirectoryCost { audience: *audience, rows, bytes, verifiers });
        }
        Ok(Cost {
            live: self.live_epoch,
            next: self.decided.unwrap_or_else(|| self.next_out_of_turn(other)),
            directories,
            sealing_millis,
            ticks_millis: 2 * u64::from(manifest.tick_millis),
            under_way: self.decided.is_some(),
        })
    }

    /// Bytes that a follower is sent for a new directory, but for what each tick brings anyway: the snapshot, the profile table,
    /// the audience key sealed to each verifier and to this authority itself, and the catch-up of the first tick.
    fn bytes_sent(
        &self,
        audience: Audience,
        rows: u64,
        verifiers: &[String],
        manifest: &VerifiedManifest,
    ) -> u64 {
        let snapshot = snapshot::Header::SIZE as u64 + rows * Row::SIZE as u64;
        let view = self.press.mirror.read();
        let live = view.directory(self.live_epoch, audience);
        let table = live.and_then(|held| held.sealed_profiles());
        let table = table.map_or(0, |table| table.as_bytes().len() as u64);
        let own_id = self.press.mirror.own_id();
        let recipients = verifiers.iter().chain([&own_id]);
        let keys: usize = recipients.map(|id| id.len() + OVERHEAD + AudienceKey::SIZE).sum();
        let Padding { reseals, catch_up_percent, .. } = manifest.padding;
        // The sponsor's directories rest, until they are re-sealed whole.
        let catch_up = match audience {
            Audience::Sponsor => 0,
            _ => {
                (rows * u64::from(catch_up_percent)).div_ceil(100).max(reseals[0].into()).min(rows)
            }
        };
        snapshot + table + keys as u64 + catch_up * Row::SIZE as u64
    }

    /// Compares what gates read of each entry with what the store says.
    pub(crate) fn compare(&self, padding: &Padding) -> (Report, Vec<Held>) {
        let Some(Directory { sealer, .. }) = self.live_gate() else {
            return (Report::default(), Vec::new());
        };
        let mut report = Report {
            log_size: self.press.mirror.read().size(),
            rows: sealer.rows() as u64,
            ..Report::default()
        };
        let mut held = Vec::new();
        for (id, published) in sealer.published() {
            report.opened += 1;
            let Some(entry) = self.desired.get(&id) else { continue };
            let wanted = entry.record_for(Audience::Gate, self.last_time);
            if wanted.status == Status::Valid && published != wanted {
                held.push(Held { id, published: published.status });
            } else if wanted.status != Status::Valid && published.status == Status::Valid {
                report.stopped_again += 1;
            }
        }
        let of_gates = self.desired.values().filter(|one| one.seed(Audience::Gate).is_some());
        report.unpublished = (of_gates.count() as u64).saturating_sub(report.opened);
        report.held = held.len() as u64;
        report.unknown = report.rows - report.opened;
        // Of badges that are lost, decoys were wanted too.
        let most = decoys_wanted(padding, sealer.rows()) as u64;
        let least = decoys_wanted(padding, report.opened as usize) as u64 / 2;
        report.decoys = [least.min(report.unknown), most.min(report.unknown)];
        (report, held)
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
        let is_live = key.epoch == self.live_epoch;
        let rests = key.audience == Audience::Sponsor && !sealer.is_sweeping();
        // What is frozen thaws only if more waits than a first tick should hold.
        let is_frozen = !is_live && sealer.waiting() <= manifest.padding.reseals[2] as usize / 2;
        if is_frozen || (is_live && rests) {
            return Ok((Content::Unchanged, None));
        }
        let amount = if is_live && self.catch_up {
            let percent = usize::from(manifest.padding.catch_up_percent);
            Amount::CatchUp((sealer.rows() * percent).div_ceil(100))
        } else {
            Amount::Step
        };
        let (delta, rows) = sealer.draft(&self.desired, &manifest.padding, amount, now, rng)?;
        metrics::RESEALED.of([key.audience.name()]).increment(delta.len() as u64);
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
            let own_id = self.press.mirror.own_id();
            if let Some(own) = &self.press.own_key
                && !self.delivered.contains(&(*key, own_id.clone()))
            {
                keys.push(SealedAudienceKey::seal(
                    &sealer.binder().key,
                    &self.press.event,
                    self.press.authority,
                    key.audience,
                    key.epoch,
                    &own_id,
                    &own.public_key(),
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

/// The other authority's epoch is joined if it is no further ahead: it must not lead this one to the end of all numbers.
const NEAR: u32 = 16;

/// How long sealing all records for an audience takes here, from a sample that nobody gets to see.
fn sealing_millis_of(
    desired: &Desired,
    audience: Audience,
    real: usize,
    press: &Press,
    env: &Env,
) -> Result<u64, PublishError> {
    let binder = Binder {
        event: press.event.clone(),
        origin: Origin::new(&press.event, press.authority),
        epoch: Epoch::new(u32::MAX),
        audience,
        key: AudienceKey::generate(&mut env.rng()),
    };
    let started = env.clock.elapsed();
    let sealed = seal_sample(&binder, desired)?.max(1);
    let passed = env.clock.elapsed().saturating_sub(started).as_micros();
    Ok(u64::try_from(passed * real as u128 / sealed as u128 / 1_000).unwrap_or(u64::MAX))
}

impl Directory {
    fn table(&self, profiles: &ProfileTable) -> SealedProfiles {
        let binder = self.sealer.binder();
        profiles.seal(&binder.key, &binder.origin, binder.epoch)
    }
}
