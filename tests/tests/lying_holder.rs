//! A share holder that lies over the wire, in every way there is: it is named, left out, and the job goes on with another.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lanyard_core::oprf::{BlindedElement, EvaluationElement};
use lanyard_core::threshold::{KeyShare, ShareIndex};
use lanyard_env::Env;
use lanyard_party::{Folder, Generation, HeldShare, ManifestStore, trust_anchors};
use lanyard_tests::{Desk, TestEvent, list_entry, people, run_together, sample_plan};
use lanyard_transport::{Acceptor, Limits, Tls, serve};
use lanyard_wire::pseudonym::v1::key_share_service_server::{
    KeyShareService, KeyShareServiceServer,
};
use lanyard_wire::pseudonym::v1::{
    EvaluateRequest, EvaluateResponse, GetUsageRequest, GetUsageResponse, HolderFault,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The trustee's place among the sample plan's share holders.
const SHARE: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
    WrongShare,
    WrongIndex,
    Identity,
    NonCanonical,
    WrongProof,
    TooFew,
}

const LIES: [Lie; 6] = [
    Lie::WrongShare,
    Lie::WrongIndex,
    Lie::Identity,
    Lie::NonCanonical,
    Lie::WrongProof,
    Lie::TooFew,
];

/// The trustee's key share service with the trustee's certificate, but for its answers.
#[derive(Clone)]
struct LyingTrustee {
    env: Env,
    held: Arc<HeldShare>,
    lie: Lie,
    asked: Arc<AtomicUsize>,
}

impl LyingTrustee {
    async fn start(event: &TestEvent, lie: Lie) -> (Self, DropGuard) {
        let env = event.env().clone();
        let folder = Folder::open(event.folder("trustee"), &env);
        let anchors = trust_anchors(&ManifestStore::open(&folder).unwrap().current()).unwrap();
        let tls = Tls::new(&env, folder.service_identity().unwrap(), anchors);
        let address = event.address("trustee");
        let acceptor = Acceptor::bind(&env, address, &tls, Limits::default()).await.unwrap();
        let held = Arc::new(folder.held_share(Generation::FIRST).unwrap());
        let trustee = Self { env, held, lie, asked: Arc::default() };
        let shutdown = CancellationToken::new();
        let routes = Routes::new(KeyShareServiceServer::new(trustee.clone())).into_axum_router();
        tokio::spawn(serve(routes, acceptor, shutdown.clone()));
        (trustee, shutdown.drop_guard())
    }
}

#[tonic::async_trait]
impl KeyShareService for LyingTrustee {
    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let request = request.into_inner();
        let blinded = BlindedElement::parse_batch(&request.blinded_elements).unwrap();
        let quorum = request
            .quorum
            .iter()
            .map(|index| ShareIndex::new(u8::try_from(*index).unwrap()).unwrap());
        let quorum = self.held.public().quorum(&quorum.collect::<Vec<_>>()).unwrap();
        let own = self.held.share();
        let mut secret = *own.to_bytes();
        if self.lie == Lie::WrongShare {
            secret[0] ^= 1;
        }
        let share = KeyShare::from_bytes(own.index(), &secret).unwrap();
        let evaluated = share.for_quorum(&quorum).unwrap();
        let evaluated = evaluated.evaluate(&blinded, &mut self.env.rng()).unwrap();
        let mut answer = EvaluateResponse {
            index: own.index().get().into(),
            evaluated_elements: EvaluationElement::encode_batch(&evaluated.elements),
            proof: evaluated.proof.to_bytes().to_vec(),
            remaining: 1_000,
        };
        let elements = &mut answer.evaluated_elements;
        match self.lie {
            Lie::WrongShare => {}
            Lie::WrongIndex => answer.index += 1,
            Lie::Identity => elements[32..64].fill(0),
            Lie::NonCanonical => elements[32..64].fill(0xff),
            Lie::WrongProof => answer.proof[0] ^= 1,
            Lie::TooFew => elements.truncate(elements.len() - 32),
        }
        Ok(Response::new(answer))
    }

    async fn get_usage(
        &self,
        _request: Request<GetUsageRequest>,
    ) -> Result<Response<GetUsageResponse>, Status> {
        Err(Status::unimplemented("it only lies"))
    }
}

/// All that services logged from the warnings up.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Starts to listen to all services of this process.
    fn listen() -> Self {
        let log = Self::default();
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::WARN)
            .with_ansi(false)
            .with_writer(log.clone())
            .init();
        log
    }

    /// The lines since the last call.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn check(faults: &[HolderFault], lie: Lie) {
    let [fault] = faults else { panic!("{lie:?}: {faults:?}") };
    let named = (&*fault.holder, fault.share, fault.misbehaves);
    assert_eq!(named, ("trustee", SHARE, true), "{lie:?}: {fault:?}");
    assert!(fault.count >= 1 && !fault.last.is_empty(), "{lie:?}: {fault:?}");
}

#[test]
fn a_trustee_that_lies_is_named_and_the_job_goes_on() {
    let log = Log::listen();
    let mut event = TestEvent::make_watched(&sample_plan());
    let everyone = people(2 * LIES.len());
    for (lie, two) in LIES.into_iter().zip(everyone.chunks(2)) {
        // Started anew, the services know nothing of the trustee's earlier lies.
        event.start("police");
        event.start("committee");
        run_together(async {
            let (trustee, _running) = LyingTrustee::start(&event, lie).await;
            let desk = Desk::of(&event);
            let listed = desk.list(vec![list_entry(1, &two[0], true)]).await.unwrap();
            assert!(listed.finished && listed.keys > 0, "{lie:?}: {listed:?}");
            check(&listed.holder_faults, lie);
            desk.enrol(two).await.unwrap();
            let screened = desk.screen(10).await.unwrap();
            assert!(screened.finished && screened.submitted == 2, "{lie:?}: {screened:?}");
            check(&screened.holder_faults, lie);
            let logged = log.take();
            let named =
                |line: &&str| line.contains("misbehaves") && line.contains("holder=trustee");
            assert!(logged.lines().filter(named).count() >= 2, "{lie:?}: {logged}");
            // Left out: nobody asks it again, and nothing is reported again.
            let asked = trustee.asked.load(Ordering::SeqCst);
            let again = desk.list(vec![list_entry(1, &two[0], true)]).await.unwrap();
            assert!(again.finished && again.holder_faults.is_empty(), "{lie:?}: {again:?}");
            assert_eq!(trustee.asked.load(Ordering::SeqCst), asked, "{lie:?}");
        });
        event.stop("committee");
        event.stop("police");
    }
    for party in ["committee", "police"] {
        let stream = event.audit_stream(party);
        let named = |line: &&str| {
            line.contains("\"holder-misbehaved\"") && line.contains("\"about\":\"trustee\"")
        };
        assert!(stream.lines().filter(named).count() >= LIES.len(), "{party}: {stream}");
    }
}
