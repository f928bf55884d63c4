//! The API by which what batch jobs wrote is read: served by `mesocentre-operator output` behind the API server.

use crate::BatchJob;

/// Its group. The other kinds' own, mesocentre.io, is served from definitions, which have no such subresource.
pub const GROUP: &str = "output.mesocentre.io";
/// Its version.
pub const VERSION: &str = "v1alpha1";
/// What roles name.
pub const RESOURCE: &str = "batchjobs/log";
/// Service account of what serves it, in [`SYSTEM_NAMESPACE`](crate::SYSTEM_NAMESPACE).
pub const SERVICE_ACCOUNT: &str = "mesocentre-output";
/// Header of an answer: the byte of the file that it begins with.
pub const OUTPUT_FROM: &str = "mesocentre-output-from";
/// Header of an answer: how long the file is now, in bytes.
pub const OUTPUT_LENGTH: &str = "mesocentre-output-length";

/// The path of a job's output.
pub fn path(namespace: &str, job: &str) -> String {
    format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/batchjobs/{job}/log")
}

/// Why there is nothing to read of a job, in a sentence.
pub fn no_output_yet(job: &BatchJob) -> String {
    let status = job.status.clone().unwrap_or_default();
    format!(
        "{} has no output: it is {}{}",
        job.metadata.name.as_deref().unwrap_or_default(),
        status.phase.as_str(),
        status.message.map(|why| format!(": {why}")).unwrap_or_default()
    )
}
