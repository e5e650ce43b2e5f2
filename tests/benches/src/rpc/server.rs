//! The servers, each a process of its own that says how much CPU it has used.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use arc_swap::ArcSwap;
use lanyard_core::receipt::ReceiptOrigin;
use lanyard_env::Env;
use lanyard_feed::{FeedServer, SyncState};
use lanyard_gate::{Checker, GateServer, ReceiptSetup, Receipts, Rules, SharedRules};
use lanyard_transport::{Acceptor, Limits, PartyName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::published::{GATE, Published};
use super::{Failure, PEOPLE, echo, pki};
use crate::event::event;
use crate::measure::process_time;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A gate with both directories and receipts on disk.
    Gate,
    /// Repeats what the gate answered.
    GateEcho,
    /// A sponsor with the committee's directory.
    Sponsor,
    /// Repeats what the sponsor answered.
    SponsorEcho,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Gate, Self::GateEcho, Self::Sponsor, Self::SponsorEcho];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::GateEcho => "gate-echo",
            Self::Sponsor => "sponsor",
            Self::SponsorEcho => "sponsor-echo",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text)
    }

    pub(crate) const fn party(self) -> PartyName {
        match self {
            Self::Gate | Self::GateEcho => PartyName::Gate,
            Self::Sponsor | Self::SponsorEcho => PartyName::Sponsor,
        }
    }
}

/// A server's process, seen from the one that measures.
pub(crate) struct Child {
    process: process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    address: String,
    /// Nanoseconds of CPU at the last reset.
    before: f64,
}

impl Child {
    pub(crate) fn start(kind: Kind, dir: &Path) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--serve", kind.name()])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the server has no pipes".into());
        };
        let stdout = BufReader::new(stdout);
        let mut child = Self { process, stdin, stdout, address: String::new(), before: 0.0 };
        child.address = child.line()?;
        Ok(child)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Begins to count.
    pub(crate) fn reset(&mut self) -> Result<(), Failure> {
        self.before = self.used()?;
        Ok(())
    }

    /// Nanoseconds of CPU since the last reset.
    pub(crate) fn cpu(&mut self) -> Result<f64, Failure> {
        Ok(self.used()? - self.before)
    }

    fn used(&mut self) -> Result<f64, Failure> {
        self.stdin.write_all(b"cpu\n")?;
        Ok(self.line()?.parse()?)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err("the server ended".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Tells the process that measures where this one listens.
pub(crate) fn announce(address: SocketAddr) {
    println!("{address}");
}

/// Is a server, until the process that measures lets go.
pub(crate) fn serve(kind: Kind, dir: &Path) -> Result<(), Failure> {
    std::thread::spawn(|| {
        for line in io::stdin().lock().lines() {
            if line.is_err() {
                break;
            }
            println!("{}", process_time().as_nanos());
        }
        process::exit(0);
    });
    tokio::runtime::Runtime::new()?.block_on(async {
        match kind {
            Kind::Gate => serve_gate(dir).await,
            Kind::Sponsor => serve_sponsor(dir).await,
            Kind::GateEcho | Kind::SponsorEcho => echo::serve(kind, dir).await,
        }
    })
}

async fn serve_gate(dir: &Path) -> Result<(), Failure> {
    let env = Env::system();
    let Published { manifest, receipts_key, mirrors: [committee, police] } =
        Published::create(&env, &dir.join("gate"), PEOPLE)?;
    let rules: SharedRules = Arc::new(ArcSwap::from_pointee(Rules::new(manifest, GATE, &[])));
    let setup = ReceiptSetup {
        env: env.clone(),
        dir: dir.join("receipts"),
        origin: ReceiptOrigin::new(&event(), GATE)?,
        key: receipts_key,
        keep_bodies_days: 30,
        rules: Arc::clone(&rules),
    };
    let (receipts, _recorder) = Receipts::open(setup)?;
    let syncs = [(); 2].map(|()| watch::channel(SyncState::default()).1);
    let checker = Checker::new(env.clone(), committee, police);
    let server = GateServer::new(checker, rules, receipts, syncs, PathBuf::from(dir));
    run(&env, dir, PartyName::Gate, Routes::new(server.into_service())).await
}

async fn serve_sponsor(dir: &Path) -> Result<(), Failure> {
    let env = Env::system();
    let Published { mirrors, .. } = Published::create(&env, &dir.join("sponsor"), PEOPLE)?;
    let server = FeedServer::new(mirrors, CancellationToken::new());
    run(&env, dir, PartyName::Sponsor, Routes::new(server.into_service())).await
}

async fn run(env: &Env, dir: &Path, party: PartyName, routes: Routes) -> Result<(), Failure> {
    let tls = pki::server(env, dir, party)?;
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let acceptor = Acceptor::bind(env, loopback, &tls, Limits::default()).await?;
    announce(acceptor.local_addr());
    lanyard_transport::serve(routes.into_axum_router(), acceptor, CancellationToken::new()).await;
    Ok(())
}
