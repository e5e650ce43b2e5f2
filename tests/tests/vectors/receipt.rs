use lanyard_core::decision::{Cause, Direction};
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::ids::{Epoch, Handle, Hash, Timestamp};
use lanyard_core::note::VerifyingKey;
use lanyard_core::receipt::{
    AuditSession, CheckNonce, Consulted, Override, Receipt, ReceiptBody, ReceiptChain,
    ReceiptEntry, ReceiptOrigin, verify_receipt,
};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, hexed, run, with};
use crate::world::{EVENT, event, key, rng};

pub(crate) const FILE: FileOf = FileOf {
    description: "Receipts. Chain: starts with derive_key(`lanyard v1 receipt chain start`, origin); each entry, sequence (8), milliseconds (8), \
        commitment (32), makes it derive_key(`lanyard v1 receipt chain`, chain (32), entry (48)). Heads are signed notes. Bodies are \
        sealed in a session whose key is sealed to the audit key with HPKE (X-Wing, HKDF-SHA256, AES-256-GCM).",
    shared: || {
        json!({
            "event": EVENT, "gate": GATE, "receipts_key": receipts_key().verifying_key().to_string(),
            "audit_key": hexed([0x43; 32]),
        })
    },
    cases,
    run: operate,
};

const GATE: &str = "gate-1";

fn receipts_key() -> lanyard_core::note::SigningKey {
    key("lanyard/games-2028/gate/gate-1/receipts", 0x51)
}

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    let origin = run(ReceiptOrigin::new(&input.event(), input.text("gate")))?;
    match operation {
        "chain" => {
            let mut chain = ReceiptChain::start(&origin);
            for entry in input.list("entries") {
                let entry = ReceiptEntry {
                    sequence: entry.u64("sequence"),
                    time: entry.time("time"),
                    commitment: entry.hash("commitment"),
                };
                run(chain.extend(&entry))?;
            }
            Ok(json!({ "sequence": chain.sequence(), "hash": hexed(chain.hash().as_bytes()) }))
        }
        "encode-body" => Ok(hexed(body(input).to_bytes())),
        "decode-body" => run(ReceiptBody::from_bytes(&input.bytes("bytes"))).map(|body| shown(&body)),
        "verify" | "open" => {
            let mut receipt = run(Receipt::parse(input.text("receipt")))?;
            if operation == "open" {
                let audit = HpkeSecretKey::from_bytes(input.array("audit_key"));
                run(receipt.open(&audit, &origin))?;
            }
            let key = run(VerifyingKey::parse(input.text("receipts_key")))?;
            let verified = run(verify_receipt(&receipt, &origin, &key))?;
            Ok(json!({
                "sequence": verified.entry().sequence, "time": verified.entry().time.millis(),
                "body": verified.body().map(shown),
            }))
        }
        other => panic!("no operation {other}"),
    }
}

fn body(input: &Input<'_>) -> ReceiptBody {
    let consulted = |name: &str| {
        let consulted = input.inner(name);
        Consulted {
            epoch: consulted.epoch(),
            handle: consulted.find("handle").map(|_| consulted.handle()),
            checkpoint_size: consulted.u64("checkpoint_size"),
        }
    };
    let cause = input.text("cause");
    ReceiptBody {
        cause: *Cause::ALL.iter().find(|known| known.name() == cause).expect("a cause"),
        age_seconds: input.find("age_seconds").map(|_| input.u32("age_seconds")),
        committee: consulted("committee"),
        police: consulted("police"),
        access_point: input.text("access_point").to_owned(),
        direction: input.parse::<Direction>("direction"),
        nonce: CheckNonce::new(input.array("nonce")),
        manifest_version: input.u32("manifest_version"),
        overridden: input.find("override").map(|_| {
            let overridden = input.inner("override");
            Override {
                receipt: overridden.u64("receipt"),
                supervisor: overridden.text("supervisor").to_owned(),
                reason: overridden.text("reason").to_owned(),
            }
        }),
    }
}

fn shown(body: &ReceiptBody) -> Value {
    let consulted = |consulted: &Consulted| {
        json!({
            "epoch": consulted.epoch.get(), "handle": consulted.handle.map(|handle| hexed(handle.as_bytes())),
            "checkpoint_size": consulted.checkpoint_size,
        })
    };
    json!({
        "cause": body.cause.name(), "age_seconds": body.age_seconds, "committee": consulted(&body.committee),
        "police": consulted(&body.police), "access_point": body.access_point, "direction": body.direction,
        "nonce": hexed(body.nonce.as_bytes()), "manifest_version": body.manifest_version,
        "override": body.overridden.as_ref().map(|it| {
            json!({ "receipt": it.receipt, "supervisor": it.supervisor, "reason": it.reason })
        }),
    })
}

fn sample() -> ReceiptBody {
    let consulted = |byte: u8| Consulted {
        epoch: Epoch::new(3),
        handle: Some(Handle::new([byte; 16])),
        checkpoint_size: 4_321,
    };
    ReceiptBody {
        cause: Cause::WrongZone,
        age_seconds: Some(3),
        committee: consulted(0xc0),
        police: consulted(0xb0),
        access_point: "north-1".to_owned(),
        direction: Direction::In,
        nonce: CheckNonce::new([0x9c; 16]),
        manifest_version: 1,
        overridden: None,
    }
}

fn cases(cases: &mut Cases) {
    let entry = |sequence: u64| json!({ "sequence": sequence, "time": 1_847_000_000_000_u64 + sequence, "commitment": hexed([sequence as u8; 32]) });
    let chain = |sequences: &[u64]| json!({ "entries": sequences.iter().map(|it| entry(*it)).collect::<Vec<_>>() });
    cases.good("chain-start", "A gate that has given no receipt", "chain", chain(&[]));
    cases.good("chain", "Three receipts", "chain", chain(&[1, 2, 3]));
    cases.good("chain-of-another-gate", "The origin is part of it", "chain", with(&chain(&[1, 2, 3]), json!({ "gate": "gate-2" })));
    for (name, description, sequences) in [
        ("skipped", "A receipt is missing", [1, 3]),
        ("repeated", "A receipt stands twice", [1, 1]),
        ("from-zero", "Sequences start at 1", [0, 1]),
    ] {
        cases.bad(&format!("chain-refuses-{name}"), description, "chain", chain(&sequences), "sequence");
    }
    bodies(cases);
    receipts(cases);
}

fn bodies(cases: &mut Cases) {
    let good = shown(&sample());
    let overridden = json!({
        "cause": "LET_IN", "override": { "receipt": 17, "supervisor": "spiffe://gate/supervisor/anna", "reason": "known to me" },
    });
    let malformed = json!({
        "cause": "MALFORMED", "age_seconds": null,
        "committee": { "epoch": 3, "handle": null, "checkpoint_size": 0 }, "police": { "epoch": 3, "handle": null, "checkpoint_size": 0 },
    });
    cases.good("body", "A check", "encode-body", good.clone());
    cases.good("body-of-override", "An override", "encode-body", with(&good, overridden));
    cases.good("body-of-malformed", "A text that did not parse", "encode-body", with(&good, malformed));
    for cause in Cause::ALL {
        let name = format!("body-cause-{}", cause.name().to_lowercase().replace('_', "-"));
        let input = with(&good, json!({ "cause": cause.name() }));
        cases.good(&name, "Each cause has its byte", "encode-body", input);
    }
    let bytes = sample().to_bytes();
    let decode = |bytes: &[u8]| json!({ "bytes": hexed(bytes) });
    let changed = |index: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[index] = byte;
        bytes
    };
    cases.good("decode-body", "The way back", "decode-body", decode(&bytes));
    let direction = 1 + 1 + 4 + 2 * 29 + 4 + "north-1".len();
    for (name, description, bytes, kind) in [
        ("version-2", "An unknown version", changed(0, 2), "invalid"),
        ("cause-0", "No such cause", changed(1, 0), "invalid"),
        ("handle-flag-2", "A handle is there or not", changed(10, 2), "invalid"),
        ("handle-without-flag", "None, but its bytes are not zero", changed(10, 0), "invalid"),
        ("direction-0", "No such direction", changed(direction, 0), "invalid"),
        ("override-flag-2", "An override is there or not", changed(bytes.len() - 1, 2), "invalid"),
        ("long-access-point", "More than 256 bytes", changed(1 + 1 + 4 + 2 * 29 + 2, 2), "oversized"),
        ("truncated", "The last byte is missing", bytes[..bytes.len() - 1].to_vec(), "truncated"),
        ("trailing", "One byte too many", [&bytes[..], &[0]].concat(), "trailing"),
    ] {
        cases.bad(&format!("decode-body-refuses-{name}"), description, "decode-body", decode(&bytes), kind);
    }
}

fn receipts(cases: &mut Cases) {
    let origin = ReceiptOrigin::new(&event(), GATE).unwrap();
    let audit = HpkeSecretKey::from_bytes([0x43; 32]);
    let (session, sealed_session) = AuditSession::begin(&audit.public_key(), &origin, &mut rng(0x61)).unwrap();
    let mut chain = ReceiptChain::start(&origin);
    let time = |sequence: u64| Timestamp::from_millis(1_847_000_000_000 + sequence);
    chain.push(time(1), Hash::new([1; 32]));
    let before = chain.hash();
    let (sealed, commitment) = session.seal(2, &sample());
    let entry = chain.push(time(2), commitment);
    let after = vec![chain.push(time(3), Hash::new([3; 32])), chain.push(time(4), Hash::new([4; 32]))];
    let head = chain.head(time(5));
    let good = Receipt {
        before,
        entry,
        after,
        head: head.sign(&origin, &receipts_key()).unwrap(),
        session: Some(sealed_session),
        sealed: Some(sealed),
        opened: None,
    };
    let mut opened = good.clone();
    opened.open(&audit, &origin).unwrap();
    let bare = Receipt { session: None, sealed: None, ..good.clone() };
    let receipt = |receipt: &Receipt| json!({ "receipt": receipt.to_string() });
    cases.good("receipt-sealed", "Verifies without its body", "verify", receipt(&bare));
    cases.good("receipt-open", "Opened with the audit key", "open", receipt(&good));
    let opened = Receipt { session: None, sealed: None, ..opened };
    cases.good("receipt-opened", "Carries its opened body", "verify", receipt(&opened));

    let wrong_key = key("lanyard/games-2028/gate/gate-1/receipts", 0x52);
    let changed = |change: &dyn Fn(&mut Receipt)| {
        let mut changed = bare.clone();
        change(&mut changed);
        receipt(&changed)
    };
    let forged_body = {
        let mut body = sample();
        body.cause = Cause::Admitted;
        let mut bytes = opened.opened.as_ref().unwrap().to_bytes();
        bytes.truncate(32);
        bytes.extend(lanyard_core::codec::join(&[&body.to_bytes()]));
        let forged = lanyard_core::receipt::OpenedBody::from_bytes(&bytes).unwrap();
        Receipt { opened: Some(forged), ..opened.clone() }
    };
    let other_gate = ReceiptOrigin::new(&event(), "gate-2").unwrap();
    for (name, description, input, kind) in [
        ("altered-time", "Another time", changed(&|it| it.entry.time = time(9)), "chain"),
        ("altered-commitment", "Another body is committed to", changed(&|it| it.entry.commitment = Hash::new([9; 32])), "chain"),
        ("altered-past", "Other receipts before it", changed(&|it| it.before = Hash::new([9; 32])), "chain"),
        ("missing-successor", "A receipt between it and the head is left out", changed(&|it| it.after = it.after.split_off(1)), "sequence"),
        ("short-of-head", "The last receipt is left out", changed(&|it| it.after.truncate(1)), "chain"),
        ("other-key", "Another gate's key", with(&receipt(&bare), json!({ "receipts_key": wrong_key.verifying_key().to_string() })), "note/unsigned"),
        ("other-gate", "Said to be another gate's", with(&receipt(&bare), json!({ "gate": "gate-2" })), "origin"),
        ("head-of-other-gate", "A head that the key signed for another gate", changed(&|it| it.head = head.sign(&other_gate, &receipts_key()).unwrap()), "origin"),
        ("forged-body", "An opened body that says ADMIT", receipt(&forged_body), "commitment"),
        ("no-title", "Not a receipt", json!({ "receipt": "hello\n\nworld" }), "text"),
        ("no-head", "No signed head", json!({ "receipt": "lanyard receipt v1\n" }), "text"),
        ("unknown-field", "A line that is not known", json!({ "receipt": bare.to_string().replacen("\n\n", "\ncolour red\n\n", 1) }), "text"),
    ] {
        cases.bad(&format!("receipt-refuses-{name}"), description, "verify", input, kind);
    }
    let other_audit = with(&receipt(&good), json!({ "audit_key": hexed([0x44; 32]) }));
    cases.bad("receipt-refuses-other-audit-key", "Another key opens nothing", "open", other_audit, "box/open");
    cases.bad("receipt-refuses-deleted-body", "The body was deleted", "open", receipt(&bare), "sealed");
    let gate = with(&chain_of_none(), json!({ "gate": "Gate 1" }));
    cases.bad("origin-refuses-gate-name", "Gate names are plain", "chain", gate, "gate-name");
}

fn chain_of_none() -> Value {
    json!({ "entries": [] })
}
