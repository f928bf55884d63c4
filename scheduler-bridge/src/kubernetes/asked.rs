//! What a submission asks of Kubernetes: from its fields, then the script's `#SBATCH` lines and those for other schedulers,
//! then the scheduler's defaults.
//!
//! sbatch is not there to read the lines, so each is one of three: it is done here, it says nothing that Kubernetes could
//! do otherwise and is passed over, or it is refused by its name. Nothing that a script asks for is dropped in silence.
//! Pure.

use super::Defaults;
use crate::slurm::ScriptHeader;
use crate::{ArrayIndices, InvalidSubmission, Submission};

/// The most tasks of an array: each is a pod.
pub const MOST_TASKS: u32 = 10_000;

/// Options that are done here.
const DONE: [&str; 17] = [
    "array",
    "chdir",
    "cpus-per-task",
    "gpus",
    "gpus-per-node",
    "gres",
    "hold",
    "job-name",
    "mem",
    "mem-per-cpu",
    "no-requeue",
    "nodes",
    "ntasks",
    "ntasks-per-node",
    "requeue",
    "time",
    "tmp",
];

/// Options that change nothing here: what the platform decides, where the output goes (the pod's log has it), and what
/// steers the command sbatch itself.
const PASSED_OVER: [&str; 21] = [
    "account",
    "acctg-freq",
    "comment",
    "error",
    "export",
    "get-user-env",
    "ignore-pbs",
    "kill-on-invalid-dep",
    "no-kill",
    "open-mode",
    "output",
    "overcommit",
    "oversubscribe",
    "parsable",
    "profile",
    "propagate",
    "quiet",
    "share",
    "verbose",
    "wait-all-nodes",
    "wckey",
];

/// What one pod of a job gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Tasks that the script may start.
    pub(super) tasks: u32,
    /// CPUs of each.
    pub(super) cpus_per_task: u32,
    /// CPUs of them all.
    pub(super) cpus: u64,
    /// Memory in MiB.
    pub(super) memory_mib: u64,
    /// Disk of the node that it may fill, in MiB; as the namespace has it when absent.
    pub(super) disk_mib: Option<u64>,
    /// GPUs.
    pub(super) gpus: u64,
    /// How long it may run, in seconds.
    pub(super) time_limit_seconds: u64,
    /// The indices of an array.
    pub(super) array: Option<ArrayIndices>,
    /// Held until released.
    pub(super) hold: bool,
    /// Whether it runs again when its node fails.
    pub(super) requeue: bool,
    /// Where the script starts; its home when absent.
    pub(super) work_dir: Option<String>,
    /// The job's name, for the script.
    pub(super) name: String,
}

fn line(header: &ScriptHeader, option: &str, why: String) -> InvalidSubmission {
    InvalidSubmission::HeaderLine {
        line: header.line_of(option),
        why,
    }
}

/// What asks for it: a field, which wins, or a line.
fn asks(field: Option<&'static str>, header: &ScriptHeader, option: &str, why: String) -> InvalidSubmission {
    match field {
        Some(field) => InvalidSubmission::Field { field, why },
        None => line(header, option, why),
    }
}

impl Asked {
    /// Reads all that is asked for.
    ///
    /// # Errors
    /// What cannot be had here, with the line that asks for it.
    pub(super) fn of(submission: &Submission, defaults: &Defaults) -> Result<Self, InvalidSubmission> {
        let script = &submission.script;
        let header = ScriptHeader::parse(script)?;
        if header.components() > 1 {
            let at = script
                .split(|byte| *byte == b'\n')
                .position(|line| line.starts_with(b"#SBATCH") && line.trim_ascii().ends_with(b"job"));
            return Err(InvalidSubmission::HeaderLine {
                line: at.unwrap_or(0) + 1,
                why: "heterogeneous jobs are Slurm's to run, and this scheduler is Kubernetes: write one job a component"
                    .to_owned(),
            });
        }
        if let Some(other) = header
            .options()
            .find(|option| !DONE.contains(option) && !PASSED_OVER.contains(option))
        {
            let why = format!(
                "--{other} is Slurm's to do, and this scheduler is Kubernetes: leave it out, or use an allocation on a Slurm scheduler"
            );
            return Err(line(&header, other, why));
        }
        if let Some((line, other)) = header.others().first() {
            let why = format!("{other} is no option of sbatch that this scheduler knows: leave it out");
            return Err(InvalidSubmission::HeaderLine { line: *line, why });
        }
        let wrong = |option: &str, why: String| line(&header, option, why);
        let count = |option: &'static str, field: Option<u32>| -> Result<Option<u32>, InvalidSubmission> {
            match (field, header.value(option)) {
                (Some(field), _) => Ok(Some(field)),
                (None, None) => Ok(None),
                (None, Some(written)) => match written.parse::<u32>() {
                    Ok(number) if number > 0 => Ok(Some(number)),
                    _ => Err(wrong(
                        option,
                        format!("--{option}={written} is no count: write a whole number from 1 on"),
                    )),
                },
            }
        };
        if let Some(partition) = &submission.partition {
            return Err(InvalidSubmission::Value {
                what: "the partition",
                value: partition.to_string(),
                why: "is Slurm's, and this scheduler is Kubernetes, which has none: leave it out",
            });
        }
        if let Some(nodes) = count("nodes", submission.nodes)?.filter(|nodes| *nodes > 1) {
            let why = format!(
                "a job on this scheduler is one pod on one node, and {nodes} nodes are asked for: ask for one, or use an allocation on a Slurm scheduler"
            );
            let field = submission.nodes.map(|_| "nodes");
            return Err(asks(field, &header, "nodes", why));
        }
        let tasks = match count("ntasks", submission.tasks)? {
            Some(tasks) => tasks,
            None => count("ntasks-per-node", None)?.unwrap_or(1),
        };
        let cpus_per_task = count("cpus-per-task", submission.cpus_per_task)?.unwrap_or(1);
        let cpus = u64::from(tasks) * u64::from(cpus_per_task);
        let mebibytes = |option: &'static str| -> Result<Option<u64>, InvalidSubmission> {
            let Some(written) = header.value(option) else {
                return Ok(None);
            };
            let read = mebibytes(written).filter(|mib| *mib > 0);
            read.map(Some).ok_or_else(|| {
                wrong(
                    option,
                    format!("--{option}={written} is no amount: write MiB, or a number with K, M, G or T"),
                )
            })
        };
        let memory_mib = match (
            submission.memory_mib,
            mebibytes("mem")?,
            mebibytes("mem-per-cpu")?,
        ) {
            (Some(mib), ..) | (None, Some(mib), _) => mib,
            (None, None, Some(each)) => each.saturating_mul(cpus),
            (None, None, None) => defaults.memory_mib_per_cpu.saturating_mul(cpus),
        };
        let time_limit_seconds = match (submission.time_limit_seconds, header.value("time")) {
            (Some(seconds), _) => seconds,
            (None, Some(written)) => seconds(written).filter(|seconds| *seconds > 0).ok_or_else(|| {
                wrong(
                    "time",
                    format!(
                        "--time={written} is no time limit: write minutes, hours:minutes:seconds or days-hours:minutes:seconds"
                    ),
                )
            })?,
            (None, None) => defaults.time_limit_seconds,
        };
        if time_limit_seconds > defaults.longest_seconds {
            let longest = defaults.longest_seconds;
            let why = format!(
                "{time_limit_seconds} seconds are asked for, and a job on this scheduler runs for {longest} at most: ask for less"
            );
            let field = submission.time_limit_seconds.map(|_| "the time limit");
            return Err(asks(field, &header, "time", why));
        }
        Ok(Self {
            tasks,
            cpus_per_task,
            cpus,
            memory_mib,
            disk_mib: mebibytes("tmp")?,
            gpus: gpus(submission, &header)?,
            time_limit_seconds,
            array: array(submission, &header)?,
            hold: submission.hold || header.sets("hold"),
            requeue: !header.sets("no-requeue"),
            work_dir: work_dir(submission, &header)?,
            name: header.value("job-name").unwrap_or(&submission.name).to_owned(),
        })
    }

    /// How many pods it is.
    pub(super) fn pods(&self) -> u32 {
        self.array.as_ref().map_or(1, ArrayIndices::tasks)
    }
}

fn gpus(submission: &Submission, header: &ScriptHeader) -> Result<u64, InvalidSubmission> {
    if let Some(gpus) = submission.gpus {
        return Ok(u64::from(gpus));
    }
    for option in ["gres", "gpus", "gpus-per-node"] {
        let Some(written) = header.value(option) else {
            continue;
        };
        let counted = match option {
            "gres" => written
                .strip_prefix("gpu")
                .and_then(|rest| match rest.strip_prefix(':') {
                    Some(count) => count.parse().ok(),
                    None => rest.is_empty().then_some(1),
                }),
            _ => written.parse().ok(),
        };
        return counted.ok_or_else(|| {
            line(
                header,
                option,
                format!(
                    "--{option}={written} cannot be had here: write {}, without a type",
                    if option == "gres" { "gpu:1" } else { "a count" }
                ),
            )
        });
    }
    Ok(0)
}

fn array(submission: &Submission, header: &ScriptHeader) -> Result<Option<ArrayIndices>, InvalidSubmission> {
    let Some(written) = submission.array.as_deref().or_else(|| header.value("array")) else {
        return Ok(None);
    };
    let field = submission.array.as_ref().map(|_| "the array");
    let wrong = |why: String| asks(field, header, "array", why);
    let array = ArrayIndices::parse(written).map_err(|error| wrong(error.to_string()))?;
    if array.tasks() > MOST_TASKS {
        return Err(wrong(format!(
            "the array has {} tasks, and each is a pod on this scheduler, which takes {MOST_TASKS} of one job: write fewer, larger tasks, or several arrays",
            array.tasks()
        )));
    }
    Ok(Some(array))
}

fn work_dir(submission: &Submission, header: &ScriptHeader) -> Result<Option<String>, InvalidSubmission> {
    let written = header.value("chdir").or(submission.work_dir.as_deref());
    match written {
        Some(folder) if !folder.starts_with('/') || folder.chars().any(char::is_control) => Err(line(
            header,
            "chdir",
            format!("the working directory {folder:?} is not absolute: begin it with /"),
        )),
        folder => Ok(folder.map(str::to_owned)),
    }
}

/// `4096` and `4096M` are MiB, `4G`, `1T`, `512K` what they say; a started MiB is a whole one.
fn mebibytes(written: &str) -> Option<u64> {
    let digits = written.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = written.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit
        .trim_end_matches(['B', 'b', 'i'])
        .to_ascii_uppercase()
        .as_str()
    {
        "K" => Some(number.div_ceil(1024)),
        "" | "M" => Some(number),
        "G" => number.checked_mul(1 << 10),
        "T" => number.checked_mul(1 << 20),
        _ => None,
    }
}

/// `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, `days-hours:minutes`, `days-hours:minutes:seconds`
/// (`sbatch(1)`, `--time`).
fn seconds(written: &str) -> Option<u64> {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        text.split(':')
            .map(|part| {
                part.parse()
                    .ok()
                    .filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()))
            })
            .collect()
    };
    let (days, clock, counts_hours) = match written.split_once('-') {
        Some((days, rest)) => (numbers(days)?.first().copied()?, numbers(rest)?, true),
        None => (0, numbers(written)?, false),
    };
    let (hours, minutes, rest) = match (clock[..].len(), counts_hours) {
        (1, true) => (clock[0], 0, 0),
        (2, true) => (clock[0], clock[1], 0),
        (3, _) => (clock[0], clock[1], clock[2]),
        (1, false) => (0, clock[0], 0),
        (2, false) => (0, clock[0], clock[1]),
        _ => return None,
    };
    days.checked_mul(86_400)?
        .checked_add(hours.checked_mul(3_600)?)?
        .checked_add(minutes.checked_mul(60)?)?
        .checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountName, Token, UserName};

    fn defaults() -> Defaults {
        Defaults {
            image: None,
            time_limit_seconds: 3_600,
            longest_seconds: 86_400,
            memory_mib_per_cpu: 1_024,
            pods_at_a_time: 500,
            node_selector: std::collections::BTreeMap::new(),
            tolerations: Vec::new(),
        }
    }

    fn submission(script: &str) -> Submission {
        Submission::new(
            Token::of_attempt("5b0e2c1a-0000-4000-8000-000000000000", 1).unwrap(),
            UserName::new("alice").unwrap(),
            AccountName::new("univ-caen.climate").unwrap(),
            "pi",
            script,
        )
    }

    fn asked(lines: &str) -> Result<Asked, String> {
        Asked::of(&submission(&format!("#!/bin/sh\n{lines}\ntrue\n")), &defaults())
            .map_err(|why| why.to_string())
    }

    #[test]
    fn what_a_script_asks_for_is_done_or_refused_by_its_name() {
        let one = asked(
            "#SBATCH -n 2 -c4 --mem=3G -t 1-02 -J sum\n#SBATCH --output=x.out --gres=gpu:1 --no-requeue",
        )
        .unwrap_err();
        assert!(one.contains("93600 seconds are asked for"), "{one}");
        let one =
            asked("#SBATCH -n 2 -c4 --mem=3G -t 90 -J sum\n#SBATCH --output=x.out --gres=gpu:1 --no-requeue")
                .unwrap();
        assert_eq!((one.cpus, one.memory_mib, one.gpus), (8, 3_072, 1));
        assert_eq!(
            (one.time_limit_seconds, one.requeue, one.name.as_str()),
            (5_400, false, "sum")
        );
        let plain = asked("").unwrap();
        assert_eq!(
            (plain.cpus, plain.memory_mib, plain.time_limit_seconds),
            (1, 1_024, 3_600)
        );
        assert!(plain.requeue && !plain.hold && plain.array.is_none());
        assert_eq!(asked("#SBATCH --tmp=20G").unwrap().disk_mib, Some(20_480));
        let each = asked("#SBATCH --mem-per-cpu=500 --cpus-per-task=3 -a 1-4%2 -H").unwrap();
        assert_eq!((each.memory_mib, each.pods(), each.hold), (1_500, 4, true));
        for (line, says) in [
            (
                "#SBATCH --mail-type=END",
                "line 2 of the script: --mail-type is Slurm's",
            ),
            ("#SBATCH --burst=3", "--burst=3 is no option of sbatch"),
            ("#SBATCH -C fast", "--constraint is Slurm's"),
            ("#SBATCH -p standard", "--partition is Slurm's"),
            ("#SBATCH --begin=now+1hour", "--begin is Slurm's"),
            ("#SBATCH -N 2", "one pod on one node, and 2 nodes"),
            (
                "#SBATCH --gres=gpu:a100:2",
                "--gres=gpu:a100:2 cannot be had here: write gpu:1",
            ),
            ("#SBATCH --mem=lots", "--mem=lots is no amount"),
            ("#SBATCH --time=soon", "--time=soon is no time limit"),
            ("#SBATCH --array=0-20000", "20001 tasks, and each is a pod"),
            ("#SBATCH --chdir=work", "\"work\" is not absolute"),
            ("#SBATCH --ntasks=0", "--ntasks=0 is no count"),
        ] {
            let why = asked(line).unwrap_err();
            assert!(why.contains(says), "{line}: {why}");
        }
    }

    #[test]
    fn lines_for_other_schedulers_ask_as_they_do_of_sbatch() {
        let one = asked("#PBS -N sum -j oe -V\n#PBS -l nodes=1:ppn=4,walltime=0:10:00,mem=2gb").unwrap();
        assert_eq!(
            (one.tasks, one.memory_mib, one.time_limit_seconds),
            (4, 2_048, 600)
        );
        assert_eq!(one.name, "sum");
        for (line, says) in [
            (
                "#PBS -l nodes=2",
                "line 2 of the script: a job on this scheduler is one pod",
            ),
            ("#PBS -q batch", "--partition is Slurm's"),
            ("true\n#PBS -P project", "line 3 of the script: -P is no option"),
        ] {
            let why = asked(line).unwrap_err();
            assert!(why.contains(says), "{line}: {why}");
        }
    }

    #[test]
    fn a_field_wins_over_a_line() {
        let mut both = submission("#!/bin/sh\n#SBATCH --time=5 --mem=1G --cpus-per-task=2 --array=1-3\n");
        both.time_limit_seconds = Some(90);
        both.memory_mib = Some(64);
        both.cpus_per_task = Some(1);
        both.array = Some("7".to_owned());
        let asked = Asked::of(&both, &defaults()).unwrap();
        let long = Submission {
            time_limit_seconds: Some(100_000),
            ..both.clone()
        };
        let why = Asked::of(&long, &defaults()).unwrap_err().to_string();
        assert!(why.starts_with("the time limit: 100000 seconds"), "{why}");
        assert_eq!(
            (
                asked.time_limit_seconds,
                asked.memory_mib,
                asked.cpus,
                asked.pods()
            ),
            (90, 64, 1, 1)
        );
    }

    #[test]
    fn times_and_memory_are_read_as_sbatch_reads_them() {
        for (written, read) in [
            ("5", Some(300)),
            ("5:30", Some(330)),
            ("1:00:00", Some(3_600)),
            ("2-0", Some(172_800)),
            ("1-1:1", Some(90_060)),
            ("1-1:1:1", Some(90_061)),
            ("1:2:3:4", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(seconds(written), read, "{written}");
        }
        for (written, read) in [
            ("512", Some(512)),
            ("1K", Some(1)),
            ("4GB", Some(4_096)),
            ("1T", Some(1 << 20)),
            ("x", None),
            ("4X", None),
        ] {
            assert_eq!(mebibytes(written), read, "{written}");
        }
    }
}
