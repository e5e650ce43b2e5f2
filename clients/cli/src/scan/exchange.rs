//! Checks over one stream, opened again when it breaks.

use std::time::Duration;

use lanyard_client::{ClientError, call, item};
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;
use lanyard_wire::gate::v1::{
    CheckRequest, CheckResponse, CheckStreamRequest, CheckStreamResponse,
};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

const WHAT: &str = "check the badge";
/// How often an unanswered message is sent; under the same nonces, so that no check counts twice.
const TRIES: u32 = 3;
/// How long is waited before sending again; the person at the gate waits too.
const PAUSE: Duration = Duration::from_millis(200);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open stream: one message at a time is under way.
struct Open {
    sender: mpsc::Sender<CheckStreamRequest>,
    answers: Streaming<CheckStreamResponse>,
}

/// Sends checks to a gate and gets their answers, in order.
pub(super) struct Exchange {
    client: GateServiceClient<Channel>,
    open: Option<Open>,
}

impl Exchange {
    pub(super) const fn new(client: GateServiceClient<Channel>) -> Self {
        Self { client, open: None }
    }

    /// The answer to each check, or why there is none. Where the gate refuses a message as a whole, each check is
    /// sent on its own, so that one bad line does not spoil the others.
    pub(super) async fn check(
        &mut self,
        checks: Vec<CheckRequest>,
    ) -> Vec<Result<CheckResponse, String>> {
        match self.try_all(&checks).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if error.is_unreachable() || checks.len() == 1 => {
                checks.iter().map(|_| Err(error.to_string())).collect()
            }
            Err(_) => {
                let mut answers = Vec::with_capacity(checks.len());
                for check in checks {
                    let answer = self.try_all(&[check]).await;
                    let answer = answer.map_err(|error| error.to_string());
                    answers.push(answer.and_then(|mut one| one.pop().ok_or_else(String::new)));
                }
                answers
            }
        }
    }

    async fn try_all(
        &mut self,
        checks: &[CheckRequest],
    ) -> Result<Vec<CheckResponse>, ClientError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_once(checks).await {
                Err(error) if error.is_unreachable() && tries < TRIES => sleep(PAUSE).await,
                tried => return tried,
            }
        }
    }

    async fn try_once(
        &mut self,
        checks: &[CheckRequest],
    ) -> Result<Vec<CheckResponse>, ClientError> {
        let request = CheckStreamRequest { checks: checks.to_vec() };
        let expected = checks.len();
        // Taken, so that a stream that breaks, or is left in the middle of an answer, is not used again.
        let exchanged = timeout(PATIENCE, exchange(&mut self.client, self.open.take(), request));
        let late = || ClientError::failed(WHAT, &Status::deadline_exceeded("no answer in time"));
        let (open, answer) = exchanged.await.map_err(|_| late())??;
        if answer.results.len() != expected {
            let problem = Status::data_loss("the gate answered another number of checks");
            return Err(ClientError::failed(WHAT, &problem));
        }
        self.open = Some(open);
        Ok(answer.results)
    }
}

async fn exchange(
    client: &mut GateServiceClient<Channel>,
    open: Option<Open>,
    request: CheckStreamRequest,
) -> Result<(Open, CheckStreamResponse), ClientError> {
    let ended = || ClientError::failed(WHAT, &Status::unavailable("the gate ended the stream"));
    let mut open = match open {
        Some(open) => {
            open.sender.send(request).await.map_err(|_| ended())?;
            open
        }
        None => {
            let (sender, receiver) = mpsc::channel(1);
            // In the channel before the call: the gate may begin its answer with the first message only.
            sender.send(request).await.map_err(|_| ended())?;
            let answers = call(WHAT, client.check_stream(ReceiverStream::new(receiver)).await)?;
            Open { sender, answers }
        }
    };
    let answer = item(WHAT, open.answers.message().await)?.ok_or_else(ended)?;
    Ok((open, answer))
}
