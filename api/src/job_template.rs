//! Templates of batch jobs: ConfigMaps that people write, and `meso` reads.

/// Label of a ConfigMap that is one, with the value `true`.
pub const LABEL: &str = "mesocentre.io/job-template";
/// Namespace of those that the site offers to everybody.
pub const NAMESPACE: &str = "mesocentre-templates";
