//! `meso ledger export`: the records themselves, for a spreadsheet, a warehouse, or a program that checks ours.

use crate::failure::Failure;
use crate::ledger_parquet::ParquetWriter;
use crate::ledger_verify::the_ledger;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use mesocentre_metering::ledger::LedgerRow;
use mesocentre_metering::{Digest, Ledger, base_unit};
use serde::{Serialize, Serializer};
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;

/// What `ledger export` takes.
#[derive(Args, Debug)]
#[command(
    after_help = "A row for each usage record, in the ledger's order: quantities in base units (whole numbers), times in UTC, persons by their pseudonyms. Of a key with several revisions the latest counts. The last row's hash is the ledger's head. In Parquet quantities are DECIMAL(38, 0), times TIMESTAMP to the nanosecond, and what is empty is null."
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
    /// Apache Parquet, compressed by Snappy
    Parquet,
}

fn as_string<S: Serializer>(n: &i128, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(n)
}

/// A record, flat: the names of the columns, in each form the same.
#[derive(Serialize)]
pub struct Flat {
    pub seq: i64,
    pub source: String,
    pub cluster: String,
    pub native_key: String,
    pub meter: &'static str,
    pub revision: u32,
    pub tenant: String,
    /// Empty of use that belongs to none.
    pub allocation: String,
    /// A pseudonym; empty of use that is nobody's.
    pub person: String,
    pub activity: &'static str,
    pub activity_reason: String,
    #[serde(serialize_with = "as_string")]
    pub quantity: i128,
    pub unit: &'static str,
    pub start: Timestamp,
    pub end: Timestamp,
    pub evidence: String,
    pub received: Timestamp,
    pub hash: Digest,
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
            quantity: record.quantity,
            unit: base_unit(record.key.meter),
            start: record.start,
            end: record.end,
            evidence: serde_json::to_string(&record.evidence).unwrap_or_default(),
            received: row.received,
            hash: row.hash,
        }
    }
}

/// Writes the records.
///
/// # Errors
/// [`Failure`], when the ledger cannot be read or the file not written; a file that was begun is taken away.
pub async fn run(options: Options) -> Result<(), Failure> {
    if options.form == Form::Parquet && options.to.is_none() && std::io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "Parquet is not for a terminal: name a file with --to, or write --form csv to read it here"
                .to_owned(),
        ));
    }
    let url = the_ledger(&options.ledger)?;
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let ledger = Ledger::open_to_read(&url).await.map_err(|error| failed(&error))?;
    let Some(path) = &options.to else {
        let said = write(&ledger, &options, BufWriter::new(std::io::stdout())).await;
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

async fn write(ledger: &Ledger, options: &Options, to: impl Write + Send) -> Result<(), Failure> {
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
    let mut writer = Writer::new(options.form, to)
        .map_err(|error| Failure::Failed(format!("writing the records failed: {error}")))?;
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

enum Writer<W: Write + Send> {
    Csv(Box<csv::Writer<W>>),
    Jsonl(W),
    Parquet(Box<ParquetWriter<W>>),
}

impl<W: Write + Send> Writer<W> {
    fn new(form: Form, to: W) -> std::io::Result<Self> {
        Ok(match form {
            Form::Csv => Self::Csv(Box::new(csv::Writer::from_writer(to))),
            Form::Jsonl => Self::Jsonl(to),
            Form::Parquet => Self::Parquet(Box::new(ParquetWriter::new(to)?)),
        })
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
            Self::Parquet(parquet) => parquet.write(row),
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Csv(mut csv) => csv.flush(),
            Self::Jsonl(mut to) => to.flush(),
            Self::Parquet(parquet) => parquet.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, Timestamp};
    use mesocentre_api::Meter;
    use mesocentre_metering::{Activity, LedgerUrl, RecordKey, UsageRecord};
    use parquet::data_type::Decimal;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::process::Command;

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

    /// Records of every shape that a ledger takes: much and nothing, long ago and far ahead, with and without a person.
    fn records_of_many_shapes() -> Vec<UsageRecord> {
        (0..250_i64)
            .map(|number| {
                let start =
                    Timestamp::from_nanosecond(i128::from(number - 125) * 73_000_000_123_456_789).unwrap();
                let seconds = number % 7 * 1_000;
                let power = u32::try_from(number % 31).unwrap();
                let base = record(&format!("{number}@é,\"'"), "univ-caen", "2026-11-10T10:00:00Z");
                UsageRecord {
                    key: RecordKey {
                        meter: Meter::ALL[usize::try_from(number).unwrap() % Meter::ALL.len()],
                        revision: u32::try_from(number % 3 * 2_000_000_000).unwrap_or(u32::MAX),
                        ..base.key
                    },
                    tenant: format!("tenant-{}", number % 11),
                    allocation: (number % 2 == 0).then(|| format!("allocation-{}", number % 5)),
                    user: (number % 3 == 0).then(|| format!("person-{}", number % 13)),
                    activity: if number % 4 == 0 {
                        Activity::Economic
                    } else {
                        Activity::NonEconomic
                    },
                    quantity: if seconds == 0 {
                        0
                    } else {
                        10_i128.pow(power) - i128::from(number % 2)
                    },
                    start,
                    end: start + SignedDuration::new(seconds, 1 - i32::from(seconds == 0)),
                    evidence: BTreeMap::from([(
                        "state".into(),
                        format!("line {number}\nand \"another\", ∞"),
                    )]),
                    ..base
                }
            })
            .collect()
    }

    /// A ledger of these, as CSV and as Parquet, in a folder.
    async fn exported(records: &[UsageRecord]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("sqlite://{}/ledger.db", folder.path().display());
        let ledger = Ledger::open(&address.parse().unwrap()).await.unwrap();
        let received = "2026-11-30T23:30:00.123456789Z".parse().unwrap();
        let appended = ledger.append(records, received).await.unwrap();
        assert_eq!(appended.quarantined, [], "all of them are in the ledger");
        ledger.close().await;
        for (form, name) in [(Form::Csv, "all.csv"), (Form::Parquet, "all.parquet")] {
            let options = Options {
                ledger: address.clone(),
                form,
                tenant: None,
                from: None,
                before: None,
                to: Some(folder.path().join(name)),
            };
            run(options).await.unwrap();
        }
        folder
    }

    type Rows = Vec<Vec<Option<String>>>;

    /// What a reader of Parquet must find by what the CSV says: times in nanoseconds, and null where it is empty.
    fn by_the_csv(folder: &Path) -> (Vec<String>, Rows) {
        let mut reader = csv::Reader::from_path(folder.join("all.csv")).unwrap();
        let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let value = |name: &str, text: &str| match name {
            _ if text.is_empty() => None,
            "start" | "end" | "received" => {
                Some(text.parse::<Timestamp>().unwrap().as_nanosecond().to_string())
            }
            _ => Some(text.to_owned()),
        };
        let rows = reader.records().map(Result::unwrap).map(|row| {
            let named = names.iter().zip(row.iter());
            named.map(|(name, text)| value(name, text)).collect()
        });
        let rows = rows.collect();
        (names, rows)
    }

    #[tokio::test]
    async fn parquet_says_row_by_row_what_the_csv_says() {
        let folder = exported(&records_of_many_shapes()).await;
        let (names, expected) = by_the_csv(folder.path());
        assert_eq!(expected.len(), 250);
        let file = std::fs::File::open(folder.path().join("all.parquet")).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        assert_eq!(reader.num_row_groups(), 3, "a group is written when it is full");
        let value = |field: &Field| match field {
            Field::Null => None,
            Field::Long(number) => Some(number.to_string()),
            Field::Str(text) => Some(text.clone()),
            Field::Decimal(Decimal::Bytes { value, .. }) => {
                Some(i128::from_be_bytes(value.data().try_into().unwrap()).to_string())
            }
            other => panic!("{other:?}"),
        };
        let mut found = Rows::new();
        for row in reader.get_row_iter(None).unwrap().map(Result::unwrap) {
            let theirs: Vec<&String> = row.get_column_iter().map(|(name, _)| name).collect();
            assert_eq!(theirs, names.iter().collect::<Vec<_>>());
            found.push(row.get_column_iter().map(|(_, field)| value(field)).collect());
        }
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn a_ledger_without_records_is_a_file_without_rows() {
        let folder = exported(&[]).await;
        let file = std::fs::File::open(folder.path().join("all.parquet")).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        assert_eq!(reader.get_row_iter(None).unwrap().count(), 0);
        assert_eq!(reader.metadata().file_metadata().schema_descr().num_columns(), 18);
    }

    /// Apache Arrow's C++, by its Python: another's reader altogether.
    #[tokio::test]
    #[ignore = "needs Python's pyarrow: cargo dev test runs it"]
    async fn pyarrow_reads_row_by_row_what_the_csv_says() {
        const READ: &str = r#"
import json, sys
import pyarrow as pa, pyarrow.parquet as pq
file = pq.ParquetFile(sys.argv[1])
print(json.dumps({field.name: str(field.type) for field in file.schema_arrow}))
for group in range(file.num_row_groups):
    table = file.read_row_group(group)
    columns = [c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in table.columns]
    for row in zip(*(column.to_pylist() for column in columns)):
        print(json.dumps([None if value is None else str(value) for value in row]))
"#;
        let python = std::env::var("MESO_FOCUS_VALIDATOR")
            .expect("MESO_FOCUS_VALIDATOR is set by `cargo dev test`: a Python that has pyarrow");
        let folder = exported(&records_of_many_shapes()).await;
        let (names, expected) = by_the_csv(folder.path());
        let output = Command::new(python)
            .args(["-c", READ])
            .arg(folder.path().join("all.parquet"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let said = String::from_utf8(output.stdout).unwrap();
        let mut lines = said.lines();
        let types: BTreeMap<String, String> = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(types.len(), names.len());
        for (name, kind) in [
            ("seq", "int64"),
            ("meter", "string"),
            ("revision", "int64"),
            ("quantity", "decimal128(38, 0)"),
            ("start", "timestamp[ns, tz=UTC]"),
            ("end", "timestamp[ns, tz=UTC]"),
            ("received", "timestamp[ns, tz=UTC]"),
            ("hash", "string"),
        ] {
            assert_eq!(types[name], kind, "{name}");
        }
        let found: Rows = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(found, expected);
    }
}
