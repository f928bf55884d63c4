//! A job's output, read where Slurm wrote it, as the person who reads it: what they may not read stays unread.
//!
//! One fixed text for `sh`, to which the file and the place in it are arguments, run as the reader: by `setpriv` on this
//! machine and where we log in as root, else by `sudo`.

use super::command::{Place, Programs, within};
use super::posix_account::{NoAccount, PosixAccount};
use super::{Slurm, SlurmConfig};
use crate::{InvalidSubmission, SchedulerError, UserName};
use std::process::Output;

/// Reads a piece. Arguments: the file, the first byte, how many at most, and, where it is to begin so many lines before
/// the end, how many. Says how long the file is and where the piece begins, on a line of its own.
pub(super) const READ: &str = r#"if ! why=$(ls -dL -- "$1" 2>&1 >/dev/null)
then case $why in *"Permission denied"*) exit 83;; *) exit 81;; esac
fi
[ -f "$1" ] || exit 82
[ -r "$1" ] || exit 83
size=$(wc -c <"$1") || exit 83
from=$2
if [ -n "$4" ]
then from=$((size - $(tail -n "$4" -- "$1" | wc -c)))
fi
if [ "$from" -lt 0 ] || [ "$from" -gt "$size" ]
then from=0
fi
echo "$size $from"
tail -c "+$((from + 1))" -- "$1" | head -c "$3""#;

/// Its exit codes.
const NO_FILE: i32 = 81;
const NOT_REGULAR: i32 = 82;
const NOT_READABLE: i32 = 83;

/// Where a piece begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStart {
    /// At this byte, from 0; at the first when the file has become shorter.
    Byte(u64),
    /// So many lines before the end.
    LastLines(u64),
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPiece {
    /// How long the file is, in bytes.
    pub length: u64,
    /// The byte that the piece begins at.
    pub from: u64,
    /// The piece.
    pub bytes: Vec<u8>,
}

/// Why nothing is read. Each is the end of a sentence that names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// There is none.
    #[error("there is no such file")]
    NoFile,
    /// A pipe, a device or a directory.
    #[error("it is no regular file, so nothing is kept in it to read")]
    NotRegular,
    /// It is not the reader's to read.
    #[error("the posix account {0} may not read it")]
    NotReadable(UserName),
    /// Its name is not one that could be asked for.
    #[error("its name is not absolute")]
    NotAbsolute,
    /// The reader has no account there.
    #[error(transparent)]
    NoAccount(InvalidSubmission),
    /// The machine does not answer, or is not set up for it.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
}

/// The file of a task, from a path as [`Slurm::output_path`] gives it: `%a`, or `%4a` with leading zeros (`sbatch(1)`,
/// filename pattern), is the array's index. None when there is a `%a` and no task.
pub fn output_of_task(pattern: &str, task: Option<&str>) -> Option<String> {
    let mut path = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('%') {
        path.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (width, tail) = after.split_at(digits);
        if let Some(tail) = tail.strip_prefix('a') {
            let width = width.parse::<usize>().unwrap_or(0).min(10);
            path.push_str(&format!("{:0>width$}", task?));
            rest = tail;
        } else {
            path.push('%');
            rest = after;
        }
    }
    path.push_str(rest);
    Some(path)
}

impl Slurm {
    /// Reads a piece of a file on the scheduler's file system, as this person, of `most` bytes at most.
    ///
    /// # Errors
    /// [`OutputError`], the end of a sentence that names the file.
    pub async fn read_output(
        &self,
        reader: &UserName,
        file: &str,
        start: OutputStart,
        most: u64,
    ) -> Result<OutputPiece, OutputError> {
        if !file.starts_with('/') {
            return Err(OutputError::NotAbsolute);
        }
        let account = self
            .accounts
            .get(&self.place, &self.config, reader)
            .await
            .map_err(|error| match error {
                NoAccount::Invalid(invalid) => OutputError::NoAccount(invalid),
                NoAccount::Unknown(error) => OutputError::Scheduler(error),
            })?;
        let (from, lines) = match start {
            OutputStart::Byte(from) => (from.to_string(), String::new()),
            OutputStart::LastLines(lines) => ("0".to_owned(), lines.to_string()),
        };
        let arguments = [file, &from, &most.to_string(), &lines];
        let output = match &self.place {
            Place::Here(programs) => here(programs, &self.config, &account, arguments).await?,
            Place::LoginNode(login_node) => {
                login_node.read(&self.config, &account, reader, arguments).await?
            }
        };
        piece(&output, reader, file)
    }
}

async fn here(
    programs: &Programs,
    config: &SlurmConfig,
    account: &PosixAccount,
    arguments: [&str; 4],
) -> Result<Output, SchedulerError> {
    let mut command = programs.as_person(account);
    command
        .arg("LC_ALL=C")
        .arg(format!("PATH={}", config.path))
        .args(["sh", "-c", READ, "sh"])
        .args(arguments);
    within(config.answer_within, "sh", command.output()).await
}

/// What came of it. Pure.
fn piece(output: &Output, reader: &UserName, file: &str) -> Result<OutputPiece, OutputError> {
    match output.status.code() {
        Some(0) => {}
        Some(NO_FILE) => return Err(OutputError::NoFile),
        Some(NOT_REGULAR) => return Err(OutputError::NotRegular),
        Some(NOT_READABLE) => return Err(OutputError::NotReadable(reader.clone())),
        _ => {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(OutputError::Scheduler(SchedulerError::Refused {
                what: format!("read {file} as {reader}"),
                why: match why.trim() {
                    "" => format!("it ended by {}", output.status),
                    why => why.lines().collect::<Vec<_>>().join("; "),
                },
            }));
        }
    }
    let garbled = || SchedulerError::Garbled {
        command: "sh",
        why: "the line with the file's length is missing".to_owned(),
    };
    let end = output
        .stdout
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(garbled)?;
    let (line, rest) = output.stdout.split_at(end);
    let numbers = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.split_once(' '));
    let (length, from) = numbers
        .and_then(|(length, from)| Some((length.trim().parse().ok()?, from.trim().parse().ok()?)))
        .ok_or_else(garbled)?;
    Ok(OutputPiece {
        length,
        from,
        bytes: rest.get(1..).unwrap_or_default().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    fn read(file: &Path, from: &str, most: &str, lines: &str) -> Result<OutputPiece, OutputError> {
        let output = Command::new("sh")
            .args(["-c", READ, "sh"])
            .arg(file)
            .args([from, most, lines])
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        piece(
            &output,
            &UserName::new("alice").unwrap(),
            &file.display().to_string(),
        )
    }

    #[test]
    fn a_file_is_read_from_any_byte_and_from_its_last_lines_and_anew_when_it_has_become_shorter() {
        let folder = tempfile::tempdir().unwrap();
        // A name that a shell would read otherwise, and bytes that are no text.
        let file = folder.path().join("-o \"$(reboot)\"\n'%a.out");
        let written = b"one\ntwo\n\0\xff three\nno end".to_vec();
        std::fs::write(&file, &written).unwrap();
        let length = written.len() as u64;
        let piece = |from: u64, bytes: &[u8]| {
            Ok(OutputPiece {
                length,
                from,
                bytes: bytes.to_vec(),
            })
        };
        assert_eq!(read(&file, "0", "1000", ""), piece(0, &written));
        assert_eq!(read(&file, "4", "3", ""), piece(4, b"two"));
        assert_eq!(read(&file, &length.to_string(), "9", ""), piece(length, b""));
        assert_eq!(read(&file, "999", "3", ""), piece(0, b"one"));
        assert_eq!(read(&file, "0", "1000", "1"), piece(length - 6, b"no end"));
        assert_eq!(read(&file, "0", "1000", "2"), piece(8, &written[8..]));
        assert_eq!(read(&file, "0", "1000", "99"), piece(0, &written));
    }

    #[test]
    fn what_is_not_there_and_what_is_no_file_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there");
        assert_eq!(read(&there, "0", "9", ""), Err(OutputError::NoFile));
        assert_eq!(read(folder.path(), "0", "9", ""), Err(OutputError::NotRegular));
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // It is not waited for.
        assert_eq!(read(&pipe, "0", "9", ""), Err(OutputError::NotRegular));
    }

    #[test]
    fn a_tasks_file_is_found_by_its_index() {
        assert_eq!(
            output_of_task("/h/x-7_%a.out", Some("13")).as_deref(),
            Some("/h/x-7_13.out")
        );
        assert_eq!(
            output_of_task("/h/%4a.out", Some("13")).as_deref(),
            Some("/h/0013.out")
        );
        assert_eq!(output_of_task("/h/%a.out", None), None);
        assert_eq!(
            output_of_task("/h/100%.out", None).as_deref(),
            Some("/h/100%.out")
        );
        assert_eq!(
            output_of_task("/h/%N.out", Some("1")).as_deref(),
            Some("/h/%N.out")
        );
    }
}
