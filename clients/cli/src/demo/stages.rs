//! Making the event: enrol, watchlist, issue, screen, publish.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use lanyard_client::badge::derive_print;
use lanyard_client::{call, item};
use lanyard_core::ids::{BadgeNumber, PrintNumber};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::committee::v1::import_people_request::Step as ImportStep;
use lanyard_wire::committee::v1::{ImportMode, Person};
use lanyard_wire::police::v1 as police;
use lanyard_wire::police::v1::ListEntry;
use lanyard_wire::police::v1::import_watchlist_request::Step as ListStep;
use lanyard_wire::screening::v1::Verdict;
use serde::Serialize;

use super::error::DemoError;
use super::world::{Badge, World, eventually};

/// Rows, entries or prints in one message.
const MESSAGE: usize = 500;
/// Longest wait for verdicts beyond the fixed delay.
const VERDICTS: Duration = Duration::from_secs(120);

/// Something that was passed over, and how often.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Skipped {
    /// Why.
    pub(super) reason: String,
    /// How many.
    pub(super) count: u64,
}

/// What enrolling came to.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Enrolled {
    /// People enrolled.
    pub(super) enrolled: u64,
    /// Rows refused, by column and reason.
    pub(super) refused: Vec<Skipped>,
}

/// What importing a list came to.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Listed {
    /// Entries read.
    pub(super) entries: u64,
    /// Keys computed.
    pub(super) keys: u64,
    /// Entries without any key.
    pub(super) without_key: u64,
    /// Values passed over.
    pub(super) skipped: Vec<Skipped>,
}

/// What screening came to.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Screened {
    /// People cleared.
    pub(super) cleared: u64,
    /// People refused.
    pub(super) refused: u64,
    /// People who wait for an officer.
    pub(super) pending: u64,
    /// People who give no key, and stay unscreened.
    pub(super) without_key: u64,
}

pub(super) async fn define_profiles(
    world: &World,
    profiles: Vec<committee::Profile>,
) -> Result<((), String), DemoError> {
    let request = committee::PutProfilesRequest { profiles };
    let put = world.enrolment.clone().put_profiles(request).await;
    let total = call("define profiles", put)?.total;
    Ok(((), format!("{total} profiles")))
}

/// Imports people; of a roster that was given, the rows that are valid.
pub(super) async fn enrol(
    world: &World,
    people: &[Person],
    mode: ImportMode,
) -> Result<(Enrolled, String), DemoError> {
    let start = committee::ImportStart { mode: mode.into(), dry_run: false };
    let numbered: Vec<committee::ImportRow> = (1..)
        .zip(people)
        .map(|(line, person)| committee::ImportRow { line, person: Some(person.clone()) })
        .collect();
    let rows = numbered
        .chunks(MESSAGE)
        .map(|rows| ImportStep::Rows(committee::ImportRows { rows: rows.to_vec() }));
    let steps: Vec<_> = std::iter::once(ImportStep::Start(start))
        .chain(rows)
        .map(|step| committee::ImportPeopleRequest { step: Some(step) })
        .collect();
    let imported = world.enrolment.clone().import_people(tokio_stream::iter(steps)).await;
    let imported = call("enrol people", imported)?;
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for error in &imported.errors {
        *reasons.entry(format!("{}: {}", error.column, error.problem)).or_default() += 1;
    }
    let told: u64 = reasons.values().sum();
    if imported.refused > told {
        reasons.insert("others".to_owned(), imported.refused - told);
    }
    let enrolled = imported.created + imported.updated + imported.unchanged;
    let refused: Vec<Skipped> =
        reasons.into_iter().map(|(reason, count)| Skipped { reason, count }).collect();
    let detail = format!("{enrolled} people enrolled, {} rows refused", imported.refused);
    Ok((Enrolled { enrolled, refused }, detail))
}

pub(super) async fn import_list(
    world: &World,
    list: &str,
    entries: &[ListEntry],
) -> Result<(Listed, String), DemoError> {
    const WHAT: &str = "import the watchlist";
    let start = police::ImportStart { list: list.to_owned(), ..Default::default() };
    let entries = entries
        .chunks(MESSAGE)
        .map(|entries| ListStep::Entries(police::ImportEntries { entries: entries.to_vec() }));
    let steps: Vec<_> = std::iter::once(ListStep::Start(start))
        .chain(entries)
        .map(|step| police::ImportWatchlistRequest { step: Some(step) })
        .collect();
    let stream = world.watchlists.clone().import_watchlist(tokio_stream::iter(steps)).await;
    let mut stream = call(WHAT, stream)?;
    let mut last = police::ImportWatchlistResponse::default();
    while let Some(progress) = item(WHAT, stream.message().await)? {
        last = progress;
    }
    if !last.finished {
        return Err(DemoError::unexpected("the import of the watchlist ended before its end"));
    }
    let mut skipped: Vec<Skipped> = last
        .skipped
        .into_iter()
        .map(|one| Skipped { reason: one.reason, count: one.count })
        .collect();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for error in last.errors {
        *reasons
            .entry(format!("entry refused: {}: {}", error.column, error.problem))
            .or_default() += 1;
    }
    skipped.extend(reasons.into_iter().map(|(reason, count)| Skipped { reason, count }));
    let (entries, keys, without_key) = (last.entries, last.keys, last.without_key);
    let detail = format!("{entries} entries, {keys} keys, {without_key} entries without a key");
    Ok((Listed { entries, keys, without_key, skipped }, detail))
}

/// The issuing station: derives every waiting print and registers its seeds.
pub(super) async fn issue(
    world: &World,
    references: &[String],
) -> Result<(HashMap<String, Badge>, String), DemoError> {
    const WHAT: &str = "list prints that wait";
    let request = committee::ListPrintsRequest {
        references: references.to_vec(),
        cleared_only: false,
        include_issued: false,
    };
    let mut stream = call(WHAT, world.badges.clone().list_prints(request).await)?;
    let mut badges = HashMap::new();
    let mut seeds = Vec::new();
    while let Some(message) = item(WHAT, stream.message().await)? {
        for print in message.prints {
            let number = BadgeNumber::new(print.badge_number);
            let print_number = u16::try_from(print.print_number)
                .map_err(|_| DemoError::unexpected("a print's number is too large"))?;
            let badge = Badge { number, print: PrintNumber::new(print_number) };
            let event = &world.manifest.event;
            seeds.push(derive_print(&world.issuing, event, number, badge.print).seeds);
            badges.insert(print.reference, badge);
        }
    }
    let messages: Vec<_> = seeds
        .chunks(MESSAGE)
        .map(|prints| committee::RegisterPrintsRequest { prints: prints.to_vec() })
        .collect();
    let registered = world.badges.clone().register_prints(tokio_stream::iter(messages)).await;
    let registered = call("register prints", registered)?.registered;
    Ok((badges, format!("{registered} badges issued")))
}

/// Screens, and waits until every verdict is released but those that wait for an officer.
pub(super) async fn screen(world: &World) -> Result<(Screened, String), DemoError> {
    let screened = eventually("verdicts are released", VERDICTS, async || {
        let last = screen_once(world).await?;
        let officers = matched_subjects(world).await?;
        let waiting =
            officers.iter().filter(|subject| subject.verdict() == Verdict::Pending).count() as u64;
        Ok((last.pending <= waiting).then_some(Screened {
            cleared: last.cleared,
            refused: last.refused,
            pending: last.pending,
            without_key: last.without_key,
        }))
    })
    .await?;
    let Screened { cleared, refused, pending, without_key } = &screened;
    let detail = format!(
        "{cleared} cleared, {refused} refused, {pending} for an officer, {without_key} without a key"
    );
    Ok((screened, detail))
}

async fn screen_once(world: &World) -> Result<committee::ScreenResponse, DemoError> {
    const WHAT: &str = "screen";
    let request = committee::ScreenRequest { wait_seconds: 3 };
    let mut stream = call(WHAT, world.enrolment.clone().screen(request).await)?;
    let mut last = committee::ScreenResponse::default();
    while let Some(progress) = item(WHAT, stream.message().await)? {
        last = progress;
    }
    Ok(last)
}

/// The police's subjects that match anything on a list.
pub(super) async fn matched_subjects(
    world: &World,
) -> Result<Vec<police::SubjectState>, DemoError> {
    let mut subjects = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = police::ListSubjectsRequest {
            subject_ids: vec![],
            matched_only: true,
            page_size: 0,
            page_token,
        };
        let page = call("list subjects", world.subjects.clone().list_subjects(request).await)?;
        subjects.extend(page.subjects);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(subjects);
        }
    }
}

/// What the committee knows of these people, in any order.
pub(super) async fn people(
    world: &World,
    references: &[String],
) -> Result<Vec<committee::PersonState>, DemoError> {
    let mut people = Vec::with_capacity(references.len());
    for references in references.chunks(MESSAGE) {
        let request =
            committee::ListPeopleRequest { references: references.to_vec(), ..Default::default() };
        let page = call("list people", world.enrolment.clone().list_people(request).await)?;
        people.extend(page.people);
    }
    Ok(people)
}

/// Waits for publication.
pub(super) async fn publish(world: &World) -> Result<((), String), DemoError> {
    let [committee, police] = world.published().await?;
    let detail = format!(
        "{} and {} sealed rows, decoys included, signed, cosigned and at the gates",
        committee.records, police.records
    );
    Ok(((), detail))
}
