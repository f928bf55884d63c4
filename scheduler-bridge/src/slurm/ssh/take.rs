//! A submission on the login node: whole or not at all, as the job's author, and over by a known time.
//!
//! Nothing of it is sent before the far side, already the author and already under its deadline, says that it takes the
//! script. What goes wrong earlier is no submission. What goes wrong later may be one, and is looked up by its token.

use super::failure::in_one_line;
use super::line::Line;
use super::quote::{HoldsNul, quoted};
use super::{By, LoginNode, ON_THE_WAY, after, begin_line, deadline, write};
use crate::slurm::SlurmConfig;
use crate::slurm::command::Said;
use crate::slurm::posix_account::PosixAccount;
use crate::slurm::sbatch::{Prepared, answer};
use crate::{JobId, Submission, SubmitError};
use std::ffi::OsString;
use std::process::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Said by the author's shell when it is ready.
const TAKES: &str = "mesocentre: takes\n";
/// Its exit code where it ran nothing, and begins its complaint with [`OURS`].
const NOTHING_RUN: i32 = 97;
const OURS: &str = "mesocentre: ";

/// Reads sbatch's command line ($1 bytes) and the script ($2 bytes), then runs the one on the other. The script waits in a
/// file without a name, which sbatch opens anew where the job has arguments.
const TAKE: &str = r#"umask 077
nothing() { echo "mesocentre: $1" >&2; exit 97; }
sbatch=$(command -v sbatch) || nothing "the command sbatch is in none of $PATH"
file=$(mktemp) || nothing "no file for the script could be made"
exec 3>"$file" 4<"$file"
rm -f -- "$file"
echo "mesocentre: takes"
command=$(head -c "$1")
head -c "$2" >&3
if [ "${#command}" -ne "$1" ] || [ "$(wc -c </proc/self/fd/3)" -ne "$2" ]
then nothing "only a part of the script arrived"
fi
exec 0<&4 3>&- 4<&-
umask 022
eval "$command""#;

/// The words that become a person: what they are to run follows.
pub(super) fn as_person(by: By, config: &SlurmConfig, account: &PosixAccount, user: &str) -> Vec<OsString> {
    // In the C locale a length is in bytes.
    let clean = || {
        ["env", "-i"]
            .map(OsString::from)
            .into_iter()
            .chain([format!("PATH={}", config.path).into(), "LC_ALL=C".into()])
    };
    let mut words: Vec<OsString> = vec!["exec".into()];
    words.extend(clean());
    match by {
        By::Themselves => {}
        By::Root => words.extend([
            "setpriv".into(),
            format!("--reuid={}", account.uid).into(),
            format!("--regid={}", account.gid).into(),
            "--init-groups".into(),
            "--".into(),
        ]),
        By::Sudo => {
            words.extend(["sudo", "-n", "-u", user, "--"].map(OsString::from));
            words.extend(clean());
        }
    }
    words
}

/// The words that become the author and then read the submission.
fn becoming(
    by: By,
    config: &SlurmConfig,
    account: &PosixAccount,
    user: &str,
    sizes: [usize; 2],
) -> Vec<OsString> {
    let mut words = as_person(by, config, account, user);
    // Inside, so that it is the author's own process that it ends.
    words.extend(deadline(config.submit_within));
    words.extend(["sh", "-c", TAKE, "sh"].map(OsString::from));
    words.extend(sizes.map(|size| size.to_string().into()));
    words
}

/// What the author's shell runs once all has arrived.
fn command_line(submission: &Submission, prepared: &Prepared) -> Result<Vec<u8>, HoldsNul> {
    let has_secrets = !prepared.secrets.is_empty();
    let mut before = if has_secrets {
        // What is secret is the shell's own to set, before it becomes env: what else is in its environment goes by name.
        let mut words = ["set", "--", "env"].map(str::to_owned).to_vec();
        words.extend(["LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"].map(|name| format!("--unset={name}")));
        words
    } else {
        ["exec", "env", "--ignore-environment"]
            .map(str::to_owned)
            .to_vec()
    };
    before.push(format!("--chdir={}", prepared.work_dir));
    before.extend_from_slice(&prepared.environment);
    let mut behind = prepared.options.clone();
    if !submission.arguments.is_empty() {
        behind.push("/dev/stdin".to_owned());
        behind.extend_from_slice(&submission.arguments);
    }
    let mut line = quoted(before)?;
    // Found before the job's own PATH counts.
    line.extend_from_slice(b" \"$sbatch\" ");
    line.extend(quoted(behind)?);
    if has_secrets {
        line.push(b'\n');
        line.extend_from_slice(&prepared.secrets);
        line.extend_from_slice(b"\nexec \"$@\"");
    }
    Ok(line)
}

impl LoginNode {
    /// Has sbatch run as the job's author, and waits for its answer.
    pub(in crate::slurm) async fn submit(
        &self,
        config: &SlurmConfig,
        account: &PosixAccount,
        submission: &Submission,
        prepared: &Prepared,
    ) -> Result<JobId, SubmitError> {
        let not_asked = |why: String| SubmitError::NotAsked(why);
        let line =
            command_line(submission, prepared).map_err(|error| SubmitError::Refused(error.to_string()))?;
        let sizes = [line.len(), submission.script.len()];
        let (way, by) = self
            .line_of(&submission.user)
            .map_err(|error| not_asked(error.to_string()))?;
        let words = becoming(by, config, account, submission.user.as_str(), sizes);
        let begin = quoted(words).map_err(|error| not_asked(error.to_string()))?;

        let (connection, _permit) = way
            .session(&self.programs)
            .await
            .map_err(|error| not_asked(error.to_string()))?;
        let mut child = connection
            .command(&begin_line(begin.len()))
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| not_asked(format!("ssh could not be started: {error}")))?;
        let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(not_asked("ssh was started without its three streams".to_owned()));
        };
        let mut heard = Vec::new();
        let ready = async {
            use tokio::io::AsyncWriteExt;
            // One who ended before says why.
            let _ = stdin.write_all(&begin).await;
            until(&mut stdout, &mut heard, TAKES).await
        };
        match tokio::time::timeout(config.answer_within, ready).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                drop(stdin);
                let mut complaints = Vec::new();
                let ends = async { tokio::join!(stderr.read_to_end(&mut complaints), child.wait()) };
                let ended = tokio::time::timeout(ON_THE_WAY, ends).await;
                let code = match ended {
                    Ok((_, Ok(status))) => status.code(),
                    _ => None,
                };
                let complaints = String::from_utf8_lossy(&complaints);
                return Err(not_asked(not_taken(&way, by, code, &complaints, submission)));
            }
            Ok(Err(error)) => return Err(not_asked(format!("ssh could not be followed: {error}"))),
            Err(_) => {
                return Err(not_asked(format!(
                    "{} was not ready for the script within {} seconds",
                    way.config.address,
                    config.answer_within.as_secs()
                )));
            }
        }

        // From here on there may be a job, until the far side's deadline has passed.
        let (mut more, mut complaints) = (Vec::new(), Vec::new());
        let parts: [&[u8]; 2] = [&line, &submission.script];
        let all = async {
            tokio::try_join!(
                write(Some(stdin), &parts),
                stdout.read_to_end(&mut more),
                stderr.read_to_end(&mut complaints),
                child.wait()
            )
        };
        let status = match tokio::time::timeout(config.submit_within + ON_THE_WAY, all).await {
            Ok(Ok((.., status))) => status,
            Ok(Err(error)) => {
                return Err(SubmitError::Unknown(format!(
                    "ssh could not be followed: {error}"
                )));
            }
            Err(_) => {
                return Err(SubmitError::Unknown(format!(
                    "sbatch gave no answer within {} seconds and was ended",
                    config.submit_within.as_secs()
                )));
            }
        };
        if let Some(rest) = after(&heard, TAKES) {
            more.splice(0..0, rest.iter().copied());
        }
        outcome(
            &Said::of(&std::process::Output {
                status,
                stdout: more,
                stderr: complaints,
            }),
            &way.config.address.to_string(),
        )
    }
}

/// Why the far side did not come to take the script.
fn not_taken(way: &Line, by: By, code: Option<i32>, stderr: &str, submission: &Submission) -> String {
    let address = &way.config.address;
    let why = in_one_line(stderr);
    if code.is_none() || code == Some(255) {
        return format!("{address}: {why}");
    }
    if let Some((_, ours)) = stderr.split_once(OURS) {
        return format!("on {address}, {}", in_one_line(ours));
    }
    let right = match by {
        By::Root => "root there must have setpriv, and the account must be one of that machine's".to_owned(),
        By::Sudo => format!(
            "let {} run commands as the people there, by sudo and without a password",
            address.user()
        ),
        By::Themselves => "the account needs an ordinary login shell, and that machine timeout".to_owned(),
    };
    format!(
        "sbatch cannot be run as {} on {address} ({why}): {right}",
        submission.user
    )
}

/// What came of a submission that was sent. Pure.
fn outcome(said: &Said, address: &str) -> Result<JobId, SubmitError> {
    let unknown = || {
        Err(SubmitError::Unknown(format!(
            "the answer from {address} was cut off: {}",
            in_one_line(&said.stderr)
        )))
    };
    match said.code {
        Some(0) => answer(said),
        Some(NOTHING_RUN) if said.stderr.contains(OURS) => Err(SubmitError::NotAsked(format!(
            "on {address}, {}",
            in_one_line(&said.stderr.replace(OURS, ""))
        ))),
        // Its own complaint, or env's: only these say that there is no job.
        Some(1) if said.stderr.contains("sbatch: ") => answer(said),
        Some(125..=127) if said.stderr.contains("env: ") => answer(said),
        _ => unknown(),
    }
}

/// Reads until a mark has been said; false when the stream ends before.
async fn until(
    stream: &mut (impl AsyncRead + Unpin),
    heard: &mut Vec<u8>,
    mark: &str,
) -> std::io::Result<bool> {
    loop {
        if after(heard, mark).is_some() {
            return Ok(true);
        }
        if stream.read_buf(heard).await? == 0 {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    fn said(code: Option<i32>, stdout: &str, stderr: &str) -> Said {
        Said {
            code,
            signal: None,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        }
    }

    /// The author's shell, given this much of a command line and a script; what of them was run.
    fn taken(line: &[u8], script: &[u8], arrives: usize) -> (Option<i32>, Vec<u8>) {
        taken_by("#!/bin/sh\nprintf '%s\\0' \"$@\"\ncat\n", line, script, arrives)
    }

    fn taken_by(sbatch_is: &str, line: &[u8], script: &[u8], arrives: usize) -> (Option<i32>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let sbatch = folder.path().join("sbatch");
        std::fs::write(&sbatch, sbatch_is).unwrap();
        std::fs::set_permissions(&sbatch, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = std::process::Command::new("sh")
            .args([
                "-c",
                TAKE,
                "sh",
                &line.len().to_string(),
                &script.len().to_string(),
            ])
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let all: Vec<u8> = line.iter().chain(script).copied().take(arrives).collect();
        child.stdin.take().unwrap().write_all(&all).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = after(&output.stdout, TAKES).unwrap().to_vec();
        (output.status.code(), said)
    }

    fn odd_line() -> Vec<u8> {
        let mut line = quoted(["exec", "env", "A=#'x"]).unwrap();
        line.extend_from_slice(b" \"$sbatch\" ");
        line.extend(quoted(["--x=it's", "\u{81}\n", "/dev/stdin", ""]).unwrap());
        line
    }

    #[test]
    fn a_whole_submission_is_run_as_it_is() {
        let script: Vec<u8> = (1_u8..=255).cycle().take(300_000).collect();
        let line = odd_line();
        let (code, said) = taken(&line, &script, usize::MAX);
        assert_eq!(code, Some(0));
        let mut wanted = "--x=it's\0\u{81}\n\0/dev/stdin\0\0".as_bytes().to_vec();
        wanted.extend_from_slice(&script);
        assert!(said == wanted, "{} bytes instead of {}", said.len(), wanted.len());
    }

    #[test]
    fn a_secret_variable_is_set_by_the_shell_and_in_no_argument() {
        let odd = "it's $HOME `rm` \\ é\n\nend";
        let prepared = Prepared {
            environment: vec![
                "A=1".to_owned(),
                "LC_ALL=fr_FR".to_owned(),
                "PATH=/usr/bin:/bin".to_owned(),
            ],
            secrets: [b"export sbatch=".to_vec(), quoted([odd]).unwrap()].concat(),
            options: vec!["--parsable".to_owned()],
            work_dir: "/".to_owned(),
        };
        let job = Submission::new(
            crate::Token::of_attempt("5b0e", 1).unwrap(),
            crate::UserName::new("alice").unwrap(),
            crate::AccountName::new("a").unwrap(),
            "pi",
            "#!/bin/sh\n",
        );
        let line = command_line(&job, &prepared).unwrap();
        let run_by_sbatch = "#!/bin/sh\nprintf '%s|' \"$1\" \"$sbatch\" \"$A\" \"$LC_ALL\"; tr '\\0' ' ' </proc/$$/cmdline; cat\n";
        let (code, said) = taken_by(run_by_sbatch, &line, b"#!/bin/sh\ntrue\n", usize::MAX);
        let said = String::from_utf8(said).unwrap();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with(&format!("--parsable|{odd}|1|fr_FR|")), "{said}");
        assert_eq!(said.matches("rm").count(), 1, "{said}");
        assert!(said.ends_with("#!/bin/sh\ntrue\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn of_a_submission_that_is_cut_anywhere_nothing_is_run(part in 0_usize..1000) {
            let (line, script) = (odd_line(), b"#!/bin/sh\ntrue\n");
            let arrives = part % (line.len() + script.len());
            prop_assert_eq!(taken(&line, script, arrives), (Some(NOTHING_RUN), Vec::new()));
        }
    }

    #[test]
    fn only_root_becomes_the_author_without_sudo() {
        let account = PosixAccount {
            uid: 1001,
            gid: 1002,
            home: "/home/alice".to_owned(),
            shell: "/bin/sh".to_owned(),
        };
        let config = SlurmConfig::new(crate::ClusterName::new("meso").unwrap());
        let words = |by| {
            let words = becoming(by, &config, &account, "alice", [7, 9]);
            words
                .join(std::ffi::OsStr::new(" "))
                .into_string()
                .unwrap()
                .replace(TAKE, "TAKE")
        };
        let path = "env -i PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C";
        let rest = "timeout --signal=KILL 60 sh -c TAKE sh 7 9";
        assert_eq!(
            words(By::Root),
            format!("exec {path} setpriv --reuid=1001 --regid=1002 --init-groups -- {rest}")
        );
        assert_eq!(
            words(By::Sudo),
            format!("exec {path} sudo -n -u alice -- {path} {rest}")
        );
        assert_eq!(words(By::Themselves), format!("exec {path} {rest}"));
    }

    #[test]
    fn only_sbatchs_own_no_is_a_refusal_and_a_cut_answer_is_unknown() {
        let of = |code, stdout: &str, stderr: &str| outcome(&said(code, stdout, stderr), "meso@login");
        assert_eq!(of(Some(0), "42\n", ""), Ok(JobId::Number(42)));
        assert!(matches!(of(Some(0), "", ""), Err(SubmitError::Unknown(_))));
        assert_eq!(
            of(
                Some(1),
                "",
                "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
            ),
            Err(SubmitError::Refused(
                "Invalid partition name specified".to_owned()
            ))
        );
        for (code, stderr) in [
            (Some(255), ""),
            (
                Some(255),
                "mux_client_request_session: read from master failed: Broken pipe\r\n",
            ),
            (Some(1), "sudo: unable to allocate pty\n"),
            (Some(137), "Killed\n"),
            (None, ""),
        ] {
            assert!(
                matches!(of(code, "", stderr), Err(SubmitError::Unknown(_))),
                "{code:?} {stderr}"
            );
        }
        assert_eq!(
            of(Some(97), "", "mesocentre: only a part of the script arrived\n"),
            Err(SubmitError::NotAsked(
                "on meso@login, only a part of the script arrived".to_owned()
            ))
        );
        assert_eq!(
            of(
                Some(125),
                "",
                "env: cannot change directory to '/nowhere': No such file or directory\n"
            ),
            Err(SubmitError::Refused(
                "the working directory cannot be entered: '/nowhere': No such file or directory".to_owned()
            ))
        );
    }
}
