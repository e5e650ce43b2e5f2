//! What a start finds, before it signs: whether log and store are as this machine left them, and whether anybody knows
//! more of the log.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lanyard_core::checkpoint::Checkpoint;
use lanyard_core::log::empty_root;
use lanyard_env::Mode;
use tokio_util::sync::CancellationToken;

use super::witnessing::Told;
use super::{Ended, Publisher, Waits, blocking, page};
use crate::error::PublishError;
use crate::keys::KeyFolder;
use crate::publication::{Press, Publication};
use crate::recovery::{Signed, SignedUpTo};
use crate::registry::Registry;
use crate::reign::Reign;
use crate::sealer::Desired;

impl<R: Registry> Publisher<R> {
    /// Takes up what was published, once it is safe to go on from there.
    pub(super) async fn begin(
        &self,
        reign: Option<Reign>,
        shutdown: &CancellationToken,
    ) -> Result<ControlFlow<Ended, (Publication, u64)>, PublishError> {
        let press = Press {
            event: self.manifests.current().event.clone(),
            authority: self.authority,
            log_keys: Arc::clone(&self.log_keys),
            keys: KeyFolder::open(
                self.kept.clone(),
                self.keys_folder.clone(),
                Arc::clone(&self.store_key),
            )?,
            mirror: Arc::clone(&self.mirror),
            reign,
            own_key: self.own_key.clone(),
        };
        let caught_up = blocking(move || press.catch_up().map(|missing| (press, missing)));
        let press = match caught_up.await? {
            (press, None) => press,
            (_, Some(known)) => return Ok(ControlFlow::Break(self.behind(known))),
        };
        let memory = SignedUpTo::at(self.kept.clone(), self.signed.clone());
        let is_marked = memory.read()?.is_some_and(|signed| signed.is_restored);
        let is_doubtful = is_marked || !self.is_store_known.load(Ordering::Relaxed);
        let told = match self.ask_witnesses(is_doubtful, shutdown).await? {
            Told::More { known } => return Ok(ControlFlow::Break(self.behind(known))),
            told => told,
        };
        if told == Told::NoMore {
            self.is_store_known.store(true, Ordering::Relaxed);
        } else if is_doubtful {
            return Ok(ControlFlow::Break(self.unconfirmed()));
        }

        let (desired, cursor) = load(&self.registry).await?;
        let is_restored = match self.look_back(&memory, cursor)? {
            LookedBack::Lacking { known } => return Ok(ControlFlow::Break(self.behind(known))),
            LookedBack::AsLeft => false,
            LookedBack::Restored if told != Told::NoMore => {
                return Ok(ControlFlow::Break(self.unconfirmed()));
            }
            LookedBack::Restored => true,
        };
        let now = self.mirror.trusted_now();
        let publication = blocking(move || {
            press.resume()?;
            Publication::recover(press, desired, now)
        })
        .await?;
        if is_restored {
            self.hold_back(&publication).await?;
        }
        Ok(ControlFlow::Continue((publication, cursor)))
    }

    /// Asks witnesses about the newest own head, as they remember what a restored backup forgot, also while no mirror
    /// answers. With nothing signed yet they are asked only if that is in doubt.
    async fn ask_witnesses(
        &self,
        is_doubtful: bool,
        shutdown: &CancellationToken,
    ) -> Result<Told, PublishError> {
        let newest = self.mirror.read().signed().map(|signed| signed.checkpoint().clone());
        let newest = match newest {
            Some(newest) => newest,
            None if !is_doubtful => return Ok(Told::TooLittle),
            // Every log begins so: it forks none.
            None => {
                let keys = (self.log_keys)()?;
                let empty = Checkpoint::new(self.mirror.origin(), 0, empty_root());
                empty.sign_all(&keys.iter().collect::<Vec<_>>())?
            }
        };
        let told = shutdown.run_until_cancelled(self.witnessing().ask(newest)).await;
        Ok(told.unwrap_or(Told::TooLittle))
    }

    /// Compares what is here with what this machine remembers to have signed.
    fn look_back(&self, memory: &SignedUpTo, cursor: u64) -> Result<LookedBack, PublishError> {
        let held = self.mirror.read().size();
        let Some(signed) = memory.read()? else {
            return Ok(match (held, cursor) {
                (0, 0) => LookedBack::AsLeft,
                // A store on a machine without a log: whoever has that log must be asked first.
                (0, _) => LookedBack::Lacking { known: 1 },
                _ => LookedBack::Restored,
            });
        };
        if held + 1 < signed.size {
            return Ok(LookedBack::Lacking { known: signed.size - 1 });
        }
        if !signed.is_restored && held <= signed.size && cursor >= signed.cursor {
            return Ok(LookedBack::AsLeft);
        }
        memory.write(Signed { is_restored: true, ..signed })?;
        Ok(LookedBack::Restored)
    }

    /// Holds back whom the published records do not show as good, and states what is lost.
    async fn hold_back(&self, publication: &Publication) -> Result<(), PublishError> {
        let (report, held) = publication.compare(&self.manifests.current().padding);
        tracing::error!(
            held = report.held, stopped_again = report.stopped_again, unknown_rows = report.unknown,
            report = %self.report.display(),
            "the store is older than what was published: whoever is good in it and not in the directory is held"
        );
        let json = serde_json::to_vec_pretty(&report).unwrap_or_default();
        self.env.files.write_atomic(&self.report, &json, Mode::Private)?;
        let held = self.registry.hold(&held, report.rows, self.env.now()).await;
        held.map_err(|error| PublishError::Registry(Box::new(error)))
    }

    /// Whether the store is older than what was published from it, or nothing was yet: to be asked before anybody can change
    /// it.
    ///
    /// # Errors
    /// [`PublishError::Registry`] or [`PublishError::File`].
    pub(crate) async fn note_older_store(&self) -> Result<(), PublishError> {
        loop {
            match self.note_store_as_found().await {
                // Instances start at once, and another one was faster.
                Err(PublishError::File(error)) if error.is_replaced() => {}
                noted => return noted,
            }
        }
    }

    async fn note_store_as_found(&self) -> Result<(), PublishError> {
        let memory = SignedUpTo::at(self.kept.clone(), self.signed.clone());
        match memory.read()? {
            Some(signed) if signed.cursor > 0 => {
                let (_, newest) = page(&self.registry, signed.cursor - 1).await?;
                // By its number: there may be nothing to say of it, as of a print that waits to be issued.
                if newest < signed.cursor {
                    // Durable, as the next change may have the number that is missing now.
                    memory.write(Signed { is_restored: true, ..signed })?;
                }
            }
            Some(_) => {}
            // An event begins. Changes may come before the first tick: that would look like a store whose log is lost.
            None => {
                let is_new = self.mirror.read().size() == 0;
                if is_new && page(&self.registry, 0).await?.0.is_empty() {
                    memory.write(Signed { size: 0, cursor: 0, is_restored: false })?;
                }
            }
        }
        Ok(())
    }

    fn unconfirmed(&self) -> Ended {
        let quorum = self.manifests.current().quorum;
        Ended::Waits(Waits::Unconfirmed { held: self.mirror.read().size(), quorum })
    }
}

/// What a start finds.
enum LookedBack {
    /// As this machine left it.
    AsLeft,
    /// The log is longer than what this machine signed, or the store older: a backup was restored.
    Restored,
    /// The log is shorter than what this machine signed.
    Lacking {
        /// Its size.
        known: u64,
    },
}

async fn load<R: Registry>(registry: &R) -> Result<(Desired, u64), PublishError> {
    let mut desired = Desired::new();
    let mut cursor = 0;
    loop {
        let page = page(registry, cursor).await?;
        desired.extend(page.0.into_iter().map(|entry| (entry.id, entry)));
        if page.1 == cursor {
            return Ok((desired, cursor));
        }
        cursor = page.1;
    }
}
