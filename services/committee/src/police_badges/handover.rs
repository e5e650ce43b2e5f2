//! Takes over from the police what is to be attested of their staff's badges: page by page from a cursor that is stored with
//! the page, so that whatever breaks off goes on where it stopped, and what comes twice changes nothing.

use std::sync::Arc;
use std::time::Duration;

use lanyard_core::binding::Binding;
use lanyard_core::ids::{Authority, BadgeNumber};
use lanyard_env::Env;
use lanyard_party::StoreKey;
use lanyard_store::{Store, StoreError, Transaction, next_number};
use lanyard_transport::status;
use lanyard_wire::convert::{WireError, array};
use lanyard_wire::staff::v1 as wire;
use lanyard_wire::staff::v1::handover_service_client::HandoverServiceClient;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::{SEEDS, mark_changed, seeds_cell};
use crate::{cursors, profiles};

/// How often prints are taken over.
const INTERVAL: Duration = Duration::from_secs(2);

/// The cursor's name in the store.
const CURSOR: &str = "police prints";

/// Why nothing more is taken over. What was before stays.
#[derive(Debug, Error)]
pub(crate) enum HandoverError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The police sent something that is no print.
    #[error("police badges: {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: String,
    },
    /// The police refuse or cannot be reached.
    #[error("police: {}", status::explain(.0))]
    Police(#[source] Box<tonic::Status>),
}

impl From<sqlx::Error> for HandoverError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<tonic::Status> for HandoverError {
    fn from(status: tonic::Status) -> Self {
        Self::Police(Box::new(status))
    }
}

impl From<WireError> for HandoverError {
    fn from(error: WireError) -> Self {
        Self::Malformed { problem: error.to_string() }
    }
}

/// One print, read.
struct Print {
    badge_number: i64,
    print_number: i64,
    /// The committee's for gate, police and sponsor.
    seeds: Zeroizing<[u8; SEEDS]>,
    profile: String,
    not_before: i64,
    not_after: i64,
    binding: [u8; Binding::SIZE],
    replaced: bool,
    revoked: bool,
}

impl Print {
    fn read(print: wire::HandedPrint) -> Result<Self, HandoverError> {
        let number = BadgeNumber::new(print.badge_number);
        let malformed = |problem: &str| HandoverError::Malformed { problem: problem.to_owned() };
        if number.issuer() != Authority::Police {
            return Err(malformed("badge_number: not one of the police's"));
        }
        if !(1..=u32::from(u16::MAX)).contains(&print.print_number) {
            return Err(malformed("print_number: 1 to 65535"));
        }
        let parts = [
            ("committee_gate_seed", Zeroizing::new(print.committee_gate_seed)),
            ("committee_police_seed", Zeroizing::new(print.committee_police_seed)),
            ("committee_sponsor_seed", Zeroizing::new(print.committee_sponsor_seed)),
        ];
        let mut seeds = Zeroizing::new([0; SEEDS]);
        for (place, (field, bytes)) in seeds.as_chunks_mut::<32>().0.iter_mut().zip(&parts) {
            *place = array(field, bytes)?;
        }
        let not_after = match print.not_after_minutes {
            0 => u32::MAX,
            minutes => minutes,
        };
        Ok(Self {
            badge_number: number.get().into(),
            print_number: print.print_number.into(),
            seeds,
            profile: print.profile,
            not_before: print.not_before_minutes.into(),
            not_after: not_after.into(),
            binding: array("binding", &print.binding)?,
            replaced: print.replaced,
            revoked: print.revoked,
        })
    }

    /// Keyed hashes of the three seeds, which tell where records are.
    fn tags(&self, store_key: &StoreKey) -> [Vec<u8>; 3] {
        let seeds = self.seeds.as_chunks::<32>().0;
        let tag = |purpose, index: usize| store_key.local_hash(purpose, &seeds[index]).to_vec();
        [tag("gate seed", 0), tag("police seed", 1), tag("sponsor seed", 2)]
    }
}

/// The committee's side.
pub(crate) struct Handover {
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) store_key: Arc<StoreKey>,
    pub(crate) police: HandoverServiceClient<Channel>,
}

impl Handover {
    /// Tells the police which profiles they may use, and takes over all that is new.
    pub(crate) async fn run(&self) -> Result<u64, HandoverError> {
        let mut police = self.police.clone();
        let profiles = profiles::offered(&self.store).await?;
        police.offer_profiles(wire::OfferProfilesRequest { profiles }).await?;
        let mut cursor = cursors::read(&self.store, CURSOR).await?.unwrap_or(0);
        let mut total = 0;
        loop {
            let request = wire::TakePrintsRequest { cursor, limit: 0 };
            let response = police.take_prints(request).await?.into_inner();
            if response.prints.is_empty() {
                return Ok(total);
            }
            let prints = response.prints.into_iter().map(Print::read);
            let prints = prints.collect::<Result<Vec<_>, _>>()?;
            self.put(&prints, response.cursor).await?;
            total += prints.len() as u64;
            cursor = response.cursor;
        }
    }

    /// Stores a page with its cursor; asking for the next acknowledges it.
    async fn put(&self, prints: &[Print], cursor: u64) -> Result<(), StoreError> {
        let mut transaction = self.store.begin().await?;
        for print in prints {
            let badge_changed = put_badge(&mut transaction, print).await?;
            let print_changed = self.put_print(&mut transaction, print).await?;
            if badge_changed || print_changed {
                mark_changed(&mut transaction, print.badge_number).await?;
            }
        }
        sqlx::query(
            "INSERT INTO cursors (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2",
        )
        .bind(CURSOR)
        .bind(i64::try_from(cursor).unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    /// Stores a print, and says whether anything is new. A print keeps its seeds, and takes no other's: two records in one
    /// place would be one badge speaking for another.
    async fn put_print(
        &self,
        transaction: &mut Transaction,
        print: &Print,
    ) -> Result<bool, StoreError> {
        let [gate, police, sponsor] = print.tags(&self.store_key);
        let taken: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT badge_number, print_number FROM police_prints WHERE gate_tag = $1 OR police_tag = $2 OR sponsor_tag = $3 \
             OR (badge_number = $4 AND print_number = $5) UNION ALL \
             SELECT badge_number, print_number FROM prints WHERE gate_tag = $1 OR police_tag = $2",
        )
        .bind(&gate)
        .bind(&police)
        .bind(&sponsor)
        .bind(print.badge_number)
        .bind(print.print_number)
        .fetch_all(&mut **transaction)
        .await?;
        let own = (print.badge_number, print.print_number);
        if taken.iter().any(|known| *known != own) {
            tracing::warn!(
                badge = print.badge_number,
                print = print.print_number,
                "a police badge is not attested: its seeds belong to another badge"
            );
            return Ok(false);
        }
        if taken.is_empty() {
            return self.insert_print(transaction, print, [gate, police, sponsor]).await;
        }
        let updated = sqlx::query(
            "UPDATE police_prints SET replaced = $1 WHERE badge_number = $2 AND print_number = $3 AND replaced <> $1 \
             AND gate_tag = $4 AND police_tag = $5 AND sponsor_tag = $6",
        )
        .bind(i64::from(print.replaced))
        .bind(print.badge_number)
        .bind(print.print_number)
        .bind(&gate)
        .bind(&police)
        .bind(&sponsor)
        .execute(&mut **transaction)
        .await?;
        Ok(updated.rows_affected() > 0)
    }

    async fn insert_print(
        &self,
        transaction: &mut Transaction,
        print: &Print,
        [gate, police, sponsor]: [Vec<u8>; 3],
    ) -> Result<bool, StoreError> {
        let id = next_number(transaction, "print").await?;
        sqlx::query(
            "INSERT INTO police_prints (id, badge_number, print_number, replaced, seeds, gate_tag, police_tag, sponsor_tag, \
             changed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)",
        )
        .bind(id)
        .bind(print.badge_number)
        .bind(print.print_number)
        .bind(i64::from(print.replaced))
        .bind(self.store_key.seal(seeds_cell(id), print.seeds.as_slice(), &mut self.env.rng()))
        .bind(gate)
        .bind(police)
        .bind(sponsor)
        .execute(&mut **transaction)
        .await?;
        Ok(true)
    }

    /// Takes over every few seconds until `shutdown`.
    pub(crate) async fn keep_up(self: Arc<Self>, shutdown: CancellationToken) {
        let mut complained = false;
        while !shutdown.is_cancelled() {
            match self.run().await {
                Ok(0) => complained = false,
                Ok(prints) => {
                    tracing::info!(prints, "police badges taken over");
                    complained = false;
                }
                Err(error) if !complained => {
                    tracing::warn!(%error, "police badges are not taken over");
                    complained = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

/// Stores what is said of a badge as a whole, and says whether anything is new.
async fn put_badge(transaction: &mut Transaction, print: &Print) -> Result<bool, StoreError> {
    type Columns = (String, i64, i64, Vec<u8>, i64);
    let known: Option<Columns> = sqlx::query_as(
        "SELECT profile, not_before, not_after, binding, revoked FROM police_badges WHERE badge_number = $1",
    )
    .bind(print.badge_number)
    .fetch_optional(&mut **transaction)
    .await?;
    let revoked = i64::from(print.revoked);
    let new =
        (print.profile.clone(), print.not_before, print.not_after, print.binding.to_vec(), revoked);
    if known.as_ref() == Some(&new) {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO police_badges (badge_number, profile, not_before, not_after, binding, revoked, status, last_change) \
         VALUES ($1, $2, $3, $4, $5, $6, 1, 0) ON CONFLICT (badge_number) DO UPDATE SET profile = $2, not_before = $3, \
         not_after = $4, binding = $5, revoked = $6",
    )
    .bind(print.badge_number)
    .bind(&print.profile)
    .bind(print.not_before)
    .bind(print.not_after)
    .bind(print.binding.to_vec())
    .bind(revoked)
    .execute(&mut **transaction)
    .await?;
    Ok(true)
}

#[cfg(test)]
pub(crate) mod tests {
    use lanyard_core::badge::IssuingKey;
    use lanyard_core::ids::{Audience, EventId, PrintNumber};
    use lanyard_core::record::Status;
    use lanyard_test_postgres::TestStore;
    use lanyard_wire::committee::v1::Profile;
    use tonic::transport::Endpoint;

    use super::*;
    use std::collections::BTreeSet;

    use crate::police_badges::entries;

    pub(crate) const FIRST: u32 = BadgeNumber::FIRST_OF_POLICE.get();

    struct World {
        _place: TestStore,
        handover: Handover,
    }

    /// The committee's side, with a profile for the police. Nobody is called: prints are put in by hand.
    pub(crate) async fn over(store: Store, store_key: Arc<StoreKey>) -> Handover {
        let patrol = Profile {
            code: "patrol".into(),
            category: "Police".into(),
            police: true,
            ..Default::default()
        };
        profiles::put(&store, vec![patrol]).await.unwrap();
        let nobody = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        Handover {
            store,
            env: Env::system(),
            store_key,
            police: HandoverServiceClient::new(nobody),
        }
    }

    pub(crate) async fn put(handover: &Handover, print: wire::HandedPrint) {
        handover.put(&[Print::read(print).unwrap()], 1).await.unwrap();
    }

    impl World {
        async fn new() -> Self {
            let place = TestStore::new().await;
            let store = crate::tests::open(&place).await;
            let store_key = Arc::new(StoreKey::from_bytes(&[5; 32]));
            Self { _place: place, handover: over(store, store_key).await }
        }

        async fn put(&self, print: wire::HandedPrint) {
            put(&self.handover, print).await;
        }

        /// Change number and status of everything published.
        async fn published(&self) -> Vec<(u64, Status)> {
            let Handover { store, store_key, .. } = &self.handover;
            let entries = entries(store, store_key, (0, 100), &BTreeSet::new()).await.unwrap();
            entries.iter().map(|(changed, entry)| (*changed, entry.record.status)).collect()
        }
    }

    pub(crate) fn print(badge_number: u32, print_number: u16) -> wire::HandedPrint {
        let event = EventId::parse("games").unwrap();
        let secret = IssuingKey::from_bytes([9; 32]).badge_secret(
            &event,
            BadgeNumber::new(badge_number),
            PrintNumber::new(print_number),
        );
        let seed = |audience| secret.seed(Authority::Committee, audience).expose_bytes().to_vec();
        wire::HandedPrint {
            badge_number,
            print_number: print_number.into(),
            committee_gate_seed: seed(Audience::Gate),
            committee_police_seed: seed(Audience::Police),
            committee_sponsor_seed: seed(Audience::Sponsor),
            profile: "patrol".into(),
            binding: vec![7; Binding::SIZE],
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn what_comes_twice_changes_nothing() {
        let world = World::new().await;
        world.put(print(FIRST, 1)).await;
        let once = world.published().await;
        assert_eq!(once.len(), 1);
        world.put(print(FIRST, 1)).await;
        assert_eq!(world.published().await, once);
        world.put(wire::HandedPrint { revoked: true, ..print(FIRST, 1) }).await;
        let [(changed, Status::Revoked)] = world.published().await[..] else { panic!("revoked") };
        assert!(changed > once[0].0);
    }

    #[tokio::test]
    async fn a_lost_print_ends_and_the_next_is_good() {
        let world = World::new().await;
        world.put(print(FIRST, 1)).await;
        world.put(wire::HandedPrint { replaced: true, ..print(FIRST, 1) }).await;
        world.put(print(FIRST, 2)).await;
        let statuses: Vec<_> = world.published().await.iter().map(|(_, status)| *status).collect();
        assert_eq!(statuses, [Status::Reprinted, Status::Valid]);
    }

    #[tokio::test]
    async fn a_print_takes_no_place_of_another() {
        let world = World::new().await;
        world.put(print(FIRST, 1)).await;
        let before = world.published().await;
        let victim = print(FIRST, 1);
        let mut thief = print(FIRST + 1, 1);
        thief.committee_police_seed = victim.committee_police_seed;
        world.put(thief).await;
        // Other seeds for a print that is known.
        world.put(wire::HandedPrint { print_number: 1, ..print(FIRST, 2) }).await;
        assert_eq!(world.published().await, before);
    }

    #[tokio::test]
    async fn a_print_takes_no_place_of_the_committees_own() {
        let world = World::new().await;
        let Handover { store, store_key, .. } = &world.handover;
        let tag = store_key.local_hash("police seed", &[4; 32]).to_vec();
        let mut transaction = store.begin().await.unwrap();
        for statement in [
            "INSERT INTO people (badge_number, reference, subject_id, salt, binding, full_name, latin_name, birth_date, \
             documents, category, function, organisation, profile_id, not_before, not_after, portrait_hash, status, \
             screening, current_print, last_change) VALUES (1, 'A', $1, $1, $1, '', '', '', '[]', '', '', '', 1, 0, 0, $1, 1, 1, 1, 0)",
            "INSERT INTO prints (id, badge_number, print_number, state, seeds, gate_tag, police_tag, handed_over, changed) \
             VALUES (1, 1, 1, 2, $1, $1, $1, 0, 0)",
        ] {
            sqlx::query(statement).bind(&tag).execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
        world
            .put(wire::HandedPrint { committee_police_seed: vec![4; 32], ..print(FIRST, 1) })
            .await;
        assert!(world.published().await.is_empty());
    }

    #[test]
    fn what_is_no_police_print_is_refused() {
        let bad = [
            wire::HandedPrint { badge_number: 7, ..print(FIRST, 1) },
            wire::HandedPrint { print_number: 0, ..print(FIRST, 1) },
            wire::HandedPrint { binding: vec![0; 3], ..print(FIRST, 1) },
            wire::HandedPrint { committee_gate_seed: vec![1; 31], ..print(FIRST, 1) },
        ];
        for print in bad {
            assert!(matches!(Print::read(print), Err(HandoverError::Malformed { .. })));
        }
    }
}
