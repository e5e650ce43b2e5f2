//! Messages of the feed as they go over the wire: made once, shared by all followers that get them.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use lanyard_transport::status;
use lanyard_wire::feed::v1::FollowResponse;
use lanyard_wire::feed::v1::follow_response::Update;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;

/// Bytes before a gRPC message: not compressed, and its length.
const HEADER: usize = 5;

/// An update, framed for gRPC. Clones share the bytes.
pub(crate) fn frame(update: Update) -> Bytes {
    let response = FollowResponse { update: Some(update) };
    let length = response.encoded_len();
    let mut frame = BytesMut::with_capacity(HEADER + length);
    frame.put_u8(0);
    // Messages of a feed are some megabytes at most.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    response.encode(&mut frame).expect("the buffer grows as needed");
    frame.freeze()
}

/// The update in a frame that was made here.
fn unframe(frame: &Bytes) -> Result<FollowResponse, Status> {
    let message = frame.slice(HEADER.min(frame.len())..);
    FollowResponse::decode(message).map_err(|error| status::internal(&error))
}

/// Where a follower's frames go in: only so many wait for it to be ready.
pub(crate) struct FrameSender {
    frames: mpsc::Sender<Bytes>,
    end: Arc<OnceLock<Status>>,
}

/// What a follower gets: the body of a response, or a stream within the process.
pub struct Frames {
    frames: mpsc::Receiver<Bytes>,
    end: Arc<OnceLock<Status>>,
    ended: bool,
}

/// A queue of `capacity` frames.
pub(crate) fn frames(capacity: usize) -> (FrameSender, Frames) {
    let (sender, receiver) = mpsc::channel(capacity);
    let end = Arc::new(OnceLock::new());
    let sender = FrameSender { frames: sender, end: Arc::clone(&end) };
    (sender, Frames { frames: receiver, end, ended: false })
}

impl FrameSender {
    /// Waits for room. `Err` if the follower is gone.
    pub(crate) async fn send(&self, frame: Bytes) -> Result<(), Gone> {
        self.frames.send(frame).await.map_err(|_| Gone)
    }

    /// Resolves when the follower is gone.
    pub(crate) async fn closed(&self) {
        self.frames.closed().await;
    }

    /// Ends the stream with an error, after what is in the queue: that needs no room there.
    pub(crate) fn end(self, status: Status) {
        // It is set here only, and this is the only sender.
        let _ = self.end.set(status);
    }
}

/// The follower is gone.
pub(crate) struct Gone;

impl Frames {
    fn status(&self) -> Status {
        self.end.get().cloned().unwrap_or_else(|| Status::ok(""))
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.frames.poll_recv(context).map(|next| match next {
            Some(frame) => Some(Ok(Frame::data(frame))),
            None => {
                self.ended = true;
                let mut trailers = HeaderMap::new();
                Some(self.status().add_header(&mut trailers).map(|()| Frame::trailers(trailers)))
            }
        })
    }
}

/// The same for callers within the process.
impl tokio_stream::Stream for Frames {
    type Item = Result<FollowResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.frames.poll_recv(context).map(|next| match next {
            Some(frame) => Some(unframe(&frame)),
            None => {
                self.ended = true;
                self.end.get().cloned().map(Err)
            }
        })
    }
}
