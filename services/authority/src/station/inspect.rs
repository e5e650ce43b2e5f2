//! Looking an authority over before it starts.

use std::sync::Arc;

use lanyard_core::ids::{Audience, Authority};
use lanyard_core::note::SigningKey;
use lanyard_env::Env;
use lanyard_feed::inspect_upstreams;
use lanyard_objects::Objects;
use lanyard_party::{Inspected, PartyConfig, Report, ShareStore};
use lanyard_store::{Owner, Schema, Store};

use super::kept::Kept;
use super::state::State;
use super::{StationConfig, other, party};

/// Looks at all that an authority's service needs.
pub async fn inspect(
    authority: Authority,
    config: &PartyConfig<StationConfig>,
    schema: &Schema,
    env: &Env,
    report: &mut Report,
) {
    let inspected = Inspected::common(config, env, party(authority), report).await;
    let Some(inspected) = inspected else { return };
    inspect_configured(authority, config, &inspected, report);
    let Inspected { folder, manifest, .. } = &inspected;
    let is_fresh = match inspect_kept(authority, config, schema, &inspected, report).await {
        Some(state) => state.own.read().size() == 0,
        None => false,
    };
    let objects = config.section.objects.as_ref();
    Objects::inspect(objects, folder.path(), env, &manifest.event, is_fresh, report).await;
}

/// Looks at keys and configuration.
fn inspect_configured(
    authority: Authority,
    config: &PartyConfig<StationConfig>,
    inspected: &Inspected,
    report: &mut Report,
) {
    let Inspected { folder, manifest, tls, peers, .. } = inspected;
    // While one takes the other's place, there are two.
    let keys = report.read("keys/log.key", folder.log_keys(), "signs the own log");
    let is_named = |key: &SigningKey| key.verifying_key() == manifest.log_key(authority);
    if keys.is_some_and(|keys| !keys.iter().any(is_named)) {
        let detail = "not the log key that the manifest names: nobody accepts what it signs; put the right key back, or \
                      adopt the manifest that names it";
        report.warning("keys/log.key", detail);
    }
    report.read("keys/store.key", folder.store_key(), "seals the store");
    report.read("keys/hpke.key", folder.hpke_key(), "opens what is sealed to this party");
    report.read(
        "keys/share.key",
        ShareStore::open(folder),
        "the share of the pseudonym key in force",
    );
    if manifest.witness(authority.name()).is_some() {
        let detail = format!("cosigns the log of the {}", other(authority).name());
        report.read("keys/witness.key", folder.witness_keys(), detail);
    }
    let names = &config.section.upstreams;
    let audiences = Audience::published_by(other(authority));
    let has_others = config.section.objects.is_some();
    inspect_upstreams(inspected, authority.name(), audiences, names, has_others, report);
    let witnesses = config.section.witness_peers(manifest, tls, peers);
    let count = config.section.witnesses.len();
    let detail = format!("{count} configured, the quorum is {}", manifest.quorum);
    report.read("config.toml witnesses", witnesses, detail);
    if count < usize::from(manifest.quorum) {
        let detail = "fewer than the quorum: nothing that improves a status ever counts; name more of the manifest's";
        report.warning("config.toml witnesses", detail);
    }
}

/// Looks at the store, and opens what is kept beside it as starting does, if it is neither in use nor about to be opened.
async fn inspect_kept(
    authority: Authority,
    config: &PartyConfig<StationConfig>,
    schema: &Schema,
    inspected: &Inspected,
    report: &mut Report,
) -> Option<State> {
    let Inspected { folder, manifests, manifest, peers, .. } = inspected;
    let location = match config.section.location(folder) {
        Ok(location) => location,
        Err(error) => {
            report.refused("store", &error);
            return None;
        }
    };
    let owner = Owner { party: authority, event: manifest.event.clone() };
    let has_schema = Store::inspect(&location, &owner, schema, report).await;
    if location.is_shared() && !has_schema {
        // What is kept in there cannot be read yet.
        return None;
    }
    let (folder, env) = inspected.state(report)?;
    let open = || {
        let store_key = Arc::new(folder.store_key()?);
        let kept = Kept::open(&env, &folder, &location, &store_key)?.unchanging();
        State::open(&env, authority, &folder, &kept, manifests, peers)
    };
    let detail = "feeds, the witness's memory and the count of evaluations hold";
    report.read("data/", open(), detail)
}
