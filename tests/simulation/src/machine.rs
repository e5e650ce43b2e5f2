//! The machines: each a turmoil host with a disk and a clock of its own, running the real service of its member.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_ceremony::Member;
use lanyard_core::ids::Authority;
use lanyard_env::{Env, SeededEntropy};
use lanyard_liar::{Liar, Mode};
use lanyard_party::{PartyConfig, chain};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::clock::MachineClock;
use crate::disk::SimDisk;
use crate::event::{LIAR_PORT, TICK_MILLIS};
use crate::network::Wires;
use crate::op::Lie;
use crate::shared::Shared;

/// A machine and what is in it.
#[derive(Clone)]
pub(crate) struct Machine {
    /// Its name, which is its member's.
    pub(crate) name: &'static str,
    /// Whose service runs on it.
    pub(crate) member: Member,
    /// The member's folder, on the disk and, for SQLite alone, on the real one.
    pub(crate) folder: PathBuf,
    /// Its disk.
    pub(crate) disk: SimDisk,
    /// Its clock.
    pub(crate) clock: MachineClock,
}

impl Machine {
    /// What is on its disk for certain in a folder of its data.
    #[must_use]
    pub(crate) fn contents(&self, folder: &str) -> Vec<Vec<u8>> {
        self.disk.backup(&self.folder.join("data").join(folder)).contents()
    }

    /// The world as a service on it sees it. Each start has randomness of its own.
    #[must_use]
    pub(crate) fn env(&self, wires: &Wires, seed: u64, start: u64) -> Env {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        bytes[8..16].copy_from_slice(&start.to_be_bytes());
        let name = self.name.as_bytes();
        bytes[16..16 + name.len().min(16)].copy_from_slice(&name[..name.len().min(16)]);
        Env {
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(bytes)),
            network: Arc::new(wires.clone()),
            files: Arc::new(self.disk.clone()),
        }
    }
}

/// Runs a member's service until its machine stops.
///
/// # Errors
/// Why it ended by itself.
pub(crate) async fn serve(member: &Member, folder: &Path, env: Env) -> Result<(), String> {
    let config = folder.join("config.toml");
    let never = CancellationToken::new();
    match member {
        Member::Committee => {
            lanyard_committee::serve(read(&env, &config)?, env, never).await.map_err(text)
        }
        Member::Police => {
            lanyard_police::serve(read(&env, &config)?, env, never).await.map_err(text)
        }
        Member::Sponsor => {
            lanyard_sponsor::serve(read(&env, &config)?, env, never).await.map_err(text)
        }
        Member::Trustee => {
            lanyard_trustee::serve(read(&env, &config)?, env, never).await.map_err(text)
        }
        Member::Gate(_) => {
            lanyard_gate::serve(read(&env, &config)?, env, never).await.map_err(text)
        }
        Member::GateAuthority => Err("the gates' authority runs no service".to_owned()),
    }
}

/// Runs the mirror that may lie, as the course says.
///
/// # Errors
/// Why it does not run.
pub(crate) async fn lie(
    shared: &Shared,
    sponsor: &Path,
    env: Env,
    upstream: &str,
) -> Result<(), String> {
    let listen = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, LIAR_PORT));
    let liar = Liar::start(&env, sponsor, ("sponsor", upstream), listen).await.map_err(text)?;
    loop {
        for authority in Authority::ALL {
            liar.set_mode(authority, mode(shared.ledger().links.lie(authority)));
        }
        tokio::time::sleep(std::time::Duration::from_millis(TICK_MILLIS / 4)).await;
    }
}

const fn mode(lie: Lie) -> Mode {
    match lie {
        Lie::Honest => Mode::Honest,
        Lie::Forge => Mode::ForgeRecord,
        Lie::Omit => Mode::OmitChange,
        Lie::RollBack => Mode::RollBack,
        Lie::OtherRows => Mode::OtherRows,
        Lie::Garbage => Mode::Garbage,
        Lie::Stall => Mode::Stall,
        Lie::Withhold => Mode::Withhold,
    }
}

fn read<S: DeserializeOwned>(env: &Env, config: &Path) -> Result<PartyConfig<S>, String> {
    PartyConfig::read(&*env.files, config).map_err(text)
}

fn text(error: impl std::error::Error) -> String {
    chain(&error)
}
