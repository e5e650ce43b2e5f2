//! Defining access profiles.

use std::path::PathBuf;

use clap::Args;
use lanyard_client::{Connection, call};
use lanyard_party::read_toml;
use lanyard_wire::committee::v1::{Profile, PutProfilesRequest};
use serde::Deserialize;
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;

/// `lanyard committee profiles`.
#[derive(Args)]
pub(crate) struct ProfilesArgs {
    /// The file, with a [[profiles]] table for each; docs/FORMATS.md describes it.
    toml: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfilesFile {
    profiles: Vec<ProfileTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileTable {
    code: String,
    category: String,
    #[serde(default)]
    venues: Vec<String>,
    #[serde(default)]
    zones: Vec<String>,
    #[serde(default)]
    sessions: Vec<String>,
    /// Whether the police may give it to their own staff.
    #[serde(default)]
    police: bool,
}

impl ProfilesArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let file: ProfilesFile = read_toml(&*context.env.files, &self.toml)?;
        let sent = file.profiles.len();
        let profiles = file.profiles.into_iter().map(|profile| Profile {
            code: profile.code,
            category: profile.category,
            venues: profile.venues,
            zones: profile.zones,
            sessions: profile.sessions,
            police: profile.police,
        });
        let request = PutProfilesRequest { profiles: profiles.collect() };
        let answer = call("define profiles", connection.enrolment()?.put_profiles(request).await)?;
        context.show(&json!({ "defined": sent, "total": answer.total }), || {
            format!("{sent} profiles defined; there are {} now", answer.total)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lanyard_core::profile::Session;
    use lanyard_env::Env;

    use super::*;

    #[test]
    fn the_sample_is_good() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/profiles.toml");
        let file: ProfilesFile = read_toml(&*Env::system().files, &path).unwrap();
        let plan = crate::event::plan(&Env::system(), None).unwrap();
        assert!(file.profiles.iter().any(|profile| profile.code == "GENERAL"));
        for profile in &file.profiles {
            assert!(plan.categories.contains(&profile.category), "{}", profile.code);
            assert!(profile.venues.iter().all(|code| plan.venues.iter().any(|v| v.code == *code)));
            assert!(profile.zones.iter().all(|code| plan.zones.iter().any(|z| z.code == *code)));
            assert!(profile.sessions.iter().all(|text| Session::parse(text).is_ok()));
        }
    }
}
