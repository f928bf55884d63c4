//! The jobs of the demonstration: as objects, as sbatch scripts, and one that is refused.

use super::people::Person;
use super::tell::say;
use crate::wait;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// A batch job's namespace and name.
pub type JobName = (String, String);

/// What bob brings along from another cluster: his #SBATCH lines hold.
const MATRIX: &str = "#!/bin/bash
#SBATCH --job-name=matrix
#SBATCH --nodes=2 --ntasks=2
#SBATCH --cpus-per-task=60
#SBATCH --mem=200M --time=00:05:00
echo \"$SLURM_JOB_NAME on $SLURM_JOB_NODELIST as $(id -un), $SLURM_CPUS_PER_TASK cpus a task\"
awk 'BEGIN { for (i = 0; i < 3000000; i++) s += i % 7; print s }'
sleep 18
";

/// What dave asks for: four designs, sixteen cores each.
const WING: &str = "#!/bin/bash
#SBATCH --job-name=wing
#SBATCH --array=1-4
#SBATCH -c 16 --mem=100M -t 5
echo \"design $SLURM_ARRAY_TASK_ID as $(id -un)\"; sleep $((8 + 2 * SLURM_ARRAY_TASK_ID))
";

/// Submits all; gives those that the scheduler is to run.
pub async fn submit_all(alice: &Person, bob: &Person, carol: &Person, dave: &Person) -> Result<Vec<JobName>> {
    let mut jobs: Vec<JobName> = Vec::new();
    say(&format!(
        "alice writes, with kubectl,\n{}",
        alice.apply_example("60-jobs", |_| true).await?
    ));
    for name in ["pi", "sweep"] {
        jobs.push(("univ-caen--climate".into(), name.into()));
    }
    for (who, script, namespace) in [
        (bob, MATRIX, "univ-caen--climate"),
        (dave, WING, "nova-motors--cfd"),
    ] {
        let told = who
            .meso_with(&["submit", "--parsable", "--namespace", namespace, "-"], script)
            .await?;
        let name = told.trim().to_owned();
        ensure!(!name.is_empty(), "meso submit --parsable printed no name");
        say(&format!(
            "{} submits an sbatch script with meso: {namespace}/{name}",
            who.name
        ));
        jobs.push((namespace.into(), name));
    }
    let refused = carol
        .run(
            "meso",
            &[
                "submit",
                "--namespace",
                "univ-caen--climate",
                "-A",
                "climate-2026",
                "-",
            ],
            MATRIX,
        )
        .await?;
    ensure!(
        !refused.succeeded,
        "carol, who is no member of univ-caen, submitted a job there: {}",
        refused.out
    );
    say(&format!(
        "carol, of the hospital, tries the same in univ-caen:\n{}",
        refused.complaint
    ));
    Ok(jobs)
}

/// Waits until all are over and metered; task 13 of sweep fails, as its script says, and all else succeeds.
pub async fn until_over(administrator: &Person, jobs: &[JobName]) -> Result<()> {
    for (namespace, name) in jobs {
        let phase = wait::until(
            &format!("the batch job {namespace}/{name} is over and metered"),
            Duration::from_secs(180),
            async || {
                let told = administrator
                    .kubectl(&[
                        "get",
                        "batchjob",
                        name,
                        "-n",
                        namespace,
                        "-o",
                        r#"jsonpath={.status.phase}{" "}{.status.conditions[?(@.type=="Metered")].status}{" "}{.status.message}"#,
                    ])
                    .await
                    .map_err(|error| error.to_string())?;
                let mut words = told.split(' ');
                match (words.next(), words.next()) {
                    (Some(phase), Some("True")) => Ok(phase.to_owned()),
                    _ => Err(told),
                }
            },
        )
        .await?;
        let expected = if name == "sweep" { "Failed" } else { "Succeeded" };
        ensure!(
            phase == expected,
            "{namespace}/{name} ended as {phase}, not as {expected}"
        );
    }
    let counts = administrator
        .kubectl(&[
            "get",
            "batchjob",
            "sweep",
            "-n",
            "univ-caen--climate",
            "-o",
            r#"jsonpath={.status.tasks.succeeded}{" "}{.status.tasks.failed}"#,
        ])
        .await
        .context("reading sweep's tasks")?;
    ensure!(
        counts == "19 1",
        "of sweep's 20 tasks 19 should succeed and one fail: {counts}"
    );
    Ok(())
}
