//! The committee's tables.

use lanyard_store::Schema;

/// People, prints of their badges, profiles, what screening said, sealed batches that are on their way, what the police asked
/// to disclose, and badges of police staff, whose bearers are not known.
pub(crate) const SCHEMA: Schema = Schema::new(&["
CREATE TABLE people (
    badge_number BIGINT PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    subject_id BYTES NOT NULL UNIQUE,
    salt BYTES NOT NULL,
    binding BYTES NOT NULL,
    full_name TEXT NOT NULL,
    latin_name TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    documents TEXT NOT NULL,
    category TEXT NOT NULL,
    function TEXT NOT NULL,
    organisation TEXT NOT NULL,
    profile_id BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    portrait_hash BYTES NOT NULL,
    status BIGINT NOT NULL,
    screening BIGINT NOT NULL,
    current_print BIGINT NOT NULL,
    last_change BIGINT NOT NULL
);
CREATE INDEX people_screening ON people (screening, badge_number);
CREATE TABLE prints (
    id BIGINT PRIMARY KEY,
    badge_number BIGINT NOT NULL REFERENCES people (badge_number),
    print_number BIGINT NOT NULL,
    state BIGINT NOT NULL,
    seeds BYTES NOT NULL,
    gate_tag BYTES NOT NULL,
    police_tag BYTES NOT NULL,
    handed_over BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    UNIQUE (badge_number, print_number)
);
CREATE INDEX prints_changed ON prints (changed);
CREATE INDEX prints_gate_tag ON prints (gate_tag);
CREATE INDEX prints_police_tag ON prints (police_tag);
CREATE INDEX prints_handed_over ON prints (handed_over);
CREATE TABLE profiles (
    id BIGINT PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    police BIGINT NOT NULL
);
CREATE TABLE police_badges (
    badge_number BIGINT PRIMARY KEY,
    profile TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    binding BYTES NOT NULL,
    status BIGINT NOT NULL,
    revoked BIGINT NOT NULL,
    last_change BIGINT NOT NULL
);
CREATE INDEX police_badges_profile ON police_badges (profile);
CREATE TABLE police_prints (
    id BIGINT PRIMARY KEY,
    badge_number BIGINT NOT NULL REFERENCES police_badges (badge_number),
    print_number BIGINT NOT NULL,
    replaced BIGINT NOT NULL,
    seeds BYTES NOT NULL,
    gate_tag BYTES NOT NULL UNIQUE,
    police_tag BYTES NOT NULL UNIQUE,
    sponsor_tag BYTES NOT NULL UNIQUE,
    changed BIGINT NOT NULL,
    UNIQUE (badge_number, print_number)
);
CREATE INDEX police_prints_changed ON police_prints (changed);
CREATE TABLE status_changes (
    change_id BIGINT NOT NULL,
    badge_number BIGINT NOT NULL,
    before BIGINT NOT NULL,
    previous_change BIGINT NOT NULL,
    PRIMARY KEY (change_id, badge_number)
);
CREATE TABLE screening_batches (id BIGINT PRIMARY KEY, body BYTES NOT NULL);
CREATE TABLE disclosures (
    request_id BIGINT PRIMARY KEY,
    badge_number BIGINT NOT NULL REFERENCES people (badge_number),
    legal_basis TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_millis BIGINT NOT NULL,
    state BIGINT NOT NULL,
    decided_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    decided_millis BIGINT NOT NULL,
    delivered BIGINT NOT NULL
);
CREATE INDEX disclosures_state ON disclosures (state, request_id);
CREATE TABLE cursors (name TEXT PRIMARY KEY, value BIGINT NOT NULL)"]);
