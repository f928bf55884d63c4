//! The `#SBATCH` lines of a script, read as sbatch reads them, to know what they set and what must not be overridden.
//!
//! sbatch reads them itself when the job is submitted; this reading only decides which defaults are given beside
//! them, and refuses the few options that would make a submission something else than one job here. The rules are
//! sbatch's (`sbatch(1)`, and `_opt_batch_script` in Slurm's source): lines count until the first one that is neither
//! empty nor a comment; quotes and backslashes work as there; long options may be shortened where that is
//! unambiguous. Pure: text in, options out.

use crate::InvalidSubmission;

/// What a script's `#SBATCH` lines set. Of a heterogeneous job, the lines of its first component, which runs the script,
/// unless the name of a method says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptHeader {
    options: Vec<(&'static str, Option<String>)>,
    /// The same of each further component.
    further: Vec<Vec<(&'static str, Option<String>)>>,
    /// What is no option of sbatch's own.
    others: Vec<String>,
}

/// Whether an option takes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    PerhapsValue,
}

use Takes::{Nothing as N, PerhapsValue as P, Value as V};

/// sbatch's options, long name, letter, value: 22.05's, and those that came until 25.05.
const OPTIONS: &[(&str, Option<char>, Takes)] = &[
    ("account", Some('A'), V),
    ("acctg-freq", None, V),
    ("array", Some('a'), V),
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
    ("help", "--help submits nothing: leave it out"),
    ("usage", "--usage submits nothing: leave it out"),
    ("version", "--version submits nothing: leave it out"),
    (
        "wrap",
        "--wrap replaces the script: write the command into the script",
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
        for (index, line) in script.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            let Some(rest) = line.strip_prefix(b"#SBATCH") else {
                match line.iter().find(|byte| !is_space(**byte)) {
                    None | Some(b'#') => continue,
                    Some(_) => break,
                }
            };
            let wrong = |why: String| InvalidSubmission::HeaderLine { line: number, why };
            let words = words(&String::from_utf8_lossy(rest)).map_err(wrong)?;
            // sbatch begins another component of a heterogeneous job there.
            if matches!(words.as_slice(), [word] if word == "hetjob" || word == "packjob") {
                header.further.push(Vec::new());
                continue;
            }
            header.take(words).map_err(wrong)?;
        }
        if let Some((line_option, why)) = REFUSED.iter().find(|(name, _)| {
            let of_all = header.further.iter().chain([&header.options]).flatten();
            of_all.into_iter().any(|(option, _)| option == name)
        }) {
            let line = line_of(script, line_option);
            return Err(InvalidSubmission::HeaderLine {
                line,
                why: (*why).to_owned(),
            });
        }
        Ok(header)
    }

    /// Whether the header sets an option, by its long name without dashes.
    pub fn sets(&self, option: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == option)
    }

    /// The options that are set, by their long names without dashes, as often as they are.
    pub fn options(&self) -> impl Iterator<Item = &'static str> {
        self.options.iter().map(|(name, _)| *name)
    }

    /// How many components the job has: one, or those of a heterogeneous job.
    pub fn components(&self) -> usize {
        1 + self.further.len()
    }

    /// An option's value of each component.
    pub fn values(&self, option: &str) -> impl Iterator<Item = Option<&str>> {
        std::iter::once(&self.options)
            .chain(&self.further)
            .map(move |options| value(options, option))
    }

    /// What stands there and is no option of sbatch's own: one of a site's plugin, or shortened too far.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// The first line of a script that sets an option, for a message; the first of all where it is written in an odd way.
    pub fn line_of(script: &[u8], option: &str) -> usize {
        line_of(script, option)
    }

    /// The option's value, the last one where it is set several times.
    pub fn value(&self, option: &str) -> Option<&str> {
        value(&self.options, option)
    }

    /// The component whose lines are being read.
    fn component(&mut self) -> &mut Vec<(&'static str, Option<String>)> {
        self.further.last_mut().unwrap_or(&mut self.options)
    }

    /// Takes the options of one line, as getopt_long does with one line after the other.
    fn take(&mut self, words: Vec<String>) -> Result<(), String> {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if let Some(long) = word.strip_prefix("--") {
                let (written, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let Some((name, takes)) = long_option(written) else {
                    self.others.push(word);
                    continue;
                };
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
                self.component().push((name, value));
            } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                let mut rest = letters.chars();
                while let Some(letter) = rest.next() {
                    let Some((name, _, takes)) = OPTIONS
                        .iter()
                        .find(|(_, short, _)| *short == Some(letter))
                        .copied()
                    else {
                        self.others.push(format!("-{letter}"));
                        break;
                    };
                    let value =
                        match takes {
                            Takes::Nothing => None,
                            Takes::Value | Takes::PerhapsValue => {
                                let joined: String = rest.by_ref().collect();
                                match (joined.is_empty(), takes) {
                                    (false, _) => Some(joined),
                                    (true, Takes::Value) => Some(words.next().ok_or_else(|| {
                                        format!("-{letter} needs a value: write --{name}=…")
                                    })?),
                                    (true, _) => None,
                                }
                            }
                        };
                    self.component().push((name, value));
                }
            }
            // What is no option, or one of a site's plugin, or shortened too far, is sbatch's to take or to refuse.
        }
        Ok(())
    }
}

fn value<'a>(options: &'a [(&'static str, Option<String>)], option: &str) -> Option<&'a str> {
    options
        .iter()
        .rev()
        .find(|(name, _)| *name == option)
        .and_then(|(_, value)| value.as_deref())
}

/// The first line that sets an option, for a message; the first line of all where it is written in an odd way.
fn line_of(script: &[u8], option: &str) -> usize {
    let mut number = 0;
    for line in script.split(|&byte| byte == b'\n') {
        number += 1;
        if let Some(rest) = line.strip_prefix(b"#SBATCH") {
            let mut one = ScriptHeader::default();
            if words(&String::from_utf8_lossy(rest))
                .and_then(|words| one.take(words))
                .is_ok()
                && one.sets(option)
            {
                return number;
            }
        }
    }
    1
}

fn long_option(written: &str) -> Option<(&'static str, Takes)> {
    if let Some((name, _, takes)) = OPTIONS.iter().find(|(name, _, _)| *name == written) {
        return Some((name, *takes));
    }
    let mut candidates = OPTIONS.iter().filter(|(name, _, _)| name.starts_with(written));
    match (candidates.next(), candidates.next()) {
        (Some((name, _, takes)), None) => Some((name, *takes)),
        _ => None,
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

/// Splits the rest of a `#SBATCH` line as sbatch's `_get_argument` does.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars
            .next_if(|c| c.is_ascii_whitespace() || *c == '\x0b')
            .is_some()
        {}
        match chars.peek() {
            None | Some('#') => return Ok(words),
            Some(':') => {
                return Err("a colon stands where an option should: write #SBATCH --option=value".to_owned());
            }
            Some(_) => {}
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(&c) = chars.peek() {
            if quote.is_none() && (c.is_ascii_whitespace() || c == '\x0b') {
                break;
            }
            chars.next();
            match (c, quote) {
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
