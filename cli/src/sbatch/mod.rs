//! sbatch's command line, turned into a batch job: pure, text in and values out.
//!
//! | file | what |
//! | --- | --- |
//! | `time.rs`, `memory.rs`, `array.rs`, `dependency.rs`, `gpus.rs`, `export.rs` | an option's value, by the rules of `sbatch(1)` |
//! | `passed_on.rs` | options that have no field: they go into the script as `#SBATCH` lines |
//! | `script.rs` | reading a script's header, and adding lines to it |

pub mod array;
pub mod dependency;
pub mod export;
pub mod gpus;
pub mod memory;
pub mod passed_on;
pub mod script;
pub mod secret;
pub mod time;

/// An option's value that cannot be read, with what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// A number of sbatch's, from 1.
fn count(text: &str) -> Option<i64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|n| is_digits && *n > 0)
}

/// What an option becomes: a field of the job where the API can say it, else sbatch's own line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<T> {
    /// The field's value.
    Field(T),
    /// Only sbatch can say it: the value of the `#SBATCH` line.
    Line(String),
}

/// A number that sbatch also takes in other forms (`--nodes=2-4`, `--ntasks`): those are its own to read.
pub fn number(text: &str) -> Said<i64> {
    count(text).map_or_else(|| Said::Line(text.to_owned()), Said::Field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_number_is_a_field_and_a_range_is_sbatchs_own() {
        assert_eq!(number("4"), Said::Field(4));
        for text in ["2-4", "0", "+3", "-1", "1k", ""] {
            assert_eq!(number(text), Said::Line(text.to_owned()));
        }
    }
}
