//! What a command could not do: a sentence for the terminal, and the exit code that a script can act on.

use std::process::ExitCode;

/// Exit codes, for the end of `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  what was asked for failed
  2  the command line, the script or the kubeconfig cannot be understood
  3  refused: by the API server's rights, or by its rules
  4  not found
  5  the API server cannot be reached, or does not answer
With `submit --wait` it is the job's own, as sbatch gives it: of an array the highest, and 1
where a signal, a limit or a cancellation ended it. So a 3 may be the job's and no refusal: a
code is meso's own when a line on standard error begins with `meso:`.";

/// Why a command ends without having done its work. Each carries a sentence for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was tried and did not succeed.
    #[error("{0}")]
    Failed(String),
    /// It cannot be understood.
    #[error("{0}")]
    Usage(String),
    /// The API server said no.
    #[error("{0}")]
    Refused(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The API server does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// Everything was said already: only the code is left to give.
    #[error("exit code {0}")]
    Exit(u8),
}

impl Failure {
    /// The process's exit code, as [`EXIT_CODES`] tells it.
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::NotFound(_) => 4,
            Self::Unreachable(_) => 5,
            Self::Exit(code) => *code,
        }
    }

    /// Says it on standard error, and gives the code.
    pub fn report(&self) -> ExitCode {
        if !matches!(self, Self::Exit(_)) {
            eprintln!("meso: {self}");
        }
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_the_exit_code_that_the_help_promises() {
        let sentence = || "x".to_owned();
        for (failure, code) in [
            (Failure::Failed(sentence()), 1),
            (Failure::Usage(sentence()), 2),
            (Failure::Refused(sentence()), 3),
            (Failure::NotFound(sentence()), 4),
            (Failure::Unreachable(sentence()), 5),
            (Failure::Exit(42), 42),
        ] {
            assert_eq!(failure.code(), code);
            if code != 42 {
                assert!(EXIT_CODES.contains(&format!("\n  {code}  ")));
            }
        }
    }
}
