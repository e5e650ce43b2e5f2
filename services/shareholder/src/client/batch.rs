//! One batch: blind, have it evaluated, verify, combine.

use std::sync::Arc;

use futures::future::join_all;
use lanyard_core::oprf::{BlindedElement, Pseudonym};
use lanyard_core::threshold::{Evaluated, Quorum, VerifiedShare, combine_verified, verify_share};
use lanyard_wire::pseudonym::v1 as wire;

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
        blinded_elements: BlindedElement::encode_batch(&blinded),
    };
    let needed = usize::from(inner.public.threshold()) - 1;
    let mut faults = Vec::new();
    loop {
        let chosen = inner.holders.choose(needed, &faults)?;
        let indices = chosen.iter().map(|place| inner.holders.get(*place).index);
        let indices: Vec<_> = indices.chain([inner.own.index()]).collect();
        let quorum = inner.public.quorum(&indices)?;
        request.quorum = quorum.holders().iter().map(|index| index.get().into()).collect();

        let own = own_answer(&inner, &quorum, &blinded);
        let answers = join_all(chosen.iter().map(|place| async {
            let evaluated = inner.holders.ask(*place, purpose, &request).await?;
            verified(&inner, &quorum, &blinded, evaluated).await
        }));
        let (own, answers) = tokio::join!(own, answers);
        let mut shares = vec![own?];
        for (place, answer) in chosen.into_iter().zip(answers) {
            match answer {
                Ok(share) => {
                    inner.holders.praise(place);
                    shares.push(share);
                }
                Err(Unanswered::Fault(kind)) => faults.push(inner.holders.blame(place, kind)),
                Err(Unanswered::Fatal(error)) => return Err(error),
            }
        }
        if shares.len() == needed + 1 {
            let combine = move || combine_verified(state, &quorum, &shares);
            let mut pseudonyms = on_a_core(combine).await??;
            pseudonyms.truncate(count);
            return Ok(pseudonyms);
        }
    }
}

async fn own_answer(
    inner: &Arc<Inner>,
    quorum: &Quorum,
    blinded: &Arc<[BlindedElement]>,
) -> Result<VerifiedShare, PseudonymError> {
    let (inner, quorum, blinded) = (Arc::clone(inner), quorum.clone(), Arc::clone(blinded));
    on_a_core(move || {
        let weighted = inner.own.for_quorum(&quorum)?;
        let evaluated = weighted.evaluate(&blinded, &mut inner.env.rng())?;
        Ok(verify_share(&inner.public, &quorum, &blinded, evaluated)?)
    })
    .await?
}

async fn verified(
    inner: &Arc<Inner>,
    quorum: &Quorum,
    blinded: &Arc<[BlindedElement]>,
    evaluated: Evaluated,
) -> Result<VerifiedShare, Unanswered> {
    let (inner, quorum, blinded) = (Arc::clone(inner), quorum.clone(), Arc::clone(blinded));
    let verify = move || verify_share(&inner.public, &quorum, &blinded, evaluated);
    Ok(on_a_core(verify).await.map_err(Unanswered::Fatal)??)
}

/// Arithmetic in a thread of its own. It cannot panic, so that a failure to join means that the runtime stops.
async fn on_a_core<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PseudonymError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| PseudonymError::Stopped)
}
