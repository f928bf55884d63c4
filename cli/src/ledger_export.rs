//! `meso ledger export`: the records themselves, for a spreadsheet, a warehouse, or a program that checks ours.

use crate::failure::Failure;
use crate::ledger_verify::the_ledger;
use clap::{Args, ValueEnum};
use mesocentre_metering::ledger::LedgerRow;
use mesocentre_metering::{Ledger, base_unit};
use serde::Serialize;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// What `ledger export` takes.
#[derive(Args, Debug)]
#[command(
    after_help = "A row for each usage record, in the ledger's order: quantities in base units (whole numbers), times in UTC, persons by their pseudonyms. Of a key with several revisions the latest counts. The last row's hash is the ledger's head."
)]
pub struct Options {
    /// The ledger, for example sqlite:///var/lib/mesocentre/ledger.db or postgresql://USER@HOST/DATABASE
    #[arg(long, env = "MESO_LEDGER_URL", value_name = "URL", hide_env_values = true)]
    ledger: String,
    /// In which form
    #[arg(long, value_enum, default_value_t = Form::Csv)]
    form: Form,
    /// Records of this tenant only
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Records of which some use is on this day or later, in UTC
    #[arg(long, value_name = "DATE")]
    from: Option<jiff::civil::Date>,
    /// Records of which some use is before this day, in UTC
    #[arg(long, value_name = "DATE")]
    before: Option<jiff::civil::Date>,
    /// A file that is not there yet; standard output without it
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// The form of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Comma-separated, with a line of names first (RFC 4180)
    Csv,
    /// An object of JSON a line
    Jsonl,
}

/// A record, flat: the names of the columns.
#[derive(Serialize)]
struct Flat {
    seq: i64,
    source: String,
    cluster: String,
    native_key: String,
    meter: &'static str,
    revision: u32,
    tenant: String,
    allocation: String,
    person: String,
    activity: &'static str,
    activity_reason: String,
    quantity: String,
    unit: &'static str,
    start: String,
    end: String,
    evidence: String,
    received: String,
    hash: String,
}

impl From<LedgerRow> for Flat {
    fn from(row: LedgerRow) -> Self {
        let record = &*row.record;
        Self {
            seq: row.seq,
            source: record.key.source.clone(),
            cluster: record.key.cluster.clone(),
            native_key: record.key.native_key.clone(),
            meter: record.key.meter.as_str(),
            revision: record.key.revision,
            tenant: record.tenant.clone(),
            allocation: record.allocation.clone().unwrap_or_default(),
            person: record.user.clone().unwrap_or_default(),
            activity: record.activity.as_str(),
            activity_reason: record.activity_reason.clone(),
            quantity: record.quantity.to_string(),
            unit: base_unit(record.key.meter),
            start: record.start.to_string(),
            end: record.end.to_string(),
            evidence: serde_json::to_string(&record.evidence).unwrap_or_default(),
            received: row.received.to_string(),
            hash: row.hash.to_string(),
        }
    }
}

/// Writes the records.
///
/// # Errors
/// [`Failure`], when the ledger cannot be read or the file not written; a file that was begun is taken away.
pub async fn run(options: Options) -> Result<(), Failure> {
    let url = the_ledger(&options.ledger)?;
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let ledger = Ledger::open_to_read(&url).await.map_err(|error| failed(&error))?;
    let Some(path) = &options.to else {
        let said = write(&ledger, &options, BufWriter::new(std::io::stdout().lock())).await;
        ledger.close().await;
        return said;
    };
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Failure::Usage(format!(
                "{} is there already: name a file that is not",
                path.display()
            )),
            _ => Failure::Failed(format!("writing {} failed: {error}", path.display())),
        })?;
    let said = write(&ledger, &options, BufWriter::new(file)).await;
    ledger.close().await;
    if said.is_err() {
        let _ = std::fs::remove_file(path);
    }
    said
}

async fn write(ledger: &Ledger, options: &Options, to: impl Write) -> Result<(), Failure> {
    let midnight = |day: jiff::civil::Date| {
        day.to_zoned(jiff::tz::TimeZone::UTC)
            .map(|zoned| zoned.timestamp())
            .map_err(|error| Failure::Usage(format!("{day} is no day of an export: {error}")))
    };
    let from = options.from.map(midnight).transpose()?;
    let before = options.before.map(midnight).transpose()?;
    let is_wanted = |row: &LedgerRow| {
        let record = &row.record;
        options.tenant.as_ref().is_none_or(|tenant| *tenant == record.tenant)
            // A record of no time is of its instant.
            && from.is_none_or(|from| record.end > from || record.start >= from)
            && before.is_none_or(|before| record.start < before)
    };
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let head = ledger.head().await.map_err(|error| failed(&error))?;
    let mut writer = Writer::new(options.form, to);
    let written = ledger
        .for_each_row(head.seq, |row| {
            if is_wanted(&row) {
                writer.write(&Flat::from(row))
            } else {
                Ok(())
            }
        })
        .await
        .map_err(|error| failed(&error))?;
    match written.and_then(|()| writer.finish()) {
        // Who reads our standard output has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Failed(format!("writing the records failed: {error}"))),
        Ok(()) => Ok(()),
    }
}

enum Writer<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Jsonl(W),
}

impl<W: Write> Writer<W> {
    fn new(form: Form, to: W) -> Self {
        match form {
            Form::Csv => Self::Csv(Box::new(csv::Writer::from_writer(to))),
            Form::Jsonl => Self::Jsonl(to),
        }
    }

    fn write(&mut self, row: &Flat) -> std::io::Result<()> {
        match self {
            Self::Csv(csv) => csv.serialize(row).map_err(|error| match error.into_kind() {
                csv::ErrorKind::Io(error) => error,
                other => std::io::Error::other(format!("{other:?}")),
            }),
            Self::Jsonl(to) => {
                serde_json::to_writer(&mut *to, row)?;
                to.write_all(b"\n")
            }
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Csv(mut csv) => csv.flush(),
            Self::Jsonl(mut to) => to.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, Timestamp};
    use mesocentre_api::Meter;
    use mesocentre_metering::{Activity, LedgerUrl, RecordKey, UsageRecord};
    use std::collections::BTreeMap;

    fn record(key: &str, tenant: &str, start: &str) -> UsageRecord {
        let start: Timestamp = start.parse().unwrap();
        UsageRecord {
            key: RecordKey {
                source: "slurm".into(),
                cluster: "austral".into(),
                native_key: key.into(),
                meter: Meter::ComputeCoreHours,
                revision: 0,
            },
            tenant: tenant.into(),
            allocation: None,
            user: Some("alice".into()),
            activity: Activity::NonEconomic,
            activity_reason: "category \"University\", by its name".into(),
            quantity: 7_200,
            start,
            end: start + SignedDuration::from_hours(1),
            evidence: BTreeMap::from([("state".into(), "COMPLETED".into())]),
        }
    }

    #[tokio::test]
    async fn the_records_are_written_in_the_ledgers_order_and_its_last_hash_is_the_head() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("sqlite://{}/ledger.db", folder.path().display());
        let url: LedgerUrl = address.parse().unwrap();
        let ledger = Ledger::open(&url).await.unwrap();
        let records = [
            record("1", "univ-caen", "2026-11-30T23:30:00Z"),
            record("2", "nova", "2026-11-10T10:00:00Z"),
            record("3", "univ-caen", "2026-11-10T10:00:00Z"),
        ];
        ledger.append(&records, records[0].start).await.unwrap();
        let head = ledger.head().await.unwrap();
        ledger.close().await;

        let mut number = 0;
        let mut export = async |form, tenant: Option<&str>, from: Option<&str>, before: Option<&str>| {
            number += 1;
            let to = folder.path().join(format!("export-{number}"));
            let options = Options {
                ledger: address.clone(),
                form,
                tenant: tenant.map(str::to_owned),
                from: from.map(|day| day.parse().unwrap()),
                before: before.map(|day| day.parse().unwrap()),
                to: Some(to.clone()),
            };
            run(options).await.unwrap();
            std::fs::read_to_string(to).unwrap()
        };
        let csv = export(Form::Csv, None, None, None).await;
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 3);
        let keys: Vec<&str> = rows.iter().map(|row| row["native_key"].as_str()).collect();
        assert_eq!(keys, ["1", "2", "3"]);
        assert_eq!(rows[2]["hash"], head.hash.to_string());
        assert_eq!(
            (rows[0]["quantity"].as_str(), rows[0]["unit"].as_str()),
            ("7200", "core_seconds")
        );
        assert_eq!(rows[0]["activity_reason"], "category \"University\", by its name");
        assert!(!csv.contains("alice"), "a person is a pseudonym");

        let theirs = export(Form::Jsonl, Some("univ-caen"), None, None).await;
        assert_eq!(theirs.lines().count(), 2);
        // Half an hour of the first is in December.
        let december = export(Form::Jsonl, None, Some("2026-12-01"), None).await;
        assert!(
            december.contains("\"seq\":1,") && december.lines().count() == 1,
            "{december}"
        );
        let november = export(Form::Jsonl, None, None, Some("2026-11-30")).await;
        assert_eq!(november.lines().count(), 2);

        let there = Options {
            ledger: address.clone(),
            form: Form::Csv,
            tenant: None,
            from: None,
            before: None,
            to: Some(folder.path().join("export-1")),
        };
        assert_eq!(run(there).await.unwrap_err().code(), 2);
    }
}
