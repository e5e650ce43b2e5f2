//! Looking the sponsor over before it starts.

use lanyard_core::ids::{Audience, Authority};
use lanyard_env::Env;
use lanyard_feed::inspect_upstreams;
use lanyard_objects::Objects;
use lanyard_party::{Inspected, PartyConfig, Report};
use lanyard_transport::PartyName;

use crate::config::SponsorSection;
use crate::serve::State;

/// Looks over all that [`crate::serve()`] needs.
pub async fn inspect(config: &PartyConfig<SponsorSection>, env: &Env, report: &mut Report) {
    let inspected = Inspected::common(config, env, PartyName::Sponsor, report).await;
    let Some(inspected) = inspected else { return };
    let Inspected { folder, manifests, manifest, .. } = &inspected;
    report.read("keys/hpke.key", folder.hpke_key(), "opens the sponsor's audience keys");
    if manifest.witness(PartyName::Sponsor.name()).is_some() {
        report.read("keys/witness.key", folder.witness_keys(), "cosigns both authorities' logs");
    }
    let PartyConfig { common, section, .. } = config;
    let audiences = Audience::published_by(Authority::Committee);
    let has_others = section.objects.is_some();
    inspect_upstreams(&inspected, &common.name, audiences, &section.upstreams, has_others, report);
    let mut is_fresh = false;
    if let Some((folder, env)) = inspected.state(report) {
        let state = State::open(&env, &folder, manifests);
        let detail = "both mirrors and the witness's memory hold";
        if let Some(State { committee, police, .. }) = report.read("data/", state, detail) {
            is_fresh = [committee, police].iter().all(|mirror| mirror.read().size() == 0);
        }
    }
    let objects = section.objects.as_ref();
    Objects::inspect(objects, folder.path(), env, &manifest.event, is_fresh, report).await;
}
