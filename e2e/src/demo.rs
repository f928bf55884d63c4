//! From nothing to a bill, on the terminal: `cargo dev demo`.

use anyhow::{Result, bail};

/// Plays the main job and tells of it.
pub async fn demo() -> Result<()> {
    bail!("`cargo dev demo` is not written yet: e2e/src/demo.rs is its place")
}
