//! Opening a store, and finding out at once whether it is the right one.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use lanyard_core::ids::EventId;
use lanyard_env::Env;
use lanyard_feed::{ManifestSource, Mirror, Upstream};
use lanyard_party::Report;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use rand::Rng as _;
use tokio::sync::watch;
use tonic::transport::{Endpoint, Server};

use crate::archive::{Archive, ArchiveState};
use crate::config::{ObjectsConfig, StoreUrl};
use crate::credentials::Credentials;
use crate::error::{ObjectsError, StoreProblem};
use crate::http::EnvConnector;
use crate::place::{Lock, Place};
use crate::serve::ObjectFeed;

/// The name of the store among upstreams.
pub const UPSTREAM: &str = "objects";

/// Says which event a store holds.
const EVENT: &str = "event";
const EVENT_LINE: &str = "lanyard objects of the event ";
const MAX_EVENT_BYTES: u64 = 1_024;

/// The crate tries again a little by itself; the archive and whoever follows do the rest.
const RETRIES: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// What the store's client may send ahead within this process.
const PIPE: usize = 1024 * 1024;

/// One event's object store. Cloning is cheap.
#[derive(Clone)]
pub struct Objects {
    env: Env,
    place: Place,
    archives: bool,
    keep: Duration,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("place", &self.place.name()).finish_non_exhaustive()
    }
}

impl Objects {
    /// The store of a configuration; paths are relative to the party's `folder`. Reaches for nothing yet.
    ///
    /// # Errors
    /// [`ObjectsError`]: credentials or certificate authorities that cannot be read, a folder that cannot be made.
    pub fn open(config: &ObjectsConfig, folder: &Path, env: &Env) -> Result<Self, ObjectsError> {
        let store = config.store()?;
        let name = store.to_string();
        let place = match &store {
            StoreUrl::Folder(path) => {
                let path = folder.join(path);
                Place::new(open_folder(env, &path, &name)?, Lock::Number, &name, ObjectPath::ROOT)
            }
            StoreUrl::S3 { bucket, prefix } => {
                let store = open_bucket(config, &name, bucket, folder, env)?;
                let root = prefix.split('/').filter(|part| !part.is_empty());
                let root = root.fold(ObjectPath::ROOT, ObjectPath::join);
                Place::new(store, Lock::Match, &name, root)
            }
        };
        let keep = Duration::from_secs(u64::from(config.keep_hours) * 60 * 60);
        Ok(Self { env: env.clone(), place, archives: config.archive, keep })
    }

    /// The store of a party that starts, if it has one, opened and checked. `mirrors` are the party's. With nothing in them, it
    /// has never started before, and what is wrong with the store is an error. Else it must not depend on a store that may be
    /// down, or lie: what is wrong is logged, and the party goes on from its own disk.
    ///
    /// # Errors
    /// [`ObjectsError`]: what to change.
    pub async fn start(
        config: Option<&ObjectsConfig>,
        folder: &Path,
        env: &Env,
        event: &EventId,
        mirrors: &[&Arc<Mirror>],
    ) -> Result<Option<Self>, ObjectsError> {
        let Some(config) = config else { return Ok(None) };
        let fresh = mirrors.iter().all(|mirror| mirror.read().size() == 0);
        let going_on = |error: &ObjectsError| {
            tracing::error!("going on without the object store until this is mended: {error}");
        };
        let objects = match Self::open(config, folder, env) {
            Ok(objects) => objects,
            Err(error) if !fresh => {
                going_on(&error);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match objects.check(event).await {
            Err(error) if !fresh => going_on(&error),
            checked => checked?,
        }
        // It may come back; whoever reads or writes looks again.
        Ok(Some(objects))
    }

    /// Looks at the store of a party as [`Objects::start`] does, but writes nothing there. `is_fresh` if the party's mirrors
    /// are empty: a store that cannot be used keeps it from starting then.
    pub async fn inspect(
        config: Option<&ObjectsConfig>,
        folder: &Path,
        env: &Env,
        event: &EventId,
        is_fresh: bool,
        report: &mut Report,
    ) {
        // Starting looks at it by itself.
        let Some(config) = config.filter(|_| !report.is_before_start()) else { return };
        let item = "config.toml objects";
        let inspected = async {
            let store = config.store()?;
            if let StoreUrl::Folder(path) = &store
                && matches!(env.files.exists(&folder.join(path)), Ok(false))
            {
                return Ok(format!("{store} is not there yet; starting makes it"));
            }
            Self::open(config, folder, &env.unchanging())?.check_event(event).await?;
            Ok(format!("{store} answers, and is this event's; starting tries to write there"))
        };
        match inspected.await {
            Ok(detail) => report.good(item, detail),
            Err::<_, ObjectsError>(error) if is_fresh => report.refused(item, &error),
            Err(error) => report.warning(item, format!("{error}; the service goes on without it")),
        }
    }

    /// A store that is there already; `matches` if it can replace an object conditionally.
    #[cfg(test)]
    pub(crate) fn over(
        store: Arc<dyn ObjectStore>,
        matches: bool,
        keep: Duration,
        env: &Env,
    ) -> Self {
        let lock = if matches { Lock::Match } else { Lock::Number };
        let place = Place::new(store, lock, "memory", ObjectPath::ROOT);
        Self { env: env.clone(), place, archives: true, keep }
    }

    /// The same place in another store.
    #[cfg(test)]
    pub(crate) fn within(self, store: Arc<dyn ObjectStore>) -> Self {
        Self { place: self.place.over(store), ..self }
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether this party archives here.
    #[must_use]
    pub const fn archives(&self) -> bool {
        self.archives
    }

    /// Whether the store is there, holds this event, and does what is needed.
    ///
    /// # Errors
    /// [`ObjectsError`]: what to change.
    pub async fn check(&self, event: &EventId) -> Result<(), ObjectsError> {
        if self.archives {
            let line = Bytes::from(format!("{EVENT_LINE}{event}\n"));
            self.place.create(EVENT, line).await?;
            self.check_conditions().await?;
        }
        self.check_event(event).await
    }

    /// Whether the store holds this event; nothing yet is as good.
    pub(crate) async fn check_event(&self, event: &EventId) -> Result<(), ObjectsError> {
        // Reading the list first tells a bucket that is not there from one that is empty.
        self.place.list(EVENT).await?;
        let Some(found) = self.place.get_small(EVENT, MAX_EVENT_BYTES).await? else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(&found);
        let found = text.strip_prefix(EVENT_LINE).map(str::trim_end);
        let found = found.and_then(|found| EventId::parse(found).ok());
        let other = |found: String| {
            let (place, expected) = (self.place.name().to_owned(), event.to_string());
            Err(ObjectsError::OtherEvent { place, found, expected })
        };
        match found {
            Some(found) if found == *event => Ok(()),
            Some(found) => other(found.to_string()),
            None => Err(self.place.damaged(
                EVENT,
                "it names no event; is this folder or bucket used by something else?",
            )),
        }
    }

    /// Whether conditional writes hold: without them, two writers would lose each other's lists.
    async fn check_conditions(&self) -> Result<(), ObjectsError> {
        let mut id = [0; 8];
        self.env.rng().fill_bytes(&mut id);
        let name = format!("probe-{}", hex::encode(id));
        let created = self.place.create(&name, Bytes::from_static(b"first")).await?;
        let again = self.place.create(&name, Bytes::from_static(b"second")).await?;
        let kept = self.place.get_small(&name, MAX_EVENT_BYTES).await?;
        self.place.delete(vec![self.place.path(&name)]).await?;
        if created && !again && kept.as_deref() == Some(b"first") {
            return Ok(());
        }
        let (place, action) = (self.place.name().to_owned(), "write conditionally");
        Err(ObjectsError::Store { place, action, problem: StoreProblem::Unsupported })
    }

    /// The archive as an upstream: `Follow` over it, within this process.
    #[must_use]
    pub fn upstream(&self, manifests: &Arc<dyn ManifestSource>) -> Upstream {
        let (objects, manifests) = (self.clone(), Arc::clone(manifests));
        let dial = move |_: http::Uri| {
            let (objects, manifests) = (objects.clone(), Arc::clone(&manifests));
            async move {
                let (client, server) = tokio::io::duplex(PIPE);
                let feed = ObjectFeed { objects, manifests };
                let incoming = tokio_stream::once(Ok::<_, std::io::Error>(server));
                let router = Server::builder().add_service(feed.into_service());
                tokio::spawn(router.serve_with_incoming(incoming));
                Ok::<_, std::io::Error>(TokioIo::new(client))
            }
        };
        let channel = Endpoint::from_static("http://objects.invalid");
        let channel = channel.connect_with_connector_lazy(tower::service_fn(dial));
        Upstream { name: UPSTREAM.to_owned(), channel }
    }

    /// Archives a mirror's log.
    #[must_use]
    pub fn archive(&self, mirror: &Arc<Mirror>, manifests: &Arc<dyn ManifestSource>) -> Archive {
        Archive {
            objects: self.clone(),
            env: self.env.clone(),
            place: self.place.of(mirror.origin()),
            mirror: Arc::clone(mirror),
            manifests: Arc::clone(manifests),
            keep: self.keep,
            state: watch::Sender::new(ArchiveState::default()),
            proven: Mutex::default(),
        }
    }
}

/// Synced: the crate renames a file into its place only when it is on the disk.
fn open_folder(env: &Env, path: &Path, name: &str) -> Result<Arc<dyn ObjectStore>, ObjectsError> {
    let failed = |problem| ObjectsError::Store {
        place: name.to_owned(),
        action: "open the folder",
        problem,
    };
    let made = env.files.create_dir_all(path);
    made.map_err(|error| failed(StoreProblem::File(error.to_string())))?;
    let store = LocalFileSystem::new_with_prefix(path);
    let store = store.map_err(|error| failed(StoreProblem::of(&error)))?;
    Ok(Arc::new(store.with_fsync(true)))
}

fn open_bucket(
    config: &ObjectsConfig,
    place: &str,
    bucket: &str,
    folder: &Path,
    env: &Env,
) -> Result<Arc<dyn ObjectStore>, ObjectsError> {
    let file = config.credentials.as_ref().map(|file| folder.join(file));
    let found = Credentials::find(&*env.files, file.as_deref())?;
    let credentials =
        found.ok_or_else(|| ObjectsError::NoCredentials { place: place.to_owned() })?;
    let ca = config.ca.as_ref().map(|file| folder.join(file));
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(config.region.as_deref().unwrap_or("us-east-1"))
        .with_access_key_id(&credentials.access_key_id)
        .with_secret_access_key(&credentials.secret_access_key)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT })
        .with_http_connector(EnvConnector::new(env, ca.as_deref())?);
    if let Some(token) = &credentials.session_token {
        builder = builder.with_token(token);
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint.as_str()).with_allow_http(endpoint.is_plain());
    }
    let failed = |problem| {
        let place = place.to_owned();
        ObjectsError::Store { place, action: "be set up", problem }
    };
    let store = builder.build().map_err(|error| failed(StoreProblem::of(&error)))?;
    Ok(Arc::new(store))
}
