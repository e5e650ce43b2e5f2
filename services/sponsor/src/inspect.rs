//! Looking the sponsor over before it starts.

use lanyard_env::Env;
use lanyard_party::{Inspected, PartyConfig, Report};
use lanyard_transport::PartyName;

use crate::config::SponsorSection;

/// Looks over all that [`crate::serve()`] needs.
pub async fn inspect(config: &PartyConfig<SponsorSection>, env: &Env, report: &mut Report) {
    let inspected = Inspected::common(config, env, PartyName::Sponsor, report).await;
    let Some(inspected) = inspected else { return };
    let Inspected { folder, manifest, .. } = &inspected;
    report.read("keys/hpke.key", folder.hpke_key(), "opens the sponsor's audience keys");
    if manifest.witness(PartyName::Sponsor.name()).is_some() {
        report.read("keys/witness.key", folder.witness_key(), "cosigns both authorities' logs");
    }
    inspected.names("upstreams", &config.section.upstreams, report);
}
