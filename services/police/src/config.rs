//! What the police configure beside the common fields.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lanyard_authority::{StationConfig, StoreUrl};
use lanyard_objects::ObjectsConfig;
use lanyard_party::{PartyConfig, PeerAddress};
use serde::{Deserialize, Serialize};

/// The police's section of `config.toml`: that of every authority, and how cases are decided. The latter is nobody else's
/// business, so it stands here and not in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoliceConfig {
    /// As in [`StationConfig`].
    pub store: StoreUrl,
    /// As in [`StationConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_password_file: Option<PathBuf>,
    /// As in [`StationConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<PeerAddress>,
    /// As in [`StationConfig`].
    pub upstreams: Vec<String>,
    /// As in [`StationConfig`].
    pub witnesses: BTreeMap<String, String>,
    /// As in [`StationConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectsConfig>,
    /// Whether a second officer must decide the same before a case is cleared or refused. A stop needs one officer always.
    #[serde(default)]
    pub four_eyes: bool,
}

impl PoliceConfig {
    /// The part that every authority has.
    pub(crate) fn station(config: PartyConfig<Self>) -> PartyConfig<StationConfig> {
        let PartyConfig { folder, common, section } = config;
        let Self {
            store,
            store_password_file,
            advertise,
            upstreams,
            witnesses,
            objects,
            four_eyes: _,
        } = section;
        let section =
            StationConfig { store, store_password_file, advertise, upstreams, witnesses, objects };
        PartyConfig { folder, common, section }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const PLAIN: &str = "name = \"police\"\nlisten = \"127.0.0.1:7002\"\nstore = \"sqlite://data/police.db\"\n\
        upstreams = []\n";

    fn four_eyes(line: &str) -> Result<bool, String> {
        let text = format!("{PLAIN}{line}\n[witnesses]\n");
        PartyConfig::<PoliceConfig>::parse(Path::new("config.toml"), &text)
            .map(|config| config.section.four_eyes)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn one_officer_decides_unless_two_are_asked_for() {
        assert_eq!(four_eyes(""), Ok(false));
        assert_eq!(four_eyes("four_eyes = true"), Ok(true));
        assert!(four_eyes("for_eyes = true").is_err_and(|error| error.contains("for_eyes")));
    }
}
