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
