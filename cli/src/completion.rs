//! `meso completion bash|zsh|fish`.

use crate::arguments::Cli;
use crate::failure::Failure;
use crate::output;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// What `completion` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The shell; for bash, write `source <(meso completion bash)` into ~/.bashrc
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// [`Failure::Failed`], when it cannot be written.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "meso", &mut script);
    output::print_bytes(&script).map(drop)
}
