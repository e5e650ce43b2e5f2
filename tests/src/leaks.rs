//! Searching bytes for what must not be in them, in every dress that bytes wear.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::{Regex, RegexBuilder};

/// Canary values with names: raw, in hexadecimal, in base64 at each alignment, and as Rust prints bytes.
#[derive(Default)]
pub struct Needles {
    names: Vec<String>,
    dresses: Vec<(Vec<u8>, usize)>,
}

/// Needles, ready to be searched for.
pub struct Search {
    names: Vec<String>,
    dresses: Vec<(Vec<u8>, usize)>,
    pattern: Regex,
}

impl Needles {
    /// Adds a value of six bytes or more: fewer turn up by chance.
    ///
    /// # Panics
    /// If it is shorter.
    pub fn add(&mut self, name: impl Into<String>, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        assert!(value.len() >= 6, "too short a canary");
        let number = self.names.len();
        self.names.push(name.into());
        let mut dresses = BTreeSet::from([
            value.to_vec(),
            hex::encode(value).into_bytes(),
            hex::encode_upper(value).into_bytes(),
            format!("{value:?}").trim_matches(['[', ']']).as_bytes().to_vec(),
        ]);
        for shift in 0..3 {
            let shifted = [&[0; 2][..shift], value].concat();
            // Characters that depend on nothing before or after the value.
            let (first, last) = ((shift * 8).div_ceil(6), shifted.len() * 8 / 6);
            for text in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
                dresses.insert(text.as_bytes()[first..last].to_vec());
            }
        }
        self.dresses.extend(dresses.into_iter().map(|dress| (dress, number)));
    }

    /// Adds a text as it is, in capitals and in small letters.
    pub fn add_text(&mut self, name: impl Into<String>, text: &str) {
        let name = name.into();
        self.add(name.clone(), text);
        for other in [text.to_uppercase(), text.to_lowercase()] {
            if other != text {
                self.add(name.clone(), other);
            }
        }
    }

    /// Ready to search.
    ///
    /// # Panics
    /// If there is nothing to search for.
    #[must_use]
    pub fn ready(self) -> Search {
        let escape = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let all: Vec<String> = self.dresses.iter().map(|(dress, _)| escape(dress)).collect();
        let pattern = RegexBuilder::new(&all.join("|")).unicode(false).size_limit(1 << 26).build();
        let pattern = pattern.expect("escaped bytes are a pattern");
        Search { names: self.names, dresses: self.dresses, pattern }
    }
}

impl Search {
    /// The names of what is in these bytes.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut start = 0;
        while let Some(hit) = self.pattern.find_at(bytes, start) {
            start = hit.start() + 1;
            let owners =
                self.dresses.iter().filter(|(dress, _)| bytes[hit.start()..].starts_with(dress));
            found.extend(owners.map(|(_, number)| self.names[*number].as_str()));
        }
        found
    }

    /// What is in the files under a folder: `FILE: NAME`.
    ///
    /// # Panics
    /// If a file cannot be read.
    #[must_use]
    pub fn find_in(&self, folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // Temporary files come and go while services run.
                let Ok(bytes) = std::fs::read(&path) else { continue };
                found.extend(
                    self.find(&bytes).iter().map(|name| format!("{}: {name}", path.display())),
                );
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dress_is_seen_through() {
        let mut needles = Needles::default();
        needles.add_text("name", "Canary Bird");
        needles.add("seed", [0xc5; 32]);
        let search = needles.ready();
        assert!(search.find(b"nothing of the kind").is_empty());
        let base64 = |prefix: &str| STANDARD_NO_PAD.encode(format!("{prefix}Canary Bird and more"));
        for text in [
            "a Canary Bird b".to_owned(),
            "CANARY BIRD".to_owned(),
            hex::encode("canary bird"),
            base64(""),
            base64("a"),
            base64("ab"),
            base64("abc"),
        ] {
            assert_eq!(search.find(text.as_bytes()), BTreeSet::from(["name"]), "{text}");
        }
        let printed = format!("Seeds {{ bytes: {:?} }}", [0xc5_u8; 32]);
        assert_eq!(search.find(printed.as_bytes()), BTreeSet::from(["seed"]));
        assert_eq!(search.find(&[&[1_u8][..], &[0xc5; 32]].concat()), BTreeSet::from(["seed"]));
        assert!(search.find(&[0xc5; 31]).is_empty());
    }
}
