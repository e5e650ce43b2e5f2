//! Shares, holders and their servers for tests, over in-memory connections.
#![allow(dead_code, reason = "each test binary uses a part of it")]

mod net;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use curve25519_dalek::scalar::Scalar;
use lanyard_core::identity::{BirthDate, IdentityKey, Name};
use lanyard_core::ids::{Authority, EventId};
use lanyard_core::note::{KeyName, SigningKey};
use lanyard_core::oprf::{self, Pseudonym, SecretKey};
use lanyard_core::threshold::{KeyShare, PublicShares, ShareIndex};
use lanyard_env::{Env, LossyDisk};
use lanyard_party::{Generation, HeldShare};
use lanyard_shareholder::{
    Holder, HolderSetup, KeyShareServer, Ledger, LedgerError, Limit, Pseudonymiser, Purpose,
    Settings, ShareSource,
};
use lanyard_transport::{PartyName, PeerId, Role};
use rand::Rng as _;

pub(crate) use net::{Cheat, Net, Wrapped};

/// A key in `n` shares, `t` needed.
pub(crate) struct Dealer {
    pub(crate) env: Env,
    polynomial: Vec<Scalar>,
    shares: u8,
}

impl Dealer {
    pub(crate) fn new(threshold: u8, shares: u8) -> Self {
        let env = Env::system();
        let mut rng = env.rng();
        let mut scalar = || {
            let mut wide = [0; 64];
            rng.fill_bytes(&mut wide);
            Scalar::from_bytes_mod_order_wide(&wide)
        };
        let polynomial = (0..threshold).map(|_| scalar()).collect();
        Self { env, polynomial, shares }
    }

    pub(crate) fn share(&self, index: u8) -> KeyShare {
        let x = Scalar::from(index);
        let value = self.polynomial.iter().rev().fold(Scalar::ZERO, |sum, next| sum * x + next);
        KeyShare::from_bytes(ShareIndex::new(index).unwrap(), &value.to_bytes()).unwrap()
    }

    pub(crate) fn public(&self) -> PublicShares {
        let shares = (1..=self.shares).map(|index| self.share(index).public_share()).collect();
        PublicShares::new(u8::try_from(self.polynomial.len()).unwrap(), shares).unwrap()
    }

    /// A holder's share as its folder would keep it.
    pub(crate) fn held(&self, index: u8) -> Arc<dyn ShareSource> {
        let held = HeldShare::new(Generation::FIRST, self.share(index), self.public()).unwrap();
        Arc::new(TestShares::from([held]))
    }

    /// The same key in other shares.
    pub(crate) fn refreshed(&self) -> Self {
        let mut other = Self::new(u8::try_from(self.polynomial.len()).unwrap(), self.shares);
        other.polynomial[0] = self.polynomial[0];
        other
    }

    /// RFC 9497 under the whole key, which in life exists nowhere.
    pub(crate) fn expected(&self, keys: &[IdentityKey]) -> Vec<Pseudonym> {
        let whole = SecretKey::from_bytes(&self.polynomial[0].to_bytes()).unwrap();
        let inputs: Vec<_> = keys.iter().map(IdentityKey::as_bytes).collect();
        let mut rng = self.env.rng();
        let state = oprf::blind(&inputs, &mut rng).unwrap();
        let (elements, proof) = oprf::blind_evaluate(&whole, state.blinded(), &mut rng).unwrap();
        let verified =
            oprf::verify_evaluation(whole.public_key(), state.blinded(), elements, &proof);
        oprf::finalize(state, verified.unwrap()).unwrap()
    }
}

/// Shares of one holder by generation, the first of them in force until told otherwise.
pub(crate) struct TestShares {
    held: Mutex<Vec<Arc<HeldShare>>>,
    in_force: AtomicU64,
}

impl<const N: usize> From<[HeldShare; N]> for TestShares {
    fn from(held: [HeldShare; N]) -> Self {
        let held = held.into_iter().map(Arc::new).collect();
        Self { held: Mutex::new(held), in_force: AtomicU64::new(1) }
    }
}

impl TestShares {
    pub(crate) fn put_in_force(&self, generation: u32) {
        self.in_force.store(generation.into(), Ordering::SeqCst);
    }

    pub(crate) fn destroy(&self, generation: u32) {
        self.held.lock().unwrap().retain(|held| held.generation().get() != generation);
    }
}

impl ShareSource for TestShares {
    fn current(&self) -> Arc<HeldShare> {
        let in_force = u32::try_from(self.in_force.load(Ordering::SeqCst)).unwrap();
        self.of_generation(Generation::new(in_force).unwrap()).unwrap()
    }

    fn of_generation(&self, generation: Generation) -> Option<Arc<HeldShare>> {
        let held = self.held.lock().unwrap();
        held.iter().find(|held| held.generation() == generation).cloned()
    }

    fn look_again(&self) {
        let newest = self.held.lock().unwrap().last().map(|held| held.generation().get());
        self.put_in_force(newest.unwrap());
    }
}

pub(crate) fn people(count: usize) -> Vec<IdentityKey> {
    let event = EventId::parse("games").unwrap();
    let birth_date = BirthDate::parse("1990-02-03").unwrap();
    (0..count)
        .map(|number| {
            let letters: String = format!("{number:05}").bytes().map(letter).collect();
            let name = Name::parse(&format!("Test {letters}")).unwrap();
            IdentityKey::name_and_birth_date(&event, &name, birth_date)
        })
        .collect()
}

fn letter(digit: u8) -> char {
    char::from(b'A' + (digit - b'0'))
}

pub(crate) fn service(party: PartyName) -> PeerId {
    PeerId::new(party, Role::Service, party.name()).unwrap()
}

/// One holder with its own folder, clock and quotas.
pub(crate) struct TestHolder {
    pub(crate) index: u8,
    pub(crate) party: PartyName,
    pub(crate) disk: LossyDisk,
    pub(crate) quota: Arc<AtomicU64>,
    key: String,
    pub(crate) env: Env,
}

impl TestHolder {
    pub(crate) fn new(index: u8, party: PartyName) -> Self {
        let disk = LossyDisk::new();
        let env = Env { files: disk.files(), ..Env::system() };
        let name = KeyName::parse(&format!("{party}/evaluations")).unwrap();
        let key = SigningKey::generate(name, &mut env.rng()).format().to_string();
        Self { index, party, disk, quota: Arc::new(AtomicU64::new(1_000_000)), key, env }
    }

    pub(crate) fn ledger(&self) -> Result<Ledger, LedgerError> {
        let key = SigningKey::parse(&self.key).unwrap();
        let (path, event) = (Path::new("/evaluations.note"), EventId::parse("games").unwrap());
        Ledger::open(&self.env, path, &event, self.party.name(), key)
    }

    /// The server over this holder's folder; twice is a restart.
    pub(crate) fn server(&self, dealer: &Dealer) -> KeyShareServer {
        self.server_of(dealer.held(self.index))
    }

    pub(crate) fn server_of(&self, shares: Arc<dyn ShareSource>) -> KeyShareServer {
        let quota = Arc::clone(&self.quota);
        let limit = move |purpose: Purpose| {
            let evaluations = quota.load(Ordering::SeqCst);
            Limit { caller: purpose.caller(), purpose, evaluations }
        };
        let setup = HolderSetup {
            env: self.env.clone(),
            party: self.party,
            shares,
            ledger: self.ledger().unwrap(),
            quotas: Arc::new(move || Purpose::ALL.map(&limit).to_vec()),
        };
        KeyShareServer::new(setup)
    }

    /// What is durable on the disk.
    pub(crate) fn used(&self, purpose: Purpose) -> u64 {
        let caller: Authority = purpose.caller();
        self.ledger().unwrap().used(caller, purpose)
    }
}

/// A pseudonymiser of the committee, share 1, with others to ask.
pub(crate) struct Committee {
    pub(crate) dealer: Dealer,
    pub(crate) holders: Vec<(TestHolder, Net)>,
    pub(crate) settings: Settings,
}

impl Committee {
    /// Two of three: the trustee holds share 3 and is asked first, the police hold share 2.
    pub(crate) fn new() -> Self {
        let holders =
            [TestHolder::new(3, PartyName::Trustee), TestHolder::new(2, PartyName::Police)];
        Self::of(Dealer::new(2, 3), holders)
    }

    pub(crate) fn of(dealer: Dealer, holders: impl IntoIterator<Item = TestHolder>) -> Self {
        let start = |holder: TestHolder| {
            let net =
                Net::serve(Wrapped::honest(holder.server(&dealer)), service(PartyName::Committee));
            (holder, net)
        };
        let holders = holders.into_iter().map(start).collect();
        Self { holders, dealer, settings: Settings::default() }
    }

    /// Lets a holder cheat from now on.
    pub(crate) fn corrupt(&mut self, place: usize, cheat: Cheat) -> Arc<Mutex<usize>> {
        let (holder, net) = &mut self.holders[place];
        let wrapped = Wrapped::cheating(holder.server(&self.dealer), cheat);
        let calls = wrapped.calls();
        *net = Net::serve(wrapped, service(PartyName::Committee));
        calls
    }

    /// Lets a holder serve these shares from now on.
    pub(crate) fn serve(&mut self, place: usize, shares: Arc<dyn ShareSource>) {
        let (holder, net) = &mut self.holders[place];
        let server = Wrapped::honest(holder.server_of(shares));
        *net = Net::serve(server, service(PartyName::Committee));
    }

    pub(crate) fn pseudonymiser(&self) -> Pseudonymiser {
        self.pseudonymiser_of(self.dealer.held(1))
    }

    pub(crate) fn pseudonymiser_of(&self, own: Arc<dyn ShareSource>) -> Pseudonymiser {
        let holders = self.holders.iter().map(|(holder, net)| Holder {
            index: ShareIndex::new(holder.index).unwrap(),
            name: holder.party.name().to_owned(),
            channel: net.channel(),
        });
        Pseudonymiser::new(self.dealer.env.clone(), own, holders.collect(), self.settings).unwrap()
    }
}

pub(crate) fn assert_same(computed: &[Pseudonym], expected: &[Pseudonym]) {
    assert_eq!(computed.len(), expected.len());
    for (place, (computed, expected)) in computed.iter().zip(expected).enumerate() {
        assert!(computed == expected, "pseudonym {place} differs");
    }
}
