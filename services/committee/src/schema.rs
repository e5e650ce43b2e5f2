//! The committee's tables.

use lanyard_store::Schema;

/// People, prints of their badges, profiles, what screening said, and sealed batches that are on their way.
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
    handed_over BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    UNIQUE (badge_number, print_number)
);
CREATE INDEX prints_changed ON prints (changed);
CREATE INDEX prints_gate_tag ON prints (gate_tag);
CREATE INDEX prints_handed_over ON prints (handed_over);
CREATE TABLE profiles (
    id BIGINT PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
);
CREATE TABLE status_changes (
    change_id BIGINT NOT NULL,
    badge_number BIGINT NOT NULL,
    before BIGINT NOT NULL,
    previous_change BIGINT NOT NULL,
    PRIMARY KEY (change_id, badge_number)
);
CREATE TABLE cursors (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE screening_batches (id BIGINT PRIMARY KEY, body BYTES NOT NULL)"]);
