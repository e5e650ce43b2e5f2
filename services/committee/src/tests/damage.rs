//! A flipped bit in any row that can reach a signature: noticed, closed, and nobody else's concern.

use std::collections::{BTreeMap, BTreeSet};

use lanyard_authority::Changes;
use lanyard_store::{DamagedRow, next_number};
use lanyard_test_postgres::{damage, damage_each_column, exchange_seeds, unindexed};
use lanyard_wire::screening::v1::DisclosureRequest;

use super::*;
use crate::police_badges::handover::tests as police;
use crate::{cursors, disclosures, police_badges};

impl Desk {
    /// The police ask about both, and something was read from them.
    async fn asked_and_read(&self) {
        let subjects: Vec<(Vec<u8>,)> =
            sqlx::query_as("SELECT subject_id FROM people ORDER BY badge_number")
                .fetch_all(self.store.pool())
                .await
                .unwrap();
        let asked = |(number, (subject_id,)): (u64, _)| DisclosureRequest {
            request_id: number,
            subject_id,
            legal_basis: "article 7".into(),
            ..DisclosureRequest::default()
        };
        let requests: Vec<_> = (5..).zip(subjects).map(asked).collect();
        disclosures::take_in(&self.store, &self.env, &requests).await.unwrap();
        let mut transaction = self.store.begin().await.unwrap();
        sqlx::query("INSERT INTO cursors (name, value) VALUES ('verdicts', 7)")
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }

    /// A badge of the police's staff with one print, both of this number, under a profile.
    async fn police_badge(&self, number: i64, profile: &str) {
        let cell = police_badges::seeds_cell(number);
        let seeds = self.store_key.seal(cell, &[number as u8; 96], &mut self.env.rng());
        let mut transaction = self.store.begin().await.unwrap();
        let changed = next_number(&mut transaction, "changed").await.unwrap();
        sqlx::query(
            "INSERT INTO police_badges (badge_number, profile, not_before, not_after, binding, status, revoked, last_change) \
             VALUES ($1, $2, 0, 9, $3, 1, 0, 0)",
        )
        .bind(number)
        .bind(profile)
        .bind(vec![7; 20])
        .execute(&mut *transaction)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO police_prints (id, badge_number, print_number, replaced, seeds, gate_tag, police_tag, sponsor_tag, \
             changed) VALUES ($1, $1, 1, 0, $2, $3, $3, $3, $4)",
        )
        .bind(number)
        .bind(seeds)
        .bind(vec![number as u8; 32])
        .bind(changed)
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.commit().await.unwrap();
    }
}

fn statuses(changes: &Changes) -> Vec<(u64, Status)> {
    changes.entries.iter().map(|one| (one.id, one.record.status)).collect()
}

#[tokio::test]
async fn a_cursor_that_is_damaged_is_read_from_the_start() {
    let desk = Desk::over(TestStore::sqlite()).await;
    let people = vec![person("A-1", "Ada Sample"), person("A-2", "Bo Sample")];
    desk.import(people, wire::ImportMode::AllOrNothing).await;
    desk.asked_and_read().await;
    assert_eq!(cursors::read(&desk.store, "verdicts").await.unwrap(), Some(7));
    damage(desk.store.pool(), "cursors", "value", "1 = 1").await;
    assert_eq!(cursors::read(&desk.store, "verdicts").await.unwrap(), None);
    assert_eq!(desk.store.all_damaged().await.unwrap(), []);
}

/// Badges 1 and 2 of the committee's own and 3 and 4 of the police, each with its print; rows in all tables.
async fn desk_with_rows() -> Desk {
    let desk = Desk::over(TestStore::sqlite()).await;
    let people = vec![person("A-1", "Ada Sample"), person("A-2", "Bo Sample")];
    desk.import(people, wire::ImportMode::AllOrNothing).await;
    desk.issue(1, 1).await;
    desk.issue(2, 1).await;
    let handover = police::over(desk.store.clone(), Arc::clone(&desk.store_key)).await;
    for badge in [police::FIRST, police::FIRST + 1] {
        police::put(&handover, police::print(badge, 1)).await;
    }
    desk.asked_and_read().await;
    desk
}

#[tokio::test]
async fn a_stop_that_an_index_lost_is_published_once_that_is_made_anew() {
    let desk = desk_with_rows().await;
    let registry = PrintRegistry::new(desk.store.clone(), Arc::clone(&desk.store_key));
    let cursor = registry.changes(0, 100).await.unwrap().cursor;
    let stop = desk.change(StatusAction::Suspend, "A-1");
    unindexed(desk.store.pool(), "prints_changed", stop).await;
    // A later one takes the cursor past it.
    desk.change(StatusAction::Suspend, "A-2").await;
    let missed = registry.changes(cursor, 100).await.unwrap();
    assert_eq!(statuses(&missed), [(2, Status::Suspended)]);
    desk.store.mend_indexes().await.unwrap();
    let found = registry.changes(missed.cursor, 100).await.unwrap();
    assert!(statuses(&found).contains(&(1, Status::Suspended)));
    let next = registry.changes(found.cursor, 100).await.unwrap();
    assert_eq!((statuses(&next), next.cursor), (vec![], found.cursor));
}

#[tokio::test]
async fn a_number_that_nobody_drew_hides_no_later_stop() {
    let desk = desk_with_rows().await;
    let registry = PrintRegistry::new(desk.store.clone(), Arc::clone(&desk.store_key));
    damage(desk.store.pool(), "prints", "changed", "id = 1").await;
    let cursor = registry.changes(0, 100).await.unwrap().cursor;
    desk.change(StatusAction::Suspend, "A-2").await;
    let found = registry.changes(cursor, 100).await.unwrap();
    assert!(statuses(&found).contains(&(2, Status::Suspended)));
}

#[tokio::test]
async fn a_flipped_bit_in_any_column_closes_what_depends_on_it_and_nothing_else() {
    let desk = desk_with_rows().await;
    desk.change(StatusAction::Suspend, "A-1").await;
    let change = desk.change(StatusAction::Reinstate, "A-1").await.change_id as i64;
    let all_valid = (1..=4).map(|id| (id, Status::Valid)).collect::<Vec<_>>();
    assert_eq!(desk.published().await, all_valid);
    let first = DamagedRow { table: "profiles", key: "1".into() };
    let other_profiles = profiles::table(&desk.store, &BTreeSet::from([first])).await.unwrap();
    let condition = |table: &str| match table {
        "status_changes" => format!("change_id = {change}"),
        _ => "1 = 1".to_owned(),
    };
    damage_each_column(&desk.store, SEALED, condition, async |table, column| {
        let published = desk.published().await;
        let closed = match table {
            "people" | "prints" => Some(1),
            "police_badges" | "police_prints" => Some(3),
            _ => None,
        };
        let good: Vec<_> =
            published.iter().filter(|(_, status)| *status == Status::Valid).copied().collect();
        let expected: Vec<_> =
            all_valid.iter().filter(|(id, _)| Some(*id) != closed).copied().collect();
        assert_eq!(good, expected, "{table}.{column}: {published:?}");
        let deed = Deed { operator: OPERATOR, reason: "checked" };
        if table == "profiles" {
            let registry = PrintRegistry::new(desk.store.clone(), Arc::clone(&desk.store_key));
            assert_eq!(registry.profiles().await.unwrap(), other_profiles, "{column}");
        }
        if table == "status_changes" && column != "change_id" {
            let undone = badges::undo(&desk.store, &desk.env, change, &deed).await;
            assert!(undone.unwrap_err().is_damaged(), "{column}");
        }
        if table == "disclosures" {
            // Nothing is decided on it, and it is not shown; the other request is.
            let shown = disclosures::list(&desk.store, true, 0, 10).await.unwrap();
            assert_eq!(shown.len(), 1, "{column}");
            let decided = disclosures::decide(&desk.store, &desk.env, 5, true, &deed).await;
            if column != "request_id" {
                assert!(decided.unwrap_err().is_damaged(), "{column}");
            }
        }
    })
    .await;
    assert_eq!(desk.published().await, all_valid);
}

#[tokio::test]
async fn a_damaged_row_is_told_to_a_publisher_that_runs_and_stays_closed_whatever_is_written() {
    let desk = Desk::over(TestStore::sqlite()).await;
    let people = vec![person("A-1", "Ada Sample"), person("A-2", "Bo Sample")];
    desk.import(people, wire::ImportMode::AllOrNothing).await;
    desk.issue(1, 1).await;
    desk.issue(2, 1).await;
    let registry = PrintRegistry::new(desk.store.clone(), Arc::clone(&desk.store_key));
    let cursor = registry.changes(0, 100).await.unwrap().cursor;
    damage(desk.store.pool(), "people", "not_after", "1 = 1").await;
    // Whoever writes to it does not heal it: the new status is there, and the record is closed.
    desk.change(StatusAction::Suspend, "A-1").await;
    desk.change(StatusAction::Reinstate, "A-1").await;
    let changes = registry.changes(cursor, 100).await.unwrap();
    assert_eq!(statuses(&changes), [(1, Status::Suspended)]);
    assert!(registry.changes(changes.cursor, 100).await.unwrap().entries.is_empty());
    let refused = desk.store.refuse_damaged("people", "1 = 1", &[]).await.unwrap_err();
    assert!(refused.to_string().contains("row 1 of table people is damaged"), "{refused}");
}

#[tokio::test]
async fn a_damaged_row_is_told_until_the_publisher_has_it() {
    let desk = Desk::over(TestStore::sqlite()).await;
    let people = vec![person("A-1", "Ada Sample"), person("A-2", "Bo Sample")];
    desk.import(people, wire::ImportMode::AllOrNothing).await;
    desk.issue(1, 1).await;
    desk.issue(2, 1).await;
    let registry = PrintRegistry::new(desk.store.clone(), Arc::clone(&desk.store_key));
    let cursor = registry.changes(0, 100).await.unwrap().cursor;
    damage(desk.store.pool(), "people", "not_after", "1 = 1").await;
    desk.change(StatusAction::Suspend, "A-1").await;
    desk.change(StatusAction::Reinstate, "A-1").await;
    // The damage is found, and then something else keeps the answer back.
    let seeds = exchange_seeds(&desk.store, 2, &[0; 64]).await;
    assert!(registry.changes(cursor, 100).await.is_err());
    exchange_seeds(&desk.store, 2, &seeds).await;
    let changes = registry.changes(cursor, 100).await.unwrap();
    assert_eq!(statuses(&changes), [(2, Status::Valid), (1, Status::Suspended)]);
    assert!(registry.changes(changes.cursor, 100).await.unwrap().entries.is_empty());
    // A publisher that starts anew knows nothing of it.
    let again = registry.changes(0, 100).await.unwrap();
    assert_eq!(statuses(&again), [(2, Status::Valid), (1, Status::Suspended)]);
}

#[tokio::test]
async fn a_damaged_profile_closes_the_badges_of_the_police_under_it() {
    let desk = Desk::over(TestStore::sqlite()).await;
    let profile = |code: &str, police| wire::Profile {
        code: code.into(),
        category: "police".into(),
        police,
        ..Default::default()
    };
    let all = ["patrol", "harbour", "stables"].map(|code| profile(code, code != "harbour"));
    profiles::put(&desk.store, all.to_vec()).await.unwrap();
    for (number, code) in [(1, "patrol"), (2, "harbour"), (3, "stables")] {
        desk.police_badge(number, code).await;
    }
    let sound = [(1, Status::Valid), (2, Status::Suspended), (3, Status::Valid)];
    assert_eq!(desk.published().await, sound);
    for (code, closed) in [("patrol", 1), ("harbour", 2)] {
        for column in ["id", "code", "body", "police"] {
            let registry = PrintRegistry::new(desk.store.clone(), Arc::clone(&desk.store_key));
            let cursor = registry.changes(0, 100).await.unwrap().cursor;
            let of = format!("code = '{code}'");
            let flipped = damage(desk.store.pool(), "profiles", column, &of).await;
            // Of a publisher that runs, though nothing was changed; and of one that starts.
            let told = registry.changes(cursor, 100).await.unwrap();
            assert_eq!(statuses(&told), [(closed, Status::Suspended)], "{code}.{column}");
            assert!(registry.changes(cursor, 100).await.unwrap().entries.is_empty());
            let published: BTreeMap<_, _> = desk.published().await.into_iter().collect();
            for (print, status) in sound {
                let expected = if print == closed { Status::Suspended } else { status };
                assert_eq!(published[&print], expected, "{code}.{column}: {print}");
            }
            // Its badges are changed by their owners, and stay closed.
            let mut transaction = desk.store.begin().await.unwrap();
            police_badges::mark_changed(&mut transaction, closed as i64).await.unwrap();
            transaction.commit().await.unwrap();
            let changed = registry.changes(cursor, 100).await.unwrap();
            assert_eq!(statuses(&changed), [(closed, Status::Suspended)], "{code}.{column}");
            flipped.undo(desk.store.pool()).await;
        }
    }
    assert_eq!(desk.published().await, sound);
}
