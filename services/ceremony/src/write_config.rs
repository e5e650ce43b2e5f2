//! `config.toml` of each member that runs a service.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lanyard_env::Mode;
use serde::Serialize;

use crate::error::{CeremonyError, Step};
use crate::member::Member;
use crate::plan::EventPlan;
use crate::seat::Seat;

/// Where each member's service listens, by name.
pub type Addresses = BTreeMap<Member, SocketAddr>;

/// The file as services read it: the common fields and those of their own section.
#[derive(Serialize)]
struct Config {
    name: String,
    listen: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstreams: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_points: Option<Vec<String>>,
    peers: BTreeMap<String, SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    witnesses: Option<BTreeMap<String, String>>,
}

impl Seat {
    /// Writes the member's `config.toml`, replacing an old one.
    ///
    /// # Errors
    /// [`CeremonyError::NoAddress`], [`CeremonyError::NotForMember`] for the gates' authority, and others.
    pub fn write_config(
        &self,
        plan: &EventPlan,
        addresses: &Addresses,
    ) -> Result<Step, CeremonyError> {
        self.only_for("write a configuration", self.member.service().is_some())?;
        let text = self.config(plan, addresses)?;
        let path = self.folder.config_path();
        if self.files().read_if_exists(&path)?.as_deref() == Some(text.as_bytes()) {
            return Ok(Step::AlreadyDone);
        }
        self.files().write_atomic(&path, text.as_bytes(), Mode::Private)?;
        Ok(Step::Done)
    }

    fn config(&self, plan: &EventPlan, addresses: &Addresses) -> Result<String, CeremonyError> {
        let mut config = Config {
            name: self.member.name().to_owned(),
            listen: *address(addresses, &self.member)?,
            store: None,
            upstreams: None,
            access_points: None,
            peers: BTreeMap::new(),
            witnesses: None,
        };
        let mut peers: Vec<Member> = Vec::new();
        match &self.member {
            Member::Committee | Member::Police => {
                let other = match self.member {
                    Member::Committee => Member::Police,
                    _ => Member::Committee,
                };
                config.store = Some(format!("sqlite://data/{}.db", self.member));
                // The sponsor has both feeds and spares the other authority the work.
                let upstreams = [Member::Sponsor, other];
                let upstreams: Vec<_> =
                    upstreams.into_iter().filter(|one| !plan.withdrawn.contains(one)).collect();
                config.upstreams = Some(names(&upstreams));
                config.witnesses = Some(self.witnesses(plan));
                let serving = Member::FIXED.into_iter().filter(|member| {
                    member.service().is_some() && !plan.withdrawn.contains(member)
                });
                peers.extend(serving);
            }
            Member::Sponsor => {
                config.upstreams = Some(names(&[Member::Committee, Member::Police]));
                peers.extend([Member::Committee, Member::Police]);
            }
            Member::Gate(name) => {
                let gate = plan.gate(name)?;
                config.upstreams = Some(names(&gate.upstreams));
                config.access_points = Some(gate.access_points.clone());
                peers.extend(gate.upstreams.iter().cloned());
            }
            Member::Trustee | Member::GateAuthority => {}
        }
        for peer in peers.into_iter().filter(|peer| *peer != self.member) {
            config.peers.insert(peer.name().to_owned(), *address(addresses, &peer)?);
        }
        let body = toml::to_string(&config)
            .map_err(|error| CeremonyError::state(&self.folder.config_path(), error))?;
        Ok(format!("# {} of {}. Unknown fields are refused.\n{body}", self.member, plan.event))
    }

    /// Who witnesses this authority's log: the name in the manifest, then the peer or the URL.
    fn witnesses(&self, plan: &EventPlan) -> BTreeMap<String, String> {
        let members = plan.witnesses.iter().filter(|witness| **witness != self.member);
        members
            .map(|member| (member.to_string(), member.to_string()))
            .chain(plan.foreign_witnesses.iter().map(|w| (w.name.clone(), w.url.clone())))
            .collect()
    }
}

fn names(members: &[Member]) -> Vec<String> {
    members.iter().map(Member::to_string).collect()
}

fn address<'a>(addresses: &'a Addresses, member: &Member) -> Result<&'a SocketAddr, CeremonyError> {
    addresses.get(member).ok_or_else(|| CeremonyError::NoAddress { member: member.to_string() })
}
