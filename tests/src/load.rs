//! A gate under load: badges shown without a pause, one by one and in a stream, by scanners that remember what they saw.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lanyard_client::Connection;
use lanyard_core::badge::{BadgeText, ScopedCode};
use lanyard_core::ids::Audience;
use lanyard_core::manifest::VerifiedManifest;
use lanyard_env::Env;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;
use rand::Rng as _;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// What a scanner waits between two rounds.
const PAUSE: Duration = Duration::from_millis(20);

/// What is checked, and what may come out.
#[derive(Clone)]
pub struct Load {
    badges: Arc<Vec<String>>,
    access_point: &'static str,
    /// What phones go by, and their clock, if there are any.
    phones: Option<(Arc<VerifiedManifest>, Env)>,
    /// Badges that somebody stops.
    stopped: Arc<Mutex<BTreeSet<usize>>>,
    checks: Arc<AtomicU64>,
}

/// One scanner, and the badges that it saw refused.
struct Scanner {
    load: Load,
    env: Env,
    client: GateServiceClient<Channel>,
    refused: BTreeSet<usize>,
    over: CancellationToken,
}

impl Load {
    /// Badges that are good at this access point.
    #[must_use]
    pub fn on(badges: &[String], access_point: &'static str) -> Self {
        let badges = Arc::new(badges.to_vec());
        Self { badges, access_point, phones: None, stopped: Arc::default(), checks: Arc::default() }
    }

    /// The scanner that asks in a stream is shown phones, with the code of the moment, in place of badges.
    #[must_use]
    pub fn with_phones(self, manifest: &Arc<VerifiedManifest>, env: &Env) -> Self {
        Self { phones: Some((Arc::clone(manifest), env.clone())), ..self }
    }

    /// From now on this badge may be refused; and once a scanner saw it refused, it must be.
    ///
    /// # Panics
    /// If a scanner panicked.
    pub fn stops(&self, badge: usize) {
        self.stopped.lock().expect("no scanner panicked").insert(badge);
    }

    /// How many checks were answered.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }

    /// Both scanners, on tasks of their own, until `scenario` is over.
    ///
    /// # Panics
    /// If a check failed or its answer was wrong.
    pub async fn during<T>(&self, scanner: &Connection, scenario: impl Future<Output = T>) -> T {
        let over = CancellationToken::new();
        let scanner = || Scanner {
            load: self.clone(),
            env: scanner.env().clone(),
            client: scanner.gate().expect("a channel"),
            refused: BTreeSet::new(),
            over: over.clone(),
        };
        let unary = tokio::spawn(scanner().one_by_one());
        let stream = tokio::spawn(scanner().in_a_stream());
        let result = scenario.await;
        over.cancel();
        for scanned in [unary.await, stream.await] {
            if let Err(error) = scanned {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        result
    }
}

impl Scanner {
    fn shown_on_a_phone(&self, badge: usize) -> gate::CheckRequest {
        let mut request = self.request(badge);
        if let Some((manifest, env)) = &self.load.phones {
            let secret = BadgeText::parse(&request.credential, &manifest.event).expect("a badge");
            let epochs = manifest.code_epochs(Audience::Gate, env.now());
            let code = ScopedCode::derive(&secret, &manifest.event, Audience::Gate, epochs);
            request.credential = code.to_text(&manifest.event).to_string();
        }
        request
    }

    fn request(&self, badge: usize) -> gate::CheckRequest {
        let mut nonce = [0; 16];
        self.env.rng().fill_bytes(&mut nonce);
        gate::CheckRequest {
            credential: self.load.badges[badge].clone(),
            access_point: self.load.access_point.to_owned(),
            direction: gate::Direction::In.into(),
            nonce: nonce.to_vec(),
        }
    }

    async fn one_by_one(mut self) {
        while !self.over.is_cancelled() {
            for badge in 0..self.load.badges.len() {
                let request = self.request(badge);
                let answer = self.client.check(request).await.expect("an answer").into_inner();
                self.judge(badge, &answer);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn in_a_stream(mut self) {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let answers = self.client.check_stream(requests).await.expect("a stream");
        let mut answers = answers.into_inner();
        while !self.over.is_cancelled() {
            let badges = 0..self.load.badges.len();
            let checks = badges.map(|badge| self.shown_on_a_phone(badge)).collect();
            sender.send(gate::CheckStreamRequest { checks }).await.expect("the stream goes on");
            let answer = answers.message().await.expect("an answer");
            let results = answer.expect("the stream goes on").results;
            for (badge, answer) in results.iter().enumerate() {
                self.judge(badge, answer);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn judge(&mut self, badge: usize, answer: &gate::CheckResponse) {
        self.load.checks.fetch_add(1, Ordering::Relaxed);
        let verdict = answer.verdict();
        let is_refused = self.refused.contains(&badge);
        if verdict == gate::Verdict::Admit && !answer.stale && !is_refused {
            return;
        }
        let stopped = self.load.stopped.lock().expect("no scanner panicked");
        let may_be_refused = stopped.contains(&badge);
        drop(stopped);
        assert!(
            may_be_refused && verdict == gate::Verdict::Refer,
            "badge {badge}, stopped: {may_be_refused}, refused before: {is_refused}: {answer:?}"
        );
        self.refused.insert(badge);
    }
}
