//! `lanyard ceremony`: one step, for one party, over its own folder and the exchange folder.

mod whole;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use lanyard_ceremony::{
    Addresses, CeremonyError, GateName, Holder, Member, RotatedKey, Seat, Step, TakenOver,
};
use lanyard_core::ids::Timestamp;
use lanyard_transport::Role;
use lanyard_transport::certificates::certificate_key;
use serde_json::json;

use crate::context::{Context, say};
use crate::error::CliError;
use crate::event;
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
        /// This takes the place of a trustee that is gone for good.
        #[arg(long)]
        successor: bool,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Accept the party that takes another's place, by the fingerprint that it reads out over another channel.
    Accept {
        /// Whose place.
        member: Member,
        /// Its fingerprint: 64 hexadecimal digits.
        #[arg(long, value_name = "HEX")]
        fingerprint: String,
    },
    /// Put a new key in the place of an old one. Planned: begin, a manifest, end, a manifest, finish. Leaked: begin, end, a
    /// manifest, finish. With --dir, all of it.
    Rotate {
        /// Which key.
        #[arg(value_enum)]
        key: KeyKind,
        /// Which step, in the party's own folder.
        #[arg(value_enum, required_unless_present = "dir", conflicts_with = "dir")]
        step: Option<RotateStep>,
        /// All steps and manifests, in an event that `lanyard init` made: its directory. Its services run meanwhile, but for a
        /// gate whose receipts key it is.
        #[arg(long, value_name = "DIR", requires = "of")]
        dir: Option<PathBuf>,
        /// Whose key.
        #[arg(long, value_name = "PARTY", requires = "dir")]
        of: Option<Member>,
        /// How long the old key counts beside the new one; an epoch if not said.
        #[arg(long, value_name = "MINUTES", requires = "dir")]
        overlap: Option<u32>,
        /// The old key leaked: it ends at once.
        #[arg(long, requires = "dir", conflicts_with = "overlap")]
        at_once: bool,
    },
    /// Show by what a manifest revokes a certificate, for `revoked_certificates` in the plan.
    CertificateKey {
        /// The certificate, PEM.
        #[arg(value_name = "FILE")]
        certificate: PathBuf,
    },
    /// Take over what the predecessor of this share holder counted, so that nobody gets a second quota.
    TakeOver {
        /// The predecessor's folder, or a copy with its data/evaluations.
        #[arg(
            long,
            value_name = "DIR",
            conflicts_with = "spent",
            required_unless_present = "spent"
        )]
        from: Option<PathBuf>,
        /// Nobody has it: count every quota as used up. Raise quotas in the manifest then.
        #[arg(long)]
        spent: bool,
    },
    /// Put another party in the trustee's place in an event that `lanyard init` made: new folder, authority, keys, witness
    /// and shares, the same pseudonyms. Stop the old trustee first.
    ReplaceTrustee {
        /// The event's directory.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
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
    /// Go on without the sponsor in an event that `lanyard init` made: it witnesses, mirrors and is believed no more, and no key
    /// changes.
    WithdrawSponsor {
        /// The event's directory.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Expel a gate that was stolen from an event that `lanyard init` made: its certificates are refused, no later key is
    /// sealed to it, and its receipts from then on count for nothing.
    Expel {
        /// Which gate.
        gate: GateName,
        /// The event's directory.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Since when it was out of sight, for example 2027-07-03T18:30:00Z; now if not said.
        #[arg(long, value_name = "TIME", value_parser = instant)]
        since: Option<Timestamp>,
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

/// The keys that can be replaced.
#[derive(Clone, Copy, ValueEnum)]
enum KeyKind {
    /// An authority's log.
    Log,
    /// An authority's signature on manifests.
    Manifest,
    /// A witness.
    Witness,
    /// A gate's receipts; restart the gate after the first step.
    Receipts,
    /// A party's certificate authority.
    Ca,
}

impl From<KeyKind> for RotatedKey {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Log => Self::Log,
            KeyKind::Manifest => Self::Manifest,
            KeyKind::Witness => Self::Witness,
            KeyKind::Receipts => Self::Receipts,
            KeyKind::Ca => Self::Ca,
        }
    }
}

/// The steps of a key's replacement.
#[derive(Clone, Copy, ValueEnum)]
enum RotateStep {
    /// Draw the new key and announce it; the old one counts beside it.
    Begin,
    /// Announce the end of the old key.
    End,
    /// Destroy the old key, once the manifest has ended it.
    Finish,
}

impl RotateStep {
    fn take(self, seat: &Seat, key: RotatedKey) -> Result<Step, CeremonyError> {
        match self {
            Self::Begin => seat.rotate_begin(key),
            Self::End => seat.rotate_end(key),
            Self::Finish => seat.rotate_finish(key),
        }
    }
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

fn instant(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp =
        text.parse().map_err(|_| "write it as 2027-07-03T18:30:00Z".to_owned())?;
    u64::try_from(time.as_millisecond())
        .map(Timestamp::from_millis)
        .map_err(|_| "it is before 1970".to_owned())
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
            CeremonyStep::Prepare { member, successor: true, .. } => {
                let (folder, exchange) = (self.folder()?, self.exchange()?);
                Seat::prepare_successor(&context.env, folder, exchange, member, &plan()?)?.1
            }
            CeremonyStep::Prepare { member, passphrase, .. } => {
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
            CeremonyStep::Accept { member, fingerprint } => {
                self.seat(context)?.accept_successor(member, fingerprint)?
            }
            CeremonyStep::TakeOver { from, .. } => {
                let seat = self.seat(context)?;
                let taken = match from {
                    Some(folder) => TakenOver::Counted(seat.counted_in(folder)?),
                    None => TakenOver::Spent,
                };
                seat.take_over_counts(&taken)?
            }
            CeremonyStep::Rotate {
                key, dir: Some(dir), of: Some(of), overlap, at_once, ..
            } => {
                let overlap = (!at_once).then_some(*overlap);
                return whole::rotate(context, dir, of, (*key).into(), overlap);
            }
            CeremonyStep::Rotate { key, step, .. } => {
                let step = step.ok_or_else(|| CliError::option("STEP", "begin, end or finish"))?;
                step.take(&self.seat(context)?, (*key).into())?
            }
            CeremonyStep::CertificateKey { certificate } => {
                let hash = certificate_key(&context.env.files.read(certificate)?)
                    .map_err(|error| CliError::content(certificate, error))?;
                let value = json!({ "certificate": certificate, "key": hash.to_string() });
                return context.show(&value, || hash.to_string());
            }
            CeremonyStep::WithdrawSponsor { dir } => return whole::withdraw(context, dir),
            CeremonyStep::ReplaceTrustee { dir } => return whole::replace(context, dir),
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
            CeremonyStep::Amend { dir } => return whole::add_gate(context, dir, &plan()?, &[]),
            CeremonyStep::Expel { gate, dir, since } => {
                let since = since.unwrap_or_else(|| context.env.now());
                return whole::expel(context, dir, gate, since);
            }
            CeremonyStep::AddGate { dir, listen } => {
                return whole::add_gate(context, dir, &plan()?, listen);
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
