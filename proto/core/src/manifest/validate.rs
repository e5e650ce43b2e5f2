//! What must hold in a manifest beyond its types. The first field that does not hold is named.

use std::collections::HashSet;

use super::problem::{ManifestError, Problem};
use super::{Manifest, Verifier};
use crate::ids::{Audience, Authority, Hash};
use crate::note::{Algorithm, VerifyingKey};

const PARTIES: [&str; 5] = ["committee", "police", "sponsor", "trustee", "gate"];
/// Far above any event, far below what 4 MiB hold: only to keep checks cheap.
const MAX_LIST: usize = 10_000;
const MAX_WITNESSES: usize = 32;
const MAX_PEM_BYTES: usize = 16 * 1024;
/// The end of the year 9999, in milliseconds.
const MAX_TIME: u64 = 253_402_300_799_999;
const MINUTES_PER_YEAR: u64 = 366 * 24 * 60;

type Checked = Result<(), ManifestError>;

/// Checks a whole manifest.
pub(super) fn validate(manifest: &Manifest) -> Checked {
    head(manifest)?;
    parties(manifest)?;
    keys(manifest)?;
    witnesses(manifest)?;
    places(manifest)?;
    pseudonyms(manifest)?;
    verifiers(manifest)?;
    gates(manifest)?;
    replaced(manifest)
}

fn head(manifest: &Manifest) -> Checked {
    range("version", manifest.version, 1, u32::MAX.into())?;
    if manifest.previous.is_some() != (manifest.version > 1) {
        return Err(invalid("previous", Problem::Previous));
    }
    label("title", &manifest.title)?;
    let epochs = &manifest.epochs;
    range("epochs.starts_at", epochs.starts_at.millis(), 1, MAX_TIME)?;
    range("epochs.length_minutes", epochs.length_minutes, 1, MINUTES_PER_YEAR)?;
    // Only the live epoch and the next have directories.
    let lead = epochs.publish_lead_minutes;
    range("epochs.publish_lead_minutes", lead, 1, epochs.length_minutes.into())?;
    range("tick_millis", manifest.tick_millis, 20, 600_000)?;
    range("skew_millis", manifest.skew_millis, 1, 600_000)?;
    let padding = &manifest.padding;
    range("padding.reseals[0]", padding.reseals[0], 1, 1 << 20)?;
    range("padding.reseals[2]", padding.reseals[2], 1, 1 << 20)?;
    if !padding.reseals.is_sorted_by(|a, b| a < b) {
        return Err(invalid("padding.reseals", Problem::Order));
    }
    range("padding.decoy_floor", padding.decoy_floor, 0, 10_000_000)?;
    range("padding.decoy_percent", padding.decoy_percent, 0, 100)?;
    range("padding.catch_up_percent", padding.catch_up_percent, 1, 100)?;
    range("padding.sponsor_reseal_seconds", padding.sponsor_reseal_seconds, 1, 86_400)?;
    let screening = &manifest.screening;
    range("screening.verdict_delay_seconds", screening.verdict_delay_seconds, 0, 7 * 86_400)?;
    range("screening.secondary_check_per_10k", screening.secondary_check_per_10k, 0, 10_000)
}

fn parties(manifest: &Manifest) -> Checked {
    length("parties", manifest.parties.len(), 2, PARTIES.len())?;
    let names = manifest.parties.iter().map(|party| party.name.as_str());
    unique("parties", "name", names)?;
    let pems = manifest.parties.iter().map(|party| party.certificate_authority_pem.as_str());
    unique("parties", "certificate_authority_pem", pems)?;
    for (index, party) in manifest.parties.iter().enumerate() {
        if !PARTIES.contains(&party.name.as_str()) {
            let problem = Problem::PartyName { given: party.name.clone() };
            return Err(invalid(&format!("parties[{index}].name"), problem));
        }
        if !is_pem_certificate(&party.certificate_authority_pem) {
            let field = format!("parties[{index}].certificate_authority_pem");
            return Err(invalid(&field, Problem::Pem));
        }
    }
    for authority in Authority::ALL {
        if manifest.party(authority.name()).is_none() {
            return Err(invalid("parties", Problem::Missing { what: authority.name() }));
        }
    }
    Ok(())
}

/// Every Ed25519 key stands once: signatures of one use can then never serve another.
fn keys(manifest: &Manifest) -> Checked {
    let mut seen = HashSet::new();
    let mut key = |field: &str, key: &VerifyingKey, expected| {
        if key.algorithm() != expected {
            return Err(invalid(field, Problem::Algorithm { expected }));
        }
        if seen.insert(*key.public_key()) {
            Ok(())
        } else {
            Err(invalid(field, Problem::SharedKey))
        }
    };
    for authority in Authority::ALL {
        let keys = manifest.authority(authority);
        key(&format!("authorities.{authority}.log"), &keys.log, Algorithm::Ed25519)?;
        key(&format!("authorities.{authority}.manifest"), &keys.manifest, Algorithm::Ed25519)?;
        let origin = manifest.origin(authority);
        if keys.log.name().as_str() != origin.as_str() {
            let problem = Problem::KeyName { expected: origin.to_string() };
            return Err(invalid(&format!("authorities.{authority}.log"), problem));
        }
    }
    for (index, witness) in manifest.witnesses.iter().enumerate() {
        key(&format!("witnesses[{index}].key"), &witness.key, Algorithm::CosignatureV1)?;
    }
    for (index, gate) in manifest.gates.iter().enumerate() {
        key(&format!("gates[{index}].receipts"), &gate.receipts, Algorithm::Ed25519)?;
    }
    // One that is replaced stands nowhere else: it is in force nowhere.
    for (index, one) in manifest.replaced.iter().enumerate() {
        key(&format!("replaced[{index}].key"), &one.key, one.key.algorithm())?;
    }
    Ok(())
}

fn replaced(manifest: &Manifest) -> Checked {
    length("replaced", manifest.replaced.len(), 0, MAX_LIST)?;
    for (index, one) in manifest.replaced.iter().enumerate() {
        let Some(end) = &one.until else { continue };
        let field = format!("replaced[{index}].until");
        range(&format!("{field}.time"), end.time.millis(), 1, MAX_TIME)?;
        let name = one.key.name().as_str();
        let is_log = Authority::ALL.iter().any(|log| manifest.origin(*log).as_str() == name);
        match (is_log, end.log) {
            (true, None) => {
                let problem = Problem::Missing { what: "log, the last checkpoint that counts" };
                return Err(invalid(&field, problem));
            }
            (false, Some(_)) => {
                let problem = Problem::Unknown { given: name.to_owned() };
                return Err(invalid(&format!("{field}.log"), problem));
            }
            _ => {}
        }
    }
    length("revoked_certificates", manifest.revoked_certificates.len(), 0, MAX_LIST)?;
    let revoked: Vec<_> = manifest.revoked_certificates.iter().map(Hash::to_string).collect();
    unique("revoked_certificates", "", revoked.iter().map(String::as_str))
}

fn witnesses(manifest: &Manifest) -> Checked {
    length("witnesses", manifest.witnesses.len(), 1, MAX_WITNESSES)?;
    for (index, witness) in manifest.witnesses.iter().enumerate() {
        label(&format!("witnesses[{index}].name"), &witness.name)?;
    }
    unique("witnesses", "name", manifest.witnesses.iter().map(|witness| witness.name.as_str()))?;
    for authority in Authority::ALL {
        let witnesses = manifest.witnesses_of(authority).count();
        let quorum = usize::from(manifest.quorum);
        // Two quorums then share a witness, so that no honest witness need cosign two forks for both to count.
        if 2 * quorum <= witnesses || quorum > witnesses {
            let problem = Problem::Quorum { quorum: manifest.quorum, witnesses, authority };
            return Err(invalid("quorum", problem));
        }
    }
    Ok(())
}

fn places(manifest: &Manifest) -> Checked {
    length("venues", manifest.venues.len(), 1, MAX_LIST)?;
    for (index, venue) in manifest.venues.iter().enumerate() {
        code(&format!("venues[{index}].code"), &venue.code)?;
        label(&format!("venues[{index}].name"), &venue.name)?;
    }
    unique("venues", "code", manifest.venues.iter().map(|venue| venue.code.as_str()))?;

    length("staleness_tiers", manifest.staleness_tiers.len(), 1, 100)?;
    for (name, tier) in &manifest.staleness_tiers {
        let field = format!("staleness_tiers.{name}");
        code(&field, name)?;
        // Less than a tick could never be fresh.
        let tick_seconds = u64::from(manifest.tick_millis.div_ceil(1_000));
        let most = u64::from(u32::MAX);
        range(&format!("{field}.fresh_seconds"), tier.fresh_seconds, tick_seconds, most)?;
        range(
            &format!("{field}.limit_seconds"),
            tier.limit_seconds,
            tier.fresh_seconds.into(),
            most,
        )?;
    }
    length("zones", manifest.zones.len(), 1, MAX_LIST)?;
    for (index, zone) in manifest.zones.iter().enumerate() {
        code(&format!("zones[{index}].code"), &zone.code)?;
        label(&format!("zones[{index}].name"), &zone.name)?;
        let known = manifest.staleness_tiers.contains_key(&zone.tier);
        reference(&format!("zones[{index}].tier"), &zone.tier, known)?;
    }
    unique("zones", "code", manifest.zones.iter().map(|zone| zone.code.as_str()))?;

    length("categories", manifest.categories.len(), 0, MAX_LIST)?;
    for (index, category) in manifest.categories.iter().enumerate() {
        label(&format!("categories[{index}]"), category)?;
    }
    unique("categories", "", manifest.categories.iter().map(String::as_str))?;

    length("access_points", manifest.access_points.len(), 0, MAX_LIST)?;
    let venues: HashSet<_> = manifest.venues.iter().map(|venue| venue.code.as_str()).collect();
    let zones: HashSet<_> = manifest.zones.iter().map(|zone| zone.code.as_str()).collect();
    for (index, point) in manifest.access_points.iter().enumerate() {
        let field = format!("access_points[{index}]");
        code(&format!("{field}.id"), &point.id)?;
        reference(&format!("{field}.venue"), &point.venue, venues.contains(&*point.venue))?;
        reference(&format!("{field}.zone"), &point.zone, zones.contains(&*point.zone))?;
    }
    unique("access_points", "id", manifest.access_points.iter().map(|point| point.id.as_str()))
}

fn pseudonyms(manifest: &Manifest) -> Checked {
    let holders = &manifest.share_holders.holders;
    length("share_holders.holders", holders.len(), 2, 255)?;
    let most = u64::try_from(holders.len()).unwrap_or(u64::MAX);
    range("share_holders.threshold", manifest.share_holders.threshold, 2, most)?;
    for (index, holder) in holders.iter().enumerate() {
        let field = format!("share_holders.holders[{index}]");
        let known = manifest.party(&holder.party).is_some();
        reference(&format!("{field}.party"), &holder.party, known)?;
        range(&format!("{field}.index"), holder.index, 1, 255)?;
    }
    let parties = holders.iter().map(|holder| holder.party.as_str());
    unique("share_holders.holders", "party", parties)?;
    let indices: Vec<_> = holders.iter().map(|holder| holder.index.to_string()).collect();
    unique("share_holders.holders", "index", indices.iter().map(String::as_str))?;

    length("quotas", manifest.quotas.len(), 0, MAX_LIST)?;
    for (index, quota) in manifest.quotas.iter().enumerate() {
        let field = format!("quotas[{index}]");
        let holds = manifest.share_holder(&quota.holder).is_some();
        reference(&format!("{field}.holder"), &quota.holder, holds)?;
        let known = manifest.party(&quota.caller).is_some();
        reference(&format!("{field}.caller"), &quota.caller, known)?;
        code(&format!("{field}.purpose"), &quota.purpose)?;
    }
    let quotas: Vec<_> = manifest
        .quotas
        .iter()
        .map(|quota| format!("{} {} {}", quota.holder, quota.caller, quota.purpose))
        .collect();
    unique("quotas", "", quotas.iter().map(String::as_str))
}

/// The audiences whose keys a party's verifiers may receive. The sponsor must never open a gate's records.
fn audiences_of(party: &str) -> &'static [Audience] {
    match party {
        "committee" => &Audience::ALL,
        "police" => &[Audience::Gate, Audience::Police],
        "sponsor" => &[Audience::Sponsor],
        "gate" => &[Audience::Gate],
        _ => &[],
    }
}

fn verifiers(manifest: &Manifest) -> Checked {
    length("verifiers", manifest.verifiers.len(), 0, MAX_LIST)?;
    for (index, verifier) in manifest.verifiers.iter().enumerate() {
        self::verifier(manifest, &format!("verifiers[{index}]"), verifier)?;
    }
    unique("verifiers", "id", manifest.verifiers.iter().map(|verifier| verifier.id.as_str()))
}

fn verifier(manifest: &Manifest, field: &str, verifier: &Verifier) -> Checked {
    let id = format!("{field}.id");
    let Some((party, name)) = verifier.id.split_once('/') else {
        return Err(invalid(&id, Problem::Code { given: verifier.id.clone() }));
    };
    reference(&id, party, manifest.party(party).is_some())?;
    code(&id, name)?;
    let audiences = format!("{field}.audiences");
    length(&audiences, verifier.audiences.len(), 1, Audience::ALL.len())?;
    unique(&audiences, "", verifier.audiences.iter().map(|audience| audience.name()))?;
    let allowed = audiences_of(party);
    if !verifier.audiences.iter().all(|audience| allowed.contains(audience)) {
        return Err(invalid(&audiences, Problem::Audience { party: party.to_owned() }));
    }
    // Who checks badges must not read everyone's receipts.
    if verifier.key == manifest.audit_key {
        return Err(invalid(&format!("{field}.key"), Problem::SharedKey));
    }
    Ok(())
}

fn gates(manifest: &Manifest) -> Checked {
    length("gates", manifest.gates.len(), 0, MAX_LIST)?;
    let points: HashSet<_> = manifest.access_points.iter().map(|point| point.id.as_str()).collect();
    let mut served = HashSet::new();
    for (index, gate) in manifest.gates.iter().enumerate() {
        code(&format!("gates[{index}].name"), &gate.name)?;
        for (number, id) in gate.access_points.iter().enumerate() {
            let field = format!("gates[{index}].access_points[{number}]");
            reference(&field, id, points.contains(id.as_str()))?;
            // Its receipts would be spread over two chains.
            if !served.insert(id.as_str()) {
                return Err(invalid(&field, Problem::Duplicate { given: id.clone() }));
            }
        }
    }
    unique("gates", "name", manifest.gates.iter().map(|gate| gate.name.as_str()))
}

fn invalid(field: &str, problem: Problem) -> ManifestError {
    ManifestError::Invalid { field: field.to_owned(), problem }
}

fn range(field: &str, given: impl Into<u64>, min: u64, max: u64) -> Checked {
    let given = given.into();
    if (min..=max).contains(&given) {
        return Ok(());
    }
    Err(invalid(field, Problem::Range { given, min, max }))
}

fn length(field: &str, given: usize, min: usize, max: usize) -> Checked {
    if (min..=max).contains(&given) {
        return Ok(());
    }
    Err(invalid(field, Problem::Length { given, min, max }))
}

/// What machines read: venues, zones, ids.
fn code(field: &str, given: &str) -> Checked {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=64).contains(&given.len()) && given.bytes().all(is_plain) {
        return Ok(());
    }
    Err(invalid(field, Problem::Code { given: given.to_owned() }))
}

/// What people read: titles and names.
fn label(field: &str, given: &str) -> Checked {
    length(field, given.chars().count(), 1, 200)?;
    if given.trim() != given || given.chars().any(char::is_control) {
        return Err(invalid(field, Problem::Text));
    }
    Ok(())
}

fn reference(field: &str, given: &str, known: bool) -> Checked {
    if known {
        return Ok(());
    }
    Err(invalid(field, Problem::Unknown { given: given.to_owned() }))
}

fn unique<'a>(list: &str, field: &str, values: impl Iterator<Item = &'a str>) -> Checked {
    let mut seen = HashSet::new();
    for (index, value) in values.enumerate() {
        if !seen.insert(value) {
            let dot = if field.is_empty() { "" } else { "." };
            // A repeated certificate is recognised without being printed whole.
            let given = value.chars().take(64).collect();
            let problem = Problem::Duplicate { given };
            return Err(invalid(&format!("{list}[{index}]{dot}{field}"), problem));
        }
    }
    Ok(())
}

/// The frame of PEM only: the TLS library parses what is inside.
fn is_pem_certificate(text: &str) -> bool {
    text.len() <= MAX_PEM_BYTES
        && text.starts_with("-----BEGIN CERTIFICATE-----")
        && text.trim_end().ends_with("-----END CERTIFICATE-----")
        && !text.contains("PRIVATE KEY")
}
