//! Proving that nobody changed the ledger: every row is hashed again, in order.
//!
//! Found, and the row named: a changed byte, a missing row, rows that changed places, a row whose hash was forged, a
//! tail that was cut, a closed month that was changed, an invoice that was changed or is missing, a trigger
//! that was taken away. Not found by this alone: a ledger
//! whose every hash was computed again from some row on, together with the file beside it and the closed months; that
//! takes a checkpoint that somebody kept ([`verify_against`]), or a head (each statement carries one).
//!
//! Told beside it, and no fault: what stands in quarantine.

use super::chain::{FORM, after};
use super::database::{Database, DatabaseError, Session, query};
use super::head_file::{self, AnchoredClose, AnchoredIssue, HeadFile};
use super::pages::{Order, Rows, Unread};
use super::row::Row;
use super::{Head, LedgerError, LedgerUrl};
use crate::calendar::BillingMonth;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::merkle::ConsistencyProof;
use crate::record::RecordKey;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Something that is not as it was written. Each names its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    /// A row says something else than when it was written.
    #[error(
        "row {seq} ({key}) was changed, or took another row's place: it does not have the hash that stands on it"
    )]
    Changed {
        /// The row.
        seq: i64,
        /// What it says it is.
        key: String,
    },
    /// Rows are gone.
    #[error("the rows {first} to {last} are missing")]
    Missing {
        /// First that is missing.
        first: i64,
        /// Last that is missing.
        last: i64,
    },
    /// A row that cannot be read.
    #[error("row {seq} cannot be read: {what}")]
    Unreadable {
        /// The row, or the one after which reading failed.
        seq: i64,
        /// Why.
        what: String,
    },
    /// A row in a form that this version does not know.
    #[error("row {seq} has the form {form}, which this version does not know: verify with a newer one")]
    UnknownForm {
        /// The row.
        seq: i64,
        /// Its form.
        form: i64,
    },
    /// The end is gone.
    #[error(
        "the tail was cut: the ledger ends at row {found}, and the file beside it says that row {expected} was written"
    )]
    TailCut {
        /// The last row that there is.
        found: i64,
        /// The last row that there was.
        expected: i64,
    },
    /// The end is another.
    #[error(
        "row {seq} has another hash than the file beside the ledger says: the chain was written again up to there"
    )]
    Rewritten {
        /// The row.
        seq: i64,
    },
    /// The guard is gone.
    #[error(
        "the file {path} beside the ledger is gone or cannot be read ({what}): whether the tail was cut cannot be told"
    )]
    NoAnchor {
        /// The file.
        path: String,
        /// Why.
        what: String,
    },
    /// A closed month is another.
    #[error("the closed month {month} was changed: {what}")]
    ClosedMonth {
        /// The month.
        month: String,
        /// What is wrong.
        what: String,
    },
    /// An invoice is another, or is gone.
    #[error("the invoice {number}: {what}")]
    Invoice {
        /// Its number.
        number: String,
        /// What is wrong.
        what: String,
    },
    /// The last invoices are gone.
    #[error(
        "the invoice at place {place} is gone or another: the file beside the ledger says that it was the last one issued"
    )]
    InvoicesCut {
        /// Its place among all issued documents.
        place: i64,
    },
    /// Whether a record is there could not be told from its key.
    #[error(
        "row {seq} and perhaps others have no entry of their own in the table usage_key: its use could be taken in a second time"
    )]
    NoKey {
        /// The first such row.
        seq: i64,
    },
    /// It is not what a checkpoint says that it was.
    #[error("the checkpoint of {rows} rows: {what}")]
    Checkpoint {
        /// Its rows.
        rows: u64,
        /// What is otherwise.
        what: String,
    },
    /// What was set aside cannot be read.
    #[error("the quarantine cannot be read: {what}")]
    Quarantine {
        /// Why.
        what: String,
    },
    /// A guard was taken away.
    #[error("the trigger {name}, which refuses changes, is gone from the ledger")]
    NoTrigger {
        /// Its name.
        name: String,
    },
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// How many rows were read.
    pub records: i64,
    /// How many closed months were read.
    pub closed_months: i64,
    /// The end of the chain.
    pub head: Head,
    /// The root of the tree over all rows.
    pub root: Digest,
    /// The month closed last, and the document issued last.
    pub last: (Option<AnchoredClose>, Option<AnchoredIssue>),
    /// The proof that was asked for.
    pub proof: Vec<Digest>,
    /// What is wrong, in the order of the rows; at most [`Verification::MOST_FAULTS`].
    pub faults: Vec<LedgerFault>,
    /// How many reports are in quarantine. They are no fault of the ledger: it kept what it could not take.
    pub quarantined: i64,
    /// The newest of them, the newest first; at most [`Verification::NEWEST_QUARANTINED`].
    pub newest_quarantined: Vec<InQuarantine>,
}

/// A report that the ledger could not take, as it stands in quarantine. No hash covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InQuarantine {
    /// One word for programs, as [`Quarantined::reason`](super::Quarantined::reason).
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The key of what was reported; none when it cannot be read any more.
    pub key: Option<RecordKey>,
}

impl Verification {
    /// After so many faults the reading ends: the first ones say where to look.
    pub const MOST_FAULTS: usize = 100;
    /// So many reports in quarantine are shown: the rest is counted.
    pub const NEWEST_QUARANTINED: usize = 10;

    /// What the ledger is now, to be signed; of one that is intact.
    pub fn checkpoint(&self, origin: &str) -> Checkpoint {
        Checkpoint {
            origin: origin.to_owned(),
            size: u64::try_from(self.records).unwrap_or(0),
            root: self.root,
            chain: self.head.hash,
            closed: self.last.0,
            issued: self.last.1,
        }
    }

    /// Whether nothing was found.
    pub fn is_intact(&self) -> bool {
        self.faults.is_empty()
    }
}

const INVOICE_TRIGGERS: [&str; 6] = [
    "invoice_refuses_update",
    "invoice_refuses_delete",
    "invoice_refuses_replace",
    "invoice_payment_refuses_update",
    "invoice_payment_refuses_delete",
    "invoice_payment_refuses_replace",
];

const TRIGGERS: [&str; 8] = [
    "usage_record_refuses_update",
    "usage_record_refuses_delete",
    "usage_record_refuses_replace",
    "quarantine_refuses_update",
    "quarantine_refuses_delete",
    "closed_month_refuses_update",
    "closed_month_refuses_delete",
    "closed_month_refuses_replace",
];

/// What else a ledger is held against.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Checkpoints that were kept. Whether they are genuine is for who has the keys.
    pub checkpoints: Vec<Checkpoint>,
    /// The rows of an earlier one from which a proof is asked for.
    pub proof_since: Option<u64>,
}

/// Verifies a ledger, without writing to it and whether or not an operator has it open.
///
/// # Errors
/// [`LedgerError`], when there is no ledger to read.
pub async fn verify(url: &LedgerUrl) -> Result<Verification, LedgerError> {
    verify_against(url, &Expected::default()).await
}

/// The same, and against what was kept of it.
///
/// # Errors
/// [`LedgerError`], when there is no ledger to read.
pub async fn verify_against(url: &LedgerUrl, kept: &Expected) -> Result<Verification, LedgerError> {
    let failed = |source| LedgerError::Database {
        doing: "opening",
        ledger: url.clone(),
        source,
    };
    // Read before the rows: it is never ahead of them, so rows appended meanwhile raise no alarm.
    let anchor = url.head_file().map(|path| (head_file::read(&path), path));
    let database = Database::open_to_read(url).await.map_err(failed)?;
    let mut reading = database.read().await.map_err(failed)?;
    let found = verify_rows(url, anchor, kept, &mut reading).await;
    reading.rollback().await.map_err(failed)?;
    // The last one to leave a ledger tidies its write-ahead log: be gone before the answer.
    database.close().await;
    found
}

/// What the file says that guards the tail, and where it is.
type Anchor = (Result<Option<HeadFile>, LedgerError>, PathBuf);

async fn verify_rows(
    url: &LedgerUrl,
    anchor: Option<Anchor>,
    kept: &Expected,
    reading: &mut Session,
) -> Result<Verification, LedgerError> {
    let failed = |doing| {
        move |source| LedgerError::Database {
            doing,
            ledger: url.clone(),
            source,
        }
    };
    let mut faults = Vec::new();

    let months = query(
        "SELECT month, time_zone, after_seq, up_to_seq, head, basis, statements, sha256, closed_ns \
         FROM closed_month ORDER BY month",
    )
    .rows(reading)
    .await
    .map_err(failed("reading the closed months of"))?;
    // What else says which hash a row has: (row, hash) from the closed months.
    let mut expected: BTreeMap<i64, Vec<(String, Digest)>> = BTreeMap::new();
    let (mut before, mut last_closed) = (0, None);
    let mut all_closed = BTreeMap::new();
    for row in &months {
        let month: String = row.get(0).map_err(failed("reading the closed months of"))?;
        let mut fault = |what: String| {
            faults.push(LedgerFault::ClosedMonth {
                month: month.clone(),
                what,
            })
        };
        match super::closed::read_closed(row) {
            Err(what) => fault(what),
            Ok(closed) => {
                if closed.after_seq != before || closed.head.seq < before {
                    fault("it does not follow the month closed before it".to_owned());
                }
                before = closed.head.seq;
                expected
                    .entry(closed.head.seq)
                    .or_default()
                    .push((month.clone(), closed.head.hash));
                last_closed = Some((closed.month, closed.sha256));
                all_closed.insert(closed.month, closed.sha256);
            }
        }
    }
    let triggers: Vec<String> = query(reading.triggers_there())
        .values(reading)
        .await
        .map_err(failed("reading the tables of"))?;
    let version: i64 = query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .only_value(reading)
        .await
        .map_err(failed("reading the tables of"))?;
    let with_invoices = version >= reading.version_with_invoices();
    for name in TRIGGERS
        .into_iter()
        .chain(INVOICE_TRIGGERS.into_iter().filter(|_| with_invoices))
        .chain(reading.triggers_of_its_own().iter().copied())
        .filter(|name| !triggers.iter().any(|there| there == name))
    {
        faults.push(LedgerFault::NoTrigger {
            name: name.to_owned(),
        });
    }

    let head_file = match &anchor {
        Some((Ok(said), _)) => *said,
        _ => None,
    };
    let issued = head_file.and_then(|said| said.issued);
    let mut all_issued = BTreeMap::new();
    begin_attempt(reading).await.map_err(failed("reading"))?;
    if with_invoices && let Err(error) = invoices(reading, issued, &mut all_issued, &mut faults).await {
        undo_attempt(reading).await.map_err(failed("reading"))?;
        faults.push(LedgerFault::Invoice {
            number: "of the series".to_owned(),
            what: format!("they cannot be read: {error}"),
        });
    }

    // Damage there must not keep the rows from being read.
    begin_attempt(reading).await.map_err(failed("reading"))?;
    let (quarantined, newest_quarantined) = match quarantine(reading).await {
        Ok(found) => found,
        Err(error) => {
            undo_attempt(reading).await.map_err(failed("reading"))?;
            faults.push(LedgerFault::Quarantine {
                what: error.to_string(),
            });
            (0, Vec::new())
        }
    };

    let mut head = Head {
        seq: 0,
        hash: Digest::ZERO,
    };
    let count: i64 = query("SELECT coalesce(max(seq), 0) FROM usage_record")
        .only_value(reading)
        .await
        .map_err(failed("reading"))?;
    let mut proof = ConsistencyProof::new(kept.proof_since.unwrap_or(0), u64::try_from(count).unwrap_or(0));
    let mut records = 0;
    let mut anchored = None;
    let anchor_seq = head_file.map(|said| said.seq);
    let mut walk = |row: Result<Row<'_>, Unread>| {
        if faults.len() >= Verification::MOST_FAULTS {
            return ControlFlow::Break(());
        }
        records += 1;
        let row = match row {
            Ok(row) => row,
            Err(unread) => {
                let seq = unread.seq.unwrap_or(head.seq + 1);
                faults.push(LedgerFault::Unreadable {
                    seq,
                    what: unread.what,
                });
                head.seq = seq;
                return ControlFlow::Continue(());
            }
        };
        if row.seq != head.seq + 1 {
            faults.push(LedgerFault::Missing {
                first: head.seq + 1,
                last: row.seq - 1,
            });
        }
        let Some(stored) = row.digest() else {
            faults.push(LedgerFault::Unreadable {
                seq: row.seq,
                what: "its hash is not 32 bytes".to_owned(),
            });
            head.seq = row.seq;
            return ControlFlow::Continue(());
        };
        if row.form != FORM {
            faults.push(LedgerFault::UnknownForm {
                seq: row.seq,
                form: row.form,
            });
        } else {
            let leaf = row.canonical().leaf().ok();
            if row.seq == head.seq + 1 && leaf.map(|leaf| after(head.hash, leaf)) != Some(stored) {
                let key = format!(
                    "{}/{}/{} {} revision {}",
                    row.source, row.cluster, row.native_key, row.meter, row.revision
                );
                faults.push(LedgerFault::Changed { seq: row.seq, key });
            }
            if let Some(leaf) = leaf {
                proof.push(leaf);
            }
            let tree = proof.tree();
            let now = kept.checkpoints.iter().filter(|kept| kept.size == tree.size());
            faults.extend(
                now.filter(|kept| (kept.root, kept.chain) != (tree.root(), stored))
                    .map(|kept| LedgerFault::Checkpoint {
                        rows: kept.size,
                        what: format!("the rows up to {} are not those that it was made of", row.seq),
                    }),
            );
        }
        // Go on from what stands there, so that one changed row is one fault.
        head = Head {
            seq: row.seq,
            hash: stored,
        };
        for (month, hash) in expected.remove(&row.seq).unwrap_or_default() {
            if hash != stored {
                let what = format!("it was closed with another hash of row {}", row.seq);
                faults.push(LedgerFault::ClosedMonth { month, what });
            }
        }
        if Some(row.seq) == anchor_seq {
            anchored = Some(stored);
        }
        ControlFlow::Continue(())
    };
    let all = Rows {
        condition: "r.seq > ?",
        bounds: &[i64::MIN],
        order: Order::Ledger,
    };
    let walked = all.each(reading, &mut walk).await;
    if let Err(error) = walked {
        // The file itself is damaged: what follows cannot be read.
        faults.push(LedgerFault::Unreadable {
            seq: head.seq,
            what: format!("after it, {error}"),
        });
    }
    // A row that was changed has another key anyway.
    if faults.is_empty()
        && let Some(asks) = reading.records_without_their_key()
        && let Some(seq) = query(asks)
            .only_value::<Option<i64>>(reading)
            .await
            .map_err(failed("reading the keys of"))?
    {
        faults.push(LedgerFault::NoKey { seq });
    }
    if faults.len() < Verification::MOST_FAULTS {
        for (seq, months) in expected.into_iter().filter(|(seq, _)| *seq > 0) {
            for (month, _) in months {
                let what = format!("it was closed with row {seq} as its last, and that row is gone");
                faults.push(LedgerFault::ClosedMonth { month, what });
            }
        }
        for kept in &kept.checkpoints {
            faults.extend(since_then(kept, proof.tree().size(), &all_closed, &all_issued));
        }
        match &anchor {
            // Nothing was to guard the tail.
            None => {}
            Some((Ok(Some(anchor)), _)) => {
                if anchor.seq > head.seq {
                    faults.push(LedgerFault::TailCut {
                        found: head.seq,
                        expected: anchor.seq,
                    });
                } else if anchored.is_some_and(|hash| hash != anchor.hash) {
                    faults.push(LedgerFault::Rewritten { seq: anchor.seq });
                }
                if let Some(close) = anchor.closed
                    && last_closed.is_none_or(|(month, sha256)| {
                        month < close.month || (month == close.month && sha256 != close.sha256)
                    })
                {
                    faults.push(LedgerFault::ClosedMonth {
                        month: close.month.to_string(),
                        what: "the file beside the ledger names it with another digest, or it is gone"
                            .to_owned(),
                    });
                }
            }
            Some((Ok(None), _)) if records == 0 => {}
            Some((unreadable, path)) => faults.push(LedgerFault::NoAnchor {
                path: path.display().to_string(),
                what: match unreadable {
                    Err(e) => e.to_string(),
                    Ok(_) => "there is none".to_owned(),
                },
            }),
        }
    }
    Ok(Verification {
        records,
        closed_months: i64::try_from(months.len()).unwrap_or(i64::MAX),
        head,
        root: proof.tree().root(),
        last: (
            last_closed.map(|(month, sha256)| AnchoredClose { month, sha256 }),
            all_issued.last_key_value().map(|(place, hash)| AnchoredIssue {
                place: *place,
                hash: *hash,
            }),
        ),
        proof: proof.finish(),
        faults,
        quarantined,
        newest_quarantined,
    })
}

/// What fails after this does not keep the transaction from going on, once it is undone.
async fn begin_attempt(session: &mut Session) -> Result<(), DatabaseError> {
    query("SAVEPOINT attempt").execute(session).await.map(drop)
}

async fn undo_attempt(session: &mut Session) -> Result<(), DatabaseError> {
    query("ROLLBACK TO SAVEPOINT attempt")
        .execute(session)
        .await
        .map(drop)
}

/// What of a checkpoint the ledger lacks, but for the rows that there are.
fn since_then(
    kept: &Checkpoint,
    rows: u64,
    closed: &BTreeMap<BillingMonth, Digest>,
    issued: &BTreeMap<i64, Digest>,
) -> Vec<LedgerFault> {
    let fault = |what: String| LedgerFault::Checkpoint {
        rows: kept.size,
        what,
    };
    let mut faults = Vec::new();
    if kept.size > rows {
        faults.push(fault(format!("the tail was cut: the ledger has {rows} rows")));
    }
    if let Some(close) = kept.closed
        && closed.get(&close.month) != Some(&close.sha256)
    {
        faults.push(fault(format!(
            "the closed month {} has another digest now, or is gone",
            close.month
        )));
    }
    if let Some(issue) = kept.issued
        && issued.get(&issue.place) != Some(&issue.hash)
    {
        faults.push(fault(format!(
            "the document at place {} is another now, or is gone",
            issue.place
        )));
    }
    faults
}

/// What is wrong with the issued documents: one chain over all series, in the order of issue.
async fn invoices(
    session: &mut Session,
    anchor: Option<AnchoredIssue>,
    all: &mut BTreeMap<i64, Digest>,
    faults: &mut Vec<LedgerFault>,
) -> Result<(), DatabaseError> {
    let mut rows =
        query("SELECT place, series, seq, number, draft, document, hash FROM invoice ORDER BY place")
            .some_rows(session)
            .await?;
    let mut before = (0, Digest::ZERO.0.to_vec());
    let mut numbers: BTreeMap<String, i64> = BTreeMap::new();
    while let Some(some) = rows.next().await? {
        for row in &some {
            let (place, series, seq): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let number: String = row.get(3)?;
            let (draft, document, hash): (&[u8], &[u8], &[u8]) = (row.get(4)?, row.get(5)?, row.get(6)?);
            let last = numbers.insert(series, seq).unwrap_or(0);
            let what = if place != before.0 + 1 || seq != last + 1 {
                Some("documents before it are missing".to_owned())
            } else if Digest::of(&[&before.1, document]).0[..] != *hash {
                Some(
                "it was changed, or took another one's place: it does not have the hash that stands on it"
                    .to_owned(),
            )
            } else {
                super::invoices::read_document(&number, draft, document).err()
            };
            faults.extend(what.map(|what| LedgerFault::Invoice { number, what }));
            if let Some(anchor) = anchor.filter(|anchor| anchor.place == place)
                && anchor.hash.0[..] != *hash
            {
                faults.push(LedgerFault::InvoicesCut { place });
            }
            if let Some(hash) = Digest::from_bytes(hash) {
                all.insert(place, hash);
            }
            before = (place, hash.to_vec());
        }
    }
    if let Some(anchor) = anchor.filter(|anchor| anchor.place > before.0) {
        faults.push(LedgerFault::InvoicesCut { place: anchor.place });
    }
    Ok(())
}

/// How many reports are in quarantine, and the newest of them.
async fn quarantine(session: &mut Session) -> Result<(i64, Vec<InQuarantine>), DatabaseError> {
    let count = query("SELECT count(*) FROM quarantine")
        .only_value(session)
        .await?;
    let rows = query("SELECT reason, message, body FROM quarantine ORDER BY id DESC LIMIT ?")
        .bind(i64::try_from(Verification::NEWEST_QUARANTINED).unwrap_or(i64::MAX))
        .rows(session)
        .await?;
    let newest = rows.iter().map(|row| {
        Ok(InQuarantine {
            reason: row.get(0)?,
            message: row.get(1)?,
            key: serde_json::from_str(row.get(2)?).ok(),
        })
    });
    Ok((count, newest.collect::<Result<_, DatabaseError>>()?))
}
