//! Perimeters, tenants, workspaces and peering agreements. All judgement is in the crate `mesocentre-tenancy`; here it
//! is gathered for, asked, and done.

pub mod peering;
pub mod perimeter;
pub mod quota;
pub mod tenant;
pub mod workspace;

use crate::Context;
use std::future::Future;
use std::sync::Arc;

/// Looks now and then at what no event tells of.
pub async fn sweep(_context: Arc<Context>, shutdown: impl Future<Output = ()>) {
    shutdown.await;
}
