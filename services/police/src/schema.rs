//! The police's tables. Neither pseudonyms nor identities stand in them, but for those of the own staff: keys are local hashes, seeds are sealed, and of a
//! watchlist only the labels that it gives its entries are kept. While a list is imported, the batches of keys that are
//! being evaluated are kept too, sealed; what came of them waits in tables of its own until the list is whole. An identity
//! that the committee disclosed is sealed, and only here until its case has a verdict. A tag is a keyed hash of what it stands
//! with, and a digest the sum of a list's: see `tags`.

use lanyard_store::Schema;

/// Watchlists, imports of them, subjects of screening and prints of their badges, the own staff and theirs.
pub(crate) const SCHEMA: Schema = Schema::new(&["
CREATE TABLE watchlists (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    entry_count BIGINT NOT NULL,
    key_count BIGINT NOT NULL,
    imported_millis BIGINT NOT NULL,
    digest BIGINT NOT NULL
);
CREATE TABLE list_entries (
    id BIGINT PRIMARY KEY,
    list_id BIGINT NOT NULL REFERENCES watchlists (id),
    label TEXT NOT NULL,
    tag BIGINT NOT NULL
);
CREATE INDEX list_entries_list ON list_entries (list_id);
CREATE TABLE list_keys (
    hash BYTES NOT NULL,
    entry_id BIGINT NOT NULL REFERENCES list_entries (id),
    kind BIGINT NOT NULL,
    tag BIGINT NOT NULL,
    PRIMARY KEY (hash, entry_id)
);
CREATE INDEX list_keys_entry ON list_keys (entry_id);
CREATE TABLE list_imports (
    id BIGINT PRIMARY KEY,
    list TEXT NOT NULL UNIQUE,
    list_id BIGINT NOT NULL,
    content BYTES NOT NULL,
    entries BIGINT NOT NULL,
    keys BIGINT NOT NULL,
    evaluations BIGINT NOT NULL,
    digest BIGINT NOT NULL
);
CREATE TABLE staged_entries (
    id BIGINT PRIMARY KEY,
    import_id BIGINT NOT NULL REFERENCES list_imports (id),
    label TEXT NOT NULL,
    tag BIGINT NOT NULL
);
CREATE INDEX staged_entries_import ON staged_entries (import_id);
CREATE TABLE staged_keys (
    entry_id BIGINT NOT NULL REFERENCES staged_entries (id),
    hash BYTES NOT NULL,
    kind BIGINT NOT NULL,
    tag BIGINT NOT NULL,
    PRIMARY KEY (entry_id, hash)
);
CREATE TABLE list_batches (id BIGINT PRIMARY KEY, body BYTES NOT NULL);
CREATE TABLE subjects (
    subject_id BYTES PRIMARY KEY,
    binding BYTES NOT NULL,
    verdict BIGINT NOT NULL,
    decided_by BIGINT NOT NULL,
    reason TEXT NOT NULL,
    due_millis BIGINT NOT NULL,
    released BIGINT NOT NULL,
    release_sequence BIGINT NOT NULL,
    suspended BIGINT NOT NULL,
    suspension_reason TEXT NOT NULL,
    withdrawn BIGINT NOT NULL,
    mismatch BIGINT NOT NULL,
    last_change BIGINT NOT NULL,
    keys_tag BIGINT NOT NULL
);
CREATE INDEX subjects_due ON subjects (due_millis);
CREATE INDEX subjects_release ON subjects (release_sequence);
CREATE TABLE subject_keys (
    subject_id BYTES NOT NULL REFERENCES subjects (subject_id),
    hash BYTES NOT NULL,
    PRIMARY KEY (subject_id, hash)
);
CREATE TABLE key_runs (id BIGINT PRIMARY KEY, level BIGINT NOT NULL, tag BIGINT NOT NULL);
CREATE TABLE key_blocks (
    run_id BIGINT NOT NULL REFERENCES key_runs (id),
    first BYTES NOT NULL,
    body BYTES NOT NULL,
    tag BIGINT NOT NULL,
    PRIMARY KEY (run_id, first)
);
CREATE TABLE seen_matches (
    subject_id BYTES NOT NULL REFERENCES subjects (subject_id),
    list_id BIGINT NOT NULL,
    label TEXT NOT NULL,
    hash BYTES NOT NULL,
    kind BIGINT NOT NULL,
    PRIMARY KEY (subject_id, list_id, label, hash)
);
CREATE TABLE proposals (
    subject_id BYTES PRIMARY KEY REFERENCES subjects (subject_id),
    verdict BIGINT NOT NULL,
    reason TEXT NOT NULL,
    proposed_by TEXT NOT NULL,
    proposed_millis BIGINT NOT NULL
);
CREATE TABLE disclosures (
    id BIGINT PRIMARY KEY,
    subject_id BYTES NOT NULL REFERENCES subjects (subject_id),
    sample BIGINT NOT NULL,
    state BIGINT NOT NULL,
    legal_basis TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_millis BIGINT NOT NULL,
    answered_by TEXT NOT NULL,
    answered_millis BIGINT NOT NULL,
    refusal TEXT NOT NULL,
    identity BYTES NOT NULL
);
CREATE INDEX disclosures_subject ON disclosures (subject_id, id);
CREATE INDEX disclosures_state ON disclosures (state, id);
CREATE TABLE prints (
    id BIGINT PRIMARY KEY,
    subject_id BYTES NOT NULL,
    print_number BIGINT NOT NULL,
    replaced BIGINT NOT NULL,
    seeds BYTES NOT NULL,
    gate_tag BYTES NOT NULL UNIQUE,
    changed BIGINT NOT NULL
);
CREATE INDEX prints_subject ON prints (subject_id, print_number);
CREATE INDEX prints_changed ON prints (changed);
CREATE TABLE staff (
    badge_number BIGINT PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    full_name TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    documents TEXT NOT NULL,
    portrait_hash BYTES NOT NULL,
    salt BYTES NOT NULL,
    binding BYTES NOT NULL,
    function TEXT NOT NULL,
    profile TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    status BIGINT NOT NULL,
    current_print BIGINT NOT NULL,
    last_change BIGINT NOT NULL
);
CREATE TABLE staff_keys (
    hash BYTES NOT NULL,
    badge_number BIGINT NOT NULL REFERENCES staff (badge_number),
    kind BIGINT NOT NULL,
    PRIMARY KEY (hash, badge_number)
);
CREATE INDEX staff_keys_badge ON staff_keys (badge_number);
CREATE TABLE staff_prints (
    id BIGINT PRIMARY KEY,
    badge_number BIGINT NOT NULL REFERENCES staff (badge_number),
    print_number BIGINT NOT NULL,
    state BIGINT NOT NULL,
    seeds BYTES NOT NULL,
    gate_tag BYTES NOT NULL,
    changed BIGINT NOT NULL,
    handover BIGINT NOT NULL,
    taken BIGINT NOT NULL,
    UNIQUE (badge_number, print_number)
);
CREATE INDEX staff_prints_changed ON staff_prints (changed);
CREATE INDEX staff_prints_gate_tag ON staff_prints (gate_tag);
CREATE INDEX staff_prints_handover ON staff_prints (handover);
CREATE TABLE staff_profiles (
    code TEXT PRIMARY KEY,
    category TEXT NOT NULL
);
CREATE TABLE staff_changes (
    change_id BIGINT NOT NULL,
    badge_number BIGINT NOT NULL,
    before BIGINT NOT NULL,
    previous_change BIGINT NOT NULL,
    PRIMARY KEY (change_id, badge_number)
);
CREATE TABLE status_changes (
    change_id BIGINT NOT NULL,
    subject_id BYTES NOT NULL,
    suspended BIGINT NOT NULL,
    suspension_reason TEXT NOT NULL,
    previous_change BIGINT NOT NULL,
    PRIMARY KEY (change_id, subject_id)
)"]);
