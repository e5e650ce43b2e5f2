//! The sponsor's own section of `config.toml`.

use lanyard_core::ids::Authority;
use lanyard_objects::ObjectsConfig;
use serde::Deserialize;

/// What the sponsor configures beside the common fields.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SponsorSection {
    /// Whom to follow, by name in `[peers]`, in this order. An authority's own feed comes first for its own log.
    #[serde(default = "both")]
    pub upstreams: Vec<String>,
    /// An object store: followed when no upstream serves, and archived in if it says so.
    #[serde(default)]
    pub objects: Option<ObjectsConfig>,
}

fn both() -> Vec<String> {
    Authority::ALL.map(|authority| authority.name().to_owned()).into()
}

impl SponsorSection {
    /// The upstreams for an authority's log: the authority itself first.
    pub(crate) fn upstreams_of(&self, authority: Authority) -> Vec<&str> {
        let mut names: Vec<&str> = self.upstreams.iter().map(String::as_str).collect();
        // Stable: the others keep their order.
        names.sort_by_key(|name| *name != authority.name());
        names
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lanyard_party::PartyConfig;

    use super::*;

    #[test]
    fn each_log_is_followed_from_its_authority_first() {
        let text = "name = \"sponsor\"\nlisten = \"127.0.0.1:7003\"\nupstreams = [\"committee\", \"police\"]\n\
            [peers]\ncommittee = \"127.0.0.1:7001\"\npolice = \"127.0.0.1:7002\"\n";
        let path = Path::new("/event/sponsor/config.toml");
        let section = PartyConfig::<SponsorSection>::parse(path, text).unwrap().section;
        assert_eq!(section.upstreams_of(Authority::Committee), ["committee", "police"]);
        assert_eq!(section.upstreams_of(Authority::Police), ["police", "committee"]);
        let wrong = text.replace("upstreams", "upstream");
        assert!(PartyConfig::<SponsorSection>::parse(path, &wrong).is_err());
    }
}
