//! The `#SBATCH` lines of a script, read as sbatch reads them, to know what they set and what must not be overridden.
//!
//! sbatch reads them itself when the job is submitted; this reading only decides which defaults are given beside
//! them, and refuses the few options that would make a submission something else than one job here. The rules are
//! sbatch's (`sbatch(1)`, and `_opt_batch_script` in Slurm's source): lines count until the first one that is neither
//! empty nor a comment; quotes and backslashes work as there; long options may be shortened where that is
//! unambiguous; `#SLURM` is an old spelling; and lines for other schedulers (`other_schedulers.rs`) come last. Pure: text
//! in, options out.

use super::other_schedulers;
use crate::InvalidSubmission;

/// What a script's `#SBATCH` lines set. Of a heterogeneous job, the lines of its first component, which runs the script,
/// unless the name of a method says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptHeader {
    options: Vec<Set>,
    /// The same of each further component.
    further: Vec<Vec<Set>>,
    /// What is no option of sbatch's own, with its line.
    others: Vec<(usize, String)>,
}

/// An option that a line sets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    line: usize,
    /// Whether the line is one for another scheduler.
    of_another: bool,
    option: &'static str,
    value: Option<String>,
}

/// An option of sbatch's by its long name, with its value.
pub(super) type Given = (&'static str, Option<String>);

/// An option as getopt_long(3) is told of it: its long name, empty where it has none, its letter, whether it takes a value.
pub(super) type Syntax = (&'static str, Option<char>, Takes);

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Value,
    PerhapsValue,
}

use Takes::{Nothing as N, PerhapsValue as P, Value as V};

/// sbatch's options, long name, letter, value: 22.05's, and those that came until 26.05.
const OPTIONS: &[Syntax] = &[
    ("account", Some('A'), V),
    ("acctg-freq", None, V),
    ("array", Some('a'), V),
    ("autocomplete", None, V),
    ("batch", None, V),
    ("bb", None, V),
    ("bbf", None, V),
    ("begin", Some('b'), V),
    ("chdir", Some('D'), V),
    ("cluster-constraint", None, V),
    ("clusters", Some('M'), V),
    ("comment", None, V),
    ("consolidate-segments", None, N),
    ("constraint", Some('C'), V),
    ("container", None, V),
    ("container-id", None, V),
    ("container-type", None, V),
    ("contiguous", None, N),
    ("core-spec", Some('S'), V),
    ("cores-per-socket", None, V),
    ("cpu-freq", None, V),
    ("cpus-per-gpu", None, V),
    ("cpus-per-task", Some('c'), V),
    ("deadline", None, V),
    ("delay-boot", None, V),
    ("dependency", Some('d'), V),
    ("distribution", Some('m'), V),
    ("error", Some('e'), V),
    ("exclude", Some('x'), V),
    ("exclusive", None, P),
    ("export", None, V),
    ("export-file", None, V),
    ("external", None, N),
    ("extra", None, V),
    ("extra-node-info", Some('B'), V),
    ("get-user-env", None, P),
    ("gid", None, V),
    ("gpu-bind", None, V),
    ("gpu-freq", None, V),
    ("gpus", Some('G'), V),
    ("gpus-per-node", None, V),
    ("gpus-per-socket", None, V),
    ("gpus-per-task", None, V),
    ("gres", None, V),
    ("gres-flags", None, V),
    ("help", Some('h'), N),
    ("hint", None, V),
    ("hold", Some('H'), N),
    ("ignore-pbs", None, N),
    ("input", Some('i'), V),
    ("job-name", Some('J'), V),
    ("kill-on-invalid-dep", None, V),
    ("licenses", Some('L'), V),
    ("mail-type", None, V),
    ("mail-user", None, V),
    ("mcs-label", None, V),
    ("mem", None, V),
    ("mem-bind", None, V),
    ("mem-per-cpu", None, V),
    ("mem-per-gpu", None, V),
    ("mem-update", None, V),
    ("mincpus", None, V),
    ("network", None, V),
    ("nice", None, P),
    ("no-kill", Some('k'), P),
    ("no-requeue", None, N),
    ("nodefile", Some('F'), V),
    ("nodelist", Some('w'), V),
    ("nodes", Some('N'), V),
    ("ntasks", Some('n'), V),
    ("ntasks-per-core", None, V),
    ("ntasks-per-gpu", None, V),
    ("ntasks-per-node", None, V),
    ("ntasks-per-socket", None, V),
    ("oom-kill-step", None, P),
    ("open-mode", None, V),
    ("output", Some('o'), V),
    ("overcommit", Some('O'), N),
    ("oversubscribe", Some('s'), N),
    ("parsable", None, N),
    ("partition", Some('p'), V),
    ("power", None, V),
    ("prefer", None, V),
    ("priority", None, V),
    ("profile", None, V),
    ("propagate", None, P),
    ("qos", Some('q'), V),
    ("quiet", Some('Q'), N),
    ("reboot", None, N),
    ("requeue", None, N),
    ("reservation", None, V),
    ("resv-ports", None, P),
    ("segment", None, V),
    ("share", None, N),
    ("signal", None, V),
    ("sockets-per-node", None, V),
    ("spread-job", None, N),
    ("spread-segments", None, N),
    ("stepmgr", None, N),
    ("switches", None, V),
    ("test-only", None, N),
    ("thread-spec", None, V),
    ("threads-per-core", None, V),
    ("time", Some('t'), V),
    ("time-min", None, V),
    ("tmp", None, V),
    ("tres-bind", None, V),
    ("tres-per-task", None, V),
    ("uid", None, V),
    ("usage", None, N),
    ("use-min-nodes", None, N),
    ("verbose", Some('v'), N),
    ("version", Some('V'), N),
    ("wait", Some('W'), N),
    ("wait-all-nodes", None, V),
    ("wckey", None, V),
    ("workdir", None, V),
    ("wrap", None, V),
];

/// Options that would make a submission something else than one job here, and what to write instead.
const REFUSED: &[(&str, &str)] = &[
    (
        "wait",
        "--wait would keep the submission waiting for the job's end: leave it out, and wait for the job object instead",
    ),
    ("test-only", "--test-only submits nothing: leave it out"),
    (
        "clusters",
        "--clusters would send the job to another scheduler: leave it out, the allocation names the scheduler",
    ),
    (
        "cluster-constraint",
        "--cluster-constraint would send the job to another scheduler: leave it out",
    ),
    ("autocomplete", "--autocomplete submits nothing: leave it out"),
    ("help", "--help submits nothing: leave it out"),
    ("usage", "--usage submits nothing: leave it out"),
    ("version", "--version submits nothing: leave it out"),
    (
        "wrap",
        "--wrap replaces the script: write the command into the script",
    ),
    (
        "external",
        "--external holds nodes for something outside of Slurm and runs no script: leave it out",
    ),
    (
        "uid",
        "--uid is for administrators: the job runs as its author; leave it out",
    ),
    (
        "gid",
        "--gid is for administrators: the job runs with its author's groups; leave it out",
    ),
];

impl ScriptHeader {
    /// Reads the header of a script.
    ///
    /// # Errors
    /// A sentence with the line when sbatch could not read it either, or when an option is one that cannot be allowed.
    pub fn parse(script: &[u8]) -> Result<Self, InvalidSubmission> {
        let mut header = Self::default();
        for (index, text) in script.split(|&byte| byte == b'\n').enumerate() {
            let line = index + 1;
            let begins = [&b"#SBATCH"[..], b"#SLURM"];
            let Some(rest) = begins.into_iter().find_map(|word| text.strip_prefix(word)) else {
                match text.iter().find(|byte| !is_space(**byte)) {
                    None | Some(b'#') => continue,
                    Some(_) => break,
                }
            };
            let wrong = |why: String| InvalidSubmission::HeaderLine { line, why };
            let rest = String::from_utf8_lossy(rest);
            if rest
                .split(is_blank)
                .find(|word| !word.is_empty())
                .is_some_and(begins_a_component)
            {
                header.further.push(Vec::new());
            }
            let said = words(&rest)
                .and_then(|words| given(words, OPTIONS))
                .map_err(wrong)?;
            let set = said.options.into_iter().map(|((option, ..), value)| Set {
                line,
                of_another: false,
                option,
                value,
            });
            header.component().extend(set);
            header
                .others
                .extend(said.others.into_iter().map(|other| (line, other)));
        }
        header.take_from_other_schedulers(script)?;
        header.refuse_what_would_be_no_job()?;
        Ok(header)
    }

    /// Every option of sbatch's, by its long name without dashes: for who offers them elsewhere.
    pub fn known_options() -> impl Iterator<Item = &'static str> {
        OPTIONS.iter().map(|(long, ..)| *long)
    }

    /// Whether the header sets an option, by its long name without dashes.
    pub fn sets(&self, option: &str) -> bool {
        last(&self.options, option).is_some()
    }

    /// The options that are set, by their long names without dashes, as often as they are.
    pub fn options(&self) -> impl Iterator<Item = &'static str> {
        self.options.iter().map(|set| set.option)
    }

    /// How many components the job has: one, or those of a heterogeneous job.
    pub fn components(&self) -> usize {
        1 + self.further.len()
    }

    /// An option's value of each component.
    pub fn values(&self, option: &str) -> impl Iterator<Item = Option<&str>> {
        std::iter::once(&self.options)
            .chain(&self.further)
            .map(move |options| last(options, option)?.value.as_deref())
    }

    /// What stands there and is no option of sbatch's own, with its line: one of a site's plugin, or shortened too far.
    pub fn others(&self) -> &[(usize, String)] {
        &self.others
    }

    /// The option's value, the last one where it is set several times.
    pub fn value(&self, option: &str) -> Option<&str> {
        last(&self.options, option)?.value.as_deref()
    }

    /// The line that its value is from, for a message; the first of all where nothing sets it.
    pub fn line_of(&self, option: &str) -> usize {
        last(&self.options, option).map_or(1, |set| set.line)
    }

    /// The line for another scheduler that its value is from: it wins over `#SBATCH` lines.
    pub fn line_of_another_scheduler(&self, option: &str) -> Option<usize> {
        last(&self.options, option)
            .filter(|set| set.of_another)
            .map(|set| set.line)
    }

    /// The component whose lines are being read.
    fn component(&mut self) -> &mut Vec<Set> {
        self.further.last_mut().unwrap_or(&mut self.options)
    }

    /// sbatch reads a script once a component, and each time all lines for other schedulers, until one says that it is not to.
    fn take_from_other_schedulers(&mut self, script: &[u8]) -> Result<(), InvalidSubmission> {
        if self.sets("ignore-pbs") {
            return Ok(());
        }
        let lines = other_schedulers::lines(script)?;
        let components = std::iter::once(&mut self.options).chain(&mut self.further);
        for options in components.take_while(|options| last(options, "ignore-pbs").is_none()) {
            for (line, (option, value)) in lines.iter().flat_map(other_schedulers::Line::each) {
                let before = last(options, option).and_then(|set| set.value.as_deref());
                let value = value.as_deref().map(|value| together(option, before, value));
                options.push(Set {
                    line,
                    of_another: true,
                    option,
                    value,
                });
            }
        }
        for line in lines {
            self.others
                .extend(line.others.into_iter().map(|other| (line.number, other)));
        }
        Ok(())
    }

    fn refuse_what_would_be_no_job(&self) -> Result<(), InvalidSubmission> {
        let of_all = || std::iter::once(&self.options).chain(&self.further).flatten();
        let refused = REFUSED
            .iter()
            .find_map(|(name, why)| Some((of_all().find(|set| set.option == *name)?.line, *why)));
        match refused {
            Some((line, why)) => Err(InvalidSubmission::HeaderLine {
                line,
                why: why.to_owned(),
            }),
            None => Ok(()),
        }
    }
}

/// What holds of an option that is set several times.
fn last<'a>(options: &'a [Set], option: &str) -> Option<&'a Set> {
    options.iter().rev().find(|set| set.option == option)
}

/// Three options sbatch adds to, where another scheduler's line sets them and one before it did.
fn together(option: &str, before: Option<&str>, value: &str) -> String {
    match (option, before) {
        ("export" | "gres", Some(before)) => format!("{before},{value}"),
        ("constraint", Some(before)) => format!("{value},{before}"),
        _ => value.to_owned(),
    }
}

/// What getopt_long(3) finds in the words of a line.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) options: Vec<(Syntax, Option<String>)>,
    /// What looks like an option, and is none of those that it was told of.
    pub(super) others: Vec<String>,
}

/// Takes the options of one line, as getopt_long(3) does with one line after the other.
pub(super) fn given(words: Vec<String>, syntax: &[Syntax]) -> Result<Said, String> {
    let mut said = Said::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let (written, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let Some(option) = long_option(written, syntax) else {
                said.others.push(word);
                continue;
            };
            let (name, _, takes) = option;
            let value = match (takes, value) {
                (Takes::Nothing, Some(_)) => {
                    return Err(format!("--{name} takes no value: leave it out"));
                }
                (Takes::Value, None) => Some(
                    words
                        .next()
                        .ok_or_else(|| format!("--{name} needs a value: write --{name}=…"))?,
                ),
                (_, value) => value,
            };
            said.options.push((option, value));
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            let mut rest = letters.chars();
            while let Some(letter) = rest.next() {
                let Some(option) = syntax.iter().find(|(_, short, _)| *short == Some(letter)) else {
                    said.others.push(format!("-{letter}"));
                    break;
                };
                let value = match option.2 {
                    Takes::Nothing => None,
                    takes => {
                        let joined: String = rest.by_ref().collect();
                        match (joined.is_empty(), takes) {
                            (false, _) => Some(joined),
                            (true, Takes::Value) => Some(
                                words
                                    .next()
                                    .ok_or_else(|| format!("-{letter} needs a value: write -{letter} …"))?,
                            ),
                            (true, _) => None,
                        }
                    }
                };
                said.options.push((*option, value));
            }
        }
        // What is no option, or one of a site's plugin, or shortened too far, is sbatch's to take or to refuse.
    }
    Ok(said)
}

fn long_option(written: &str, syntax: &[Syntax]) -> Option<Syntax> {
    let named = || syntax.iter().filter(|(name, ..)| !name.is_empty());
    if let Some(option) = named().find(|(name, ..)| *name == written) {
        return Some(*option);
    }
    let mut candidates = named().filter(|(name, ..)| name.starts_with(written));
    match (candidates.next(), candidates.next()) {
        (Some(option), None) => Some(*option),
        _ => None,
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

/// Whether sbatch begins another component of a heterogeneous job at a word, where it is a line's first.
fn begins_a_component(word: &str) -> bool {
    ["hetjob", "packjob"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(word))
}

/// Splits the rest of a line as sbatch's `get_argument` does, for which the line ends at a remark, at an empty word and at
/// `hetjob`.
pub(super) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| is_blank(*c)).is_some() {}
        match chars.peek() {
            None | Some('#') => return Ok(words),
            Some(':') => {
                return Err("a colon stands where an option should: write #SBATCH --option=value".to_owned());
            }
            Some(_) => {}
        }
        let written: String = chars.clone().take_while(|c| !is_blank(*c)).collect();
        if begins_a_component(&written) {
            return Ok(words);
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(&c) = chars.peek() {
            // Behind # it is a remark, in the middle of a word, too.
            if quote.is_none() && (is_blank(c) || c == '#') {
                break;
            }
            chars.next();
            match (c, quote) {
                ('\\', None) if chars.peek().copied().is_some_and(is_blank) => {
                    // In 22.05 the word ends there, later it goes on.
                    return Err(
                        "a backslash stands before a space, which releases of Slurm read differently: put the value into quotes"
                            .to_owned(),
                    );
                }
                ('\\', _) => word.extend(chars.next()),
                (c, Some(open)) if c == open => quote = None,
                ('"' | '\'', None) => quote = Some(c),
                (c, _) => word.push(c),
            }
        }
        if let Some(open) = quote {
            return Err(format!(
                "the quote {open} is not closed: close it on the same line"
            ));
        }
        if word.is_empty() {
            return Ok(words);
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(script: &str) -> ScriptHeader {
        ScriptHeader::parse(script.as_bytes()).unwrap()
    }

    fn refusal(script: &str) -> String {
        ScriptHeader::parse(script.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn every_way_to_write_an_option_is_understood() {
        for line in [
            "--job-name=pi",
            "--job-name pi",
            "-J pi",
            "-Jpi",
            "--job=pi",
            "  --job-name=\"pi\"",
            "-J 'pi' # its name",
            "--hold -J pi",
            "-HJpi",
            "--job-name=p\\i",
            "-N1 -J pi --output x",
        ] {
            let read = header(&format!("#!/bin/bash\n#SBATCH {line}\ntrue\n"));
            assert_eq!(read.value("job-name"), Some("pi"), "{line}");
        }
    }

    #[test]
    fn only_lines_before_the_first_command_count() {
        let read = header(
            "#!/bin/sh\n\n  # a comment\n#SBATCH -J a\n \t\n#SBATCH -o x\ncd /tmp\n#SBATCH -J b --wait\n",
        );
        assert_eq!(read.value("job-name"), Some("a"));
        assert_eq!(read.value("output"), Some("x"));
        assert!(!read.sets("wait"));
        assert!(!header("#!/bin/sh\n #SBATCH -J a\n##SBATCH -J b\n# SBATCH -J c\ntrue").sets("job-name"));
    }

    #[test]
    fn what_follows_a_hash_is_a_remark_in_the_middle_of_a_word_too_but_for_quotes() {
        let read = header("#!/bin/sh\n#SBATCH -J a#b -o x\n#SBATCH --comment='c#d' -p e\n");
        assert_eq!((read.value("job-name"), read.sets("output")), (Some("a"), false));
        assert_eq!(
            (read.value("comment"), read.value("partition")),
            (Some("c#d"), Some("e"))
        );
    }

    /// Else something would count here that does not for sbatch, as `--ignore-pbs`, or the other way round.
    #[test]
    fn a_line_ends_where_it_ends_for_sbatch() {
        for line in [
            "\"\" -p x",
            "-n 1 '' -p x",
            "-n 1 hetjob -p x",
            "hetjob -p x",
            "HetJob -p x",
        ] {
            let read = header(&format!("#!/bin/sh\n#SBATCH {line}\n"));
            assert_eq!(read.values("partition").flatten().next(), None, "{line}");
        }
        assert_eq!(header("#!/bin/sh\n#SBATCH HetJob -p x\n").components(), 2);
        assert_eq!(header("#!/bin/sh\n#SBATCH -J \"hetjob\" -n 1\n").components(), 1);
        assert!(refusal("#!/bin/sh\n#SBATCH -J a\\ -p x\n").contains("put the value into quotes"));
    }

    #[test]
    fn the_old_spelling_of_a_line_counts_as_it_does_for_sbatch() {
        assert_eq!(
            header("#!/bin/sh\n#SLURM -p gpu\n").value("partition"),
            Some("gpu")
        );
        assert!(refusal("#!/bin/sh\n#SLURM --uid=0\n").starts_with("line 2"));
    }

    #[test]
    fn of_an_option_that_both_set_the_line_for_another_scheduler_holds_in_each_component() {
        let read = header(
            "#!/bin/sh\n#PBS -N theirs -v A=1\n#SBATCH -J ours --export=B -p x\n#SBATCH hetjob\n#SBATCH -J second\ntrue\n\
             #PBS -l accelerator=true\n",
        );
        assert_eq!(
            read.values("job-name").collect::<Vec<_>>(),
            [Some("theirs"), Some("theirs")]
        );
        assert_eq!(
            read.values("gres").collect::<Vec<_>>(),
            [Some("gpu:1"), Some("gpu:1")]
        );
        // What is exported is added.
        assert_eq!(
            read.values("export").collect::<Vec<_>>(),
            [Some("B,A=1"), Some("A=1")]
        );
        assert_eq!(read.value("partition"), Some("x"));
        assert_eq!((read.line_of("job-name"), read.line_of("partition")), (2, 3));
        assert_eq!(read.line_of_another_scheduler("job-name"), Some(2));
        assert_eq!(read.line_of_another_scheduler("partition"), None);
        let alone = header("#!/bin/sh\n#SBATCH --ignore-pbs\n#PBS -N theirs\n");
        assert!(!alone.sets("job-name"));
        // From the component on that says so.
        let some =
            header("#!/bin/sh\n#SBATCH hetjob\n#SBATCH --ignore-pbs\n#SBATCH hetjob\n#PBS -N theirs\n");
        assert_eq!(
            some.values("job-name").collect::<Vec<_>>(),
            [Some("theirs"), None, None]
        );
    }

    #[test]
    fn an_options_value_is_not_taken_for_an_option() {
        let read = header("#!/bin/sh\n#SBATCH --comment -J --exclusive\n#SBATCH --nice --hold\n");
        assert!(!read.sets("job-name"));
        assert_eq!(read.value("comment"), Some("-J"));
        assert!(read.sets("hold"));
    }

    #[test]
    fn an_option_that_only_the_site_knows_is_left_to_sbatch() {
        let read = header("#!/bin/sh\n#SBATCH --site-plugin=x --cpus=3 -Z -J a\n");
        assert_eq!(read.value("job-name"), Some("a"));
        assert!(!read.sets("cpus-per-task"));
    }

    #[test]
    fn the_last_of_several_values_holds() {
        assert_eq!(
            header("#!/bin/sh\n#SBATCH -J a\n#SBATCH --job-name=b\n").value("job-name"),
            Some("b")
        );
    }

    #[test]
    fn of_a_heterogeneous_job_the_first_component_speaks_and_each_is_known() {
        let read = header(
            "#!/bin/sh\n#SBATCH -J a -p x\n#SBATCH hetjob\n#SBATCH -J b -o b.txt\n#SBATCH   hetjob # more\n#SBATCH -p y\n",
        );
        assert_eq!(read.components(), 3);
        assert_eq!((read.value("job-name"), read.value("output")), (Some("a"), None));
        assert_eq!(
            read.values("partition").collect::<Vec<_>>(),
            [Some("x"), None, Some("y")]
        );
        assert_eq!(header("#!/bin/sh\ntrue\n#SBATCH hetjob\n").components(), 1);
    }

    #[test]
    fn what_would_not_be_one_job_here_is_refused_with_the_line_and_what_to_write() {
        assert_eq!(
            refusal("#!/bin/sh\n#SBATCH -J a\n#SBATCH -W\n"),
            "line 3 of the script: --wait would keep the submission waiting for the job's end: leave it out, and wait \
             for the job object instead"
        );
        for option in [
            "--tes",
            "--test-only",
            "-M other",
            "--help",
            "--wrap=x",
            "--external",
            "--autocomplete=ac",
            "--uid=0",
        ] {
            assert!(
                refusal(&format!("#!/bin/sh\n#SBATCH {option}\n")).starts_with("line 2"),
                "{option}"
            );
        }
        // In a further component of a heterogeneous job, too.
        assert!(refusal("#!/bin/sh\n#SBATCH -n1\n#SBATCH hetjob\n#SBATCH --uid=0\n").starts_with("line 4"));
        assert!(refusal("#!/bin/sh\n#SBATCH -J 'x\n").contains("not closed"));
    }

    proptest! {
        #[test]
        fn any_script_is_read_or_refused_but_never_a_panic(script in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut lines = b"#!/bin/sh\n#SBATCH ".to_vec();
            lines.extend(script);
            let _ = ScriptHeader::parse(&lines);
        }

        #[test]
        fn a_quoted_value_comes_back_as_it_was(value in "[ -!#-\\[\\]-~]{0,40}") {
            let read = ScriptHeader::parse(format!("#!/bin/sh\n#SBATCH --comment=\"{value}\"\n").as_bytes()).unwrap();
            prop_assert_eq!(read.value("comment"), Some(value.as_str()));
        }
    }
}
