//! The protocol's own vectors: `tests/vectors/*.json`, checked on every run.
//!
//! Each file is what the generator beside it writes from fixed seeds: a change of the protocol shows here first. If it is meant,
//! `LANYARD_WRITE_VECTORS=1 cargo test -p lanyard-tests --test vectors` writes the files anew.

#![expect(clippy::disallowed_methods, reason = "the generator writes the files")]

mod format;
mod world;

macro_rules! files {
    ($($name:ident)*) => {
        $(
            mod $name;

            #[test]
            fn $name() {
                format::check(stringify!($name), &$name::FILE);
            }
        )*

        const FILES: &[&str] = &[$(stringify!($name)),*];
    };
}

files! {
    identity pseudonym badge derivation record binding profile map log head checkpoint freshness manifest receipt attestation
    decision
}

#[test]
fn the_folder_holds_these_files_and_stays_small() {
    if format::writing() {
        return;
    }
    let mut found = Vec::new();
    let mut bytes = 0;
    for entry in std::fs::read_dir(format::folder()).unwrap() {
        let entry = entry.unwrap();
        bytes += entry.metadata().unwrap().len();
        let name = entry.file_name().into_string().unwrap();
        found.extend(name.strip_suffix(".json").map(str::to_owned));
    }
    found.sort();
    let mut expected = FILES.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(bytes < 700_000, "{bytes} bytes of vectors");
}
