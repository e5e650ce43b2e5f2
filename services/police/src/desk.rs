//! The police's desk: both records of a badge from the police's own mirrors, so that nobody learns who was checked.

mod document;

use std::sync::Arc;
use std::time::Duration;

use lanyard_authority::{OwnAudienceKeys, PublishError};
use lanyard_core::attestation::{Attestation, Opening};
use lanyard_core::audience_key::AudienceKey;
use lanyard_core::badge::{BadgeTextError, EpochKey, Presented, Seed};
use lanyard_core::ids::{Audience, Authority, Epoch};
use lanyard_core::record::{Record, RecordError};
use lanyard_core::tlog_proof::TlogProof;
use lanyard_feed::{DirectoryKey, FeedError, Lookup, Mirror};
use lanyard_party::{ManifestStore, StoreKey};
use lanyard_shareholder::{PseudonymError, Pseudonymiser};
use lanyard_store::{SealValue, Store, StoreError};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::handles::HandleIndex;
use crate::lists::Lists;
use crate::prints::{self, PrintError};
use crate::staff;

pub(crate) use document::{Found, FoundPrint, Person};

/// Why a badge cannot be checked.
#[derive(Debug, Error)]
pub(crate) enum DeskError {
    /// Not a badge of this event.
    #[error("badge_text: {0}")]
    Text(#[from] BadgeTextError),
    /// A code that others may ask with.
    #[error(
        "badge_text: a code for {audience}; ask for one for the police, or scan the badge itself"
    )]
    OtherAudience {
        /// Whom it is for.
        audience: Audience,
    },
    /// A directory, or the key to it, is not here yet.
    #[error(
        "the directory of the {authority} for epoch {epoch} is not here yet; try again in a moment"
    )]
    Missing {
        /// Whose.
        authority: Authority,
        /// Which epoch.
        epoch: Epoch,
    },
    /// Nothing was signed or received yet.
    #[error("nothing of the {authority} is here yet; try again in a moment")]
    Empty {
        /// Whose.
        authority: Authority,
    },
    /// The authority published something that is no record.
    #[error("the record of the {authority}: {source}")]
    Record {
        /// Whose.
        authority: Authority,
        /// What is wrong with it.
        source: RecordError,
    },
    /// There is no proof.
    #[error("no attestation of the {authority}: {source}")]
    Proof {
        /// Whose.
        authority: Authority,
        /// Why.
        source: FeedError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Seeds do not read back.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// Pseudonyms cannot be computed.
    #[error(transparent)]
    Pseudonym(#[from] PseudonymError),
    /// The own audience key does not read back.
    #[error(transparent)]
    Key(#[from] PublishError),
}

/// What one authority says of a badge.
pub(crate) struct Side {
    pub(crate) record: Option<Record>,
    /// Age of the directory in seconds; that of the Unix epoch if no quorum ever stood behind it.
    pub(crate) age_seconds: u64,
    place: Option<Place>,
}

/// Where the record is, and what opens it.
struct Place {
    directory: DirectoryKey,
    epoch_key: EpochKey,
    audience_key: AudienceKey,
}

/// Both sides of a badge.
pub(crate) struct Checked {
    pub(crate) committee: Side,
    pub(crate) police: Side,
    /// Whose it is; `None` for a badge that is not known here.
    pub(crate) person: Option<Person>,
}

/// The desk.
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) store_key: Arc<StoreKey>,
    pub(crate) lists: Arc<Lists>,
    pub(crate) manifests: Arc<ManifestStore>,
    pub(crate) own: Arc<Mirror>,
    pub(crate) own_keys: OwnAudienceKeys,
    pub(crate) committee: Arc<Mirror>,
    pub(crate) handles: HandleIndex,
    pub(crate) pseudonymiser: Pseudonymiser,
}

/// The print of a badge in hand, from the own store.
struct Held {
    person: Person,
    police_gate: Seed,
}

impl Desk {
    /// Reads both records of the badge or code in hand.
    pub(crate) async fn check(&self, text: &str) -> Result<Checked, DeskError> {
        let manifest = self.manifests.current();
        let event = &manifest.event;
        let presented = Presented::parse(text, event)?;
        let committee_epoch = match &presented {
            Presented::Badge(_) => live_epoch(&self.committee)?,
            Presented::Scoped(code) if code.audience() == Audience::Police => {
                let epochs = code.epochs();
                live_epoch(&self.committee)?.clamp(epochs.oldest(), epochs.newest())
            }
            Presented::Scoped(code) => {
                return Err(DeskError::OtherAudience { audience: code.audience() });
            }
        };
        let of_committee = |presented: &Presented| {
            presented.epoch_key(event, Authority::Committee, Audience::Police, committee_epoch)
        };
        // Both kinds of text have this key: a code's audience and epoch are its own.
        let missing =
            DeskError::Missing { authority: Authority::Committee, epoch: committee_epoch };
        let committee_key = of_committee(&presented).ok_or(missing)?;
        let held = self.held(&presented, committee_epoch, &committee_key).await?;

        let police_epoch = live_epoch(&self.own)?;
        let police_key = presented
            .epoch_key(event, Authority::Police, Audience::Gate, police_epoch)
            .or_else(|| Some(held.as_ref()?.police_gate.epoch_key(event, police_epoch)));
        let committee = self.committee_side(committee_epoch, committee_key)?;
        let police = match police_key {
            Some(key) => self.police_side(police_epoch, key)?,
            None => Side { record: None, age_seconds: age_seconds(&self.own), place: None },
        };
        Ok(Checked { committee, police, person: held.map(|held| held.person) })
    }

    /// Nothing is said from a damaged row.
    pub(crate) async fn refuse_damaged(&self, person: &Person) -> Result<(), StoreError> {
        let (tables, condition, value) = match person {
            Person::Subject(id) => {
                (["subjects", "prints"], "subject_id = $1", SealValue::Bytes(id.as_slice()))
            }
            Person::Staff(number) => {
                (["staff", "staff_prints"], "badge_number = $1", SealValue::Number(*number))
            }
        };
        for table in tables {
            self.store.refuse_damaged(table, condition, &[value]).await?;
        }
        Ok(())
    }

    /// The print in the own store.
    async fn held(
        &self,
        presented: &Presented,
        epoch: Epoch,
        committee_key: &EpochKey,
    ) -> Result<Option<Held>, DeskError> {
        let (store, store_key) = (&self.store, &*self.store_key);
        let (subject, staff) = match presented {
            Presented::Badge(secret) => {
                let seed = secret.seed(Authority::Police, Audience::Gate);
                (
                    prints::by_seed(store, store_key, &seed).await?,
                    staff::by_seed(store, store_key, &seed).await?,
                )
            }
            Presented::Scoped(_) => {
                let manifest = self.manifests.current();
                let handle = committee_key.handle();
                let print =
                    self.handles.find(store, store_key, &manifest.event, epoch, &handle).await?;
                let Some(print) = print else { return Ok(None) };
                (
                    prints::by_id(store, store_key, print).await?,
                    staff::by_id(store, store_key, print).await?,
                )
            }
        };
        let of_subject = |held: prints::Held| Held {
            person: Person::Subject(held.subject_id),
            police_gate: held.seeds.police_gate(),
        };
        let of_staff = |held: staff::Held| Held {
            person: Person::Staff(held.badge_number),
            police_gate: held.seeds.police_gate(),
        };
        let held = subject.map(of_subject).or_else(|| staff.map(of_staff));
        if let Some(held) = &held {
            self.refuse_damaged(&held.person).await?;
        }
        Ok(held)
    }

    fn committee_side(&self, epoch: Epoch, epoch_key: EpochKey) -> Result<Side, DeskError> {
        let directory = DirectoryKey::new(epoch, Audience::Police);
        let view = self.committee.read();
        let key = view.directory(epoch, Audience::Police).and_then(|held| held.audience_key());
        let missing = DeskError::Missing { authority: Authority::Committee, epoch };
        let audience_key = AudienceKey::from_bytes(*key.ok_or(missing)?.expose_bytes());
        drop(view);
        side(&self.committee, Place { directory, epoch_key, audience_key })
    }

    fn police_side(&self, epoch: Epoch, epoch_key: EpochKey) -> Result<Side, DeskError> {
        let directory = DirectoryKey::new(epoch, Audience::Gate);
        let missing = DeskError::Missing { authority: Authority::Police, epoch };
        let audience_key = self.own_keys.get(epoch, Audience::Gate)?.ok_or(missing)?;
        side(&self.own, Place { directory, epoch_key, audience_key })
    }

    /// Both attestations with their openings, the committee's first, of the sides that have a place in a directory.
    pub(crate) async fn attest(
        &self,
        committee: &Side,
        police: &Side,
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, DeskError> {
        let sides = [(&self.committee, committee), (&self.own, police)];
        let mut attestations = Vec::with_capacity(sides.len());
        for (mirror, side) in sides {
            if let Some(place) = &side.place {
                attestations.push(self.attestation(mirror, place).await?.to_bytes());
            }
        }
        Ok(attestations)
    }

    async fn attestation(&self, mirror: &Mirror, place: &Place) -> Result<Attestation, DeskError> {
        let authority = mirror.authority();
        let handle = place.epoch_key.handle();
        // Witnesses answer within a tick; then there are those that are slow.
        let tick = Duration::from_millis(u64::from(self.manifests.current().tick_millis));
        let proven = mirror
            .prove(place.directory, &handle, 3 * tick)
            .await
            .map_err(|source| DeskError::Proof { authority, source })?;
        Ok(Attestation {
            manifest: proven.manifest,
            authority,
            audience: place.directory.audience,
            epoch: place.directory.epoch,
            handle,
            record: proven.record,
            map_proof: proven.map_proof,
            head: proven.head.to_vec(),
            log_proof: TlogProof {
                extra: None,
                index: proven.checkpoint.size() - 1,
                proof: proven.inclusion,
                checkpoint: proven.checkpoint.note().clone(),
            },
            opening: Some(Opening {
                epoch_key: EpochKey::from_bytes(*place.epoch_key.expose_bytes()),
                audience_key: AudienceKey::from_bytes(*place.audience_key.expose_bytes()),
            }),
        })
    }
}

/// The newest signed record: a desk sees a stop as soon as there is one.
fn side(mirror: &Mirror, place: Place) -> Result<Side, DeskError> {
    let authority = mirror.authority();
    let DirectoryKey { epoch, audience } = place.directory;
    let handle = place.epoch_key.handle();
    let age_seconds = age_seconds(mirror);
    let view = mirror.read();
    let found = view.directory(epoch, audience).map(|held| held.lookup_signed(&handle));
    drop(view);
    let record = match found {
        None | Some(Lookup::Missing) => return Err(DeskError::Missing { authority, epoch }),
        Some(Lookup::Absent) => None,
        Some(Lookup::Found(sealed)) => {
            let key = place.epoch_key.record_key(&place.audience_key);
            let record = sealed.open(&key, mirror.origin(), epoch, &handle);
            Some(record.map_err(|source| DeskError::Record { authority, source })?)
        }
    };
    Ok(Side { record, age_seconds, place: Some(place) })
}

fn live_epoch(mirror: &Mirror) -> Result<Epoch, DeskError> {
    let view = mirror.read();
    let signed = view.signed().ok_or(DeskError::Empty { authority: mirror.authority() })?;
    Ok(signed.head().live_epoch)
}

fn age_seconds(mirror: &Mirror) -> u64 {
    let freshness = mirror.read().freshness().unwrap_or_default();
    mirror.now().millis_since(freshness) / 1_000
}
