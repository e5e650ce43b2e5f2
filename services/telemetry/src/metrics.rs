//! All metrics. docs/OPERATIONS.md lists the same, which a test compares.

use crate::family::{CounterFamily, Described, GaugeFamily, HistogramFamily, Kind};

/// Upper bounds for what takes from a tenth of a millisecond to half a minute.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// The type of a family with these labels.
macro_rules! family {
    (counter $labels:tt) => { CounterFamily<{ labels(&$labels) }> };
    (gauge $labels:tt) => { GaugeFamily<{ labels(&$labels) }> };
    (histogram $labels:tt) => { HistogramFamily<{ labels(&$labels) }> };
}

macro_rules! kind {
    (counter) => {
        Kind::Counter
    };
    (gauge) => {
        Kind::Gauge
    };
    (histogram) => {
        Kind::Histogram(SECONDS)
    };
}

const fn labels(labels: &[&str]) -> usize {
    labels.len()
}

macro_rules! metrics {
    ($($name:ident: $kind:ident $text:literal $labels:tt $help:literal;)+) => {
        $(
            #[doc = $help]
            pub static $name: family!($kind $labels) = <family!($kind $labels)>::new($text, $labels);
        )+

        /// Every metric there is, but for those of the process itself (`process_…`).
        pub const ALL: &[Described] = &[$(
            Described { name: $text, kind: kind!($kind), labels: &$labels, help: $help }
        ),+];
    };
}

metrics! {
    // Process.
    BUILD_INFO: gauge "lanyard_build_info" ["version", "party"]
        "Always 1; the labels say what runs here.";
    MANIFEST_VERSION: gauge "lanyard_manifest_version" []
        "The version of the manifest in force.";
    CERTIFICATE_VALID_UNTIL: gauge "lanyard_certificate_valid_until_timestamp_seconds" []
        "When the service's certificate ends, in seconds since 1970.";
    CLOCK_OFF: gauge "lanyard_clock_off_seconds" ["authority", "direction"]
        "How far this machine's clock is off, as the witnesses of a log show: behind or ahead; 0 is well.";
    CONDITION_HOLDS: gauge "lanyard_condition_holds" ["condition"]
        "1 while a condition of /readyz holds, 0 while it does not; what is seen of others among them.";
    TASKS_ENDED: gauge "lanyard_tasks_ended" []
        "Tasks of /healthz that ended though the service needs them; 0 is well.";
    // Transport.
    HANDSHAKES: counter "lanyard_handshakes_total" ["outcome"]
        "TLS handshakes by how they ended.";
    ACCEPT_ERRORS: counter "lanyard_accept_errors_total" []
        "Errors on accepting connections, such as too many open files.";
    CONNECTIONS: gauge "lanyard_connections_open" ["caller"]
        "Open connections by the caller's party.";
    RPC_STARTED: counter "lanyard_rpc_started_total" ["service", "method", "caller"]
        "RPCs begun, by the caller's party.";
    RPC_HANDLED: counter "lanyard_rpc_handled_total" ["service", "method", "caller", "code"]
        "RPCs ended, by gRPC code (of plain HTTP, by status).";
    RPC_IN_FLIGHT: gauge "lanyard_rpc_in_flight" ["service", "method", "caller"]
        "RPCs in progress, streams included.";
    RPC_DURATION: histogram "lanyard_rpc_duration_seconds" ["service", "method", "caller"]
        "How long unary RPCs took, until their answer was sent.";
    RPC_REFUSED: counter "lanyard_rpc_refused_total" ["reason", "caller"]
        "RPCs refused before they reached a service: NOT_ALLOWED, OVERLOADED (shed) or TIMED_OUT.";
    // Feeds.
    FEED_LOG_SIZE: gauge "lanyard_feed_log_size" ["authority", "state"]
        "Leaves of an authority's log known here: signed, and with a quorum of witnesses.";
    FEED_AGE: gauge "lanyard_feed_age_seconds" ["authority", "state"]
        "Age of what is known of an authority: of the newest signed head, and of the newest with a quorum; while there is none, the time since the start.";
    FEED_RECORDS: gauge "lanyard_feed_records" ["authority", "audience"]
        "Records of the live directory, decoys included.";
    FEED_INCOMPLETE: gauge "lanyard_feed_incomplete" ["authority"]
        "1 while a directory, profile table or key that the newest head promises is missing.";
    FEED_MEMORY: gauge "lanyard_feed_memory_bytes" ["authority"]
        "Memory that directories take.";
    FEED_MISDEEDS: gauge "lanyard_feed_misdeeds" ["authority"]
        "How often somebody was caught lying about this feed since the process started.";
    FEED_FOLLOWERS: gauge "lanyard_feed_followers" ["authority"]
        "Streams that follow this feed from here.";
    FEED_UPSTREAM_IN_USE: gauge "lanyard_feed_upstream_in_use" ["authority", "upstream"]
        "1 for the upstream that is followed now, 0 for those that were.";
    FEED_UPSTREAM_FAILURES: counter "lanyard_feed_upstream_failures_total" ["authority", "upstream", "reason"]
        "Upstreams left, by why: call, lie, circle (it follows this mirror), silent, slow, lagging, stale, uncosigned, incomplete, ended, not_kept (this disk), stopping.";
    // Publishing.
    TICK_DURATION: histogram "lanyard_publication_tick_duration_seconds" []
        "How long a tick took: read changes, seal, persist, sign.";
    TICKS: counter "lanyard_publication_ticks_total" ["outcome"]
        "Ticks: published, store_failed, failed.";
    TICKS_MISSED: counter "lanyard_publication_ticks_missed_total" []
        "Ticks that did not happen in time because the one before took too long.";
    RESEALED: counter "lanyard_publication_rows_resealed_total" ["audience"]
        "Rows re-sealed, those among them that hide which changed.";
    CHANGES_WAITING: gauge "lanyard_publication_changes_waiting" []
        "Changes that no signed checkpoint has yet.";
    WITNESS_ANSWERS: counter "lanyard_witness_answers_total" ["witness", "outcome"]
        "What witnesses answered to this authority: cosigned, paused, unreachable, timed_out, ahead, forked, no_proof, refused, not_cosigned.";
    WITNESS_DURATION: histogram "lanyard_witness_answer_duration_seconds" ["witness"]
        "How long a witness took to cosign.";
    COSIGNATURES: counter "lanyard_witness_requests_total" ["outcome"]
        "What this witness answered to authorities: cosigned, malformed, forked, refused, not_held (its party's mirror lacks the tick), failed.";
    // Pseudonyms and screening.
    EVALUATIONS_USED: gauge "lanyard_evaluations_used" ["caller", "purpose"]
        "Evaluations counted by this share holder.";
    EVALUATIONS_GRANTED: gauge "lanyard_evaluations_granted" ["caller", "purpose"]
        "Evaluations that the manifest grants.";
    EVALUATION_BATCH_DURATION: histogram "lanyard_evaluation_batch_duration_seconds" []
        "How long this share holder took for a batch, counting it included.";
    HOLDER_FAULTS: counter "lanyard_share_holder_faults_total" ["holder"]
        "Answers of other share holders that did not come or did not verify.";
    SCREENING_WAITING: gauge "lanyard_screening_waiting" ["state"]
        "People in screening by state; at the committee: unscreened, pending; at the police: unreleased, undecided.";
    SCREENING_BATCHES: gauge "lanyard_screening_batches" ["job"]
        "Batches stored and not finished.";
    // Gate.
    CHECKS: counter "lanyard_gate_checks_total" ["verdict", "reason"]
        "Answers by what the gate shows; all causes of REFER are one.";
    CHECK_DURATION: histogram "lanyard_gate_check_duration_seconds" []
        "How long checks took, unary and in streams, from the request to the durable receipt.";
    OVERRIDES: counter "lanyard_gate_overrides_total" ["verdict"]
        "Answers that a supervisor overrode, by what came of it.";
    RECEIPTS: gauge "lanyard_gate_receipts" []
        "Receipts in the chain.";
    RECEIPT_QUEUE: gauge "lanyard_gate_receipts_queued" []
        "Calls that wait for their receipts to be durable.";
    RECEIPT_DURATION: histogram "lanyard_gate_receipt_write_duration_seconds" []
        "How long a group of receipts took to be signed, written and synced.";
    RECEIPT_FAILURES: counter "lanyard_gate_receipt_failures_total" []
        "Groups of receipts that the disk did not take; their checks were not answered.";
    // Store.
    STORE_CONNECTIONS: gauge "lanyard_store_connections" ["state"]
        "Connections to the store: busy, idle.";
    STORE_WAIT: histogram "lanyard_store_begin_duration_seconds" []
        "How long a writing transaction waited for its turn.";
    STORE_PROBE: gauge "lanyard_store_probe_duration_seconds" []
        "How long the store took to answer when last asked for readiness.";
    // Object store.
    ARCHIVE_UPLOADS: counter "lanyard_archive_uploads_total" ["authority", "outcome"]
        "What became of news of a log on their way to the object store: archived, failed, other_writer.";
    ARCHIVE_AGE: gauge "lanyard_archive_age_seconds" ["authority"]
        "Age of the newest list that this service wrote to the object store; 0 before the first, and while another party writes there.";
    ARCHIVE_LAG: gauge "lanyard_archive_lag" ["authority"]
        "Signed leaves of a log that the object store does not have; 0 while another party writes there.";
    // Audit stream.
    AUDIT_EVENTS: counter "lanyard_audit_events_total" ["kind"]
        "Events written to the audit stream.";
    AUDIT_LOST: counter "lanyard_audit_events_lost_total" []
        "Calls that were too many to be written one by one; the stream says how many.";
    AUDIT_FAILURES: counter "lanyard_audit_write_failures_total" []
        "Writes to the audit stream that failed; they are tried again.";
    AUDIT_TRAIL_POSITION: gauge "lanyard_audit_trail_position" []
        "How far the store's trail of acts is in the stream.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_as_prometheus_wants_them() {
        let mut seen = BTreeSet::new();
        for &Described { name, kind, labels, help } in ALL {
            assert!(seen.insert(name), "{name}: twice");
            assert!(name.starts_with("lanyard_") && help.ends_with('.'), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            if let Kind::Histogram(bounds) = kind {
                assert!(name.ends_with("_seconds"), "{name}");
                assert!(bounds.is_sorted(), "{name}");
            }
            // Whatever would tell who: a label is one of these, or the test is asked first.
            for label in labels {
                let known = [
                    "audience",
                    "authority",
                    "caller",
                    "code",
                    "condition",
                    "direction",
                    "holder",
                    "job",
                    "kind",
                    "method",
                    "outcome",
                    "party",
                    "purpose",
                    "reason",
                    "service",
                    "state",
                    "upstream",
                    "verdict",
                    "version",
                    "witness",
                ];
                assert!(known.contains(label), "{name}: {label}");
            }
        }
    }
}
