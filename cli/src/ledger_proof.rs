//! `meso ledger prove` and `check-proof`: that single records are in the ledger, for who keeps a checkpoint and no ledger.
//!
//! ```text
//!  datacentre                                       accountant
//!  checkpoint --key … ────────── kept.txt ────────► keeps it
//!  prove 42 --checkpoint kept.txt ─ proof.json ───► check-proof proof.json --trust …: asks nobody
//! ```

use crate::failure::Failure;
use crate::ledger_checkpoint::{signed, text, usage};
use crate::ledger_verify::the_ledger;
use crate::output::{self, Format, machine_readable};
use crate::table::on_one_line;
use clap::{ArgGroup, Args};
use mesocentre_metering::checkpoint::{SignedCheckpoint, Verifier};
use mesocentre_metering::ledger::{ProvenRecord, RecordProof};
use mesocentre_metering::{Ledger, LedgerError, base_unit};
use std::path::PathBuf;

/// What `ledger prove` takes.
#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("among").required(true).args(["checkpoint", "at"]),
    after_help = "The proof holds each record as it stands in the ledger, persons by their pseudonyms, and the hashes that lead from it to the root over all of them (RFC 9162, audit path). It says nothing of other records but these hashes. The ledger is read once, up to the checkpoint; of one that is not intact nothing is proven."
)]
pub struct ProveOptions {
    /// The ledger, for example sqlite:///var/lib/mesocentre/ledger.db or postgresql://USER@HOST/DATABASE
    #[arg(long, env = "MESO_LEDGER_URL", value_name = "URL", hide_env_values = true)]
    ledger: String,
    /// The records, by their numbers: `seq` of ledger export
    #[arg(value_name = "RECORD", required = true, value_parser = clap::value_parser!(i64).range(1..))]
    records: Vec<i64>,
    /// The checkpoint by which it will be checked; it goes into the proof
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// How many records that checkpoint has, where you have it not: it is named when the proof is checked
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(i64).range(1..))]
    at: Option<i64>,
}

/// What `ledger check-proof` takes.
#[derive(Args, Debug)]
#[command(
    after_help = "Asks nobody and needs no ledger. It ends with 0 only if each record of the proof is under the root of a checkpoint that bears the signature of KEY, and else says what does not fit. Trust a key that the datacentre publishes, or that of a partner who cosigned, and not one that came with the proof."
)]
pub struct CheckOptions {
    /// What the datacentre made with ledger prove
    #[arg(value_name = "FILE")]
    proof: PathBuf,
    /// Whose signature the checkpoint must bear, as `ledger key` prints it
    #[arg(long, value_name = "KEY")]
    trust: String,
    /// The checkpoint that you kept; without it, the one in the proof
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

/// Writes the proof.
///
/// # Errors
/// [`Failure::NotFound`] when there is no such record among so many, [`Failure::Failed`] when the ledger is not what the
/// checkpoint says or cannot be read.
pub async fn prove(options: ProveOptions) -> Result<(), Failure> {
    output::print(&proof(&options).await?)
}

async fn proof(options: &ProveOptions) -> Result<String, Failure> {
    let kept = options.checkpoint.as_deref().map(signed).transpose()?;
    let url = the_ledger(&options.ledger)?;
    let ledger = Ledger::open_to_read(&url).await.map_err(failed)?;
    let proof = of_the_ledger(&ledger, options, kept.as_ref()).await;
    ledger.close().await;
    let mut proof = proof?;
    if let Some(kept) = kept {
        if proof.root != kept.checkpoint.root {
            return Err(Failure::Failed(format!(
                "nothing is proven: the first {} records of the ledger do not give the root of the checkpoint, so it is another ledger's, or this one was written anew; see `meso ledger verify --checkpoint`",
                proof.size
            )));
        }
        proof.checkpoint = Some(kept.to_string());
    }
    Ok(machine_readable(Format::Json, &proof)?.unwrap_or_default())
}

fn failed(error: LedgerError) -> Failure {
    match error {
        LedgerError::NotAmong { .. } => Failure::NotFound(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    }
}

async fn of_the_ledger(
    ledger: &Ledger,
    options: &ProveOptions,
    kept: Option<&SignedCheckpoint>,
) -> Result<RecordProof, Failure> {
    let there = ledger.head().await.map_err(failed)?.seq;
    let size = match (kept, options.at) {
        (Some(kept), _) => i64::try_from(kept.checkpoint.size).unwrap_or(i64::MAX),
        (None, at) => at.unwrap_or(there),
    };
    if size > there {
        return Err(match kept {
            Some(_) => Failure::Failed(format!(
                "the checkpoint is of {size} records, and the ledger has {there}: its tail was cut, it is an older copy, or the checkpoint is another ledger's; see `meso ledger verify --checkpoint`"
            )),
            None => Failure::NotFound(format!(
                "the ledger has {there} records, and not yet {size}: name {there} or fewer with --at"
            )),
        });
    }
    ledger.prove(&options.records, size).await.map_err(failed)
}

/// Checks a proof.
///
/// # Errors
/// [`Failure::Failed`] when something does not fit, [`Failure::Usage`] when there is no checkpoint or no key.
pub fn check(options: &CheckOptions) -> Result<(), Failure> {
    output::print(&checked(options)?)
}

fn checked(options: &CheckOptions) -> Result<String, Failure> {
    let trusted = Verifier::parse(&options.trust).map_err(usage)?;
    let file = options.proof.display();
    let nothing = |why: &dyn std::fmt::Display| Failure::Failed(format!("{file} proves nothing: {why}"));
    let proof = RecordProof::parse(&text(&options.proof)?).map_err(|error| nothing(&error))?;
    let (signed, its_place) = match (&options.checkpoint, &proof.checkpoint) {
        (Some(kept), _) => (signed(kept)?, kept.display().to_string()),
        (None, Some(inside)) => (
            SignedCheckpoint::parse(inside).map_err(|error| nothing(&error))?,
            "the checkpoint in it".to_owned(),
        ),
        (None, None) => {
            return Err(Failure::Usage(format!(
                "{file} holds no checkpoint: name the one that you kept with --checkpoint"
            )));
        }
    };
    signed
        .is_signed_by(&trusted)
        .map_err(|error| nothing(&format!("{its_place}: {error}")))?;
    let records = proof.check(&signed.checkpoint).map_err(|error| nothing(&error))?;
    let mut said: String = records
        .iter()
        .map(|record| in_words(record, &signed, &trusted))
        .collect();
    said.push_str(
        "This is how each stood in the ledger then. A later revision, if one came, is a record of its own.\n",
    );
    Ok(said)
}

fn in_words(proven: &ProvenRecord, signed: &SignedCheckpoint, trusted: &Verifier) -> String {
    let ProvenRecord {
        seq,
        record,
        received,
    } = proven;
    let of = |what: &str, name: &Option<String>| {
        let name = name.as_ref().map(|name| format!(", {what} {name}"));
        name.unwrap_or_default()
    };
    let sentence = format!(
        "Proven: record {seq} is among the first {} records of the ledger {}, by the checkpoint that {} signed",
        signed.checkpoint.size,
        signed.checkpoint.origin,
        trusted.name(),
    );
    let mut lines = vec![
        format!("record    {}", record.key),
        format!(
            "of        tenant {}{}{}",
            record.tenant,
            of("allocation", &record.allocation),
            of("person", &record.user)
        ),
        format!(
            "quantity  {} {}, from {} to {}",
            record.quantity,
            base_unit(record.key.meter),
            record.start,
            record.end
        ),
        format!(
            "activity  {} ({})",
            record.activity.as_str(),
            record.activity_reason
        ),
    ];
    let evidence = record.evidence.iter();
    lines.extend(evidence.map(|(name, value)| format!("evidence  {name}: {value}")));
    lines.push(format!("received  {received}"));
    let lines = lines.iter().map(|line| format!("  {}\n", on_one_line(line)));
    format!("{}\n{}", on_one_line(&sentence), lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, Timestamp};
    use mesocentre_api::Meter;
    use mesocentre_metering::checkpoint::CheckpointKey;
    use mesocentre_metering::{Activity, LedgerUrl, RecordKey, UsageRecord, verify};
    use ring::signature::Ed25519KeyPair;
    use std::collections::BTreeMap;
    use std::path::Path;

    const ORIGIN: &str = "mesocentre.test/ledger";

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn public(seed: u8) -> String {
        CheckpointKey::new(ORIGIN, &pair(seed))
            .unwrap()
            .of_a_ledger()
            .to_string()
    }

    fn records(numbers: std::ops::Range<u32>) -> Vec<UsageRecord> {
        let start: Timestamp = "2026-11-02T00:00:00Z".parse().unwrap();
        numbers
            .map(|number| UsageRecord {
                key: RecordKey {
                    source: "slurm".into(),
                    cluster: "austral".into(),
                    native_key: format!("run-{number}"),
                    meter: Meter::ComputeCoreHours,
                    revision: 0,
                },
                tenant: "univ-caen".into(),
                allocation: Some("climate-2026".into()),
                user: Some("alice".into()),
                activity: Activity::NonEconomic,
                activity_reason: "category University".into(),
                quantity: 7_200,
                start,
                end: start + SignedDuration::from_hours(1),
                evidence: BTreeMap::from([("state".into(), "COMPLETED".into())]),
            })
            .collect()
    }

    fn at(folder: &Path) -> String {
        format!("sqlite://{}/ledger.db", folder.display())
    }

    async fn append(folder: &Path, numbers: std::ops::Range<u32>) {
        let url: LedgerUrl = at(folder).parse().unwrap();
        let ledger = Ledger::open(&url).await.unwrap();
        let records = records(numbers);
        ledger.append(&records, records[0].end).await.unwrap();
        ledger.close().await;
    }

    /// Signs what the ledger is now, and keeps it under a name.
    async fn keep(folder: &Path, name: &str) -> PathBuf {
        let url: LedgerUrl = at(folder).parse().unwrap();
        let now = verify(&url).await.unwrap().checkpoint(ORIGIN);
        let signed = CheckpointKey::new(ORIGIN, &pair(1)).unwrap().sign(&now);
        let file = folder.join(name);
        std::fs::write(&file, signed.to_string()).unwrap();
        file
    }

    async fn proven(
        folder: &Path,
        records: &[i64],
        checkpoint: Option<&Path>,
        at_record: Option<i64>,
    ) -> Result<String, Failure> {
        proof(&ProveOptions {
            ledger: at(folder),
            records: records.to_vec(),
            checkpoint: checkpoint.map(Path::to_owned),
            at: at_record,
        })
        .await
    }

    fn check_text(folder: &Path, proof: &str, trust: &str, kept: Option<&Path>) -> Result<String, Failure> {
        let file = folder.join("proof.json");
        std::fs::write(&file, proof).unwrap();
        checked(&CheckOptions {
            proof: file,
            trust: trust.to_owned(),
            checkpoint: kept.map(Path::to_owned),
        })
    }

    #[tokio::test]
    async fn who_keeps_a_checkpoint_sees_that_a_record_is_under_it_and_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        append(folder, 1..12).await;
        let kept = keep(folder, "kept.txt").await;
        append(folder, 12..30).await;
        let later = keep(folder, "later.txt").await;

        let inside = proven(folder, &[3, 11], Some(&kept), None).await.unwrap();
        assert!(!inside.contains("alice"), "a person is a pseudonym");
        // The ledger is not asked any more.
        std::fs::remove_file(folder.join("ledger.db")).unwrap();
        let said = check_text(folder, &inside, &public(1), None).unwrap();
        for line in [
            "Proven: record 3 is among the first 11 records of the ledger mesocentre.test/ledger, by the checkpoint that mesocentre.test/ledger signed\n",
            "Proven: record 11 is among",
            "\n  record    slurm/austral/run-3 compute.core-hours revision 0\n",
            "\n  quantity  7200 core_seconds, from 2026-11-02T00:00:00Z to 2026-11-02T01:00:00Z\n",
            "\n  evidence  state: COMPLETED\n",
        ] {
            assert!(said.contains(line), "{line:?} in:\n{said}");
        }
        // By the checkpoint that was kept, whatever is in the proof.
        assert_eq!(
            check_text(folder, &inside, &public(1), Some(&kept)).unwrap(),
            said
        );

        let refused = |proof: &str, trust: &str, kept: Option<&Path>, why: &str| {
            let failure = check_text(folder, proof, trust, kept).unwrap_err();
            assert!(failure.to_string().contains(why), "{failure}");
            assert_eq!(failure.code(), 1, "{failure}");
        };
        refused(
            &inside,
            &public(2),
            None,
            "it bears no signature of mesocentre.test/ledger",
        );
        refused(
            &inside,
            &public(1),
            Some(&later),
            "a proof among 11 records, and the checkpoint is of 29",
        );
        refused(
            &inside.replace("\\n11\\n", "\\n12\\n"),
            &public(1),
            None,
            "the signature of mesocentre.test/ledger does not fit",
        );
        refused(
            &inside.replace("7200", "7100"),
            &public(1),
            None,
            "the audit path of record 3 does not lead",
        );
        refused(
            &inside.replace("\"index\": 2", "\"index\": 3"),
            &public(1),
            None,
            "says that it is number 3, and is put at index 3",
        );
        refused(
            &inside.replace("\"person\"", "\"person\": null, \"person\""),
            &public(1),
            None,
            "the record has person twice",
        );
        refused("{}", &public(1), None, "is no proof of `meso ledger prove`");
    }

    #[tokio::test]
    async fn a_proof_without_a_checkpoint_is_checked_by_the_one_that_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        append(folder, 1..12).await;
        let kept = keep(folder, "kept.txt").await;
        append(folder, 12..14).await;
        let bare = proven(folder, &[7], None, Some(11)).await.unwrap();
        assert!(check_text(folder, &bare, &public(1), Some(&kept)).is_ok());
        let failure = check_text(folder, &bare, &public(1), None).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains("holds no checkpoint"), "{failure}");
    }

    #[tokio::test]
    async fn nothing_is_proven_of_a_ledger_that_is_not_the_checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        append(folder, 1..12).await;
        let kept = keep(folder, "kept.txt").await;
        let other = tempfile::tempdir().unwrap();
        let other = other.path();
        append(other, 1..4).await;
        for (place, records, checkpoint, size, code, why) in [
            (
                folder,
                vec![12],
                Some(&*kept),
                None,
                4,
                "there is no record 12 among the first 11",
            ),
            (
                folder,
                vec![1],
                None,
                Some(12),
                4,
                "the ledger has 11 records, and not yet 12",
            ),
            (
                other,
                vec![1],
                Some(&*kept),
                None,
                1,
                "the checkpoint is of 11 records, and the ledger has 3",
            ),
        ] {
            let failure = proven(place, &records, checkpoint, size).await.unwrap_err();
            assert!(failure.to_string().contains(why), "{failure}");
            assert_eq!(failure.code(), code, "{failure}");
        }
        // As many records, and others.
        append(other, 20..29).await;
        let failure = proven(other, &[1], Some(&kept), None).await.unwrap_err();
        assert!(failure.to_string().contains("do not give the root"), "{failure}");
    }
}
