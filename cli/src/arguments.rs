//! The command line. What a command takes stands in the command's own file.

use crate::connection::Place;
use crate::failure::EXIT_CODES;
use crate::template::TemplateCommand;
use crate::{
    allocations, billing_simulate, cancel, ceiling, completion, efficiency, extend, history, hold, invoice,
    ledger_checkpoint, ledger_copy, ledger_export, ledger_proof, ledger_verify, logs, notice, perimeter,
    queue, show, statement, submit, top,
};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::Path;

/// Batch jobs, allocations and bills of Mesocentre, as the user of your kubeconfig.
#[derive(Debug, Parser)]
#[command(name = "meso", version, after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What stands before the command.
    #[command(flatten)]
    pub place: Place,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Submit a batch script, as sbatch does
    Submit(Box<submit::Options>),
    /// Scripts with parameters, for `submit --template`
    #[command(subcommand)]
    Template(TemplateCommand),
    /// List your jobs, as squeue does
    Queue(queue::Options),
    /// Show who holds how many cores now, and the largest jobs
    Top(top::Options),
    /// List jobs that have ended, as sacct does
    History(history::Options),
    /// Show everything that is known of a job
    Show(show::Options),
    /// Print a job's output
    Logs(logs::Options),
    /// Cancel jobs, as scancel does
    Cancel(cancel::Options),
    /// Keep jobs from starting while they wait, as scontrol uhold does
    Hold(hold::Options),
    /// Let held jobs start, as scontrol release does
    Release(hold::Options),
    /// Give jobs another time limit, as scontrol update TimeLimit does
    Extend(extend::Options),
    /// Show what ended jobs made of their cores and memory, as seff does
    Efficiency(efficiency::Options),
    /// List the hours granted, used and left
    Allocations(allocations::Options),
    /// Print how an allocation's hours stand as a message that is ready to mail
    Notice(notice::Options),
    /// Show what a tenant owes for a month (décompte)
    Statement(statement::Options),
    /// A tenant's invoices, credit notes and calls for funds (factures, avoirs, appels de fonds)
    #[command(subcommand)]
    Invoice(InvoiceCommand),
    /// Show how much of a year's capacity goes to economic use (plafond d'usage économique)
    Ceiling(ceiling::Options),
    /// What other prices and keys would do
    #[command(subcommand)]
    Billing(BillingCommand),
    /// Prove the ledger
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Prove that a tenant's perimeter holds
    #[command(subcommand)]
    Perimeter(PerimeterCommand),
    /// Print the shell's completion script
    Completion(completion::Options),
}

/// What to do with invoices.
#[derive(Debug, Subcommand)]
pub enum InvoiceCommand {
    /// List them, with what is owed
    List(invoice::ListOptions),
    /// Show one
    Show(invoice::ShowOptions),
    /// Write the PDF, with the XML inside (Factur-X)
    Pdf(invoice::DocumentOptions),
    /// Write the XML (EN 16931)
    Xml(invoice::DocumentOptions),
}

/// What to do with billing as a whole.
#[derive(Debug, Subcommand)]
pub enum BillingCommand {
    /// Compare a month with what it would come to by other tariffs or keys (simulation)
    Simulate(billing_simulate::Options),
}

/// What to do with the ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Find every row that was changed, removed or moved
    Verify(ledger_verify::Options),
    /// Sign what it is now, in a few lines that partners keep
    Checkpoint(ledger_checkpoint::CheckpointOptions),
    /// Cosign a checkpoint, when nothing before the one that you kept has changed
    Cosign(ledger_checkpoint::CosignOptions),
    /// Print the public half of a key that signs checkpoints; make the key where there is none
    Key(ledger_checkpoint::KeyOptions),
    /// Prove that single records are in it, for who keeps a checkpoint
    Prove(ledger_proof::ProveOptions),
    /// Check such a proof by a checkpoint, with no ledger at hand
    CheckProof(ledger_proof::CheckOptions),
    /// Write its records out, as CSV, JSON lines or Parquet
    Export(ledger_export::Options),
    /// Copy it as it is at this moment, whoever writes to it, into a new file or an empty database; and verify the copy
    Backup(ledger_copy::CopyOptions),
    /// Move it into another database, to go on with there: from SQLite to PostgreSQL or back, every hash as it is
    Migrate(ledger_copy::CopyOptions),
}

/// What to do with a perimeter's report.
#[derive(Debug, Subcommand)]
pub enum PerimeterCommand {
    /// Show each rule, what enforces it, and the evidence; 0 only when all are in force
    Verify(perimeter::VerifyOptions),
    /// Check a document that was kept, without asking anybody
    Check(perimeter::CheckOptions),
}

/// Reads the command line, and says how the program was called: `meso` or `kubectl meso`. Ends the process with 2 when
/// the line cannot be understood.
pub fn parse() -> (Cli, &'static str) {
    let called = std::env::args_os().next().unwrap_or_default();
    let is_plugin = Path::new(&called)
        .file_stem()
        .is_some_and(|name| name == "kubectl-meso" || name == "kubectl_meso");
    let name = if is_plugin { "kubectl meso" } else { "meso" };
    let mut command = Cli::command().bin_name(name).mut_subcommand("submit", |submit| {
        submit.override_usage(format!("{name} submit [OPTIONS] [SCRIPT [ARGUMENTS]...]"))
    });
    let matches = command.clone().get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => (cli, name),
        Err(error) => error.format(&mut command).exit(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submitted(line: &[&str]) -> submit::Options {
        match Cli::try_parse_from(line).map(|cli| cli.command) {
            Ok(Command::Submit(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_two_options_share_a_letter() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_stands_after_the_script_is_the_scripts_own() {
        let options = submitted(&[
            "meso", "submit", "-n4", "-o", "out", "pi.sh", "-n", "5", "--wait", "-o", "x",
        ]);
        assert_eq!(
            options.script_and_arguments,
            ["pi.sh", "-n", "5", "--wait", "-o", "x"]
        );
        assert!(!options.wait);
    }

    #[test]
    fn the_namespace_may_stand_before_or_after_the_command() {
        for line in [
            ["meso", "-n", "a--b", "show", "pi"],
            ["meso", "show", "-n", "a--b", "pi"],
            ["meso", "show", "pi", "--namespace", "a--b"],
        ] {
            assert!(Cli::try_parse_from(line).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn the_help_ends_with_the_exit_codes() {
        let help = Cli::command().render_help().to_string();
        assert!(
            help.trim_end().ends_with(EXIT_CODES.lines().last().unwrap()),
            "{help}"
        );
    }
}
