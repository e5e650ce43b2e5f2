//! Making an event on one machine: the plan, free addresses, every step of the ceremony.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use lanyard_ceremony::{Addresses, EventPlan, EventTree, Member, init_all};
use lanyard_env::Env;
use lanyard_party::TomlError;

use crate::error::CliError;

/// The plan of the event that is made when none is given.
pub const SAMPLE_PLAN: &str = include_str!("../samples/event.toml");

/// Reads a plan; without a path, the sample's.
///
/// # Errors
/// [`CliError::Toml`] names file, line and column.
pub fn plan(env: &Env, path: Option<&Path>) -> Result<EventPlan, TomlError> {
    match path {
        Some(path) => EventPlan::read(&*env.files, path),
        None => EventPlan::parse(Path::new("the sample plan"), SAMPLE_PLAN),
    }
}

/// A free loopback address for each member that runs a service.
///
/// Nobody is kept from taking one before its service starts; the service then says so.
///
/// # Errors
/// [`CliError::Io`] if the machine has none left.
pub fn free_addresses(plan: &EventPlan) -> Result<Addresses, CliError> {
    let failed = |source| CliError::Io { action: "find a free port on 127.0.0.1", source };
    // All are held until all are known, so that none is given twice.
    let mut held: BTreeMap<Member, TcpListener> = BTreeMap::new();
    for member in serving(plan) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        held.insert(member, listener);
    }
    held.into_iter()
        .map(|(member, listener)| Ok((member, listener.local_addr().map_err(failed)?)))
        .collect()
}

/// An address for each member that runs a service: ports of 127.0.0.1 from `first` on, in the plan's order.
///
/// # Errors
/// [`CliError::Option`] if the ports do not suffice.
pub fn addresses_from(plan: &EventPlan, first: u16) -> Result<Addresses, CliError> {
    let mut port = Some(first);
    serving(plan)
        .into_iter()
        .map(|member| {
            let taken = port.ok_or_else(|| {
                CliError::option(
                    "--port",
                    "the ports from there on do not suffice; give a lower one",
                )
            })?;
            port = taken.checked_add(1);
            Ok((member, SocketAddr::from((Ipv4Addr::LOCALHOST, taken))))
        })
        .collect()
}

fn serving(plan: &EventPlan) -> Vec<Member> {
    let mut members = plan.members();
    members.retain(|member| member.service().is_some());
    members
}

/// Makes an event under `dir`; an interrupted run is resumed. `progress` hears of each step. Blocks for some seconds.
///
/// # Errors
/// [`CliError::Ceremony`].
pub fn create(
    env: &Env,
    dir: &Path,
    plan: &EventPlan,
    addresses: &Addresses,
    passphrase: &str,
    progress: impl FnMut(&Member, &'static str),
) -> Result<EventTree, CliError> {
    Ok(init_all(env, dir, plan, addresses, passphrase, progress)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_of_the_sample_gets_an_address_of_its_own() {
        let plan = plan(&Env::system(), None).unwrap();
        let addresses = free_addresses(&plan).unwrap();
        assert_eq!(addresses.len(), 5);
        assert!(addresses.keys().all(|member| member.service().is_some()));
        let ports: std::collections::BTreeSet<u16> =
            addresses.values().map(SocketAddr::port).collect();
        assert_eq!(ports.len(), 5);
        let fixed = addresses_from(&plan, 7_001).unwrap();
        assert_eq!(fixed[&Member::Committee].port(), 7_001);
        assert!(addresses_from(&plan, 65_533).is_err());
    }
}
