//! A `config.toml` that is there, edited: what is not touched stays byte for byte, comments and layout included.

use std::path::{Path, PathBuf};

use lanyard_env::{Files, Mode};
use lanyard_party::parse_toml;
use toml_edit::{Array, DocumentMut, Item, TableLike, Value};

use crate::error::{CeremonyError, Step};

/// The file. Fields are texts, lists of names, and tables of names and texts.
pub(crate) struct ConfigFile {
    path: PathBuf,
    before: String,
    document: DocumentMut,
}

impl ConfigFile {
    /// Reads the file, if it is there.
    ///
    /// # Errors
    /// [`CeremonyError::Toml`] with line and column.
    pub(crate) fn read(files: &dyn Files, path: &Path) -> Result<Option<Self>, CeremonyError> {
        let Some(bytes) = files.read_if_exists(path)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|error| CeremonyError::state(path, error))?;
        // First as services read it: their error says where, and shows nothing of the line, which may hold a password.
        parse_toml::<toml::Table>(path, &text)?;
        let document: DocumentMut = text
            .parse()
            .map_err(|error: toml_edit::TomlError| CeremonyError::state(path, error.message()))?;
        // Not the text itself, whose lines may end in another way.
        let before = document.to_string();
        Ok(Some(Self { path: path.to_owned(), before, document }))
    }

    /// Writes the file, if it changed.
    pub(crate) fn write(self, files: &dyn Files) -> Result<Step, CeremonyError> {
        let text = self.document.to_string();
        if text == self.before {
            return Ok(Step::AlreadyDone);
        }
        files.write_atomic(&self.path, text.as_bytes(), Mode::Private)?;
        Ok(Step::Done)
    }

    pub(crate) fn set_text(&mut self, field: &str, text: &str) {
        set_text(self.document.as_table_mut(), field, text);
    }

    pub(crate) fn names(&self, field: &str) -> Vec<&str> {
        let list = self.document.get(field).and_then(Item::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    pub(crate) fn set_names(&mut self, field: &str, names: &[String]) {
        if self.names(field) != names {
            let list = names.iter().collect::<Array>();
            set(self.document.as_table_mut(), field, list.into());
        }
    }

    /// Adds a name at the end; not if it is there.
    pub(crate) fn add_name(&mut self, field: &str, name: &str) -> bool {
        if self.names(field).contains(&name) {
            return false;
        }
        let list = self.document.entry(field).or_insert(toml_edit::value(Array::new()));
        if let Some(list) = list.as_array_mut() {
            list.push(name);
            tidy(list);
        }
        true
    }

    /// Takes names out; whether there were any.
    pub(crate) fn retain_names(&mut self, field: &str, keep: impl Fn(&str) -> bool) -> bool {
        let Some(list) = self.document.get_mut(field).and_then(Item::as_array_mut) else {
            return false;
        };
        let before = list.len();
        list.retain(|name| name.as_str().is_none_or(&keep));
        let is_changed = list.len() < before;
        if is_changed {
            tidy(list);
        }
        is_changed
    }

    pub(crate) fn has_entry(&self, table: &str, name: &str) -> bool {
        let table = self.document.get(table).and_then(Item::as_table_like);
        table.is_some_and(|table| table.contains_key(name))
    }

    pub(crate) fn set_entry(&mut self, table: &str, name: &str, text: &str) {
        let entries = self.document.entry(table).or_insert(toml_edit::table());
        if let Some(entries) = entries.as_table_like_mut() {
            set_text(entries, name, text);
        }
    }

    /// Takes entries out of a table.
    pub(crate) fn retain_entries(&mut self, table: &str, keep: impl Fn(&str, &str) -> bool) {
        let table = self.document.get_mut(table).and_then(Item::as_table_like_mut);
        let Some(table) = table else { return };
        let is_kept = |(name, item): &(&str, &Item)| keep(name, item.as_str().unwrap_or_default());
        let gone: Vec<String> = (table.iter().filter(|entry| !is_kept(entry)))
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in gone {
            table.remove(&name);
        }
    }
}

fn set_text(table: &mut dyn TableLike, name: &str, text: &str) {
    if table.get(name).and_then(Item::as_str) != Some(text) {
        set(table, name, text.into());
    }
}

/// Puts a value in the place of another, whose comments stay.
fn set(table: &mut dyn TableLike, name: &str, mut value: Value) {
    match table.get_mut(name) {
        Some(Item::Value(found)) => {
            *value.decor_mut() = found.decor().clone();
            *found = value;
        }
        _ => {
            table.insert(name, Item::Value(value));
        }
    }
}

/// Spaces as people write them, in a list that stands in one line; others may have comments.
fn tidy(list: &mut Array) {
    if !list.to_string().contains('\n') {
        let decor = list.decor().clone();
        list.fmt();
        *list.decor_mut() = decor;
    }
}
