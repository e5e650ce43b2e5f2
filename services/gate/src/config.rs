//! The gate's own section of `config.toml`.

use lanyard_objects::ObjectsConfig;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// What a gate configures beside the common fields.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSection {
    /// Whom to follow, by name in `[peers]`, in this order. Each serves the feeds of both authorities.
    pub upstreams: Vec<String>,
    /// The access points served, of those that the manifest gives this gate; all of them if there are none here.
    #[serde(default)]
    pub access_points: Vec<String>,
    /// An object store, followed when no upstream serves.
    #[serde(default, deserialize_with = "read_only")]
    pub objects: Option<ObjectsConfig>,
    /// Receipts.
    #[serde(default)]
    pub receipts: ReceiptOptions,
}

/// A gate has the directories of its own audience only: an archive of these would be none for others.
fn read_only<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ObjectsConfig>, D::Error> {
    let config = ObjectsConfig::deserialize(deserializer)?;
    if config.archive {
        return Err(D::Error::custom(
            "a gate archives nothing: take `archive` out, and archive at an authority or the sponsor",
        ));
    }
    Ok(Some(config))
}

/// How receipts are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiptOptions {
    /// Days after which sealed bodies are deleted. The chain of receipts stays.
    pub keep_bodies_days: u32,
}

impl Default for ReceiptOptions {
    fn default() -> Self {
        Self { keep_bodies_days: 30 }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lanyard_party::PartyConfig;

    use super::*;

    #[test]
    fn the_ceremonys_file_and_a_fuller_one_are_read() {
        let common = "name = \"gate-1\"\nlisten = \"127.0.0.1:7005\"\nupstreams = [\"sponsor\"]\n\
            access_points = [\"north-1\"]\n[peers]\nsponsor = \"127.0.0.1:7003\"\n";
        let parse = |text: &str| {
            PartyConfig::<GateSection>::parse(Path::new("/event/gate-1/config.toml"), text)
        };
        let config = parse(common).unwrap();
        assert_eq!(config.section.access_points, ["north-1"]);
        assert_eq!(config.section.receipts.keep_bodies_days, 30);
        let fuller = format!("{common}[receipts]\nkeep_bodies_days = 7\n");
        assert_eq!(parse(&fuller).unwrap().section.receipts.keep_bodies_days, 7);
        let stored = format!("{common}[objects]\nstore = \"s3://games/archive\"\n");
        assert!(parse(&stored).unwrap().section.objects.is_some());
        let error = parse(&format!("{stored}archive = true\n")).unwrap_err().to_string();
        assert!(error.contains("a gate archives nothing"), "{error}");
        let error = parse(&stored.replace("s3:", "s4:")).unwrap_err().to_string();
        assert!(error.contains("s4:// is no scheme of a store"), "{error}");
        let error = parse(&format!("{common}[receipts]\nkeep = 7\n")).unwrap_err().to_string();
        assert!(error.contains("unknown field `keep`"), "{error}");
    }
}
