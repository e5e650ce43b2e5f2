//! The police's own staff, and the check by document: what the police do without anyone else learning about whom.

use lanyard_client::badge::derive_print;
use lanyard_client::{call, item};
use lanyard_core::ids::{BadgeNumber, PrintNumber};
use lanyard_wire::police::v1::CheckDocumentRequest;
use lanyard_wire::police::v1::check_document_request::Shown;
use lanyard_wire::staff::v1::import_staff_request::Step;
use lanyard_wire::staff::v1::{
    Document, ImportMode, ImportRow, ImportRows, ImportStaffRequest, ImportStart,
    ListPrintsRequest, ListStaffRequest, Member, RegisterPrintsRequest,
};
use zeroize::Zeroizing;

use super::{ADMIT, Play, is, show};
use crate::demo::error::DemoError;
use crate::demo::ledger::Seen;
use crate::demo::plan::{MAIN, PATROL};
use crate::demo::world::{PATIENCE, World, eventually};
use crate::police::staff_seeds;

impl Play<'_> {
    pub(super) async fn staff(&mut self) -> Result<(), DemoError> {
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            enrol(world).await?;
            let text = issue(world).await?;
            let response = eventually("ADMIT", PATIENCE, async || {
                let response = world.gate_1.check(&world.env, &text, MAIN).await?;
                Ok(is(&response, ADMIT).then_some(response))
            })
            .await?;
            Ok(Seen::new(true, show(&response)))
        };
        ledger.expect("police staff, nameless to the committee", "ADMIT", attempt).await;
        for (scenario, number, known) in [
            ("document at the police's desk, known", DOCUMENT, 1),
            ("document at the police's desk, not known", "STRANGER7", 0),
        ] {
            let attempt = async {
                let found = check(world, number).await?;
                Ok(Seen::new(found == known, format!("{found} known under it")))
            };
            ledger.expect(scenario, &format!("{known} known under it"), attempt).await;
        }
        Ok(())
    }
}

const DOCUMENT: &str = "KESTREL77";

fn document(number: &str) -> Document {
    Document { kind: "passport".to_owned(), issuer: "UTO".to_owned(), number: number.to_owned() }
}

/// Enrols an officer, once the committee's profile for the police has arrived.
async fn enrol(world: &World) -> Result<(), DemoError> {
    eventually("the committee offers a profile", PATIENCE, async || {
        let listed = world.staff.clone().list_staff(ListStaffRequest::default()).await;
        let offered = call("list staff", listed)?.profiles;
        Ok((!offered.is_empty()).then_some(()))
    })
    .await?;
    let member = Member {
        reference: "S-1".to_owned(),
        full_name: "Inspector Kestrel".to_owned(),
        documents: vec![document(DOCUMENT)],
        profile: PATROL.to_owned(),
        ..Member::default()
    };
    let mode = ImportMode::AllOrNothing.into();
    let start = Step::Start(ImportStart { mode, dry_run: false });
    let rows = Step::Rows(ImportRows { rows: vec![ImportRow { line: 1, member: Some(member) }] });
    let steps = [start, rows].map(|step| ImportStaffRequest { step: Some(step) });
    let imported = world.staff.clone().import_staff(tokio_stream::iter(steps)).await;
    match call("import staff", imported)?.refused {
        0 => Ok(()),
        _ => Err(DemoError::unexpected("the police refuse their own staff")),
    }
}

/// The police's station: the text of the only badge that waits.
async fn issue(world: &World) -> Result<Zeroizing<String>, DemoError> {
    const WHAT: &str = "list what waits for issue";
    let mut client = world.staff.clone();
    let mut stream = call(WHAT, client.list_prints(ListPrintsRequest::default()).await)?;
    let message = item(WHAT, stream.message().await)?.unwrap_or_default();
    let Some(print) = message.prints.first() else {
        return Err(DemoError::unexpected("no badge of police staff waits for issue"));
    };
    let number = BadgeNumber::new(print.badge_number);
    let derived =
        derive_print(&world.staff_issuing, &world.manifest.event, number, PrintNumber::new(1));
    let text = Zeroizing::new(derived.text.expose_str().to_owned());
    let messages = [RegisterPrintsRequest { prints: vec![staff_seeds(derived.seeds)] }];
    call("register the badge", client.register_prints(tokio_stream::iter(messages)).await)?;
    Ok(text)
}

/// How many are known under a document.
async fn check(world: &World, number: &str) -> Result<usize, DemoError> {
    let request = CheckDocumentRequest {
        shown: Some(Shown::Document(document(number))),
        reason: "demonstration".to_owned(),
        with_attestations: false,
    };
    let answer = world.police_desk.clone().check_document(request).await;
    Ok(call("check a document", answer)?.people.len())
}
