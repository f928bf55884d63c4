//! The ledger: every usage record once, appended and never changed, each hashed together with the one before.
//!
//! ```text
//!  append ─► usage_record  seq │ key, tenant, quantity, span … │ hash = H(hash before, row)     append-only
//!        └─► quarantine    what could not be taken, and why                                       append-only
//!  close  ─► closed_month  basis, statements, their SHA-256, the last seq that counted             append-only
//!  issue  ─► invoice, invoice_payment   documents with their numbers, and what was paid on them    append-only
//!  source's reading ─► unsettled   what a source told of and could not be taken: keeps months open
//!            <file>.head   seq and hash of the last record, and of the last invoice: shows a tail that was cut
//! ```
//!
//! It is one SQLite file in write-ahead mode, or a database of PostgreSQL's with its records partitioned by month: the
//! same rows with the same hashes, and [`copy`] carries them over. One writes at a time, any number may read meanwhile.
//! Commits are durable when they are answered: a source that heard "metered" will not report again.
//!
//! Knows no prices. What it was at a moment is told by [`crate::checkpoint`], from what [`verify`] reads.

mod append;
mod chain;
mod closed;
mod copy;
mod database;
mod head_file;
mod holdings;
mod invoices;
mod months;
mod pages;
mod proof;
mod prove;
mod read;
mod row;
mod unsettled;
mod url;
mod verify;

pub use append::{Appended, Quarantined};
pub use closed::{ClosedMonth, LastClosed};
pub use copy::{Copied, CopyError, Purpose as CopyPurpose, copy};
pub use head_file::{AnchoredClose, AnchoredIssue, HeadFile};
pub use holdings::TakenReading;
pub use invoices::{IssueError, Payment, Standing};
pub use proof::{HashedRow, ProofError, ProvenRecord, RecordInTree, RecordProof};
pub use read::{AllocationUse, DailyUse, LedgerRow, UseKey};
pub use unsettled::{Reading, Unsettled};
pub use url::{LedgerUrl, LedgerUrlError};
pub use verify::{Expected, InQuarantine, LedgerFault, Verification, verify, verify_against};

use crate::digest::Digest;
pub use database::DatabaseError;
use database::{Database, OpenError, Session};
use std::path::{Path, PathBuf};

/// The end of the chain: how many records there are, and the hash of the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the last record; 0 when there is none.
    pub seq: i64,
    /// Its hash, which covers all before it.
    pub hash: Digest,
}

/// What the ledger could not do.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be made.
    #[error(
        "making the ledger's file {path} failed: {source}. Its folder must exist and be writable for this process"
    )]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database said no.
    #[error(
        "{doing} the ledger {} failed: {source}. {}", .ledger.place(), .ledger.advice()
    )]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The ledger.
        ledger: LedgerUrl,
        /// Why.
        source: DatabaseError,
    },
    /// The tables cannot be brought up to date.
    #[error(
        "bringing the tables of the ledger {} up to date failed: {source}. A ledger of a newer version is not opened by an older one: run the newer", .ledger.place()
    )]
    Migrate {
        /// The ledger.
        ledger: LedgerUrl,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// The file beside the ledger cannot be written or read.
    #[error(
        "{doing} {path} failed: {source}. It guards the ledger's tail and must be writable beside it; the records themselves are safe, and reporting them again changes nothing"
    )]
    HeadFile {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The tail is gone, or another.
    #[error(
        "the ledger {} does not hold the record {seq} that {anchor} says was its last: its tail was cut or rewritten, or it is an older copy. Nothing is appended to it; restore the ledger from a newer copy. If you mean to go on with this one, run `meso ledger verify`, keep its answer, and move {anchor} away", .ledger.place()
    )]
    NotWhatWasThere {
        /// The ledger.
        ledger: LedgerUrl,
        /// The file beside it.
        anchor: PathBuf,
        /// The record that the file beside it names.
        seq: i64,
    },
    /// The last invoices are gone, or others.
    #[error(
        "the ledger {} does not hold the invoice at place {place} that {anchor} says was its last: invoices were taken away or changed, or it is an older copy. Nothing is written to it; restore the ledger from a newer copy", .ledger.place()
    )]
    NotWhatWasIssued {
        /// The ledger.
        ledger: LedgerUrl,
        /// The file beside it.
        anchor: PathBuf,
        /// The place among all issued documents.
        place: i64,
    },
    /// A row that is no record.
    #[error(
        "row {seq} of the ledger {} is no usage record ({what}): somebody changed it; run `meso ledger verify` and restore it from a backup", .ledger.place()
    )]
    UnreadableRow {
        /// The ledger.
        ledger: LedgerUrl,
        /// The row.
        seq: i64,
        /// What is wrong.
        what: String,
    },
    /// A proof was asked for of a record that is not there.
    #[error(
        "there is no record {seq} among the first {size} of the ledger {}: records have the numbers that `meso ledger export` writes as seq", .ledger.place()
    )]
    NotAmong {
        /// The ledger.
        ledger: LedgerUrl,
        /// The record.
        seq: i64,
        /// Among how many.
        size: i64,
    },
    /// Nothing can be proven of it.
    #[error(
        "row {seq} of the ledger {} is not as it was written ({what}), so nothing is proven from it: run `meso ledger verify` and restore it from a backup", .ledger.place()
    )]
    NotAsWritten {
        /// The ledger.
        ledger: LedgerUrl,
        /// The row.
        seq: i64,
        /// What is wrong.
        what: String,
    },
    /// A closed month that cannot be read.
    #[error(
        "the closed month {month} in the ledger {} cannot be read ({what}): somebody changed it; run `meso ledger verify` and restore it from a backup", .ledger.place()
    )]
    UnreadableMonth {
        /// The ledger.
        ledger: LedgerUrl,
        /// The month.
        month: String,
        /// What is wrong.
        what: String,
    },
    /// An invoice that cannot be read.
    #[error(
        "the invoice {number} in the ledger {} cannot be read ({what}): somebody changed it; run `meso ledger verify` and restore it from a backup", .ledger.place()
    )]
    UnreadableInvoice {
        /// The ledger.
        ledger: LedgerUrl,
        /// Its number.
        number: String,
        /// What is wrong.
        what: String,
    },
    /// Another month was closed while this one was rated.
    #[error("another month was closed while {month} was being closed: close {month} again")]
    ClosedMeanwhile {
        /// The month.
        month: crate::calendar::BillingMonth,
    },
    /// A value has no canonical form.
    #[error("writing {what} in canonical form failed: {source}")]
    Canonical {
        /// What.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

/// The ledger, open for one writing process at a time.
#[derive(Clone, Debug)]
pub struct Ledger {
    url: LedgerUrl,
    database: Database,
}

impl Ledger {
    /// Opens the ledger, makes it where there is none (a file readable by its owner only; a database must be there, and
    /// belong to the user), and brings its tables up to date.
    ///
    /// # Errors
    /// [`LedgerError`], when the file or its tables cannot be made.
    pub async fn open(url: &LedgerUrl) -> Result<Self, LedgerError> {
        if let Some(path) = url.file() {
            create_private(path).map_err(|source| LedgerError::Create {
                path: path.to_owned(),
                source,
            })?;
        }
        let database = Database::open(url).await.map_err(|error| match error {
            OpenError::Database(source) => LedgerError::Database {
                doing: "opening",
                ledger: url.clone(),
                source,
            },
            OpenError::Migrate(source) => LedgerError::Migrate {
                ledger: url.clone(),
                source,
            },
        })?;
        let ledger = Self {
            url: url.clone(),
            database,
        };
        let mut session = ledger.database.write().await.map_err(ledger.failed("opening"))?;
        ledger.check_anchor(&mut session).await?;
        session.rollback().await.map_err(ledger.failed("opening"))?;
        Ok(ledger)
    }

    /// Opens a ledger that is there, to read and for nothing else, whether or not an operator has it open.
    ///
    /// # Errors
    /// [`LedgerError`], when there is none, or one of an older operator's.
    pub async fn open_to_read(url: &LedgerUrl) -> Result<Self, LedgerError> {
        let database = Database::open_to_read(url)
            .await
            .map_err(|source| LedgerError::Database {
                doing: "opening",
                ledger: url.clone(),
                source,
            })?;
        let ledger = Self {
            url: url.clone(),
            database,
        };
        ledger.head().await?;
        Ok(ledger)
    }

    /// Closes it after what is under way.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Where it is.
    pub fn url(&self) -> &LedgerUrl {
        &self.url
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(DatabaseError) -> LedgerError + use<'_> {
        move |source| LedgerError::Database {
            doing,
            ledger: self.url.clone(),
            source,
        }
    }

    /// To read, from one moment.
    async fn reading(&self, doing: &'static str) -> Result<Session, LedgerError> {
        self.database.read().await.map_err(self.failed(doing))
    }
}

// SQLite gives its -wal and -shm files the mode of the database.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}
