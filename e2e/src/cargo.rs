//! cargo, started by a program that cargo itself started.

use crate::paths;
use tokio::process::Command;

/// cargo in the repository, as a person's shell would start it. What `cargo run` tells this very program of its package
/// is left out: build scripts that look at it (ring's) would run anew, and all that hangs on them be built anew, each
/// time that a person and this program take turns.
pub fn command() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(paths::repository());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(tells_of_a_package) {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn tells_of_a_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"]
        .iter()
        .any(|prefix| variable.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::tells_of_a_package;

    #[test]
    fn what_a_person_set_stays_and_what_cargo_told_of_this_package_goes() {
        for stays in ["CARGO_TARGET_DIR", "CARGO_INCREMENTAL", "CARGO_HOME", "PATH"] {
            assert!(!tells_of_a_package(stays), "{stays}");
        }
        for goes in [
            "CARGO_MANIFEST_DIR",
            "CARGO_MANIFEST_LINKS",
            "CARGO_PKG_VERSION_MAJOR",
        ] {
            assert!(tells_of_a_package(goes), "{goes}");
        }
    }
}
