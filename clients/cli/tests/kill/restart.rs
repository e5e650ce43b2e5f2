//! What an authority makes of its own folder when it starts again.

use lanyard_ceremony::Member;
use lanyard_wire::committee::v1 as committee;

use crate::acknowledged::Acknowledged;
use crate::event::{Event, eventually};
use crate::fsck;

/// The committee's newest change is a print that waits, of which there is nothing to say: its store is not taken for an older one.
/// A sealed table of its own feed is damaged: it starts without it, and gets it from a mirror, or publishes it again.
pub(crate) async fn of_the_committee(event: &mut Event, acknowledged: &Acknowledged) {
    reissue(event, acknowledged).await;
    event.cluster.stop(&Member::Committee).await.expect("it stops when asked to");
    let folder = event.cluster.folder(&Member::Committee);
    let report = folder.join("data/restored.json");
    if report.exists() {
        std::fs::remove_file(&report).expect("the report of an earlier restore goes");
    }
    let table = fsck::newest(&folder.join("data/feeds/committee/profiles")).expect("a table");
    let mut bytes = std::fs::read(&table).expect("a table");
    bytes[40] ^= 1;
    std::fs::write(&table, bytes).expect("a damaged table");
    assert!(!fsck::look(&folder).0, "{} is damaged", table.display());

    event.cluster.start(&Member::Committee).expect("it starts without the table");
    publishes(event, "the committee publishes again").await;
    eventually("the table is there again", async || fsck::look(&folder).0).await;
    assert!(!report.exists(), "a store that nobody restored was taken for an older one");
}

/// Somebody's badge was lost, and nothing is changed after that; waits until it is published.
async fn reissue(event: &Event, acknowledged: &Acknowledged) {
    let reference = {
        let answers = acknowledged.note();
        let mut prints = answers.prints.iter();
        let issued =
            prints.find(|(_, print)| print.as_ref().is_some_and(|print| print.text.is_some()));
        issued.expect("a badge").0.clone()
    };
    let request =
        committee::ReissueBadgesRequest { references: vec![reference], reason: "lost".to_owned() };
    let answer = event.clients.badges.clone().reissue_badges(request).await.expect("an answer");
    assert_eq!(answer.get_ref().outcomes[0].outcome(), committee::Outcome::Done);
    publishes(event, "it is published").await;
}

/// Waits for two more ticks.
async fn publishes(event: &Event, what: &str) {
    let mut first = None;
    eventually(what, async || {
        let [Some((size, _)), _] = event.clients.published().await else { return false };
        // A service that has just started does not know yet, and says 0.
        size > 0 && size > *first.get_or_insert(size) + 1
    })
    .await;
}
