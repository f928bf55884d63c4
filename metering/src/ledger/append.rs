//! Taking records in: once each, in one transaction, whatever is wrong with some of them.

use super::chain::FORM;
use super::database::{
    DatabaseError, Session, Value, insert, look_up, of_each, query, rows_at_once, while_waiting,
};
use super::head_file::{self, HeadFile};
use super::row::Row;
use super::{Head, Ledger, LedgerError, months};
use crate::digest::{Digest, canonical_json};
use crate::record::{RecordKey, UsageRecord, ValidRecord};
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

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

/// How many records are looked at together: those of one key are found among them before they are in the database.
const TOGETHER: usize = 10_000;

/// A row that will be.
struct NewRow {
    /// The record's place in what was reported.
    index: usize,
    record: ValidRecord,
    /// A pseudonym.
    person: Option<String>,
    evidence: String,
    quantity: String,
    start_ns: i64,
    end_ns: i64,
}

impl NewRow {
    /// The values of its key, in the order of [`super::database::KEY`].
    fn key(&self) -> Vec<Value<'_>> {
        let key = &self.record.key;
        vec![
            key.source.as_str().into(),
            key.cluster.as_str().into(),
            key.native_key.as_str().into(),
            key.meter.as_str().into(),
            i64::from(key.revision).into(),
        ]
    }

    fn nameless(index: usize, record: ValidRecord) -> Result<Self, LedgerError> {
        let evidence = canonical_json(&record.evidence).map_err(|source| LedgerError::Canonical {
            what: "the evidence of a usage record",
            source,
        })?;
        let nanoseconds = |instant: Timestamp| i64::try_from(instant.as_nanosecond()).unwrap_or(i64::MAX);
        Ok(Self {
            index,
            person: None,
            evidence: String::from_utf8_lossy(&evidence).into_owned(),
            quantity: record.quantity.to_string(),
            start_ns: nanoseconds(record.start),
            end_ns: nanoseconds(record.end),
            record,
        })
    }

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

/// A row with its place in the chain.
struct ChainedRow {
    row: NewRow,
    seq: i64,
    hash: Digest,
    received_ns: i64,
}

/// The columns of a row that is inserted, as [`ChainedRow::values`] gives them.
const INTO: &str = "usage_record (seq, form, source, cluster, native_key, meter, revision, tenant, allocation, person, \
    activity, activity_reason, quantity, start_ns, end_ns, evidence, received_ns, hash)";

impl ChainedRow {
    fn values(&self) -> Vec<Value<'_>> {
        let row = self.row.as_row(self.seq, self.received_ns);
        vec![
            row.seq.into(),
            row.form.into(),
            row.source.into(),
            row.cluster.into(),
            row.native_key.into(),
            row.meter.into(),
            row.revision.into(),
            row.tenant.into(),
            row.allocation.into(),
            row.person.into(),
            row.activity.into(),
            row.activity_reason.into(),
            row.quantity.into(),
            row.start_ns.into(),
            row.end_ns.into(),
            row.evidence.into(),
            row.received_ns.into(),
            self.hash.0[..].into(),
        ]
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

#[derive(Clone, Copy)]
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

/// What is known of a batch while it is gone through.
struct Sieve<'r> {
    records: &'r [UsageRecord],
    /// By name.
    pseudonyms: HashMap<String, String>,
    known: u64,
    rejected: Vec<Rejected<'r>>,
}

/// What of these can stand in the ledger, and what cannot. Asks no database.
fn prepare(
    records: &[UsageRecord],
    these: Range<usize>,
) -> Result<(Vec<NewRow>, Vec<Rejected<'_>>), LedgerError> {
    let mut proven = Vec::with_capacity(these.len());
    let mut rejected = Vec::new();
    for (index, record) in records.iter().enumerate().take(these.end).skip(these.start) {
        match ValidRecord::try_from(record.clone()) {
            Ok(valid) => proven.push(NewRow::nameless(index, valid)?),
            Err(fault) => rejected.push(Rejected {
                index,
                record,
                reason: fault.reason(),
                message: fault.to_string(),
            }),
        }
    }
    Ok((proven, rejected))
}

/// The next rows of the chain, each with the hash of those before it and itself.
fn chain(
    rows: impl Iterator<Item = NewRow>,
    head: &mut Head,
    received_ns: i64,
) -> Result<Vec<ChainedRow>, LedgerError> {
    rows.map(|row| {
        let seq = head.seq + 1;
        let canonical = row.as_row(seq, received_ns).canonical();
        let hash = canonical
            .hash(head.hash)
            .map_err(|source| LedgerError::Canonical {
                what: "a usage record",
                source,
            })?;
        *head = Head { seq, hash };
        Ok(ChainedRow {
            row,
            seq,
            hash,
            received_ns,
        })
    })
    .collect()
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
        let mut tx = self.database.write().await.map_err(self.failed("writing to"))?;
        let appended = self.append_in(&mut tx, records, received).await?;
        self.commit(tx, "committing to").await?;
        Ok(appended)
    }

    /// Ends a transaction that wrote: durable, and the file that guards the tail brought up to it.
    pub(super) async fn commit(&self, mut tx: Session, doing: &'static str) -> Result<(), LedgerError> {
        let anchor = HeadFile::of(&mut tx).await.map_err(self.failed(doing))?;
        tx.commit().await.map_err(self.failed(doing))?;
        self.anchor(anchor).await
    }

    /// The same within a transaction that is not committed yet.
    pub(super) async fn append_in(
        &self,
        tx: &mut Session,
        records: &[UsageRecord],
        received: Timestamp,
    ) -> Result<Appended, LedgerError> {
        let received_ns = i64::try_from(received.as_nanosecond()).unwrap_or(i64::MAX);
        self.check_anchor(tx).await?;
        let before = head_of(tx).await.map_err(self.failed("reading the end of"))?;
        let mut head = before;
        let mut months = BTreeSet::new();
        let mut sieve = Sieve {
            records,
            pseudonyms: HashMap::new(),
            known: 0,
            rejected: Vec::new(),
        };
        for first in (0..records.len()).step_by(TOGETHER) {
            let together = first..records.len().min(first + TOGETHER);
            let fresh = self.sift(tx, &mut sieve, together, head).await?;
            self.write(tx, fresh, &mut head, received_ns, &mut months).await?;
        }
        let Sieve { known, rejected, .. } = sieve;
        let mut quarantined = Vec::with_capacity(rejected.len());
        for rejected in rejected {
            quarantined.push(self.quarantine(tx, rejected, received_ns).await?);
        }
        let new = u64::try_from(head.seq - before.seq).unwrap_or(0);
        Ok(Appended {
            new,
            known,
            quarantined,
            head,
        })
    }

    /// Which of these are new, in their order; the first of them will follow `head`. The others are counted or rejected.
    /// While the database looks for some, the next are made ready.
    async fn sift(
        &self,
        tx: &mut Session,
        sieve: &mut Sieve<'_>,
        together: Range<usize>,
        head: Head,
    ) -> Result<Vec<NewRow>, LedgerError> {
        let records = sieve.records;
        let mut fresh: Vec<NewRow> = Vec::with_capacity(together.len());
        let mut in_batch: HashMap<&RecordKey, usize> = HashMap::with_capacity(together.len());
        let at_once = rows_at_once(tx);
        let mut chunks = together
            .clone()
            .step_by(at_once)
            .map(|first| prepare(records, first..together.end.min(first + at_once)));
        let mut next = chunks.next();
        while let Some(prepared) = next {
            let (mut rows, faulty) = prepared?;
            sieve.rejected.extend(faulty);
            self.name_persons(tx, &mut rows, &mut sieve.pseudonyms).await?;
            let (there, after) = while_waiting(self.known_among(tx, rows), || chunks.next()).await;
            let (rows, there) = there?;
            next = after;
            for (place, row) in rows.into_iter().enumerate() {
                let Some(record) = records.get(row.index) else {
                    continue;
                };
                let earlier = in_batch.get(&record.key).copied();
                let twin = match earlier.and_then(|earlier| Some((earlier, fresh.get(earlier)?))) {
                    Some((_, earlier)) if same_body(&earlier.as_row(0, 0), false, &row.as_row(0, 0)) => {
                        Some(Known::Same)
                    }
                    Some((earlier, _)) => Some(Known::Other {
                        seq: head.seq + 1 + i64::try_from(earlier).unwrap_or(0),
                    }),
                    None => there.get(&place).copied(),
                };
                match twin {
                    Some(Known::Same) => sieve.known += 1,
                    Some(Known::Other { seq }) => sieve.rejected.push(Rejected {
                        index: row.index,
                        record,
                        reason: CONFLICT,
                        message: format!(
                            "the usage record {} is in the ledger as row {seq} with another content: a source that changes its mind sends the next revision",
                            record.key
                        ),
                    }),
                    None => {
                        in_batch.insert(&record.key, fresh.len());
                        fresh.push(row);
                    }
                }
            }
        }
        Ok(fresh)
    }

    /// Writes these at the end of the chain. While the database takes some, the next are hashed.
    async fn write(
        &self,
        tx: &mut Session,
        fresh: Vec<NewRow>,
        head: &mut Head,
        received_ns: i64,
        months: &mut BTreeSet<jiff::civil::Date>,
    ) -> Result<(), LedgerError> {
        let at_once = rows_at_once(tx);
        let mut fresh = fresh.into_iter();
        let mut chained = || chain(fresh.by_ref().take(at_once), head, received_ns);
        let mut next = chained()?;
        while !next.is_empty() {
            months::make(tx, next.iter().map(|chained| chained.row.end_ns), months)
                .await
                .map_err(self.failed("appending to"))?;
            let (inserted, after) =
                while_waiting(insert(tx, INTO, next, ChainedRow::values), &mut chained).await;
            inserted.map_err(self.failed("appending to"))?;
            next = after?;
        }
        Ok(())
    }

    /// Refuses a ledger that does not hold what the file beside it says: to append to it would cover up the loss.
    pub(super) async fn check_anchor(&self, session: &mut Session) -> Result<(), LedgerError> {
        let Some(path) = self.url.head_file() else {
            return Ok(());
        };
        let Some(anchor) = head_file::read(&path)? else {
            return Ok(());
        };
        if let Some(issue) = anchor.issued {
            self.check_issued(session, issue, path.clone()).await?;
        }
        if anchor.seq == 0 {
            return Ok(());
        }
        let hash: Option<Vec<u8>> = query("SELECT hash FROM usage_record WHERE seq = ?")
            .bind(anchor.seq)
            .value(session)
            .await
            .map_err(self.failed("reading the end of"))?;
        if hash.as_deref() == Some(&anchor.hash.0[..]) {
            return Ok(());
        }
        Err(LedgerError::NotWhatWasThere {
            ledger: self.url.clone(),
            anchor: path,
            seq: anchor.seq,
        })
    }

    /// Brings the file beside the ledger up to what was just committed.
    pub(super) async fn anchor(&self, head: HeadFile) -> Result<(), LedgerError> {
        let Some(path) = self.url.head_file() else {
            return Ok(());
        };
        let at = path.clone();
        let written = tokio::task::spawn_blocking(move || head_file::advance(&at, head));
        written.await.unwrap_or_else(|e| {
            Err(LedgerError::HeadFile {
                doing: "writing",
                path,
                source: std::io::Error::other(e),
            })
        })
    }

    /// Replaces names by pseudonyms.
    async fn name_persons(
        &self,
        tx: &mut Session,
        rows: &mut [NewRow],
        pseudonyms: &mut HashMap<String, String>,
    ) -> Result<(), LedgerError> {
        let unknown: BTreeSet<&String> = rows
            .iter()
            .filter_map(|row| row.record.user.as_ref())
            .filter(|name| !pseudonyms.contains_key(*name))
            .collect();
        let unknown = unknown.into_iter().cloned().collect();
        let found = pseudonyms_of(tx, unknown)
            .await
            .map_err(self.failed("writing the pseudonyms of"))?;
        pseudonyms.extend(found);
        for row in rows {
            row.person = row
                .record
                .user
                .as_ref()
                .and_then(|name| pseudonyms.get(name).cloned());
        }
        Ok(())
    }

    /// These, and which of them are in the ledger, by their place.
    async fn known_among(
        &self,
        tx: &mut Session,
        rows: Vec<NewRow>,
    ) -> Result<(Vec<NewRow>, HashMap<usize, Known>), LedgerError> {
        const ERASED: usize = 18;
        let selected = format!(
            "{}, r.person IS NOT NULL AND NOT EXISTS (SELECT 1 FROM person p WHERE p.pseudonym = r.person)",
            super::row::COLUMNS,
        );
        let (rows, found) = look_up(tx, &selected, rows, NewRow::key)
            .await
            .map_err(self.failed("looking up records in"))?;
        let mut known = HashMap::with_capacity(found.len());
        for (place, stored) in &found {
            let there = Row::read(stored).map_err(self.failed("looking up records in"))?;
            let erased: bool = stored.get(ERASED).map_err(self.failed("looking up records in"))?;
            let Some(new) = rows.get(*place) else { continue };
            let same = same_body(&there, erased, &new.as_row(there.seq, there.received_ns));
            known.insert(
                *place,
                if same {
                    Known::Same
                } else {
                    Known::Other { seq: there.seq }
                },
            );
        }
        Ok((rows, known))
    }

    async fn quarantine(
        &self,
        tx: &mut Session,
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
            let pseudonym = pseudonyms_of(tx, vec![name.clone()]).await;
            body.user = pseudonym
                .map_err(self.failed("writing the pseudonyms of"))?
                .remove(name);
        }
        let body = canonical_json(&body).map_err(|source| LedgerError::Canonical {
            what: "a quarantined usage record",
            source,
        })?;
        let digest = Digest::of(&[reason.as_bytes(), &[0], &body]);
        let message = without_nul(message);
        let inserted = query(
            "INSERT INTO quarantine (digest, reason, message, body, received_ns) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (digest) DO NOTHING",
        )
        .bind(&digest.0[..])
        .bind(reason)
        .bind(message.as_str())
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
            first_time: inserted > 0,
        })
    }
}

pub(super) async fn head_of(session: &mut Session) -> Result<Head, DatabaseError> {
    let row = query("SELECT seq, hash FROM usage_record ORDER BY seq DESC LIMIT 1")
        .row(session)
        .await?;
    match row {
        None => Ok(Head {
            seq: 0,
            hash: Digest::ZERO,
        }),
        Some(row) => {
            let hash: &[u8] = row.get(1)?;
            let hash = Digest::from_bytes(hash)
                .ok_or_else(|| DatabaseError::value("the hash of the last row is not 32 bytes"))?;
            Ok(Head {
                seq: row.get(0)?,
                hash,
            })
        }
    }
}

/// The pseudonym of each of these names, made where there is none.
async fn pseudonyms_of(
    tx: &mut Session,
    names: Vec<String>,
) -> Result<HashMap<String, String>, DatabaseError> {
    let there = of_each(tx, "SELECT name, pseudonym FROM person WHERE name", names.clone()).await?;
    let mut pseudonyms = HashMap::with_capacity(names.len());
    for row in &there {
        pseudonyms.insert(row.get(0)?, row.get(1)?);
    }
    let strangers = names
        .into_iter()
        .filter(|name| !pseudonyms.contains_key(name))
        .map(|name| Ok((name, new_pseudonym()?)))
        .collect::<Result<Vec<_>, DatabaseError>>()?;
    pseudonyms.extend(strangers.iter().cloned());
    insert(tx, "person (name, pseudonym)", strangers, |(name, pseudonym)| {
        vec![name.as_str().into(), pseudonym.as_str().into()]
    })
    .await?;
    Ok(pseudonyms)
}

/// PostgreSQL keeps no U+0000 in a text.
pub(super) fn without_nul(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

/// 128 bits that nobody can foretell, in hexadecimal digits.
fn new_pseudonym() -> Result<String, DatabaseError> {
    let mut bits = [0_u8; 16];
    SystemRandom::new()
        .fill(&mut bits)
        .map_err(|_| DatabaseError::value("the system gives no random numbers"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bits)))
}
