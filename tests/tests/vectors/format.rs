//! The files' form, how they are written, and how they are checked.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

use lanyard_core::badge::{BadgeSecret, EpochKey};
use lanyard_core::ids::{Audience, Authority, Epoch, EventId, Handle, Hash, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a file holds and how its operations are run.
pub(crate) struct FileOf {
    /// For whoever opens the file.
    pub(crate) description: &'static str,
    /// Inputs that all its cases have.
    pub(crate) shared: fn() -> Value,
    /// Writes its cases.
    pub(crate) cases: fn(&mut Cases),
    /// Runs one: the output, or the kind of error.
    pub(crate) run: fn(&str, &Input<'_>) -> Outcome,
}

/// The output, or the kind of error.
pub(crate) type Outcome = Result<Value, String>;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
struct File {
    description: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    shared: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Case {
    name: String,
    description: String,
    operation: String,
    input: Map<String, Value>,
    #[serde(flatten)]
    expected: Expected,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Output(Value),
    Error(String),
}

/// Collects the cases of one file.
pub(crate) struct Cases {
    run: fn(&str, &Input<'_>) -> Outcome,
    shared: Map<String, Value>,
    cases: Vec<Case>,
}

impl Cases {
    /// A case that yields an output.
    pub(crate) fn good(&mut self, name: &str, description: &str, operation: &str, input: Value) {
        let outcome = self.outcome(operation, &input);
        let output = outcome.unwrap_or_else(|kind| panic!("{name}: refused as {kind}"));
        self.push(name, description, operation, input, Expected::Output(output));
    }

    /// A case that is refused with an error of this kind.
    pub(crate) fn bad(
        &mut self,
        name: &str,
        description: &str,
        operation: &str,
        input: Value,
        kind: &str,
    ) {
        assert_eq!(self.outcome(operation, &input), Err(kind.to_owned()), "{name}");
        self.push(name, description, operation, input, Expected::Error(kind.to_owned()));
    }

    fn outcome(&self, operation: &str, input: &Value) -> Outcome {
        (self.run)(operation, &Input { own: object(input), shared: &self.shared })
    }

    fn push(
        &mut self,
        name: &str,
        description: &str,
        operation: &str,
        input: Value,
        expected: Expected,
    ) {
        let input = object(&input).clone();
        let (name, description) = (name.to_owned(), description.to_owned());
        self.cases.push(Case {
            name,
            description,
            operation: operation.to_owned(),
            input,
            expected,
        });
    }
}

/// Runs the committed cases, and compares the file with what the generator makes; or writes it.
pub(crate) fn check(name: &str, file: &FileOf) {
    let shared = object(&(file.shared)()).clone();
    let mut cases = Cases { run: file.run, shared: shared.clone(), cases: Vec::new() };
    (file.cases)(&mut cases);
    let made = File { description: file.description.to_owned(), shared, cases: cases.cases };
    let names: BTreeSet<_> = made.cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), made.cases.len(), "{name}: a name stands twice");

    let path = folder().join(format!("{name}.json"));
    if writing() {
        let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; see its README.md", path.display()));
    let committed: File = serde_json::from_str(&text).unwrap();
    for case in &committed.cases {
        let input = Input { own: &case.input, shared: &committed.shared };
        let expected = match &case.expected {
            Expected::Output(output) => Ok(output.clone()),
            Expected::Error(kind) => Err(kind.clone()),
        };
        assert_eq!((file.run)(&case.operation, &input), expected, "{name}: {}", case.name);
    }
    for (committed, made) in committed.cases.iter().zip(&made.cases) {
        assert_eq!(committed, made, "{name}: the protocol or its generator has changed");
    }
    assert_eq!(committed, made, "{name}: cases were added or taken away");
}

/// Whether the files are to be written.
pub(crate) fn writing() -> bool {
    std::env::var_os("LANYARD_WRITE_VECTORS").is_some_and(|value| value == "1")
}

/// Where the files are.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn object(value: &Value) -> &Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match value {
        Value::Null => &EMPTY,
        value => value.as_object().expect("inputs are objects"),
    }
}

/// The kind of an error, for any language: the names of its variants from the outermost, in lower case with hyphens.
pub(crate) fn kind(error: impl Debug) -> String {
    let text = format!("{error:?}");
    let mut rest = text.as_str();
    let mut kinds = Vec::new();
    while rest.starts_with(|first: char| first.is_ascii_uppercase()) {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let mut kind = String::new();
        for (index, character) in rest[..end].char_indices() {
            if character.is_ascii_uppercase() && index > 0 {
                kind.push('-');
            }
            kind.push(character.to_ascii_lowercase());
        }
        kinds.push(kind);
        rest = &rest[end..];
        let (_, source) = rest.split_once(" source: ").unwrap_or_default();
        rest = rest.strip_prefix('(').unwrap_or(source);
    }
    kinds.join("/")
}

/// The kind of a result's error.
pub(crate) fn run<T, E: Debug>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(kind)
}

/// What a case is run on. Values that the case itself lacks are shared by the file.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    own: &'a Map<String, Value>,
    shared: &'a Map<String, Value>,
}

impl<'a> Input<'a> {
    /// An input of which nothing is shared.
    pub(crate) fn alone(own: &'a Value) -> Self {
        Self { own: object(own), shared: object(&Value::Null) }
    }

    pub(crate) fn get(&self, key: &str) -> &'a Value {
        self.find(key).unwrap_or_else(|| panic!("the input has no {key:?}"))
    }

    pub(crate) fn find(&self, key: &str) -> Option<&'a Value> {
        self.own.get(key).or_else(|| self.shared.get(key)).filter(|value| !value.is_null())
    }

    pub(crate) fn parse<T: serde::de::DeserializeOwned>(&self, key: &str) -> T {
        serde_json::from_value(self.get(key).clone())
            .unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    pub(crate) fn inner(&self, key: &str) -> Input<'a> {
        Input { own: object(self.get(key)), shared: self.shared }
    }

    pub(crate) fn list(&self, key: &str) -> Vec<Input<'a>> {
        let list = self.get(key).as_array().expect("a list");
        list.iter().map(|value| Input { own: object(value), shared: self.shared }).collect()
    }

    pub(crate) fn texts(&self, key: &str) -> Vec<&'a str> {
        let list = self.get(key).as_array().expect("a list");
        list.iter().map(|value| value.as_str().expect("a text")).collect()
    }

    pub(crate) fn text(&self, key: &str) -> &'a str {
        self.get(key).as_str().unwrap_or_else(|| panic!("{key:?} is no text"))
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        hex::decode(self.text(key)).unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    pub(crate) fn array<const N: usize>(&self, key: &str) -> [u8; N] {
        self.bytes(key).try_into().unwrap_or_else(|_| panic!("{key:?} has not {N} bytes"))
    }

    pub(crate) fn u64(&self, key: &str) -> u64 {
        self.get(key).as_u64().unwrap_or_else(|| panic!("{key:?} is no number"))
    }

    pub(crate) fn u32(&self, key: &str) -> u32 {
        self.u64(key).try_into().unwrap()
    }

    pub(crate) fn u16(&self, key: &str) -> u16 {
        self.u64(key).try_into().unwrap()
    }

    pub(crate) fn u8(&self, key: &str) -> u8 {
        self.u64(key).try_into().unwrap()
    }

    pub(crate) fn is(&self, key: &str) -> bool {
        self.get(key).as_bool().expect("true or false")
    }

    pub(crate) fn hash(&self, key: &str) -> Hash {
        Hash::new(self.array(key))
    }

    pub(crate) fn time(&self, key: &str) -> Timestamp {
        Timestamp::from_millis(self.u64(key))
    }

    pub(crate) fn event(&self) -> EventId {
        EventId::parse(self.text("event")).unwrap()
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::parse(self.text("authority")).unwrap()
    }

    pub(crate) fn audience(&self) -> Audience {
        Audience::parse(self.text("audience")).unwrap()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::new(self.u32("epoch"))
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle::new(self.array("handle"))
    }

    pub(crate) fn badge_secret(&self) -> BadgeSecret {
        BadgeSecret::from_bytes(self.array("badge_secret"))
    }

    pub(crate) fn epoch_key(&self) -> EpochKey {
        EpochKey::from_bytes(self.array("epoch_key"))
    }
}

/// Bytes as the files write them.
pub(crate) fn hexed(bytes: impl AsRef<[u8]>) -> Value {
    json!(hex::encode(bytes))
}

/// `input` with some of its values replaced.
pub(crate) fn with(input: &Value, changes: Value) -> Value {
    let mut input = input.clone();
    let object = input.as_object_mut().expect("inputs are objects");
    object.extend(self::object(&changes).clone());
    input
}

/// The bytes with one bit flipped.
pub(crate) fn flipped(bytes: &[u8], index: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[index] ^= 0x01;
    bytes
}
