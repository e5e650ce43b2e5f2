//! The own staff: what the gates and the committee hear of them.

use lanyard_core::ids::{Authority, BadgeNumber};
use lanyard_core::record::Status;
use lanyard_store::Rereads;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::staff::v1 as wire;

use super::world::{OFFICER, World, store_key};
use crate::staff::{self, DerivedPrint, Handed, Import, OfferedProfile, StaffSeeds, Writer};

pub(super) const FIRST: u32 = BadgeNumber::FIRST_OF_POLICE.get();

pub(super) fn member(reference: &str, name: &str) -> wire::Member {
    wire::Member {
        reference: reference.into(),
        full_name: name.into(),
        profile: "patrol".into(),
        ..Default::default()
    }
}

impl World {
    pub(super) async fn enrol(&self, members: Vec<wire::Member>) -> wire::ImportStaffResponse {
        let profile = OfferedProfile { code: "patrol".into(), category: "Police".into() };
        staff::offer(&self.store, vec![profile]).await.unwrap();
        let mut import = Import::new(staff::offered(&self.store).await.unwrap());
        (1..).zip(members).for_each(|(line, member)| import.row(line, member));
        let event = lanyard_core::ids::EventId::parse("games").unwrap();
        let key = store_key();
        let writer = Writer { store: &self.store, store_key: &key, env: &self.env, event: &event };
        let mode = wire::ImportMode::AllOrNothing;
        import.finish(&writer, mode, false, self.act(OFFICER)).await.unwrap()
    }

    pub(super) async fn issue(&self, badge_number: u32, print_number: u32) -> u64 {
        let part = |part: u8| {
            let mut seed = [part; 32];
            seed[..8].copy_from_slice(&(badge_number ^ print_number << 28).to_be_bytes().repeat(2));
            seed
        };
        let seeds = StaffSeeds::new([&part(1), &part(2), &part(3), &part(4)]);
        let print = DerivedPrint { badge_number, print_number, seeds };
        let key = store_key();
        let act = self.act(OFFICER);
        staff::register(&self.store, &self.env, &key, &[print], act).await.unwrap()
    }

    pub(super) async fn taken(&self, cursor: u64) -> Vec<Handed> {
        self.taken_by(&Rereads::default(), cursor).await
    }

    pub(super) async fn taken_by(&self, rereads: &Rereads, cursor: u64) -> Vec<Handed> {
        staff::take(&self.store, &store_key(), rereads, cursor, 100).await.unwrap()
    }

    pub(super) async fn says(&self, action: StatusAction) -> u64 {
        let references = ["S-1".to_owned()];
        let act = self.act(OFFICER);
        let response =
            staff::change_status(&self.store, action, &references, "test", act).await.unwrap();
        assert_eq!(response.outcomes[0].outcome(), wire::Outcome::Done);
        response.change_id
    }

    /// Statuses of everything published, oldest print first.
    async fn statuses(&self) -> Vec<Status> {
        let (mut entries, _) = self.changes(0).await;
        entries.sort_by_key(|entry| entry.id);
        entries.iter().map(|entry| entry.record.status).collect()
    }

    async fn print_state(&self) -> wire::PrintState {
        staff::by_reference(&self.store, "S-1").await.unwrap().unwrap().print_state()
    }
}

#[tokio::test]
async fn the_committee_takes_over_what_was_issued_and_acknowledges_it() {
    let world = World::new().await;
    let imported =
        world.enrol(vec![member("S-1", "Ada Kestrel"), member("S-2", "Bo Kestrel")]).await;
    assert_eq!((imported.created, imported.refused), (2, 0));
    assert!(world.taken(0).await.is_empty() && world.statuses().await.is_empty());
    assert_eq!(world.issue(FIRST, 1).await, 1);
    assert_eq!(world.print_state().await, wire::PrintState::Issued);
    let taken = world.taken(0).await;
    assert_eq!(taken.len(), 1);
    let print = &taken[0].print;
    assert_eq!(BadgeNumber::new(print.badge_number).issuer(), Authority::Police);
    assert_eq!((print.profile.as_str(), print.binding.len()), ("patrol", 20));
    // The police's own seed for the gates stays here.
    assert_eq!(
        [&print.committee_gate_seed, &print.committee_police_seed, &print.committee_sponsor_seed]
            .map(|seed| seed[31]),
        [2, 3, 4]
    );
    // Asking again from where it stood acknowledges; what comes again is the same.
    assert_eq!(world.taken(0).await.len(), 1);
    assert_eq!(world.print_state().await, wire::PrintState::Issued);
    assert!(world.taken(taken[0].sequence).await.is_empty());
    assert_eq!(world.print_state().await, wire::PrintState::HandedOver);
    assert_eq!(world.statuses().await, [Status::Valid]);
}

#[tokio::test]
async fn a_suspension_stays_here_and_a_revocation_does_not() {
    let world = World::new().await;
    world.enrol(vec![member("S-1", "Ada Kestrel")]).await;
    world.issue(FIRST, 1).await;
    let cursor = world.taken(0).await[0].sequence;
    world.says(StatusAction::Suspend).await;
    assert_eq!(world.statuses().await, [Status::NotGood]);
    assert!(world.taken(cursor).await.is_empty());
    let change = world.says(StatusAction::Revoke).await;
    let taken = world.taken(cursor).await;
    assert!(taken[0].print.revoked);
    let mut transaction = world.store.begin().await.unwrap();
    let undone = staff::undo(&mut transaction, change as i64).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((undone.restored.as_slice(), undone.skipped), (&["S-1".to_owned()][..], 0));
    // Suspended again, as before, and no longer revoked for the committee.
    assert_eq!(world.statuses().await, [Status::NotGood]);
    assert!(!world.taken(taken[0].sequence).await[0].print.revoked);
    world.says(StatusAction::Reinstate).await;
    assert_eq!(world.statuses().await, [Status::Valid]);
}

#[tokio::test]
async fn a_lost_badge_ends_for_both() {
    let world = World::new().await;
    world.enrol(vec![member("S-1", "Ada Kestrel")]).await;
    world.issue(FIRST, 1).await;
    let cursor = world.taken(0).await[0].sequence;
    let references = ["S-1".to_owned()];
    let reissue = async || {
        staff::reissue(&world.store, &references, "lost", world.act(OFFICER)).await.unwrap()
    };
    assert_eq!(reissue().await.outcomes[0].outcome(), wire::Outcome::Done);
    assert_eq!(reissue().await.outcomes[0].outcome(), wire::Outcome::Unchanged);
    assert_eq!(world.statuses().await, [Status::NotGood]);
    let taken = world.taken(cursor).await;
    assert!(taken.len() == 1 && taken[0].print.replaced);
    world.issue(FIRST, 2).await;
    assert_eq!(world.statuses().await, [Status::NotGood, Status::Valid]);
    assert_eq!(world.taken(taken[0].sequence).await[0].print.print_number, 2);
}

#[tokio::test]
async fn another_identity_has_another_binding_and_the_committee_hears_of_it() {
    let world = World::new().await;
    world.enrol(vec![member("S-1", "Ada Kestrel")]).await;
    world.issue(FIRST, 1).await;
    let before = world.taken(0).await.remove(0);
    let imported = world.enrol(vec![member("S-1", "Ada Kestrel-Swift")]).await;
    assert_eq!((imported.updated, imported.unchanged), (1, 0));
    let after = world.taken(before.sequence).await.remove(0);
    assert_ne!(before.print.binding, after.print.binding);
    let (entries, _) = world.changes(0).await;
    assert_eq!(entries[0].record.binding.as_bytes().as_slice(), after.print.binding);
}

#[tokio::test]
async fn changes_of_both_kinds_are_paged_without_a_gap() {
    use lanyard_authority::Registry as _;
    let world = World::new().await;
    world.enrol(vec![member("S-1", "Ada Kestrel"), member("S-2", "Bo Kestrel")]).await;
    world.issue(FIRST, 1).await;
    world.print(1, 1, 1).await.unwrap();
    world.issue(FIRST + 1, 1).await;
    world.print(2, 1, 2).await.unwrap();
    let (mut cursor, mut seen) = (0, Vec::new());
    loop {
        let page = world.registry.changes(cursor, 1).await.unwrap();
        let Some(entry) = page.entries.first() else { break };
        (cursor, _) = (page.cursor, seen.push(entry.id));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 4);
}
