//! What came of it, asked of the services.

use std::collections::{HashMap, HashSet};

use lanyard::cluster::Cluster;
use lanyard_ceremony::Member;
use lanyard_client::Connection;
use lanyard_env::Env;
use lanyard_transport::Role;
use lanyard_wire::committee::v1::ListPeopleRequest;
use lanyard_wire::police::v1::ListSubjectsRequest;
use lanyard_wire::pseudonym::v1::GetUsageRequest;
use lanyard_wire::screening::v1::KeyKind;

use super::Failure;
use super::input::Input;

/// References in one request.
const PAGE: usize = 500;

/// Who matches.
pub(super) struct Found {
    pub(super) planted: u64,
    pub(super) others: u64,
    /// Of the others, those that match by more than a variant of a name.
    pub(super) others_named: u64,
}

fn operator(cluster: &Cluster, member: &Member) -> Result<Connection, Failure> {
    let folder = cluster.folder(member);
    Ok(Connection::open(&Env::system(), &folder, &[Role::Operator], None)?)
}

/// Evaluations that the trustee has counted, by purpose.
pub(super) async fn usage(cluster: &Cluster) -> Result<HashMap<i32, u64>, Failure> {
    let trustee = operator(cluster, &Member::Trustee)?;
    let usage = trustee.key_share()?.get_usage(GetUsageRequest {}).await?.into_inner();
    Ok(usage.usages.into_iter().map(|usage| (usage.purpose, usage.used)).collect())
}

/// The police's matches beside the committee's people, joined by subject id, which neither could do alone.
pub(super) async fn found(cluster: &Cluster, input: &Input) -> Result<Found, Failure> {
    let mut subjects = operator(cluster, &Member::Police)?.subjects()?;
    let (mut matched, mut named) = (HashSet::new(), HashSet::new());
    let mut request = ListSubjectsRequest { matched_only: true, ..Default::default() };
    loop {
        let page = subjects.list_subjects(request.clone()).await?.into_inner();
        for subject in page.subjects {
            if subject.matches.iter().any(|one| one.kind() != KeyKind::Variant) {
                named.insert(subject.subject_id.clone());
            }
            matched.insert(subject.subject_id);
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let mut enrolment = operator(cluster, &Member::Committee)?.enrolment()?;
    let mut planted = 0;
    for references in input.planted_references().chunks(PAGE) {
        let references = references.to_vec();
        let request = ListPeopleRequest { references, ..Default::default() };
        let people = enrolment.list_people(request).await?.into_inner().people;
        for person in people {
            planted += u64::from(matched.remove(&person.subject_id));
            named.remove(&person.subject_id);
        }
    }
    Ok(Found { planted, others: matched.len() as u64, others_named: named.len() as u64 })
}
