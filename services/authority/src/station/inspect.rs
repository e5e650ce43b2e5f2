//! Looking an authority over before it starts.

use lanyard_core::ids::Authority;
use lanyard_env::Env;
use lanyard_party::{Inspected, PartyConfig, Report, ShareStore};

use super::{StationConfig, other, party};

/// Looks at all that an authority's service needs but its store: folder, manifest, certificate, keys, upstreams, witnesses.
/// `None` if the rest cannot be looked at.
pub async fn inspect(
    authority: Authority,
    config: &PartyConfig<StationConfig>,
    env: &Env,
    report: &mut Report,
) -> Option<Inspected> {
    let inspected = Inspected::common(config, env, party(authority), report).await?;
    let Inspected { folder, manifest, tls, peers } = &inspected;
    if let Some(key) = report.read("keys/log.key", folder.log_key(), "signs the own log")
        && key.verifying_key() != manifest.log_key(authority)
    {
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
        report.read("keys/witness.key", folder.witness_key(), detail);
    }
    inspected.names("upstreams", &config.section.upstreams, report);
    let witnesses = config.section.witness_peers(manifest, tls, peers);
    let count = config.section.witnesses.len();
    let detail = format!("{count} configured, the quorum is {}", manifest.quorum);
    report.read("config.toml witnesses", witnesses, detail);
    if count < usize::from(manifest.quorum) {
        let detail = "fewer than the quorum: nothing that improves a status ever counts; name more of the manifest's";
        report.warning("config.toml witnesses", detail);
    }
    Some(inspected)
}
