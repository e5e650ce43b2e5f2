//! A caller of the share holders who counts along, so that theirs can be held against an exact number.

use std::sync::Arc;

use lanyard::cluster::Cluster;
use lanyard_ceremony::Member;
use lanyard_core::manifest::VerifiedManifest;
use lanyard_core::oprf::{BlindedElement, blind};
use lanyard_env::Env;
use lanyard_party::{Folder, expected, trust_anchors};
use lanyard_transport::{Tls, connect};
use lanyard_wire::pseudonym::v1::key_share_service_client::KeyShareServiceClient;
use lanyard_wire::pseudonym::v1::{EvaluateRequest, Purpose};
use tonic::transport::Channel;

use crate::acknowledged::Acknowledged;

/// Elements of a batch.
const ELEMENTS: u64 = 3;

/// A share holder, asked by the police as for a document that is checked, which nobody else does here.
pub(crate) struct Holder {
    pub(crate) name: &'static str,
    client: KeyShareServiceClient<Channel>,
    /// The indices of its share and of the police's.
    quorum: Vec<u32>,
    quota: u64,
}

impl Holder {
    /// Those who have a quota for it.
    pub(crate) fn all(env: &Env, cluster: &Cluster, manifest: &VerifiedManifest) -> Arc<[Self]> {
        let police = Folder::open(cluster.folder(&Member::Police), env);
        let identity = police.service_identity().expect("a certificate");
        let tls = Tls::new(env, identity, trust_anchors(manifest).expect("authorities"));
        let holder = |member: Member, name| {
            let address = cluster.address(&member).expect("an address").to_string();
            let peer = expected(name).expect("a party");
            let channel = connect(env, &tls, &address, &peer).expect("a channel");
            let index = |party| manifest.share_holder(party).expect("a share holder").index.into();
            let mut quotas = manifest.quotas.iter();
            let quota = quotas.find(|quota| {
                (&*quota.holder, &*quota.caller, &*quota.purpose) == (name, "police", "check")
            });
            Self {
                name,
                client: KeyShareServiceClient::new(channel),
                quorum: vec![index(name), index("police")],
                quota: quota.expect("a quota").evaluations,
            }
        };
        [(Member::Trustee, "trustee"), (Member::Committee, "committee")]
            .map(|(member, name)| holder(member, name))
            .into()
    }

    /// Asks for a batch, the same again until it is answered, and compares what the holder has counted. Whether it answered.
    pub(crate) async fn evaluate(&self, answers: &Acknowledged) -> bool {
        let request = {
            let mut answers = answers.note();
            answers.batches.entry(self.name).or_insert_with(|| self.batch()).clone()
        };
        let Ok(answer) = self.client.clone().evaluate(request).await else { return false };
        let mut answers = answers.note();
        answers.batches.remove(self.name);
        let counted = answers.evaluated.entry(self.name).or_default();
        *counted += ELEMENTS;
        let left = answer.get_ref().remaining;
        assert_eq!(self.quota - left, *counted, "evaluations that the {} has counted", self.name);
        true
    }

    fn batch(&self) -> EvaluateRequest {
        let inputs: Vec<[u8; 16]> = (0..ELEMENTS).map(|_| rand::random()).collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(<[u8; 16]>::as_slice).collect();
        let blinded = blind(&inputs, &mut rand::rng()).expect("elements");
        EvaluateRequest {
            purpose: Purpose::Check.into(),
            batch_id: rand::random::<[u8; 16]>().to_vec(),
            quorum: self.quorum.clone(),
            blinded_elements: BlindedElement::encode_batch(blinded.blinded()),
            generation: 1,
        }
    }
}
