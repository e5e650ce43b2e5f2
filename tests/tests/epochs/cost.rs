//! What a new epoch is said to cost is what a follower then receives.

use lanyard_client::Connection;
use lanyard_core::head::MapHead;
use lanyard_core::ids::{Authority, Epoch, Origin};
use lanyard_env::Env;
use lanyard_party::{Folder, ManifestStore, expected, trust_anchors};
use lanyard_tests::{Desk, TestEvent, run_together, sample_plan};
use lanyard_transport::{Tls, connect};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::Audience;
use lanyard_wire::epoch::v1::GetEpochCostResponse;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{DirectoryId, FollowRequest, FollowResponse};
use prost::Message as _;
use tonic::Streaming;

use crate::panic::{cost, start};
use crate::published;

/// How far the two may be apart, in percent: the messages themselves take some bytes.
const TOLERANCE: u64 = 1;

/// Follows an authority's feed with the sponsor's certificate: as a gate does, or as a mirror.
async fn follow(
    event: &TestEvent,
    authority: Authority,
    audiences: &[Audience],
) -> Streaming<FollowResponse> {
    let folder = Folder::open(event.folder("sponsor"), event.env());
    let manifest = ManifestStore::open(&folder).unwrap().current();
    let anchors = trust_anchors(&manifest).unwrap();
    let tls = Tls::new(event.env(), folder.service_identity().unwrap(), anchors);
    let address = event.address(authority.name()).to_string();
    let channel =
        connect(event.env(), &tls, &address, &expected(authority.name()).unwrap()).unwrap();
    let request = FollowRequest {
        origin: Origin::new(&manifest.event, authority).as_str().to_owned(),
        audiences: audiences.iter().map(|audience| (*audience).into()).collect(),
        ..FollowRequest::default()
    };
    FeedServiceClient::new(channel).follow(request).await.unwrap().into_inner()
}

/// Bytes of what comes for an epoch, until it is live.
async fn received(mut stream: Streaming<FollowResponse>, epoch: u32) -> u64 {
    let is_of = |directory: &Option<DirectoryId>| directory.is_some_and(|one| one.epoch == epoch);
    let mut sum = 0;
    loop {
        let response = stream.message().await.unwrap().unwrap();
        let length = response.encoded_len() as u64;
        let is_counted = match response.update.unwrap() {
            Update::Snapshot(part) => is_of(&part.directory),
            Update::Key(key) => is_of(&key.directory),
            Update::Profiles(table) => is_of(&table.directory),
            Update::Tick(tick) => {
                let deltas = tick.deltas.iter().filter(|delta| is_of(&delta.directory));
                sum += deltas.map(|delta| delta.encoded_len() as u64).sum::<u64>();
                if MapHead::from_bytes(&tick.head).unwrap().live_epoch == Epoch::new(epoch) {
                    return sum;
                }
                false
            }
            _ => false,
        };
        if is_counted {
            sum += length;
        }
    }
}

/// The bytes that are announced for some audiences; for all, if none is given.
fn announced(cost: &GetEpochCostResponse, audiences: &[Audience]) -> u64 {
    let wanted = |audience: Audience| audiences.is_empty() || audiences.contains(&audience);
    let directories = cost.directories.iter().filter(|one| wanted(one.audience()));
    directories.map(|one| one.bytes).sum()
}

/// Profiles enough for their table to weigh something.
async fn many_profiles(registrar: &Connection) {
    let profile = |number: u32| committee::Profile {
        code: format!("crew-{number}"),
        category: "Volunteer".to_owned(),
        venues: vec!["STA".to_owned()],
        ..Default::default()
    };
    let profiles = (0..200).map(profile).collect();
    let request = committee::PutProfilesRequest { profiles };
    registrar.enrolment().unwrap().put_profiles(request).await.unwrap();
}

#[test]
fn what_a_new_epoch_costs_is_what_a_follower_receives() {
    let mut plan = sample_plan();
    plan.padding.decoy_floor = 400;
    plan.padding.catch_up_percent = 20;
    // It is re-sealed whole at its hour, whatever the epoch.
    plan.padding.sponsor_reseal_seconds = 3_600;
    let (event, _) = published(&plan, &Env::system(), 4);
    run_together(async {
        let desk = Desk::of(&event);
        many_profiles(&desk.registrar).await;
        desk.settle().await;
        for (authority, operator) in
            [(Authority::Committee, &desk.registrar), (Authority::Police, &desk.officer)]
        {
            let cost = cost(operator).await;
            let followers: [&[Audience]; 2] = [&[Audience::Gate], &[]];
            let mut streams = Vec::new();
            for audiences in followers {
                streams.push((audiences, follow(&event, authority, audiences).await));
            }
            assert_eq!(start(operator).await, cost.next_epoch);
            for (audiences, stream) in streams {
                let received = received(stream, cost.next_epoch).await;
                let announced = announced(&cost, audiences);
                println!("{authority} {audiences:?}: {received} bytes, {announced} announced");
                assert!(
                    received.abs_diff(announced) <= received * TOLERANCE / 100,
                    "{authority} {audiences:?}: {received} bytes, {announced} announced"
                );
            }
        }
    });
}
