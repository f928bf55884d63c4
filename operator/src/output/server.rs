//! What is asked of it: the list of what it has, and a job's output.

use super::answer::Refusal;
use super::front_proxy::FrontProxy;
use super::reader::{Output, PIECE, Reader, Seat};
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mesocentre_api::output::{GROUP, OUTPUT_FROM, OUTPUT_LENGTH, RESOURCE, VERSION};
use mesocentre_scheduler_bridge::slurm::{OutputPiece, OutputStart};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often a file that is followed is looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// How many looks at the file come to one at the job.
const LOOKS: u32 = 3;

#[derive(Clone)]
struct Served {
    reader: Arc<Reader>,
    proxy: FrontProxy,
}

/// What is served to the front proxy.
pub fn router(reader: Arc<Reader>, proxy: FrontProxy) -> Router {
    let root = format!("/apis/{GROUP}/{VERSION}");
    Router::new()
        .route(&root, get(|| async { Json(resources()) }))
        .route(
            &format!("{root}/namespaces/{{namespace}}/batchjobs/{{name}}/log"),
            get(log),
        )
        .fallback(|| async { Refusal::not_found("there is nothing of that path") })
        .with_state(Served { reader, proxy })
}

/// What `kubectl api-resources` reads.
fn resources() -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": [{
            "name": RESOURCE, "singularName": "", "namespaced": true, "kind": "BatchJobOutput", "verbs": ["get"],
        }],
    })
}

/// What of a job's output is asked for. Numbers in bytes and lines.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Question {
    task: Option<String>,
    from: Option<u64>,
    tail_lines: Option<u64>,
    #[serde(default)]
    follow: bool,
}

async fn log(
    State(served): State<Served>,
    Path((namespace, name)): Path<(String, String)>,
    question: Result<Query<Question>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Query(question) = question.map_err(|error| {
        let told = error.body_text();
        Refusal::bad_request(format!(
            "{}: write task, from, tailLines or follow, as ?task=3&follow=true",
            told.strip_prefix("Failed to deserialize query string: ")
                .unwrap_or(&told)
        ))
    })?;
    let user = user(&served.proxy, &headers)?;
    let seat = served.reader.seat(&user)?;
    let output = served
        .reader
        .output(&user, &namespace, &name, question.task.as_deref())
        .await?;
    let start = match (question.from, question.tail_lines) {
        (Some(_), Some(_)) => {
            return Err(Refusal::bad_request(
                "from and tailLines are both given: write one of them",
            ));
        }
        (Some(from), None) => OutputStart::Byte(from),
        (None, Some(lines)) => OutputStart::LastLines(lines),
        (None, None) => OutputStart::Byte(0),
    };
    // The first piece decides whether there is an answer at all.
    let first = output.piece(start).await?;
    tracing::info!(user, namespace, job = name, file = output.file, account = %output.account, "an output is read");
    let (from, length) = (first.from.to_string(), first.length.to_string());
    let reading = Reading {
        reader: served.reader,
        output,
        job: (namespace, name),
        at: first.from,
        until: (!question.follow).then_some(first.length),
        first: Some(first),
        is_over: false,
        looks: 0,
        _seat: seat,
    };
    let body = Body::from_stream(futures::stream::try_unfold(reading, Reading::next));
    let kind = (
        header::CONTENT_TYPE.as_str(),
        "application/octet-stream".to_owned(),
    );
    Ok(([kind, (OUTPUT_FROM, from), (OUTPUT_LENGTH, length)], body).into_response())
}

/// Whom the front proxy says that it asks for.
fn user(proxy: &FrontProxy, headers: &HeaderMap) -> Result<String, Refusal> {
    proxy
        .user_headers
        .iter()
        .find_map(|name| headers.get(name))
        .and_then(|value| value.to_str().ok())
        .filter(|user| !user.is_empty())
        .map(ToOwned::to_owned)
        .ok_or_else(|| Refusal::forbidden("the API server does not say who asks"))
}

/// An output that is being sent.
struct Reading {
    reader: Arc<Reader>,
    output: Output,
    job: (String, String),
    at: u64,
    /// Where it ends: where the file ended when it was asked for. None: with the job.
    until: Option<u64>,
    first: Option<OutputPiece>,
    is_over: bool,
    looks: u32,
    _seat: Seat,
}

impl Reading {
    /// The next bytes; none at the end.
    async fn next(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        loop {
            if self.until.is_some_and(|until| self.at >= until) {
                return Ok(None);
            }
            let mut piece = match self.first.take() {
                Some(first) => first,
                None => {
                    let read = self.output.piece(OutputStart::Byte(self.at)).await;
                    read.map_err(|refusal| std::io::Error::other(refusal.message))?
                }
            };
            if let Some(until) = self.until {
                let left = until.saturating_sub(piece.from);
                piece.bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            }
            if !piece.bytes.is_empty() {
                self.at = piece
                    .from
                    .saturating_add(u64::try_from(piece.bytes.len()).unwrap_or(PIECE));
                return Ok(Some((piece.bytes.into(), self)));
            }
            if self.until.is_some() || self.is_over {
                return Ok(None);
            }
            tokio::time::sleep(LOOKED_AT_EVERY).await;
            // Decided before the file is read: what the job wrote until its end is then in what is read.
            self.looks = (self.looks + 1) % LOOKS;
            if self.looks == 0 {
                self.is_over = self.reader.is_over(&self.job.0, &self.job.1).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_kubectl_writes_it_and_a_mistyped_one_is_told() {
        let read = |query: &str| {
            let uri: axum::http::Uri = format!("/x?{query}").parse().unwrap();
            Query::<Question>::try_from_uri(&uri).map(|Query(question)| question)
        };
        let question = read("task=3&tailLines=10&follow=true").unwrap();
        assert_eq!(
            (
                question.task.as_deref(),
                question.tail_lines,
                question.from,
                question.follow
            ),
            (Some("3"), Some(10), None, true)
        );
        assert!(!read("from=7").unwrap().follow);
        for wrong in ["tail=3", "from=-1", "follow=yes"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
