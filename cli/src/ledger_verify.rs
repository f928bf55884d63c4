//! `meso ledger verify`: reads the ledger itself and asks nobody.

use crate::failure::Failure;
use crate::ledger_checkpoint::signed;
use crate::output::{self, Format, FormatArgument, machine_readable};
use crate::table::on_one_line;
use clap::Args;
use mesocentre_metering::LedgerUrl;
use mesocentre_metering::checkpoint::Verifier;
use mesocentre_metering::ledger::{Expected, verify_against};
use std::path::PathBuf;

/// What `ledger verify` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The ledger, for example sqlite:///var/lib/mesocentre/ledger.db or postgresql://USER@HOST/DATABASE
    #[arg(long, env = "MESO_LEDGER_URL", value_name = "URL", hide_env_values = true)]
    ledger: String,
    /// A checkpoint that was kept: the ledger must be what it was then, with rows added; may be repeated
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Whose signature each of these must bear, as `ledger key` prints it
    #[arg(long, value_name = "KEY", requires = "checkpoint")]
    trust: Option<String>,
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
    root: String,
    /// Rows of each checkpoint that it was held against.
    checkpoints: Vec<u64>,
    faults: Vec<String>,
    quarantine: Quarantine,
}

/// What the ledger could not take, for programs.
#[derive(serde::Serialize)]
struct Quarantine {
    reports: i64,
    /// The newest few, the newest first.
    newest: Vec<Report>,
}

#[derive(serde::Serialize)]
struct Report {
    reason: String,
    message: String,
    /// Empty when it cannot be read any more.
    key: String,
}

/// Verifies the ledger.
///
/// # Errors
/// Exit code 1 when anything is not as it was written; [`Failure`] when there is no ledger to read.
pub async fn run(options: Options) -> Result<(), Failure> {
    let found = look_into(&options).await?;
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

/// A ledger that is there.
///
/// # Errors
/// [`Failure::Usage`] when the URL is none, [`Failure::NotFound`] when there is no ledger.
pub fn the_ledger(url: &str) -> Result<LedgerUrl, Failure> {
    let url: LedgerUrl = url
        .parse()
        .map_err(|error: mesocentre_metering::ledger::LedgerUrlError| Failure::Usage(error.to_string()))?;
    if let Some(file) = url.file()
        && !file.exists()
    {
        return Err(Failure::NotFound(format!(
            "there is no ledger {}: name the operator's with --ledger or MESO_LEDGER_URL, on the machine that has its file",
            file.display()
        )));
    }
    Ok(url)
}

async fn look_into(options: &Options) -> Result<Found, Failure> {
    let trusted = options.trust.as_deref().map(Verifier::parse).transpose();
    let trusted = trusted.map_err(|error| Failure::Usage(error.to_string()))?;
    let mut expected = Expected::default();
    for file in &options.checkpoint {
        let kept = signed(file)?;
        if let Some(trusted) = &trusted {
            kept.is_signed_by(trusted)
                .map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
        }
        expected.checkpoints.push(kept.checkpoint);
    }
    let url = the_ledger(&options.ledger)?;
    let verification = verify_against(&url, &expected)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(Found {
        ledger: url.to_string(),
        intact: verification.is_intact(),
        records: verification.records,
        closed_months: verification.closed_months,
        head: format!("{} {}", verification.head.seq, verification.head.hash),
        root: verification.root.to_string(),
        checkpoints: expected.checkpoints.iter().map(|kept| kept.size).collect(),
        faults: verification.faults.iter().map(ToString::to_string).collect(),
        quarantine: Quarantine {
            reports: verification.quarantined,
            newest: verification
                .newest_quarantined
                .into_iter()
                .map(|one| Report {
                    reason: one.reason,
                    message: one.message,
                    key: one.key.map(|key| key.to_string()).unwrap_or_default(),
                })
                .collect(),
        },
    })
}

fn in_words(found: &Found) -> String {
    let quarantine = &found.quarantine;
    let mut text = format!(
        "Ledger      {}\nRecords     {}\nClosed      {}\nHead        {}\nQuarantine  {}\n",
        found.ledger,
        found.records,
        counted(found.closed_months, "month"),
        found.head,
        counted(quarantine.reports, "report"),
    );
    for rows in &found.checkpoints {
        text.push_str(&format!("Checkpoint  of {rows} rows\n"));
    }
    for report in &quarantine.newest {
        // Most sentences name the key; what a source wrote must not steer the terminal.
        let key = match report.key.as_str() {
            key if key.is_empty() || report.message.contains(key) => String::new(),
            key => format!("{key}: "),
        };
        let line = format!("{}: {key}{}", report.reason, report.message);
        text.push_str(&format!("  {}\n", on_one_line(&line)));
    }
    let shown = i64::try_from(quarantine.newest.len()).unwrap_or(i64::MAX);
    if quarantine.reports > shown {
        text.push_str(&format!("  and {} older\n", quarantine.reports - shown));
    }
    for fault in &found.faults {
        text.push_str(&format!("WRONG       {}\n", on_one_line(fault)));
    }
    if quarantine.reports > 0 {
        text.push_str(
            "What is in quarantine is not billed. Mend its cause at the source before you close the month: what is then \
             reported anew, and fits, is taken by itself. A Conflict was taken before with another content, and is \
             billed as it was first reported. Nothing leaves the quarantine, so what is settled stays in this list.\n",
        );
    }
    text.push_str(if found.intact {
        "OK: every record is as it was written.\n"
    } else {
        "Not intact: bill nothing from it before it is restored from a backup.\n"
    });
    text
}

fn counted(count: i64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, Timestamp};
    use mesocentre_api::Meter;
    use mesocentre_metering::{Activity, Ledger, RecordKey, UsageRecord};
    use std::collections::BTreeMap;
    use std::path::Path;

    fn record(native_key: &str) -> UsageRecord {
        let start: Timestamp = "2026-11-02T00:00:00Z".parse().unwrap();
        UsageRecord {
            key: RecordKey {
                source: "slurm".into(),
                cluster: "austral".into(),
                native_key: native_key.into(),
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
        }
    }

    async fn ledger_with(path: &Path, records: &[UsageRecord]) {
        let url: LedgerUrl = at(path).parse().unwrap();
        let ledger = Ledger::open(&url).await.unwrap();
        ledger.append(records, records[0].start).await.unwrap();
        ledger.close().await;
    }

    fn at(path: &Path) -> String {
        format!("sqlite://{}", path.display())
    }

    fn options(path: &Path) -> Options {
        Options {
            ledger: at(path),
            checkpoint: Vec::new(),
            trust: None,
            format: FormatArgument { format: Format::Json },
        }
    }

    async fn verified(path: &Path) -> Result<(), Failure> {
        run(options(path)).await
    }

    #[tokio::test]
    async fn a_byte_changed_behind_the_ledgers_back_ends_with_1() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        ledger_with(&path, &[record("42")]).await;
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

    #[tokio::test]
    async fn what_is_in_quarantine_is_shown_and_leaves_the_ledger_intact() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let refused = (0..12).map(|i| UsageRecord {
            quantity: -1,
            ..record(&format!("taken-back-{i}"))
        });
        let unfit = UsageRecord {
            tenant: String::new(),
            ..record("of nobody")
        };
        let records: Vec<UsageRecord> = std::iter::once(record("42"))
            .chain(refused)
            .chain([unfit])
            .collect();
        ledger_with(&path, &records).await;
        verified(&path).await.unwrap();

        let found = look_into(&options(&path)).await.unwrap();
        let text = in_words(&found);
        for line in [
            "Quarantine  13 reports\n",
            "\n  Missing: the usage record slurm/austral/of nobody compute.core-hours revision 0 has no tenant",
            "\n  Negative: the usage record slurm/austral/taken-back-11 ",
            "\n  and 3 older\n",
            "Closed      0 months\n",
            "before you close the month",
            "OK: every record is as it was written.\n",
        ] {
            assert!(text.contains(line), "{line:?} in:\n{text}");
        }
        assert_eq!(text.matches("\n  Negative: ").count(), 9);

        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["quarantine"]["reports"], 13);
        assert_eq!(json["quarantine"]["newest"].as_array().unwrap().len(), 10);
        assert_eq!(json["quarantine"]["newest"][0]["reason"], "Missing");
        assert_eq!(
            json["quarantine"]["newest"][0]["key"],
            "slurm/austral/of nobody compute.core-hours revision 0"
        );
        assert_eq!(json["intact"], true);
    }

    #[test]
    fn one_of_a_thing_is_said_as_one() {
        assert_eq!(counted(1, "month"), "1 month");
        assert_eq!(counted(2, "report"), "2 reports");
        assert_eq!(counted(0, "report"), "0 reports");
    }
}
