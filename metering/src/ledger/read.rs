//! Reading the ledger: always up to a record that the caller names, so that what is appended meanwhile does not matter,
//! and row by row, so that memory does not grow with the ledger.
//!
//! Of a key with several revisions, the latest up to that record counts.

use super::database::{DatabaseError, KEY, LATEST, Session, query};
use super::pages::{Order, Rows, Unread};
use super::row::{COLUMNS, Row};
use super::{Head, Ledger, LedgerError};
use crate::calendar::{DatacentreZone, Piece, TimeSpan, cut};
use crate::digest::Digest;
use crate::rating::Change;
use crate::record::ValidRecord;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use mesocentre_api::{Activity, Meter};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// What was used, in base units.
pub type AllocationUse = BTreeMap<UseKey, i128>;

/// Whose use, and of which kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UseKey {
    /// The tenant.
    pub tenant: String,
    /// Its allocation; none of use that belongs to none.
    pub allocation: Option<String>,
    /// What was used.
    pub meter: Meter,
    /// The civil year.
    pub year: i16,
    /// Economic or not.
    pub activity: Activity,
}

/// A row of usage, as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// Its number.
    pub seq: i64,
    /// The record; its `user` is a pseudonym.
    pub record: ValidRecord,
    /// When it was taken.
    pub received: Timestamp,
    /// Its hash, over the row before and this one.
    pub hash: Digest,
}

/// What allocations used on each civil day: by tenant, allocation, meter and day.
pub type DailyUse = BTreeMap<(String, String, Meter, Date), i128>;

/// A record's quantity in each civil year that it touches.
fn by_year(record: &ValidRecord, zone: &DatacentreZone) -> Vec<(i16, i128)> {
    let span = record.span();
    let year_of = |instant| zone.day_of(instant).year();
    let new_years: Vec<Timestamp> = (year_of(span.from)..year_of(span.to))
        .filter_map(|year| zone.start_of(Date::new(year + 1, 1, 1).ok()?).ok())
        .collect();
    pieces_of(record, &new_years)
        .map(|piece| (year_of(piece.span.from), piece.quantity))
        .collect()
}

/// A record's quantity on each civil day that it touches.
fn by_day(record: &ValidRecord, zone: &DatacentreZone) -> Vec<(Date, i128)> {
    let span = record.span();
    let last = zone.day_of(span.to);
    let midnights: Vec<Timestamp> = zone
        .day_of(span.from)
        .series(1.day())
        .skip(1)
        .take_while(|day| *day <= last)
        .filter_map(|day| zone.start_of(day).ok())
        .collect();
    pieces_of(record, &midnights)
        .map(|piece| (zone.day_of(piece.span.from), piece.quantity))
        .collect()
}

/// A record cut at these instants. What no number of 128 bits can cut stays whole.
fn pieces_of(record: &ValidRecord, at: &[Timestamp]) -> impl Iterator<Item = Piece> {
    let (span, quantity) = (record.span(), record.quantity);
    cut(span, quantity, at)
        .unwrap_or_else(|| vec![Piece { span, quantity }])
        .into_iter()
}

impl Ledger {
    /// The end of the chain.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read.
    pub async fn head(&self) -> Result<Head, LedgerError> {
        let mut reading = self.reading("opening").await?;
        super::append::head_of(&mut reading)
            .await
            .map_err(self.failed("reading the end of"))
    }

    /// Hands over each record that touches the span, of those up to `up_to`. The order means nothing. The records'
    /// users are pseudonyms.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read or a row is no record.
    pub async fn for_each_use(
        &self,
        span: TimeSpan,
        up_to: i64,
        take: impl FnMut(&ValidRecord),
    ) -> Result<(), LedgerError> {
        let mut reading = self.reading("reading").await?;
        let latest = reading.latest_of_many();
        let condition = format!("r.end_ns >= ? AND r.start_ns < ? AND r.seq <= ? AND {latest}");
        let rows = Rows {
            condition: &condition,
            bounds: &[nanoseconds(span.from), nanoseconds(span.to), up_to, up_to],
            order: Order::Any,
        };
        self.records(&mut reading, rows, take).await
    }

    /// Hands over what changed between two points of the ledger: records that came after `after` and up to `up_to`,
    /// and those up to `after` that such a record took the place of. The sum of what was added less what was removed
    /// is the difference between the two points.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read or a row is no record.
    pub async fn for_each_change(
        &self,
        after: i64,
        up_to: i64,
        mut take: impl FnMut(Change, &ValidRecord),
    ) -> Result<(), LedgerError> {
        let mut reading = self.reading("reading").await?;
        let condition = format!("r.seq > ? AND r.seq <= ? AND {LATEST}");
        let added = Rows {
            condition: &condition,
            bounds: &[after, up_to, up_to],
            order: Order::Ledger,
        };
        self.records(&mut reading, added, |record| take(Change::Added, record))
            .await?;
        let its_records = reading.records_of("revised", &KEY[..4]);
        let removed = format!(
            "SELECT {COLUMNS} FROM (SELECT DISTINCT source, cluster, native_key, meter FROM usage_record \
             WHERE revision > 0 AND seq > ? AND seq <= ?) revised \
             {its_records} WHERE r.seq <= ? AND {LATEST} AND EXISTS (SELECT 1 FROM usage_record n WHERE n.revision > 0 \
             AND n.source = r.source AND n.cluster = r.cluster AND n.native_key = r.native_key AND n.meter = r.meter \
             AND n.revision > r.revision AND n.seq <= ?)"
        );
        let bounds = [after, up_to, after, after, up_to];
        let mut removed = query(removed);
        for bound in bounds {
            removed = removed.bind(bound);
        }
        // Few records are ever revised.
        let mut rows = removed
            .some_rows(&mut reading)
            .await
            .map_err(self.failed("reading"))?;
        while let Some(some) = rows.next().await.map_err(self.failed("reading"))? {
            for row in &some {
                let row = Row::read(row).map_err(self.failed("reading"))?;
                take(Change::Removed, &self.record_of(&row)?);
            }
        }
        Ok(())
    }

    /// What changed of each allocation's use between two points of the ledger, since the beginning with `after` 0.
    /// Added to what the caller had at `after`, it is the use at `up_to`. Use over New Year in this zone is cut there.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read or a row is no record.
    pub async fn allocation_use(
        &self,
        after: i64,
        up_to: i64,
        zone: &DatacentreZone,
    ) -> Result<AllocationUse, LedgerError> {
        let mut used = AllocationUse::new();
        self.for_each_change(after, up_to, |change, record| {
            for (year, quantity) in by_year(record, zone) {
                *used
                    .entry(UseKey {
                        tenant: record.tenant.clone(),
                        allocation: record.allocation.clone(),
                        meter: record.key.meter,
                        year,
                        activity: record.activity,
                    })
                    .or_default() += change.signed(quantity);
            }
        })
        .await?;
        Ok(used)
    }

    /// The same for some allocations, by tenant and name, and by civil days of this zone, at whose midnights use is cut.
    ///
    /// # Errors
    /// As [`allocation_use`](Self::allocation_use).
    pub async fn daily_use(
        &self,
        (after, up_to): (i64, i64),
        of: &BTreeSet<(String, String)>,
        zone: &DatacentreZone,
    ) -> Result<DailyUse, LedgerError> {
        let mut used = DailyUse::new();
        self.for_each_change(after, up_to, |change, record| {
            let Some(allocation) = &record.allocation else {
                return;
            };
            let whose = (record.tenant.clone(), allocation.clone());
            if !of.contains(&whose) {
                return;
            }
            for (day, quantity) in by_day(record, zone) {
                let (tenant, allocation) = whose.clone();
                *used
                    .entry((tenant, allocation, record.key.meter, day))
                    .or_default() += change.signed(quantity);
            }
        })
        .await?;
        Ok(used)
    }

    /// Hands over each row of usage up to `up_to`, in the order of the ledger, revised ones too: for who takes it elsewhere.
    ///
    /// # Errors
    /// [`LedgerError`], when it cannot be read or a row is no record; what `take` says ends it as well.
    pub async fn for_each_row(
        &self,
        up_to: i64,
        mut take: impl FnMut(LedgerRow) -> std::io::Result<()>,
    ) -> Result<std::io::Result<()>, LedgerError> {
        let rows = Rows {
            condition: "r.seq > ? AND r.seq <= ?",
            bounds: &[0, up_to],
            order: Order::Ledger,
        };
        let mut reading = self.reading("reading").await?;
        let ended = rows
            .each(&mut reading, |row| {
                let row = match row.map_err(|unread| self.unread(unread)) {
                    Ok(row) => row,
                    Err(error) => return ControlFlow::Break(Err(error)),
                };
                let given = match self.given(&row) {
                    Ok(given) => given,
                    Err(error) => return ControlFlow::Break(Err(error)),
                };
                match take(given) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => ControlFlow::Break(Ok(error)),
                }
            })
            .await
            .map_err(self.failed("reading"))?;
        match ended {
            None => Ok(Ok(())),
            Some(Ok(error)) => Ok(Err(error)),
            Some(Err(error)) => Err(error),
        }
    }

    fn given(&self, row: &Row<'_>) -> Result<LedgerRow, LedgerError> {
        let unreadable = |what: String| self.unreadable_row(row.seq, what);
        Ok(LedgerRow {
            seq: row.seq,
            record: self.record_of(row)?,
            received: Timestamp::from_nanosecond(i128::from(row.received_ns))
                .map_err(|error| unreadable(error.to_string()))?,
            hash: row
                .digest()
                .ok_or_else(|| unreadable("its hash is not 32 bytes".to_owned()))?,
        })
    }

    fn record_of(&self, row: &Row<'_>) -> Result<ValidRecord, LedgerError> {
        row.record().map_err(|what| self.unreadable_row(row.seq, what))
    }

    fn unread(&self, unread: Unread) -> LedgerError {
        self.unreadable_row(unread.seq.unwrap_or(0), unread.what)
    }

    fn unreadable_row(&self, seq: i64, what: String) -> LedgerError {
        LedgerError::UnreadableRow {
            ledger: self.url.clone(),
            seq,
            what,
        }
    }

    /// How many of a tenant's records are not, or not wholly, in a closed month: those after `up_to_seq` and those that
    /// reach past `closed_until`. With nothing closed, all of them: `(0, Timestamp::MIN)`.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read.
    pub(crate) async fn records_outside(
        &self,
        tenant: &str,
        up_to_seq: i64,
        closed_until: Timestamp,
    ) -> Result<i64, LedgerError> {
        let mut reading = self.reading("reading").await?;
        query("SELECT count(*) FROM usage_record WHERE (seq > ? OR end_ns > ?) AND tenant = ? AND quantity <> '0'")
            .bind(up_to_seq)
            .bind(nanoseconds(closed_until))
            .bind(tenant)
            .only_value(&mut reading)
            .await
        .map_err(self.failed("reading"))
    }

    /// The start of the earliest use that is more than nothing; none when there is none.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read.
    pub async fn first_use(&self, up_to: i64) -> Result<Option<Timestamp>, LedgerError> {
        let mut reading = self.reading("reading").await?;
        let earliest: Option<i64> =
            query("SELECT min(start_ns) FROM usage_record WHERE quantity <> '0' AND seq <= ?")
                .bind(up_to)
                .only_value(&mut reading)
                .await
                .map_err(self.failed("reading"))?;
        Ok(earliest.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok()))
    }

    /// How many reports are in quarantine.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read.
    pub async fn quarantined(&self) -> Result<i64, LedgerError> {
        let mut reading = self.reading("reading the quarantine of").await?;
        query("SELECT count(*) FROM quarantine")
            .only_value(&mut reading)
            .await
            .map_err(self.failed("reading the quarantine of"))
    }

    /// Up to when a source has reported everything; none before its first report.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read.
    pub async fn watermark(&self, source: &str, cluster: &str) -> Result<Option<Timestamp>, LedgerError> {
        let mut reading = self.reading("reading the watermarks of").await?;
        let through: Option<i64> =
            query("SELECT through_ns FROM source_watermark WHERE source = ? AND cluster = ?")
                .bind(source)
                .bind(cluster)
                .value(&mut reading)
                .await
                .map_err(self.failed("reading the watermarks of"))?;
        Ok(through.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok()))
    }

    /// Up to when a source has reported everything, by cluster.
    ///
    /// # Errors
    /// [`LedgerError`], when it cannot be read.
    pub async fn watermarks(&self, source: &str) -> Result<Vec<(String, Timestamp)>, LedgerError> {
        let doing = "reading the watermarks of";
        let mut reading = self.reading(doing).await?;
        let rows =
            query("SELECT cluster, through_ns FROM source_watermark WHERE source = ? ORDER BY cluster")
                .bind(source)
                .rows(&mut reading)
                .await
                .map_err(self.failed(doing))?;
        let read = rows.iter().map(|row| {
            let through =
                Timestamp::from_nanosecond(i128::from(row.get::<i64>(1)?)).map_err(DatabaseError::value)?;
            Ok((row.get(0)?, through))
        });
        read.collect::<Result<_, DatabaseError>>()
            .map_err(self.failed(doing))
    }

    /// Says up to when a source has reported everything. An earlier instant than the one that is there changes
    /// nothing: what was reported stays reported.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be written.
    pub async fn advance_watermark(
        &self,
        source: &str,
        cluster: &str,
        through: Timestamp,
    ) -> Result<(), LedgerError> {
        let doing = "writing the watermarks of";
        let mut tx = self.database.write().await.map_err(self.failed(doing))?;
        advance(&mut tx, source, cluster, through)
            .await
            .map_err(self.failed(doing))?;
        tx.commit().await.map_err(self.failed(doing))
    }

    async fn records(
        &self,
        reading: &mut Session,
        rows: Rows<'_>,
        mut take: impl FnMut(&ValidRecord),
    ) -> Result<(), LedgerError> {
        let ended = rows
            .each(reading, |row| {
                let record = row
                    .map_err(|unread| self.unread(unread))
                    .and_then(|row| self.record_of(&row));
                match record {
                    Ok(record) => {
                        take(&record);
                        ControlFlow::Continue(())
                    }
                    Err(error) => ControlFlow::Break(error),
                }
            })
            .await
            .map_err(self.failed("reading"))?;
        ended.map_or(Ok(()), Err)
    }
}

/// A source has reported everything up to here; an earlier instant than the one that is there changes nothing.
pub(super) async fn advance(
    tx: &mut Session,
    source: &str,
    cluster: &str,
    through: Timestamp,
) -> Result<(), DatabaseError> {
    query(
        "INSERT INTO source_watermark (source, cluster, through_ns) VALUES (?, ?, ?) \
         ON CONFLICT (source, cluster) DO UPDATE SET through_ns = excluded.through_ns \
         WHERE excluded.through_ns > source_watermark.through_ns",
    )
    .bind(source)
    .bind(cluster)
    .bind(nanoseconds(through))
    .execute(tx)
    .await
    .map(drop)
}

pub(super) fn nanoseconds(instant: Timestamp) -> i64 {
    i64::try_from(instant.as_nanosecond()).unwrap_or(if instant < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    })
}
