//! What the committee answers to requests for disclosure: opened, turned into local hashes, checked.

use lanyard_core::disclosure::DisclosedIdentity;
use lanyard_core::ids::EventId;
use lanyard_core::oprf::Pseudonym;
use lanyard_shareholder::{PseudonymError, Purpose};
use lanyard_store::StoreError;
use lanyard_transport::status;
use lanyard_wire::screening::v1 as wire;
use lanyard_wire::screening::v1::disclosure_answer::Decision;
use tonic::{Code, Status};
use zeroize::Zeroizing;

use super::screening::ScreeningRpc;
use super::{malformed, store_error, text};
use crate::act::Act;
use crate::disclosures::{self, Answer};
use crate::ids::LocalHash;
use crate::states::DisclosureState;

/// Answers in one call at most.
const MAX_ANSWERS: usize = 64;

/// An answer whose box is open.
enum Opened {
    Refused(String),
    Disclosed(DisclosedIdentity),
}

impl ScreeningRpc {
    /// Takes answers, and returns the requests that are settled. One that cannot be read is passed over: it is no answer.
    pub(super) async fn take_answers(
        &self,
        answers: Vec<wire::DisclosureAnswer>,
        act: Act<'_>,
    ) -> Result<Vec<u64>, Status> {
        if answers.len() > MAX_ANSWERS {
            return Err(malformed(format_args!("answers: at most {MAX_ANSWERS} in one call")));
        }
        let failed = |error| store_error(&error);
        let event = self.acting.manifests.current().event.clone();
        let (mut settled, mut opened) = (Vec::new(), Vec::new());
        for answer in answers {
            let decided_by = text("decided_by", &answer.decided_by)?.to_owned();
            let Some(decision) = answer.decision else {
                return Err(malformed("decision: missing"));
            };
            let request = i64::try_from(answer.request_id).unwrap_or(i64::MAX);
            let subject = match disclosures::waiting(&self.store, request).await {
                Ok(Some(subject)) => subject,
                Ok(None) => {
                    settled.push(answer.request_id);
                    continue;
                }
                Err(error) if error.is_damaged() => {
                    waits(request, &error);
                    continue;
                }
                Err(error) => return Err(failed(error)),
            };
            let answer = match decision {
                Decision::Refusal(why) => Opened::Refused(text("refusal", &why)?.to_owned()),
                Decision::SealedIdentity(sealed) => {
                    let number = answer.request_id;
                    let subject = subject.as_slice();
                    let key = &self.hpke_key;
                    match DisclosedIdentity::open(key, &event, number, subject, &sealed) {
                        Ok(identity) => Opened::Disclosed(identity),
                        Err(error) => {
                            tracing::warn!(request, %error, "a disclosed identity cannot be read");
                            continue;
                        }
                    }
                }
            };
            opened.push((request, decided_by, answer));
        }
        let identities = opened.iter().filter_map(|(.., answer)| match answer {
            Opened::Disclosed(identity) => Some(identity),
            Opened::Refused(_) => None,
        });
        let mut hashes =
            self.hashes(identities, &event).await.map_err(|e| unavailable(&e))?.into_iter();
        for (request, decided_by, answer) in opened {
            let answer = match answer {
                Opened::Refused(why) => Answer::Refused(why),
                Opened::Disclosed(identity) => {
                    Answer::Disclosed(identity, hashes.next().unwrap_or_default())
                }
            };
            let tools = (&*self.store_key, &event, &self.acting.env);
            let settling =
                disclosures::settle(&self.store, tools, request, &decided_by, &answer, act);
            let state = match settling.await {
                Err(error) if error.is_damaged() => {
                    waits(request, &error);
                    continue;
                }
                other => other.map_err(failed)?,
            };
            if state == Some(DisclosureState::Mismatch) {
                tracing::warn!(
                    request,
                    "the committee disclosed another identity than it submitted"
                );
            }
            settled.push(request as u64);
        }
        Ok(settled)
    }

    /// For each identity, the local hashes of its keys' pseudonyms: sorted, each once.
    async fn hashes<'a>(
        &self,
        identities: impl Iterator<Item = &'a DisclosedIdentity>,
        event: &EventId,
    ) -> Result<Vec<Vec<LocalHash>>, PseudonymError> {
        let (mut keys, mut lengths) = (Vec::new(), Vec::new());
        for identity in identities {
            let mut own = identity.keys(event);
            lengths.push(own.len());
            keys.append(&mut own);
        }
        if keys.is_empty() {
            return Ok(vec![Vec::new(); lengths.len()]);
        }
        let pseudonyms = self.pseudonymiser.pseudonyms(Purpose::Check, &keys).await?;
        let mut pseudonyms = pseudonyms.iter();
        let hashes = lengths.into_iter().map(|length| {
            let mut own: Vec<LocalHash> = pseudonyms
                .by_ref()
                .take(length)
                .map(|pseudonym| {
                    let bytes: Zeroizing<[u8; Pseudonym::SIZE]> = pseudonym.to_bytes();
                    LocalHash::of(&self.store_key, &bytes)
                })
                .collect();
            own.sort_unstable();
            own.dedup();
            own
        });
        Ok(hashes.collect())
    }
}

/// One answer stays with the committee, and is nothing to the others.
fn waits(request: i64, error: &StoreError) {
    tracing::error!(request, %error, "a disclosed identity waits: it cannot be checked");
}

/// The answers stay with the committee, which brings them again.
fn unavailable(error: &PseudonymError) -> Status {
    tracing::warn!(%error, "disclosed identities wait: their keys cannot be checked");
    status::error(Code::Unavailable, "PSEUDONYMS_UNAVAILABLE", error.to_string())
}
