//! A row of an import, checked: who may be enrolled, and under which keys the member is found.

use lanyard_core::binding::{Binding, BindingSalt};
use lanyard_core::identity::{BirthDate, Document, DocumentKind, IdentityKey, Name};
use lanyard_core::ids::{BadgeNumber, EventId, Hash};
use lanyard_party::StoreKey;
use lanyard_wire::staff::v1 as wire;

/// Longest free text in characters.
const MAX_TEXT: usize = 200;
/// Longest reference in characters.
const MAX_REFERENCE: usize = 64;
/// Documents that one member can have.
const MAX_DOCUMENTS: usize = 8;

/// Which column is bad, and why; never the value.
pub(crate) type Problem = (&'static str, String);

/// What identifies a member; the binding fixes it.
#[derive(PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) full_name: String,
    pub(super) birth_date: String,
    /// `kind:issuer:number`, separated by blanks.
    pub(super) documents: String,
    pub(super) portrait_hash: Vec<u8>,
}

/// What a member may do, and until when.
#[derive(PartialEq, Eq)]
pub(super) struct Duty {
    pub(super) function: String,
    pub(super) profile: String,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// A row that may be enrolled.
pub(super) struct Member {
    pub(super) reference: String,
    pub(super) identity: Identity,
    pub(super) duty: Duty,
}

/// Checks a row; `offered` says whether the committee offers a profile.
pub(super) fn check(row: wire::Member, offered: impl Fn(&str) -> bool) -> Result<Member, Problem> {
    let reference = row.reference;
    if reference.is_empty() || reference.len() > MAX_REFERENCE {
        return Err(("reference", format!("give 1 to {MAX_REFERENCE} characters")));
    }
    if !reference.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(("reference", "use printable ASCII without spaces".to_owned()));
    }
    let full_name = text("full_name", &row.full_name)?;
    if full_name.is_empty() {
        return Err(("full_name", "missing".to_owned()));
    }
    let birth_date = row.birth_date.trim().to_owned();
    if !birth_date.is_empty() {
        BirthDate::parse(&birth_date).map_err(|error| ("birth_date", error.to_string()))?;
    }
    if row.documents.len() > MAX_DOCUMENTS {
        return Err(("document_number", format!("at most {MAX_DOCUMENTS} documents")));
    }
    let documents =
        row.documents.iter().map(|one| document(one).map(|document| written(&document)));
    let documents = documents.collect::<Result<Vec<_>, _>>()?.join(" ");
    if !offered(&row.profile) {
        let problem = "not among the profiles that the committee offers for police staff; `staff list` shows them";
        return Err(("profile", problem.to_owned()));
    }
    let not_before = i64::from(row.not_before_minutes);
    let not_after = match row.not_after_minutes {
        0 => i64::from(u32::MAX),
        minutes => i64::from(minutes),
    };
    if not_before > not_after {
        return Err(("valid_until", "before valid_from".to_owned()));
    }
    if !matches!(row.portrait_hash.len(), 0 | Hash::SIZE) {
        return Err(("portrait_hash", "32 bytes of BLAKE3, or nothing".to_owned()));
    }
    Ok(Member {
        reference,
        identity: Identity { full_name, birth_date, documents, portrait_hash: row.portrait_hash },
        duty: Duty {
            function: text("function", &row.function)?,
            profile: row.profile,
            not_before,
            not_after,
        },
    })
}

fn text(column: &'static str, value: &str) -> Result<String, Problem> {
    let value = value.trim();
    if value.chars().count() > MAX_TEXT {
        return Err((column, format!("longer than {MAX_TEXT} characters")));
    }
    if value.chars().any(char::is_control) {
        return Err((column, "contains a control character".to_owned()));
    }
    Ok(value.to_owned())
}

/// Reads a document.
pub(crate) fn document(document: &wire::Document) -> Result<Document, Problem> {
    let kind = DocumentKind::parse(&document.kind)
        .map_err(|error| ("document_kind", error.to_string()))?;
    Document::new(kind, &document.issuer, &document.number)
        .map_err(|error| ("document_number", error.to_string()))
}

fn written(document: &Document) -> String {
    format!("{}:{}:{}", document.kind().name(), document.issuer(), document.number())
}

/// Reads [`Identity::documents`] as the wire has them.
pub(super) fn wire_documents(documents: &str) -> Vec<wire::Document> {
    let one = |written: &str| {
        let mut parts = written.splitn(3, ':').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        wire::Document { kind: next(), issuer: next(), number: next() }
    };
    documents.split_whitespace().map(one).collect()
}

/// How a member is found again by an identity key: locally, so that nobody is asked to enrol or find the own staff.
pub(crate) fn key_hash(store_key: &StoreKey, key: &IdentityKey) -> [u8; 32] {
    store_key.local_hash("staff key", key.as_bytes())
}

impl Identity {
    /// One key a document, and one of name and birth date where the name has a Latin form.
    pub(super) fn keys(&self, event: &EventId) -> Vec<IdentityKey> {
        let documents = wire_documents(&self.documents);
        let documents = documents.iter().filter_map(|one| document(one).ok());
        let mut keys: Vec<_> =
            documents.map(|document| IdentityKey::document(event, &document)).collect();
        let name = Name::parse(&self.full_name).ok();
        let birth_date = BirthDate::parse(&self.birth_date).ok();
        if let (Some(name), Some(birth_date)) = (name, birth_date) {
            keys.push(IdentityKey::name_and_birth_date(event, &name, birth_date));
        }
        keys
    }

    /// What was enrolled, fixed.
    pub(super) fn binding(
        &self,
        event: &EventId,
        salt: &BindingSalt,
        badge_number: BadgeNumber,
    ) -> Binding {
        let keys = self.keys(event);
        let keys: Vec<&[u8]> = keys.iter().map(IdentityKey::as_bytes).collect();
        let portrait =
            <[u8; Hash::SIZE]>::try_from(self.portrait_hash.as_slice()).ok().map(Hash::new);
        Binding::compute(salt, &keys, portrait.as_ref(), badge_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> wire::Member {
        let document = wire::Document {
            kind: "passport".into(),
            issuer: "UTO".into(),
            number: "L898-902C3".into(),
        };
        wire::Member {
            reference: "S-1".into(),
            full_name: "Zoë Ångström".into(),
            birth_date: "1990-02-28".into(),
            documents: vec![document],
            profile: "PATROL".into(),
            ..Default::default()
        }
    }

    fn checked(row: wire::Member) -> Result<Member, Problem> {
        check(row, |code| code == "PATROL")
    }

    #[test]
    fn a_bad_value_is_named_by_its_column_and_never_repeated() {
        let bad_document = wire::Document { kind: "canary".into(), ..Default::default() };
        let cases: [(&str, wire::Member); 6] = [
            ("reference", wire::Member { reference: "a b".into(), ..row() }),
            ("full_name", wire::Member { full_name: " ".into(), ..row() }),
            ("birth_date", wire::Member { birth_date: "1990-02-30".into(), ..row() }),
            ("document_kind", wire::Member { documents: vec![bad_document], ..row() }),
            ("profile", wire::Member { profile: "canary".into(), ..row() }),
            ("valid_until", wire::Member { not_before_minutes: 9, not_after_minutes: 8, ..row() }),
        ];
        for (column, bad) in cases {
            let Err((found, problem)) = checked(bad) else { panic!("{column} passed") };
            assert_eq!(found, column);
            assert!(!problem.contains("canary"), "{problem}");
        }
    }

    #[test]
    fn documents_read_back_and_give_a_key_each() {
        let event = EventId::parse("games").unwrap();
        let Ok(member) = checked(row()) else { panic!("a good row") };
        let documents = wire_documents(&member.identity.documents);
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0].number, "L898902C3");
        let keys = member.identity.keys(&event);
        assert_eq!(keys.len(), 2);
        let shown = document(&row().documents[0]).unwrap();
        let shown = IdentityKey::document(&event, &shown);
        assert_eq!(keys[0].as_bytes(), shown.as_bytes());
    }
}
