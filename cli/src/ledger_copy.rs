//! `meso ledger backup` and `meso ledger migrate`: the whole ledger, with its hashes, into another database.

use crate::failure::Failure;
use crate::ledger_verify::the_ledger;
use crate::output;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use mesocentre_metering::ledger::{Copied, CopyPurpose, LedgerUrlError, copy, verify};
use mesocentre_metering::{Ledger, LedgerUrl};
use std::time::Duration;

/// What `ledger backup` and `ledger migrate` take.
#[derive(Args, Debug)]
pub struct CopyOptions {
    /// The ledger, for example sqlite:///var/lib/mesocentre/ledger.db or postgresql://USER@HOST/DATABASE
    #[arg(long, env = "MESO_LEDGER_URL", value_name = "URL", hide_env_values = true)]
    ledger: String,
    /// The new one: a file that is not there yet, or an empty database; a password is better in PGPASSWORD
    #[arg(long, value_name = "URL")]
    to: String,
}

/// Copies the ledger as it is at one moment, whoever writes to it, and verifies the copy.
///
/// # Errors
/// [`Failure`]; then the copy is not to be used, or was not made.
pub async fn backup(options: CopyOptions) -> Result<(), Failure> {
    carry(options, CopyPurpose::Backup).await
}

/// Copies the ledger to go on with in its place: nobody may write to the source any more.
///
/// # Errors
/// [`Failure`]; then the source is what it was, and the one to go on with.
pub async fn migrate(options: CopyOptions) -> Result<(), Failure> {
    carry(options, CopyPurpose::Move).await
}

async fn carry(options: CopyOptions, purpose: CopyPurpose) -> Result<(), Failure> {
    let from = the_ledger(&options.ledger)?;
    let to: LedgerUrl = options
        .to
        .parse()
        .map_err(|error: LedgerUrlError| Failure::Usage(error.to_string()))?;
    if let Some(file) = to.file()
        && file.exists()
    {
        return Err(Failure::Usage(format!(
            "{} is there already: name a file that is not, since a ledger is copied to a new one",
            file.display()
        )));
    }
    let said = made(&from, &to, purpose).await;
    if said.is_err()
        && let Some(file) = to.file()
    {
        // It was not there before, and is no ledger.
        for left in ["", "-wal", "-shm", ".head"] {
            let _ = std::fs::remove_file(format!("{}{left}", file.display()));
        }
    }
    let (copied, root) = said?;
    let rows: u64 = copied.rows.iter().map(|(_, count)| count).sum();
    let mut text = format!(
        "From     {from}\nTo       {to}\nRecords  {}\nRows     {rows} in all tables\nHead     {} {}\nRoot     {root}\n",
        copied.head.seq, copied.head.seq, copied.head.hash
    );
    text.push_str(match purpose {
        CopyPurpose::Backup => "OK: every record of the copy is as it was written.\n",
        CopyPurpose::Move => {
            "OK: every record of the new ledger is as it was written. Start the operator with it (MESO_LEDGER_URL), and put the old one away: what is written to that one from now on is in no bill.\n"
        }
    });
    output::print(&text)
}

async fn made(from: &LedgerUrl, to: &LedgerUrl, purpose: CopyPurpose) -> Result<(Copied, String), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let source = Ledger::open_to_read(from).await.map_err(|error| failed(&error))?;
    let target = Ledger::open(to).await.map_err(|error| failed(&error))?;
    let progress = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(100));
    let copied = copy(&source, &target, purpose, |table, count| {
        progress.set_message(format!("{table}: {count}"));
    })
    .await;
    source.close().await;
    target.close().await;
    let copied = copied.map_err(|error| failed(&error))?;
    progress.set_message("verifying the copy");
    let found = verify(to).await.map_err(|error| failed(&error))?;
    progress.finish_and_clear();
    if let Some(fault) = found.faults.first() {
        return Err(Failure::Failed(format!(
            "the ledger was copied as it is, and it is not intact: {fault}. Run `meso ledger verify` on {from}"
        )));
    }
    Ok((copied, found.root.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(from: &str, to: &str) -> CopyOptions {
        CopyOptions {
            ledger: from.to_owned(),
            to: to.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_copy_takes_the_place_of_nothing_and_leaves_nothing_half_made() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("sqlite://{}/{name}", folder.path().display());
        let ledger = Ledger::open(&at("ledger.db").parse().unwrap()).await.unwrap();
        ledger.close().await;

        backup(options(&at("ledger.db"), &at("copy.db"))).await.unwrap();
        let again = backup(options(&at("ledger.db"), &at("copy.db")))
            .await
            .unwrap_err();
        assert_eq!(again.code(), 2, "{again}");
        let itself = migrate(options(&at("ledger.db"), &at("ledger.db")))
            .await
            .unwrap_err();
        assert_eq!(itself.code(), 2, "{itself}");
        let none = backup(options(&at("none.db"), &at("other.db")))
            .await
            .unwrap_err();
        assert_eq!(none.code(), 4, "{none}");
        assert!(!folder.path().join("other.db").exists());

        // What cannot be read leaves no copy behind.
        std::fs::write(folder.path().join("broken.db"), "no database").unwrap();
        let broken = migrate(options(&at("broken.db"), &at("other.db")))
            .await
            .unwrap_err();
        assert_eq!(broken.code(), 1, "{broken}");
        assert!(!folder.path().join("other.db").exists());
    }
}
