//! `meso logs` where the file is not on this machine: asked of the API server, which has it read as the user's own posix
//! account (`mesocentre-operator output`).

use crate::api_answer;
use crate::batch_jobs::{get, phase};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::Status;
use kube::{Api, ResourceExt};
use mesocentre_api::BatchJob;
use mesocentre_api::output::{OUTPUT_FROM, OUTPUT_LENGTH, path};
use std::io::IsTerminal;
use std::time::Duration;

/// How soon what is not there yet, or was cut off, is asked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often in a row without a byte before it is given up.
const ATTEMPTS: u32 = 30;
/// How many lines of what is too much for a terminal.
pub const END_IN_LINES: usize = 1_000;

/// What is to be printed.
pub struct Wanted {
    /// The task of an array.
    pub task: Option<String>,
    /// Go on as it grows.
    pub follow: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
}

/// What was answered.
enum Answer {
    Output(Response<Body>),
    /// There is no such file, in a sentence.
    NotThere(String),
    /// The cluster does not serve outputs.
    NotServed,
    /// Something does not answer now.
    Away(String),
}

/// Prints the output. None: the cluster serves none, and somebody else must say where the file is.
///
/// # Errors
/// [`Failure`], as the API server answers, or when there is no output.
pub async fn run(connection: &Connection, mut job: BatchJob, wanted: &Wanted) -> Result<Option<()>, Failure> {
    let namespace = connection.namespace()?.to_owned();
    let api: Api<BatchJob> = Api::namespaced(connection.client.clone(), &namespace);
    let name = job.name_any();
    let doing = format!("reading the output of {name}");
    let mut reading = Reading {
        at: None,
        tail: wanted.tail,
        is_first: true,
    };
    let mut in_vain = 0;
    loop {
        // Decided before it is asked for: what the job wrote until its end is then in what is read.
        let goes_on = wanted.follow && !phase(&job).is_finished();
        let question = question(&path(&namespace, &name), wanted, &reading);
        match ask(connection, &question, &doing).await? {
            Answer::Output(response) => match reading.print(response, &name).await? {
                Printed::All => return Ok(Some(())),
                Printed::Cut { some } => in_vain = if some { 0 } else { in_vain + 1 },
                Printed::OnlyItsEnd => continue,
            },
            Answer::NotServed => return Ok(None),
            Answer::NotThere(sentence) if !goes_on => return Err(Failure::Failed(sentence)),
            // A job that runs is about to write it.
            Answer::NotThere(_) => {}
            Answer::Away(sentence) => {
                in_vain += 1;
                if !goes_on || in_vain > ATTEMPTS {
                    return Err(Failure::Unreachable(format!("{doing}: {sentence}")));
                }
            }
        }
        if in_vain > ATTEMPTS {
            return Err(Failure::Unreachable(format!(
                "{doing}: it was cut off, again and again"
            )));
        }
        tokio::time::sleep(AGAIN).await;
        // Whoever deleted the job meanwhile left the file.
        match get(&api, &name, &doing).await {
            Ok(now) => job = now,
            Err(Failure::Unreachable(_)) => in_vain += 1,
            Err(failure) => return Err(failure),
        }
    }
}

fn question(path: &str, wanted: &Wanted, reading: &Reading) -> String {
    let mut parts = Vec::new();
    if let Some(task) = &wanted.task {
        // Digits: that is how it was told from the job's name.
        parts.push(format!("task={task}"));
    }
    match (reading.at, reading.tail) {
        (Some(at), _) => parts.push(format!("from={at}")),
        (None, Some(lines)) => parts.push(format!("tailLines={lines}")),
        (None, None) => {}
    }
    if wanted.follow {
        parts.push("follow=true".to_owned());
    }
    if parts.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", parts.join("&"))
    }
}

async fn ask(connection: &Connection, question: &str, doing: &str) -> Result<Answer, Failure> {
    let request = Request::get(question)
        .body(Body::empty())
        .map_err(|error| Failure::Failed(format!("{doing}: {error}")))?;
    let response = connection
        .client
        .send(request)
        .await
        .map_err(|error| api_answer::failure(doing, &error))?;
    let code = response.status();
    if code.is_success() {
        return Ok(Answer::Output(response));
    }
    let body = response.into_body().collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let Ok(status) = serde_json::from_slice::<Status>(&body) else {
        // The API server's own words for a path that nobody serves are no Status.
        return Ok(if code == StatusCode::NOT_FOUND {
            Answer::NotServed
        } else {
            Answer::Away(String::from_utf8_lossy(&body).trim().to_owned())
        });
    };
    Ok(match code {
        StatusCode::NOT_FOUND => Answer::NotThere(status.message),
        StatusCode::TOO_MANY_REQUESTS => Answer::Away(status.message),
        code if code.is_server_error() => Answer::Away(status.message),
        _ => return Err(api_answer::failure(doing, &kube::Error::Api(Box::new(status)))),
    })
}

/// How far it is printed.
struct Reading {
    /// The next byte of the file; none before the first answer.
    at: Option<u64>,
    tail: Option<usize>,
    is_first: bool,
}

enum Printed {
    /// To its end, or to where nobody reads any more.
    All,
    /// The connection was cut, after some bytes or none.
    Cut { some: bool },
    /// Nothing yet: it is too much for a terminal, and its end is asked for.
    OnlyItsEnd,
}

impl Reading {
    async fn print(&mut self, response: Response<Body>, name: &str) -> Result<Printed, Failure> {
        let number =
            |header: &str| -> Option<u64> { response.headers().get(header)?.to_str().ok()?.parse().ok() };
        let is_terminal = std::io::stdout().is_terminal();
        let (from, length) = (number(OUTPUT_FROM), number(OUTPUT_LENGTH).unwrap_or(0));
        if let Some(at) = self.at
            && from.is_some_and(|from| from < at)
        {
            eprintln!("meso: the output of {name} was begun anew");
        }
        if self.at.is_none()
            && self.tail.is_none()
            && is_terminal
            && length > crate::logs::MOST_FOR_A_TERMINAL
        {
            eprintln!("{}", crate::logs::its_end_follows(name, length, name));
            self.tail = Some(END_IN_LINES);
            return Ok(Printed::OnlyItsEnd);
        }
        let mut at = from.unwrap_or(0);
        self.at = Some(at);
        let mut some = false;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Ok(Printed::Cut { some });
            };
            let Some(bytes) = frame.data_ref().filter(|bytes| !bytes.is_empty()) else {
                continue;
            };
            if self.is_first && is_terminal && bytes.contains(&0) {
                return Err(crate::logs::no_text(&format!("the output of {name}")));
            }
            self.is_first = false;
            some = true;
            at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
            self.at = Some(at);
            if !output::print_bytes(bytes)? {
                return Ok(Printed::All);
            }
        }
        Ok(Printed::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_is_not_asked_for_again() {
        let wanted = |task: Option<&str>, follow, tail| Wanted {
            task: task.map(str::to_owned),
            follow,
            tail,
        };
        let reading = |at, tail| Reading {
            at,
            tail,
            is_first: true,
        };
        for (wanted, reading, asked) in [
            (wanted(None, false, None), reading(None, None), "/p"),
            (
                wanted(Some("3"), true, Some(9)),
                reading(None, Some(9)),
                "/p?task=3&tailLines=9&follow=true",
            ),
            (
                wanted(Some("3"), true, Some(9)),
                reading(Some(41), Some(9)),
                "/p?task=3&from=41&follow=true",
            ),
        ] {
            assert_eq!(question("/p", &wanted, &reading), asked);
        }
    }
}
