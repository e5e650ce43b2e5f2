//! Every checkpoint seen anywhere, and who cosigned it.

use std::collections::{BTreeMap, BTreeSet};

use lanyard_core::checkpoint::verify_checkpoint;
use lanyard_core::ids::{Authority, Hash};
use lanyard_core::note::{MAX_NOTE_BYTES, Note, VerifyingKey};

use crate::links::index;

/// What a file with checkpoints is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A feed, the own one or a mirror's.
    Feed,
    /// A witness's memory.
    Memory,
}

/// The checkpoints that both authorities signed.
pub(crate) struct Checkpoints {
    keys: [VerifyingKey; 2],
    /// First lines of checkpoints.
    origins: [Vec<u8>; 2],
    roots: [BTreeMap<u64, Hash>; 2],
    /// Machine, kind of file, place of the authority: the greatest size that was ever written.
    written: BTreeMap<(&'static str, Kind, usize), u64>,
    /// Witnesses that were made to cosign whatever they are asked: what they remember says nothing.
    heedless: BTreeSet<&'static str>,
    /// Name of the witness, place of the authority: the greatest size cosigned.
    cosigned: BTreeMap<(String, usize), u64>,
    /// The greatest size that a witness had cosigned when it was made to forget: such cosignatures may be seen again.
    forgiven: BTreeMap<(String, usize), u64>,
}

impl Checkpoints {
    /// None so far, of logs with these keys.
    #[must_use]
    pub(crate) fn new(keys: [VerifyingKey; 2], origins: [String; 2]) -> Self {
        let origins = origins.map(|origin| format!("{origin}\n").into_bytes());
        Self {
            keys,
            origins,
            roots: Default::default(),
            written: BTreeMap::new(),
            heedless: BTreeSet::new(),
            cosigned: BTreeMap::new(),
            forgiven: BTreeMap::new(),
        }
    }

    /// Takes every signed checkpoint out of what a machine wrote; says how many were known.
    ///
    /// # Errors
    /// What contradicts what.
    pub(crate) fn read(
        &mut self,
        (machine, kind): (&'static str, Kind),
        bytes: &[u8],
    ) -> Result<u64, String> {
        let mut known_before = 0;
        for authority in Authority::ALL {
            let place = index(authority);
            for note in notes(bytes, &self.origins[place]) {
                let Some((size, root)) = self.signed(place, &note) else { continue };
                match self.roots[place].insert(size, root) {
                    None => {}
                    Some(known) if known == root => known_before += 1,
                    Some(known) => {
                        let name = authority.name();
                        return Err(format!(
                            "the {name} signed two checkpoints of size {size}: {} and {}",
                            hex::encode(known.as_bytes()),
                            hex::encode(root.as_bytes())
                        ));
                    }
                }
                let written = self.written.entry((machine, kind, place)).or_default();
                *written = size.max(*written);
                for signature in note.signatures() {
                    let name = signature.name().to_string();
                    let most = self.cosigned.entry((name, place)).or_default();
                    *most = size.max(*most);
                }
            }
        }
        Ok(known_before)
    }

    /// The greatest size that an authority has signed.
    #[must_use]
    pub(crate) fn signed_up_to(&self, authority: Authority) -> u64 {
        self.roots[index(authority)].keys().next_back().copied().unwrap_or_default()
    }

    /// The greatest size of an authority's log that a machine has had in its feed.
    #[must_use]
    pub(crate) fn held(&self, machine: &'static str, authority: Authority) -> u64 {
        let key = (machine, Kind::Feed, index(authority));
        self.written.get(&key).copied().unwrap_or_default()
    }

    /// The greatest size of an authority's log that another machine has, in a feed or in a witness's memory.
    #[must_use]
    pub(crate) fn elsewhere(&self, authority: Authority) -> u64 {
        let others = self.written.iter().filter(|((machine, _, place), _)| {
            *machine != authority.name() && *place == index(authority)
        });
        others.map(|(_, size)| *size).max().unwrap_or_default()
    }

    /// A machine was put back to an old copy of its disk.
    pub(crate) fn put_back(&mut self, machine: &'static str) {
        self.written.retain(|(name, kind, _), _| *name != machine || *kind != Kind::Feed);
        self.forgive(machine);
    }

    /// How many witnesses have remembered a greater size of an authority's log; those that cosign anything may have.
    #[must_use]
    pub(crate) fn witnesses_past(&self, authority: Authority, size: u64) -> usize {
        let past = self.written.iter().filter(|((machine, kind, place), written)| {
            let counts = *kind == Kind::Memory && *place == index(authority);
            counts && **written > size && !self.heedless.contains(machine)
        });
        past.count() + self.heedless.len()
    }

    /// From now on a witness cosigns whatever it is asked.
    pub(crate) fn heeds_nothing(&mut self, machine: &'static str) {
        self.heedless.insert(machine);
    }

    /// The greatest size of a signed checkpoint in some bytes.
    #[must_use]
    pub(crate) fn newest(&self, authority: Authority, bytes: &[u8]) -> u64 {
        let place = index(authority);
        let found = notes(bytes, &self.origins[place]);
        let sizes = found.iter().filter_map(|note| self.signed(place, note));
        sizes.map(|(size, _)| size).max().unwrap_or_default()
    }

    /// The greatest size that a party's witness cosigned since it was last made to forget.
    #[must_use]
    pub(crate) fn cosigned(&self, party: &str, authority: Authority) -> u64 {
        let place = index(authority);
        let witness = format!("/witness/{party}");
        let of_party = self
            .cosigned
            .iter()
            .filter(|((name, log), _)| *log == place && name.ends_with(&witness));
        let since = of_party.filter(|(key, size)| self.forgiven.get(key) < Some(size));
        since.map(|(_, size)| *size).max().unwrap_or_default()
    }

    /// A witness was made to forget. What it cosigned and nobody wrote down yet is forgiven too.
    pub(crate) fn forgive(&mut self, party: &str) {
        let witness = format!("/witness/{party}");
        let signed = Authority::ALL.map(|authority| self.signed_up_to(authority));
        let of_party = self.cosigned.keys().filter(|(name, _)| name.ends_with(&witness));
        self.forgiven.extend(of_party.map(|key| (key.clone(), signed[key.1])));
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.roots.iter().map(BTreeMap::len).sum()
    }

    fn signed(&self, place: usize, note: &Note) -> Option<(u64, Hash)> {
        // Most have been seen before, and a signature takes longer to verify than all else here.
        let (size, root) = claimed(note)?;
        if self.roots[place].get(&size) == Some(&root) {
            return Some((size, root));
        }
        let verified = verify_checkpoint(note, &self.keys[place]).ok()?;
        Some((verified.size(), verified.root()))
    }
}

/// What an unverified checkpoint says.
fn claimed(note: &Note) -> Option<(u64, Hash)> {
    let checkpoint = lanyard_core::checkpoint::Checkpoint::parse(note.text()).ok()?;
    Some((checkpoint.size(), checkpoint.root()))
}

/// The notes in some bytes that begin with this line.
fn notes(bytes: &[u8], first_line: &[u8]) -> Vec<Note> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(place) = position(&bytes[from..], first_line) {
        let start = from + place;
        from = start + first_line.len();
        let end = bytes.len().min(start + MAX_NOTE_BYTES);
        found.extend(note(&bytes[start..end]));
    }
    found
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The note at the start of some bytes: its text, and as many signature lines as follow.
fn note(bytes: &[u8]) -> Option<Note> {
    let text_end = position(bytes, b"\n\n")? + 2;
    let mut end = text_end;
    while bytes[end..].starts_with("\u{2014} ".as_bytes()) {
        end += position(&bytes[end..], b"\n")? + 1;
    }
    Note::parse(std::str::from_utf8(&bytes[..end]).ok()?).ok()
}
