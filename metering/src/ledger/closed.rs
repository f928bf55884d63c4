//! Closed months: written once, and given back as they were written.

use super::database::{DatabaseError, InBoth, Session, Stored, query};
use super::head_file::AnchoredClose;
use super::{Head, Ledger, LedgerError};
use crate::calendar::BillingMonth;
use crate::digest::Digest;
use jiff::Timestamp;
use mesocentre_api::AcknowledgedGap;

/// A closed month, as it was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedMonth {
    /// The month.
    pub month: BillingMonth,
    /// The zone in which it began and ended.
    pub time_zone: String,
    /// The last record of the months closed before; later records of those months are its corrections. 0 for the first.
    pub after_seq: i64,
    /// The ledger's head when it was closed: the last record that counted.
    pub head: Head,
    /// Tenants, tariffs and cost pools, as canonical JSON of a [`RatingBasis`](crate::RatingBasis).
    pub basis: Vec<u8>,
    /// The statements, as canonical JSON of a [`MonthDocument`](crate::MonthDocument).
    pub statements: Vec<u8>,
    /// SHA-256 of `statements`.
    pub sha256: Digest,
    /// When it was closed.
    pub closed_at: Timestamp,
}

/// The month closed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastClosed {
    /// The month.
    pub month: BillingMonth,
    /// The zone in which it began and ended.
    pub time_zone: String,
    /// The last record that counted.
    pub up_to_seq: i64,
}

impl Ledger {
    /// A closed month; none when it is open.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read or the row was changed.
    pub async fn closed_month(&self, month: BillingMonth) -> Result<Option<ClosedMonth>, LedgerError> {
        let mut reading = self.reading("reading a closed month of").await?;
        let row = query(
            "SELECT month, time_zone, after_seq, up_to_seq, head, basis, statements, sha256, closed_ns \
             FROM closed_month WHERE month = ?",
        )
        .bind(month.to_string())
        .row(&mut reading)
        .await
        .map_err(self.failed("reading a closed month of"))?;
        row.map(|row| self.read_closed(month, &row)).transpose()
    }

    /// The month closed last; none when none was.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read.
    pub async fn last_closed(&self) -> Result<Option<LastClosed>, LedgerError> {
        let doing = "reading the closed months of";
        let mut reading = self.reading(doing).await?;
        let row = query("SELECT month, time_zone, up_to_seq FROM closed_month ORDER BY month DESC LIMIT 1")
            .row(&mut reading)
            .await
            .map_err(self.failed(doing))?;
        let Some(row) = row else { return Ok(None) };
        let month: String = row.get(0).map_err(self.failed(doing))?;
        Ok(Some(LastClosed {
            month: self.month_named(&month)?,
            time_zone: row.get(1).map_err(self.failed(doing))?,
            up_to_seq: row.get(2).map_err(self.failed(doing))?,
        }))
    }

    /// The closed months from this one on, the earliest first.
    ///
    /// # Errors
    /// [`LedgerError`], when the file cannot be read.
    pub async fn closed_months_from(&self, month: BillingMonth) -> Result<Vec<BillingMonth>, LedgerError> {
        let mut reading = self.reading("reading the closed months of").await?;
        let names: Vec<String> = query("SELECT month FROM closed_month WHERE month >= ? ORDER BY month")
            .bind(month.to_string())
            .values(&mut reading)
            .await
            .map_err(self.failed("reading the closed months of"))?;
        names.iter().map(|name| self.month_named(name)).collect()
    }

    /// Writes a closed month, unless it is there already: then what is there stays and is given back. The caller has
    /// read the ledger up to `closed.head`.
    /// What of these gaps is unsettled is waived with it.
    pub(crate) async fn write_closed(
        &self,
        closed: &ClosedMonth,
        gaps: &[AcknowledgedGap],
    ) -> Result<ClosedMonth, LedgerError> {
        let doing = "closing a month in";
        let mut tx = self.database.write().await.map_err(self.failed(doing))?;
        self.check_anchor(&mut tx).await?;
        let there: bool = query("SELECT EXISTS (SELECT 1 FROM closed_month WHERE month = ?)")
            .bind(closed.month.to_string())
            .only_value(&mut tx)
            .await
            .map_err(self.failed(doing))?;
        if !there {
            let after: i64 = query("SELECT coalesce(max(up_to_seq), 0) FROM closed_month")
                .only_value(&mut tx)
                .await
                .map_err(self.failed(doing))?;
            if after != closed.after_seq {
                return Err(LedgerError::ClosedMeanwhile { month: closed.month });
            }
            query(
                "INSERT INTO closed_month \
                 (month, time_zone, after_seq, up_to_seq, head, basis, statements, sha256, closed_ns) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(closed.month.to_string())
            .bind(closed.time_zone.as_str())
            .bind(closed.after_seq)
            .bind(closed.head.seq)
            .bind(&closed.head.hash.0[..])
            .bind(closed.basis.as_slice())
            .bind(closed.statements.as_slice())
            .bind(&closed.sha256.0[..])
            .bind(i64::try_from(closed.closed_at.as_nanosecond()).unwrap_or(i64::MAX))
            .execute(&mut tx)
            .await
            .map_err(self.failed(doing))?;
            super::unsettled::waive(&mut tx, closed.month, gaps)
                .await
                .map_err(self.failed(doing))?;
        }
        self.commit(tx, doing).await?;
        self.closed_month(closed.month)
            .await?
            .ok_or_else(|| LedgerError::UnreadableMonth {
                ledger: self.url.clone(),
                month: closed.month.to_string(),
                what: "it is not there".to_owned(),
            })
    }

    fn month_named(&self, name: &str) -> Result<BillingMonth, LedgerError> {
        name.parse()
            .map_err(|e: crate::calendar::CalendarError| LedgerError::UnreadableMonth {
                ledger: self.url.clone(),
                month: name.to_owned(),
                what: e.to_string(),
            })
    }

    fn read_closed(&self, month: BillingMonth, row: &Stored) -> Result<ClosedMonth, LedgerError> {
        read_closed(row).map_err(|what| LedgerError::UnreadableMonth {
            ledger: self.url.clone(),
            month: month.to_string(),
            what,
        })
    }
}

/// A row of `closed_month`, else what is wrong with it. The statements must have the digest that stands beside them.
pub(super) fn read_closed(row: &Stored) -> Result<ClosedMonth, String> {
    fn get<'r, T: InBoth<'r>>(row: &'r Stored, place: usize) -> Result<T, String> {
        row.get(place).map_err(|e| e.to_string())
    }
    let digest = |place: usize| {
        get::<&[u8]>(row, place)
            .and_then(|b| Digest::from_bytes(b).ok_or("a digest is not 32 bytes".to_owned()))
    };
    let month: String = get(row, 0)?;
    let closed = ClosedMonth {
        month: month
            .parse()
            .map_err(|e: crate::calendar::CalendarError| e.to_string())?,
        time_zone: get(row, 1)?,
        after_seq: get(row, 2)?,
        head: Head {
            seq: get(row, 3)?,
            hash: digest(4)?,
        },
        basis: get(row, 5)?,
        statements: get(row, 6)?,
        sha256: digest(7)?,
        closed_at: Timestamp::from_nanosecond(i128::from(get::<i64>(row, 8)?)).map_err(|e| e.to_string())?,
    };
    if Digest::of(&[&closed.statements]) != closed.sha256 {
        return Err("its statements do not have the digest that stands beside them".to_owned());
    }
    Ok(closed)
}

pub(super) async fn last_anchor(session: &mut Session) -> Result<Option<AnchoredClose>, DatabaseError> {
    let row = query("SELECT month, sha256 FROM closed_month ORDER BY month DESC LIMIT 1")
        .row(session)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (month, sha256): (String, &[u8]) = (row.get(0)?, row.get(1)?);
    Ok(month
        .parse()
        .ok()
        .zip(Digest::from_bytes(sha256))
        .map(|(month, sha256)| AnchoredClose { month, sha256 }))
}
