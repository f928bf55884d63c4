//! Taking records in: once each, in one transaction, whatever is wrong with some of them.

use super::chain::FORM;
use super::head_file::{self, HeadFile};
use super::row::Row;
use super::{Head, Ledger, LedgerError};
use crate::digest::{Digest, canonical_json};
use crate::record::{RecordKey, UsageRecord, ValidRecord};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use std::collections::HashMap;

/// What became of a batch of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// How many were new and are in the ledger now.
    pub new: u64,
    /// How many were there already, the same: nothing was done.
    pub known: u64,
    /// Those that were not taken.
    pub quarantined: Vec<Quarantined>,
    /// The end of the chain after it.
    pub head: Head,
}

/// A record that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Its key.
    pub key: RecordKey,
    /// One word for programs: `Conflict` for a known key with another body, else [`RecordFault::reason`](crate::RecordFault::reason).
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// False when the same was put there before, so that one alert is enough.
    pub first_time: bool,
}

impl Quarantined {
    /// Whether the ledger has this very use already, as it was told first.
    pub fn is_conflict(&self) -> bool {
        self.reason == CONFLICT
    }
}

/// A known key with another body.
const CONFLICT: &str = "Conflict";

/// Rows of one INSERT. More would only grow the statement: SQLite takes 32,766 values in one.
const ROWS_AT_ONCE: usize = 250;

/// A row that will be, its names already replaced.
struct NewRow {
    record: ValidRecord,
    person: Option<String>,
    evidence: String,
    quantity: String,
    start_ns: i64,
    end_ns: i64,
}

impl NewRow {
    fn as_row(&self, seq: i64, received_ns: i64) -> Row<'_> {
        let key = &self.record.key;
        Row {
            seq,
            form: FORM,
            source: &key.source,
            cluster: &key.cluster,
            native_key: &key.native_key,
            meter: key.meter.as_str(),
            revision: i64::from(key.revision),
            tenant: &self.record.tenant,
            allocation: self.record.allocation.as_deref(),
            person: self.person.as_deref(),
            activity: self.record.activity.as_str(),
            activity_reason: &self.record.activity_reason,
            quantity: &self.quantity,
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            evidence: &self.evidence,
            received_ns,
            hash: &[],
        }
    }
}

/// Whether two rows say the same of the same use. When and as which row they came is no part of it; who it was is
/// neither once the pseudonym was erased.
fn same_body(known: &Row<'_>, person_erased: bool, new: &Row<'_>) -> bool {
    known.tenant == new.tenant
        && known.allocation == new.allocation
        && (known.person == new.person || person_erased)
        && known.activity == new.activity
        && known.activity_reason == new.activity_reason
        && known.quantity == new.quantity
        && known.start_ns == new.start_ns
        && known.end_ns == new.end_ns
        && known.evidence == new.evidence
}

enum Known {
    Same,
    Other { seq: i64 },
}

struct Rejected<'a> {
    index: usize,
    record: &'a UsageRecord,
    reason: &'static str,
    message: String,
}

impl Ledger {
    /// Takes a batch in: all in one transaction, durable when answered. Each record is new, or known (the same key with
    /// the same body: nothing is done), or quarantined (it is malformed, or its key is known with another body). The
    /// same batch again changes nothing.
    ///
    /// # Errors
    /// [`LedgerError`], when the database cannot be written; then nothing of the batch was taken, and it can be sent
    /// again.
    pub async fn append(
        &self,
        records: &[UsageRecord],
        received: Timestamp,
    ) -> Result<Appended, LedgerError> {
        let received_ns = i64::try_from(received.as_nanosecond()).unwrap_or(i64::MAX);
        let mut tx = self
            .writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(self.failed("writing to"))?;
        self.check_anchor(&mut tx).await?;
        let before = head_of(&mut tx)
            .await
            .map_err(self.failed("reading the end of"))?;
        let mut head = before;
        let mut known = 0;
        let mut rejected = Vec::new();
        let mut pseudonyms = HashMap::new();
        for (chunk_index, chunk) in records.chunks(ROWS_AT_ONCE).enumerate() {
            let mut valid = Vec::with_capacity(chunk.len());
            for (i, record) in chunk.iter().enumerate() {
                let index = chunk_index * ROWS_AT_ONCE + i;
                match ValidRecord::try_from(record.clone()) {
                    Ok(proven) => valid.push((
                        index,
                        record,
                        self.new_row(&mut tx, proven, &mut pseudonyms).await?,
                    )),
                    Err(fault) => rejected.push(Rejected {
                        index,
                        record,
                        reason: fault.reason(),
                        message: fault.to_string(),
                    }),
                }
            }
            let there = self.known_among(&mut tx, &valid).await?;
            let mut rows: Vec<(NewRow, i64, Digest)> = Vec::with_capacity(valid.len());
            let mut in_batch: HashMap<RecordKey, usize> = HashMap::new();
            for (place, (index, record, row)) in valid.into_iter().enumerate() {
                let twin = match in_batch.get(&record.key) {
                    Some(earlier) => {
                        let (earlier, seq, _) = &rows[*earlier];
                        let same = same_body(
                            &earlier.as_row(0, received_ns),
                            false,
                            &row.as_row(0, received_ns),
                        );
                        Some(if same {
                            Known::Same
                        } else {
                            Known::Other { seq: *seq }
                        })
                    }
                    None => there.get(&place).map(|found| match found {
                        Known::Same => Known::Same,
                        Known::Other { seq } => Known::Other { seq: *seq },
                    }),
                };
                match twin {
                    Some(Known::Same) => known += 1,
                    Some(Known::Other { seq }) => rejected.push(Rejected {
                        index,
                        record,
                        reason: CONFLICT,
                        message: format!(
                            "the usage record {} is in the ledger as row {seq} with another content: a source that changes its mind sends the next revision",
                            record.key
                        ),
                    }),
                    None => {
                        let seq = head.seq + 1;
                        let hash = row
                            .as_row(seq, received_ns)
                            .canonical()
                            .hash(head.hash)
                            .map_err(|source| LedgerError::Canonical { what: "a usage record", source })?;
                        head = Head { seq, hash };
                        in_batch.insert(record.key.clone(), rows.len());
                        rows.push((row, seq, hash));
                    }
                }
            }
            insert(&mut tx, &rows, received_ns)
                .await
                .map_err(self.failed("appending to"))?;
        }
        let mut quarantined = Vec::with_capacity(rejected.len());
        for rejected in rejected {
            quarantined.push(self.quarantine(&mut tx, rejected, received_ns).await?);
        }
        let anchor = HeadFile::of(&mut tx)
            .await
            .map_err(self.failed("reading the end of"))?;
        tx.commit().await.map_err(self.failed("committing to"))?;
        self.anchor(anchor).await?;
        let new = u64::try_from(head.seq - before.seq).unwrap_or(0);
        Ok(Appended {
            new,
            known,
            quarantined,
            head,
        })
    }

    /// Refuses a ledger that does not hold what the file beside it says: to append to it would cover up the loss.
    pub(super) async fn check_anchor(&self, connection: &mut SqliteConnection) -> Result<(), LedgerError> {
        let Some(anchor) = head_file::read(&self.path)? else {
            return Ok(());
        };
        if let Some(issue) = anchor.issued {
            self.check_issued(connection, issue).await?;
        }
        if anchor.seq == 0 {
            return Ok(());
        }
        let hash: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM usage_record WHERE seq = ?")
            .bind(anchor.seq)
            .fetch_optional(connection)
            .await
            .map_err(self.failed("reading the end of"))?;
        if hash.as_deref() == Some(&anchor.hash.0[..]) {
            return Ok(());
        }
        Err(LedgerError::NotWhatWasThere {
            path: self.path.clone(),
            anchor: head_file::path_beside(&self.path),
            seq: anchor.seq,
        })
    }

    /// Brings the file beside the ledger up to what was just committed.
    pub(super) async fn anchor(&self, head: HeadFile) -> Result<(), LedgerError> {
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || head_file::advance(&path, head));
        written.await.unwrap_or_else(|e| {
            Err(LedgerError::HeadFile {
                doing: "writing",
                path: head_file::path_beside(&self.path),
                source: std::io::Error::other(e),
            })
        })
    }

    async fn new_row(
        &self,
        tx: &mut SqliteConnection,
        record: ValidRecord,
        pseudonyms: &mut HashMap<String, String>,
    ) -> Result<NewRow, LedgerError> {
        let person = match &record.user {
            None => None,
            Some(name) => match pseudonyms.get(name) {
                Some(pseudonym) => Some(pseudonym.clone()),
                None => {
                    let pseudonym = pseudonym_of(tx, name)
                        .await
                        .map_err(self.failed("writing the pseudonyms of"))?;
                    pseudonyms.insert(name.clone(), pseudonym.clone());
                    Some(pseudonym)
                }
            },
        };
        let evidence = canonical_json(&record.evidence).map_err(|source| LedgerError::Canonical {
            what: "the evidence of a usage record",
            source,
        })?;
        let nanoseconds = |instant: Timestamp| i64::try_from(instant.as_nanosecond()).unwrap_or(i64::MAX);
        Ok(NewRow {
            person,
            evidence: String::from_utf8_lossy(&evidence).into_owned(),
            quantity: record.quantity.to_string(),
            start_ns: nanoseconds(record.start),
            end_ns: nanoseconds(record.end),
            record,
        })
    }

    /// Which of these are in the ledger, by their place.
    async fn known_among(
        &self,
        tx: &mut SqliteConnection,
        rows: &[(usize, &UsageRecord, NewRow)],
    ) -> Result<HashMap<usize, Known>, LedgerError> {
        if rows.is_empty() {
            return Ok(HashMap::new());
        }
        let mut query = QueryBuilder::<Sqlite>::new(
            "WITH asked (place, source, cluster, native_key, meter, revision) AS (",
        );
        query.push_values(rows.iter().enumerate(), |mut values, (place, (_, record, _))| {
            let key = &record.key;
            values
                .push_bind(i64::try_from(place).unwrap_or(i64::MAX))
                .push_bind(key.source.as_str())
                .push_bind(key.cluster.as_str())
                .push_bind(key.native_key.as_str())
                .push_bind(key.meter.as_str())
                .push_bind(i64::from(key.revision));
        });
        query.push(") SELECT ");
        query.push(super::row::COLUMNS);
        // CROSS JOIN is SQLite's way to say: begin with what was asked, and look each up by the index.
        query.push(
            ", asked.place, r.person IS NOT NULL AND NOT EXISTS (SELECT 1 FROM person p WHERE p.pseudonym = r.person) \
             FROM asked CROSS JOIN usage_record r ON r.source = asked.source AND r.cluster = asked.cluster \
             AND r.native_key = asked.native_key AND r.meter = asked.meter AND r.revision = asked.revision",
        );
        let found = query
            .build()
            .fetch_all(tx)
            .await
            .map_err(self.failed("looking up records in"))?;
        let mut known = HashMap::with_capacity(found.len());
        for row in &found {
            let there = Row::read(row).map_err(self.failed("looking up records in"))?;
            let place: i64 = row.try_get(18).map_err(self.failed("looking up records in"))?;
            let erased: bool = row.try_get(19).map_err(self.failed("looking up records in"))?;
            let Some((place, (_, _, new))) = usize::try_from(place)
                .ok()
                .and_then(|place| rows.get(place).map(|row| (place, row)))
            else {
                continue;
            };
            let same = same_body(&there, erased, &new.as_row(there.seq, there.received_ns));
            known.insert(
                place,
                if same {
                    Known::Same
                } else {
                    Known::Other { seq: there.seq }
                },
            );
        }
        Ok(known)
    }

    async fn quarantine(
        &self,
        tx: &mut SqliteConnection,
        rejected: Rejected<'_>,
        received_ns: i64,
    ) -> Result<Quarantined, LedgerError> {
        let Rejected {
            index,
            record,
            reason,
            message,
        } = rejected;
        // The name of a person goes into no table that cannot be erased.
        let mut body = record.clone();
        if let Some(name) = &record.user {
            let pseudonym = pseudonym_of(&mut *tx, name).await;
            body.user = Some(pseudonym.map_err(self.failed("writing the pseudonyms of"))?);
        }
        let body = canonical_json(&body).map_err(|source| LedgerError::Canonical {
            what: "a quarantined usage record",
            source,
        })?;
        let digest = Digest::of(&[reason.as_bytes(), &[0], &body]);
        let inserted = sqlx::query(
            "INSERT INTO quarantine (digest, reason, message, body, received_ns) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (digest) DO NOTHING",
        )
        .bind(&digest.0[..])
        .bind(reason)
        .bind(&message)
        .bind(String::from_utf8_lossy(&body).into_owned())
        .bind(received_ns)
        .execute(tx)
        .await
        .map_err(self.failed("writing to the quarantine of"))?;
        Ok(Quarantined {
            index,
            key: record.key.clone(),
            reason,
            message,
            first_time: inserted.rows_affected() > 0,
        })
    }
}

pub(super) async fn head_of(connection: &mut SqliteConnection) -> Result<Head, sqlx::Error> {
    let row = sqlx::query("SELECT seq, hash FROM usage_record ORDER BY seq DESC LIMIT 1")
        .fetch_optional(connection)
        .await?;
    match row {
        None => Ok(Head {
            seq: 0,
            hash: Digest::ZERO,
        }),
        Some(row) => {
            let hash: &[u8] = row.try_get(1)?;
            let hash = Digest::from_bytes(hash)
                .ok_or_else(|| sqlx::Error::Decode("the hash of the last row is not 32 bytes".into()))?;
            Ok(Head {
                seq: row.try_get(0)?,
                hash,
            })
        }
    }
}

async fn pseudonym_of(tx: &mut SqliteConnection, name: &str) -> Result<String, sqlx::Error> {
    sqlx::query(
        "INSERT INTO person (pseudonym, name) VALUES (lower(hex(randomblob(16))), ?) ON CONFLICT (name) DO NOTHING",
    )
    .bind(name)
    .execute(&mut *tx)
    .await?;
    sqlx::query_scalar("SELECT pseudonym FROM person WHERE name = ?")
        .bind(name)
        .fetch_one(tx)
        .await
}

async fn insert(
    tx: &mut SqliteConnection,
    rows: &[(NewRow, i64, Digest)],
    received_ns: i64,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO usage_record (seq, form, source, cluster, native_key, meter, revision, tenant, allocation, person, \
         activity, activity_reason, quantity, start_ns, end_ns, evidence, received_ns, hash) ",
    );
    query.push_values(rows, |mut values, (row, seq, hash)| {
        let row = row.as_row(*seq, received_ns);
        values
            .push_bind(row.seq)
            .push_bind(row.form)
            .push_bind(row.source)
            .push_bind(row.cluster)
            .push_bind(row.native_key)
            .push_bind(row.meter)
            .push_bind(row.revision)
            .push_bind(row.tenant)
            .push_bind(row.allocation)
            .push_bind(row.person)
            .push_bind(row.activity)
            .push_bind(row.activity_reason)
            .push_bind(row.quantity)
            .push_bind(row.start_ns)
            .push_bind(row.end_ns)
            .push_bind(row.evidence)
            .push_bind(row.received_ns)
            .push_bind(&hash.0[..]);
    });
    query.build().execute(tx).await?;
    Ok(())
}
