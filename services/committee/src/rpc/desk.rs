//! `DeskService`.

use std::sync::Arc;

use lanyard_core::badge::Presented;
use lanyard_core::ids::{Audience, Authority};
use lanyard_party::{ManifestStore, StoreKey};
use lanyard_store::{SealValue, Store, StoreError};
use lanyard_transport::status;
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::committee::v1::check_badge_request::Shown;
use lanyard_wire::committee::v1::desk_service_server::DeskService;
use tonic::{Request, Response, Status};

use super::{people, store_error};
use crate::badges::gate_tag;
use crate::police_badges;

pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) store_key: Arc<StoreKey>,
    pub(crate) manifests: Arc<ManifestStore>,
}

#[tonic::async_trait]
impl DeskService for Desk {
    async fn check_badge(
        &self,
        request: Request<wire::CheckBadgeRequest>,
    ) -> Result<Response<wire::CheckBadgeResponse>, Status> {
        let failed = |error| store_error(&error);
        let response = match request.into_inner().shown {
            None => return Err(status::malformed("shown: give a badge text or a reference")),
            Some(Shown::Reference(reference)) => wire::CheckBadgeResponse {
                person: people::by_reference(&self.store, &reference).await.map_err(failed)?,
                ..Default::default()
            },
            Some(Shown::BadgeText(text)) => {
                let event = &self.manifests.current().event;
                let presented = Presented::parse(&text, event)
                    .map_err(|error| status::malformed(format!("badge_text: {error}")))?;
                let Presented::Badge(secret) = presented else {
                    return Err(status::malformed(
                        "badge_text: a scoped code names nobody here; scan the badge itself",
                    ));
                };
                let seed = secret.seed(Authority::Committee, Audience::Gate);
                let tag = gate_tag(&self.store_key, &seed);
                let mut response = wire::CheckBadgeResponse::default();
                if let Some((person, print)) =
                    people::by_gate_tag(&self.store, &tag).await.map_err(failed)?
                {
                    (response.person, response.shown_print_number) = (Some(person), print);
                } else if let Some((badge, print)) =
                    police_badges::by_gate_tag(&self.store, &tag).await.map_err(failed)?
                {
                    (response.police_badge, response.shown_print_number) = (Some(badge), print);
                }
                response
            }
        };
        self.refuse_damaged(&response).await.map_err(failed)?;
        Ok(Response::new(response))
    }
}

impl Desk {
    /// Nothing is said from a damaged row.
    async fn refuse_damaged(&self, response: &wire::CheckBadgeResponse) -> Result<(), StoreError> {
        let (person, police) = (response.person.as_ref(), response.police_badge.as_ref());
        let of_person = person.map(|person| ("people", "prints", person.badge_number));
        let of_police = police.map(|badge| ("police_badges", "police_prints", badge.badge_number));
        for (badges, prints, number) in of_person.into_iter().chain(of_police) {
            for table in [badges, prints] {
                let number = [SealValue::Number(number.into())];
                self.store.refuse_damaged(table, "badge_number = $1", &number).await?;
            }
        }
        Ok(())
    }
}
