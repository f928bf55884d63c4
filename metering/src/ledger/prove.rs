//! Proving that records are among the first so many of the ledger: one pass over the rows, of which none but those asked for
//! is kept. Each row is held against its hash on the way: of a ledger that is not intact nothing is proven.

use super::chain::{FORM, after};
use super::pages::{Order, Rows};
use super::proof::{HashedRow, RecordInTree, RecordProof};
use super::row::Row;
use super::{Head, Ledger, LedgerError};
use crate::digest::Digest;
use crate::merkle::InclusionProofs;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

impl Ledger {
    /// The proof that the records with these numbers are among the first `size` of the ledger; without a checkpoint.
    ///
    /// # Errors
    /// [`LedgerError`], when there are not so many, it cannot be read, or is not as it was written.
    pub async fn prove(&self, records: &[i64], size: i64) -> Result<RecordProof, LedgerError> {
        let count = u64::try_from(size).unwrap_or(0);
        let places = records.iter().map(|seq| {
            let place = u64::try_from(*seq).ok().filter(|seq| (1..=count).contains(seq));
            place.map(|seq| seq - 1).ok_or(LedgerError::NotAmong {
                ledger: self.url().clone(),
                seq: *seq,
                size,
            })
        });
        let places = places.collect::<Result<Vec<u64>, _>>()?;
        let mut proofs = InclusionProofs::new(&places, count);
        let wanted: BTreeSet<i64> = records.iter().copied().collect();
        let mut rows: BTreeMap<i64, HashedRow> = BTreeMap::new();
        let mut head = Head {
            seq: 0,
            hash: Digest::ZERO,
        };
        let all = Rows {
            condition: "r.seq > ? AND r.seq <= ?",
            bounds: &[0, size],
            order: Order::Ledger,
        };
        let mut reading = self.reading("reading").await?;
        let ended = all
            .each(&mut reading, |row| {
                let said = match row {
                    Ok(row) => take(&row, &mut head, |row, leaf| {
                        proofs.push(leaf);
                        if wanted.contains(&row.seq) {
                            let row_is =
                                HashedRow::of(&row.canonical()).map_err(|error| error.to_string())?;
                            rows.insert(row.seq, row_is);
                        }
                        Ok(())
                    }),
                    Err(unread) => Err((unread.seq.unwrap_or(head.seq + 1), unread.what)),
                };
                match said {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(wrong) => ControlFlow::Break(wrong),
                }
            })
            .await
            .map_err(self.failed("reading"))?;
        let wrong = ended.or((head.seq != size).then(|| (head.seq + 1, "it is missing".to_owned())));
        if let Some((seq, what)) = wrong {
            return Err(LedgerError::NotAsWritten {
                ledger: self.url().clone(),
                seq,
                what,
            });
        }
        let root = proofs.tree().root();
        let mut in_tree = Vec::new();
        for ((seq, index), path) in records.iter().zip(places).zip(proofs.finish()) {
            let record = rows.get(seq).cloned().ok_or_else(|| LedgerError::NotAsWritten {
                ledger: self.url().clone(),
                seq: *seq,
                what: "it is missing".to_owned(),
            })?;
            in_tree.push(RecordInTree { index, record, path });
        }
        Ok(RecordProof {
            title: vec![
                format!(
                    "Preuve que des relevés d'usage sont parmi les {size} premiers d'un registre. À vérifier par : meso ledger check-proof FICHIER --trust CLÉ"
                ),
                format!(
                    "Proof that usage records are among the first {size} of a ledger. Check it by: meso ledger check-proof FILE --trust KEY"
                ),
            ],
            size: count,
            root,
            records: in_tree,
            checkpoint: None,
        })
    }
}

/// The next row, if it follows and is as it was written; else its number, and what is wrong.
fn take(
    row: &Row<'_>,
    head: &mut Head,
    keep: impl FnOnce(&Row<'_>, Digest) -> Result<(), String>,
) -> Result<(), (i64, String)> {
    let next = head.seq + 1;
    if row.seq != next {
        return Err((next, "it is missing".to_owned()));
    }
    let wrong = |what: String| (next, what);
    if row.form != FORM {
        return Err(wrong(format!(
            "it has the form {}, which this version does not know",
            row.form
        )));
    }
    let leaf = row.canonical().leaf().map_err(|error| wrong(error.to_string()))?;
    let hash = after(head.hash, leaf);
    if row.digest() != Some(hash) {
        return Err(wrong("it does not have the hash that stands on it".to_owned()));
    }
    *head = Head { seq: next, hash };
    keep(row, leaf).map_err(wrong)
}
