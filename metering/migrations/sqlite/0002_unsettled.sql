-- Use that a source told of and that is not in the ledger, since what it told cannot be read or makes no sense. It is
-- settled when the source tells it whole, and then its row here is deleted; or a month is closed without it, by a person
-- who said why (acknowledgedGaps, kept with the closed month), and then the row says in which.
CREATE TABLE unsettled (
    source       TEXT NOT NULL,
    cluster      TEXT NOT NULL,
    what         TEXT NOT NULL,                      -- which run, as far as it can be told; no person's name
    why          TEXT NOT NULL,
    read_from_ns INTEGER NOT NULL,                   -- a reading from here on finds it again
    found_ns     INTEGER NOT NULL,
    waived_in    TEXT,                               -- 2026-11: the month that was closed without it
    PRIMARY KEY (source, cluster, what)
) STRICT;
