//! `config.toml` of each member that runs a service.
//!
//! The ceremony makes it once. From then on it is its operators', who edit it: a later step changes what it must and leaves all
//! else, comments too, as it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lanyard_env::Mode;
use serde::Serialize;

use crate::config_file::ConfigFile;
use crate::error::{CeremonyError, Step};
use crate::member::Member;
use crate::plan::EventPlan;
use crate::seat::Seat;

/// Where each member's service listens, by name.
pub type Addresses = BTreeMap<Member, SocketAddr>;

/// A member in whose `config.toml` another was named that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconfigured {
    /// Whose file it is.
    pub member: Member,
    /// Whether it followed nobody else: the file names other upstreams, which its service takes at its next start.
    pub has_other_upstreams: bool,
}

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

/// What no address is known for, and no operator should miss.
const TELEMETRY: &str = "# Metrics and health, off without: telemetry = \"127.0.0.1:9101\"\n";

impl Seat {
    /// Writes the member's `config.toml`. In one that is there, `listen`, the peers' addresses and what the plan says (a gate's
    /// access points and upstreams, an authority's witnesses) are set, and who is no member any more is taken out.
    ///
    /// # Errors
    /// [`CeremonyError::NoAddress`], [`CeremonyError::NotForMember`] for the gates' authority, [`CeremonyError::Toml`] if the
    /// file that is there is malformed, and others.
    pub fn write_config(
        &self,
        plan: &EventPlan,
        addresses: &Addresses,
    ) -> Result<Step, CeremonyError> {
        self.only_for("write a configuration", self.member.service().is_some())?;
        let config = self.config(plan, addresses)?;
        let path = self.folder.config_path();
        let Some(mut file) = ConfigFile::read(self.files(), &path)? else {
            let body =
                toml::to_string(&config).map_err(|error| CeremonyError::state(&path, error))?;
            let text = format!(
                "# {} of {}. Unknown fields are refused.\n{TELEMETRY}{body}",
                self.member, plan.event
            );
            self.files().write_atomic(&path, text.as_bytes(), Mode::Private)?;
            return Ok(Step::Done);
        };
        config.leave_out_others(&mut file, plan);
        file.set_text("listen", &config.listen.to_string());
        for (name, address) in &config.peers {
            file.set_entry("peers", name, &address.to_string());
        }
        if let (Member::Gate(_), Some(upstreams)) = (&self.member, &config.upstreams) {
            file.set_names("upstreams", upstreams);
        }
        if let Some(access_points) = &config.access_points {
            file.set_names("access_points", access_points);
        }
        if let Some(witnesses) = &config.witnesses {
            file.retain_entries("witnesses", |name, _| witnesses.contains_key(name));
            for (name, place) in witnesses {
                file.set_entry("witnesses", name, place);
            }
        }
        file.write(self.files())
    }

    /// Takes whoever is no member any more out of the member's `config.toml`. If nobody but gates is left among the upstreams
    /// then, those of the plan come after them, with their addresses. Nothing if nobody has to go.
    ///
    /// # Errors
    /// As [`Seat::write_config`].
    pub(crate) fn leave_out_of_config(
        &self,
        plan: &EventPlan,
        addresses: &Addresses,
    ) -> Result<Option<Reconfigured>, CeremonyError> {
        let path = self.folder.config_path();
        let Some(mut file) = ConfigFile::read(self.files(), &path)? else { return Ok(None) };
        let has_other_upstreams = self.config(plan, addresses)?.leave_out_others(&mut file, plan);
        let member = self.member.clone();
        let is_changed = file.write(self.files())? == Step::Done;
        Ok(is_changed.then_some(Reconfigured { member, has_other_upstreams }))
    }

    fn config(&self, plan: &EventPlan, addresses: &Addresses) -> Result<Config, CeremonyError> {
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
        Ok(config)
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

impl Config {
    /// Takes members that the plan does not have out of a file. This is what it would be, made anew. Whether it has other
    /// upstreams then.
    fn leave_out_others(&self, file: &mut ConfigFile, plan: &EventPlan) -> bool {
        let members = plan.members();
        let is_gone =
            |name: &str| name.parse::<Member>().is_ok_and(|member| !members.contains(&member));
        file.retain_entries("peers", |name, _| !is_gone(name));
        file.retain_entries("witnesses", |name, place| !is_gone(name) && !is_gone(place));
        if !file.retain_names("upstreams", |name| !is_gone(name)) {
            return false;
        }
        let is_gate = |name: &str| matches!(name.parse(), Ok(Member::Gate(_)));
        // Gates may only follow each other, or the one that is gone; the plan's list was checked to lead to an authority.
        if file.names("upstreams").iter().any(|name| !is_gate(name)) {
            return false;
        }
        let mut is_added = false;
        for name in self.upstreams.iter().flatten() {
            is_added |= file.add_name("upstreams", name);
            if let Some(address) = self.peers.get(name)
                && !file.has_entry("peers", name)
            {
                file.set_entry("peers", name, &address.to_string());
            }
        }
        is_added
    }
}

fn names(members: &[Member]) -> Vec<String> {
    members.iter().map(Member::to_string).collect()
}

fn address<'a>(addresses: &'a Addresses, member: &Member) -> Result<&'a SocketAddr, CeremonyError> {
    addresses.get(member).ok_or_else(|| CeremonyError::NoAddress { member: member.to_string() })
}
