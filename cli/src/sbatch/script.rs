//! A batch script: what sbatch would refuse of it, and lines added to its header.
//!
//! The header is read by the operator's own reader ([`ScriptHeader`]), so that what is refused here would be refused
//! there, with the line. The script's text stays as its author wrote it, but for added lines.

use super::Unreadable;
use super::passed_on::PassedOn;
use mesocentre_scheduler_bridge::slurm::ScriptHeader;

/// The API's limit, in bytes.
const LONGEST: usize = 262_144;

/// A script that sbatch would take as far as can be told here.
#[derive(Clone, Debug)]
pub struct Script {
    text: String,
    header: ScriptHeader,
}

impl Script {
    /// Checks a script as sbatch does before it sends it.
    ///
    /// # Errors
    /// A sentence; sbatch's own where it has one.
    pub fn read(bytes: Vec<u8>) -> Result<Self, Unreadable> {
        if bytes.is_empty() {
            return Err(Unreadable(
                "the batch script is empty: its first line must start with #! followed by the path to an interpreter, for instance #!/bin/sh".to_owned(),
            ));
        }
        if !bytes.starts_with(b"#!") {
            return Err(Unreadable(
                "this does not look like a batch script: the first line must start with #! followed by the path to an interpreter, for instance #!/bin/sh".to_owned(),
            ));
        }
        let text = String::from_utf8(bytes).map_err(|_| {
            Unreadable(
                "the batch script is not UTF-8 text: a program is started from a script, not submitted itself".to_owned(),
            )
        })?;
        // The operator would find these only after the job was taken.
        if text.contains('\0') {
            return Err(Unreadable(
                "the batch script holds a NUL byte: a batch script is text".to_owned(),
            ));
        }
        if text.contains("\r\n") {
            return Err(Unreadable(
                "the batch script has DOS line ends (\\r\\n): save it with Unix ones, for example with dos2unix".to_owned(),
            ));
        }
        let header = ScriptHeader::parse(text.as_bytes()).map_err(|error| Unreadable(error.to_string()))?;
        Ok(Self { text, header })
    }

    /// One that is not here to be read: its header is the operator's to read.
    pub fn elsewhere() -> Self {
        Self {
            text: String::new(),
            header: ScriptHeader::default(),
        }
    }

    /// What a line of the header says of an option, by its long name.
    pub fn says(&self, option: &str) -> Option<&str> {
        self.header.value(option)
    }

    /// The script with the options as `#SBATCH` lines at the end of its header.
    ///
    /// # Errors
    /// A sentence, when a value cannot stand on such a line or would not hold there, or the script becomes too long.
    pub fn with(&self, options: &PassedOn) -> Result<String, Unreadable> {
        let mut lines = String::new();
        for (option, value) in options.options() {
            lines.push_str("#SBATCH --");
            lines.push_str(option);
            if let Some(value) = value {
                if let Some(line) = self.header.line_of_another_scheduler(option) {
                    return Err(Unreadable(format!(
                        "line {line} of the script, for another scheduler, sets --{option} as well, and would win: take it out of that line, or leave out --{option}"
                    )));
                }
                if value.chars().any(char::is_control) {
                    return Err(Unreadable(format!(
                        "the value of --{option} holds a line end or another control character: leave it out"
                    )));
                }
                lines.push('=');
                lines.push_str(&quoted(value));
            }
            lines.push('\n');
        }
        let at = end_of_header(&self.text);
        let (head, body) = self.text.split_at(at);
        let line_end = if lines.is_empty() || head.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        let script = format!("{head}{line_end}{lines}{body}");
        if script.len() > LONGEST {
            return Err(Unreadable(format!(
                "the batch script has {} bytes, and at most {LONGEST} travel with a job: put programs and data on the cluster's file system and start them from the script",
                script.len()
            )));
        }
        Ok(script)
    }
}

/// After the last `#SBATCH` line that counts, or after the first line.
fn end_of_header(script: &str) -> usize {
    let (mut at, mut end) = (0, 0);
    for (index, line) in script.split_inclusive('\n').enumerate() {
        at += line.len();
        if index == 0 || line.starts_with("#SBATCH") {
            end = at;
        } else if !line.trim_start().is_empty() && !line.trim_start().starts_with('#') {
            break;
        }
    }
    end
}

/// Whether a value can stand on an `#SBATCH` line as it is.
pub fn is_plain_word(value: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:,=%@+-".contains(c);
    !value.is_empty() && value.chars().all(is_plain)
}

fn quoted(value: &str) -> String {
    if is_plain_word(value) {
        return value.to_owned();
    }
    let mut out = "\"".to_owned();
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Script {
        Script::read(text.as_bytes().to_vec()).unwrap()
    }

    fn options(pairs: &[(&'static str, Option<&str>)]) -> PassedOn {
        let mut all = PassedOn::default();
        for (option, value) in pairs {
            all.add(option, value.map(str::to_owned));
        }
        all
    }

    #[test]
    fn a_script_without_options_travels_as_it_is() {
        for text in ["#!/bin/sh", "#!/bin/sh\n", "#!/bin/sh\n#SBATCH -J a\n\ntrue"] {
            assert_eq!(script(text).with(&PassedOn::default()).unwrap(), text);
        }
    }

    #[test]
    fn added_lines_stand_last_in_the_header_and_win() {
        let added = script("#!/bin/sh\n#SBATCH -J a -o one\n# why\n\n#SBATCH -n 2\necho\n#SBATCH -J late\n")
            .with(&options(&[("output", Some("two")), ("hold", None)]))
            .unwrap();
        assert_eq!(
            added,
            "#!/bin/sh\n#SBATCH -J a -o one\n# why\n\n#SBATCH -n 2\n#SBATCH --output=two\n#SBATCH --hold\necho\n#SBATCH -J late\n"
        );
        assert_eq!(script(&added).says("output"), Some("two"));
        assert_eq!(
            script("#!/bin/sh").with(&options(&[("hold", None)])).unwrap(),
            "#!/bin/sh\n#SBATCH --hold\n"
        );
    }

    #[test]
    fn an_option_that_a_line_for_another_scheduler_would_win_over_is_refused_with_that_line() {
        let pbs = script("#!/bin/sh\n#PBS -o theirs -h\ntrue\n");
        assert_eq!(
            pbs.with(&options(&[("output", Some("mine"))]))
                .unwrap_err()
                .to_string(),
            "line 2 of the script, for another scheduler, sets --output as well, and would win: take it out of that line, or leave out --output"
        );
        assert!(
            pbs.with(&options(&[("hold", None), ("begin", Some("now"))]))
                .is_ok()
        );
    }

    #[test]
    fn any_value_comes_back_as_it_was_written() {
        for value in ["%x-%j.out", "my file", "a\"b", "back\\slash", "#x", "", "é"] {
            let added = script("#!/bin/sh\ntrue\n")
                .with(&options(&[("output", Some(value))]))
                .unwrap();
            assert_eq!(script(&added).says("output"), Some(value), "{added}");
        }
        assert!(
            script("#!/bin/sh\n")
                .with(&options(&[("output", Some("a\nrm -rf /"))]))
                .is_err()
        );
    }

    #[test]
    fn what_is_no_batch_script_is_refused_as_sbatch_does() {
        for (text, word) in [
            (&b""[..], "empty"),
            (b"echo hello\n", "does not look like a batch script"),
            (b"\x7fELF", "does not look like a batch script"),
            (b"#!/bin/sh\r\ntrue\r\n", "DOS line ends"),
            (b"#!/bin/sh\n\xff\xfe", "UTF-8"),
            (b"#!/bin/sh\n\0", "NUL"),
            (b"#!/bin/sh\n#SBATCH --wrap=x\n", "line 2"),
        ] {
            let said = Script::read(text.to_vec()).unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
        let long = format!("#!/bin/sh\n{}", "#".repeat(LONGEST));
        assert!(
            script(&long)
                .with(&PassedOn::default())
                .unwrap_err()
                .to_string()
                .contains("262144")
        );
    }
}
