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
//! One SQLite file in write-ahead mode, for one writing process; any number may read it meanwhile. Commits are durable
//! when they are answered (`synchronous = FULL`): a source that heard "metered" will not report again.
//!
//! Knows no prices. What it was at a moment is told by [`crate::checkpoint`], from what [`verify`] reads.

mod append;
mod chain;
mod closed;
mod head_file;
mod invoices;
mod read;
mod row;
mod unsettled;
mod url;
mod verify;

pub use append::{Appended, Quarantined};
pub use closed::{ClosedMonth, LastClosed};
pub use head_file::{AnchoredClose, AnchoredIssue, HeadFile};
pub use invoices::{IssueError, Payment, Standing};
pub use read::{AllocationUse, UseKey};
pub use unsettled::{Reading, Unsettled};
pub use url::{LedgerUrl, LedgerUrlError};
pub use verify::{Expected, InQuarantine, LedgerFault, Verification, verify, verify_against};

use crate::digest::Digest;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
        "{doing} the ledger {path} failed: {source}. See that the disk has room, that the file belongs to this process, and run `meso ledger verify`"
    )]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The tables cannot be brought up to date.
    #[error(
        "bringing the tables of the ledger {path} up to date failed: {source}. A ledger of a newer version is not opened by an older one: run the newer"
    )]
    Migrate {
        /// The file.
        path: PathBuf,
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
        "the ledger {path} does not hold the record {seq} that {anchor} says was its last: its tail was cut or rewritten, or it is an older copy. Nothing is appended to it; restore the ledger from a newer copy. If you mean to go on with this one, run `meso ledger verify`, keep its answer, and move {anchor} away"
    )]
    NotWhatWasThere {
        /// The file.
        path: PathBuf,
        /// The file beside it.
        anchor: PathBuf,
        /// The record that the file beside it names.
        seq: i64,
    },
    /// The last invoices are gone, or others.
    #[error(
        "the ledger {path} does not hold the invoice at place {place} that {anchor} says was its last: invoices were taken away or changed, or it is an older copy. Nothing is written to it; restore the ledger from a newer copy"
    )]
    NotWhatWasIssued {
        /// The file.
        path: PathBuf,
        /// The file beside it.
        anchor: PathBuf,
        /// The place among all issued documents.
        place: i64,
    },
    /// A row that is no record.
    #[error(
        "row {seq} of the ledger {path} is no usage record ({what}): somebody changed it; run `meso ledger verify` and restore the file from a backup"
    )]
    UnreadableRow {
        /// The file.
        path: PathBuf,
        /// The row.
        seq: i64,
        /// What is wrong.
        what: String,
    },
    /// A closed month that cannot be read.
    #[error(
        "the closed month {month} in the ledger {path} cannot be read ({what}): somebody changed it; run `meso ledger verify` and restore the file from a backup"
    )]
    UnreadableMonth {
        /// The file.
        path: PathBuf,
        /// The month.
        month: String,
        /// What is wrong.
        what: String,
    },
    /// An invoice that cannot be read.
    #[error(
        "the invoice {number} in the ledger {path} cannot be read ({what}): somebody changed it; run `meso ledger verify` and restore the file from a backup"
    )]
    UnreadableInvoice {
        /// The file.
        path: PathBuf,
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

/// The ledger, open for one writing process.
#[derive(Clone, Debug)]
pub struct Ledger {
    path: PathBuf,
    /// One connection: writers queue here and not at the file's lock.
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Small on purpose: the operator's whole memory is small, and rows are read in order.
const PAGE_CACHE_KIB: &str = "-2000";

impl Ledger {
    /// Opens the ledger, makes it where there is none (readable by its owner only), and brings its tables up to date.
    ///
    /// # Errors
    /// [`LedgerError`], when the file or its tables cannot be made.
    pub async fn open(url: &LedgerUrl) -> Result<Self, LedgerError> {
        let path = url.path().to_owned();
        create_private(&path).map_err(|source| LedgerError::Create {
            path: path.clone(),
            source,
        })?;
        let options = connect_options(&path);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(
                options
                    .clone()
                    .journal_mode(SqliteJournalMode::Wal)
                    // With NORMAL a power cut takes back commits that were answered, and the file beside the ledger
                    // would then say that its tail was cut.
                    .synchronous(SqliteSynchronous::Full),
            )
            .await
            .map_err(|source| LedgerError::Database {
                doing: "opening",
                path: path.clone(),
                source,
            })?;
        sqlx::migrate!()
            .run(&writer)
            .await
            .map_err(|source| LedgerError::Migrate {
                path: path.clone(),
                source,
            })?;
        let readers = SqlitePoolOptions::new()
            .min_connections(0)
            .max_connections(2)
            .connect_lazy_with(options.read_only(true));
        let ledger = Self {
            path,
            writer,
            readers,
        };
        let mut connection = ledger.writer.acquire().await.map_err(ledger.failed("opening"))?;
        ledger.check_anchor(&mut connection).await?;
        drop(connection);
        Ok(ledger)
    }

    /// Opens a ledger that is there, to read and for nothing else, whether or not an operator has it open.
    ///
    /// # Errors
    /// [`LedgerError`], when there is none, or one of an older operator's.
    pub async fn open_to_read(url: &LedgerUrl) -> Result<Self, LedgerError> {
        let path = url.path().to_owned();
        let options = connect_options(&path).read_only(true);
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections);
        let ledger = Self {
            // What writes is refused by SQLite.
            writer: pool(1).connect_lazy_with(options.clone()),
            readers: pool(2).connect_lazy_with(options),
            path,
        };
        ledger.head().await?;
        Ok(ledger)
    }

    /// Closes the file after what is under way.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(sqlx::Error) -> LedgerError + use<'_> {
        move |source| LedgerError::Database {
            doing,
            path: self.path.clone(),
            source,
        }
    }
}

fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(10))
        .statement_cache_capacity(16)
        .pragma("cache_size", PAGE_CACHE_KIB)
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
