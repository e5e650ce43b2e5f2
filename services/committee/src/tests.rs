//! The committee's store, without a network.

mod damage;
mod disclosures;

use lanyard_authority::Registry as _;
use lanyard_core::badge::IssuingKey;
use lanyard_core::ids::{Audience, Authority, BadgeNumber, EventId, PrintNumber, Timestamp};
use lanyard_core::record::Status;
use lanyard_env::{Env, ManualClock};
use lanyard_party::StoreKey;
use lanyard_store::{AuditTrail, Location, Owner, SealKey, Store};
use lanyard_test_postgres::TestStore;
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::common::v1::StatusAction;
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::badges::{self, Deed, PrintSeeds, SEEDS, Targets};
use crate::import::Import;
use crate::profiles::{self, ProfileIndex};
use crate::registry::{PrintRegistry, SEALED};
use crate::schema::SCHEMA;

const OPERATOR: &str = "spiffe://committee/operator/registrar";

/// A new store of the committee of the event `games`.
pub(crate) async fn open(place: &TestStore) -> Store {
    let location = Location::parse(place.url(), place.folder()).unwrap();
    let owner = Owner { party: Authority::Committee, event: EventId::parse("games").unwrap() };
    Store::open(&location, &owner, &SCHEMA).await.unwrap()
}

struct Desk {
    _place: TestStore,
    store: Store,
    env: Env,
    store_key: Arc<StoreKey>,
    event: EventId,
}

impl Desk {
    async fn open() -> Self {
        Self::over(TestStore::new().await).await
    }

    async fn over(place: TestStore) -> Self {
        let store = open(&place).await;
        let store = store.with_seals(SealKey::from_bytes([5; 32]), SEALED).await.unwrap();
        let profile = wire::Profile {
            code: "village".into(),
            category: "athlete".into(),
            sessions: vec!["daily 06:00-23:00".into()],
            ..Default::default()
        };
        profiles::put(&store, vec![profile]).await.unwrap();
        Self {
            _place: place,
            store,
            env: Env::for_test(ManualClock::new(Timestamp::from_seconds(1_800_000_000))),
            store_key: Arc::new(StoreKey::from_bytes(&[5; 32])),
            event: EventId::parse("games").unwrap(),
        }
    }

    async fn import(
        &self,
        people: Vec<wire::Person>,
        mode: wire::ImportMode,
    ) -> wire::ImportPeopleResponse {
        let index = ProfileIndex::load(&self.store).await.unwrap();
        let mut import = Import::new(self.event.clone(), vec!["athlete".into()], index);
        for (line, person) in (2..).zip(people) {
            import.row(line, person);
        }
        import.finish(&self.store, &self.env, OPERATOR, mode, false).await.unwrap()
    }

    async fn issue(&self, badge_number: u32, print_number: u32) -> u64 {
        let issuing = IssuingKey::from_bytes([9; 32]);
        let secret = issuing.badge_secret(
            &self.event,
            BadgeNumber::new(badge_number),
            PrintNumber::new(print_number as u16),
        );
        let parts = [
            secret.seed(Authority::Committee, Audience::Gate),
            secret.seed(Authority::Committee, Audience::Police),
            secret.seed(Authority::Committee, Audience::Sponsor),
            secret.seed(Authority::Police, Audience::Gate),
        ];
        let mut seeds = Zeroizing::new([0; SEEDS]);
        for (place, seed) in seeds.as_chunks_mut::<32>().0.iter_mut().zip(&parts) {
            place.copy_from_slice(seed.expose_bytes());
        }
        let print = PrintSeeds { badge_number, print_number, seeds };
        badges::register(&self.store, &self.env, &self.store_key, OPERATOR, &[print]).await.unwrap()
    }

    async fn change(&self, action: StatusAction, reference: &str) -> wire::ChangeStatusResponse {
        let deed = Deed { operator: OPERATOR, reason: "test" };
        let references = [reference.to_owned()];
        badges::change_status(&self.store, &self.env, action, &named(&references), &deed)
            .await
            .unwrap()
    }

    /// What the publisher is told of every print, by its id.
    async fn published(&self) -> Vec<(u64, Status)> {
        let registry = PrintRegistry::new(self.store.clone(), Arc::clone(&self.store_key));
        let changes = registry.changes(0, 100).await.unwrap();
        let mut prints: Vec<_> =
            changes.entries.iter().map(|entry| (entry.id, entry.record.status)).collect();
        prints.sort_unstable();
        prints
    }
}

fn person(reference: &str, name: &str) -> wire::Person {
    wire::Person {
        reference: reference.into(),
        full_name: name.into(),
        birth_date: "1990-02-28".into(),
        category: "athlete".into(),
        profile: "village".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_same_rows_again_change_nothing() {
    let desk = Desk::open().await;
    let people = || vec![person("A-1", "Ada Sample"), person("A-2", "Bo Sample")];
    let first = desk.import(people(), wire::ImportMode::AllOrNothing).await;
    assert_eq!((first.created, first.updated, first.unchanged), (2, 0, 0));
    let again = desk.import(people(), wire::ImportMode::AllOrNothing).await;
    assert_eq!((again.created, again.updated, again.unchanged), (0, 0, 2));
    let renamed = vec![person("A-1", "Ada Example")];
    let changed = desk.import(renamed, wire::ImportMode::AllOrNothing).await;
    assert_eq!((changed.created, changed.updated, changed.unchanged), (0, 1, 0));
}

#[tokio::test]
async fn a_bad_row_stops_all_or_only_itself_as_asked() {
    let desk = Desk::open().await;
    let people = || vec![person("A-1", "Ada Sample"), person("A-2", " "), person("A-1", "Twice")];
    let nothing = desk.import(people(), wire::ImportMode::AllOrNothing).await;
    assert_eq!((nothing.created, nothing.refused), (0, 2));
    let lines: Vec<_> = nothing.errors.iter().map(|e| (e.line, e.column.as_str())).collect();
    assert_eq!(lines, [(3, "full_name"), (4, "reference")]);
    let valid = desk.import(people(), wire::ImportMode::ValidRows).await;
    assert_eq!((valid.created, valid.refused), (1, 2));
}

#[tokio::test]
async fn another_identity_under_a_reference_has_another_binding() {
    let desk = Desk::open().await;
    desk.import(vec![person("A-1", "Ada Sample")], wire::ImportMode::AllOrNothing).await;
    desk.issue(1, 1).await;
    let binding = async || {
        let registry = PrintRegistry::new(desk.store.clone(), Arc::clone(&desk.store_key));
        registry.changes(0, 10).await.unwrap().entries[0].record.binding
    };
    let before = binding().await;
    desk.import(vec![person("A-1", "Someone Else")], wire::ImportMode::AllOrNothing).await;
    assert_ne!(before, binding().await);
}

#[tokio::test]
async fn a_lost_badge_ends_and_the_next_print_takes_its_place() {
    let desk = Desk::open().await;
    desk.import(vec![person("A-1", "Ada Sample")], wire::ImportMode::AllOrNothing).await;
    assert_eq!(desk.published().await, []);
    assert_eq!(desk.issue(1, 1).await, 1);
    assert_eq!(desk.published().await, [(1, Status::Valid)]);
    let deed = Deed { operator: OPERATOR, reason: "lost" };
    let lost = ["A-1".to_owned()];
    let outcome = badges::reissue(&desk.store, &desk.env, &lost, &deed).await.unwrap();
    assert_eq!(outcome.outcomes[0].outcome(), wire::Outcome::Done);
    assert_eq!(desk.published().await, [(1, Status::Reprinted)]);
    let again = badges::reissue(&desk.store, &desk.env, &lost, &deed).await.unwrap();
    assert_eq!(again.outcomes[0].outcome(), wire::Outcome::Unchanged);
    assert_eq!(desk.issue(1, 1).await, 0, "a replaced print is not issued again");
    assert_eq!(desk.issue(1, 2).await, 1);
    assert_eq!(desk.published().await, [(1, Status::Reprinted), (2, Status::Valid)]);
}

#[tokio::test]
async fn undo_restores_what_nothing_changed_since() {
    let desk = Desk::open().await;
    let people = vec![person("A-1", "Ada Sample"), person("A-2", "Bo Sample")];
    desk.import(people, wire::ImportMode::AllOrNothing).await;
    desk.issue(1, 1).await;
    desk.issue(2, 1).await;
    let deed = Deed { operator: OPERATOR, reason: "mistake" };
    let both = ["A-1".to_owned(), "A-2".to_owned()];
    let action = StatusAction::Suspend;
    let suspended =
        badges::change_status(&desk.store, &desk.env, action, &named(&both), &deed).await.unwrap();
    desk.change(StatusAction::Revoke, "A-2").await;
    let change = suspended.change_id as i64;
    let undone = badges::undo(&desk.store, &desk.env, change, &deed).await.unwrap();
    assert_eq!((undone.restored, undone.skipped), (1, 1));
    assert_eq!(desk.published().await, [(1, Status::Valid), (2, Status::Revoked)]);
    let trail = AuditTrail::list(desk.store.pool(), Some("A-1"), 0, 10).await.unwrap();
    let actions: Vec<_> = trail.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["suspend", "undo"]);
    assert!(trail.iter().all(|entry| entry.operator == OPERATOR && !entry.reason.is_empty()));
}

#[tokio::test]
async fn changes_are_paged_without_a_gap() {
    let desk = Desk::open().await;
    let people = (1..=9).map(|n| person(&format!("A-{n}"), "Ada Sample")).collect();
    desk.import(people, wire::ImportMode::AllOrNothing).await;
    for badge in 1..=9 {
        desk.issue(badge, 1).await;
    }
    let registry = PrintRegistry::new(desk.store.clone(), Arc::clone(&desk.store_key));
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = registry.changes(after, 2).await.unwrap();
        if page.entries.is_empty() {
            break;
        }
        after = page.cursor;
        seen.extend(page.entries.iter().map(|entry| entry.id));
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    desk.change(StatusAction::Suspend, "A-3").await;
    let page = registry.changes(after, 2).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!(page.entries[0].record.status, Status::Suspended);
}

/// Badges named by reference.
fn named(references: &[String]) -> Targets<'_> {
    Targets { references, numbers: &[] }
}
