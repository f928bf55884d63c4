//! What a shell or a test exports to use the stack.

use crate::state::Record;
use crate::{bucket, kubeconfig, operator, parts, paths, postgres, public_tools, slurm, vault};
use anyhow::Result;
use std::path::PathBuf;

/// Each variable and its value.
pub fn of(record: &Record) -> Result<Vec<(&'static str, String)>> {
    // Run twice in one shell, it adds its folder once.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = [paths::bin()]
        .into_iter()
        .chain(std::env::split_paths(&path).filter(|folder| *folder != paths::bin()))
        .collect();
    let pid = record
        .running(operator::NAME)
        .map(|process| process.pid.to_string());
    Ok(vec![
        ("KUBECONFIG", kubeconfig::admin(record).display().to_string()),
        ("SLURM_CONF", slurm::conf().display().to_string()),
        ("VAULT_ADDR", vault::address(record)?),
        ("VAULT_TOKEN", record.vault_token.clone()),
        (
            "MESO_INVOICE_TOOLS",
            public_tools::factur_x()?.display().to_string(),
        ),
        ("MESO_MUSTANG", public_tools::mustang()?.display().to_string()),
        (
            "MESO_FOCUS_VALIDATOR",
            public_tools::focus_validator()?.display().to_string(),
        ),
        ("MESO_LEDGER_URL", operator::ledger_url()?),
        ("MESO_TEST_POSTGRES", postgres::url()?),
        (
            "MESO_TEST_S3",
            parts::program(bucket::NAME)?.display().to_string(),
        ),
        ("MESO_OPERATOR_PID", pid.unwrap_or_default()),
        ("MESO_OPERATOR_URL", operator::url(record)),
        (
            "PATH",
            std::env::join_paths(folders)?.to_string_lossy().into_owned(),
        ),
    ])
}

/// The exports, for `eval` in sh.
pub fn exports(record: &Record) -> Result<String> {
    Ok(for_sh(of(record)?))
}

/// Variables as exports, for `eval` in sh.
pub fn for_sh(variables: Vec<(&str, String)>) -> String {
    variables
        .into_iter()
        .map(|(name, value)| format!("export {name}={}\n", quoted(&value)))
        .collect()
}

/// One word of sh, whatever is in it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word_of_sh_whatever_is_in_it() {
        let value = "it's $HOME; `rm` \"x\" \\ \n*";
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {}", quoted(value))])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
    }
}
