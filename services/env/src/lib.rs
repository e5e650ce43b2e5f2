//! Clock, randomness, network and durable files, behind one seam.
//!
//! Services take an [`Env`] and reach the outside world through it alone, which `clippy.toml` enforces. Staleness,
//! crash and simulation tests replace one part of it and leave the service as it is.
//!
//! Work that blocks goes through [`blocking`] and [`Worker`], so that a simulation can keep it on its one thread.
//!
//! What is not behind the seam: TLS draws its own randomness, and timers are tokio's (a paused tokio clock drives
//! them in tests).

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the one crate that may

use std::net::SocketAddr;
use std::sync::Arc;

use lanyard_core::ids::Timestamp;

mod checked;
mod clock;
mod disk;
mod entropy;
mod files;
mod lossy;
mod network;
mod start;
mod system;
mod unchanging;
mod work;

pub use checked::{checked_body, with_checksum};
pub use clock::{Clock, ManualClock, SkewedClock, SystemClock};
pub use disk::DiskFiles;
pub use entropy::{Entropy, EnvRng, SeededEntropy, SystemEntropy};
pub use files::{AppendFile, FileError, Files, FolderLock, Mode, ReadAt, is_temporary};
pub use lossy::{Loss, LossyDisk, LossyFile};
pub use network::{Io, Listener, Network, NetworkError, Stream, TcpNetwork};
pub use start::StartError;
pub use system::{Os, System, SystemFile};
pub use unchanging::UnchangingFiles;
pub use work::{Blocking, Failed, Worker, blocking, work_in_line};

/// The outside world of one process. Cloning is cheap and shares every part.
#[derive(Clone)]
pub struct Env {
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Where random bytes come from.
    pub entropy: Arc<dyn Entropy>,
    /// Listening and connecting.
    pub network: Arc<dyn Network>,
    /// Durable files.
    pub files: Arc<dyn Files>,
}

impl Env {
    /// The real world: system clock, operating system randomness, TCP and the disk.
    #[must_use]
    pub fn system() -> Self {
        Self::for_test(SystemClock)
    }

    /// The real world but for its clock. Replace further parts by assigning the fields.
    #[must_use]
    pub fn for_test(clock: impl Clock) -> Self {
        Self {
            clock: Arc::new(clock),
            entropy: Arc::new(SystemEntropy),
            network: Arc::new(TcpNetwork),
            files: Arc::new(DiskFiles::new()),
        }
    }

    /// The same world, its files to be looked at only: see [`UnchangingFiles`].
    #[must_use]
    pub fn unchanging(&self) -> Self {
        let files = UnchangingFiles::over(Arc::clone(&self.files));
        Self { files: Arc::new(files), ..self.clone() }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Milliseconds that passed since some moment in this process's life, whatever was done to the time of day.
    #[must_use]
    pub fn elapsed_millis(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A cryptographic random number generator over this environment's entropy.
    #[must_use]
    pub fn rng(&self) -> EnvRng {
        EnvRng::new(Arc::clone(&self.entropy))
    }

    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`NetworkError::Bind`].
    pub async fn bind(&self, address: SocketAddr) -> Result<Box<dyn Listener>, NetworkError> {
        self.network.bind(address).await
    }

    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// [`NetworkError::Connect`].
    pub async fn connect(&self, address: &str) -> Result<Stream, NetworkError> {
        self.network.connect(address).await
    }
}
