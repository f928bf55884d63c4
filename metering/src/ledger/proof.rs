//! Proofs that single records are in a ledger: a document that an accountant checks with a signed checkpoint and nothing
//! else, no ledger at hand.
//!
//! ```text
//!  prove.rs ─► {"size", "root", "records": [{"index", "path", "record"}], "checkpoint"} ─► check: a Checkpoint, whose root
//!                                                                                     each record's path must lead to
//! ```
//!
//! Pure. The record is the row as it was hashed ([`super::chain`]): its canonical form, as leaf, and the audit path (RFC
//! 9162, section 2.1.3) give the root, so any tool that knows SHA-256 can check it. Whether the checkpoint is genuine is for
//! who has the keys ([`crate::checkpoint`]). A person is the pseudonym that the ledger has, and no name.

use super::chain::{CanonicalRow, FORM};
use super::row::Row;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::merkle;
use crate::record::ValidRecord;
use jiff::Timestamp;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordProof {
    /// What it is, for whoever opens the file: French, then English. Proves nothing.
    pub title: Vec<String>,
    /// Among how many records: the first so many of the ledger.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// The records.
    pub records: Vec<RecordInTree>,
    /// The signed checkpoint of so many records, where it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// A record, and the way from it to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordInTree {
    /// Its place, from 0.
    pub index: u64,
    /// The row.
    pub record: HashedRow,
    /// The audit path, from the leaf to the root.
    pub path: Vec<Digest>,
}

/// A row as it is hashed: names and texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HashedRow(BTreeMap<String, Option<String>>);

/// A record of which it is shown that it is in a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenRecord {
    /// Its number.
    pub seq: i64,
    /// The record; its `user` is a pseudonym.
    pub record: ValidRecord,
    /// When it was taken.
    pub received: Timestamp,
}

/// What does not fit. Each is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It cannot be read.
    #[error("it is no proof of `meso ledger prove`: {0}")]
    Unreadable(String),
    /// It is for another checkpoint.
    #[error(
        "it is a proof among {proof} records, and the checkpoint is of {checkpoint}: have it made for this checkpoint, with `meso ledger prove --checkpoint`"
    )]
    Size {
        /// Records of the proof.
        proof: u64,
        /// Records of the checkpoint.
        checkpoint: u64,
    },
    /// It is of another ledger.
    #[error(
        "its root over {size} records is {proof}, and the checkpoint's is {checkpoint}: it is of another ledger, or its root was changed"
    )]
    Root {
        /// Of how many records.
        size: u64,
        /// The root of the proof.
        proof: Digest,
        /// The root of the checkpoint.
        checkpoint: Digest,
    },
    /// There is no such place.
    #[error(
        "it puts a record at index {index}, and the last of {size} records has another, smaller one: the index was changed"
    )]
    Outside {
        /// The index.
        index: u64,
        /// Of how many records.
        size: u64,
    },
    /// The record is another one.
    #[error(
        "its record says that it is number {seq}, and is put at index {index}, where another number stands: the index or the record was changed"
    )]
    Place {
        /// The record's number, as it says.
        seq: String,
        /// The index.
        index: u64,
    },
    /// Hashes are missing, or too many.
    #[error(
        "the audit path of record {seq} has {found} hashes, and {expected} lead from there to the root of {size} records: hashes were taken away or added"
    )]
    PathLength {
        /// The record.
        seq: String,
        /// How many there are.
        found: usize,
        /// How many there must be.
        expected: usize,
        /// Of how many records.
        size: u64,
    },
    /// It leads elsewhere.
    #[error(
        "the audit path of record {seq} does not lead from this record to the root: something in the record or a hash of the path was changed"
    )]
    NotIncluded {
        /// The record.
        seq: String,
    },
    /// The record is there, and cannot be read.
    #[error("record {seq} is among them, and cannot be read ({what}): check it with a newer version of meso")]
    Record {
        /// The record.
        seq: String,
        /// Why.
        what: String,
    },
}

impl RecordProof {
    /// Reads one; nothing is shown yet.
    ///
    /// # Errors
    /// [`ProofError::Unreadable`].
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let proof: Self =
            serde_json::from_str(text).map_err(|error| ProofError::Unreadable(error.to_string()))?;
        if proof.records.is_empty() {
            return Err(ProofError::Unreadable("it names no record".to_owned()));
        }
        Ok(proof)
    }

    /// The records, if each is among those of the checkpoint.
    ///
    /// # Errors
    /// [`ProofError`] with the first thing that does not fit.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<Vec<ProvenRecord>, ProofError> {
        let size = self.size;
        if size != checkpoint.size {
            return Err(ProofError::Size {
                proof: size,
                checkpoint: checkpoint.size,
            });
        }
        if self.root != checkpoint.root {
            return Err(ProofError::Root {
                size,
                proof: self.root,
                checkpoint: checkpoint.root,
            });
        }
        self.records
            .iter()
            .map(|one| one.check((size, self.root)))
            .collect()
    }
}

impl RecordInTree {
    fn check(&self, (size, root): (u64, Digest)) -> Result<ProvenRecord, ProofError> {
        let Self { index, record, path } = self;
        let expected =
            merkle::path_length(*index, size).ok_or(ProofError::Outside { index: *index, size })?;
        let seq = record.text("seq").unwrap_or_default().to_owned();
        if seq.parse() != Ok(index + 1) {
            return Err(ProofError::Place { seq, index: *index });
        }
        if path.len() != expected {
            return Err(ProofError::PathLength {
                seq,
                found: path.len(),
                expected,
                size,
            });
        }
        let unreadable = |what: String| ProofError::Record {
            seq: seq.clone(),
            what,
        };
        let leaf = record.leaf().map_err(|error| unreadable(error.to_string()))?;
        if !merkle::is_included((*index, leaf), (size, root), path) {
            return Err(ProofError::NotIncluded { seq });
        }
        record.read().map_err(unreadable)
    }
}

impl HashedRow {
    pub(super) fn of(row: &CanonicalRow<'_>) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(&serde_json::to_vec(row)?)
    }

    /// Its leaf, of the canonical form: sorted names, no white space.
    fn leaf(&self) -> Result<Digest, serde_json::Error> {
        Ok(merkle::leaf(&serde_json::to_vec(&self.0)?))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref()
    }

    fn read(&self) -> Result<ProvenRecord, String> {
        let text = |name: &str| self.text(name).ok_or_else(|| format!("it has no {name}"));
        let number = |name: &str| {
            let said = text(name)?;
            said.parse::<i64>()
                .map_err(|_| format!("its {name} is {said:?}, and no number"))
        };
        let row = Row {
            seq: number("seq")?,
            form: number("form")?,
            source: text("source")?,
            cluster: text("cluster")?,
            native_key: text("nativeKey")?,
            meter: text("meter")?,
            revision: number("revision")?,
            tenant: text("tenant")?,
            allocation: self.text("allocation"),
            person: self.text("person"),
            activity: text("activity")?,
            activity_reason: text("activityReason")?,
            quantity: text("quantity")?,
            start_ns: number("start")?,
            end_ns: number("end")?,
            evidence: text("evidence")?,
            received_ns: number("received")?,
            hash: &[],
        };
        if row.form != FORM {
            return Err(format!("it has the form {}", row.form));
        }
        Ok(ProvenRecord {
            seq: row.seq,
            record: row.record()?,
            received: Timestamp::from_nanosecond(i128::from(row.received_ns))
                .map_err(|error| error.to_string())?,
        })
    }
}

impl<'de> Deserialize<'de> for HashedRow {
    /// A name that stands there twice is refused: what a person reads must be what is hashed.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = HashedRow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HashedRow, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format!("the record has {name} twice")));
                    }
                    fields.insert(name, value);
                }
                Ok(HashedRow(fields))
            }
        }
        from.deserialize_map(Once)
    }
}
