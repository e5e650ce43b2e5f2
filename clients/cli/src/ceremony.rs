//! `lanyard ceremony`: one step, for one party, over its own folder and the exchange folder.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use lanyard_ceremony::{
    Addresses, CeremonyError, EventPlan, EventTree, Holder, Member, Seat, Step, add_gates,
};
use lanyard_transport::Role;
use serde_json::json;

use crate::context::{Context, say};
use crate::error::CliError;
use crate::event;
use crate::init::addresses as address_table;
use crate::secrets::PassphraseArgs;

/// `lanyard ceremony`.
#[derive(Args)]
pub(crate) struct CeremonyArgs {
    /// The party's own folder.
    #[arg(long, global = true, env = "LANYARD_FOLDER", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The folder through which public and sealed files travel; nothing in it is secret.
    #[arg(long, global = true, value_name = "DIR")]
    exchange: Option<PathBuf>,
    /// The event's plan, as this party has reviewed it; without it, the sample's.
    #[arg(long, global = true, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(subcommand)]
    step: CeremonyStep,
}

#[derive(Subcommand)]
enum CeremonyStep {
    /// Draw this party's keys in its folder and announce the public halves.
    Prepare {
        /// Who this is: committee, police, sponsor, trustee, gate-ca, or a gate's name.
        member: Member,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Show the fingerprint of a party's announcement, to compare over another channel.
    Fingerprint {
        /// Whose.
        member: Member,
    },
    /// Certify a gate's service; in the folder of gate-ca.
    CertifyGate {
        /// Which gate.
        gate: Member,
    },
    /// Take a round of the key generation, 1, 2 or 3; share holders only.
    Dkg {
        /// Which round.
        #[arg(value_parser = clap::value_parser!(u8).range(1..=3))]
        round: u8,
    },
    /// Draft the manifest of plan and announcements.
    Draft,
    /// Sign the drafted manifest, if it is what the own plan gives; committee and police.
    Sign,
    /// Adopt the signed manifest, if it carries this party's own keys.
    Adopt,
    /// Write config.toml.
    WriteConfig {
        /// Where a party's service listens; once for each party.
        #[arg(long = "listen", value_name = "PARTY=HOST:PORT", value_parser = listen, required = true)]
        listen: Vec<(Member, SocketAddr)>,
    },
    /// Add a person or desk, who then has a certificate in operators/.
    AddOperator {
        /// What they may do.
        #[arg(value_enum)]
        role: PersonRole,
        /// Their name: a-z, 0-9, '.', '-' and '_'.
        name: String,
        /// For gates: the folder of gate-ca, which certifies.
        #[arg(long, value_name = "DIR")]
        authority: Option<PathBuf>,
    },
    /// Renew a certificate under a new key; running services pick it up by themselves.
    Renew {
        /// A person or desk, by role and name; without it, the service.
        #[arg(long, num_args = 2, value_names = ["ROLE", "NAME"])]
        person: Option<Vec<String>>,
        /// For gates: the folder of gate-ca, which certifies.
        #[arg(long, value_name = "DIR")]
        authority: Option<PathBuf>,
    },
    /// Refresh the key shares: new shares, the same pseudonyms. Share holders take these steps one after the other.
    Refresh {
        /// Which step.
        #[arg(value_enum)]
        step: RefreshStep,
    },
    /// Repair a lost key share with the help of the other holders.
    Repair {
        #[command(subcommand)]
        step: RepairStep,
    },
    /// Take a changed plan, such as higher quotas, to an event that `lanyard init` made: draft, sign, adopt.
    Amend {
        /// The event's directory.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Add the gates that a later plan has to an event that `lanyard init` made.
    AddGate {
        /// The event's directory.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Where a new gate listens; a free port of 127.0.0.1 if not said.
        #[arg(long = "listen", value_name = "GATE=HOST:PORT", value_parser = listen)]
        listen: Vec<(Member, SocketAddr)>,
    },
}

/// The steps of a refresh.
#[derive(Clone, Copy, ValueEnum)]
enum RefreshStep {
    /// Draw a polynomial and publish the commitment to it.
    #[value(name = "1")]
    Commit,
    /// Send each other holder its value, sealed.
    #[value(name = "2")]
    Send,
    /// Add up the new share, keep it beside the old one, confirm it.
    #[value(name = "3")]
    Receive,
    /// Put the new share in force, once all holders have confirmed theirs.
    Switch,
    /// Destroy the old share, once all holders have switched.
    Finish,
    /// Give up a refresh that is not confirmed here; then all holders must.
    Abandon,
}

impl RefreshStep {
    fn take(self, seat: &Seat) -> Result<Step, CeremonyError> {
        match self {
            Self::Commit => seat.refresh_round1(),
            Self::Send => seat.refresh_round2(),
            Self::Receive => seat.refresh_round3(),
            Self::Switch => seat.refresh_switch(),
            Self::Finish => seat.refresh_finish(),
            Self::Abandon => seat.refresh_abandon(),
        }
    }
}

/// The steps of a repair.
#[derive(Subcommand)]
enum RepairStep {
    /// The holder that lost its share asks the others.
    Ask {
        /// Who is to help, given several times; without it, all other holders.
        #[arg(long = "helper", value_name = "PARTY")]
        helpers: Vec<Member>,
    },
    /// A helper's round, 1, 2 or 3; the first agrees that the holder gets its share again.
    Assist {
        /// Which round.
        #[arg(value_parser = clap::value_parser!(u8).range(1..=3))]
        round: u8,
        /// Who lost its share.
        #[arg(long, value_name = "PARTY")]
        of: Member,
    },
    /// The holder that lost its share rebuilds it.
    Finish,
}

impl RepairStep {
    fn take(&self, seat: &Seat) -> Result<Step, CeremonyError> {
        match self {
            Self::Ask { helpers } => seat.repair_ask(helpers),
            Self::Assist { round: 1, of } => seat.repair_round1(of),
            Self::Assist { round: 2, of } => seat.repair_round2(of),
            Self::Assist { of, .. } => seat.repair_round3(of),
            Self::Finish => seat.repair_finish(),
        }
    }
}

/// The roles of people and desks.
#[derive(Clone, Copy, ValueEnum)]
enum PersonRole {
    Operator,
    Desk,
    Scanner,
    Supervisor,
}

impl PersonRole {
    const fn role(self) -> Role {
        match self {
            Self::Operator => Role::Operator,
            Self::Desk => Role::Desk,
            Self::Scanner => Role::Scanner,
            Self::Supervisor => Role::Supervisor,
        }
    }
}

fn listen(text: &str) -> Result<(Member, SocketAddr), String> {
    let (member, address) =
        text.split_once('=').ok_or("use PARTY=HOST:PORT, such as gate-1=127.0.0.1:7005")?;
    let member = member.parse::<Member>().map_err(|error| error.to_string())?;
    let address = address.parse().map_err(|_| format!("{address:?} is not IP:PORT"))?;
    Ok((member, address))
}

impl CeremonyArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), CliError> {
        let plan = || event::plan(&context.env, self.plan.as_deref());
        let done = match &self.step {
            CeremonyStep::Prepare { member, passphrase } => {
                let plan = plan()?;
                let (folder, exchange) = (self.folder()?, self.exchange()?);
                let made = context.env.files.exists(&folder.join("keys/issuing.age"))?;
                let passphrase = match member {
                    member if member.is_authority() && !made => {
                        Some(passphrase.read_new(&context.env)?)
                    }
                    _ => None,
                };
                let passphrase = passphrase.as_deref().map(String::as_str);
                Seat::prepare(&context.env, folder, exchange, member, &plan, passphrase)?.1
            }
            CeremonyStep::Fingerprint { member } => {
                let fingerprint = self.seat(context)?.fingerprint(member)?;
                let value = json!({ "member": member.name(), "fingerprint": fingerprint });
                return context.show(&value, || format!("{member}  {fingerprint}"));
            }
            CeremonyStep::CertifyGate { gate } => self.seat(context)?.certify_gate(gate)?,
            CeremonyStep::Dkg { round: 1 } => self.seat(context)?.dkg_round1(&plan()?)?,
            CeremonyStep::Dkg { round: 2 } => self.seat(context)?.dkg_round2()?,
            CeremonyStep::Dkg { .. } => self.seat(context)?.dkg_round3()?,
            CeremonyStep::Draft => self.seat(context)?.draft_manifest(&plan()?)?,
            CeremonyStep::Sign => self.seat(context)?.sign_manifest(&plan()?)?,
            CeremonyStep::Adopt => self.seat(context)?.adopt()?,
            CeremonyStep::WriteConfig { listen } => {
                let addresses: Addresses = listen.iter().cloned().collect();
                self.seat(context)?.write_config(&plan()?, &addresses)?
            }
            CeremonyStep::AddOperator { role, name, authority } => {
                let seat = self.seat(context)?;
                let certifier = self.certifier(context, &seat, authority.as_deref())?;
                seat.add_operator(certifier.as_ref().unwrap_or(&seat), role.role(), name)?
            }
            CeremonyStep::Renew { person, authority } => {
                let seat = self.seat(context)?;
                let certifier = self.certifier(context, &seat, authority.as_deref())?;
                seat.renew_certificate(certifier.as_ref().unwrap_or(&seat), holder(person)?)?;
                Step::Done
            }
            CeremonyStep::Refresh { step } => step.take(&self.seat(context)?)?,
            CeremonyStep::Repair { step } => step.take(&self.seat(context)?)?,
            CeremonyStep::Amend { dir } => return add_gate(context, dir, &plan()?, &[]),
            CeremonyStep::AddGate { dir, listen } => {
                return add_gate(context, dir, &plan()?, listen);
            }
        };
        let (word, text) = match done {
            Step::Done => ("done", "done"),
            Step::AlreadyDone => ("already-done", "was done before; nothing changed"),
        };
        if context.json { say(&json!({ "step": word }).to_string()) } else { say(text) }
    }

    fn folder(&self) -> Result<&Path, CliError> {
        let problem = "give the party's own folder, or set LANYARD_FOLDER";
        self.folder.as_deref().ok_or_else(|| CliError::option("--folder", problem))
    }

    fn exchange(&self) -> Result<&Path, CliError> {
        let problem = "give the folder through which the parties' files travel";
        self.exchange.as_deref().ok_or_else(|| CliError::option("--exchange", problem))
    }

    fn seat(&self, context: &Context) -> Result<Seat, CliError> {
        Ok(Seat::open(&context.env, self.folder()?, self.exchange()?)?)
    }

    /// The seat that certifies for another; `None` if the member does so itself.
    fn certifier(
        &self,
        context: &Context,
        seat: &Seat,
        authority: Option<&Path>,
    ) -> Result<Option<Seat>, CliError> {
        match (authority, seat.member()) {
            (Some(folder), _) => Ok(Some(Seat::open(&context.env, folder, self.exchange()?)?)),
            (None, Member::Gate(_)) => Err(CliError::option(
                "--authority",
                "gates are certified by gate-ca: give its folder",
            )),
            (None, _) => Ok(None),
        }
    }
}

fn holder(person: &Option<Vec<String>>) -> Result<Holder<'_>, CliError> {
    match person.as_deref() {
        None => Ok(Holder::Service),
        Some([role, name]) => {
            let role = role.parse().map_err(|error| CliError::option("--person", error))?;
            Ok(Holder::Person(role, name))
        }
        Some(_) => Err(CliError::option("--person", "give a role and a name")),
    }
}

fn add_gate(
    context: &Context,
    dir: &Path,
    plan: &EventPlan,
    listen: &[(Member, SocketAddr)],
) -> Result<(), CliError> {
    let tree = EventTree::read(&*context.env.files, dir)?;
    // Those that are there keep their addresses; new ones get a free one unless told otherwise.
    let mut addresses: BTreeMap<_, _> = event::free_addresses(plan)?;
    addresses.extend(tree.services);
    addresses.extend(listen.iter().cloned());
    let tree = add_gates(&context.env, dir, plan, &addresses)?;
    let value = json!({ "dir": dir, "services": tree.services.len() });
    context.show(&value, || {
        format!(
            "{}\nRunning services pick the new manifest up by themselves.",
            address_table(dir, &tree)
        )
    })
}
