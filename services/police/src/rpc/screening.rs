//! `ScreeningService`: what the committee hands in and reads.

use std::sync::Arc;

use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::oprf::Pseudonym;
use lanyard_party::StoreKey;
use lanyard_shareholder::Pseudonymiser;
use lanyard_store::{Rereads, Store};
use lanyard_transport::{caller, status};
use lanyard_wire::convert::array;
use lanyard_wire::screening::v1 as wire;
use lanyard_wire::screening::v1::screening_service_server::ScreeningService;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use super::{malformed, page_size, store_error, subject_id};
use crate::act::Acting;
use crate::ids::LocalHash;
use crate::lists::Lists;
use crate::prints::{self, Print, PrintError, PrintSeeds};
use crate::subjects::{self, Submission};
use crate::{disclosures, release};

/// Subjects or prints in one call at most: all of a call is stored together.
const MAX_PER_CALL: usize = 100_000;
/// Keys of one subject, padding included.
const MAX_KEYS: usize = 256;

pub(crate) struct ScreeningRpc {
    pub(crate) store: Store,
    pub(crate) store_key: Arc<StoreKey>,
    pub(crate) lists: Arc<Lists>,
    pub(crate) acting: Acting,
    /// Opens what the committee discloses.
    pub(crate) hpke_key: HpkeSecretKey,
    pub(crate) pseudonymiser: Pseudonymiser,
    /// Of the verdicts.
    pub(crate) rereads: Rereads,
}

#[tonic::async_trait]
impl ScreeningService for ScreeningRpc {
    async fn submit_subjects(
        &self,
        request: Request<Streaming<wire::SubmitSubjectsRequest>>,
    ) -> Result<Response<wire::SubmitSubjectsResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let mut stream = request.into_inner();
        let mut submissions = Vec::new();
        while let Some(message) = stream.message().await? {
            for subject in message.subjects {
                submissions.push(self.submission(subject)?);
            }
            not_too_many(submissions.len())?;
        }
        subjects::submit(&self.store, &self.lists, &submissions, self.acting.by(&operator))
            .await
            .map_err(|error| store_error(&error))?;
        let accepted = submissions.len() as u64;
        tracing::info!(accepted, "subjects submitted");
        Ok(Response::new(wire::SubmitSubjectsResponse { accepted }))
    }

    async fn register_prints(
        &self,
        request: Request<Streaming<wire::RegisterPrintsRequest>>,
    ) -> Result<Response<wire::RegisterPrintsResponse>, Status> {
        let mut stream = request.into_inner();
        let mut prints = Vec::new();
        while let Some(message) = stream.message().await? {
            for print in message.prints {
                prints.push(parse_print(print)?);
            }
            not_too_many(prints.len())?;
        }
        match prints::register(&self.store, &self.acting.env, &self.store_key, &prints).await {
            Ok(()) => {}
            Err(error @ PrintError::SeedTaken { .. }) => return Err(malformed(error)),
            Err(error) => return Err(status::internal(&error)),
        }
        let accepted = prints.len() as u64;
        tracing::info!(accepted, "prints registered");
        Ok(Response::new(wire::RegisterPrintsResponse { accepted }))
    }

    async fn withdraw_subjects(
        &self,
        request: Request<wire::WithdrawSubjectsRequest>,
    ) -> Result<Response<wire::WithdrawSubjectsResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let ids = request.into_inner().subject_ids;
        not_too_many(ids.len())?;
        let ids = ids.iter().map(|id| subject_id(id)).collect::<Result<Vec<_>, _>>()?;
        let withdrawn = subjects::withdraw(&self.store, &ids, self.acting.by(&operator))
            .await
            .map_err(|error| store_error(&error))?;
        Ok(Response::new(wire::WithdrawSubjectsResponse { withdrawn }))
    }

    async fn list_verdicts(
        &self,
        request: Request<wire::ListVerdictsRequest>,
    ) -> Result<Response<wire::ListVerdictsResponse>, Status> {
        let wire::ListVerdictsRequest { cursor, limit } = request.into_inner();
        let limit = page_size(limit);
        let released = release::released_after(&self.store, &self.rereads, cursor, limit)
            .await
            .map_err(|error| store_error(&error))?;
        let cursor = released.last().map_or(cursor, |last| last.sequence);
        let verdicts = released
            .into_iter()
            .map(|one| wire::SubjectVerdict {
                subject_id: one.subject_id.as_slice().to_vec(),
                verdict: wire::Verdict::from(one.verdict).into(),
            })
            .collect();
        Ok(Response::new(wire::ListVerdictsResponse { verdicts, cursor }))
    }

    async fn list_disclosure_requests(
        &self,
        request: Request<wire::ListDisclosureRequestsRequest>,
    ) -> Result<Response<wire::ListDisclosureRequestsResponse>, Status> {
        let wire::ListDisclosureRequestsRequest { after, limit } = request.into_inner();
        let requests = disclosures::asked_after(&self.store, after, page_size(limit))
            .await
            .map_err(|error| store_error(&error))?;
        Ok(Response::new(wire::ListDisclosureRequestsResponse { requests }))
    }

    async fn answer_disclosures(
        &self,
        request: Request<wire::AnswerDisclosuresRequest>,
    ) -> Result<Response<wire::AnswerDisclosuresResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let answers = request.into_inner().answers;
        let settled_ids = self.take_answers(answers, self.acting.by(&operator)).await?;
        Ok(Response::new(wire::AnswerDisclosuresResponse { settled_ids }))
    }
}

impl ScreeningRpc {
    /// Pseudonyms become local hashes here and go no further.
    fn submission(&self, subject: wire::Subject) -> Result<Submission, Status> {
        let wire::Subject { subject_id: id, binding, keys } = subject;
        if keys.len() > MAX_KEYS {
            return Err(malformed(format_args!("keys: at most {MAX_KEYS} for one subject")));
        }
        let mut hashes = Vec::with_capacity(keys.len());
        for key in keys {
            let kind = key.kind();
            let pseudonym = Zeroizing::new(key.pseudonym);
            let pseudonym: Zeroizing<[u8; Pseudonym::SIZE]> =
                Zeroizing::new(array("pseudonym", &pseudonym).map_err(malformed)?);
            match kind {
                wire::KeyKind::Unspecified => {
                    return Err(malformed("kind: unspecified or unknown"));
                }
                wire::KeyKind::Document | wire::KeyKind::NameBirthDate | wire::KeyKind::Variant => {
                    hashes.push(LocalHash::of(&self.store_key, &pseudonym));
                }
            }
        }
        hashes.sort_unstable();
        hashes.dedup();
        let binding = array("binding", &binding).map_err(malformed)?;
        Ok(Submission { id: subject_id(&id)?, binding, keys: hashes })
    }
}

fn parse_print(print: wire::PrintSeeds) -> Result<Print, Status> {
    let gate = Zeroizing::new(print.police_gate_seed);
    let police = Zeroizing::new(print.committee_police_seed);
    let gate = Zeroizing::new(array("police_gate_seed", &gate).map_err(malformed)?);
    let police = Zeroizing::new(array("committee_police_seed", &police).map_err(malformed)?);
    let number = u16::try_from(print.print_number).ok().filter(|number| *number > 0);
    Ok(Print {
        subject_id: subject_id(&print.subject_id)?,
        number: number.ok_or_else(|| malformed("print_number: 1 to 65535"))?,
        seeds: PrintSeeds::new(&gate, &police),
    })
}

fn not_too_many(count: usize) -> Result<(), Status> {
    if count > MAX_PER_CALL {
        return Err(malformed(format_args!("at most {MAX_PER_CALL} in one call; make several")));
    }
    Ok(())
}
