//! Taking turns at publishing, where several instances of a party share a store.
//!
//! One publishes, by lease. The others follow its feed, serve all else, and begin a term of their own when the lease has
//! run out: seconds after its holder died. [`Duty`] says to whatever else must run once whether this instance has the turn.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lanyard_core::ids::Audience;
use lanyard_feed::{Mirror, SyncState, Upstream, follow};
use lanyard_party::PeerAddress;
use lanyard_store::{Publishing, Succession, Term};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Station;
use crate::error::PublishError;
use crate::publisher::{PublicationStatus, Publisher};
use crate::registry::Registry;
use crate::reign::Reign;

/// How long the lease of the instance that publishes lasts when it is not renewed.
pub const LEASE: Duration = Duration::from_secs(5);

/// How often it is renewed, and how often the others look.
const RENEW_INTERVAL: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long a renewal may take: a lease that cannot be renewed runs out by itself.
const RENEW_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether this instance has the turn, for what must run in one instance only. A service that is alone always has it.
#[derive(Clone)]
pub struct Duty {
    has_turn: watch::Receiver<bool>,
}

impl Duty {
    pub(super) const fn new(has_turn: watch::Receiver<bool>) -> Self {
        Self { has_turn }
    }

    /// Runs `work` whenever this instance has the turn, until `shutdown`; its token ends with the turn.
    pub async fn run<F: Future<Output = ()>>(
        mut self,
        shutdown: CancellationToken,
        work: impl Fn(CancellationToken) -> F,
    ) {
        loop {
            let begun = async { self.has_turn.wait_for(|has| *has).await.is_ok() };
            if shutdown.run_until_cancelled(begun).await != Some(true) {
                return;
            }
            let turn = shutdown.child_token();
            let mut working = pin!(work(turn.clone()));
            tokio::select! {
                () = &mut working => return,
                () = async { drop(self.has_turn.wait_for(|has| !*has).await) } => {}
            }
            turn.cancel();
            working.await;
        }
    }
}

/// The feed of the instance that publishes, followed until another does.
struct Following {
    address: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Following {
    async fn end(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

impl Station {
    /// Publishes when it is this instance's turn, until `shutdown`. `address` is where the others find it.
    pub(super) async fn take_turns<R: Registry>(
        &self,
        publisher: &Publisher<R>,
        succession: &Succession,
        address: &str,
        upstreams: &[Upstream],
        shutdown: &CancellationToken,
    ) -> Result<(), PublishError> {
        while let Some(term) =
            self.stand_by(publisher, succession, address, upstreams, shutdown).await
        {
            tracing::info!(term = term.number(), "this instance publishes");
            let turn = shutdown.child_token();
            let renewing =
                keep_renewing(succession.clone(), term, self.publication(), turn.clone());
            let renewing = tokio::spawn(renewing);
            self.has_turn.send_replace(true);
            let reign = Reign::new(succession.clone(), term);
            let published = self.publish(publisher, Some(reign), upstreams, &turn).await;
            self.has_turn.send_replace(false);
            turn.cancel();
            let _ = renewing.await;
            // The next need not wait for the lease to run out.
            let _ = tokio::time::timeout(RENEW_TIMEOUT, succession.end(term)).await;
            match published {
                Err(error) if error.is_passing() => {
                    if error.is_damage() {
                        tracing::error!(%error, "nothing is published: the store is damaged");
                    } else {
                        tracing::warn!(%error, "this instance publishes no more for now");
                    }
                }
                Err(error) => return Err(error),
                Ok(()) if shutdown.is_cancelled() => return Ok(()),
                Ok(()) => tracing::warn!("the term of this instance is over"),
            }
            // Long enough for another to look.
            let _ = shutdown.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await;
        }
        Ok(())
    }

    /// Follows whoever publishes, until a term begins here; `None` on `shutdown`.
    async fn stand_by<R: Registry>(
        &self,
        publisher: &Publisher<R>,
        succession: &Succession,
        address: &str,
        upstreams: &[Upstream],
        shutdown: &CancellationToken,
    ) -> Option<Term> {
        let mut following: Option<Following> = None;
        let mut begun = None;
        let mut first = None;
        while begun.is_none() && !shutdown.is_cancelled() {
            let begins = succession.begin_term(address, LEASE);
            let Some(begins) = shutdown.run_until_cancelled(begins).await else { break };
            match begins {
                Ok(Some(term)) => {
                    begun = Some(term);
                    continue;
                }
                Ok(None) => match succession.publishing().await {
                    Ok(Some(publishing)) => {
                        self.status.send_replace(status_of(&self.own, &publishing));
                        if *first.get_or_insert(publishing.size) < publishing.size {
                            publisher.is_store_known.store(true, Ordering::Relaxed);
                        }
                        if following.as_ref().is_none_or(|now| now.address != publishing.address) {
                            if let Some(before) = following.take() {
                                before.end().await;
                            }
                            following = Some(self.follow_instance(publishing.address, upstreams));
                        }
                    }
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "who publishes is not known"),
                },
                Err(error) => tracing::warn!(%error, "who publishes is not known"),
            }
            let _ = shutdown.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await;
        }
        if let Some(following) = following {
            following.end().await;
        }
        begun
    }

    fn follow_instance(&self, address: String, upstreams: &[Upstream]) -> Following {
        let stop = CancellationToken::new();
        let mut sources = Vec::new();
        let peer = PeerAddress::try_from(address.clone());
        match peer.map(|peer| self.peers.channel_at(self.authority.name(), &peer)) {
            Ok(Ok(channel)) => sources.push(Upstream { name: address.clone(), channel }),
            Ok(Err(error)) => tracing::warn!(%error, address, "the publisher cannot be followed"),
            Err(problem) => tracing::warn!(problem, "the publisher cannot be followed"),
        }
        sources.extend_from_slice(upstreams);
        let (sync, _) = watch::channel(SyncState::default());
        let task = tokio::spawn(follow(Arc::clone(&self.own), sources, sync, stop.clone()));
        Following { address, stop, task }
    }
}

/// What this instance can tell while another publishes.
fn status_of(own: &Mirror, publishing: &Publishing) -> PublicationStatus {
    let view = own.read();
    let head = view.signed().map(|signed| signed.head());
    let epoch = head.map_or_else(|| PublicationStatus::default().epoch, |head| head.live_epoch);
    let gates = head.and_then(|head| head.directory(epoch, Audience::Gate));
    PublicationStatus {
        log_size: publishing.size,
        quorum_size: view.quorum().map_or(0, |quorum| quorum.size()),
        waiting: publishing.waiting,
        epoch,
        records: gates.map_or(0, |directory| directory.commitment.count.into()),
        waits: None,
    }
}

/// Renews a lease until `turn` ends, or ends the turn when the lease is lost.
async fn keep_renewing(
    succession: Succession,
    term: Term,
    status: watch::Receiver<PublicationStatus>,
    turn: CancellationToken,
) {
    loop {
        let waiting = status.borrow().waiting;
        let renewed = succession.renew(term, LEASE, waiting);
        match tokio::time::timeout(RENEW_TIMEOUT, renewed).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                turn.cancel();
                return;
            }
            Ok(Err(error)) => tracing::warn!(%error, "the lease is not renewed"),
            Err(_) => tracing::warn!("the lease is not renewed: the store does not answer"),
        }
        if turn.run_until_cancelled(tokio::time::sleep(RENEW_INTERVAL)).await.is_none() {
            return;
        }
    }
}
