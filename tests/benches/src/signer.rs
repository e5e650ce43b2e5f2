//! What an authority does after its directories are ready: head, leaf, checkpoint, signature.

use lanyard_core::checkpoint::{Checkpoint, VerifiedCheckpoint};
use lanyard_core::head::{DirectoryHead, MapHead};
use lanyard_core::ids::{Audience, Authority, Epoch, Hash, Origin, Timestamp};
use lanyard_core::log::{Log, leaf_hash};
use lanyard_core::map::Commitment;
use lanyard_core::note::{KeyName, SigningKey};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::event::{EPOCH, event};

/// An authority's log and its key.
pub(crate) struct Signer {
    authority: Authority,
    origin: Origin,
    log: Log,
    key: SigningKey,
}

impl Signer {
    pub(crate) fn new(authority: Authority) -> Self {
        let origin = Origin::new(&event(), authority);
        let name = KeyName::parse(origin.as_str()).expect("origins are key names");
        let key = SigningKey::generate(name, &mut StdRng::seed_from_u64(2));
        Self { authority, origin, log: Log::new(), key }
    }

    /// Appends a head with these gate directories and signs the checkpoint.
    pub(crate) fn tick(&mut self, directories: &[(Epoch, Commitment)]) -> VerifiedCheckpoint {
        let size = self.log.size() + 1;
        let directories = directories
            .iter()
            .map(|(epoch, commitment)| DirectoryHead {
                epoch: *epoch,
                audience: Audience::Gate,
                commitment: *commitment,
                audience_key: Hash::new([1; 32]),
                profiles: Hash::new([2; 32]),
            })
            .collect();
        let head = MapHead {
            event: event(),
            authority: self.authority,
            size,
            time: Timestamp::from_seconds(1_846_922_400 + 2 * size),
            manifest: Hash::new([3; 32]),
            live_epoch: EPOCH,
            directories,
        };
        self.log.append(leaf_hash(&head.to_bytes().expect("a head of the live epoch")));
        let checkpoint = Checkpoint::new(&self.origin, size, self.log.root());
        checkpoint.sign(&self.key).expect("the key has the origin's name")
    }
}
