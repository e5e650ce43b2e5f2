//! The sponsor's desk: whether a code is good now, and nothing else.
//!
//! A code opens one record of the sponsor's audience in one epoch, or in each of two around a change. It is valid if the
//! newest signed and the newest quorum state both say so, and the answer is undetermined if they are too old, missing, or of
//! an epoch that the code is not for.
//! Codes are in memory for the check only: never stored, never logged.

use std::sync::Arc;

use lanyard_core::badge::{EpochKey, ScopedCode};
use lanyard_core::decision::Decision;
use lanyard_core::ids::{Audience, Authority, Epoch, Handle};
use lanyard_core::record::Status as RecordStatus;
use lanyard_feed::{DirectoryView, Lookup, ManifestSource, Mirror, View};
use lanyard_transport::{PartyName, Role, caller, status};
use lanyard_wire::sponsor::v1::desk_service_server::{DeskService, DeskServiceServer};
use lanyard_wire::sponsor::v1::{CheckCodeRequest, CheckCodeResponse, CodeVerdict};
use tonic::{Code, Request, Response, Status};
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// Bytes of the largest request: a code has at most 121 characters.
const MAX_REQUEST: usize = 4 * 1024;

/// The desk, on the sponsor's mirror of the committee. Clones are the same desk.
#[derive(Clone)]
pub struct Desk {
    committee: Arc<Mirror>,
    manifests: Arc<dyn ManifestSource>,
}

/// What a code's record says in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Valid,
    NotValid,
    Unknown,
}

impl Desk {
    /// A desk on the mirror of the committee, which opens the sponsor's audience.
    #[must_use]
    pub fn new(committee: Arc<Mirror>, manifests: Arc<dyn ManifestSource>) -> Self {
        Self { committee, manifests }
    }

    /// The tonic service, its message sizes limited.
    #[must_use]
    pub fn into_service(self) -> DeskServiceServer<Self> {
        DeskServiceServer::new(self).max_decoding_message_size(MAX_REQUEST)
    }

    /// Whether a code is good now, and the age in seconds of what is known.
    #[must_use]
    pub fn check(&self, code: &str) -> (CodeVerdict, u64) {
        let manifest = self.manifests.current();
        let now = self.committee.now();
        let view = self.committee.read();
        let age = view.freshness().map(|time| now.millis_since(time).div_ceil(1_000));
        let age_seconds = age.unwrap_or(0);
        // A badge's own text is no code for this desk: the sponsor must not get to see one.
        let code = match ScopedCode::parse(code, &manifest.event) {
            Ok(code) if code.audience() == Audience::Sponsor => code,
            _ => return (CodeVerdict::NotValid, age_seconds),
        };
        // The most patient of the event's tiers, as a desk lets nobody in.
        if age.is_none_or(|age| age > manifest.longest_limit_seconds()) {
            return (CodeVerdict::Undetermined, age_seconds);
        }
        let (Some(signed), Some(quorum)) = (view.signed(), view.quorum()) else {
            return (CodeVerdict::Undetermined, age_seconds);
        };
        let [signed, quorum] = [signed, quorum.signed()].map(|state| state.head().live_epoch);
        let newest = signed.max(manifest.epoch_at(now));
        if Decision::on_code_of(code.epochs(), &(quorum..=newest)).is_some() {
            return (CodeVerdict::NotValid, age_seconds);
        }
        // Without its first tick, an epoch's directory is what was frozen hours ago, and the one before it has ended.
        if [signed, quorum].iter().any(|live| manifest.has_missed_first_tick(*live, now)) {
            return (CodeVerdict::Undetermined, age_seconds);
        }
        let signed = self.find(&view, signed, &code, DirectoryView::lookup_signed);
        let quorum = self.find(&view, quorum, &code, DirectoryView::lookup_quorum);
        let verdict = match (signed, quorum) {
            (Finding::NotValid, _) | (_, Finding::NotValid) => CodeVerdict::NotValid,
            (Finding::Unknown, _) | (_, Finding::Unknown) => CodeVerdict::Undetermined,
            (Finding::Valid, Finding::Valid) => CodeVerdict::Valid,
        };
        (verdict, age_seconds)
    }

    /// What a state says, which lives in this epoch.
    fn find<'v>(
        &self,
        view: &'v View<'_>,
        epoch: Epoch,
        code: &ScopedCode,
        lookup: impl Fn(&DirectoryView<'v>, &Handle) -> Lookup,
    ) -> Finding {
        let directory = view.directory(epoch, Audience::Sponsor);
        let key = code.key(Authority::Committee, epoch);
        let (Some(directory), Some(key)) = (directory, key) else { return Finding::Unknown };
        self.open(&directory, lookup(&directory, &key.handle()), epoch, key)
    }

    fn open(
        &self,
        directory: &DirectoryView<'_>,
        lookup: Lookup,
        epoch: Epoch,
        key: &EpochKey,
    ) -> Finding {
        let sealed = match lookup {
            Lookup::Missing => return Finding::Unknown,
            Lookup::Absent => return Finding::NotValid,
            Lookup::Found(sealed) => sealed,
        };
        let Some(audience_key) = directory.audience_key() else { return Finding::Unknown };
        let record_key = key.record_key(audience_key);
        match sealed.open(&record_key, self.committee.origin(), epoch, &key.handle()) {
            Ok(record) if record.status == RecordStatus::Valid => Finding::Valid,
            Ok(_) => Finding::NotValid,
            Err(_) => Finding::Unknown,
        }
    }
}

#[tonic::async_trait]
impl DeskService for Desk {
    async fn check_code(
        &self,
        request: Request<CheckCodeRequest>,
    ) -> Result<Response<CheckCodeResponse>, Status> {
        let peer = caller(&request)?;
        if (peer.party(), peer.role()) != (PartyName::Sponsor, Role::Desk) {
            let message = "only desks of the sponsor may check codes";
            return Err(status::error(Code::PermissionDenied, status::NOT_ALLOWED, message));
        }
        let code = Zeroizing::new(request.into_inner().code);
        let (verdict, age_seconds) = self.check(&code);
        Ok(Response::new(CheckCodeResponse { verdict: verdict.into(), age_seconds }))
    }
}
