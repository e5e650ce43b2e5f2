//! Reading: the archive answers `Follow` as a mirror does, within this process, so that all that watches over upstreams
//! watches over it, too. The store is not trusted: what comes out of here goes through the same intake as anybody's stream.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lanyard_core::ids::{Audience, Authority, Origin};
use lanyard_feed::{BEHIND, DirectoryKey, ManifestSource};
use lanyard_transport::status;
use lanyard_wire::convert::audience;
use lanyard_wire::feed::v1::feed_service_server::{FeedService, FeedServiceServer};
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{
    Cosigned, FollowRequest, FollowResponse, LookupRequest, LookupResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use crate::error::ObjectsError;
use crate::messages::Decoder;
use crate::newest::{Newest, Object, Piece, Unreadable};
use crate::place::{Found, NEWEST, Place, Tag};
use crate::store::Objects;

/// Messages on their way to the follower.
const QUEUE: usize = 8;

/// The archive is not there, or not whole.
const NOT_ARCHIVED: &str = "NOT_ARCHIVED";

type Sender = mpsc::Sender<Result<FollowResponse, Status>>;

/// Serves `Follow` from what is archived.
pub(crate) struct ObjectFeed {
    pub(crate) objects: Objects,
    pub(crate) manifests: Arc<dyn ManifestSource>,
}

impl ObjectFeed {
    pub(crate) fn into_service(self) -> FeedServiceServer<Self> {
        FeedServiceServer::new(self).max_encoding_message_size(lanyard_feed::MAX_MESSAGE_BYTES)
    }

    fn origin(&self, wanted: &str) -> Option<Origin> {
        let manifest = self.manifests.current();
        let mut origins = Authority::ALL.iter().map(|authority| manifest.origin(*authority));
        origins.find(|origin| origin.as_str() == wanted)
    }
}

#[tonic::async_trait]
impl FeedService for ObjectFeed {
    type FollowStream = ReceiverStream<Result<FollowResponse, Status>>;

    async fn follow(
        &self,
        request: Request<FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let request = request.into_inner();
        let unknown = || status::malformed("that is no log of this event");
        let origin = self.origin(&request.origin).ok_or_else(unknown)?;
        let audiences = request.audiences.iter().map(|value| audience(*value));
        let malformed =
            |error: lanyard_wire::convert::WireError| status::malformed(error.to_string());
        let audiences = audiences.collect::<Result<_, _>>().map_err(malformed)?;
        let held =
            request.directories.iter().map(|id| id.parts().map(|of| DirectoryKey::new(of.0, of.1)));
        let (sender, receiver) = mpsc::channel(QUEUE);
        let manifest = self.manifests.current();
        let reading = Reading {
            place: self.objects.place().of(&origin),
            origin,
            audiences,
            size: request.log_size,
            held: held.collect::<Result<_, _>>().map_err(malformed)?,
            manifest_version: request.manifest_version,
            beside: HashSet::new(),
            cosigned: String::new(),
            tick: Duration::from_millis(u64::from(manifest.tick_millis)),
            sender,
        };
        let (objects, event) = (self.objects.clone(), manifest.event.clone());
        tokio::spawn(async move {
            let sender = reading.sender.clone();
            let ended = match objects.check_event(&event).await {
                Ok(()) => reading.run().await,
                Err(error) => Err(error.into()),
            };
            if let Err(End::Status(status)) = ended {
                let _ = sender.send(Err(*status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn lookup(&self, _: Request<LookupRequest>) -> Result<Response<LookupResponse>, Status> {
        Err(Status::unimplemented("an archive is followed, not looked into"))
    }
}

/// Why a stream ends.
enum End {
    /// The follower is gone.
    Quiet,
    /// The newest list names an object that is not there, or not as it says.
    Object(ObjectsError),
    /// With an error for the follower.
    Status(Box<Status>),
}

impl From<ObjectsError> for End {
    fn from(error: ObjectsError) -> Self {
        Self::Status(Box::new(status::error(Code::Unavailable, NOT_ARCHIVED, error.to_string())))
    }
}

/// One follower of the archive of one log.
struct Reading {
    place: Place,
    origin: Origin,
    audiences: Vec<Audience>,
    /// How far it is, and which directories it holds then.
    size: u64,
    held: BTreeSet<DirectoryKey>,
    manifest_version: u32,
    /// What it was sent of the list already.
    beside: HashSet<String>,
    cosigned: String,
    tick: Duration,
    sender: Sender,
}

impl Reading {
    /// Brings it up to date, then asks once a tick whether there is more.
    async fn run(mut self) -> Result<(), End> {
        let mut known: Option<Tag> = None;
        loop {
            match self.place.newest(known.as_ref()).await? {
                Found::Unchanged => {
                    tokio::select! {
                        () = tokio::time::sleep(self.tick) => {}
                        () = self.sender.closed() => return Err(End::Quiet),
                    }
                }
                Found::Nothing => {
                    let message =
                        format!("nothing of this log is archived in {}", self.place.name());
                    let status = status::error(Code::Unavailable, NOT_ARCHIVED, message);
                    return Err(End::Status(Box::new(status)));
                }
                Found::List { bytes, tag, .. } => {
                    let newest = self.parse(&bytes)?;
                    match self.serve(&newest).await {
                        // Swept, if there is a newer list; else withheld or damaged.
                        Err(End::Object(error)) => match self.place.newest(Some(&tag)).await? {
                            Found::Unchanged => return Err(error.into()),
                            _ => continue,
                        },
                        served => served?,
                    }
                    known = Some(tag);
                }
            }
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Newest, End> {
        Newest::from_bytes(bytes, &self.origin).map_err(|unreadable| {
            let (place, expected) = (self.place.name().to_owned(), self.origin.as_str().to_owned());
            let error = match unreadable {
                Unreadable::Malformed(error) => self.place.damaged(NEWEST, error),
                Unreadable::OtherVersion => {
                    ObjectsError::OtherVersion { place, name: NEWEST.to_owned() }
                }
                Unreadable::OtherLog { origin } => {
                    ObjectsError::OtherEvent { place, found: origin, expected }
                }
            };
            error.into()
        })
    }

    /// Sends what the list has and the follower lacks.
    async fn serve(&mut self, newest: &Newest) -> Result<(), End> {
        if newest.size < self.size {
            return Err(behind("the archive has less than the follower; ask another"));
        }
        self.send_beside(newest).await?;
        let wanted = self.wanted(newest.directories.iter().copied());
        let is_lacking = |object: &Object| match object.piece {
            Piece::Snapshot { size, directory } => {
                size <= self.size && wanted.contains(&directory) && !self.held.contains(&directory)
            }
            _ => false,
        };
        if self.size < newest.base
            || (newest.objects.iter().any(is_lacking) && self.size == newest.base)
        {
            self.send_base(newest).await?;
        } else if newest.objects.iter().any(is_lacking) {
            return Err(behind(
                "the follower lacks a directory that the archive has only as of an earlier size; it comes with the archive's \
                 next base, or move the mirror's folder away to start anew",
            ));
        }
        for object in &newest.objects {
            match object.piece {
                Piece::Snapshot { size, directory }
                    if size > self.size && wanted.contains(&directory) =>
                {
                    self.send_object(object).await?;
                }
                Piece::Ticks { to, .. } if to > self.size => {
                    self.send_object(object).await?;
                    self.size = to;
                }
                _ => {}
            }
        }
        self.held = wanted;
        if !newest.cosigned.is_empty() && self.cosigned != newest.cosigned {
            self.cosigned.clone_from(&newest.cosigned);
            let checkpoint = newest.cosigned.clone();
            self.send(FollowResponse { update: Some(Update::Cosigned(Cosigned { checkpoint })) })
                .await?;
        }
        Ok(())
    }

    fn wanted(&self, keys: impl Iterator<Item = DirectoryKey>) -> BTreeSet<DirectoryKey> {
        keys.filter(|key| self.audiences.is_empty() || self.audiences.contains(&key.audience))
            .collect()
    }

    /// Manifests, keys and tables that it was not sent yet.
    async fn send_beside(&mut self, newest: &Newest) -> Result<(), End> {
        for object in &newest.objects {
            match object.piece {
                Piece::Manifest { version } if version > self.manifest_version => {
                    self.send_object(object).await?;
                    self.manifest_version = version;
                }
                Piece::Beside { .. } if !self.beside.contains(&object.name()) => {
                    self.send_object(object).await?;
                    self.beside.insert(object.name());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The base, with the leaves before it.
    async fn send_base(&mut self, newest: &Newest) -> Result<(), End> {
        let base = newest.base;
        // A directory that ended since the base is part of it: what the base's head lists has to be there.
        let is_wanted = |key: &DirectoryKey| {
            self.audiences.is_empty() || self.audiences.contains(&key.audience)
        };
        let objects: Vec<Object> = newest
            .objects
            .iter()
            .filter(|object| match &object.piece {
                Piece::Leaves { .. } => self.size < base,
                Piece::Snapshot { size, directory } => *size == base && is_wanted(directory),
                Piece::Ticks { from, to } => *from == base && *to == base,
                Piece::Manifest { .. } | Piece::Beside { .. } => false,
            })
            .copied()
            .collect();
        for object in objects {
            self.send_object(&object).await?;
        }
        self.size = base;
        Ok(())
    }

    /// Sends what an object holds, its last message only once all of it is as the list says.
    async fn send_object(&self, object: &Object) -> Result<(), End> {
        let name = object.name();
        let damaged = |problem: &str| End::Object(self.place.damaged(&name, problem));
        let found = self.place.get(&name).await?;
        let found =
            found.ok_or_else(|| damaged("it is not there, although the newest list names it"))?;
        let mut stream = found.into_stream();
        let mut decoder = Decoder::default();
        let mut hasher = blake3::Hasher::new();
        let (mut length, mut last) = (0, None);
        while let Some(bytes) = self.place.next_bytes(&mut stream).await? {
            length += bytes.len() as u64;
            if length > object.length {
                return Err(damaged("it is longer than the newest list says"));
            }
            hasher.update(&bytes);
            decoder.push(&bytes);
            while let Some(message) = decoder.next().map_err(|problem| damaged(&problem))? {
                if let Some(before) = last.replace(message) {
                    self.send(before).await?;
                }
            }
        }
        if hasher.finalize() != *object.hash.as_bytes() || decoder.has_rest() {
            return Err(damaged(
                "it is not what the newest list says: damaged, cut short or exchanged",
            ));
        }
        match last {
            Some(message) => self.send(message).await,
            None => Ok(()),
        }
    }

    async fn send(&self, message: FollowResponse) -> Result<(), End> {
        self.sender.send(Ok(message)).await.map_err(|_| End::Quiet)
    }
}

fn behind(message: &str) -> End {
    End::Status(Box::new(status::error(Code::FailedPrecondition, BEHIND, message)))
}
