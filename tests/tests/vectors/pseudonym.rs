use lanyard_core::oprf::{BlindedElement, SecretKey, blind};
use lanyard_core::threshold::{
    Evaluated, KeyShare, PublicShare, PublicShares, ShareIndex, combine, verify_share,
};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, flipped, hexed, run, with};
use crate::world::rng;

pub(crate) const FILE: FileOf = FileOf {
    description: "Pseudonyms: RFC 9497, ristretto255-SHA512, mode 1 (VOPRF), the key shared 2 of 3 (Shamir, indices from 1). A holder \
        evaluates under its share times its Lagrange coefficient for the announced quorum and proves it against its public share; the \
        sum of both answers is the evaluation under the whole key. Shares, elements and proofs are RFC 9497's encodings.",
    shared,
    cases,
    run: operate,
};

const SEED: u64 = 0x0f;

/// Shares of a polynomial k + a·x, drawn once and fixed here: share i is k + a·i.
fn shares() -> Vec<KeyShare> {
    let scalar = |seed| SecretKey::generate(&mut rng(seed)).to_bytes();
    let add = |a: &[u8; 32], b: &[u8; 32]| add_scalars(*a, *b);
    let (k, a) = (scalar(SEED), scalar(SEED + 1));
    let first = add(&k, &a);
    let second = add(&first, &a);
    let third = add(&second, &a);
    let share = |(bytes, index): ([u8; 32], u8)| {
        KeyShare::from_bytes(ShareIndex::new(index).unwrap(), &bytes).unwrap()
    };
    [first, second, third].into_iter().zip(1..).map(share).collect()
}

/// The sum of two scalars below the group's order.
fn add_scalars(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    // 2^252 + 27742317777372353535851937790883648493, little-endian.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut sum = [0; 32];
    let mut carry = 0;
    for (index, byte) in sum.iter_mut().enumerate() {
        carry += u16::from(a[index]) + u16::from(b[index]);
        *byte = carry as u8;
        carry >>= 8;
    }
    if sum.iter().rev().lt(ORDER.iter().rev()) {
        return sum;
    }
    let mut borrow = 0;
    for (index, byte) in sum.iter_mut().enumerate() {
        let difference = i16::from(*byte) - i16::from(ORDER[index]) - borrow;
        *byte = difference.rem_euclid(256) as u8;
        borrow = i16::from(difference < 0);
    }
    sum
}

fn shared() -> Value {
    let shares = shares();
    let public: Vec<_> = shares.iter().map(|share| hexed(share.public_share().as_bytes())).collect();
    json!({ "threshold": 2, "public_shares": public })
}

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    let public = public_shares(input)?;
    let indices = || -> Result<Vec<ShareIndex>, String> {
        let indices: Vec<u8> = input.parse("quorum");
        indices.into_iter().map(|index| run(ShareIndex::new(index))).collect()
    };
    match operation {
        "pseudonym" => {
            let quorum = run(public.quorum(&indices()?))?;
            let state = run(blind(&[&input.bytes("identity_key")], &mut rng(1)))?;
            let mut answers = Vec::new();
            for (bytes, index) in input.texts("shares").into_iter().zip(quorum.holders()) {
                let bytes = hex::decode(bytes).unwrap().try_into().unwrap();
                let weighted = run(run(KeyShare::from_bytes(*index, &bytes))?.for_quorum(&quorum))?;
                answers.push(run(weighted.evaluate(state.blinded(), &mut rng(2)))?);
            }
            let pseudonyms = run(combine(state, &public, &quorum, answers))?;
            Ok(hexed(*pseudonyms[0].to_bytes()))
        }
        "verify-share" => {
            let quorum = run(public.quorum(&indices()?))?;
            let index = run(ShareIndex::new(input.u8("index")))?;
            let (elements, proof) = (input.bytes("evaluated_elements"), input.bytes("proof"));
            let evaluated = run(Evaluated::parse(index, &elements, &proof))?;
            let blinded = run(BlindedElement::parse_batch(&input.bytes("blinded_elements")))?;
            let verified = run(verify_share(&public, &quorum, &blinded, evaluated))?;
            Ok(json!({ "index": verified.index().get() }))
        }
        other => panic!("no operation {other}"),
    }
}

fn public_shares(input: &Input<'_>) -> Result<PublicShares, String> {
    let shares = input.texts("public_shares").into_iter().zip(1..).map(|(text, index)| {
        let bytes = hex::decode(text).unwrap().try_into().unwrap();
        run(PublicShare::from_bytes(ShareIndex::new(index).unwrap(), &bytes))
    });
    run(PublicShares::new(input.u8("threshold"), shares.collect::<Result<_, _>>()?))
}

fn cases(cases: &mut Cases) {
    let all = shares();
    let secret = |index: usize| hexed(*all[index - 1].to_bytes());
    for (first, second) in [(1, 2), (1, 3), (2, 3)] {
        let input = json!({
            "identity_key": "0102030405", "quorum": [first, second], "shares": [secret(first), secret(second)],
        });
        let description = "Every pair of holders yields the same pseudonym";
        cases.good(&format!("pseudonym-by-{first}-and-{second}"), description, "pseudonym", input);
    }
    let one = |quorum: Value| json!({ "identity_key": "01", "quorum": quorum, "shares": [] });
    for (name, description, quorum, kind) in [
        ("one-holder", "Two are needed", json!([1]), "quorum-size"),
        ("one-holder-twice", "Two different ones", json!([2, 2]), "duplicate"),
        ("unknown-holder", "There is no share 4", json!([1, 4]), "unknown"),
        ("index-0", "Indices start at 1", json!([0, 1]), "zero-index"),
    ] {
        let name = format!("pseudonym-refuses-{name}");
        cases.bad(&name, description, "pseudonym", one(quorum), kind);
    }

    let state = blind(&[b"first", b"second"], &mut rng(3)).unwrap();
    let quorum = [1, 2].map(|index| ShareIndex::new(index).unwrap());
    let quorum = lanyard_core::threshold::Quorum::new(2, &quorum).unwrap();
    let weighted = all[0].for_quorum(&quorum).unwrap();
    let answer = weighted.evaluate(state.blinded(), &mut rng(4)).unwrap();
    let elements = lanyard_core::oprf::EvaluationElement::encode_batch(&answer.elements);
    let proof = answer.proof.to_bytes();
    let blinded = BlindedElement::encode_batch(state.blinded());
    let good = json!({
        "quorum": [1, 2], "index": 1, "blinded_elements": hexed(&blinded), "evaluated_elements": hexed(&elements),
        "proof": hexed(proof),
    });
    cases.good("share-verifies", "Two elements, one proof", "verify-share", good.clone());
    let swapped = [&elements[32..], &elements[..32]].concat();
    let identity = [&[0; 32], &elements[32..]].concat();
    // The order of the field's prime, which encodes zero a second time.
    let mut modulus = [0xff; 32];
    (modulus[0], modulus[31]) = (0xed, 0x7f);
    let non_canonical = [&modulus[..], &elements[32..]].concat();
    let negative = [&flipped(&elements[..32], 0)[..], &elements[32..]].concat();
    for (name, description, change, kind) in [
        ("other-index", "Said to be another holder's", json!({ "index": 2 }), "bad-proof"),
        ("other-quorum", "Weighted for another quorum", json!({ "quorum": [1, 3] }), "bad-proof"),
        ("outside-quorum", "A holder that was not asked", json!({ "index": 3 }), "not-in-quorum"),
        ("swapped-elements", "Answers in another order", json!({ "evaluated_elements": hexed(swapped) }), "bad-proof"),
        ("mutated-proof", "One bit of the proof flipped", json!({ "proof": hexed(flipped(&proof, 0)) }), "bad-proof"),
        ("missing-element", "One answer too few", json!({ "evaluated_elements": hexed(&elements[..32]) }), "malformed/length"),
        ("truncated-element", "31 bytes of an element", json!({ "evaluated_elements": hexed(&elements[..63]) }), "malformed/length"),
        ("truncated-proof", "63 bytes", json!({ "proof": hexed(&proof[..63]) }), "malformed/length"),
        ("identity-element", "The identity element", json!({ "evaluated_elements": hexed(identity) }), "malformed/identity"),
        ("non-canonical-element", "Not the canonical encoding", json!({ "evaluated_elements": hexed(non_canonical) }), "malformed/element"),
        ("negative-element", "An encoding of no element", json!({ "evaluated_elements": hexed(negative) }), "malformed/element"),
        ("non-canonical-proof", "A scalar not below the order", json!({ "proof": hexed([0xff; 64]) }), "malformed/scalar"),
    ] {
        let name = format!("share-refuses-{name}");
        cases.bad(&name, description, "verify-share", with(&good, change), kind);
    }
}
