//! Looking a gate over before it starts.

use std::sync::Arc;

use arc_swap::ArcSwap;
use lanyard_core::ids::{Audience, Authority};
use lanyard_env::Env;
use lanyard_feed::{KeptClock, inspect_upstreams};
use lanyard_objects::Objects;
use lanyard_party::{Folder, Inspected, PartyConfig, Report};
use lanyard_transport::PartyName;

use crate::config::GateSection;
use crate::receipts::Receipts;
use crate::rules::Rules;
use crate::serve::{mirror_dir, open_mirrors, receipt_setup};

/// Looks over all that [`crate::serve()`] needs.
pub async fn inspect(config: &PartyConfig<GateSection>, env: &Env, report: &mut Report) {
    let folder = Folder::open(&config.folder, env);
    let mirrors = Authority::ALL.map(|authority| (authority, mirror_dir(&folder, authority)));
    // It will serve by the time that its mirrors kept, so a clock set back behind its certificate is no reason not to start.
    let clock = Arc::new(KeptClock::read(env, mirrors));
    let kept = Env { clock: Arc::clone(&clock) as _, ..env.clone() };
    let inspected = Inspected::common(config, &kept, PartyName::Gate, report).await;
    let Some(inspected) = inspected else { return };
    let Inspected { folder, manifests, manifest, .. } = &inspected;
    if let Some(error) = clock.clock_error(manifest.allowed_millis()) {
        report.warning("clock", error.to_string());
    }
    report.read("keys/receipts.key", folder.receipts_key(), "signs receipts");
    report.read("keys/hpke.key", folder.hpke_key(), "opens the gates' audience keys");
    let (name, section) = (config.common.name.as_str(), &config.section);
    let has_others = section.objects.is_some();
    inspect_upstreams(&inspected, name, &[Audience::Gate], &section.upstreams, has_others, report);
    let mut is_fresh = false;
    if let Some((folder, env)) = inspected.state(report) {
        let mirrors = open_mirrors(&env, &folder, name, manifests);
        if let Some(mirrors) = report.read("data/mirror", mirrors, "both mirrors hold") {
            is_fresh = mirrors.iter().all(|mirror| mirror.read().size() == 0);
        }
        let rules = Rules::new(Arc::clone(manifest), name, &section.access_points);
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let receipts = receipt_setup(&env, &folder, manifests, name, section, &rules)
            .and_then(|setup| Ok(Receipts::check(setup)?));
        report.read("data/receipts", receipts, "the chain holds");
    }
    let objects = section.objects.as_ref();
    Objects::inspect(objects, folder.path(), env, &manifest.event, is_fresh, report).await;
    let Some(gate) = manifest.gate(name) else {
        let detail = format!(
            "version {} has no gate {name}: it admits nobody; adopt a manifest that has it, or correct `name`",
            manifest.version
        );
        return report.warning("manifest.note", detail);
    };
    for id in &config.section.access_points {
        if !gate.access_points.contains(id) {
            let detail = format!(
                "{id}: not one of {name} in the manifest; take it out, or amend the manifest"
            );
            report.warning("config.toml access_points", detail);
        }
    }
}
