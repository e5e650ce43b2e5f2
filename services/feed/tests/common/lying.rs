//! What an honest mirror would send, to be tampered with.

use std::sync::Arc;

use lanyard_feed::{Evidence, Mirror};
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{FollowResponse, Tick};

use super::{Publisher, World, apply, evidence, pull, put, sent, versions};

pub fn response(update: Update) -> FollowResponse {
    FollowResponse { update: Some(update) }
}

/// Changes the tick among what was sent.
pub fn with_tick(mut sent: Vec<FollowResponse>, change: impl Fn(&mut Tick)) -> Vec<FollowResponse> {
    for response in &mut sent {
        if let Some(Update::Tick(tick)) = &mut response.update {
            change(tick);
        }
    }
    sent
}

/// A gate that follows, a committee one tick ahead of it, and what an honest mirror would send.
pub async fn one_tick_behind<'w>(
    world: &'w World,
) -> (Publisher<'w>, Arc<Mirror>, Vec<FollowResponse>) {
    let mut committee = world.publisher("committee");
    committee.begin(200);
    committee.settled(put(&[1], 2));
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    committee.settled(put(&[1, 2], 3));
    let honest = sent(&committee.mirror, &gate).await;
    (committee, gate, honest)
}

/// Nothing changed; the honest mirror is still welcome, and so is a restart.
pub async fn unharmed(world: &World, gate: Arc<Mirror>, honest: Vec<FollowResponse>) {
    assert_eq!(versions(&gate, 1), (Some(2), Some(2)));
    assert_eq!(versions(&gate, 2), (Some(1), Some(1)));
    apply(&gate, honest).unwrap();
    assert_eq!(versions(&gate, 1), (Some(3), Some(3)));
    drop(gate);
    assert_eq!(versions(&world.gate("gate"), 2), (Some(3), Some(3)));
}

pub fn kept(world: &World, mirror: &str) -> Vec<Evidence> {
    evidence(&world.path(mirror), &*world.env.files)
}
