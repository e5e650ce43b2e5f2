//! A flipped bit in any row that can reach a signature, a verdict or an answer: noticed, closed, and nobody else's concern.

use std::sync::Arc;

use lanyard_authority::{Entry, Registry as _};
use lanyard_core::ids::Epoch;
use lanyard_core::record::Status;
use lanyard_store::{DamagedRow, Rereads, StoreError};
use lanyard_test_postgres::{
    TestStore, columns, damage, damage_each_column, exchange_seeds, lose, unindexed,
};
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::police::v1::{CaseState, Outcome};
use lanyard_wire::staff::v1 as wire;

use super::changes::suspend;
use super::disclosures::{disclose, identity};
use super::staff;
use super::world::{
    COMMITTEE, DELAY, OFFICER, SECOND, World, entry, event, hash, id, passport, person, seeds,
    store_key, submission,
};
use crate::handles::HandleIndex;
use crate::ids::LocalHash;
use crate::lists::Lists;
use crate::prints::PrintSeeds;
use crate::registry::{PrintRegistry, SEALED};
use crate::staff::Handed;
use crate::states::Verdict;
use crate::subjects::key_index::subjects_with;
use crate::subjects::{self, Submission};
use crate::watchlist;
use crate::{cases, changes, examine};

/// Tables whose rows carry tags, on either engine.
const TAGGED: &[&str] = &[
    "list_entries",
    "list_keys",
    "staged_entries",
    "staged_keys",
    "subject_keys",
    "key_runs",
    "key_blocks",
];

/// Subjects 1 and 2 are cleared and may pass, 3 is a case, and a list is being imported. All tables that are sealed or tagged
/// have rows, but for those of the staff and of changes that can be undone.
async fn world_over(place: TestStore) -> World {
    let world = World::over(place).await;
    world.import("list", vec![entry("L-1", "Cora Beispiel", &["X1"])]).await;
    world.submit(&[submission(1, &[passport("P1"), person("Ada Sample")])]).await;
    world.submit(&[submission(2, &[passport("P2"), person("Ada Sample")])]).await;
    world.submit(&[submission(3, &[passport("P3"), person("Cora Beispiel")])]).await;
    for number in [1, 2] {
        world.print(number, 1, number).await.unwrap();
    }
    world.release().await;
    world.decide(3, Verdict::Pending).await;
    disclose(&world, 3, identity("Dora Beispiel", "P3")).await;
    assert_eq!(world.decides(OFFICER, 3, Verdict::Refused, true).await, Outcome::SecondOfficer);
    world.stage("other", vec![entry("O-1", "Other Sample", &[])]).await;
    world
}

impl World {
    /// Rows in the tables that are left: two of the staff, with prints 3 and 4, and a change of one of them and of a subject. All
    /// are as good as before. Returns the changes.
    async fn with_staff(&self) -> [u64; 2] {
        let member = |reference, name| wire::Member {
            birth_date: "1990-01-31".into(),
            ..staff::member(reference, name)
        };
        self.enrol(vec![member("S-1", "Ada Kestrel"), member("S-2", "Bo Kestrel")]).await;
        for badge in [staff::FIRST, staff::FIRST + 1] {
            self.issue(badge, 1).await;
        }
        let of_staff = [StatusAction::Suspend, StatusAction::Reinstate];
        let [_, of_staff] = [self.says(of_staff[0]).await, self.says(of_staff[1]).await];
        let (subjects, act) = ([Some(id(1))], self.act(OFFICER));
        let mut of_subject = 0;
        for suspend in [true, false] {
            let done = changes::change_status(&self.store, suspend, &subjects, "test", act).await;
            of_subject = done.unwrap().change_id;
        }
        [of_subject, of_staff]
    }

    async fn published(&self) -> Vec<(u64, Status)> {
        let registry = PrintRegistry::new(self.store.clone(), store_key().into());
        let changes = lanyard_authority::Registry::changes(&registry, 0, 100).await.unwrap();
        let mut found: Vec<_> =
            changes.entries.iter().map(|one| (one.id, one.record.status)).collect();
        found.sort_unstable();
        found
    }

    async fn examined(&self) -> Vec<DamagedRow> {
        examine::examine(&self.store, &store_key()).await.unwrap()
    }

    /// Lists as a service reads them that has just started.
    fn start_again(&mut self) {
        self.lists = Arc::new(Lists::new(store_key().into()));
    }

    async fn try_submit(&self, submission: Submission) -> Result<(), StoreError> {
        subjects::submit(&self.store, &self.lists, &[submission], self.act(COMMITTEE)).await
    }

    async fn verdict_of(&self, number: u8) -> i64 {
        let (verdict,): (i64,) =
            sqlx::query_as("SELECT verdict FROM subjects WHERE subject_id = $1")
                .bind(id(number).as_slice())
                .fetch_one(self.store.pool())
                .await
                .unwrap();
        verdict
    }
}

/// A submission of nothing but this hash.
fn bare(number: u8, hash: LocalHash) -> Submission {
    Submission { id: id(number), binding: [number; 20], keys: vec![hash] }
}

#[tokio::test]
async fn a_flipped_bit_in_any_sealed_column_closes_what_depends_on_it_and_nothing_else() {
    let world = world_over(TestStore::sqlite()).await;
    let [of_subject, of_staff] = world.with_staff().await;
    let all_valid = (1..=4).map(|id| (id, Status::Valid)).collect::<Vec<_>>();
    assert_eq!(world.published().await, all_valid);
    let change_in = |table: &str| match table {
        "status_changes" => Some(of_subject),
        "staff_changes" => Some(of_staff),
        _ => None,
    };
    let condition = |table: &str| match change_in(table) {
        Some(change) => format!("change_id = {change}"),
        None => "1 = 1".to_owned(),
    };
    damage_each_column(&world.store, SEALED, condition, async |table, column| {
        let found = world.published().await;
        let closed = match table {
            "subjects" | "prints" => Some(1),
            "staff" | "staff_prints" => Some(3),
            _ => None,
        };
        let good: Vec<_> =
            found.iter().filter(|(_, status)| *status == Status::Valid).copied().collect();
        let expected: Vec<_> =
            all_valid.iter().filter(|(id, _)| Some(*id) != closed).copied().collect();
        assert_eq!(good, expected, "{table}.{column}: {found:?}");
        if table == "subjects" {
            assert_eq!(world.verdict(1).await, None, "{column}: a damaged verdict was released");
            assert!(world.verdict(2).await.is_some());
        }
        if let Some(change) = change_in(table).filter(|_| column != "change_id") {
            let act = world.act(OFFICER);
            let undone = changes::undo(&world.store, change as i64, "mistake", act).await;
            assert!(undone.unwrap_err().is_damaged(), "{table}.{column}");
        }
        if matches!(table, "staff" | "staff_prints") {
            // The committee hears of the other alone.
            let handed = world.taken(0).await;
            let badges: Vec<_> = handed.iter().map(|one| one.print.badge_number).collect();
            assert_eq!(badges, [staff::FIRST + 1], "{table}.{column}");
        }
        // Cases: what is damaged is not said, and the others are.
        let shown = cases::by_id(&world.store, &world.lists, &id(3)).await;
        let own = matches!(table, "proposals" | "disclosures" | "seen_matches");
        if own && column != "subject_id" {
            assert!(shown.unwrap_err().is_damaged(), "{table}.{column}");
        }
        let listed = crate::case::list(&world.store, &world.lists, &[], false, 10).await.unwrap();
        assert!(listed.iter().any(|one| one.reason == "rule: no match"), "{table}.{column}");
    })
    .await;
    assert_eq!(world.published().await, all_valid);
    assert!(world.released(0).await.iter().any(|one| one.subject_id == id(1)));
}

#[tokio::test]
async fn a_damaged_row_is_told_until_the_publisher_has_it() {
    let world = world_over(TestStore::sqlite()).await;
    let statuses = |entries: &[Entry]| -> Vec<_> {
        entries.iter().map(|one| (one.id, one.record.status)).collect()
    };
    let (_, cursor) = world.changes(0).await;
    damage(world.store.pool(), "prints", "replaced", "id = 1").await;
    // The damage is found, and then something else keeps the answer back.
    let own = exchange_seeds(&world.store, 1, &[0; 64]).await;
    exchange_seeds(&world.store, 1, &own).await;
    let seeds = exchange_seeds(&world.store, 2, &[0; 64]).await;
    assert!(world.registry.changes(cursor, 100).await.is_err());
    exchange_seeds(&world.store, 2, &seeds).await;
    let (entries, next) = world.changes(cursor).await;
    assert_eq!(statuses(&entries), [(2, Status::Valid), (1, Status::NotGood)]);
    assert!(world.changes(next).await.0.is_empty());
    // A publisher that starts anew knows nothing of it.
    let (entries, _) = world.changes(0).await;
    assert_eq!(statuses(&entries), [(2, Status::Valid), (1, Status::NotGood)]);
}

#[tokio::test]
async fn a_stop_that_an_index_lost_is_published_once_that_is_made_anew() {
    let world = world_over(TestStore::sqlite()).await;
    let (_, cursor) = world.changes(0).await;
    unindexed(world.store.pool(), "prints_changed", suspend(&world, &[1])).await;
    // A later one takes the cursor past it.
    suspend(&world, &[2]).await;
    let (missed, cursor) = world.changes(cursor).await;
    assert_eq!(missed.iter().map(|one| one.id).collect::<Vec<_>>(), [2]);
    world.store.mend_indexes().await.unwrap();
    let (found, cursor) = world.changes(cursor).await;
    assert!(found.iter().any(|one| one.id == 1 && one.record.status == Status::NotGood));
    assert!(world.changes(cursor).await.0.is_empty());
}

/// Verdicts and badges of the staff: the committee keeps the cursor, and is past them.
#[tokio::test]
async fn what_an_index_lost_reaches_the_committee_once_that_is_made_anew() {
    let world = world_over(TestStore::sqlite()).await;
    let cursor = world.released(0).await.last().unwrap().sequence;
    world.submit(&[submission(9, &[passport("P9")])]).await;
    unindexed(world.store.pool(), "subjects_release", world.release()).await;
    // Later ones take the cursors past what is lost.
    world.submit(&[submission(10, &[passport("P10")])]).await;
    world.release().await;
    let missed = world.released(cursor).await;
    assert_eq!(missed.iter().map(|one| one.subject_id).collect::<Vec<_>>(), [id(10)]);
    let cursor = missed[0].sequence;
    world.with_staff().await;
    let rereads = Rereads::default();
    let taken = world.taken_by(&rereads, 0).await.last().unwrap().sequence;
    let member = |reference, name| wire::Member {
        birth_date: "1990-01-31".into(),
        ..staff::member(reference, name)
    };
    world.enrol(vec![member("S-3", "Cy Kestrel"), member("S-4", "Di Kestrel")]).await;
    let issued = world.issue(staff::FIRST + 2, 1);
    unindexed(world.store.pool(), "staff_prints_handover", issued).await;
    world.issue(staff::FIRST + 3, 1).await;
    let badges =
        |handed: &[Handed]| handed.iter().map(|one| one.print.badge_number).collect::<Vec<_>>();
    let missed = world.taken_by(&rereads, taken).await;
    assert_eq!(badges(&missed), [staff::FIRST + 3]);
    let taken = missed[0].sequence;

    world.store.mend_indexes().await.unwrap();
    let released = world.released(cursor).await;
    assert!(released.iter().any(|one| one.subject_id == id(9)));
    let last = released.last().unwrap().sequence;
    assert!(world.released(last).await.is_empty(), "once");
    let handed = world.taken_by(&rereads, taken).await;
    assert!(badges(&handed).contains(&(staff::FIRST + 2)));
}

#[tokio::test]
async fn a_code_is_found_once_the_index_that_lost_its_badge_is_made_anew() {
    let world = world_over(TestStore::sqlite()).await;
    let (index, epoch) = (HandleIndex::default(), Epoch::new(1));
    let handle = |number| {
        let (gate, police) = seeds(number);
        let key = PrintSeeds::new(&gate, &police).committee_police().epoch_key(&event(), epoch);
        key.handle()
    };
    let found = async |number| {
        let (key, handle) = (store_key(), handle(number));
        index.find(&world.store, &key, &event(), epoch, &handle).await.unwrap().is_some()
    };
    assert!(found(1).await && !found(3).await);
    unindexed(world.store.pool(), "prints_changed", world.print(3, 1, 3)).await.unwrap();
    world.print(4, 1, 4).await.unwrap();
    assert!(!found(3).await && found(4).await);
    world.store.mend_indexes().await.unwrap();
    assert!(found(3).await);
}

#[tokio::test]
async fn a_damaged_word_of_the_first_officer_is_none() {
    let world = world_over(TestStore::sqlite()).await;
    for column in ["verdict", "proposed_by"] {
        damage(world.store.pool(), "proposals", column, "1 = 1").await;
        // Said by the one who gave it, which the row no longer tells.
        let said = world.decides(OFFICER, 3, Verdict::Refused, true).await;
        assert_eq!(said, Outcome::SecondOfficer, "{column}");
    }
    assert_eq!(world.decides(SECOND, 3, Verdict::Refused, true).await, Outcome::Done);
}

#[tokio::test]
async fn a_flipped_bit_in_any_tagged_column_is_found() {
    let world = world_over(TestStore::new().await).await;
    let pool = world.store.pool();
    assert_eq!(world.examined().await, []);
    let columns = columns(pool, TAGGED).await;
    assert_eq!(columns.len(), 4 + 4 + 4 + 4 + 2 + 3 + 4, "{columns:?}");
    for (table, column) in columns {
        let flipped = damage(pool, table, &column, "1 = 1").await;
        assert_ne!(world.examined().await, [], "{table}.{column}");
        flipped.undo(pool).await;
        assert_eq!(world.examined().await, [], "{table}.{column}");
    }
    for table in ["list_keys", "staged_keys", "subject_keys", "key_runs", "key_blocks"] {
        let world = world_over(TestStore::new().await).await;
        lose(world.store.pool(), table, "1 = 1").await;
        assert_ne!(world.examined().await, [], "a row of {table} was lost");
    }
}

#[tokio::test]
async fn a_damaged_list_clears_nobody_until_it_is_imported_again() {
    for (table, column) in [
        ("list_keys", "hash"),
        ("list_keys", "entry_id"),
        ("list_keys", "kind"),
        ("list_keys", "tag"),
        ("list_entries", "id"),
        ("list_entries", "list_id"),
        ("list_entries", "label"),
        ("list_entries", "tag"),
        ("watchlists", "id"),
        ("watchlists", "digest"),
    ] {
        for started_since in [false, true] {
            let mut world = world_over(TestStore::new().await).await;
            let listed = hash(&person("Cora Beispiel"));
            let is_own = format!("{table}.{column}, started since: {started_since}");
            // The row of that very key.
            let condition = match table {
                "list_keys" => "kind = (SELECT MIN(kind) FROM list_keys WHERE kind > 1)",
                _ => "1 = 1",
            };
            damage(world.store.pool(), table, column, condition).await;
            // Noticed at once where the row itself is needed, and where all of them are read.
            if started_since {
                world.start_again();
            }
            let stranger = bare(9, hash(&passport("nobody's")));
            let other = world.try_submit(stranger).await;
            if started_since {
                assert!(other.unwrap_err().is_damaged(), "{is_own}");
            } else {
                other.unwrap();
            }
            if started_since || table != "watchlists" {
                let refused = world.try_submit(bare(8, listed)).await.unwrap_err();
                assert!(refused.is_damaged(), "{is_own}: {refused}");
            }
            // Another list can be imported; nobody is cleared by it, and who was refused is not pardoned.
            world.import("third", vec![entry("T-1", "Ada Sample", &[])]).await;
            assert_eq!(world.verdict_of(1).await, Verdict::Pending.number(), "{is_own}");
            world.import("third", vec![]).await;
            assert_eq!(world.verdict_of(1).await, Verdict::Pending.number(), "{is_own}");
            world.import("list", vec![entry("L-1", "Cora Beispiel", &["X1"])]).await;
            assert_eq!(world.examined().await, [], "{is_own}");
            assert_eq!(world.verdict_of(1).await, Verdict::Cleared.number(), "{is_own}");
            world.try_submit(bare(8, listed)).await.unwrap();
            assert_eq!(world.verdict_of(8).await, Verdict::Pending.number());
        }
    }
}

#[tokio::test]
async fn what_was_damaged_while_it_waited_becomes_no_list() {
    for (table, column) in [
        ("staged_keys", "hash"),
        ("staged_keys", "entry_id"),
        ("staged_keys", "kind"),
        ("staged_keys", "tag"),
        ("staged_entries", "id"),
        ("staged_entries", "import_id"),
        ("staged_entries", "label"),
        ("staged_entries", "tag"),
        ("list_imports", "digest"),
        ("list_imports", "list_id"),
    ] {
        let world = world_over(TestStore::new().await).await;
        let import = world.stage("next", vec![entry("N-1", "Next Sample", &["N1"])]).await;
        let newest = match table {
            "staged_keys" => "entry_id = (SELECT MAX(entry_id) FROM staged_keys)",
            "staged_entries" => "id = (SELECT MAX(id) FROM staged_entries)",
            _ => "list = 'next'",
        };
        damage(world.store.pool(), table, column, newest).await;
        let act = world.act(OFFICER);
        let switched = watchlist::switch(&world.store, &world.lists, "next", import, act).await;
        assert!(switched.is_err_and(|error| error.is_damaged()), "{table}.{column}");
        let lists = watchlist::list(&world.store).await.unwrap();
        assert_eq!(lists.len(), 1, "{table}.{column}: the lists are as they were");
        world.import("next", vec![entry("N-1", "Next Sample", &["N1"])]).await;
        assert_eq!(world.examined().await, [], "{table}.{column}");
    }
}

#[tokio::test]
async fn a_subject_whose_keys_are_damaged_is_not_cleared_and_stops_no_import() {
    for column in ["hash", "subject_id"] {
        let world = world_over(TestStore::new().await).await;
        let own = hash(&passport("P1"));
        let bytes = hex::encode(own.as_slice());
        let is_own = match world.place.url().starts_with("sqlite") {
            true => format!("hash = X'{bytes}'"),
            false => format!("hash = '\\x{bytes}'"),
        };
        damage(world.store.pool(), "subject_keys", column, &is_own).await;
        let act = world.act(OFFICER);
        let asked = subjects_with(&world.store, &world.lists, &own, 10, act).await;
        assert!(asked.unwrap_err().is_damaged(), "{column}: nobody is said to have that key");
        let matched = world.import("new", vec![entry("N-1", "Somebody Else", &["P1", "P2"])]).await;
        assert_eq!(matched, 2, "{column}: subjects 2 and 3");
        assert_eq!(world.verdict_of(1).await, Verdict::Pending.number(), "{column}");
        assert_eq!(world.verdict_of(2).await, Verdict::Refused.number(), "{column}");
        let (store, lists, one) = (&world.store, &world.lists, id(1));
        let decided =
            cases::decide_case(store, lists, &one, Verdict::Cleared, "looks good", false, act);
        assert!(decided.await.unwrap_err().is_damaged(), "{column}");
        let cases = cases::list(&world.store, &world.lists, &[], false, 10).await.unwrap();
        let own_case = &cases[0].subject.as_ref().unwrap();
        assert_eq!(own_case.subject_id, id(1).as_slice());
        assert!(own_case.reason.contains("damaged in the store"), "{}", own_case.reason);
        assert_eq!(cases.len(), 2, "the other is there");
        // The committee submits the same again.
        world.submit(&[submission(1, &[passport("P1"), person("Ada Sample")])]).await;
        assert_eq!(world.verdict_of(1).await, Verdict::Refused.number(), "{column}");
        world.clock.advance_millis(DELAY);
        assert_eq!(world.case_state(1).await, CaseState::Decided);
    }
}

#[tokio::test]
async fn a_damaged_index_of_keys_hides_nobody_and_is_made_anew() {
    for (table, column) in [
        ("key_runs", "id"),
        ("key_runs", "level"),
        ("key_runs", "tag"),
        ("key_blocks", "run_id"),
        ("key_blocks", "first"),
        ("key_blocks", "body"),
        ("key_blocks", "tag"),
    ] {
        for by_a_list in [false, true] {
            let world = world_over(TestStore::new().await).await;
            damage(world.store.pool(), table, column, "1 = 1").await;
            if by_a_list {
                let matched = world.import("new", vec![entry("N-1", "Else", &["P1"])]).await;
                assert_eq!(matched, 2, "{table}.{column}: subjects 1 and 3");
                assert_eq!(world.verdict_of(1).await, Verdict::Refused.number());
            } else {
                let (own, act) = (hash(&passport("P1")), world.act(OFFICER));
                let found = subjects_with(&world.store, &world.lists, &own, 10, act).await.unwrap();
                assert_eq!(found, [id(1)], "{table}.{column}");
            }
            assert_eq!(world.examined().await, [], "{table}.{column}");
        }
    }
    // One run of three, and the last.
    let world = world_over(TestStore::new().await).await;
    for runs in ["id = (SELECT MIN(id) FROM key_runs)", "1 = 1"] {
        let (own, act) = (hash(&passport("P1")), world.act(OFFICER));
        lose(world.store.pool(), "key_runs", runs).await;
        let found = subjects_with(&world.store, &world.lists, &own, 10, act).await.unwrap();
        assert_eq!(found, [id(1)], "{runs}");
    }
}
