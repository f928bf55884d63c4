//! Lines that a script has for another scheduler, `#BSUB` and `#PBS`: sbatch takes them for options of its own.
//!
//! Read as sbatch reads them (`xlate_batch_script` and what it calls, in Slurm's source): those of one scheduler only, LSF's
//! before PBS's; all of them, behind commands too, until a hundred lines have gone by that are no comments; after the
//! `#SBATCH` lines, so that theirs holds where both say something. Much of what they may say sbatch does nothing about:
//! that says nothing here either. Pure: text in, options out.

use super::script_header::Takes::{Nothing as N, PerhapsValue as P, Value as V};
use super::script_header::{Given, Syntax, given, words};
use crate::InvalidSubmission;

/// A scheduler that scripts are written for.
struct Scheduler {
    /// What its lines begin with.
    line: &'static [u8],
    syntax: &'static [Syntax],
    /// Its options, by their letters, as sbatch's.
    translate: fn(char, String) -> Vec<Given>,
}

/// In the order in which sbatch looks for their lines.
const SCHEDULERS: [Scheduler; 2] = [
    Scheduler {
        line: b"#BSUB",
        syntax: LSF,
        translate: of_lsf,
    },
    Scheduler {
        line: b"#PBS",
        syntax: PBS,
        translate: of_pbs,
    },
];

const LSF: &[Syntax] = &[
    ("cwd", Some('c'), V),
    ("error_file", Some('e'), V),
    ("exclusive", Some('x'), N),
    ("hostname", Some('m'), V),
    ("job_name", Some('J'), V),
    ("memory_limit", Some('M'), V),
    ("output_file", Some('o'), V),
    ("queue_name", Some('q'), V),
    ("time", Some('W'), V),
    ("", Some('n'), V),
];

const PBS: &[Syntax] = &[
    ("account", Some('A'), V),
    ("all_env", Some('V'), N),
    ("array", Some('t'), V),
    ("attributes", Some('W'), V),
    ("checkpoint", Some('c'), V),
    ("destination", Some('q'), V),
    ("error", Some('e'), V),
    ("hold", Some('h'), N),
    ("interactive", Some('I'), N),
    ("job_array", Some('J'), V),
    ("job_name", Some('N'), V),
    ("join", None, P),
    ("keep", Some('k'), V),
    ("mail_options", Some('m'), V),
    ("mail_user_list", Some('M'), V),
    ("no_std", Some('z'), N),
    ("out", Some('o'), V),
    ("priority", Some('p'), V),
    ("rerunable", Some('r'), V),
    ("resource_list", Some('l'), V),
    ("running_user", Some('u'), V),
    ("script_path", Some('S'), V),
    ("start_time", Some('a'), V),
    ("variable_list", Some('v'), V),
    ("working_dir", Some('C'), V),
    ("", Some('j'), V),
    // Where it starts: since 23.02, and refused by those before.
    ("", Some('d'), V),
    ("", Some('w'), V),
];

/// Lines that are no comments, after which sbatch looks no further.
const MOST_COMMANDS: usize = 100;

/// What one line says, in sbatch's words.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: usize,
    options: Vec<Given>,
    /// What is no option of that scheduler's that sbatch knows.
    pub(super) others: Vec<String>,
}

impl Line {
    /// Each option, with the line's number.
    pub(super) fn each(&self) -> impl Iterator<Item = (usize, &Given)> {
        self.options.iter().map(|option| (self.number, option))
    }
}

/// Reads the lines that sbatch takes.
///
/// # Errors
/// A sentence with the line when it cannot be read.
pub(super) fn lines(script: &[u8]) -> Result<Vec<Line>, InvalidSubmission> {
    let found = SCHEDULERS
        .iter()
        .map(|scheduler| (scheduler, lines_of(scheduler, script)))
        .find(|(_, lines)| !lines.is_empty());
    let Some((scheduler, lines)) = found else {
        return Ok(Vec::new());
    };
    let mut before = 0;
    lines
        .into_iter()
        .map(|(number, text)| {
            read(scheduler, number, text, &mut before)
                .map_err(|why| InvalidSubmission::HeaderLine { line: number, why })
        })
        .collect()
}

fn lines_of<'a>(scheduler: &Scheduler, script: &'a [u8]) -> Vec<(usize, &'a [u8])> {
    let mut found = Vec::new();
    let mut commands = 0;
    for (index, line) in script.split(|byte| *byte == b'\n').enumerate() {
        if let Some(rest) = line.strip_prefix(scheduler.line) {
            found.push((index + 1, rest));
        } else if !line.starts_with(b"#") {
            commands += 1;
        }
        if commands > MOST_COMMANDS {
            break;
        }
    }
    found
}

/// Reads a line, which has so many words of others before it.
fn read(scheduler: &Scheduler, number: usize, text: &[u8], before: &mut usize) -> Result<Line, String> {
    let mut words = words(&String::from_utf8_lossy(text))?;
    for word in &mut words {
        // A long option with one dash, which sbatch knows where it stands if all before it had values; elsewhere it is -c.
        if scheduler.line == b"#BSUB" && word == "-cwd" && before.is_multiple_of(2) {
            "-c".clone_into(word);
        }
        *before += 1;
    }
    let said = given(words, scheduler.syntax)?;
    let options = said.options.into_iter().filter_map(|((_, letter, _), value)| {
        Some((scheduler.translate)(letter?, value.unwrap_or_default()))
    });
    Ok(Line {
        number,
        options: options.flatten().collect(),
        others: said.others,
    })
}

fn of_lsf(letter: char, value: String) -> Vec<Given> {
    let (option, value) = match letter {
        'c' => ("chdir", value),
        'e' => ("error", value),
        'J' => ("job-name", value),
        'm' => ("nodelist", value.replace(' ', ",")),
        // LSF counts in KiB.
        'M' if value.ends_with(|last: char| last.is_ascii_digit()) => ("mem-per-cpu", value + "K"),
        'M' => ("mem-per-cpu", value),
        // Of at least and at most, the latter.
        'n' => (
            "ntasks",
            value
                .split_once(',')
                .map_or(value.clone(), |(_, most)| most.to_owned()),
        ),
        'o' => ("output", value),
        'q' => ("partition", value),
        'W' => ("time", value),
        'x' => return vec![("exclusive", None)],
        _ => return Vec::new(),
    };
    vec![(option, Some(value))]
}

fn of_pbs(letter: char, value: String) -> Vec<Given> {
    let (option, value) = match letter {
        'a' => ("begin", value),
        'A' => ("account", value),
        'd' | 'w' => ("chdir", value),
        'e' => ("error", value),
        'h' => return vec![("hold", None)],
        'J' | 't' => ("array", value),
        'l' => return resources(&value),
        'm' => ("mail-type", mail_type(&value)),
        'M' => ("mail-user", value),
        'N' => ("job-name", value),
        'o' => ("output", value),
        'p' => ("nice", value),
        'q' => ("partition", value),
        'v' => ("export", value),
        'W' => return attribute(&value).into_iter().collect(),
        _ => return Vec::new(),
    };
    vec![(option, Some(value))]
}

/// Two of PBS's attributes are Slurm's, too.
fn attribute(written: &str) -> Option<Given> {
    let (name, value) = written.split_once('=')?;
    let option = match name.to_ascii_lowercase().as_str() {
        "umask" => "umask",
        "depend" => "dependency",
        _ => return None,
    };
    Some((option, Some(value.to_owned())))
}

fn mail_type(written: &str) -> String {
    let has = |letter: char| written.contains([letter, letter.to_ascii_uppercase()]);
    if has('n') {
        return "NONE".to_owned();
    }
    let moments = [('b', "BEGIN"), ('e', "END"), ('a', "FAIL")];
    let of_those: Vec<&str> = moments
        .into_iter()
        .filter_map(|(letter, moment)| has(letter).then_some(moment))
        .collect();
    of_those.join(",")
}

/// What sbatch looks for in a resource list, what ends the value that follows, and its own option for it.
const RESOURCES: [(&str, Option<char>, Option<&str>); 21] = [
    ("accelerator=true", None, None),
    ("arch=", Some(','), None),
    ("cput=", Some(','), Some("time")),
    ("file=", Some(','), Some("tmp")),
    ("host=", Some(','), None),
    ("mem=", Some(','), Some("mem")),
    ("mpiprocs=", Some(':'), Some("ntasks-per-node")),
    ("naccelerators=", Some(','), None),
    ("ncpus=", Some(':'), Some("mincpus")),
    ("nice=", Some(','), Some("nice")),
    ("nodes=", Some(','), None),
    ("opsys=", Some(','), None),
    ("other=", Some(','), None),
    ("pcput=", Some(','), Some("time")),
    ("pmem=", Some(','), None),
    ("proc=", Some(','), Some("constraint")),
    ("pvmem=", Some(','), None),
    ("select=", Some(':'), Some("nodes")),
    ("software=", Some(','), None),
    ("vmem=", Some(','), None),
    ("walltime=", Some(','), Some("time")),
];

/// Those of them whose words sbatch knows in capitals, too.
const IN_ANY_CASE: [&str; 5] = [
    "accelerator=true",
    "mpiprocs=",
    "naccelerators=",
    "ncpus=",
    "select=",
];

/// `nodes=2:ppn=4,walltime=1:00:00,mem=4gb` and `select=2:ncpus=8:mpiprocs=4`: sbatch looks for its words wherever they
/// stand, and passes over the rest.
fn resources(list: &str) -> Vec<Given> {
    let mut found: Vec<Given> = Vec::new();
    let mut gpus = 0;
    let mut rest = list;
    while let Some(first) = rest.chars().next() {
        let Some((word, end, option)) = RESOURCES.iter().find(|(word, ..)| begins_with(rest, word)) else {
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let behind = &rest[word.len()..];
        let (value, after) = end.map_or(("", behind), |end| until(behind, end));
        rest = after;
        match *word {
            "accelerator=true" => gpus = gpus.max(1),
            "naccelerators=" => gpus = number(value),
            "nodes=" => found.extend(nodes(value)),
            // What follows it goes with it.
            "proc=" => rest = until(rest, ',').1,
            _ => {}
        }
        if let Some(option) = *option {
            let value = match option {
                // In Slurm a size has no B.
                "mem" | "tmp" => value.strip_suffix(['b', 'B']).unwrap_or(value),
                _ => value,
            };
            found.push((option, Some(value.to_owned())));
        }
    }
    found.extend(cpus_per_task(&found));
    if gpus > 0 {
        found.push(("gres", Some(format!("gpu:{gpus}"))));
    }
    found
}

fn begins_with(text: &str, word: &str) -> bool {
    text.get(..word.len()).is_some_and(|beginning| {
        beginning == word || IN_ANY_CASE.contains(&word) && beginning.eq_ignore_ascii_case(word)
    })
}

/// What stands before a character, and what behind it.
fn until(text: &str, end: char) -> (&str, &str) {
    text.split_once(end).unwrap_or((text, ""))
}

/// As C reads a number: the digits that it begins with.
fn number(text: &str) -> u64 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().unwrap_or(0)
}

/// Of chunks of several processes, the CPUs of each.
fn cpus_per_task(found: &[Given]) -> Option<Given> {
    let of = |wanted: &str| {
        let (_, value) = found.iter().rev().find(|(option, _)| *option == wanted)?;
        value.as_deref().map(number)
    };
    let (_, cpus, tasks) = (of("nodes")?, of("mincpus")?, of("ntasks-per-node")?);
    let each = cpus.checked_div(tasks).filter(|_| cpus > tasks)?;
    Some(("cpus-per-task", Some(each.to_string())))
}

/// `2:ppn=4`, `n1+n2:ppn=8`, `1:ppn=2:gpus=1`.
fn nodes(written: &str) -> Vec<Given> {
    let mut found = Vec::new();
    let mut names = Vec::new();
    let (mut count, mut tasks_of_each): (u64, u64) = (0, 0);
    for part in written.split(['+', ':']) {
        let part = part.trim_start_matches(|first: char| !first.is_ascii_alphanumeric());
        if let Some(gpus) = part.strip_prefix("gpus=") {
            found.push(("gpus-per-node", gpus.to_owned()));
        } else if let Some(tasks) = part.strip_prefix("ppn=") {
            tasks_of_each = tasks_of_each.saturating_add(number(tasks));
        } else if part.starts_with(|first: char| first.is_ascii_digit()) {
            count = count.saturating_add(number(part));
        } else if !part.is_empty() {
            names.push(part);
        }
    }
    if count > 0 {
        found.push(("nodes", count.to_string()));
    }
    if tasks_of_each > 0 {
        found.push(("ntasks", tasks_of_each.saturating_mul(count.max(1)).to_string()));
    }
    if !names.is_empty() {
        found.push(("nodelist", names.join(",")));
    }
    found
        .into_iter()
        .map(|(option, value)| (option, Some(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slurm::ScriptHeader;
    use proptest::prelude::*;

    /// What lines come to, as sbatch's options would be written.
    fn options(text: &str) -> String {
        let lines = lines(format!("#!/bin/sh\n{text}\n").as_bytes()).unwrap();
        let each = lines.into_iter().flat_map(|line| line.options);
        let written = each.map(|(option, value)| match value {
            Some(value) => format!("--{option}={value}"),
            None => format!("--{option}"),
        });
        written.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_line_of_pbs_says_what_sbatch_makes_of_it() {
        for (line, made) in [
            ("-N mpi_job", "--job-name=mpi_job"),
            (
                "-A lab -q batch -h -p 5",
                "--account=lab --partition=batch --hold --nice=5",
            ),
            ("-o out.log -e err.log", "--output=out.log --error=err.log"),
            ("-t 1-20%5", "--array=1-20%5"),
            ("-J 1-10:2", "--array=1-10:2"),
            (
                "-m abe -M lab@univ.test",
                "--mail-type=BEGIN,END,FAIL --mail-user=lab@univ.test",
            ),
            ("-m n", "--mail-type=NONE"),
            ("-v A=1,B", "--export=A=1,B"),
            ("-W umask=027", "--umask=027"),
            ("-W depend=afterok:12", "--dependency=afterok:12"),
            ("-d /scratch", "--chdir=/scratch"),
            // sbatch does nothing about these.
            (
                "-j oe -k oe -V -I -z -r n -S /bin/bash -c s -C '#X' -u bob -W block=true",
                "",
            ),
            (
                "-l nodes=2:ppn=4,walltime=00:20:00,mem=2gb",
                "--nodes=2 --ntasks=8 --time=00:20:00 --mem=2g",
            ),
            ("-lnodes=n1+n2:ppn=8", "--ntasks=8 --nodelist=n1,n2"),
            (
                "-l nodes=1:ppn=2:gpus=1",
                "--gpus-per-node=1 --nodes=1 --ntasks=2",
            ),
            (
                "-l select=2:ncpus=8:mpiprocs=4:mem=4gb",
                "--nodes=2 --mincpus=8 --ntasks-per-node=4 --mem=4g --cpus-per-task=2",
            ),
            (
                "-l select=1:NCPUS=2:accelerator=True",
                "--nodes=1 --mincpus=2 --gres=gpu:1",
            ),
            (
                "-l naccelerators=2,place=scatter,pmem=1gb,vmem=9gb",
                "--gres=gpu:2",
            ),
            ("-l cput=10:00,file=3GB,nice=2", "--time=10:00 --tmp=3G --nice=2"),
            // A value ends where sbatch ends it.
            ("-l ncpus=8,walltime=1:00:00", "--mincpus=8,walltime=1 "),
        ] {
            assert_eq!(options(&format!("#PBS {line}")).trim(), made.trim(), "{line}");
        }
    }

    #[test]
    fn a_line_of_lsf_says_what_sbatch_makes_of_it() {
        for (line, made) in [
            (
                "-J lsf -n 4 -W 20 -q batch",
                "--job-name=lsf --ntasks=4 --time=20 --partition=batch",
            ),
            ("-n 2,6 -cwd /tmp -x", "--ntasks=6 --chdir=/tmp --exclusive"),
            ("-M 1000 -m 'n1 n2'", "--mem-per-cpu=1000K --nodelist=n1,n2"),
            ("-M 2G -o out -e err", "--mem-per-cpu=2G --output=out --error=err"),
        ] {
            assert_eq!(options(&format!("#BSUB {line}")), made, "{line}");
        }
    }

    #[test]
    fn they_count_behind_commands_and_of_one_scheduler_only() {
        assert_eq!(
            options("cd /tmp\n#PBS -N a\n##PBS -N b\n #PBS -N c"),
            "--job-name=a"
        );
        assert_eq!(options("#PBS -N a\n#BSUB -J b"), "--job-name=b");
        let far = |commands: usize| format!("{}#PBS -N a", "true\n# why\n".repeat(commands));
        assert_eq!(options(&far(100)), "--job-name=a");
        assert_eq!(options(&far(101)), "");
    }

    /// The perimeter's partitions are compared with it.
    #[test]
    fn a_queue_is_seen_however_it_is_written() {
        for line in [
            "-q gpu",
            "-qgpu",
            "-Vq gpu",
            "-VIzqgpu",
            "--destination=gpu",
            "--dest gpu",
            "--d=gpu",
            "--join -q gpu",
            "-j oe -q gpu",
            "-W block=true -q 'gpu'",
            "-N \"a b\" -q g\\pu # now",
        ] {
            let header = ScriptHeader::parse(format!("#!/bin/sh\n#PBS {line}\n").as_bytes()).unwrap();
            assert_eq!(header.value("partition"), Some("gpu"), "{line}");
        }
        for lines in [
            "#BSUB -cwd /tmp -q gpu",
            "#BSUB -x\n#BSUB -cwd -q gpu",
            "#PBS -cwd -q gpu",
        ] {
            let header = ScriptHeader::parse(format!("#!/bin/sh\n{lines}\n").as_bytes()).unwrap();
            assert_eq!(header.value("partition"), Some("gpu"), "{lines}");
        }
    }

    #[test]
    fn what_is_no_option_there_is_kept_with_its_line_and_a_missing_value_is_told() {
        let header = ScriptHeader::parse(b"#!/bin/sh\n#PBS -P project\n").unwrap();
        assert_eq!(header.others(), [(2, "-P".to_owned())]);
        let refusal = ScriptHeader::parse(b"#!/bin/sh\n\n#PBS -N\n").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "line 3 of the script: -N needs a value: write -N \u{2026}"
        );
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused_but_never_a_panic(text in "\\PC{0,60}", list in "[a-z=:,+0-9é]{0,40}") {
            let _ = lines(format!("#!/bin/sh\n#PBS {text}\n#PBS -l {list}\n").as_bytes());
            let _ = lines(format!("#!/bin/sh\n#BSUB {text}\n").as_bytes());
        }
    }
}
