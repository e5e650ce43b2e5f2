//! What an authority keeps beside its store, opened and verified.

use std::sync::Arc;

use lanyard_core::ids::{Audience, Authority};
use lanyard_core::manifest::Manifest;
use lanyard_core::threshold::ShareIndex;
use lanyard_env::Env;
use lanyard_feed::{Mirror, MirrorConfig, Recipient, held_by};
use lanyard_party::{Folder, ManifestStore, Peers, ShareStore};
use lanyard_shareholder::{Holder, HolderSetup, KeyShareServer, Limit, Pseudonymiser, Settings};
use lanyard_transport::PartyName;
use lanyard_witness::{Witness, witnessed_logs};

use super::kept::Kept;
use super::{StationError, other, party};

/// An authority's mirrors, its witness, and its share of the pseudonym key.
pub(super) struct State {
    pub(super) own: Arc<Mirror>,
    pub(super) other: Arc<Mirror>,
    pub(super) witness: Option<Witness>,
    pub(super) shares: Arc<ShareStore>,
    pub(super) key_share: KeyShareServer,
    pub(super) pseudonymiser: Pseudonymiser,
}

impl State {
    /// Reads and verifies all of it. Blocks on the disk, within a tokio runtime.
    ///
    /// All that the other authority publishes is mirrored, sealed to whoever is no verifier of it: when the sponsor is cut
    /// off, gates may follow from here, and the other authority finds its own newest head here.
    pub(super) fn open(
        env: &Env,
        authority: Authority,
        folder: &Folder,
        kept: &Kept,
        manifests: &Arc<ManifestStore>,
        peers: &Peers,
    ) -> Result<Self, StationError> {
        let (manifest, name) = (manifests.current(), authority.name());
        let own = MirrorConfig {
            authority,
            audiences: Audience::published_by(authority).to_vec(),
            recipient: None,
            publisher: true,
        };
        let id = format!("{name}/{name}");
        let recipient = match manifest.verifier(&id) {
            Some(_) => Some(Recipient { id, key: Arc::new(folder.hpke_key()?) }),
            None => None,
        };
        let other = other(authority);
        let audiences = Audience::published_by(other).to_vec();
        let other = MirrorConfig { authority: other, audiences, recipient, publisher: false };
        let other = open_mirror(env, folder, other, manifests)?;
        let witness = match manifest.witness(name) {
            Some(_) => {
                let witness = open_witness(kept, folder, authority, manifests)?;
                Some(witness.beside_mirrors(Arc::new(held_by([Arc::clone(&other)]))))
            }
            None => None,
        };
        let shares = Arc::new(ShareStore::open(folder)?);
        Ok(Self {
            own: open_mirror(env, folder, own, manifests)?,
            other,
            witness,
            key_share: open_key_share(kept, folder, authority, manifests, &shares)?,
            pseudonymiser: open_pseudonymiser(env, authority, &manifest, peers, &shares)?,
            shares,
        })
    }
}

fn open_mirror(
    env: &Env,
    folder: &Folder,
    config: MirrorConfig,
    manifests: &Arc<ManifestStore>,
) -> Result<Arc<Mirror>, StationError> {
    let dir = folder.data_dir().join("feeds").join(config.authority.name());
    Ok(Mirror::open(env.clone(), &dir, config, Arc::clone(manifests) as _)?)
}

fn open_witness(
    kept: &Kept,
    folder: &Folder,
    authority: Authority,
    manifests: &Arc<ManifestStore>,
) -> Result<Witness, StationError> {
    let manifests = Arc::clone(manifests);
    let logs = Arc::new(move || witnessed_logs(&manifests.current(), authority.name()));
    let keys = folder.clone();
    let keys = Arc::new(move || keys.witness_keys());
    keys()?;
    Ok(Witness::open(kept.env.clone(), &kept.witness_memory(), keys, logs)?)
}

fn open_key_share(
    kept: &Kept,
    folder: &Folder,
    authority: Authority,
    manifests: &Arc<ManifestStore>,
    shares: &Arc<ShareStore>,
) -> Result<KeyShareServer, StationError> {
    let event = manifests.current().event.clone();
    let ledger = kept.ledger(folder, &event, authority.name())?;
    let manifests = Arc::clone(manifests);
    Ok(KeyShareServer::new(HolderSetup {
        env: kept.env.clone(),
        party: party(authority),
        shares: Arc::clone(shares) as _,
        ledger,
        quotas: Arc::new(move || Limit::of_holder(&manifests.current(), authority.name())),
    }))
}

fn open_pseudonymiser(
    env: &Env,
    authority: Authority,
    manifest: &Manifest,
    peers: &Peers,
    shares: &Arc<ShareStore>,
) -> Result<Pseudonymiser, StationError> {
    let listed = manifest.share_holders.holders.iter();
    let mut others: Vec<_> = listed.filter(|holder| holder.party != authority.name()).collect();
    // Committee and police need not be online for each other: the trustee is asked first.
    others.sort_by_key(|holder| holder.party != PartyName::Trustee.name());
    let holders = others
        .into_iter()
        .map(|holder| {
            let index = ShareIndex::new(holder.index)?;
            let channel = peers.channel(&holder.party)?;
            Ok(Holder { index, name: holder.party.clone(), channel })
        })
        .collect::<Result<Vec<_>, StationError>>()?;
    let shares = Arc::clone(shares) as _;
    Ok(Pseudonymiser::new(env.clone(), shares, holders, Settings::default())?)
}
