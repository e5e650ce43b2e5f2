//! One batch: blind, have it evaluated, verify, combine.

use std::sync::Arc;

use futures::future::join_all;
use lanyard_core::oprf::{BlindedElement, Pseudonym};
use lanyard_core::threshold::{Evaluated, Quorum, VerifiedShare, combine_with_own, verify_share};
use lanyard_party::{Generation, HeldShare};
use lanyard_wire::pseudonym::v1 as wire;

use super::fault::FaultKind;
use super::holders::Unanswered;
use super::kept::Batch;
use super::{Inner, PseudonymError};
use crate::purpose::Purpose;

/// Computes one batch, with as many holders as it takes.
pub(super) async fn run(
    inner: Arc<Inner>,
    purpose: Purpose,
    batch: Batch,
) -> Result<Vec<Pseudonym>, PseudonymError> {
    let (count, batch_id) = (batch.len(), batch.id());
    let state = on_a_core(move || batch.blind()).await??;

    let blinded: Arc<[BlindedElement]> = state.blinded().into();
    let mut request = wire::EvaluateRequest {
        purpose: wire::Purpose::from(purpose).into(),
        batch_id: batch_id.to_vec(),
        quorum: Vec::new(),
        generation: 0,
        blinded_elements: BlindedElement::encode_batch(&blinded),
    };
    let mut faults = Vec::new();
    loop {
        // A refresh may come between two tries: one try is of one generation.
        let held = inner.shares.current();
        let needed = usize::from(held.public().threshold()) - 1;
        let chosen = inner.holders.choose(needed, &faults)?;
        let indices = chosen.iter().map(|place| inner.holders.get(*place).index);
        let indices: Vec<_> = indices.chain([held.share().index()]).collect();
        let quorum = held.public().quorum(&indices)?;
        request.generation = held.generation().get();
        request.quorum = quorum.holders().iter().map(|index| index.get().into()).collect();

        let answers = join_all(chosen.iter().map(|place| async {
            let evaluated = inner.holders.ask(*place, purpose, &request).await?;
            verified(&held, &quorum, &blinded, evaluated).await
        }))
        .await;
        let mut shares = Vec::with_capacity(needed);
        for (place, answer) in chosen.into_iter().zip(answers) {
            match answer {
                Ok(share) => {
                    inner.holders.praise(place);
                    shares.push(share);
                }
                // It is ahead of us: the same batch once more under the new share.
                Err(Unanswered::Fault(FaultKind::OtherGeneration { .. }))
                    if has_switched(&inner, held.generation()).await? => {}
                Err(Unanswered::Fault(kind)) => faults.push(inner.holders.blame(place, kind)),
                Err(Unanswered::Fatal(error)) => return Err(error),
            }
        }
        if shares.len() == needed {
            let combine =
                move || combine_with_own(state, held.public(), &quorum, held.share(), &shares);
            let mut pseudonyms = on_a_core(combine).await??;
            pseudonyms.truncate(count);
            return Ok(pseudonyms);
        }
    }
}

/// Whether another generation than this one is in force now.
async fn has_switched(inner: &Arc<Inner>, from: Generation) -> Result<bool, PseudonymError> {
    let inner = Arc::clone(inner);
    let look_again = move || {
        inner.shares.look_again();
        inner.shares.current().generation() != from
    };
    on_a_core(look_again).await
}

async fn verified(
    held: &Arc<HeldShare>,
    quorum: &Quorum,
    blinded: &Arc<[BlindedElement]>,
    evaluated: Evaluated,
) -> Result<VerifiedShare, Unanswered> {
    let (held, quorum, blinded) = (Arc::clone(held), quorum.clone(), Arc::clone(blinded));
    let verify = move || verify_share(held.public(), &quorum, &blinded, evaluated);
    Ok(on_a_core(verify).await.map_err(Unanswered::Fatal)??)
}

/// Arithmetic in a thread of its own. It cannot panic, so that a failure to join means that the runtime stops.
async fn on_a_core<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PseudonymError> {
    lanyard_env::blocking(work).await.map_err(|_| PseudonymError::Stopped)
}
