//! What holds a namespace inside its perimeter: quota, limits, network, and the rules that admission reads.

/// The ResourceQuota's name in each namespace.
pub const QUOTA_NAME: &str = "tenant";
