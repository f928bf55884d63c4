//! What goes to standard output: tables for people, JSON and YAML for programs. The one place that knows serde_yaml.

use crate::failure::Failure;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// In which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs, and people.
    Yaml,
}

/// The form of the answer, among those that a command has.
#[derive(Args, Clone, Copy, Debug)]
pub struct FormatArgument<F = Format>
where
    F: ValueEnum + Default + Clone + Send + Sync + 'static,
{
    /// The form of the answer
    #[arg(
        short = 'o',
        long = "format",
        alias = "output",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub format: F,
}

/// The form of the answer of a submission, where -o is sbatch's.
#[derive(Args, Clone, Copy, Debug)]
pub struct FormatOfSubmission {
    /// The form of the answer (here -o and --output are sbatch's: the job's output file)
    #[arg(long = "format", value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Several objects, as kubectl prints them.
#[derive(Serialize)]
pub struct List<'a, K> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    items: &'a [K],
}

impl<'a, K: Serialize> List<'a, K> {
    /// A list of these.
    pub fn of(items: &'a [K]) -> Self {
        Self {
            api_version: "v1",
            kind: "List",
            items,
        }
    }
}

/// A value as JSON or YAML; none for a table, which the caller draws.
///
/// # Errors
/// [`Failure::Failed`], when it has no such form.
pub fn machine_readable<T: Serialize>(format: Format, value: &T) -> Result<Option<String>, Failure> {
    let wrong =
        |error: &dyn std::fmt::Display| Failure::Failed(format!("writing the answer failed: {error}"));
    Ok(match format {
        Format::Table => None,
        Format::Json => Some(serde_json::to_string_pretty(value).map_err(|error| wrong(&error))? + "\n"),
        Format::Yaml => Some(serde_yaml::to_string(value).map_err(|error| wrong(&error))?),
    })
}

/// Writes to standard output. A reader that has seen enough (`meso queue | head`) is no failure.
///
/// # Errors
/// [`Failure::Failed`], for anything else, a full disk for example.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes()).map(drop)
}

/// As [`print`]; false when nobody reads any more.
///
/// # Errors
/// As [`print`].
pub fn print_bytes(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Failed(format!(
            "writing to standard output failed: {error}"
        ))),
    }
}

/// Columns of the terminal; none where standard output is none.
pub fn terminal_width() -> Option<usize> {
    std::io::stdout()
        .is_terminal()
        .then(terminal_size::terminal_size)
        .flatten()
        .map(|(terminal_size::Width(columns), _)| usize::from(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_objects_are_a_list_as_kubectls() {
        let json = machine_readable(Format::Json, &List::of(&["a"]))
            .unwrap()
            .unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json).unwrap(),
            serde_json::json!({"apiVersion": "v1", "kind": "List", "items": ["a"]})
        );
        let yaml = machine_readable(Format::Yaml, &List::of(&["a"]))
            .unwrap()
            .unwrap();
        assert_eq!(yaml, "apiVersion: v1\nkind: List\nitems:\n- a\n");
        assert_eq!(machine_readable(Format::Table, &1).unwrap(), None);
    }
}
