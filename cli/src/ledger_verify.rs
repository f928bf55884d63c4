//! `meso ledger verify`: reads the ledger itself and asks nobody.

use crate::failure::Failure;
use crate::output::{self, Format, FormatArgument, machine_readable};
use clap::Args;
use mesocentre_metering::LedgerUrl;

/// What `ledger verify` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The ledger, for example sqlite:///var/lib/mesocentre/ledger.db
    #[arg(long, env = "MESO_LEDGER_URL", value_name = "URL")]
    ledger: String,
    #[command(flatten)]
    format: FormatArgument,
}

/// What was found, for programs.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    ledger: String,
    intact: bool,
    records: i64,
    closed_months: i64,
    head: String,
    faults: Vec<String>,
}

/// Verifies the ledger.
///
/// # Errors
/// Exit code 1 when anything is not as it was written; [`Failure`] when there is no ledger to read.
pub async fn run(options: Options) -> Result<(), Failure> {
    let url: LedgerUrl = options
        .ledger
        .parse()
        .map_err(|error: mesocentre_metering::ledger::LedgerUrlError| Failure::Usage(error.to_string()))?;
    if !url.path().exists() {
        return Err(Failure::NotFound(format!(
            "there is no ledger {}: name the operator's with --ledger or MESO_LEDGER_URL, on the machine that has its file",
            url.path().display()
        )));
    }
    let verification = mesocentre_metering::verify(&url)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let found = Found {
        ledger: url.to_string(),
        intact: verification.is_intact(),
        records: verification.records,
        closed_months: verification.closed_months,
        head: format!("{} {}", verification.head.seq, verification.head.hash),
        faults: verification.faults.iter().map(ToString::to_string).collect(),
    };
    let text = match options.format.format {
        Format::Table => in_words(&found),
        format => machine_readable(format, &found)?.unwrap_or_default(),
    };
    output::print(&text)?;
    if found.intact {
        Ok(())
    } else {
        Err(Failure::Exit(1))
    }
}

fn in_words(found: &Found) -> String {
    let mut text = format!(
        "Ledger   {}\nRecords  {}\nClosed   {} months\nHead     {}\n",
        found.ledger, found.records, found.closed_months, found.head
    );
    for fault in &found.faults {
        text.push_str(&format!("WRONG    {fault}\n"));
    }
    text.push_str(if found.intact {
        "OK: every record is as it was written.\n"
    } else {
        "Not intact: bill nothing from it before it is restored from a backup.\n"
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, Timestamp};
    use mesocentre_api::Meter;
    use mesocentre_metering::{Activity, Ledger, RecordKey, UsageRecord};
    use std::collections::BTreeMap;
    use std::path::Path;

    async fn ledger_with_a_record(path: &Path) {
        let url: LedgerUrl = format!("sqlite://{}", path.display()).parse().unwrap();
        let ledger = Ledger::open(&url).await.unwrap();
        let start: Timestamp = "2026-11-02T00:00:00Z".parse().unwrap();
        let record = UsageRecord {
            key: RecordKey {
                source: "slurm".into(),
                cluster: "austral".into(),
                native_key: "42".into(),
                meter: Meter::ComputeCoreHours,
                revision: 0,
            },
            tenant: "univ-caen".into(),
            allocation: Some("climate-2026".into()),
            user: Some("alice".into()),
            activity: Activity::NonEconomic,
            activity_reason: "category University".into(),
            quantity: 14,
            start,
            end: start + SignedDuration::from_secs(7),
            evidence: BTreeMap::new(),
        };
        ledger.append(&[record], start).await.unwrap();
        ledger.close().await;
    }

    async fn verified(path: &Path) -> Result<(), Failure> {
        run(Options {
            ledger: format!("sqlite://{}", path.display()),
            format: FormatArgument { format: Format::Json },
        })
        .await
    }

    #[tokio::test]
    async fn a_byte_changed_behind_the_ledgers_back_ends_with_1() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        ledger_with_a_record(&path).await;
        verified(&path).await.unwrap();

        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes
            .windows(12)
            .position(|window| window == b"climate-2026")
            .unwrap();
        bytes[at + 11] = b'5';
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(verified(&path).await.unwrap_err().code(), 1);
    }

    #[tokio::test]
    async fn a_ledger_that_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        assert_eq!(verified(&path).await.unwrap_err().code(), 4);
        assert!(!path.exists());
    }
}
