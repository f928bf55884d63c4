//! Jobs as they change, drawn anew until Ctrl-C.

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;
use crate::wait::refusal;
use crate::whose::written;
use futures::StreamExt;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use mesocentre_api::BatchJob;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

/// Draws those that are wanted when something changed, and each second for the times, the oldest first.
///
/// # Errors
/// As the API server answers, when it refuses.
pub async fn draw(
    connection: &Connection,
    namespaces: &[String],
    takes: impl Fn(&BatchJob) -> bool,
    drawing: impl Fn(&[BatchJob]) -> String,
) -> Result<(), Failure> {
    let streams = namespaces.iter().map(|namespace| {
        let api: Api<BatchJob> = Api::namespaced(connection.client.clone(), namespace);
        let of = namespace.clone();
        watcher(api, watcher::Config::default())
            .default_backoff()
            .map(move |event| (of.clone(), event))
            .boxed()
    });
    let mut events = futures::stream::select_all(streams);
    let mut jobs: BTreeMap<(String, String), BatchJob> = BTreeMap::new();
    let mut relisted: BTreeMap<(String, String), BatchJob> = BTreeMap::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let is_terminal = std::io::stdout().is_terminal();
    let (mut trouble, mut is_listed, mut drawn) = (None, false, String::new());
    loop {
        tokio::select! {
            event = events.next() => {
                let Some((namespace, event)) = event else { return Ok(()) };
                let key = |job: &BatchJob| (namespace.clone(), job.name_any());
                match event {
                    Err(error) => {
                        if let Some(failure) = refusal(&error, &format!("watching the jobs of {namespace}")) {
                            return Err(failure);
                        }
                        trouble = Some("The API server does not answer: what follows is as it was.\n");
                        continue;
                    }
                    Ok(Event::Init) => relisted.retain(|(of, _), _| *of != namespace),
                    Ok(Event::InitApply(job)) => {
                        relisted.insert(key(&job), slim(job));
                    }
                    Ok(Event::InitDone) => {
                        jobs.retain(|(of, _), _| *of != namespace);
                        let (mine, others) = std::mem::take(&mut relisted)
                            .into_iter()
                            .partition(|((of, _), _)| *of == namespace);
                        relisted = others;
                        jobs.extend::<BTreeMap<_, _>>(mine);
                        is_listed = true;
                    }
                    Ok(Event::Apply(job)) => {
                        jobs.insert(key(&job), slim(job));
                    }
                    Ok(Event::Delete(job)) => {
                        jobs.remove(&key(&job));
                    }
                }
                trouble = None;
            }
            _ = tick.tick(), if is_listed || trouble.is_some() => {
                let mut shown: Vec<BatchJob> = jobs.values().filter(|job| takes(job)).cloned().collect();
                shown.sort_by_key(written);
                let text = format!("{}{}", trouble.unwrap_or_default(), drawing(&shown));
                if is_terminal {
                    // Home, then clear: no flicker as with clearing first and writing later.
                    output::print(&format!("\x1b[H\x1b[2J{text}"))?;
                } else if text != drawn && !output::print_bytes(format!("{text}\n").as_bytes())? {
                    return Ok(());
                }
                drawn = text;
            }
        }
    }
}

/// Without the script: a queue of thousands stays small.
fn slim(mut job: BatchJob) -> BatchJob {
    job.spec.script = String::new();
    job.metadata.managed_fields = None;
    job
}
