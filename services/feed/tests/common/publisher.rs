//! An authority made of core primitives.

use std::collections::BTreeMap;
use std::sync::Arc;

use lanyard_core::audience_key::{AudienceKey, SealedAudienceKey};
use lanyard_core::checkpoint::{Checkpoint, VerifiedCheckpoint};
use lanyard_core::ids::{Audience, Authority, Epoch};
use lanyard_core::map::Row;
use lanyard_core::profile::SealedProfiles;
use lanyard_feed::{Content, DirectoryDraft, DirectoryKey, Draft, ManifestSource as _, Mirror};
use rand::Rng as _;

use super::{EPOCH, TICK, World, gate_key, key, rows, table};

/// The committee, as simple as it can be.
pub struct Publisher<'w> {
    pub world: &'w World,
    pub mirror: Arc<Mirror>,
    pub keys: BTreeMap<DirectoryKey, [u8; 32]>,
    pub live: Epoch,
    /// Which witnesses cosign.
    pub cosigners: Vec<usize>,
}

impl<'w> Publisher<'w> {
    pub fn new(world: &'w World, mirror: Arc<Mirror>) -> Self {
        Self { world, mirror, keys: BTreeMap::new(), live: EPOCH, cosigners: vec![0, 2] }
    }

    pub fn audience_key(&mut self, key: DirectoryKey) -> AudienceKey {
        let mut rng = self.world.env.rng();
        let bytes = self.keys.entry(key).or_insert_with(|| {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        });
        AudienceKey::from_bytes(*bytes)
    }

    pub fn sealed_table(&mut self, key: DirectoryKey, category: &str) -> SealedProfiles {
        let origin = self.mirror.origin().clone();
        table(category).seal(&self.audience_key(key), &origin, key.epoch)
    }

    pub fn directory(&mut self, key: DirectoryKey, rows: Vec<Row>) -> DirectoryDraft {
        let audience_key = self.audience_key(key).commitment();
        let profiles = Some(self.sealed_table(key, "Athlete"));
        DirectoryDraft { key, content: Content::New { rows, audience_key }, profiles }
    }

    pub fn draft(&self, directories: Vec<DirectoryDraft>) -> Draft {
        Draft {
            time: self.world.env.now(),
            manifest: self.world.manifests().current().hash(),
            live_epoch: self.live,
            directories,
        }
    }

    /// The first tick: `count` rows for each audience.
    pub fn begin(&mut self, count: u32) {
        let directories =
            Audience::ALL.map(|audience| self.directory(key(1, audience), rows(count)));
        let draft = self.draft(directories.into());
        self.publish(draft);
        self.seal_keys(gate_key());
    }

    pub fn seal_keys(&mut self, key: DirectoryKey) {
        let sealed = SealedAudienceKey::seal(
            &self.audience_key(key),
            &self.world.manifest.event,
            Authority::Committee,
            key.audience,
            key.epoch,
            "gate/gate-1",
            &self.world.gate.public_key(),
            &mut self.world.env.rng(),
        );
        self.mirror.publish_keys(vec![sealed.unwrap()]).unwrap();
    }

    pub fn sign(&self, checkpoint: &Checkpoint) -> VerifiedCheckpoint {
        checkpoint.sign(&self.world.log_key).unwrap()
    }

    pub fn publish(&mut self, draft: Draft) -> VerifiedCheckpoint {
        let checkpoint = self.mirror.prepare(draft).unwrap();
        let signed = self.sign(&checkpoint);
        self.mirror.publish(&signed).unwrap();
        signed
    }

    /// One tick that changes rows for the gates, signed.
    pub fn tick(&mut self, content: Content) -> VerifiedCheckpoint {
        self.world.clock.advance_millis(TICK);
        let directories = self.unchanged(gate_key(), content);
        let draft = self.draft(directories);
        self.publish(draft)
    }

    /// All directories as they are, but for one.
    pub fn unchanged(&self, changed: DirectoryKey, content: Content) -> Vec<DirectoryDraft> {
        let mut content = Some(content);
        let listed: Vec<DirectoryKey> = self.mirror.read().directories().collect();
        let draft = |key| {
            let taken = if key == changed { content.take() } else { None };
            let content = taken.unwrap_or(Content::Unchanged);
            DirectoryDraft { key, content, profiles: None }
        };
        listed.into_iter().map(draft).collect()
    }

    pub fn cosigned(&self, signed: &VerifiedCheckpoint) -> VerifiedCheckpoint {
        let mut cosigned = signed.clone();
        for index in &self.cosigners {
            let witness = &self.world.witnesses[*index];
            cosigned.attach(&witness.cosign(signed, self.world.env.now()).unwrap()).unwrap();
        }
        cosigned
    }

    pub fn cosign(&self, signed: &VerifiedCheckpoint) {
        let note = self.cosigned(signed).note().to_string();
        self.mirror.cosigned(&note, "witnesses").unwrap();
    }

    /// A tick with its quorum.
    pub fn settled(&mut self, content: Content) {
        let signed = self.tick(content);
        self.cosign(&signed);
    }
}
