//! What is held between looks ([`crate::holding`]), and what counters showed last ([`crate::counter`]), kept in the
//! transaction that takes their records.

use super::database::{DatabaseError, Session, query};
use super::read::nanoseconds;
use super::unsettled::{self, Reading, Unsettled};
use super::{Appended, Ledger, LedgerError};
use crate::counter::{CounterReading, Difference, LastReading, difference};
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

    async fn known_in(&self, source: Source<'_>, reading: &mut Session) -> Result<Known, DatabaseError> {
        let rows = query("SELECT id, body, metered_ns FROM holding WHERE source = ? AND cluster = ?")
            .bind(source.source)
            .bind(source.cluster)
            .rows(reading)
            .await?;
        let mut kept = BTreeMap::new();
        for row in &rows {
            let holding = serde_json::from_str(row.get(1)?).map_err(DatabaseError::value)?;
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
        self.commit(tx, DOING).await?;
        Ok(appended)
    }
}

/// What became of a reading of a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenReading {
    /// What was used since the one before is in the ledger.
    Used,
    /// It is the first of its counter.
    First,
    /// It, or a later one, was known.
    Known,
    /// The ledger knows another of that moment, or cannot take what was used.
    Not {
        /// Why.
        why: String,
    },
}

impl Ledger {
    /// Takes readings of a source's counters in, in the order of their times: what was used between them, and what each
    /// counter showed last; all of it or nothing. The same again changes nothing.
    ///
    /// # Errors
    /// [`LedgerError`], when it cannot be written; then nothing was taken, and they can be sent again.
    pub async fn take_readings(
        &self,
        source: Source<'_>,
        readings: &[CounterReading],
        now: Timestamp,
    ) -> Result<(Vec<TakenReading>, Option<Appended>), LedgerError> {
        let doing = "taking readings into";
        let mut tx = self.database.write().await.map_err(self.failed(doing))?;
        let mut in_order: Vec<usize> = (0..readings.len()).collect();
        in_order.sort_by_key(|place| readings.get(*place).map(|reading| reading.at));
        let mut taken = vec![TakenReading::Known; readings.len()];
        let mut records = Vec::new();
        let mut places = Vec::new();
        for place in in_order {
            let (Some(reading), Some(taken)) = (readings.get(place), taken.get_mut(place)) else {
                continue;
            };
            let id = format!("counter/{} {}", reading.meter.as_str(), reading.counter);
            let last = last_reading(&mut tx, source, &id)
                .await
                .map_err(self.failed(doing))?;
            *taken = match difference((source.source, source.cluster), last.as_ref(), reading) {
                Difference::Known => continue,
                Difference::Conflict { shows } => {
                    *taken = TakenReading::Not {
                        why: format!("the counter was read at that moment already, and showed {shows}"),
                    };
                    continue;
                }
                Difference::First => TakenReading::First,
                Difference::Used(record) => {
                    places.push(place);
                    records.push(*record);
                    TakenReading::Used
                }
            };
            let last = LastReading {
                shows: reading.shows,
                at: reading.at,
                holder: reading.holder.clone(),
            };
            let body = serde_json::to_string(&last).map_err(|source| LedgerError::Canonical {
                what: "a reading",
                source,
            })?;
            keep_one(&mut tx, source, &id, body, reading.at)
                .await
                .map_err(self.failed(doing))?;
        }
        if records.is_empty() && !taken.contains(&TakenReading::First) {
            tx.rollback().await.map_err(self.failed(doing))?;
            return Ok((taken, None));
        }
        let appended = self.append_in(&mut tx, &records, now).await?;
        for quarantined in &appended.quarantined {
            let place = places.get(quarantined.index);
            if let Some(taken) = place.and_then(|place| taken.get_mut(*place)) {
                *taken = TakenReading::Not {
                    why: quarantined.message.clone(),
                };
            }
        }
        self.commit(tx, doing).await?;
        Ok((taken, Some(appended)))
    }
}

async fn last_reading(
    tx: &mut Session,
    source: Source<'_>,
    id: &str,
) -> Result<Option<LastReading>, DatabaseError> {
    let row = query("SELECT body FROM holding WHERE source = ? AND cluster = ? AND id = ?")
        .bind(source.source)
        .bind(source.cluster)
        .bind(id)
        .row(tx)
        .await?;
    row.map(|row| serde_json::from_str(row.get(0)?).map_err(DatabaseError::value))
        .transpose()
}

fn instant(ns: i64) -> Result<Timestamp, DatabaseError> {
    Timestamp::from_nanosecond(i128::from(ns)).map_err(DatabaseError::value)
}

async fn keep_one(
    tx: &mut Session,
    source: Source<'_>,
    id: &str,
    body: String,
    metered: Timestamp,
) -> Result<(), DatabaseError> {
    query(
        "INSERT INTO holding (source, cluster, id, body, metered_ns) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (source, cluster, id) DO UPDATE SET body = excluded.body, metered_ns = excluded.metered_ns",
    )
    .bind(source.source)
    .bind(source.cluster)
    .bind(id)
    .bind(body)
    .bind(nanoseconds(metered))
    .execute(tx)
    .await
    .map(drop)
}

async fn keep(
    tx: &mut Session,
    source: Source<'_>,
    looked: &Looked,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    for id in &looked.over {
        query("DELETE FROM holding WHERE source = ? AND cluster = ? AND id = ?")
            .bind(source.source)
            .bind(source.cluster)
            .bind(id.as_str())
            .execute(tx)
            .await?;
    }
    for (id, kept) in &looked.keep {
        let body = serde_json::to_string(&kept.holding).map_err(DatabaseError::value)?;
        keep_one(tx, source, id, body, kept.metered).await?;
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
