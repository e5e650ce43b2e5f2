//! Servers and channels over in-memory pipes, and holders that lie.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hyper_util::rt::TokioIo;
use lanyard_shareholder::KeyShareServer;
use lanyard_transport::PeerId;
use lanyard_wire::pseudonym::v1::key_share_service_server::{
    KeyShareService, KeyShareServiceServer,
};
use lanyard_wire::pseudonym::v1::{
    EvaluateRequest, EvaluateResponse, GetUsageRequest, GetUsageResponse,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status};

/// A running server that can be unplugged.
pub(crate) struct Net {
    sender: mpsc::UnboundedSender<DuplexStream>,
    down: Arc<AtomicBool>,
}

impl Net {
    /// Serves to a caller of this identity, as the transport would establish it.
    pub(crate) fn serve(service: Wrapped, caller: PeerId) -> Self {
        Self::serve_to(service, Some(caller))
    }

    pub(crate) fn serve_to(service: Wrapped, caller: Option<PeerId>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let incoming = UnboundedReceiverStream::new(receiver).map(Ok::<_, io::Error>);
        let establish = move |mut request: Request<()>| {
            if let Some(caller) = &caller {
                request.extensions_mut().insert(caller.clone());
            }
            Ok(request)
        };
        let service = InterceptedService::new(KeyShareServiceServer::new(service), establish);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Self { sender, down: Arc::default() }
    }

    /// Refuses new connections from now on, or accepts them again.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn channel(&self) -> Channel {
        let (sender, down) = (self.sender.clone(), Arc::clone(&self.down));
        let connect = move |_: Uri| {
            let (sender, down) = (sender.clone(), Arc::clone(&down));
            async move {
                let (client, server) = tokio::io::duplex(64 * 1024);
                if down.load(Ordering::SeqCst) || sender.send(server).is_err() {
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
                }
                Ok(TokioIo::new(client))
            }
        };
        let endpoint = Endpoint::from_static("http://holder.invalid");
        endpoint.connect_with_connector_lazy(tower::service_fn(connect))
    }
}

/// What a corrupted holder does to its answers.
#[derive(Clone)]
pub(crate) enum Cheat {
    /// Answers under another key of the same index.
    OtherShare(KeyShareServer),
    WrongIndex,
    Identity,
    NonCanonical,
    Truncated,
    OneLess,
    OneMore,
    Swapped,
    Empty,
    ProofTruncated,
    ProofOfOther,
    /// Never answers.
    Silent,
}

/// A holder's server, honest or not.
#[derive(Clone)]
pub(crate) struct Wrapped {
    honest: KeyShareServer,
    cheat: Option<Cheat>,
    calls: Arc<Mutex<usize>>,
}

impl Wrapped {
    pub(crate) fn honest(honest: KeyShareServer) -> Self {
        Self { honest, cheat: None, calls: Arc::default() }
    }

    pub(crate) fn cheating(honest: KeyShareServer, cheat: Cheat) -> Self {
        Self { honest, cheat: Some(cheat), calls: Arc::default() }
    }

    /// How often it was asked.
    pub(crate) fn calls(&self) -> Arc<Mutex<usize>> {
        Arc::clone(&self.calls)
    }
}

#[tonic::async_trait]
impl KeyShareService for Wrapped {
    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        *self.calls.lock().unwrap() += 1;
        match &self.cheat {
            None => self.honest.evaluate(request).await,
            Some(Cheat::OtherShare(other)) => other.evaluate(request).await,
            Some(Cheat::Silent) => std::future::pending().await,
            Some(cheat) => {
                let answer = self.honest.evaluate(request).await?;
                Ok(answer.map(|answer| spoil(answer, cheat)))
            }
        }
    }

    async fn get_usage(
        &self,
        request: Request<GetUsageRequest>,
    ) -> Result<Response<GetUsageResponse>, Status> {
        self.honest.get_usage(request).await
    }
}

fn spoil(mut answer: EvaluateResponse, cheat: &Cheat) -> EvaluateResponse {
    let elements = &mut answer.evaluated_elements;
    match cheat {
        Cheat::WrongIndex => answer.index = if answer.index == 1 { 2 } else { answer.index - 1 },
        Cheat::Identity => elements[..32].fill(0),
        Cheat::NonCanonical => elements[..32].fill(0xff),
        Cheat::Truncated => elements.truncate(elements.len() - 1),
        Cheat::OneLess => elements.truncate(elements.len() - 32),
        Cheat::OneMore => elements.extend_from_within(..32),
        Cheat::Swapped => elements.rotate_left(32),
        Cheat::Empty => elements.clear(),
        Cheat::ProofTruncated => answer.proof.truncate(63),
        Cheat::ProofOfOther => answer.proof.rotate_left(32),
        Cheat::OtherShare(_) | Cheat::Silent => {}
    }
    answer
}
