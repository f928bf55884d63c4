//! `meso logs`: a job's output, read where the scheduler wrote it. That of a job that runs as pods is in `pod_logs.rs`.
//!
//! On a machine that shares the scheduler's file system the file is opened as the posix user who runs meso: what that user
//! may not read stays unread. Elsewhere the API server is asked (`remote_output.rs`); where its cluster does not serve
//! outputs, one sentence says where the file is.

use crate::batch_jobs::{get, phase};
use crate::connection::{Connection, Place};
use crate::failure::Failure;
use crate::output;
use crate::pod_logs;
use crate::remote_output;
use crate::wait::{changes, refusal};
use clap::Args;
use futures::StreamExt;
use kube::{Api, ResourceExt};
use mesocentre_api::output::no_output_yet;
use mesocentre_api::{BatchJob, BatchJobStatus};
use mesocentre_scheduler_bridge::slurm::output_of_task;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `logs` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The job's name, and of an array the task's index: sweep.13
    #[arg(value_name = "JOB[.TASK]")]
    job: String,
    /// Go on as the file grows, until the job has ended
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    #[command(flatten)]
    place: Place,
}

/// More than this is not poured over a terminal unasked.
pub const MOST_FOR_A_TERMINAL: u64 = 4 << 20;
const PIECE: usize = 64 << 10;

/// Prints the output.
///
/// # Errors
/// [`Failure::Failed`], when the file is not reachable from here; else as the API server answers.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.clone().or(before)).await?;
    let api: Api<BatchJob> = Api::namespaced(connection.client.clone(), connection.namespace()?);
    let doing = format!("reading the output of {}", options.job);
    let (mut job, task) = find(&api, &options.job, &doing).await?;
    let name = job.name_any();
    if options.follow && job_is_not_handed_over(&job) {
        job = handed_over(&api, job, &doing).await?;
    }
    if pod_logs::runs_as_pods(&job) {
        let pods = Api::namespaced(connection.client.clone(), connection.namespace()?);
        let wanted = pod_logs::Wanted {
            task,
            follow: options.follow,
            tail: options.tail,
        };
        return pod_logs::run(api, pods, job, &wanted).await;
    }
    let mut changes = changes(api, &name);
    let mut changes_go_on = options.follow;
    let mut reading: Option<Reading> = None;
    let mut poll = tokio::time::interval(Duration::from_millis(300));
    loop {
        // Decided before the file is read: what the job wrote until its end is then in what is read.
        let goes_on = options.follow && !phase(&job).is_finished();
        let path = output_file(&job, task.as_deref())?;
        match (&path, &mut reading) {
            (Some(path), None) => match Reading::open(path, options.tail, &job)? {
                Some(mut opened) => {
                    if !opened.print_new()? {
                        return Ok(());
                    }
                    reading = Some(opened);
                }
                None if goes_on && !has_started(&job) => {}
                // What it waits for says more than that there is no file.
                None if !has_started(&job) => return Err(not_reachable(path, &job)),
                None => {
                    let wanted = remote_output::Wanted {
                        task: task.clone(),
                        follow: options.follow,
                        tail: options.tail,
                    };
                    return match remote_output::run(&connection, job.clone(), &wanted).await? {
                        Some(()) => Ok(()),
                        None => Err(not_reachable(path, &job)),
                    };
                }
            },
            (_, Some(reading)) => {
                if !reading.print_new()? {
                    return Ok(());
                }
            }
            (None, None) if goes_on => {}
            (None, None) => return Err(Failure::Failed(no_output_yet(&job))),
        }
        if !goes_on {
            return Ok(());
        }
        tokio::select! {
            change = changes.next(), if changes_go_on => match change {
                Some(Ok(Some(changed))) => job = changed,
                Some(Ok(None)) => return Err(Failure::Failed(format!("{doing}: the job was deleted"))),
                // The file still grows, whatever the API server does.
                Some(Err(error)) => if let Some(failure) = refusal(&error, &doing) {
                    return Err(failure);
                },
                None => changes_go_on = false,
            },
            _ = poll.tick() => {}
        }
    }
}

/// Whether it is not known yet which scheduler has the job, so where its output will be.
fn job_is_not_handed_over(job: &BatchJob) -> bool {
    let scheduler = job.status.as_ref().and_then(|status| status.scheduler.as_ref());
    !phase(job).is_finished() && scheduler.is_none_or(|scheduler| scheduler.job_id.is_none())
}

/// The job, once a scheduler has it or it is over.
async fn handed_over(api: &Api<BatchJob>, mut job: BatchJob, doing: &str) -> Result<BatchJob, Failure> {
    while job_is_not_handed_over(&job) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        job = get(api, &job.name_any(), doing).await?;
    }
    Ok(job)
}

/// The job of this name, or the task of the job before the last dot: names may hold dots themselves.
async fn find(
    api: &Api<BatchJob>,
    written: &str,
    doing: &str,
) -> Result<(BatchJob, Option<String>), Failure> {
    match (get(api, written, doing).await, job_and_task(written)) {
        (Ok(job), _) => Ok((job, None)),
        (Err(Failure::NotFound(_)), Some((name, task))) => {
            Ok((get(api, name, doing).await?, Some(task.to_owned())))
        }
        (Err(failure), _) => Err(failure),
    }
}

fn job_and_task(written: &str) -> Option<(&str, &str)> {
    written.rsplit_once('.').filter(|(name, task)| {
        !name.is_empty() && !task.is_empty() && task.bytes().all(|b| b.is_ascii_digit())
    })
}

fn has_started(job: &BatchJob) -> bool {
    let started = job
        .status
        .as_ref()
        .is_some_and(|status| status.started_at.is_some());
    started || phase(job).is_finished()
}

/// Where the output is; none while nobody knows.
fn output_file(job: &BatchJob, task: Option<&str>) -> Result<Option<PathBuf>, Failure> {
    let Some(pattern) = job
        .status
        .as_ref()
        .and_then(|status| status.output_path.as_deref())
    else {
        return Ok(None);
    };
    let Some(path) = output_of_task(pattern, task) else {
        return Err(Failure::Usage(format!(
            "{name} is an array, and each task writes a file of its own: name the task, for example `meso logs {name}.1`",
            name = job.name_any()
        )));
    };
    Ok(Some(PathBuf::from(path)))
}

/// One sentence: where the file is, and why it is not read here.
fn not_reachable(path: &Path, job: &BatchJob) -> Failure {
    let status = job.status.clone().unwrap_or_default();
    Failure::Failed(if has_started(job) {
        format!(
            "the output of {} is the file {} of {}, which is not there on this machine, and this datacentre does not serve outputs through its API server: read it on a machine that shares that cluster's file system, for example its login node",
            job.name_any(),
            path.display(),
            cluster(&status)
        )
    } else {
        no_output_yet(job)
    })
}

fn cluster(status: &BatchJobStatus) -> String {
    match &status.scheduler {
        Some(scheduler) => match &scheduler.user {
            Some(user) => format!("{user} on the scheduler {}", scheduler.name),
            None => format!("the scheduler {}", scheduler.name),
        },
        None => "its scheduler".to_owned(),
    }
}

/// Said before only the end of a large output is printed.
pub fn its_end_follows(what: &str, bytes: u64, job: &str) -> String {
    format!(
        "meso: {what} has {} MiB; its end follows. `meso logs {job} | less` shows it whole",
        bytes >> 20
    )
}

/// Bytes that a terminal would act on.
pub fn no_text(what: &str) -> Failure {
    Failure::Failed(format!(
        "{what} is not text, and would spoil the terminal: send it to a file or a program, for example `meso logs … > output`"
    ))
}

/// A file that is being printed.
struct Reading {
    path: PathBuf,
    file: File,
    at: u64,
    is_first: bool,
}

impl Reading {
    /// Opens the file at the place to begin from; none when it is not there.
    fn open(path: &Path, tail: Option<usize>, job: &BatchJob) -> Result<Option<Self>, Failure> {
        let failed = |error: &std::io::Error| {
            Failure::Failed(format!(
                "reading {}, the output of {}, failed: {error}",
                path.display(),
                job.name_any()
            ))
        };
        // A pipe would be waited for, and a device never end: look before opening.
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(not_yours(path, job));
            }
            Err(error) => return Err(failed(&error)),
        };
        if !metadata.is_file() {
            return Err(Failure::Failed(format!(
                "the output of {} goes to {}, which is no regular file: there is nothing kept to read",
                job.name_any(),
                path.display()
            )));
        }
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(not_yours(path, job)),
            Err(error) => return Err(failed(&error)),
        };
        let is_terminal = std::io::stdout().is_terminal();
        let at = match tail {
            Some(lines) => start_of_last_lines(&mut file, lines).map_err(|error| failed(&error))?,
            None if is_terminal && metadata.len() > MOST_FOR_A_TERMINAL => {
                eprintln!(
                    "{}",
                    its_end_follows(&path.display().to_string(), metadata.len(), &job.name_any())
                );
                start_of_last_lines(&mut file, remote_output::END_IN_LINES).map_err(|error| failed(&error))?
            }
            None => 0,
        };
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            at,
            is_first: true,
        }))
    }

    /// Prints what was added since the last time; false when nobody reads any more.
    fn print_new(&mut self) -> Result<bool, Failure> {
        let failed = |error: std::io::Error| {
            Failure::Failed(format!("reading {} failed: {error}", self.path.display()))
        };
        let length = self.file.metadata().map_err(failed)?.len();
        if length < self.at {
            eprintln!("meso: {} was begun anew", self.path.display());
            self.at = 0;
        }
        self.file.seek(SeekFrom::Start(self.at)).map_err(failed)?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = self.file.read(&mut piece).map_err(failed)?;
            if read == 0 {
                return Ok(true);
            }
            let new = &piece[..read];
            if self.is_first && new.contains(&0) && std::io::stdout().is_terminal() {
                return Err(no_text(&self.path.display().to_string()));
            }
            self.is_first = false;
            self.at += read as u64;
            if !output::print_bytes(new)? {
                return Ok(false);
            }
        }
    }
}

fn not_yours(path: &Path, job: &BatchJob) -> Failure {
    Failure::Failed(format!(
        "the output of {} is {}, which your account on this machine may not read: it belongs to {}",
        job.name_any(),
        path.display(),
        cluster(&job.status.clone().unwrap_or_default())
    ))
}

/// Where the last lines begin, read from the end in pieces.
fn start_of_last_lines(file: &mut (impl Read + Seek), lines: usize) -> std::io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let (mut at, mut found) = (end, 0);
    let mut piece = vec![0; PIECE];
    while at > 0 {
        let length = at.min(PIECE as u64);
        at -= length;
        file.seek(SeekFrom::Start(at))?;
        let new = &mut piece[..usize::try_from(length).unwrap_or(PIECE)];
        file.read_exact(new)?;
        for (index, byte) in new.iter().enumerate().rev() {
            let place = at + index as u64;
            // The end of the last line begins no other.
            if *byte == b'\n' && place + 1 < end {
                found += 1;
                if found == lines {
                    return Ok(place + 1);
                }
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    #[test]
    fn a_tasks_index_stands_behind_the_jobs_name() {
        assert_eq!(job_and_task("sweep.13"), Some(("sweep", "13")));
        for name in ["sweep", "a.b", "a.", ".3"] {
            assert_eq!(job_and_task(name), None);
        }
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let begin = |text: &str, lines| {
            let at = start_of_last_lines(&mut Cursor::new(text.as_bytes()), lines).unwrap();
            text[usize::try_from(at).unwrap()..].to_owned()
        };
        assert_eq!(begin("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(begin("a\nb\nc", 2), "b\nc");
        assert_eq!(begin("a\nb\n", 9), "a\nb\n");
        assert_eq!(begin("a\n", 0), "");
        assert_eq!(begin("", 3), "");
        let long = format!("first\n{}\nlast\n", "x".repeat(3 * PIECE));
        assert_eq!(begin(&long, 1), "last\n");
        assert_eq!(begin(&long, 2).len(), 3 * PIECE + 6);
    }

    fn job(status: serde_json::Value) -> BatchJob {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob", "metadata": {"name": "pi"},
            "spec": {"allocation": "a", "script": "#!/bin/sh"}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_file_that_is_not_here_is_told_with_its_cluster() {
        let job = job(serde_json::json!({
            "phase": "Running", "startedAt": "2026-11-24T10:00:00Z",
            "scheduler": {"name": "austral", "user": "alice"}, "outputPath": "/nowhere/pi-42.out",
        }));
        assert!(
            Reading::open(Path::new("/nowhere/pi-42.out"), None, &job)
                .unwrap()
                .is_none()
        );
        let failure = not_reachable(Path::new("/nowhere/pi-42.out"), &job);
        assert_eq!(failure.code(), 1);
        let said = failure.to_string();
        assert!(
            said.contains("/nowhere/pi-42.out of alice on the scheduler austral"),
            "{said}"
        );
    }

    #[test]
    fn a_job_that_waits_says_what_for_instead_of_where_its_file_will_be() {
        let job = job(
            serde_json::json!({"phase": "Queued", "message": "waits for free nodes", "outputPath": "/h/pi.out"}),
        );
        assert_eq!(
            not_reachable(Path::new("/h/pi.out"), &job).to_string(),
            "pi has no output: it is Queued: waits for free nodes"
        );
    }

    #[test]
    fn a_device_is_not_read_for_ever() {
        let job = job(serde_json::json!({"phase": "Running"}));
        assert!(Reading::open(Path::new("/dev/zero"), None, &job).is_err());
    }

    #[test]
    fn only_what_is_new_is_read_and_a_file_begun_anew_from_its_start() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"one\n").unwrap();
        let mut reading = Reading::open(file.path(), None, &job(serde_json::Value::Null))
            .unwrap()
            .unwrap();
        assert!(reading.print_new().unwrap());
        assert_eq!(reading.at, 4);
        file.write_all(b"two\n").unwrap();
        assert!(reading.print_new().unwrap());
        assert_eq!(reading.at, 8);
        file.as_file().set_len(0).unwrap();
        assert!(reading.print_new().unwrap());
        assert_eq!(reading.at, 0);
    }
}
