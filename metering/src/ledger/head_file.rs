//! The file beside the ledger that says where its chain ended: `<ledger>.head`, one line of JSON. For a ledger in
//! PostgreSQL it is where its URL says, if it says so.
//!
//! It is written after each commit and is on the disk before the answer, so it is never ahead of the ledger. A ledger
//! that is shorter than it says was cut, or is an old copy. Who can write both files can cut both alike; what shows that
//! is a copy of the head somewhere else: the `head` on every statement, the digest in a closed period's status, and
//! the signed checkpoints that partners will keep.

use super::LedgerError;
use super::database::{DatabaseError, Session};
use crate::calendar::BillingMonth;
use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadFile {
    /// Number of the last record.
    pub seq: i64,
    /// Its hash.
    pub hash: Digest,
    /// The month closed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<AnchoredClose>,
    /// The document issued last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<AnchoredIssue>,
}

/// An issued document: its place among all, and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchoredIssue {
    /// Its place, from 1.
    pub place: i64,
    /// Its hash, which covers all before it.
    pub hash: Digest,
}

/// A closed month and the SHA-256 of its statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchoredClose {
    /// The month.
    pub month: BillingMonth,
    /// SHA-256 of its statements.
    pub sha256: Digest,
}

impl HeadFile {
    /// What the file should say of a ledger.
    pub(super) async fn of(session: &mut Session) -> Result<Self, DatabaseError> {
        let head = super::append::head_of(session).await?;
        Ok(Self {
            seq: head.seq,
            hash: head.hash,
            closed: super::closed::last_anchor(session).await?,
            issued: super::invoices::last_anchor(session).await?,
        })
    }
}

/// Reads it; none where there is none.
pub(super) fn read(path: &Path) -> Result<Option<HeadFile>, LedgerError> {
    let failed = |source| LedgerError::HeadFile {
        doing: "reading",
        path: path.to_owned(),
        source,
    };
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| failed(e.into())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

/// Brings it up to `head`, which is committed. Commits that end side by side reach this in any order, from several
/// processes even, so it only ever goes forward.
pub(super) fn advance(path: &Path, head: HeadFile) -> Result<(), LedgerError> {
    let failed = |source| LedgerError::HeadFile {
        doing: "writing",
        path: path.to_owned(),
        source,
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let folder = std::fs::File::open(folder).map_err(failed)?;
    // Held until the folder is closed at the end.
    folder.lock().map_err(failed)?;
    let before = read(path)?;
    let mut next = head;
    if let Some(before) = before {
        if before.seq > next.seq {
            (next.seq, next.hash) = (before.seq, before.hash);
        }
        if before.closed.map(|close| close.month) > next.closed.map(|close| close.month) {
            next.closed = before.closed;
        }
        if before.issued.map(|issue| issue.place) > next.issued.map(|issue| issue.place) {
            next.issued = before.issued;
        }
    }
    if before == Some(next)
        || (before.is_none() && next.seq == 0 && next.closed.is_none() && next.issued.is_none())
    {
        return Ok(());
    }
    write(path, &next, &folder).map_err(failed)
}

/// After a power cut there is the old one or the new one, and nothing between.
fn write(path: &Path, head: &HeadFile, folder: &std::fs::File) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&serde_json::to_vec(head)?)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    // The rename itself is durable once its folder is.
    folder.sync_all()
}
