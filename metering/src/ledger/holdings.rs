//! What is held between looks ([`crate::holding`]), kept in the transaction that takes its records.

use super::database::{Session, query};
use super::head_file::HeadFile;
use super::read::nanoseconds;
use super::unsettled::{self, Reading, Unsettled};
use super::{Appended, Ledger, LedgerError};
use crate::holding::{Kept, Known, Looked, Source};
use jiff::Timestamp;
use std::collections::BTreeMap;

const DOING: &str = "keeping what is held in";

impl Ledger {
    /// What is known of a source before a look.
    ///
    /// # Errors
    /// [`LedgerError`], when it cannot be read.
    pub async fn known_holdings(&self, source: Source<'_>) -> Result<Known, LedgerError> {
        let mut reading = self.reading(DOING).await?;
        self.known_in(source, &mut reading)
            .await
            .map_err(self.failed(DOING))
    }

    async fn known_in(&self, source: Source<'_>, reading: &mut Session) -> Result<Known, sqlx::Error> {
        let rows = query("SELECT id, body, metered_ns FROM holding WHERE source = ? AND cluster = ?")
            .bind(source.source)
            .bind(source.cluster)
            .rows(reading)
            .await?;
        let mut kept = BTreeMap::new();
        for row in &rows {
            let holding = serde_json::from_str(row.get(1)?).map_err(|e| sqlx::Error::Decode(e.into()))?;
            let metered = instant(row.get(2)?)?;
            kept.insert(row.get(0)?, Kept { holding, metered });
        }
        let looked: Option<i64> = query("SELECT at_ns FROM look WHERE source = ? AND cluster = ?")
            .bind(source.source)
            .bind(source.cluster)
            .value(reading)
            .await?;
        Ok(Known {
            kept,
            looked: looked.map(instant).transpose()?,
        })
    }

    /// Takes in what came of a look: the records, what is held now, and when it was; all of it or nothing.
    ///
    /// # Errors
    /// [`LedgerError`], when it cannot be written; then the same look may be made again.
    pub async fn take_look(
        &self,
        source: Source<'_>,
        looked: &Looked,
        now: Timestamp,
    ) -> Result<Appended, LedgerError> {
        let mut tx = self.database.write().await.map_err(self.failed(DOING))?;
        let appended = self.append_in(&mut tx, &looked.records, now).await?;
        keep(&mut tx, source, looked, now)
            .await
            .map_err(self.failed(DOING))?;
        let mut unsettled: Vec<Unsettled> = appended
            .quarantined
            .iter()
            .filter(|one| !one.is_conflict())
            .map(|one| Unsettled {
                what: one.key.native_key.clone(),
                why: one.message.clone(),
            })
            .collect();
        unsettled.extend(looked.gap.map(|(from, to)| Unsettled {
            what: format!("what ended between {from} and {to}"),
            why: "nobody looked: it counts up to the first of these times, and what began and ended between them not at all"
                .to_owned(),
        }));
        if !unsettled.is_empty() {
            let reading = Reading {
                source: source.source,
                cluster: source.cluster,
                unsettled: &unsettled,
                settled: &Default::default(),
                from: now,
                is_whole: false,
            };
            unsettled::note(&mut tx, reading, now)
                .await
                .map_err(self.failed(DOING))?;
        }
        let anchor = HeadFile::of(&mut tx).await.map_err(self.failed(DOING))?;
        tx.commit().await.map_err(self.failed("committing to"))?;
        self.anchor(anchor).await?;
        Ok(appended)
    }
}

fn instant(ns: i64) -> Result<Timestamp, sqlx::Error> {
    Timestamp::from_nanosecond(i128::from(ns)).map_err(|e| sqlx::Error::Decode(e.into()))
}

async fn keep(
    tx: &mut Session,
    source: Source<'_>,
    looked: &Looked,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    for id in &looked.over {
        query("DELETE FROM holding WHERE source = ? AND cluster = ? AND id = ?")
            .bind(source.source)
            .bind(source.cluster)
            .bind(id.as_str())
            .execute(tx)
            .await?;
    }
    for (id, kept) in &looked.keep {
        let body = serde_json::to_string(&kept.holding).map_err(|e| sqlx::Error::Encode(e.into()))?;
        query(
            "INSERT INTO holding (source, cluster, id, body, metered_ns) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (source, cluster, id) DO UPDATE SET body = excluded.body, metered_ns = excluded.metered_ns",
        )
        .bind(source.source)
        .bind(source.cluster)
        .bind(id.as_str())
        .bind(body)
        .bind(nanoseconds(kept.metered))
        .execute(tx)
        .await?;
    }
    query(
        "INSERT INTO look (source, cluster, at_ns) VALUES (?, ?, ?) \
         ON CONFLICT (source, cluster) DO UPDATE SET at_ns = excluded.at_ns",
    )
    .bind(source.source)
    .bind(source.cluster)
    .bind(nanoseconds(now))
    .execute(tx)
    .await?;
    if let Some(through) = looked.through {
        super::read::advance(tx, source.source, source.cluster, through).await?;
    }
    Ok(())
}
