//! One witness, one checkpoint: C2SP tlog-witness from the client's side.

use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::cosignature::{VerifiedCosignature, verify_cosignature_lines};
use lanyard_core::note::NoteSignature;
use lanyard_core::witness_request::{AddCheckpoint, CONFLICT_CONTENT_TYPE};
use lanyard_env::Env;
use lanyard_transport::http1;

use super::{Member, ProofSource, WitnessFault};

/// Characters of a witness's answer that are repeated in messages.
const MAX_ANSWER: usize = 120;

impl Member {
    /// Asks from the size that the witness is believed to know; its answer 409 tells the right one.
    pub(super) async fn exchange(
        &self,
        env: &Env,
        checkpoint: &VerifiedCheckpoint,
        prove: &ProofSource,
    ) -> Result<VerifiedCosignature, WitnessFault> {
        let size = checkpoint.size();
        let mut old = self.state().size.min(size);
        let mut tries = 0;
        loop {
            let proof = prove(old).ok_or(WitnessFault::NoProof { old })?;
            let request = AddCheckpoint { old, proof, note: checkpoint.note().clone() };
            let answer = self.peer.route.post(env, request.to_text()).await;
            let answer =
                answer.map_err(|error| WitnessFault::Unreachable { reason: error.to_string() })?;
            let Some(known) = conflict(&answer) else {
                let cosignature = self.cosignature(checkpoint, &answer)?;
                self.state().size = size;
                return Ok(cosignature);
            };
            self.state().size = known;
            if known > size {
                return Err(WitnessFault::Ahead { size: known });
            }
            if known == size && known == old {
                return Err(WitnessFault::Forked { size });
            }
            tries += 1;
            // One correction suffices; a second one covers a request of ours that was answered meanwhile.
            if known == old || tries > 2 {
                return Err(refused(&answer));
            }
            old = known;
        }
    }

    fn cosignature(
        &self,
        checkpoint: &VerifiedCheckpoint,
        answer: &http1::Answer,
    ) -> Result<VerifiedCosignature, WitnessFault> {
        if answer.status != 200 {
            return Err(refused(answer));
        }
        let lines = std::str::from_utf8(&answer.body).ok();
        let lines = lines.and_then(|lines| NoteSignature::parse_lines(lines).ok());
        let lines = lines.ok_or(WitnessFault::NotCosigned)?;
        let verified = verify_cosignature_lines(checkpoint, &lines, &self.peer.keys);
        let verified = verified.map_err(|_| WitnessFault::NotCosigned)?;
        verified.into_iter().next().ok_or(WitnessFault::NotCosigned)
    }
}

/// The size in an answer 409.
fn conflict(answer: &http1::Answer) -> Option<u64> {
    if answer.status != 409 || answer.content_type.as_deref() != Some(CONFLICT_CONTENT_TYPE) {
        return None;
    }
    std::str::from_utf8(&answer.body).ok()?.strip_suffix('\n')?.parse().ok()
}

fn refused(answer: &http1::Answer) -> WitnessFault {
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().next().unwrap_or_default();
    let line = line.chars().filter(|c| !c.is_control()).take(MAX_ANSWER).collect();
    WitnessFault::Refused { status: answer.status, answer: line }
}
