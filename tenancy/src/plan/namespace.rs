//! The namespace itself, and how ours is told from another's of the same name.

use crate::names::NamespaceName;
use serde_json::Value;

/// Annotation on a namespace: the UID of the Tenant or Workspace that it was made for.
pub const MADE_FOR: &str = "mesocentre.io/made-for";

/// True when a live Namespace was made for the object of this UID. A namespace that only carries our labels is not.
pub fn is_ours(live: &Value, uid: &str) -> bool {
    let _ = (live, uid, None::<NamespaceName>);
    todo!()
}
