//! Where things are: the repository, the cache of built parts, the data of the running stack.

use std::path::PathBuf;

/// The repository.
pub fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// Built parts, kept between runs and outside the repository: $MESO_CACHE, else $XDG_CACHE_HOME/mesocentre, else
/// ~/.cache/mesocentre.
pub fn cache() -> PathBuf {
    if let Some(folder) = std::env::var_os("MESO_CACHE") {
        return folder.into();
    }
    let base = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache"),
        PathBuf::from,
    );
    base.join("mesocentre")
}

/// The running stack's data: $MESO_STATE, else /var/lib/mesocentre-dev. Slurm's users and daemons of other users reach
/// into it, so it cannot be under a private home.
pub fn state() -> PathBuf {
    std::env::var_os("MESO_STATE").map_or_else(|| "/var/lib/mesocentre-dev".into(), PathBuf::from)
}

/// The folder of commands that a user of the stack has in PATH.
pub fn bin() -> PathBuf {
    state().join("bin")
}

/// The log of a process of the stack.
pub fn log(process: &str) -> PathBuf {
    state().join("logs").join(format!("{process}.log"))
}

/// Where cargo puts our own binaries.
pub fn target(release: bool) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), PathBuf::from)
        .join(if release { "release" } else { "debug" })
}
