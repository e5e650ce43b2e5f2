use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::decision::{Cause, Direction};
use crate::hpke_box::HpkeSecretKey;
use crate::ids::{Epoch, Handle, Hash, Timestamp};
use crate::note::{KeyName, Note, SigningKey};

fn origin() -> ReceiptOrigin {
    ReceiptOrigin::new(&EventId::parse("games").unwrap(), "gate-1").unwrap()
}

fn other_origin() -> ReceiptOrigin {
    ReceiptOrigin::new(&EventId::parse("games").unwrap(), "gate-2").unwrap()
}

fn body(nonce: u8) -> ReceiptBody {
    let consulted = |handle| Consulted {
        epoch: Epoch::new(4),
        handle: Some(Handle::new([handle; 16])),
        checkpoint_size: 900,
    };
    ReceiptBody {
        cause: Cause::BindingsDiffer,
        age_seconds: Some(3),
        committee: consulted(1),
        police: consulted(2),
        access_point: "north-3".to_owned(),
        direction: Direction::In,
        nonce: CheckNonce::new([nonce; 16]),
        manifest_version: 2,
        overridden: None,
    }
}

/// A gate that gave `count` receipts and signed once.
struct Gate {
    audit: HpkeSecretKey,
    key: SigningKey,
    session: SealedSession,
    sealed: Vec<SealedBody>,
    entries: Vec<ReceiptEntry>,
    chains: Vec<ReceiptChain>,
    head: Note,
}

impl Gate {
    fn after(count: u8) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let audit = HpkeSecretKey::generate(&mut rng);
        let key = SigningKey::generate(KeyName::parse(origin().as_str()).unwrap(), &mut rng);
        let (session, sealed_session) =
            AuditSession::begin(&audit.public_key(), &origin(), &mut rng).unwrap();
        let mut chain = ReceiptChain::start(&origin());
        let (mut sealed, mut entries, mut chains) = (Vec::new(), Vec::new(), vec![chain]);
        for nonce in 1..=count {
            let (body, commitment) = session.seal(chain.sequence() + 1, &body(nonce));
            let time = Timestamp::from_millis(1_000 + u64::from(nonce));
            entries.push(chain.push(time, commitment));
            sealed.push(body);
            chains.push(chain);
        }
        let head = chain.head(Timestamp::from_millis(9_000)).sign(&origin(), &key).unwrap();
        Self { audit, key, session: sealed_session, sealed, entries, chains, head }
    }

    fn receipt(&self, sequence: usize) -> Receipt {
        Receipt {
            before: self.chains[sequence - 1].hash(),
            entry: self.entries[sequence - 1],
            after: self.entries[sequence..].to_vec(),
            head: self.head.clone(),
            session: Some(self.session.clone()),
            sealed: Some(self.sealed[sequence - 1].clone()),
            opened: None,
        }
    }

    fn verify(&self, receipt: &Receipt) -> Result<VerifiedReceipt, ReceiptError> {
        verify_receipt(receipt, &origin(), self.key.verifying_key())
    }
}

#[test]
fn every_receipt_of_a_batch_verifies_and_opens() {
    let gate = Gate::after(5);
    for sequence in 1..=5 {
        let mut receipt = gate.receipt(sequence);
        let verified = gate.verify(&receipt).unwrap();
        assert_eq!((verified.entry().sequence, verified.body()), (sequence as u64, None));
        assert_eq!(verified.head().head().sequence, 5);
        receipt.open(&gate.audit, &origin()).unwrap();
        let verified = gate.verify(&receipt).unwrap();
        assert_eq!(verified.body(), Some(&body(sequence as u8)));
    }
}

#[test]
fn the_chain_verifies_without_its_bodies() {
    let gate = Gate::after(3);
    let mut receipt = gate.receipt(2);
    (receipt.session, receipt.sealed) = (None, None);
    assert!(gate.verify(&receipt).is_ok());
    let refused = receipt.open(&gate.audit, &origin());
    assert_eq!(refused, Err(ReceiptError::Sealed { sequence: 2 }));
}

#[test]
fn altered_entries_do_not_lead_to_the_head() {
    let gate = Gate::after(4);
    let alterations: [fn(&mut Receipt); 6] = [
        |receipt| receipt.before = Hash::new([0; 32]),
        |receipt| receipt.entry.time = Timestamp::from_millis(1),
        |receipt| receipt.entry.commitment = Hash::new([0; 32]),
        |receipt| receipt.after[0].commitment = Hash::new([0; 32]),
        |receipt| {
            receipt.after.pop();
        },
        |receipt| receipt.after.clear(),
    ];
    for alter in alterations {
        let mut receipt = gate.receipt(2);
        alter(&mut receipt);
        assert_eq!(gate.verify(&receipt), Err(ReceiptError::Chain { sequence: 4 }));
    }
}

#[test]
fn entries_out_of_sequence_are_refused() {
    let gate = Gate::after(4);
    let mut receipt = gate.receipt(1);
    receipt.after.remove(0);
    let refused = gate.verify(&receipt);
    assert_eq!(refused, Err(ReceiptError::Sequence { last: 1, given: 3 }));
    let mut receipt = gate.receipt(1);
    receipt.entry.sequence = 0;
    let refused = gate.verify(&receipt);
    assert_eq!(refused, Err(ReceiptError::Sequence { last: 0, given: 0 }));
    let mut receipt = gate.receipt(1);
    receipt.entry.sequence = u64::MAX;
    assert!(matches!(gate.verify(&receipt), Err(ReceiptError::Sequence { .. })));
}

#[test]
fn a_body_that_the_gate_did_not_commit_to_is_refused() {
    let gate = Gate::after(3);
    let mut receipt = gate.receipt(2);
    receipt.opened = {
        let mut other = gate.receipt(3);
        other.open(&gate.audit, &origin()).unwrap();
        other.opened
    };
    assert_eq!(gate.verify(&receipt), Err(ReceiptError::Commitment { sequence: 2 }));
    // A sealed body of another receipt does not even open.
    let mut receipt = gate.receipt(2);
    receipt.sealed = gate.receipt(3).sealed;
    let refused = receipt.open(&gate.audit, &origin());
    assert_eq!(refused, Err(ReceiptError::Sealed { sequence: 2 }));
}

#[test]
fn only_the_audit_key_opens_a_session() {
    let gate = Gate::after(1);
    let other = HpkeSecretKey::from_bytes([1; 32]);
    let refused = gate.receipt(1).open(&other, &origin());
    assert!(matches!(refused, Err(ReceiptError::Box(_))));
    let refused = gate.receipt(1).open(&gate.audit, &other_origin());
    assert!(matches!(refused, Err(ReceiptError::Box(_))));
}

#[test]
fn a_body_of_another_session_is_refused() {
    let gate = Gate::after(1);
    let mut rng = ChaCha20Rng::seed_from_u64(12);
    let (_, later) = AuditSession::begin(&gate.audit.public_key(), &origin(), &mut rng).unwrap();
    let mut receipt = gate.receipt(1);
    receipt.session = Some(later);
    let refused = receipt.open(&gate.audit, &origin());
    assert_eq!(refused, Err(ReceiptError::Session { sequence: 1 }));
}

#[test]
fn a_head_of_another_gate_or_key_is_refused() {
    let gate = Gate::after(2);
    let receipt = gate.receipt(1);
    let mut rng = ChaCha20Rng::seed_from_u64(13);
    let name = KeyName::parse(origin().as_str()).unwrap();
    let stranger = SigningKey::generate(name, &mut rng);
    let refused = verify_receipt(&receipt, &origin(), stranger.verifying_key());
    assert!(matches!(refused, Err(ReceiptError::Note(_))), "{refused:?}");
    let refused = verify_receipt(&receipt, &other_origin(), gate.key.verifying_key());
    assert_eq!(refused, Err(ReceiptError::Origin { expected: other_origin() }));
}

#[test]
fn a_signed_text_that_is_no_head_is_refused() {
    let gate = Gate::after(1);
    let hash = gate.chains[1].hash();
    for (text, line) in [
        (format!("{}\n", origin()), 2),
        (format!("{}\n+1\n{hash}\n9\n", origin()), 2),
        (format!("{}\n01\n{hash}\n9\n", origin()), 2),
        (format!("{}\n1\nhash\n9\n", origin()), 3),
        (format!("{}\n1\n{hash}\n\n", origin()), 4),
        (format!("{}\n1\n{hash}\n9\nmore\n", origin()), 5),
    ] {
        let note = Note::sign(&text, &[&gate.key]).unwrap();
        let refused = verify_batch_head(&note, &origin(), gate.key.verifying_key());
        let Err(ReceiptError::Head { line: given, .. }) = refused else {
            panic!("{text:?}: {refused:?}")
        };
        assert_eq!(given, line, "{text:?}");
    }
}

#[test]
fn a_chain_resumes_where_it_ended() {
    let gate = Gate::after(4);
    let mut chain = ReceiptChain::resume(2, gate.chains[2].hash());
    for entry in &gate.entries[2..] {
        chain.extend(entry).unwrap();
    }
    assert_eq!(chain, gate.chains[4]);
    assert_ne!(ReceiptChain::start(&origin()), ReceiptChain::start(&other_origin()));
    assert_eq!(chain.extend(&gate.entries[3]), Err(ReceiptError::Sequence { last: 4, given: 4 }));
}

#[test]
fn bodies_of_all_checks_at_a_gate_have_one_size() {
    let mut unknown = body(1);
    unknown.cause = Cause::Malformed;
    unknown.age_seconds = None;
    unknown.committee.handle = None;
    unknown.police.handle = None;
    assert_eq!(unknown.to_bytes().len(), body(1).to_bytes().len());
    assert_eq!(ReceiptBody::from_bytes(&unknown.to_bytes()), Ok(unknown));
}

#[test]
fn a_receipt_file_reads_back() {
    let gate = Gate::after(4);
    let mut receipt = gate.receipt(2);
    assert_eq!(Receipt::parse(&receipt.to_string()), Ok(receipt.clone()));
    receipt.open(&gate.audit, &origin()).unwrap();
    assert_eq!(Receipt::parse(&receipt.to_string()), Ok(receipt.clone()));
    (receipt.session, receipt.sealed, receipt.opened) = (None, None, None);
    assert_eq!(Receipt::parse(&receipt.to_string()), Ok(receipt.clone()));
    assert!(receipt.to_string().starts_with("lanyard receipt v1\nbefore "));
}

#[test]
fn receipt_files_are_refused_with_the_line() {
    let gate = Gate::after(2);
    let good = gate.receipt(1).to_string();
    let line = |text: &str| match Receipt::parse(text) {
        Err(ReceiptError::Text { line, .. }) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(line(""), 1);
    assert_eq!(line(&good.replace("receipt v1", "receipt v2")), 1);
    assert_eq!(line(&good.replace("before ", "before x")), 2);
    assert_eq!(line(&good.replace("entry 1 ", "entry 01 ")), 3);
    assert_eq!(line(&good.replace("entry 2 ", "entry 2  ")), 4);
    assert_eq!(line(&good.replace("session ", "session !")), 5);
    assert_eq!(line(&good.replace("sealed ", "stamped ")), 6);
    assert_eq!(line(&good.replace("\nentry ", "\nitem ")), 3);
    let truncated = &good[..good.len() - 10];
    assert!(matches!(Receipt::parse(truncated), Err(ReceiptError::Note(_))));
    let mangled = good.replace("sealed ", "sealed AAAA");
    assert!(matches!(Receipt::parse(&mangled), Err(ReceiptError::Codec(_))));
}

#[test]
fn gate_names_are_plain() {
    let event = EventId::parse("games").unwrap();
    for bad in ["", "Gate", "a/b", "a\nb", &"x".repeat(65)] {
        let given = bad.to_owned();
        let refused = ReceiptOrigin::new(&event, bad);
        assert_eq!(refused, Err(ReceiptError::GateName { given }));
    }
    assert_eq!(origin().as_str(), "lanyard/games/gate/gate-1/receipts");
}

fn bodies() -> impl Strategy<Value = ReceiptBody> {
    let consulted = || {
        (any::<u32>(), any::<Option<[u8; 16]>>(), any::<u64>()).prop_map(
            |(epoch, handle, checkpoint_size)| Consulted {
                epoch: Epoch::new(epoch),
                handle: handle.map(Handle::new),
                checkpoint_size,
            },
        )
    };
    let overridden =
        prop::option::of(
            (any::<u64>(), ".{0,20}", ".{0,40}")
                .prop_map(|(receipt, supervisor, reason)| Override { receipt, supervisor, reason }),
        );
    let direction = prop_oneof![Just(Direction::In), Just(Direction::Out)];
    (
        (prop::sample::select(Cause::ALL), prop::option::of(0..u32::MAX), direction),
        (consulted(), consulted(), ".{0,20}"),
        (any::<[u8; 16]>(), any::<u32>(), overridden),
    )
        .prop_map(
            |(
                (cause, age_seconds, direction),
                (committee, police, access_point),
                (nonce, manifest_version, overridden),
            )| ReceiptBody {
                cause,
                age_seconds,
                committee,
                police,
                access_point,
                direction,
                nonce: CheckNonce::new(nonce),
                manifest_version,
                overridden,
            },
        )
}

proptest! {
    #[test]
    fn bodies_round_trip(body in bodies()) {
        prop_assert_eq!(ReceiptBody::from_bytes(&body.to_bytes()), Ok(body));
    }

    #[test]
    fn truncated_and_mutated_bodies_have_one_encoding(
        body in bodies(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let bytes = body.to_bytes();
        let index = at.index(bytes.len());
        prop_assert!(ReceiptBody::from_bytes(&bytes[..index]).is_err());
        let mut mutated = bytes;
        mutated[index] = byte;
        if let Ok(body) = ReceiptBody::from_bytes(&mutated) {
            prop_assert_eq!(body.to_bytes(), mutated);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "(lanyard receipt v1\n)?[ -~\n]{0,200}") {
        let _ = ReceiptBody::from_bytes(&bytes);
        let _ = SealedBody::from_bytes(&bytes);
        let _ = OpenedBody::from_bytes(&bytes);
        let _ = ReceiptEntry::from_bytes(&bytes);
        prop_assert!(Receipt::parse(&text).is_err());
    }
}
