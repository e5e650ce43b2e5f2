//! Row 2: server CPU of a request under mTLS, beside a bare tonic echo of the same payload.
//!
//! Each server is a process of its own, so that what the client and the other servers use is not counted.

mod client;
mod echo;
mod pki;
mod published;
mod server;

use std::path::Path;

use lanyard_wire::gate::v1::CheckResponse;
use prost::Message as _;

use crate::measure::Rounds;
use crate::report::{Report, time};
use client::{Gate, Sponsor};
use server::Child;

pub(crate) use server::{Kind, serve};

const CONNECTIONS: usize = 64;
/// Requests of a connection in a round.
const REQUESTS: usize = 120;
const ROUNDS: usize = 5;
const BAR: f64 = 1.5;
/// Badges in the directories: the RPC's cost does not depend on them, the time to start does.
pub(crate) const PEOPLE: u32 = 100_000;

/// Checks in one message of a stream.
const STREAM_MESSAGE: usize = 64;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where the real server's response is kept for the echo to repeat.
fn response_file(dir: &Path, kind: Kind) -> std::path::PathBuf {
    dir.join(format!("{}.response", kind.name()))
}

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let dir = tempfile::tempdir()?;
        let pki = pki::Pki::create(dir.path())?;
        checks(report, &pki, dir.path()).await?;
        lookups(report, &pki, dir.path()).await
    })
}

async fn checks(report: &mut Report, pki: &pki::Pki, dir: &Path) -> Result<(), Failure> {
    let mut real = Child::start(Kind::Gate, dir)?;
    let gate = Gate::connect(pki, real.address(), CONNECTIONS).await?;
    let response = gate.sample().await?;
    std::fs::write(response_file(dir, Kind::GateEcho), response.encode_to_vec())?;
    let mut echo = Child::start(Kind::GateEcho, dir)?;
    let echoed = Gate::connect(pki, echo.address(), CONNECTIONS).await?;
    let repeated: CheckResponse = echoed.sample().await?;
    assert_eq!(repeated, response, "the echo repeats the gate's answer");

    let requests = CONNECTIONS * REQUESTS;
    let [mut ours, mut bare, mut stream, mut bare_stream] = [(); 4].map(|()| Rounds::default());
    for _ in 0..ROUNDS {
        real.reset()?;
        gate.unary(REQUESTS).await?;
        ours.push(real.cpu()? / requests as f64);
        echo.reset()?;
        echoed.unary(REQUESTS).await?;
        bare.push(echo.cpu()? / requests as f64);
        real.reset()?;
        gate.stream(REQUESTS / 4, STREAM_MESSAGE).await?;
        stream.push(real.cpu()? / (requests / 4 * STREAM_MESSAGE) as f64);
        echo.reset()?;
        echoed.stream(REQUESTS / 4, STREAM_MESSAGE).await?;
        bare_stream.push(echo.cpu()? / (requests / 4 * STREAM_MESSAGE) as f64);
    }
    line(report, "gate Check with its receipt, server CPU a request", &ours, &bare);
    let figure = format!("{}, bare echo {}", time(stream.median()), time(bare_stream.median()));
    report.note("2", format!("  in a stream, {STREAM_MESSAGE} checks a message, each"), figure);
    Ok(())
}

async fn lookups(report: &mut Report, pki: &pki::Pki, dir: &Path) -> Result<(), Failure> {
    let mut real = Child::start(Kind::Sponsor, dir)?;
    let sponsor = Sponsor::connect(pki, real.address(), CONNECTIONS).await?;
    let response = sponsor.sample().await?;
    let bytes = response.encode_to_vec();
    std::fs::write(response_file(dir, Kind::SponsorEcho), &bytes)?;
    let mut echo = Child::start(Kind::SponsorEcho, dir)?;
    let echoed = Sponsor::connect(pki, echo.address(), CONNECTIONS).await?;
    assert_eq!(echoed.sample().await?, response, "the echo repeats the sponsor's answer");

    let requests = (CONNECTIONS * REQUESTS) as f64;
    let (mut ours, mut bare) = (Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        real.reset()?;
        sponsor.unary(REQUESTS).await?;
        ours.push(real.cpu()? / requests);
        echo.reset()?;
        echoed.unary(REQUESTS).await?;
        bare.push(echo.cpu()? / requests);
    }
    let what =
        format!("Lookup of a prefix with proof, {} bytes, server CPU a request", bytes.len());
    line(report, &what, &ours, &bare);
    Ok(())
}

fn line(report: &mut Report, what: &str, ours: &Rounds, bare: &Rounds) {
    let limit = format!("echo {}", time(bare.median()));
    let ratio = (ours.over(bare).median(), BAR);
    let what = format!("{what}, {CONNECTIONS} connections");
    report.bar("2", what, time(ours.median()), limit, ratio);
}
