//! `--dependency=afterok:NAME[:NAME…][,afterany:NAME…]`. Here a job is known by its batch job's name, not by a number
//! that comes round again; one of another workspace of the tenant by `WORKSPACE/NAME`.

use super::Unreadable;
use mesocentre_api::{Dependency, DependencyState};

/// Reads dependencies that must all hold.
///
/// # Errors
/// A sentence, for kinds that the API does not have and for Slurm's job ids.
pub fn parse(text: &str) -> Result<Vec<Dependency>, Unreadable> {
    if text.contains('?') {
        return Err(Unreadable(
            "dependencies of which any one may hold (?) are not supported: separate them by commas, and all must hold".to_owned(),
        ));
    }
    let mut dependencies = Vec::new();
    for each in text.split(',') {
        let mut parts = each.split(':');
        let when = match parts.next().unwrap_or_default() {
            "afterok" => DependencyState::Succeeded,
            "afternotok" => DependencyState::Failed,
            "afterany" => DependencyState::Finished,
            "after" => DependencyState::Started,
            "aftercorr" => DependencyState::SameTaskSucceeded,
            other => {
                return Err(Unreadable(format!(
                    "{other:?} is no dependency: write afterok:NAME, afternotok:NAME, afterany:NAME, after:NAME or aftercorr:NAME, with a batch job's name"
                )));
            }
        };
        let names: Vec<&str> = parts.collect();
        if names.is_empty() {
            return Err(Unreadable(format!(
                "the dependency {each:?} names no job: write {each}:NAME, with a batch job's name"
            )));
        }
        for written in names {
            let (workspace, name) = match written.split_once('/') {
                Some((workspace, name)) => (Some(workspace.to_owned()), name),
                None => (None, written),
            };
            if name.is_empty() || name.bytes().all(|byte| byte.is_ascii_digit()) || name.contains(['+', '_'])
            {
                return Err(Unreadable(format!(
                    "the dependency on {name:?}: write the batch job's name, as `meso queue` shows it, not the scheduler's number, task or delay"
                )));
            }
            dependencies.push(Dependency {
                job: name.to_owned(),
                workspace,
                when,
            });
        }
    }
    Ok(dependencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sbatchs_words_become_ours() {
        let on = |job: &str, when| Dependency {
            job: job.to_owned(),
            workspace: None,
            when,
        };
        assert_eq!(
            parse("afterok:pi:tau,afternotok:a,afterany:b,after:c,aftercorr:d").unwrap(),
            [
                on("pi", DependencyState::Succeeded),
                on("tau", DependencyState::Succeeded),
                on("a", DependencyState::Failed),
                on("b", DependencyState::Finished),
                on("c", DependencyState::Started),
                on("d", DependencyState::SameTaskSucceeded),
            ]
        );
        let elsewhere = Dependency {
            workspace: Some("genomics".to_owned()),
            ..on("align", DependencyState::Succeeded)
        };
        assert_eq!(parse("afterok:genomics/align").unwrap(), [elsewhere]);
    }

    #[test]
    fn what_has_no_counterpart_says_what_to_write() {
        for text in [
            "",
            "afterok",
            "afterok:",
            "afterok:42",
            "after:pi+5",
            "afterok:a?afterany:b",
            "singleton",
            "aftercorr",
            "afterok:genomics/",
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(": "), "{text}");
        }
    }
}
