//! The sponsor on the wire, cut off from the authorities.

#![allow(clippy::disallowed_methods)] // a free port

#[path = "../../ceremony/tests/support/mod.rs"]
mod support;

use lanyard_core::badge::{BadgeSecret, ScopedCode};
use lanyard_core::ids::{Audience, Epoch};
use lanyard_env::Env;
use lanyard_party::{Folder, ManifestStore};
use lanyard_transport::{Role, status};
use lanyard_wire::feed::v1::LookupRequest;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::sponsor::v1::desk_service_client::DeskServiceClient;
use lanyard_wire::sponsor::v1::{CheckCodeRequest, CodeVerdict};

use self::support::{Running, event_of, eventually, sample};

#[tokio::test(flavor = "multi_thread")]
async fn desk_and_feed_answer_whom_they_may() {
    let event = event_of(&sample());
    let sponsor = Running::start(&event, "sponsor", lanyard_sponsor::serve);
    let manifest = ManifestStore::open(&Folder::open(&sponsor.folder, &Env::system())).unwrap();
    let id = manifest.current().event.clone();
    let secret = BadgeSecret::from_bytes([1; 32]);
    let code = ScopedCode::derive(&secret, &id, Audience::Sponsor, Epoch::new(1)).to_text(&id);
    let desk =
        DeskServiceClient::new(sponsor.channel_as(&sponsor.folder, Some((Role::Desk, "desk"))));
    let answer = eventually(|| {
        let (mut desk, code) = (desk.clone(), code.to_string());
        async move { desk.check_code(CheckCodeRequest { code }).await }
    });
    assert_eq!(answer.await.into_inner().verdict(), CodeVerdict::Undetermined);

    let gate = event.path().join("gate-1");
    let refused = DeskServiceClient::new(sponsor.channel_as(&gate, None))
        .check_code(CheckCodeRequest { code: code.to_string() })
        .await
        .unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some(status::NOT_ALLOWED));
    let request =
        LookupRequest { origin: "lanyard/other/committee".to_owned(), ..Default::default() };
    let missing = FeedServiceClient::new(sponsor.channel_as(&gate, None)).lookup(request).await;
    assert_eq!(status::reason(&missing.unwrap_err()).as_deref(), Some("NOT_MIRRORED"));
    sponsor.stop().await;
}
