//! The calls of the police's people for their own staff.

use std::collections::HashMap;

use lanyard_client::badge::derive_print;
use lanyard_core::ids::{BadgeNumber, PrintNumber};
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::police::v1 as police;
use lanyard_wire::staff::v1 as staff;
use lanyard_wire::staff::v1::import_staff_request::Step;
use tonic::Status;

use crate::event::PASSPHRASE;
use crate::flow::{Desk, eventually};

/// A member of the police's staff who does not exist, under the profile `patrol`.
#[must_use]
pub fn member(number: usize) -> staff::Member {
    staff::Member {
        reference: format!("S-{number:04}"),
        full_name: format!("Inspector Kestrel {}", char::from(b'A' + (number % 26) as u8)),
        birth_date: format!("1980-01-{:02}", number % 28 + 1),
        documents: vec![staff::Document {
            kind: "passport".to_owned(),
            issuer: "UTO".to_owned(),
            number: format!("S{number:07}"),
        }],
        function: "patrols".to_owned(),
        profile: "patrol".to_owned(),
        ..staff::Member::default()
    }
}

impl Desk {
    /// Imports staff of the police, once they know which profiles they may give.
    ///
    /// # Errors
    /// The police's.
    ///
    /// # Panics
    /// If no channel can be made, or the committee offers nothing.
    pub async fn enrol_staff(
        &self,
        members: &[staff::Member],
    ) -> Result<staff::ImportStaffResponse, Status> {
        let mut client = self.officer.staff().expect("a channel");
        eventually("profiles are offered", async || {
            let listed = client.list_staff(staff::ListStaffRequest::default()).await.ok()?;
            (!listed.into_inner().profiles.is_empty()).then_some(())
        })
        .await;
        let mode = staff::ImportMode::AllOrNothing.into();
        let start = Step::Start(staff::ImportStart { mode, dry_run: false });
        let rows = (1..)
            .zip(members)
            .map(|(line, member)| staff::ImportRow { line, member: Some(member.clone()) });
        let rows = Step::Rows(staff::ImportRows { rows: rows.collect() });
        let steps = [start, rows].map(|step| staff::ImportStaffRequest { step: Some(step) });
        Ok(client.import_staff(tokio_stream::iter(steps)).await?.into_inner())
    }

    /// The police's own issuing station: derives every waiting print, registers its seeds, waits until the committee has
    /// them, and returns the badge texts by reference.
    ///
    /// # Errors
    /// The police's.
    ///
    /// # Panics
    /// If no channel can be made or the issuing key does not open.
    pub async fn issue_staff(&self) -> Result<HashMap<String, String>, Status> {
        let mut client = self.officer.staff().expect("a channel");
        let key = self.officer.folder().issuing_key(PASSPHRASE).expect("the issuing key opens");
        let event = &self.officer.manifest().event;
        let request = staff::ListPrintsRequest::default();
        let mut stream = client.list_prints(request).await?.into_inner();
        let (mut texts, mut prints) = (HashMap::new(), Vec::new());
        while let Some(message) = stream.message().await? {
            for print in message.prints {
                let number = u16::try_from(print.print_number).expect("a small number");
                let badge = BadgeNumber::new(print.badge_number);
                let derived = derive_print(&key, event, badge, PrintNumber::new(number));
                texts.insert(print.reference, derived.text.expose_str().to_owned());
                prints.push(staff::PrintSeeds {
                    badge_number: print.badge_number,
                    print_number: print.print_number,
                    committee_gate: derived.seeds.committee_gate,
                    committee_police: derived.seeds.committee_police,
                    committee_sponsor: derived.seeds.committee_sponsor,
                    police_gate: derived.seeds.police_gate,
                });
            }
        }
        let messages = [staff::RegisterPrintsRequest { prints }];
        client.register_prints(tokio_stream::iter(messages)).await?;
        self.handed_over().await;
        Ok(texts)
    }

    /// Waits until the committee has taken over all that was issued.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn handed_over(&self) {
        let mut client = self.officer.staff().expect("a channel");
        eventually("the committee takes the prints over", async || {
            let listed = client.list_staff(staff::ListStaffRequest::default()).await.ok()?;
            let members = listed.into_inner().members;
            let waits = members.iter().any(|one| one.print_state() == staff::PrintState::Issued);
            (!waits).then_some(())
        })
        .await;
    }

    /// Suspends, reinstates or revokes badges of staff.
    ///
    /// # Errors
    /// The police's.
    ///
    /// # Panics
    /// If no channel can be made, or the change was not done.
    pub async fn staff_says(&self, action: StatusAction, reference: &str) -> Result<u64, Status> {
        let request = staff::ChangeStatusRequest {
            action: action.into(),
            references: vec![reference.to_owned()],
            reason: "a test".to_owned(),
        };
        let mut client = self.officer.staff().expect("a channel");
        let answer = client.change_status(request).await?.into_inner();
        assert_eq!(answer.outcomes[0].outcome(), staff::Outcome::Done, "{reference}");
        Ok(answer.change_id)
    }

    /// Checks a document at the police's desk.
    ///
    /// # Errors
    /// The police's.
    ///
    /// # Panics
    /// If no channel can be made.
    pub async fn check_document(
        &self,
        kind: &str,
        issuer: &str,
        number: &str,
    ) -> Result<police::CheckDocumentResponse, Status> {
        let document = staff::Document {
            kind: kind.to_owned(),
            issuer: issuer.to_owned(),
            number: number.to_owned(),
        };
        let request = police::CheckDocumentRequest {
            shown: Some(police::check_document_request::Shown::Document(document)),
            reason: "a test".to_owned(),
            with_attestations: true,
        };
        let mut client = self.police_desk.police_desk().expect("a channel");
        Ok(client.check_document(request).await?.into_inner())
    }
}
