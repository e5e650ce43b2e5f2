//! The gate's own section of `config.toml`.

use serde::Deserialize;

/// What a gate configures beside the common fields.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSection {
    /// Whom to follow, by name in `[peers]`, in this order. Each serves the feeds of both authorities.
    pub upstreams: Vec<String>,
    /// The access points served, of those that the manifest gives this gate; all of them if there are none here.
    #[serde(default)]
    pub access_points: Vec<String>,
    /// Receipts.
    #[serde(default)]
    pub receipts: ReceiptOptions,
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
        let error = parse(&format!("{common}[receipts]\nkeep = 7\n")).unwrap_err().to_string();
        assert!(error.contains("unknown field `keep`"), "{error}");
    }
}
