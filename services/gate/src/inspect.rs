//! Looking a gate over before it starts.

use lanyard_env::Env;
use lanyard_party::{Inspected, PartyConfig, Report};
use lanyard_transport::PartyName;

use crate::config::GateSection;

/// Looks over all that [`crate::serve()`] needs.
pub async fn inspect(config: &PartyConfig<GateSection>, env: &Env, report: &mut Report) {
    let inspected = Inspected::common(config, env, PartyName::Gate, report).await;
    let Some(inspected) = inspected else { return };
    let Inspected { folder, manifest, .. } = &inspected;
    report.read("keys/receipts.key", folder.receipts_key(), "signs receipts");
    report.read("keys/hpke.key", folder.hpke_key(), "opens the gates' audience keys");
    inspected.names("upstreams", &config.section.upstreams, report);
    let name = config.common.name.as_str();
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
