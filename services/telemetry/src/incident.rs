//! What happens to a service, told to whoever keeps its audit stream.

use std::sync::{Arc, OnceLock};

/// What happened. None of it is about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Incident {
    /// The service serves; about its version.
    Started,
    /// The service stops as asked.
    Stopped,
    /// A newer manifest is in force; about its version.
    ManifestAdopted,
    /// The service shows another certificate; about its end, in seconds since 1970.
    CertificateChanged,
    /// Another share of the pseudonym key is in force; about its generation.
    ShareChanged,
    /// Somebody was caught lying about a log, and evidence is kept; about the log.
    MisdeedNoticed,
    /// This witness was asked to cosign a fork; about the log.
    ForkRefused,
    /// A share holder answered wrongly; about the holder.
    HolderMisbehaved,
}

impl Incident {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Started,
        Self::Stopped,
        Self::ManifestAdopted,
        Self::CertificateChanged,
        Self::ShareChanged,
        Self::MisdeedNoticed,
        Self::ForkRefused,
        Self::HolderMisbehaved,
    ];

    /// In a word, for the audit stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::ManifestAdopted => "manifest-adopted",
            Self::CertificateChanged => "certificate-changed",
            Self::ShareChanged => "share-changed",
            Self::MisdeedNoticed => "misdeed-noticed",
            Self::ForkRefused => "fork-refused",
            Self::HolderMisbehaved => "holder-misbehaved",
        }
    }

    /// Whether somebody did what must not be.
    #[must_use]
    pub const fn is_misdeed(self) -> bool {
        matches!(self, Self::MisdeedNoticed | Self::ForkRefused | Self::HolderMisbehaved)
    }
}

/// Hears of incidents, and what each is about. It is called on the way: it must not block.
type Listener = Box<dyn Fn(Incident, String) + Send + Sync>;

/// Where a service tells what happens to it. Clones are the same service's; without a listener nobody hears.
#[derive(Clone, Default)]
pub struct Incidents(Arc<OnceLock<Listener>>);

impl Incidents {
    /// Something happened; `about` names what of the event it concerns, never a person.
    pub fn tell(&self, incident: Incident, about: impl ToString) {
        if let Some(listener) = self.0.get() {
            listener(incident, about.to_string());
        }
    }

    /// Has `listener` hear of all that happens from here on. A service has one audit stream: a second listener is not heard of.
    pub fn heard_by(&self, listener: impl Fn(Incident, String) + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(listener));
    }
}
