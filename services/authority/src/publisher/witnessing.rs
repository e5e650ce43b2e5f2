//! The own log before its witnesses: each new checkpoint is shown to them, and what they say of the log is heard.

use std::sync::Arc;

use futures::StreamExt as _;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_feed::Mirror;
use lanyard_party::ManifestStore;
use lanyard_witness::{ProofSource, WitnessFault};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::witnesses::Witnesses;

/// What witnesses say of the own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// A quorum knows no more of it.
    NoMore,
    /// One knows a greater size, and no quorum disagrees.
    More {
        /// The size.
        known: u64,
    },
    /// Too few have answered.
    TooLittle,
}

/// The own log before its witnesses.
pub(super) struct Witnessing {
    pub(super) mirror: Arc<Mirror>,
    pub(super) witnesses: Witnesses,
    pub(super) manifests: Arc<ManifestStore>,
}

impl Witnessing {
    /// Has every new checkpoint cosigned, or until one knows more: then `ahead` hears how much. After `finish` the newest is
    /// the last; at `stop` it ends at once.
    pub(super) async fn cosign(
        self,
        ahead: watch::Sender<Option<u64>>,
        finish: CancellationToken,
        stop: CancellationToken,
    ) {
        let mut visible = self.mirror.subscribe();
        let mut asked = 0;
        while !stop.is_cancelled() {
            let newest = self.mirror.read().signed().map(|signed| signed.checkpoint().clone());
            if let Some(checkpoint) = newest.filter(|checkpoint| checkpoint.size() > asked) {
                asked = checkpoint.size();
                match stop.run_until_cancelled(self.ask(checkpoint)).await {
                    None => return,
                    Some(Told::NoMore | Told::TooLittle) => {}
                    Some(Told::More { known }) => {
                        ahead.send_replace(Some(known));
                        return;
                    }
                }
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = finish.cancelled() => return,
                changed = visible.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Has one checkpoint cosigned: what arrives is verified by the feed and sent on at once.
    ///
    /// Anybody can claim to know more. But quorums intersect: when one cosigns this size now, none has cosigned a greater one.
    /// So a claim then counts for nothing, or a lying witness could keep an authority from publishing.
    pub(super) async fn ask(&self, mut checkpoint: VerifiedCheckpoint) -> Told {
        let Self { mirror, witnesses, manifests } = self;
        let (log, size) = (Arc::clone(mirror), checkpoint.size());
        let prove: ProofSource =
            Arc::new(move |old| log.read().log().consistency_proof(old, size).ok());
        let (mut known, mut cosigned) = (None, 0);
        let asked = witnesses.of(&manifests.current());
        let mut answers = Box::pin(asked.cosign(&checkpoint, &prove));
        while let Some(answer) = answers.next().await {
            match answer.result {
                Ok(cosignature) => {
                    cosigned += 1;
                    // The feed has nothing to show of an empty log.
                    if size == 0 || checkpoint.attach(&cosignature).is_err() {
                        continue;
                    }
                    let (mirror, note) = (Arc::clone(mirror), checkpoint.note().to_string());
                    let taken =
                        lanyard_env::blocking(move || mirror.cosigned(&note, "own witnesses"));
                    if let Ok(Err(error)) = taken.await {
                        tracing::warn!(%error, "a cosignature cannot be kept");
                    }
                }
                Err(WitnessFault::Ahead { size }) => known = known.max(Some(size)),
                Err(_) => {}
            }
        }
        if cosigned >= manifests.current().quorum {
            mirror.witnesses_answered();
            return Told::NoMore;
        }
        known.map_or(Told::TooLittle, |known| Told::More { known })
    }
}
