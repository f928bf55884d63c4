//! `meso`, the command line of Mesocentre; linked as `kubectl-meso` it is `kubectl meso`.
//!
//! It acts as the user, with nothing but a kubeconfig, and checks nothing that the API server checks. One file a
//! command; what is pure stands by itself (`sbatch/`, `table.rs`, `french_number.rs`, `api_answer.rs`, `elapsed.rs`,
//! `outlook.rs`).

mod allocations;
mod api_answer;
mod arguments;
mod batch_jobs;
mod billing_simulate;
mod cancel;
mod ceiling;
mod completion;
mod connection;
mod efficiency;
mod elapsed;
mod extend;
mod failure;
mod french_number;
mod history;
mod hold;
mod invoice;
mod ledger_checkpoint;
mod ledger_copy;
mod ledger_export;
mod ledger_parquet;
mod ledger_proof;
mod ledger_verify;
mod live;
mod logs;
mod notice;
mod outlook;
mod output;
mod perimeter;
mod perimeter_document;
mod pod_logs;
mod queue;
mod remote_output;
mod sbatch;
mod show;
mod statement;
mod statement_rows;
mod submit;
mod suspension;
mod table;
mod template;
mod top;
mod wait;
mod whose;

use arguments::{BillingCommand, Cli, Command, InvoiceCommand, LedgerCommand, PerimeterCommand};
use failure::Failure;
use invoice::DocumentForm;
use std::process::ExitCode;
use template::TemplateCommand;

fn main() -> ExitCode {
    let (cli, name) = arguments::parse();
    // One thread: a command makes a few requests and ends.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Failed(format!("starting failed: {error}")).report(),
    };
    match runtime.block_on(run(cli, name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli, name: &'static str) -> Result<(), Failure> {
    match cli.command {
        Command::Submit(options) => submit::run(*options, cli.place, name).await,
        Command::Template(TemplateCommand::List(options)) => template::list(options, cli.place).await,
        Command::Template(TemplateCommand::Show(options)) => template::show(options, cli.place).await,
        Command::Queue(options) => queue::run(options, cli.place).await,
        Command::Top(options) => top::run(options, cli.place).await,
        Command::History(options) => history::run(options, cli.place).await,
        Command::Show(options) => show::run(options, cli.place).await,
        Command::Logs(options) => logs::run(options, cli.place).await,
        Command::Cancel(options) => cancel::run(options, cli.place).await,
        Command::Hold(options) => hold::run(options, true, cli.place).await,
        Command::Release(options) => hold::run(options, false, cli.place).await,
        Command::Extend(options) => extend::run(options, cli.place).await,
        Command::Efficiency(options) => efficiency::run(options, cli.place).await,
        Command::Allocations(options) => allocations::run(options, cli.place).await,
        Command::Notice(options) => notice::run(options, cli.place).await,
        Command::Statement(options) => statement::run(options, cli.place).await,
        Command::Ceiling(options) => ceiling::run(options, cli.place).await,
        Command::Invoice(InvoiceCommand::List(options)) => invoice::list(options, cli.place).await,
        Command::Invoice(InvoiceCommand::Show(options)) => invoice::show(options, cli.place).await,
        Command::Invoice(InvoiceCommand::Pdf(options)) => {
            invoice::document(options, DocumentForm::Pdf, cli.place).await
        }
        Command::Invoice(InvoiceCommand::Xml(options)) => {
            invoice::document(options, DocumentForm::Xml, cli.place).await
        }
        Command::Billing(BillingCommand::Simulate(options)) => billing_simulate::run(options).await,
        Command::Ledger(LedgerCommand::Verify(options)) => ledger_verify::run(options).await,
        Command::Ledger(LedgerCommand::Checkpoint(options)) => ledger_checkpoint::checkpoint(options).await,
        Command::Ledger(LedgerCommand::Cosign(options)) => ledger_checkpoint::cosign(&options),
        Command::Ledger(LedgerCommand::Prove(options)) => ledger_proof::prove(options).await,
        Command::Ledger(LedgerCommand::CheckProof(options)) => ledger_proof::check(&options),
        Command::Ledger(LedgerCommand::Export(options)) => ledger_export::run(options).await,
        Command::Ledger(LedgerCommand::Backup(options)) => ledger_copy::backup(options).await,
        Command::Ledger(LedgerCommand::Migrate(options)) => ledger_copy::migrate(options).await,
        Command::Ledger(LedgerCommand::Key(options)) => ledger_checkpoint::key(&options),
        Command::Perimeter(PerimeterCommand::Verify(options)) => perimeter::verify(options, cli.place).await,
        Command::Perimeter(PerimeterCommand::Check(options)) => perimeter::check(options).await,
        Command::Completion(options) => completion::run(&options),
    }
}
