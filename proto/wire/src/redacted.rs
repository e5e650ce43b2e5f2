//! Debug output for messages whose contents must reach no log.

use std::fmt;

use crate::{committee, epoch, gate, police, screening, sponsor, staff};

macro_rules! redact {
    ($($message:ty),* $(,)?) => {
        $(
            impl fmt::Debug for $message {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(concat!(stringify!($message), " { .. }"))
                }
            }
        )*
    };
}

redact!(
    committee::v1::Person,
    committee::v1::Document,
    committee::v1::Print,
    committee::v1::PrintSeeds,
    committee::v1::CheckBadgeRequest,
    committee::v1::check_badge_request::Shown,
    committee::v1::Disclosure,
    committee::v1::DecideDisclosureRequest,
    police::v1::ListEntry,
    police::v1::ListDocument,
    police::v1::ChangeStatusRequest,
    police::v1::CheckBadgeRequest,
    police::v1::Match,
    police::v1::Identity,
    police::v1::Disclosure,
    police::v1::RequestDisclosureRequest,
    police::v1::DrawSampleRequest,
    screening::v1::PrintSeeds,
    screening::v1::SubjectKey,
    screening::v1::DisclosureRequest,
    screening::v1::DisclosureAnswer,
    screening::v1::disclosure_answer::Decision,
    police::v1::CheckDocumentRequest,
    police::v1::check_document_request::Shown,
    staff::v1::Member,
    staff::v1::Document,
    staff::v1::Print,
    staff::v1::PrintSeeds,
    staff::v1::HandedPrint,
    sponsor::v1::CheckCodeRequest,
    gate::v1::CheckRequest,
    gate::v1::ExportAttestationsRequest,
    epoch::v1::StartEpochRequest,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_inside_a_message_does_not_print() {
        let person = committee::v1::Person { full_name: "Canary".into(), ..Default::default() };
        let row = committee::v1::ImportRow { line: 7, person: Some(person) };
        let shown = format!("{row:?}");
        assert!(shown.contains("line: 7") && !shown.contains("Canary"), "{shown}");
    }
}
