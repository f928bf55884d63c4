//! CostPool.

use crate::Context;
use crate::failure::Failure;
use kube::runtime::controller::Action;
use mesocentre_api::CostPool;
use std::sync::Arc;

/// One reconcile.
///
/// # Errors
/// When something could not be done now.
pub async fn reconcile(_object: Arc<CostPool>, _context: Arc<Context>) -> Result<Action, Failure> {
    Ok(Action::await_change())
}
