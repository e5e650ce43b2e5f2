//! Families of metrics: a name, a meaning, and the labels that tell its members apart.

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata};

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// What kind of metric a family is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets with these upper bounds, in seconds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One row of the list of all metrics.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    /// Its name as Prometheus sees it.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub help: &'static str,
}

macro_rules! family {
    ($(#[$doc:meta])* $type:ident, $member:ident, $register:ident) => {
        $(#[$doc])*
        pub struct $type<const N: usize> {
            name: &'static str,
            labels: [&'static str; N],
        }

        impl<const N: usize> $type<N> {
            pub(crate) const fn new(name: &'static str, labels: [&'static str; N]) -> Self {
                Self { name, labels }
            }

            /// The member with these values of its labels, in their order. Keep it where it is used often: finding it
            /// costs more than using it.
            pub fn of(&self, values: [&str; N]) -> $member {
                let labels = self.labels.iter().zip(values);
                let labels: Vec<Label> =
                    labels.map(|(key, value)| Label::new(*key, value.to_owned())).collect();
                let key = Key::from_parts(self.name, labels);
                metrics::with_recorder(|recorder| recorder.$register(&key, &METADATA))
            }
        }
    };
}

family! {
    /// A family of counters.
    CounterFamily, Counter, register_counter
}
family! {
    /// A family of gauges.
    GaugeFamily, Gauge, register_gauge
}
family! {
    /// A family of histograms.
    HistogramFamily, Histogram, register_histogram
}

impl<const N: usize> CounterFamily<N> {
    /// Shows these members from now on, at 0 until they are counted: an alert cannot see a series grow that begins with its
    /// first event.
    pub fn show<'a>(&self, members: impl IntoIterator<Item = [&'a str; N]>) {
        for values in members {
            self.of(values).increment(0);
        }
    }
}

impl<const N: usize> GaugeFamily<N> {
    /// Counts one more for as long as what is returned is held.
    #[must_use]
    pub fn hold(&self, values: [&str; N]) -> Held {
        let gauge = self.of(values);
        gauge.increment(1.0);
        Held(gauge)
    }
}

/// One of what a gauge counts.
pub struct Held(Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
