//! Use that a source told of and that is not in the ledger: it keeps months open until it is told whole, or a person says
//! that the month is closed without it.
//!
//! This is no part of the chain and proves nothing. What was waived by whom stands in the basis of the closed month.

use super::append::without_nul;
use super::database::{DatabaseError, Session, query};
use super::read::nanoseconds;
use super::{Ledger, LedgerError};
use crate::calendar::BillingMonth;
use jiff::Timestamp;
use mesocentre_api::AcknowledgedGap;
use std::collections::BTreeSet;

/// Use that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsettled {
    /// Which run, as far as it can be told. No person's name: it stays longer than names may.
    pub what: String,
    /// What is wrong with it, in words.
    pub why: String,
}

/// What one reading of a source's reports found.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Who reports.
    pub source: &'a str,
    /// Of which cluster.
    pub cluster: &'a str,
    /// What could not be taken.
    pub unsettled: &'a [Unsettled],
    /// What could: where it could not before, it is settled.
    pub settled: &'a BTreeSet<String>,
    /// From when on was read.
    pub from: Timestamp,
    /// Whether it reached back as far as [`Ledger::unsettled_since`] says: then what it did not find is gone, too.
    pub is_whole: bool,
}

impl Ledger {
    /// Notes what a reading found, and gives what of it was not known before.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be written; then nothing was noted, and it can be read again.
    pub async fn note_unsettled(
        &self,
        reading: Reading<'_>,
        now: Timestamp,
    ) -> Result<Vec<Unsettled>, LedgerError> {
        let doing = "noting what is unsettled in";
        let mut tx = self.database.write().await.map_err(self.failed(doing))?;
        let new = note(&mut tx, reading, now).await.map_err(self.failed(doing))?;
        tx.commit().await.map_err(self.failed(doing))?;
        Ok(new)
    }

    /// What of a source's use is neither in the ledger nor waived, the first found first.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read.
    pub async fn unsettled(&self, source: &str, cluster: &str) -> Result<Vec<Unsettled>, LedgerError> {
        let mut reading = self.reading("reading what is unsettled in").await?;
        let rows = query(
            "SELECT what, why FROM unsettled WHERE source = ? AND cluster = ? AND waived_in IS NULL \
             ORDER BY found_ns, what",
        )
        .bind(source)
        .bind(cluster)
        .rows(&mut reading)
        .await
        .map_err(self.failed("reading what is unsettled in"))?;
        rows.iter()
            .map(|row| {
                Ok(Unsettled {
                    what: row.get(0)?,
                    why: row.get(1)?,
                })
            })
            .collect::<Result<_, DatabaseError>>()
            .map_err(self.failed("reading what is unsettled in"))
    }

    /// From when on a source must be read for everything that is unsettled to be read again; none when nothing is.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read.
    pub async fn unsettled_since(
        &self,
        source: &str,
        cluster: &str,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let mut reading = self.reading("reading what is unsettled in").await?;
        let since: Option<i64> = query(
            "SELECT min(read_from_ns) FROM unsettled WHERE source = ? AND cluster = ? AND waived_in IS NULL",
        )
        .bind(source)
        .bind(cluster)
        .only_value(&mut reading)
        .await
        .map_err(self.failed("reading what is unsettled in"))?;
        Ok(since.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok()))
    }
}

pub(super) async fn note(
    tx: &mut Session,
    reading: Reading<'_>,
    now: Timestamp,
) -> Result<Vec<Unsettled>, DatabaseError> {
    let Reading { source, cluster, .. } = reading;
    let known: BTreeSet<String> = query("SELECT what FROM unsettled WHERE source = ? AND cluster = ?")
        .bind(source)
        .bind(cluster)
        .values(tx)
        .await?
        .into_iter()
        .collect();
    for one in reading.unsettled {
        query(
            "INSERT INTO unsettled (source, cluster, what, why, read_from_ns, found_ns) VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT (source, cluster, what) DO UPDATE SET why = excluded.why, \
             read_from_ns = CASE WHEN excluded.read_from_ns < unsettled.read_from_ns THEN excluded.read_from_ns \
             ELSE unsettled.read_from_ns END",
        )
        .bind(source)
        .bind(cluster)
        .bind(one.what.as_str())
        .bind(without_nul(one.why.clone()))
        .bind(nanoseconds(reading.from))
        .bind(nanoseconds(now))
        .execute(tx)
        .await?;
    }
    let found: BTreeSet<&str> = reading.unsettled.iter().map(|one| one.what.as_str()).collect();
    for what in &known {
        if found.contains(what.as_str()) || !(reading.is_whole || reading.settled.contains(what)) {
            continue;
        }
        // What a month was closed without is kept, unless it was settled after all: it is then a correction.
        query(
            "DELETE FROM unsettled WHERE source = ? AND cluster = ? AND what = ? AND (waived_in IS NULL OR ?)",
        )
        .bind(source)
        .bind(cluster)
        .bind(what.as_str())
        .bind(reading.settled.contains(what))
        .execute(tx)
        .await?;
    }
    let new = reading.unsettled.iter().filter(|one| !known.contains(&one.what));
    Ok(new.cloned().collect())
}

/// A month is closed without the rest of these clusters' use.
pub(super) async fn waive(
    tx: &mut Session,
    month: BillingMonth,
    gaps: &[AcknowledgedGap],
) -> Result<(), DatabaseError> {
    for gap in gaps {
        query("UPDATE unsettled SET waived_in = ? WHERE cluster = ? AND waived_in IS NULL")
            .bind(month.to_string())
            .bind(gap.cluster.as_str())
            .execute(tx)
            .await?;
    }
    Ok(())
}
