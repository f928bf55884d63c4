-- The ledger. Three tables are append-only: what is in them stays as it is, and the triggers say so to whoever tries.
-- Times are nanoseconds since 1970-01-01 in UTC; quantities are integers of up to 128 bits, as text.

CREATE TABLE usage_record (
    seq             INTEGER PRIMARY KEY NOT NULL,   -- 1, 2, 3 … without a gap
    form            INTEGER NOT NULL,               -- version of the canonical form that is hashed
    source          TEXT NOT NULL,
    cluster         TEXT NOT NULL,
    native_key      TEXT NOT NULL,
    meter           TEXT NOT NULL,
    revision        INTEGER NOT NULL,
    tenant          TEXT NOT NULL,
    allocation      TEXT,
    person          TEXT,                           -- pseudonym, see the table person
    activity        TEXT NOT NULL,
    activity_reason TEXT NOT NULL,
    quantity        TEXT NOT NULL,                  -- in the meter's base unit
    start_ns        INTEGER NOT NULL,
    end_ns          INTEGER NOT NULL,
    evidence        TEXT NOT NULL,                  -- canonical JSON
    received_ns     INTEGER NOT NULL,
    hash            BLOB NOT NULL                   -- SHA-256 over the row before and this one
) STRICT;

CREATE UNIQUE INDEX usage_record_key ON usage_record (source, cluster, native_key, meter, revision);
CREATE INDEX usage_record_time ON usage_record (end_ns, start_ns);
-- Few records are ever revised: looking for a later revision looks among those only.
CREATE UNIQUE INDEX usage_record_revised ON usage_record (source, cluster, native_key, meter, revision)
    WHERE revision > 0;

CREATE TRIGGER usage_record_refuses_update BEFORE UPDATE ON usage_record BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: a usage record is never changed; send its next revision instead');
END;
CREATE TRIGGER usage_record_refuses_delete BEFORE DELETE ON usage_record BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: a usage record is never deleted; send its next revision with quantity 0 instead');
END;
-- INSERT OR REPLACE deletes without asking the trigger above, so it is refused here.
CREATE TRIGGER usage_record_refuses_replace BEFORE INSERT ON usage_record
WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM usage_record)
  OR EXISTS (SELECT 1 FROM usage_record r WHERE r.source = NEW.source AND r.cluster = NEW.cluster
             AND r.native_key = NEW.native_key AND r.meter = NEW.meter AND r.revision = NEW.revision)
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: a usage record follows the last one, and none takes the place of another');
END;

-- What could not be taken, with the reason, once each.
CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY NOT NULL,
    digest      BLOB NOT NULL UNIQUE,               -- SHA-256 of reason and body: the same again is not written again
    reason      TEXT NOT NULL,
    message     TEXT NOT NULL,
    body        TEXT NOT NULL,                      -- the record as reported, canonical JSON
    received_ns INTEGER NOT NULL
) STRICT;

CREATE TRIGGER quarantine_refuses_update BEFORE UPDATE ON quarantine BEGIN
    SELECT RAISE(ABORT, 'the quarantine is append-only: what a source reported stays as it was reported');
END;
CREATE TRIGGER quarantine_refuses_delete BEFORE DELETE ON quarantine BEGIN
    SELECT RAISE(ABORT, 'the quarantine is append-only: what a source reported stays as it was reported');
END;

-- Closed months: what they rest on, and what came out.
CREATE TABLE closed_month (
    month      TEXT PRIMARY KEY NOT NULL,           -- 2026-11
    time_zone  TEXT NOT NULL,
    after_seq  INTEGER NOT NULL,                    -- up_to_seq of the month closed before; 0 for the first
    up_to_seq  INTEGER NOT NULL,                    -- the last usage record that counted
    head       BLOB NOT NULL,                       -- the chain's hash at up_to_seq
    basis      BLOB NOT NULL,                       -- tenants, tariffs and cost pools, canonical JSON
    statements BLOB NOT NULL,                       -- canonical JSON
    sha256     BLOB NOT NULL,                       -- of statements
    closed_ns  INTEGER NOT NULL
) STRICT;

CREATE TRIGGER closed_month_refuses_update BEFORE UPDATE ON closed_month BEGIN
    SELECT RAISE(ABORT, 'a closed month stays as it was closed: late use is a correction in the next one');
END;
CREATE TRIGGER closed_month_refuses_delete BEFORE DELETE ON closed_month BEGIN
    SELECT RAISE(ABORT, 'a closed month stays closed: late use is a correction in the next one');
END;
CREATE TRIGGER closed_month_refuses_replace BEFORE INSERT ON closed_month
WHEN EXISTS (SELECT 1 FROM closed_month WHERE month >= NEW.month) BEGIN
    SELECT RAISE(ABORT, 'a month is closed once, and after the months before it');
END;

-- Who is behind a pseudonym. Rows may be erased when the law says so; no hash covers them.
CREATE TABLE person (
    pseudonym TEXT PRIMARY KEY NOT NULL,
    name      TEXT NOT NULL UNIQUE
) STRICT;

-- Up to when each source has reported everything.
CREATE TABLE source_watermark (
    source     TEXT NOT NULL,
    cluster    TEXT NOT NULL,
    through_ns INTEGER NOT NULL,
    PRIMARY KEY (source, cluster)
) STRICT;
