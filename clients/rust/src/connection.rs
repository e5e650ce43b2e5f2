//! Acting as a person or desk of a party.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lanyard_core::manifest::VerifiedManifest;
use lanyard_env::Env;
use lanyard_party::{
    CommonConfig, Folder, ManifestStore, PartyConfig, Peers, expected, trust_anchors,
};
use lanyard_transport::{Expected, PartyName, PeerId, Role, Tls, connect, connect_within};
use lanyard_wire::committee::v1::badge_service_client::BadgeServiceClient;
use lanyard_wire::committee::v1::desk_service_client::DeskServiceClient as CommitteeDeskClient;
use lanyard_wire::committee::v1::disclosure_service_client::DisclosureServiceClient;
use lanyard_wire::committee::v1::enrolment_service_client::EnrolmentServiceClient;
use lanyard_wire::epoch::v1::epoch_service_client::EpochServiceClient;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;
use lanyard_wire::police::v1::case_service_client::CaseServiceClient;
use lanyard_wire::police::v1::desk_service_client::DeskServiceClient as PoliceDeskClient;
use lanyard_wire::police::v1::subject_service_client::SubjectServiceClient;
use lanyard_wire::police::v1::watchlist_service_client::WatchlistServiceClient;
use lanyard_wire::pseudonym::v1::key_share_service_client::KeyShareServiceClient;
use lanyard_wire::sponsor::v1::desk_service_client::DeskServiceClient as SponsorDeskClient;
use lanyard_wire::staff::v1::staff_service_client::StaffServiceClient;
use tonic::transport::Channel;

use crate::error::ClientError;

/// How long a call may take that sends a whole file before it is answered.
const FILE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// One person or desk, with the certificate in the party's folder, and the services that they may call.
///
/// Clients connect when first used and again when the connection is lost; making one costs nothing but a handshake
/// later, so keep a client for many calls.
pub struct Connection {
    env: Env,
    folder: Folder,
    config: CommonConfig,
    manifest: Arc<VerifiedManifest>,
    tls: Tls,
    address: String,
}

impl Connection {
    /// Acts as `name` with the first of `roles` for which the folder has a certificate; without a name, as the only
    /// one who has such a role.
    ///
    /// # Errors
    /// [`ClientError`]; it names what is missing in the folder.
    pub fn open(
        env: &Env,
        folder: &Path,
        roles: &[Role],
        name: Option<&str>,
    ) -> Result<Self, ClientError> {
        let folder = Folder::open(folder, env);
        // The party's own section does not matter here.
        let config = PartyConfig::<toml::Table>::read(&*env.files, &folder.config_path())?.common;
        let manifest = ManifestStore::open(&folder)?.current();
        let (role, name) = person(&folder, roles, name)?;
        let identity = folder.operator_identity(role, &name)?;
        let tls = Tls::new(env, identity, trust_anchors(&manifest)?);
        let mut address = config.listen;
        if address.ip().is_unspecified() {
            // A service that listens everywhere listens here too.
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        let address = address.to_string();
        Ok(Self { env: env.clone(), folder, config, manifest, tls, address })
    }

    /// Reaches the party's own service at `HOST:PORT` instead of where `config.toml` says that it listens.
    #[must_use]
    pub fn at(mut self, address: String) -> Self {
        self.address = address;
        self
    }

    /// Refuses another party's folder.
    ///
    /// # Errors
    /// [`ClientError::OtherParty`].
    pub fn require(self, expected: PartyName) -> Result<Self, ClientError> {
        let found = self.party();
        if found == expected {
            return Ok(self);
        }
        Err(ClientError::OtherParty { folder: self.folder.path().to_owned(), found, expected })
    }

    /// Who acts.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.tls.identity().peer()
    }

    /// Their party.
    #[must_use]
    pub fn party(&self) -> PartyName {
        self.peer().party()
    }

    /// The newest manifest that the party has adopted.
    #[must_use]
    pub const fn manifest(&self) -> &Arc<VerifiedManifest> {
        &self.manifest
    }

    /// The party's folder.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The environment.
    #[must_use]
    pub const fn env(&self) -> &Env {
        &self.env
    }

    /// Where the party's own service is reached.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A channel to the party's own service.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub fn own_channel(&self) -> Result<Channel, ClientError> {
        Ok(connect(&self.env, &self.tls, &self.address, &self.own_service())?)
    }

    /// A channel to another party's service, by its name in `[peers]`.
    ///
    /// # Errors
    /// [`ClientError::Peer`].
    pub fn channel(&self, peer: &str) -> Result<Channel, ClientError> {
        if peer == self.config.name {
            return self.own_channel();
        }
        Ok(Peers::new(&self.env, &self.tls, &self.config).channel(peer)?)
    }

    /// A channel to a party's service (`committee`, `gate-1`) at an address that `config.toml` does not have.
    ///
    /// # Errors
    /// [`ClientError::Peer`], [`ClientError::Connect`].
    pub fn channel_at(&self, peer: &str, address: &str) -> Result<Channel, ClientError> {
        Ok(connect(&self.env, &self.tls, address, &expected(peer)?)?)
    }

    /// As [`Connection::own_channel`], for calls that send a whole file before they are answered.
    fn file_channel(&self) -> Result<Channel, ClientError> {
        let (env, tls) = (&self.env, &self.tls);
        Ok(connect_within(env, tls, &self.address, &self.own_service(), FILE_TIMEOUT)?)
    }

    fn own_service(&self) -> Expected {
        // Of gates there are several; of the other parties one.
        match self.party() {
            PartyName::Gate => Expected::named(PartyName::Gate, &self.config.name),
            party => Expected::party(party),
        }
    }
}

macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident($channel:ident) -> $client:ident;)*) => {
        impl Connection {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`ClientError::Connect`].
                pub fn $name(&self) -> Result<$client<Channel>, ClientError> {
                    Ok($client::new(self.$channel()?))
                }
            )*
        }
    };
}

clients! {
    /// The committee's enrolment; its calls may take as long as a large file does.
    enrolment(file_channel) -> EnrolmentServiceClient;
    /// The committee's badges; its calls may take as long as a large file does.
    badges(file_channel) -> BadgeServiceClient;
    /// What the police ask the committee to disclose.
    disclosures(own_channel) -> DisclosureServiceClient;
    /// The committee's desk.
    committee_desk(own_channel) -> CommitteeDeskClient;
    /// The police's watchlists; its calls may take as long as a large file does.
    watchlists(file_channel) -> WatchlistServiceClient;
    /// The police's subjects.
    subjects(own_channel) -> SubjectServiceClient;
    /// The police's cases.
    cases(own_channel) -> CaseServiceClient;
    /// The police's own staff; its calls may take as long as a large file does.
    staff(file_channel) -> StaffServiceClient;
    /// The police's desk.
    police_desk(own_channel) -> PoliceDeskClient;
    /// The sponsor's desk.
    sponsor_desk(own_channel) -> SponsorDeskClient;
    /// The gate.
    gate(own_channel) -> GateServiceClient;
    /// The authority's epochs out of turn.
    epochs(own_channel) -> EpochServiceClient;
    /// The party's own share of the pseudonym key.
    key_share(own_channel) -> KeyShareServiceClient;
}

impl Connection {
    /// The directories that another party, or this one, serves; by its name in `[peers]`.
    ///
    /// # Errors
    /// [`ClientError::Peer`], [`ClientError::Connect`].
    pub fn feed(&self, peer: &str) -> Result<FeedServiceClient<Channel>, ClientError> {
        Ok(FeedServiceClient::new(self.channel(peer)?))
    }
}

/// Who acts: role and name of a certificate in the folder.
fn person(
    folder: &Folder,
    roles: &[Role],
    name: Option<&str>,
) -> Result<(Role, String), ClientError> {
    let dir = folder.operators_dir();
    let files = folder.files();
    let names = if files.exists(&dir)? { files.list(&dir)? } else { Vec::new() };
    let people: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".pem")).collect();
    for role in roles {
        let prefix = format!("{role}-");
        let having: Vec<&str> =
            people.iter().filter_map(|person| person.strip_prefix(&prefix)).collect();
        match (name, having.as_slice()) {
            (Some(name), having) if having.contains(&name) => return Ok((*role, name.to_owned())),
            (Some(_), _) | (None, []) => {}
            (None, [only]) => return Ok((*role, (*only).to_owned())),
            (None, several) => {
                let names = several.iter().map(|name| (*name).to_owned()).collect();
                return Err(ClientError::Several { folder: dir, names });
            }
        }
    }
    let (folder, roles) = (dir, roles.to_vec());
    Err(match name {
        None => ClientError::Nobody { folder, roles },
        Some(name) => {
            let names = people.iter().map(|person| (*person).to_owned()).collect();
            ClientError::Unknown { folder, name: name.to_owned(), roles, names }
        }
    })
}

#[cfg(test)]
mod tests {
    use lanyard_env::Mode;

    use super::*;

    fn folder(people: &[&str]) -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::system();
        let folder = Folder::open(dir.path(), &env);
        env.files.create_dir_all(&folder.operators_dir()).unwrap();
        for person in people {
            for extension in ["pem", "key"] {
                let path = folder.operators_dir().join(format!("{person}.{extension}"));
                env.files.write_atomic(&path, b"", Mode::Private).unwrap();
            }
        }
        (dir, folder)
    }

    #[test]
    fn the_first_role_that_somebody_has_is_taken() {
        let (_dir, folder) = folder(&["operator-anna", "desk-desk", "scanner-s.1"]);
        let found = person(&folder, &[Role::Desk, Role::Operator], None).unwrap();
        assert_eq!(found, (Role::Desk, "desk".to_owned()));
        let found = person(&folder, &[Role::Desk, Role::Operator], Some("anna")).unwrap();
        assert_eq!(found, (Role::Operator, "anna".to_owned()));
        assert_eq!(person(&folder, &[Role::Scanner], None).unwrap().1, "s.1");
    }

    #[test]
    fn who_is_missing_or_ambiguous_is_named() {
        let (_dir, folder) = folder(&["operator-anna", "operator-ben"]);
        let several = person(&folder, &[Role::Operator], None).unwrap_err().to_string();
        assert!(several.contains("anna, ben; say which with --as"), "{several}");
        let nobody = person(&folder, &[Role::Desk], None).unwrap_err().to_string();
        assert!(nobody.contains("nobody here is desk"), "{nobody}");
        let unknown = person(&folder, &[Role::Operator], Some("carl")).unwrap_err().to_string();
        assert!(unknown.contains("\"carl\"") && unknown.contains("operator-ben"), "{unknown}");
    }
}
