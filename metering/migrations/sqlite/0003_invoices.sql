-- Issued invoices and credit notes. A number is taken by the row that holds the document, so there is none without one.
CREATE TABLE invoice (
    place     INTEGER PRIMARY KEY NOT NULL,         -- 1, 2, 3 … without a gap over all series: the order of issue
    series    TEXT NOT NULL,
    seq       INTEGER NOT NULL,                     -- 1, 2, 3 … without a gap in its series
    number    TEXT NOT NULL UNIQUE,                 -- F2026-000001
    claim     TEXT NOT NULL UNIQUE,                 -- what it bills or takes back: issued once
    tenant    TEXT NOT NULL,
    month     TEXT NOT NULL,                        -- 2026-11
    corrects  TEXT,                                 -- of a credit note: the number of its invoice
    issued_on TEXT NOT NULL,                        -- 2026-12-05; never before the one before it in its series
    draft     BLOB NOT NULL,                        -- SHA-256 of the draft: who issues it again is given this row
    document  BLOB NOT NULL,                        -- canonical JSON
    hash      BLOB NOT NULL,                        -- SHA-256 over the hash of the document issued before it, and this one
    UNIQUE (series, seq)
) STRICT;

CREATE INDEX invoice_of ON invoice (tenant, month);
CREATE INDEX invoice_corrects ON invoice (corrects) WHERE corrects IS NOT NULL;

CREATE TRIGGER invoice_refuses_update BEFORE UPDATE ON invoice BEGIN
    SELECT RAISE(ABORT, 'an issued invoice is never changed: issue a credit note that corrects it');
END;
CREATE TRIGGER invoice_refuses_delete BEFORE DELETE ON invoice BEGIN
    SELECT RAISE(ABORT, 'an issued invoice is never deleted: issue a credit note that corrects it');
END;
-- INSERT OR REPLACE deletes without asking the trigger above, so it is refused here.
CREATE TRIGGER invoice_refuses_replace BEFORE INSERT ON invoice
WHEN NEW.place <> (SELECT coalesce(max(place), 0) + 1 FROM invoice)
  OR NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM invoice WHERE series = NEW.series)
  OR EXISTS (SELECT 1 FROM invoice WHERE number = NEW.number OR claim = NEW.claim)
BEGIN
    SELECT RAISE(ABORT, 'an invoice follows the last one with the next number of its series, and none takes the place of another');
END;

-- What was paid on an invoice, as the accounts say it.
CREATE TABLE invoice_payment (
    number    TEXT NOT NULL REFERENCES invoice (number),
    reference TEXT NOT NULL,                        -- of the bank or the accounts: the same again is nothing
    cents     TEXT NOT NULL,                        -- below zero for what was paid back
    paid_on   TEXT NOT NULL,
    PRIMARY KEY (number, reference)
) STRICT;

CREATE TRIGGER invoice_payment_refuses_update BEFORE UPDATE ON invoice_payment BEGIN
    SELECT RAISE(ABORT, 'a payment is never changed: record what was paid back as another one');
END;
CREATE TRIGGER invoice_payment_refuses_delete BEFORE DELETE ON invoice_payment BEGIN
    SELECT RAISE(ABORT, 'a payment is never deleted: record what was paid back as another one');
END;
CREATE TRIGGER invoice_payment_refuses_replace BEFORE INSERT ON invoice_payment
WHEN EXISTS (SELECT 1 FROM invoice_payment WHERE number = NEW.number AND reference = NEW.reference) BEGIN
    SELECT RAISE(ABORT, 'a payment is recorded once, and none takes the place of another');
END;
