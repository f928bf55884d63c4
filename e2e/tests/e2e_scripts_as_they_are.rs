//! Promise: an sbatch script is taken as it is. What Slurm makes of it when sbatch is given it by hand, it makes of it here,
//! and where sbatch would say no, its author is told so in sbatch's own words.
//!
//! The headers have the shapes of scripts that people publish, of many fields and sites (what is a site's own, such as names
//! of partitions, is this Slurm's where the script is to be taken). They are compared held; then they run, with bodies that
//! do little, since the programs of theirs are not here.

use anyhow::{Result, ensure};
use mesocentre_api::{BatchJobStatus, Phase};
use mesocentre_e2e::lab::{HOURS, Lab};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;

/// Whether sbatch takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Yes,
    No,
}
use Taken::{No, Yes};

/// A kind of script, its head, and whether this Slurm takes it.
const SCRIPTS: [(&str, &str, Taken); 46] = [
    (
        "hello",
        "#!/bin/bash\n#SBATCH --job-name=hello\n#SBATCH --ntasks=1\n#SBATCH --time=00:05:00\n",
        Yes,
    ),
    // A space behind #!, a log of its own, one task.
    (
        "trimming",
        "#! /bin/bash\n\n#SBATCH --partition=standard\n#SBATCH --job-name=trimming\n#SBATCH --mail-type=ALL\n#SBATCH --mail-user=lab@univ.test\n#SBATCH --ntasks=4\n#SBATCH --cpus-per-task=1\n#SBATCH --mem=5000\n#SBATCH --time=10:00:00\n#SBATCH --output=trimmed_%j.log\n#export OMP_NUM_THREADS=1\n",
        Yes,
    ),
    // Hybrid MPI: nodes, tasks a node, threads a task, all of the node.
    (
        "hybrid",
        "#!/bin/sh -l\n#SBATCH -o model_%j.o\n#SBATCH -e model_%j.e\n#SBATCH --time=1:00:00\n#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=8\n#SBATCH --cpus-per-task=4\n#SBATCH --exclusive\n",
        Yes,
    ),
    (
        "wavefront",
        "#!/bin/bash\n#SBATCH --job-name=mpi_wavefront\n#SBATCH --output=mpi_wavefront_%j.out\n#SBATCH --error=mpi_wavefront_%j.err\n#SBATCH --time=00:20:00\n#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=4\n",
        Yes,
    ),
    // The old spelling, a unit in lower case, lines that are commented out in three ways, and a remark behind a value.
    (
        "silicon",
        "#!/bin/bash\n# Name of the job\n#SBATCH --job-name=aSiGAP\n# SBATCH --time=10\n##SBATCH --qos=urgent\n###SBATCH --nodes=64\n#SBATCH --nodes=4\n#SBATCH --tasks-per-node=32 # fastest is 2 cpus per task\n#SBATCH --mem=118G   # max memory is 118G\n#SBATCH -t 1-12:00                      # Runtime in D-HH:MM format\n#SBATCH -o 'outputs-%j.output' #File to which STDOUT will be written\n#SBATCH --mail-user=\"lab@univ.test\"\n#SBATCH --mail-type=END\n#SBATCH --mail-type=FAIL\n",
        Yes,
    ),
    // Several options on a line, values behind spaces.
    (
        "brush",
        "#!/bin/bash\n#SBATCH -p standard -A shared-mhug-staff\n#SBATCH --gres gpu:2\n#SBATCH --mem-per-cpu=4000\n#SBATCH -c 8\n#SBATCH -o train3.out\n#SBATCH -e train3e.out\n#SBATCH --signal=B:SIGTERM@120\n",
        Yes,
    ),
    // A tab behind #SBATCH, an array with a limit.
    (
        "humann",
        "#!/bin/bash\n\n#SBATCH --job-name=humann\n#SBATCH --nodes=1\n#SBATCH --ntasks=1\n#SBATCH\t--cpus-per-task=8\n#SBATCH --mem=48G\n#SBATCH --time=100:00:00\n#SBATCH --output=humann_array_%A_%a.out\n#SBATCH --error=humann_array_%A_%a.err\n#SBATCH --array=1-164%10\n",
        Yes,
    ),
    (
        "some-tasks",
        "#!/bin/bash\n#SBATCH --array=8,18,28      # 3 seeds\n#SBATCH --ntasks=1\n#SBATCH --nodes=1\n#SBATCH --cpus-per-task=16\n#SBATCH --gres=gpu:1\n",
        Yes,
    ),
    (
        "steps",
        "#!/bin/bash\n#SBATCH --array=0-20:5\n#SBATCH --mem=1000M\n#SBATCH --time=0-0:30:00\n",
        Yes,
    ),
    (
        "r-simulation",
        "#!/bin/bash\n#SBATCH --array=1-9%9\n#SBATCH --job-name=inter_3\n#SBATCH --output=inter_3.out\n#SBATCH --error=inter_3.err\n\nmodule load R/4.4.0\n",
        Yes,
    ),
    // To be stopped and taken up again.
    (
        "checkpoint",
        "#!/bin/bash\n#SBATCH -t 01:00:00\n#SBATCH -J gender_dataset\n#SBATCH -o logs_%x_%j.out\n#SBATCH --gres=gpu:1\n#SBATCH --mem=256G\n#SBATCH --requeue\n#SBATCH --signal=B:USR1@120\n#SBATCH --open-mode=append\n#SBATCH -c 8\nset -euo pipefail\n",
        Yes,
    ),
    (
        "once",
        "#!/bin/bash\n#SBATCH --no-requeue\n#SBATCH --nice=100\n#SBATCH --comment=mine\n",
        Yes,
    ),
    (
        "all-memory",
        "#!/bin/bash -x\n#SBATCH --nodes=2             # This needs to match Trainer(num_nodes=...)\n#SBATCH --ntasks-per-node=4    # This needs to match Trainer(devices=...)\n#SBATCH --mem=0\n#SBATCH --cpus-per-task=4\n#SBATCH --time=02:00:00\n#SBATCH --output=%j.out\n",
        Yes,
    ),
    (
        "gpus-a-node",
        "#!/usr/bin/env bash\n#SBATCH --job-name=kd_response\n#SBATCH --nodes=1\n#SBATCH --gpus-per-node=4\n#SBATCH --time=24:00:00\n#SBATCH --exclusive\n",
        Yes,
    ),
    (
        "gpus-a-task",
        "#!/bin/bash\n#SBATCH --ntasks=2\n#SBATCH --gpus-per-task=1\n#SBATCH --cpus-per-task=2\n#SBATCH --mem-per-gpu=8G\n",
        Yes,
    ),
    (
        "gpus",
        "#!/bin/bash\n#SBATCH -G 2\n#SBATCH --cpus-per-gpu=4\n",
        Yes,
    ),
    // Odd names.
    (
        "brackets",
        "#!/bin/bash\n#SBATCH --job-name=GPU7(PN)\n#SBATCH --output=GPU7.log\n#SBATCH --time=80:00:00\n",
        Yes,
    ),
    (
        "spaces",
        "#!/bin/bash\n#SBATCH --job-name=\"my job; with $HOME\"\n#SBATCH --output=\"out of %x-%j.txt\"\n",
        Yes,
    ),
    (
        "unicode",
        "#!/bin/bash\n#SBATCH --job-name=aérodynamique\n#SBATCH --output=résultat-%j.txt\n",
        Yes,
    ),
    (
        "windows",
        "#!/bin/bash\r\n#SBATCH --ntasks=2\r\n#SBATCH --time=10\r\necho done\r\n",
        No,
    ),
    // Other languages.
    (
        "python",
        "#!/usr/bin/env python3\n#SBATCH --job-name=pymain\n#SBATCH --time=0:30:00\n#SBATCH --mem=2G\nprint('hello')\n",
        Yes,
    ),
    (
        "perl",
        "#!/usr/bin/perl\n#SBATCH -n 3\nprint \"hello\\n\";\n",
        Yes,
    ),
    (
        "late-line",
        "#!/bin/bash\n#SBATCH -n 2\necho begins\n#SBATCH -n 64\n",
        Yes,
    ),
    (
        "last-wins",
        "#!/bin/bash\n#SBATCH --time=10\n#SBATCH --ntasks=8\n#SBATCH --time=20\n#SBATCH -n 4\n",
        Yes,
    ),
    // Where and when.
    ("here", "#!/bin/bash\n#SBATCH --nodelist=n2\n#SBATCH -D ./\n", Yes),
    (
        "not-there",
        "#!/bin/bash\n#SBATCH --exclude=n1,n[3-4]\n#SBATCH --chdir=/tmp\n",
        Yes,
    ),
    (
        "tomorrow",
        "#!/bin/bash\n#SBATCH --begin=now+1day\n#SBATCH --deadline=now+3days\n#SBATCH -t 60\n",
        Yes,
    ),
    (
        "singleton",
        "#!/bin/bash\n#SBATCH -J chain\n#SBATCH --dependency=singleton\n",
        Yes,
    ),
    (
        "spread",
        "#!/bin/bash\n#SBATCH -N 1-3\n#SBATCH -n 6\n#SBATCH --ntasks-per-socket=2\n#SBATCH --hint=nomultithread\n#SBATCH --contiguous\n#SBATCH --mincpus=4\n#SBATCH --tmp=10G\n",
        Yes,
    ),
    (
        "two-parts",
        "#!/bin/bash\n#SBATCH --cpus-per-task=2 --mem-per-cpu=1g --ntasks=1\n#SBATCH hetjob\n#SBATCH --cpus-per-task=4 --mem-per-cpu=2g  --ntasks=2\n",
        Yes,
    ),
    // Written for other schedulers: sbatch reads their lines as well.
    (
        "pbs-mpi",
        "#!/bin/bash\n#PBS -N mpi_job\n#PBS -l nodes=2:ppn=4,walltime=00:20:00,mem=2gb\n#PBS -q standard\n#PBS -A chem-2026\n#PBS -j oe\n#PBS -m abe\n#PBS -M lab@univ.test\n#PBS -V\n\ncd $PBS_O_WORKDIR\n",
        Yes,
    ),
    (
        "pbs-chunks",
        "#!/bin/bash\n#PBS -N chunks\n#PBS -l select=2:ncpus=8:mpiprocs=4:mem=4gb\n#PBS -l walltime=01:00:00\n#PBS -l place=scatter\n#PBS -o chunks.log\n",
        Yes,
    ),
    (
        "pbs-array",
        "#!/bin/sh\n#PBS -t 1-20%5\n#PBS -l nodes=1:ppn=1\n#PBS -S /bin/bash\n#PBS -r n\n#PBS -k oe\n",
        Yes,
    ),
    // sbatch takes all up to a colon for the number of CPUs.
    (
        "pbs-cpus",
        "#!/bin/bash\n#PBS -J 1-9:2\n#PBS -l select=1:ncpus=2,walltime=10\n",
        No,
    ),
    (
        "pbs-gpu",
        "#!/bin/bash\n#PBS -J 0-3\n#PBS -l nodes=1:ppn=2:gpus=1\n#PBS -l pmem=1gb,walltime=10:00\n#PBS -W umask=027\n",
        Yes,
    ),
    // For both, one line of them behind a command: PBS's win.
    (
        "pbs-and-slurm",
        "#!/bin/bash\n#PBS -N theirs\n#PBS -l walltime=00:30:00\n#SBATCH --job-name=ours\n#SBATCH --time=10\n#SBATCH --ntasks=3\necho begins\n#PBS -p 7\n",
        Yes,
    ),
    (
        "two-parts-pbs",
        "#!/bin/bash\n#SBATCH --ntasks=2\n#SBATCH hetjob\n#SBATCH --ntasks=3\n#PBS -N parts\n#PBS -l walltime=00:05:00\n",
        Yes,
    ),
    (
        "lsf",
        "#!/bin/bash\n#BSUB -J lsf_job\n#BSUB -n 4\n#BSUB -W 00:20\n#BSUB -q standard\n#BSUB -M 500000\n#BSUB -o lsf.out\n",
        Yes,
    ),
    (
        "unknown-queue",
        "#!/bin/bash\n#PBS -q workq\n#PBS -l walltime=10:00\n",
        No,
    ),
    ("unknown-pbs", "#!/bin/bash\n#PBS -P project\n", No),
    // What this Slurm does not have.
    (
        "unknown-partition",
        "#!/bin/bash\n#SBATCH --partition=booster\n",
        No,
    ),
    ("unknown-qos", "#!/bin/bash\n#SBATCH --qos=qos_gpu_h100-t3\n", No),
    (
        "unknown-feature",
        "#!/bin/bash\n#SBATCH --constraint=\"haswell|skylake\"\n",
        No,
    ),
    ("unknown-licence", "#!/bin/bash\n#SBATCH -L SCRATCH\n", No),
    (
        "unknown-reservation",
        "#!/bin/bash\n#SBATCH --reservation=ai_sc_day2\n",
        No,
    ),
    (
        "unknown-option",
        "#!/bin/bash\n#SBATCH --container-image=\"registry.test/pytorch:24.11\"\n",
        No,
    ),
];

/// What of a job must be alike, as `scontrol show job` names it. Who pays and the comment are the platform's; where the output
/// goes is compared where the script says so.
const ALIKE: [&str; 25] = [
    "ArrayTaskId",
    "ArrayTaskThrottle",
    "CPUs/Task",
    "Deadline",
    "Dependency",
    "ExcNodeList",
    "Features",
    "JobName",
    "Licenses",
    "MinCPUsNode",
    "MinMemoryCPU",
    "MinMemoryNode",
    "MinTmpDiskNode",
    "Nice",
    "NtasksPerN:B:S:C",
    "NumCPUs",
    "NumNodes",
    "NumTasks",
    "OverSubscribe",
    "Partition",
    "QOS",
    "ReqNodeList",
    "Requeue",
    "TimeLimit",
    "TRES",
];

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn scripts_of_many_kinds_become_the_jobs_that_sbatch_makes_of_them_or_are_refused_in_its_words()
-> Result<()> {
    let lab = Lab::new("asis").await?;
    for (name, head, _) in SCRIPTS {
        lab.submit(name, json!({"script": format!("{head}\ntrue\n"), "hold": true}))
            .await?;
    }
    let mut wrong = Vec::new();
    for (name, head, taken) in SCRIPTS {
        let plain = by_sbatch(&lab, name, &format!("{head}\ntrue\n")).await?;
        let ours = lab
            .until(name, "is held, or refused", |status| {
                let is_told = status.message.as_deref().is_some_and(says_it_better);
                status.phase.is_finished() || is_told || id_of(status).is_some()
            })
            .await;
        let found = match (&plain, id_of(&ours)) {
            (Ok(theirs), Some(own)) => {
                ensure!(taken == Yes, "{name} was to be refused, and sbatch takes it");
                let (theirs, own) = (shown(&lab, theirs).await?, shown(&lab, &own).await?);
                differences(head, &theirs, &own)
            }
            (Err(complaint), None) => {
                ensure!(
                    taken == No,
                    "{name} was to be taken, and sbatch says: {complaint}"
                );
                let told = ours.message.clone().unwrap_or_default();
                if (told.contains(essence(complaint)) && ours.phase == Phase::Failed) || says_it_better(&told)
                {
                    Vec::new()
                } else {
                    vec![format!(
                        "{:?} and {told:?}, where sbatch says {complaint:?}",
                        ours.phase
                    )]
                }
            }
            (plain, ours) => vec![format!("sbatch by hand: {plain:?}; here: {ours:?}")],
        };
        wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn each_that_can_start_here_runs_to_its_end() -> Result<()> {
    let lab = Lab::new("asrun").await?;
    // Slurm lets nothing start that could pass the budget, and some ask for days of whole nodes.
    lab.tenant.allocation(&lab.stack, "plenty", 10_000_000).await?;
    // One begins tomorrow. Another's layout has Slurm 22.05 hold it by itself ("sync loop not progressing").
    const CANNOT_START: [&str; 2] = ["tomorrow", "spread"];
    let runs: Vec<&str> = SCRIPTS
        .iter()
        .filter(|(name, _, taken)| *taken == Yes && !CANNOT_START.contains(name))
        .map(|(name, ..)| *name)
        .collect();
    for (name, head, _) in SCRIPTS.iter().filter(|(name, ..)| runs.contains(name)) {
        let body = if head.contains("bash") || head.contains("/sh") {
            "true\n"
        } else {
            // Another language: what its head says is enough.
            ""
        };
        let script = format!("{head}\n{body}");
        lab.submit(name, json!({"allocation": "plenty", "script": script}))
            .await?;
    }
    let mut wrong = Vec::new();
    for name in &runs {
        let status = lab.until_over(name).await;
        if status.phase != Phase::Succeeded {
            wrong.push(format!("{name}: {:?} {:?}", status.phase, status.message));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(runs.len() >= 25, "{} scripts", runs.len());
    Ok(())
}

/// The job's number as sbatch says it to the member, or what it complains of.
async fn by_sbatch(lab: &Lab, name: &str, script: &str) -> Result<Result<String, String>> {
    let home = lab.stack.home_of(&lab.tenant.member);
    let file = home.join(name);
    fs::write(&file, script)?;
    let account = format!("--account={}.{HOURS}", lab.tenant.name);
    let line = format!("cd && exec sbatch --parsable --hold {account} {name}");
    let answer = lab
        .stack
        .run(&["runuser", "-u", &lab.tenant.member, "--", "sh", "-c", &line])
        .await?;
    Ok(if answer.is_success() {
        Ok(answer.stdout.trim().to_owned())
    } else {
        Err(answer.stderr.trim().to_owned())
    })
}

fn id_of(status: &BatchJobStatus) -> Option<String> {
    status
        .scheduler
        .as_ref()
        .and_then(|scheduler| scheduler.job_id.clone())
}

/// A job's records, one of each part of it.
async fn shown(lab: &Lab, id: &str) -> Result<Vec<BTreeMap<String, String>>> {
    let answer = lab
        .stack
        .run(&["scontrol", "show", "job", "--oneliner", id])
        .await?;
    ensure!(answer.is_success(), "{answer:?}");
    Ok(answer
        .stdout
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(fields)
        .collect())
}

/// `Name=value` pairs; values may hold spaces and signs of equality themselves, and names do not.
fn fields(line: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for word in line.split(' ') {
        match word.split_once('=') {
            Some((name, value)) if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                last = name.to_owned();
                all.insert(last.clone(), value.to_owned());
            }
            _ => {
                if let Some(value) = all.get_mut(&last) {
                    value.push(' ');
                    value.push_str(word);
                }
            }
        }
    }
    for value in all.values_mut() {
        *value = value.trim_end().to_owned();
    }
    all
}

fn differences(
    head: &str,
    theirs: &[BTreeMap<String, String>],
    ours: &[BTreeMap<String, String>],
) -> Vec<String> {
    if theirs.len() != ours.len() {
        return vec![format!("{} parts, and {} here", theirs.len(), ours.len())];
    }
    let mut found = Vec::new();
    for (theirs, ours) in theirs.iter().zip(ours) {
        let output = ["-o ", "--output"].iter().any(|option| head.contains(option));
        let more = if output {
            &["StdOut", "StdErr", "WorkDir"][..]
        } else {
            &["WorkDir"][..]
        };
        for field in ALIKE.iter().chain(more) {
            // Also where a number that stands in a name happens to be the job's.
            if theirs.get(*field) == ours.get(*field) {
                continue;
            }
            // Its own number is part of a name.
            let of = |job: &BTreeMap<String, String>| {
                let value = job.get(*field).cloned().unwrap_or_default();
                let id = job.get("JobId").cloned().unwrap_or_default();
                if *field == "StdOut" || *field == "StdErr" {
                    without_number(&value, &id)
                } else {
                    value
                }
            };
            let (theirs, ours) = (of(theirs), of(ours));
            // A relative day is counted from two moments.
            let is_moment =
                *field == "Deadline" && theirs.len() == ours.len() && theirs.get(..10) == ours.get(..10);
            // Of two of one name the second waits for the first.
            let is_second = *field == "Dependency" && head.contains("singleton");
            if theirs != ours && !is_moment && !is_second {
                found.push(format!("{field} is {ours:?}, and by sbatch {theirs:?}"));
            }
        }
    }
    found
}

/// A path with N in place of a job's number in the file's name, but for digits that are a part of another one.
fn without_number(path: &str, id: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut out = format!("{folder}/");
    let mut digits = String::new();
    for c in name.chars().chain([' ']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        out.push_str(if digits == id { "N" } else { &digits });
        digits.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}

/// What sbatch complains of, without its own name and what it says of every failure.
fn essence(complaint: &str) -> &str {
    let line = complaint.lines().next().unwrap_or_default();
    let line = line.strip_prefix("sbatch: ").unwrap_or(line);
    line.trim_start_matches("error: ")
        .trim_start_matches("Batch job submission failed: ")
        .trim()
}

/// What is said before sbatch is asked, with what to do. A partition may come to be open: that job waits.
fn says_it_better(told: &str) -> bool {
    ["line ends", "the partition", "unknown option"]
        .iter()
        .any(|words| told.contains(words))
}
