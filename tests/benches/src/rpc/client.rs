//! Those who ask: one task a connection, one request after the other.

use std::future::Future;

use lanyard_core::badge::BadgeText;
use lanyard_core::ids::{Audience, Authority, Origin};
use lanyard_env::Env;
use lanyard_transport::{Expected, PartyName, Role, connect};
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::{DirectoryId, LookupRequest, LookupResponse};
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;
use lanyard_wire::gate::v1::{CheckRequest, CheckResponse, CheckStreamRequest, Direction, Verdict};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::pki::Pki;
use super::published::ACCESS_POINT;
use super::{Failure, PEOPLE};
use crate::event::{EPOCH, badge, event};

/// Bits of the prefix looked up: a few dozen badges share it.
const PREFIX_BITS: u32 = 12;

/// One connection each, all open.
async fn channels(
    pki: &Pki,
    role: Role,
    server: PartyName,
    address: &str,
    count: usize,
) -> Result<Vec<Channel>, Failure> {
    let env = Env::system();
    let tls = pki.caller(&env, role)?;
    let expected = Expected::party(server);
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        channels.push(connect(&env, &tls, address, &expected)?);
    }
    Ok(channels)
}

/// Runs `work` for all channels at once.
async fn on_all<F>(channels: &[Channel], work: impl Fn(Channel, StdRng) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for channel in channels {
        let random = StdRng::from_rng(&mut Env::system().rng());
        tasks.spawn(work(channel.clone(), random));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Scanners at a gate.
pub(crate) struct Gate(Vec<Channel>);

impl Gate {
    pub(crate) async fn connect(pki: &Pki, address: &str, count: usize) -> Result<Self, Failure> {
        let gate = Self(channels(pki, Role::Scanner, PartyName::Gate, address, count).await?);
        gate.unary(1).await?;
        Ok(gate)
    }

    /// One answer, as people get it.
    pub(crate) async fn sample(&self) -> Result<CheckResponse, Failure> {
        let mut random = StdRng::from_rng(&mut Env::system().rng());
        let mut client = GateServiceClient::new(self.0[0].clone());
        Ok(client.check(check(&mut random)).await?.into_inner())
    }

    /// `requests` on every connection.
    pub(crate) async fn unary(&self, requests: usize) -> Result<(), Failure> {
        on_all(&self.0, |channel, mut random| async move {
            let mut client = GateServiceClient::new(channel);
            for _ in 0..requests {
                let response = client.check(check(&mut random)).await?.into_inner();
                admitted(&response)?;
            }
            Ok(())
        })
        .await
    }

    /// `messages` of so many checks each in one stream on every connection, each sent when the one before is answered.
    pub(crate) async fn stream(&self, messages: usize, checks: usize) -> Result<(), Failure> {
        on_all(&self.0, |channel, mut random| async move {
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            let mut next = move || CheckStreamRequest {
                checks: (0..checks).map(|_| check(&mut random)).collect(),
            };
            sender.send(next()).await?;
            let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
            let mut answers =
                GateServiceClient::new(channel).check_stream(requests).await?.into_inner();
            for answered in 1..=messages {
                let message = answers.message().await?.ok_or("the stream ended")?;
                message.results.iter().try_for_each(admitted)?;
                if answered < messages {
                    sender.send(next()).await?;
                }
            }
            Ok(())
        })
        .await
    }
}

fn admitted(response: &CheckResponse) -> Result<(), Failure> {
    match response.verdict() {
        Verdict::Admit => Ok(()),
        other => Err(format!("{other:?} where everybody is admitted").into()),
    }
}

/// A check of a random badge.
fn check(random: &mut StdRng) -> CheckRequest {
    let number = random.random_range(0..PEOPLE);
    let mut nonce = vec![0; 16];
    random.fill_bytes(&mut nonce);
    CheckRequest {
        credential: BadgeText::new(&badge(number), &event()).expose_str().to_owned(),
        access_point: ACCESS_POINT.to_owned(),
        direction: Direction::In.into(),
        nonce,
    }
}

/// Thin verifiers at a sponsor.
pub(crate) struct Sponsor(Vec<Channel>);

impl Sponsor {
    pub(crate) async fn connect(pki: &Pki, address: &str, count: usize) -> Result<Self, Failure> {
        let sponsor =
            Self(channels(pki, Role::Operator, PartyName::Sponsor, address, count).await?);
        sponsor.unary(1).await?;
        Ok(sponsor)
    }

    /// One answer.
    pub(crate) async fn sample(&self) -> Result<LookupResponse, Failure> {
        let mut random = StdRng::from_rng(&mut Env::system().rng());
        let mut client = FeedServiceClient::new(self.0[0].clone());
        Ok(client.lookup(lookup(&mut random)).await?.into_inner())
    }

    /// `requests` on every connection.
    pub(crate) async fn unary(&self, requests: usize) -> Result<(), Failure> {
        on_all(&self.0, |channel, mut random| async move {
            let mut client = FeedServiceClient::new(channel);
            for _ in 0..requests {
                client.lookup(lookup(&mut random)).await?;
            }
            Ok(())
        })
        .await
    }
}

/// A lookup of a random prefix.
fn lookup(random: &mut StdRng) -> LookupRequest {
    let prefix = random.random::<u16>() << (16 - PREFIX_BITS);
    LookupRequest {
        origin: Origin::new(&event(), Authority::Committee).as_str().to_owned(),
        directory: Some(DirectoryId::of(EPOCH, Audience::Gate)),
        prefix: prefix.to_be_bytes().to_vec(),
        prefix_bits: PREFIX_BITS,
        known_size: 0,
    }
}
