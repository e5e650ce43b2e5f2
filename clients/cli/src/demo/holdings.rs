//! What each party holds, what it can say about one person, and how many people a search of all its bytes finds.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use lanyard_ceremony::Member;
use lanyard_client::call;
use lanyard_core::identity::Name;
use lanyard_wire::committee::v1::{Person, ScreeningState};
use lanyard_wire::police::v1::{ListEntry, ListSubjectsRequest};
use lanyard_wire::pseudonym::v1::GetUsageRequest;
use serde::Serialize;

use super::error::DemoError;
use super::needles::{Found, NeedleSet, Searcher, WINDOW};
use super::plan::MAIN;
use super::scenes::show;
use super::stages;
use super::world::World;

/// What one party holds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Holding {
    /// Whose folder.
    pub(super) party: String,
    /// Files in it.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Its largest files.
    pub(super) largest: Vec<String>,
    /// What it can say about the sample person.
    pub(super) says: String,
    /// People of whom a name or document was found.
    pub(super) found: usize,
    /// What should be found.
    pub(super) expected: String,
    /// Whether it is so.
    pub(super) ok: bool,
}

/// What each party says of one person when it is asked.
pub(super) struct Sayings(Vec<(&'static str, String)>);

impl Sayings {
    /// Asks everyone about one person, who shows a badge to the gate.
    pub(super) async fn ask(
        world: &World,
        reference: &str,
        badge_text: &str,
    ) -> Result<Self, DemoError> {
        let people = stages::people(world, &[reference.to_owned()]).await?;
        let found = people.into_iter().next();
        let found =
            found.ok_or_else(|| DemoError::unexpected("the sample person is not enrolled"))?;
        let screening = match found.screening() {
            ScreeningState::Cleared => "cleared",
            _ => "not cleared",
        };
        let person = found.person.unwrap_or_default();
        let document = person.documents.first();
        let document = document.map(|one| format!(", {} {}", one.kind, one.number));
        let committee = format!(
            "{}, born {}{}; {screening}, never why",
            person.full_name,
            person.birth_date,
            document.unwrap_or_default()
        );
        let request = ListSubjectsRequest {
            subject_ids: vec![found.subject_id.clone()],
            ..Default::default()
        };
        let subjects = call("list subjects", world.subjects.clone().list_subjects(request).await)?;
        let subject = subjects.subjects.into_iter().next().unwrap_or_default();
        let police = format!(
            "subject {}…: {}, {} matches; no name",
            hex::encode(&subject.subject_id[..subject.subject_id.len().min(4)]),
            subject.verdict().as_str_name().trim_start_matches("VERDICT_"),
            subject.matches.len()
        );
        let usage =
            call("ask for usage", world.trustee.clone().get_usage(GetUsageRequest {}).await)?;
        let used: u64 = usage.usages.iter().map(|usage| usage.used).sum();
        let [committee_rows, police_rows] = world.publication().await?;
        let gate = world.gate_1.check(&world.env, badge_text, MAIN).await?;
        let gate = format!("nothing, until the badge is shown: {}", show(&gate));
        Ok(Self(vec![
            ("committee", committee),
            ("police", police),
            (
                "sponsor",
                format!(
                    "nothing: one of {} and one of {} sealed rows, which it cannot tell",
                    committee_rows.records, police_rows.records
                ),
            ),
            ("trustee", format!("nothing: answered {used} blinded evaluations")),
            ("gate-1", gate.clone()),
            ("gate-2", gate),
        ]))
    }
}

/// A search for everyone on the roster.
pub(super) struct Search<'a> {
    people: &'a [Person],
    searcher: Searcher,
    /// Who is named on the police's own list.
    listed: Found,
    /// Who matched it.
    matched: &'a HashSet<usize>,
    /// How many were enrolled and have a name or document that is long enough to be looked for.
    findable: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        people: &'a [Person],
        impostors: &[(usize, Person)],
        entries: &[ListEntry],
        matched: &'a HashSet<usize>,
        enrolled: usize,
    ) -> Self {
        let mut set = NeedleSet::default();
        let impostors = impostors.iter().map(|(owner, person)| (*owner, person));
        for (owner, person) in people.iter().enumerate().chain(impostors) {
            set.add(owner, 1, &person.full_name);
            if let Ok(name) = Name::parse(&person.full_name) {
                set.add(owner, 1, name.as_str());
            }
            for document in &person.documents {
                set.add(owner, 2, &document.number);
            }
        }
        let searcher = set.ready();
        let is_short = |person: &&Person| {
            let documents = person.documents.iter().map(|document| &document.number);
            documents.chain([&person.full_name]).all(|value| value.len() < WINDOW)
        };
        let findable = enrolled.saturating_sub(people.iter().filter(is_short).count());
        let mut listed = Found::none(people.len());
        for entry in entries {
            // The label is all that the police keep of an entry in clear.
            searcher.search(entry.label.as_bytes(), &mut listed);
        }
        Self { people, searcher, listed, matched, findable }
    }

    /// Searches everybody's folder.
    pub(super) fn everywhere(
        &self,
        world: &World,
        sayings: &Sayings,
    ) -> Result<Vec<Holding>, DemoError> {
        let mut holdings = Vec::new();
        for (party, says) in &sayings.0 {
            let folder = world.cluster.dir().join(party);
            holdings.push(self.holding(party, &folder, says.clone())?);
        }
        let exchange = world.cluster.dir().join("exchange");
        holdings.push(self.holding(
            "exchange",
            &exchange,
            "public: keys and the plan".to_owned(),
        )?);
        let authority = world.folder(&Member::GateAuthority);
        let says = "nothing: certifies gates".to_owned();
        holdings.push(self.holding("gate-ca", &authority, says)?);
        Ok(holdings)
    }

    fn holding(&self, party: &str, folder: &Path, says: String) -> Result<Holding, DemoError> {
        let mut found = Found::none(self.people.len());
        let mut files = Vec::new();
        walk(folder, &mut files)?;
        let mut sizes = Vec::with_capacity(files.len());
        for file in &files {
            sizes.push((self.searcher.search_file(file, &mut found)?, file));
        }
        sizes.sort_by(|a, b| b.cmp(a));
        let name = |file: &Path| file.strip_prefix(folder).unwrap_or(file).display().to_string();
        let largest = sizes.iter().take(2).map(|(_, file)| name(file)).collect();
        let (expected, ok) = self.judge(party, &found);
        Ok(Holding {
            party: party.to_owned(),
            files: files.len() as u64,
            bytes: sizes.iter().map(|(size, _)| size).sum(),
            largest,
            says,
            found: found.count(),
            expected,
            ok,
        })
    }

    fn judge(&self, party: &str, found: &Found) -> (String, bool) {
        match party {
            "committee" => {
                let all = self.findable;
                (format!("all {all}"), found.count() >= all)
            }
            "police" => {
                let own = |person: usize| self.listed.has(person) || self.matched.contains(&person);
                let others = found.owners().filter(|person| !own(*person)).count();
                ("nobody but who is on its own list".to_owned(), others == 0)
            }
            _ => ("nobody".to_owned(), found.count() == 0),
        }
    }
}

/// All files under a folder.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), DemoError> {
    for entry in std::fs::read_dir(folder).map_err(DemoError::io(folder))? {
        let entry = entry.map_err(DemoError::io(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(DemoError::io(&path))?;
        if kind.is_dir() {
            walk(&path, files)?;
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::people::Inventor;

    #[test]
    fn the_police_may_know_their_own_list_and_nobody_else() {
        let people = Inventor::new(5).people(4);
        let entry = ListEntry { label: format!("7 {}", people[1].full_name), ..Default::default() };
        let matched = HashSet::from([2]);
        let search = Search::new(&people, &[], &[entry], &matched, 4);
        let dir = tempfile::tempdir().unwrap();
        let look = |text: &str, party: &str| {
            std::fs::create_dir_all(dir.path().join("data")).unwrap();
            std::fs::write(dir.path().join("data/file"), text).unwrap();
            search.holding(party, dir.path(), String::new()).unwrap()
        };
        let names = |range: std::ops::Range<usize>| {
            people[range].iter().map(|p| p.full_name.clone()).collect::<Vec<_>>().join("|")
        };
        assert!(look(&names(1..3), "police").ok);
        assert!(!look(&names(0..3), "police").ok);
        assert!(look("nothing", "sponsor").ok);
        assert!(!look(&people[3].documents[0].number, "sponsor").ok);
        let all = look(&names(0..4), "committee");
        assert!(all.ok && all.found == 4 && all.largest == ["data/file"]);
        assert!(!look(&names(0..3), "committee").ok);
    }
}
