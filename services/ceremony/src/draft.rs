//! The manifest of a plan and of the members' public keys.

use std::collections::BTreeMap;

use jiff::tz::TimeZoneDatabase;
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::hpke_box::{HpkePublicKey, HpkeSecretKey};
use lanyard_core::ids::{Audience, Hash, Timestamp};
use lanyard_core::manifest::{
    Authorities, AuthorityKeys, EpochPlan, Gate, KeyEnd, Manifest, Party, ReplacedKey, ShareHolder,
    ShareHolders, Verifier, Witness,
};
use lanyard_core::note::{KeyName, NoteError, SigningKey, VerifyingKey};
use lanyard_transport::PartyName;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::announcement::Announcement;
use crate::error::CeremonyError;
use crate::member::Member;
use crate::plan::{EventPlan, PlanError};

/// All members' announcements.
pub(crate) type Known = BTreeMap<Member, Announcement>;

/// What a manifest has beside plan and keys.
pub(crate) struct Place {
    pub(crate) version: u32,
    pub(crate) previous: Option<Hash>,
    pub(crate) epochs: EpochPlan,
}

/// A key that a member should have announced and did not.
pub(crate) struct Missing {
    pub(crate) member: Member,
    pub(crate) what: &'static str,
}

/// The manifest, not validated.
pub(crate) fn manifest(plan: &EventPlan, known: &Known, place: Place) -> Result<Manifest, Missing> {
    let keys = Keys(known);
    let authority = |member| {
        Ok(AuthorityKeys {
            log: keys.take(&member, "log key", |a| a.log.clone())?,
            manifest: keys.take(&member, "manifest key", |a| a.manifest.clone())?,
        })
    };
    let witnesses = plan.witnesses.iter().map(|member| {
        let key = keys.take(member, "witness key", |a| a.witness.clone())?;
        Ok(Witness { name: member.name().to_owned(), key })
    });
    let foreign = plan
        .foreign_witnesses
        .iter()
        .map(|witness| Ok(Witness { name: witness.name.clone(), key: witness.key.clone() }));
    let holders = plan
        .holders()
        .iter()
        .zip(1..)
        .map(|(member, index)| ShareHolder { party: member.name().to_owned(), index });
    let gates = plan.gates.iter().map(|gate| {
        let member = Member::Gate(gate.name.clone());
        Ok(Gate {
            name: gate.name.to_string(),
            receipts: keys.take(&member, "receipts key", |a| a.receipts.clone())?,
            access_points: gate.access_points.clone(),
        })
    });
    let parties = PartyName::ALL
        .iter()
        .filter(|party| !plan.withdrawn.contains(&Member::authority_of(**party)))
        .map(|party| keys.party(*party));
    Ok(Manifest {
        version: place.version,
        previous: place.previous,
        event: plan.event.clone(),
        title: plan.title.clone(),
        time_zone: plan.time_zone.clone(),
        epochs: place.epochs,
        tick_millis: plan.tick_millis,
        skew_millis: plan.skew_millis,
        padding: plan.padding.clone(),
        parties: parties.collect::<Result<_, _>>()?,
        authorities: Authorities {
            committee: authority(Member::Committee)?,
            police: authority(Member::Police)?,
        },
        witnesses: witnesses.chain(foreign).collect::<Result<_, _>>()?,
        quorum: plan.quorum,
        venues: plan.venues.clone(),
        zones: plan.zones.clone(),
        staleness_tiers: plan.staleness_tiers.clone(),
        categories: plan.categories.clone(),
        access_points: plan.access_points.clone(),
        share_holders: ShareHolders {
            threshold: plan.share_holders.threshold,
            holders: holders.collect(),
        },
        quotas: plan.quotas.clone(),
        verifiers: keys.verifiers(plan)?,
        gates: gates.collect::<Result<_, _>>()?,
        audit_key: keys.take(&Member::Police, "audit key", |a| a.audit.clone())?,
        screening: plan.screening.clone(),
        replaced: keys.replaced(plan)?,
        revoked_certificates: plan.revoked_certificates.clone(),
    })
}

struct Keys<'a>(&'a Known);

impl Keys<'_> {
    fn take<T>(
        &self,
        member: &Member,
        what: &'static str,
        take: impl FnOnce(&Announcement) -> Option<T>,
    ) -> Result<T, Missing> {
        let found = self.0.get(member).and_then(take);
        found.ok_or_else(|| Missing { member: member.clone(), what })
    }

    fn party(&self, party: PartyName) -> Result<Party, Missing> {
        let certificate_authority_pem =
            self.take(&Member::authority_of(party), "certificate authority", |a| {
                a.certificate_authority_pem.clone()
            })?;
        Ok(Party { name: party.to_string(), certificate_authority_pem })
    }

    /// Keys of expelled gates, and those that members replaced.
    fn replaced(&self, plan: &EventPlan) -> Result<Vec<ReplacedKey>, Missing> {
        let expelled = plan.expelled.iter().map(|expelled| {
            let member = Member::Gate(expelled.gate.clone());
            let key = self.take(&member, "receipts key", |a| a.receipts.clone())?;
            let until = Some(KeyEnd { time: expelled.since, log: None });
            Ok(ReplacedKey { key, until })
        });
        let members = plan.members();
        let replaced = members.iter().filter_map(|member| Some(&self.0.get(member)?.replaced));
        expelled.chain(replaced.flatten().cloned().map(Ok)).collect()
    }

    fn verifiers(&self, plan: &EventPlan) -> Result<Vec<Verifier>, Missing> {
        let gates = plan.gates.iter().map(|gate| Member::Gate(gate.name.clone()));
        [Member::Police, Member::Sponsor]
            .into_iter()
            .filter(|member| !plan.withdrawn.contains(member))
            .chain(gates)
            .map(|member| {
                let key = self.take(&member, "HPKE key", |a| a.hpke.clone())?;
                let audiences = vec![audience(&member)];
                Ok(Verifier { id: verifier_id(&member), audiences, key })
            })
            .collect()
    }
}

/// Whose records a member may open.
const fn audience(member: &Member) -> Audience {
    match member {
        Member::Police => Audience::Police,
        Member::Sponsor => Audience::Sponsor,
        _ => Audience::Gate,
    }
}

/// A member's id as a verifier, for example `gate/gate-1`.
pub(crate) fn verifier_id(member: &Member) -> String {
    format!("{}/{member}", member.party())
}

/// The last midnight of the event's time zone.
pub(crate) fn last_midnight(plan: &EventPlan, now: Timestamp) -> Result<Timestamp, CeremonyError> {
    let zone = TimeZoneDatabase::bundled().get(plan.time_zone.name())?;
    let now = i64::try_from(now.millis()).unwrap_or(i64::MAX);
    let midnight =
        jiff::Timestamp::from_millisecond(now)?.to_zoned(zone).start_of_day()?.timestamp();
    Ok(Timestamp::from_millis(u64::try_from(midnight.as_millisecond()).unwrap_or(0)))
}

/// Validates a plan as the manifest that it will become, with keys that stand in for the members'.
pub(crate) fn check(plan: &EventPlan) -> Result<(), PlanError> {
    let known = stand_ins(plan).map_err(lanyard_core::manifest::ManifestError::from)?;
    let place = Place {
        version: 1,
        previous: None,
        epochs: EpochPlan {
            first: plan.epochs.first,
            starts_at: Timestamp::from_seconds(1),
            length_minutes: plan.epochs.length_minutes,
            publish_lead_minutes: plan.epochs.publish_lead_minutes,
        },
    };
    match manifest(plan, &known, place) {
        Ok(manifest) => Ok(manifest.to_text().map(drop)?),
        Err(Missing { member, what }) => Err(PlanError::NotAble { field: what, member }),
    }
}

/// Announcements of keys that nobody has: a plan can be checked before anyone has drawn theirs.
fn stand_ins(plan: &EventPlan) -> Result<Known, NoteError> {
    // Public on purpose: nothing is ever signed with or sealed to them.
    let mut rng = StdRng::from_seed(*b"stand-ins for keys; not secrets.");
    let hpke = HpkeSecretKey::generate(&mut rng).public_key();
    let audit: HpkePublicKey = HpkeSecretKey::generate(&mut rng).public_key();
    let mut key = |name: String| -> Result<VerifyingKey, NoteError> {
        let name = KeyName::parse(&format!("lanyard/{}/{name}", plan.event))?;
        Ok(SigningKey::generate(name, &mut rng).verifying_key().clone())
    };
    let mut known = Known::new();
    for member in plan.known_members() {
        let mut announcement = Announcement::new(&member, key(format!("ceremony/{member}"))?);
        announcement.certificate_authority_pem =
            Some(format!("-----BEGIN CERTIFICATE-----\n{member}\n-----END CERTIFICATE-----\n"));
        announcement.log = Some(key(member.to_string())?);
        announcement.manifest = Some(key(format!("{member}/manifest"))?);
        announcement.receipts = Some(key(format!("gate/{member}/receipts"))?);
        announcement.hpke = Some(hpke.clone());
        announcement.audit = Some(audit.clone());
        known.insert(member, announcement);
    }
    for (member, announcement) in &mut known {
        let name = KeyName::parse(&format!("lanyard/{}/witness/{member}", plan.event))?;
        announcement.witness = Some(WitnessKey::generate(name, &mut rng).verifying_key().clone());
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_plan;

    #[test]
    fn epochs_start_at_midnight_of_the_event() {
        let mut plan = test_plan();
        // 2027-03-28: Zurich's clocks jump from 02:00 to 03:00.
        let noon = Timestamp::from_seconds(1_806_228_000);
        for (zone, seconds) in [("Europe/Zurich", 1_806_188_400), ("Asia/Tokyo", 1_806_159_600)] {
            plan.time_zone = zone.to_owned().try_into().unwrap();
            let midnight = last_midnight(&plan, noon).unwrap();
            assert_eq!(midnight, Timestamp::from_seconds(seconds), "{zone}");
            assert_eq!(last_midnight(&plan, midnight).unwrap(), midnight);
        }
    }

    #[test]
    fn a_plan_is_checked_before_there_are_keys() {
        assert_eq!(check(&test_plan()), Ok(()));
        let mut plan = test_plan();
        plan.zones[1].tier = "nowhere".to_owned();
        let error = plan.check().unwrap_err().to_string();
        assert!(error.contains("zones[1].tier"), "{error}");
        let mut plan = test_plan();
        plan.quorum = 1;
        assert!(plan.check().unwrap_err().to_string().contains("quorum"));
        let mut plan = test_plan();
        plan.share_holders.holders[0] = Member::GateAuthority;
        assert!(matches!(plan.check(), Err(PlanError::NotAble { .. })));
    }
}
