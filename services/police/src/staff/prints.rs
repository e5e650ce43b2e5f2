//! Prints of staff badges: the seeds that the police's own issuing station derives, sealed at rest, and what is published of
//! them.

use std::collections::BTreeSet;

use lanyard_authority::Entry;
use lanyard_core::badge::Seed;
use lanyard_core::binding::Binding;
use lanyard_core::ids::Audience;
use lanyard_core::record::{Minutes, ProfileId, Record, Status};
use lanyard_env::Env;
use lanyard_party::{Cell, StoreKey};
use lanyard_store::{
    AuditTrail, DamagedRow, NewAuditEntry, Store, StoreError, next_number, without,
};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use zeroize::Zeroizing;

use super::{PrintState, status_from_number};
use crate::act::Act;
use crate::prints::{PrintError, gate_tag};

/// Bytes of the seeds of one print: the police's for the gates, then the committee's for gates, police and sponsor.
const SEEDS: usize = 128;

/// The seeds of one print.
pub(crate) struct StaffSeeds(Zeroizing<[u8; SEEDS]>);

impl StaffSeeds {
    /// The police's for the gates, then the committee's for gates, police and sponsor.
    pub(crate) fn new(parts: [&[u8; 32]; 4]) -> Self {
        let mut seeds = Zeroizing::new([0; SEEDS]);
        for (place, part) in seeds.as_chunks_mut::<32>().0.iter_mut().zip(parts) {
            *place = *part;
        }
        Self(seeds)
    }

    fn open(store_key: &StoreKey, print: i64, sealed: &[u8]) -> Result<Self, PrintError> {
        let opened = store_key.open(cell(print), sealed)?;
        let corrupt = StoreError::Corrupt { table: "staff_prints", column: "seeds" };
        let seeds = opened.as_slice().try_into().map(Zeroizing::new);
        Ok(Self(seeds.map_err(|_| corrupt)?))
    }

    fn part(&self, index: usize) -> &[u8; 32] {
        &self.0.as_chunks::<32>().0[index]
    }

    /// `S(police, gate)`.
    pub(crate) fn police_gate(&self) -> Seed {
        Seed::from_bytes(*self.part(0))
    }

    /// `S(committee, police)`.
    pub(crate) fn committee_police(&self) -> Seed {
        Seed::from_bytes(*self.part(2))
    }

    /// What the committee is given: its seeds for gates, police and sponsor.
    pub(super) fn of_committee(&self) -> [&[u8; 32]; 3] {
        [self.part(1), self.part(2), self.part(3)]
    }
}

fn cell(print: i64) -> Cell<'static> {
    Cell { table: "staff_prints", column: "seeds", row: print as u64 }
}

/// Seeds of one print, as the station derived them.
pub(crate) struct DerivedPrint {
    pub(crate) badge_number: u32,
    pub(crate) print_number: u32,
    pub(crate) seeds: StaffSeeds,
}

/// Stores seeds of prints; they are issued then. Returns how many: a print that is not known or was replaced is passed over.
pub(crate) async fn register(
    store: &Store,
    env: &Env,
    store_key: &StoreKey,
    prints: &[DerivedPrint],
    act: Act<'_>,
) -> Result<u64, StoreError> {
    let mut transaction = store.begin().await?;
    let mut registered = 0;
    for print in prints {
        let row: Option<(i64, i64)> = sqlx::query_as(
            "SELECT id, state FROM staff_prints WHERE badge_number = $1 AND print_number = $2",
        )
        .bind(i64::from(print.badge_number))
        .bind(i64::from(print.print_number))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((id, state)) = row else { continue };
        if PrintState::from_number(state)? == PrintState::Replaced {
            continue;
        }
        let changed = next_number(&mut transaction, "changed").await?;
        let handover = next_number(&mut transaction, "handover").await?;
        sqlx::query(
            "UPDATE staff_prints SET seeds = $1, gate_tag = $2, state = $3, changed = $4, handover = $5, taken = 0 \
             WHERE id = $6",
        )
        .bind(store_key.seal(cell(id), print.seeds.0.as_slice(), &mut env.rng()))
        .bind(gate_tag(store_key, &print.seeds.police_gate()).to_vec())
        .bind(PrintState::Issued.number())
        .bind(changed)
        .bind(handover)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        registered += 1;
    }
    let change = AuditTrail::new_change(&mut transaction).await?;
    let reason = format!("{registered} prints");
    let entry = NewAuditEntry {
        operator: act.operator,
        action: "issue-staff",
        subject: "staff",
        reason: &reason,
    };
    AuditTrail::append(&mut transaction, act.now, change, &[entry]).await?;
    transaction.commit().await?;
    Ok(registered)
}

/// A current print, for the issuing station.
pub(crate) struct WaitingPrint {
    pub(crate) reference: String,
    pub(crate) full_name: String,
    pub(crate) category: String,
    pub(crate) badge_number: i64,
    pub(crate) print_number: i64,
    /// Whether it was issued before.
    pub(crate) issued: bool,
}

/// Current prints after a badge number, in its order.
pub(crate) async fn waiting(
    store: &Store,
    after: i64,
    limit: i64,
) -> Result<Vec<WaitingPrint>, StoreError> {
    let rows: Vec<(String, String, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT s.reference, s.full_name, COALESCE(f.category, ''), s.badge_number, i.print_number, i.state FROM staff s \
         JOIN staff_prints i ON i.badge_number = s.badge_number AND i.print_number = s.current_print \
         LEFT JOIN staff_profiles f ON f.code = s.profile \
         WHERE s.badge_number > $1 ORDER BY s.badge_number LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|(reference, full_name, category, badge_number, print_number, state)| {
            let issued = PrintState::from_number(state)? != PrintState::Waiting;
            Ok(WaitingPrint { reference, full_name, category, badge_number, print_number, issued })
        })
        .collect()
}

/// A print as the store holds it.
pub(crate) struct Held {
    pub(crate) badge_number: i64,
    pub(crate) print_number: u32,
    pub(crate) seeds: StaffSeeds,
}

type HeldColumns = (i64, i64, i64, Vec<u8>);

impl Held {
    fn read(store_key: &StoreKey, columns: &HeldColumns) -> Result<Self, PrintError> {
        let (id, badge_number, print_number, sealed) = columns;
        let seeds = StaffSeeds::open(store_key, *id, sealed)?;
        Ok(Self { badge_number: *badge_number, print_number: *print_number as u32, seeds })
    }
}

/// The print of the badge with this seed.
pub(crate) async fn by_seed(
    store: &Store,
    store_key: &StoreKey,
    police_gate: &Seed,
) -> Result<Option<Held>, PrintError> {
    let row: Option<HeldColumns> = sqlx::query_as(
        "SELECT id, badge_number, print_number, seeds FROM staff_prints WHERE gate_tag = $1",
    )
    .bind(gate_tag(store_key, police_gate).to_vec())
    .fetch_optional(store.pool())
    .await?;
    row.map(|row| Held::read(store_key, &row)).transpose()
}

/// The print of this number in the store.
pub(crate) async fn by_id(
    store: &Store,
    store_key: &StoreKey,
    id: i64,
) -> Result<Option<Held>, PrintError> {
    let row: Option<HeldColumns> = sqlx::query_as(
        "SELECT id, badge_number, print_number, seeds FROM staff_prints WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(store.pool())
    .await?;
    row.map(|row| Held::read(store_key, &row)).transpose()
}

/// What was issued of a badge, oldest print first.
pub(crate) async fn of_badge(
    store: &Store,
    store_key: &StoreKey,
    badge_number: i64,
) -> Result<Vec<Held>, PrintError> {
    let rows: Vec<HeldColumns> = sqlx::query_as(
        "SELECT id, badge_number, print_number, seeds FROM staff_prints WHERE badge_number = $1 AND state <> $2 \
         ORDER BY print_number",
    )
    .bind(badge_number)
    .bind(PrintState::Waiting.number())
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(|row| Held::read(store_key, row)).collect()
}

/// Ids, the committee's seeds for the police, and change numbers of prints changed after `after`.
pub(crate) async fn index_page(
    store: &Store,
    store_key: &StoreKey,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Seed, i64)>, PrintError> {
    let rows: Vec<(i64, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT id, seeds, changed FROM staff_prints WHERE changed > $1 ORDER BY changed LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|(id, sealed, changed)| {
            Ok((id, StaffSeeds::open(store_key, id, &sealed)?.committee_police(), changed))
        })
        .collect()
}

/// The seed for the gates of a print, if it still opens.
pub(crate) fn gate_seed(store_key: &StoreKey, print: i64, sealed: &[u8]) -> Option<Seed> {
    StaffSeeds::open(store_key, print, sealed).ok().map(|seeds| seeds.police_gate())
}

/// What the publisher is to say of prints whose change numbers are in a range, with those; damaged ones are left out.
pub(crate) async fn entries(
    store: &Store,
    store_key: &StoreKey,
    (after, end): (i64, i64),
    damaged: &BTreeSet<DamagedRow>,
) -> Result<Vec<(u64, Entry)>, PrintError> {
    let statement = format!(
        "SELECT i.id, i.seeds, i.state, i.changed, s.status, s.binding FROM staff_prints i \
         JOIN staff s ON s.badge_number = i.badge_number WHERE i.changed > $1 AND i.changed <= $2{}{} ORDER BY i.changed",
        without("i.id", "staff_prints", damaged),
        without("i.badge_number", "staff", damaged),
    );
    let rows =
        sqlx::query(AssertSqlSafe(statement)).bind(after).bind(end).fetch_all(store.pool()).await?;
    rows.iter().map(|row| entry(store_key, row)).collect()
}

fn entry(store_key: &StoreKey, row: &AnyRow) -> Result<(u64, Entry), PrintError> {
    let number = |column| row.try_get::<i64, _>(column);
    let id = number("id")?;
    let seeds = StaffSeeds::open(store_key, id, row.try_get("seeds")?)?;
    let replaced = PrintState::from_number(number("state")?)? == PrintState::Replaced;
    let status = match status_from_number(number("status")?)? {
        Status::Valid if !replaced => Status::Valid,
        _ => Status::NotGood,
    };
    let binding: Vec<u8> = row.try_get("binding")?;
    let binding = <[u8; Binding::SIZE]>::try_from(binding.as_slice())
        .map_err(|_| StoreError::Corrupt { table: "staff", column: "binding" })?;
    // As of everyone else: no profile, no validity. These are the committee's to say.
    let record = Record {
        status,
        profile: ProfileId::UNRESTRICTED,
        not_before: Minutes::MIN,
        not_after: Minutes::MAX,
        binding: Binding::new(binding),
    };
    let seeds = vec![(Audience::Gate, seeds.police_gate())];
    Ok((number("changed")? as u64, Entry { id: id as u64, seeds, record }))
}
