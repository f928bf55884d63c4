//! From a submission to sbatch's arguments, and from sbatch's answer to a job id.
//!
//! One chain of execs, no shell: `setpriv` (becomes the person, dies with us) → `env -i` (the person's environment
//! and home) → `sbatch` (script on its standard input). The person's variables are set when the process is already
//! the person's, so none of them reaches a process that is still root.

use super::SlurmConfig;
use super::command::{Programs, Said, tells_of_absence};
use super::posix_account::PosixAccount;
use super::script_header::ScriptHeader;
use super::ssh::quoted;
use crate::{DependencyKind, InvalidSubmission, JobId, Submission, SubmitError};
use std::io::PipeReader;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio::process::Child;

/// A submission that has been checked, as arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    /// `NAME=value`, for `env`.
    pub(super) environment: Vec<String>,
    /// What sets the variables that are in no argument: text for a shell; nothing where there are none.
    pub(super) secrets: Vec<u8>,
    /// For `sbatch`, without the script's own.
    pub(super) options: Vec<String>,
    /// Where it starts.
    pub(super) work_dir: String,
}

/// Checks a submission and turns it into arguments. Pure.
pub(super) fn prepare(
    submission: &Submission,
    account: &PosixAccount,
    config: &SlurmConfig,
) -> Result<Prepared, InvalidSubmission> {
    submission.check_script()?;
    let header = ScriptHeader::parse(&submission.script)?;
    let work_dir = work_dir(submission, account)?;
    let (environment, exported) = environment(submission, &header, account, config)?;

    let mut options = vec![
        "--parsable".to_owned(),
        format!("--account={}", submission.account),
        format!("--comment={}", submission.token.to_comment()),
        export(header.value("export"), submission, &exported),
    ];
    if !header.sets("propagate") {
        // The limits of this process are not the person's.
        options.push("--propagate=NONE".to_owned());
    }
    if !header.sets("job-name") {
        options.push(format!(
            "--job-name={}",
            text("the job's name", &submission.name, 1024)?
        ));
    }
    let is_array = submission.array.is_some() || header.sets("array");
    if !header.sets("output") {
        options.push(format!(
            "--output={}",
            if is_array { "%x-%A_%a.out" } else { "%x-%j.out" }
        ));
    }
    if let Some(reservation) = &submission.reservation
        && !header.sets("reservation")
    {
        options.push(format!("--reservation={reservation}"));
    }
    let mut set = |option: &str, value: Option<String>| {
        if let Some(value) = value {
            options.push(format!("--{option}={value}"));
        }
    };
    set(
        "partition",
        submission.partition.as_ref().map(ToString::to_string),
    );
    set("nodes", submission.nodes.map(|n| n.to_string()));
    set("ntasks", submission.tasks.map(|n| n.to_string()));
    set("cpus-per-task", submission.cpus_per_task.map(|n| n.to_string()));
    set("mem", submission.memory_mib.map(|mib| format!("{mib}M")));
    set(
        "gres",
        submission
            .gpus
            .filter(|gpus| *gpus > 0)
            .map(|gpus| format!("gpu:{gpus}")),
    );
    set(
        "time",
        submission
            .time_limit_seconds
            .map(|seconds| seconds.div_ceil(60).max(1).to_string()),
    );
    set("array", submission.array.as_deref().map(array).transpose()?);
    if !submission.dependencies.is_empty() {
        let each: Vec<String> = submission
            .dependencies
            .iter()
            .map(|dependency| {
                let kind = match dependency.kind {
                    DependencyKind::Succeeded => "afterok",
                    DependencyKind::Failed => "afternotok",
                    DependencyKind::Finished => "afterany",
                    DependencyKind::Started => "after",
                    DependencyKind::SameTaskSucceeded => "aftercorr",
                };
                format!("{kind}:{}", dependency.job)
            })
            .collect();
        set("dependency", Some(each.join(",")));
    }
    if submission.hold {
        options.push("--hold".to_owned());
    }
    submission.check_arguments()?;
    Ok(Prepared {
        environment,
        secrets: secrets(submission)?,
        options,
        work_dir,
    })
}

/// Where a job's output goes, as far as it can be told before it runs: `%j`, `%A`, `%x`, `%u` and `%%` are replaced;
/// `%a` (an array's index) and what depends on nodes stay as they are (`sbatch(1)`, filename pattern). None when the
/// script or its header cannot be read.
pub(super) fn output_path(submission: &Submission, home: &str, id: JobId) -> Option<String> {
    let header = ScriptHeader::parse(&submission.script).ok()?;
    let is_array = submission.array.is_some() || header.sets("array");
    let name = header.value("job-name").unwrap_or(&submission.name);
    let pattern = header
        .value("output")
        .unwrap_or(if is_array { "%x-%A_%a.out" } else { "%x-%j.out" });
    let work_dir = header
        .value("chdir")
        .or(submission.work_dir.as_deref())
        .unwrap_or(home);
    let path = if pattern.contains('\\') {
        // A backslash means that nothing is replaced.
        pattern.replace('\\', "")
    } else {
        let mut path = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                path.push(c);
                continue;
            }
            let rest = chars.as_str();
            let digits = rest.chars().take_while(char::is_ascii_digit).count();
            let (width, letter) = (&rest[..digits], rest[digits..].chars().next());
            let padded = |id: JobId| {
                // Slurm pads with zeros, to 10 at most.
                let width = width.parse::<usize>().unwrap_or(0).min(10);
                format!("{:0>width$}", id.to_string())
            };
            match letter {
                Some('j' | 'A') if !(is_array && letter == Some('j')) => path.push_str(&padded(id)),
                Some('x') => path.push_str(name),
                Some('u') => path.push_str(submission.user.as_str()),
                Some('%') => path.push('%'),
                other => {
                    path.push('%');
                    path.push_str(width);
                    path.extend(other);
                }
            }
            chars = rest[digits..].chars();
            chars.next();
        }
        path
    };
    Some(if path.starts_with('/') {
        path
    } else {
        format!("{}/{path}", work_dir.trim_end_matches('/'))
    })
}

/// Text that becomes part of an option.
fn text<'a>(what: &'static str, written: &'a str, longest: usize) -> Result<&'a str, InvalidSubmission> {
    if written.is_empty() {
        Err(InvalidSubmission::value(
            what,
            written,
            "is empty: write something",
        ))
    } else if written.len() > longest {
        Err(InvalidSubmission::value(what, written, "is too long: write less"))
    } else if written.chars().any(char::is_control) {
        Err(InvalidSubmission::value(
            what,
            written,
            "holds a line end or another control character: leave it out",
        ))
    } else {
        Ok(written)
    }
}

fn work_dir(submission: &Submission, account: &PosixAccount) -> Result<String, InvalidSubmission> {
    let directory = submission.work_dir.as_deref().unwrap_or(&account.home);
    let directory = text("the working directory", directory, 4095)?;
    if directory.starts_with('/') {
        Ok(directory.to_owned())
    } else {
        Err(InvalidSubmission::value(
            "the working directory",
            directory,
            "is not absolute: begin it with /",
        ))
    }
}

/// `sbatch(1)`, `--array`: indices, ranges, steps, and at the end the limit of tasks at a time.
fn array(written: &str) -> Result<String, InvalidSubmission> {
    let (indices, limit) = match written.split_once('%') {
        Some((indices, limit)) => (indices, Some(limit)),
        None => (written, None),
    };
    let number = |text: &str| text.parse::<u32>().is_ok() && text.chars().all(|c| c.is_ascii_digit());
    let range = |part: &str| {
        let (range, step_fits) = match part.split_once(':') {
            Some((range, step)) => (
                range,
                range.contains('-') && number(step) && step.parse() != Ok(0_u32),
            ),
            None => (part, true),
        };
        step_fits
            && range
                .split_once('-')
                .map_or_else(|| number(range), |(from, to)| number(from) && number(to))
    };
    if indices.split(',').all(range) && limit.is_none_or(|limit| number(limit) && limit.parse() != Ok(0_u32))
    {
        Ok(written.to_owned())
    } else {
        Err(InvalidSubmission::value(
            "the array",
            written,
            "cannot be read: write indices as 1-20, 0-100:5 or 1,3,5, and %10 at the end for at most 10 tasks at a time",
        ))
    }
}

/// Variables that a shell does not let be set, or acts on at once: what is secret goes through one.
fn acts_on_a_shell(name: &str) -> bool {
    const NAMES: [&str; 19] = [
        "PATH",
        "IFS",
        "ENV",
        "PS1",
        "PS2",
        "PS4",
        "CDPATH",
        "POSIXLY_CORRECT",
        "UID",
        "EUID",
        "PPID",
        "SHELLOPTS",
        "SHLVL",
        "PWD",
        "OLDPWD",
        "LINENO",
        "RANDOM",
        "OPTIND",
        "LC_ALL",
    ];
    NAMES.contains(&name) || name.starts_with("BASH")
}

/// `export NAME='value'`, a line each.
fn secrets(submission: &Submission) -> Result<Vec<u8>, InvalidSubmission> {
    let mut text = Vec::new();
    for (name, secret) in &submission.secrets {
        let refused = |why| InvalidSubmission::SecretVariable {
            name: name.clone(),
            why,
        };
        if acts_on_a_shell(name) || acts_on_any_process(name) {
            return Err(refused(
                "it steers shells and loaders: give it another name, and set it in the script",
            ));
        }
        let value = quoted([secret.reveal()])
            .map_err(|_| refused("its value holds a NUL byte: variables are text"))?;
        if !text.is_empty() {
            text.push(b'\n');
        }
        text.extend_from_slice(format!("export {name}=").as_bytes());
        text.extend(value);
    }
    Ok(text)
}

/// Variables that the loader or the C library act on as soon as a process starts: they are for the job, and must not
/// steer sbatch on the scheduler's machine.
fn acts_on_any_process(name: &str) -> bool {
    name.starts_with("LD_") || matches!(name, "GCONV_PATH" | "GLIBC_TUNABLES" | "LOCPATH" | "NLSPATH")
}

/// What `env` sets, and what goes through `--export` instead.
fn environment(
    submission: &Submission,
    header: &ScriptHeader,
    account: &PosixAccount,
    config: &SlurmConfig,
) -> Result<(Vec<String>, Vec<String>), InvalidSubmission> {
    let mut set = vec![
        format!("HOME={}", account.home),
        format!("USER={}", submission.user),
        format!("LOGNAME={}", submission.user),
        format!("SHELL={}", account.shell),
        format!("PATH={}", config.path),
    ];
    if !header.sets("umask") {
        // This process's own mask is not the person's.
        set.push("SLURM_UMASK=0022".to_owned());
    }
    if let Some(slurm_conf) = &config.slurm_conf {
        set.push(format!("SLURM_CONF={}", slurm_conf.display()));
    }
    submission.check_environment()?;
    let mut exported = Vec::new();
    for (name, written) in &submission.environment {
        if acts_on_any_process(name) {
            if written
                .chars()
                .any(|c| c.is_control() || matches!(c, '\'' | '"' | ',' | '\\'))
            {
                return Err(InvalidSubmission::value(
                    "the environment variable",
                    name,
                    "holds quotes, commas or control characters: set it in the script with export instead",
                ));
            }
            exported.push(format!("{name}={written}"));
        } else {
            set.push(format!("{name}={written}"));
        }
    }
    Ok((set, exported))
}

/// `--export`: what the header says holds, and the fields' variables reach the job in any case. The environment is
/// clean, so ALL is just what was asked for.
fn export(header: Option<&str>, submission: &Submission, exported: &[String]) -> String {
    let nothing = |list: &&str| !list.eq_ignore_ascii_case("none") && !list.eq_ignore_ascii_case("nil");
    let mut all: Vec<&str> = match header {
        None => vec!["ALL"],
        Some(list) => {
            let plain = submission.environment.iter().map(|(name, _)| name.as_str());
            let names = plain.chain(submission.secrets.iter().map(|(name, _)| name.as_str()));
            Some(list)
                .filter(nothing)
                .into_iter()
                .chain(names.filter(|name| !acts_on_any_process(name)))
                .collect()
        }
    };
    all.extend(exported.iter().map(String::as_str));
    format!(
        "--export={}",
        if all.is_empty() {
            "NONE".to_owned()
        } else {
            all.join(",")
        }
    )
}

/// Takes what is secret from the beginning of its standard input ($1 bytes, by the command $2), and becomes the command that
/// follows; the rest is the script. It has no variables of its own, so that any name is the job's.
const TAKES_SECRETS: &str = r#"eval "$("$2" -c "$1" || echo exit 97)"
unset PWD OLDPWD SHLVL
shift 2
exec "$@""#;

/// Starts sbatch on this machine as the person, gives it the script, and waits for the answer.
pub(super) async fn submit(
    programs: &Programs,
    config: &SlurmConfig,
    account: &PosixAccount,
    submission: &Submission,
    prepared: &Prepared,
) -> Result<JobId, SubmitError> {
    let sbatch = programs
        .path_of("sbatch")
        .map_err(|error| SubmitError::NotAsked(error.to_string()))?;
    let mut command = programs.as_person(account);
    command
        .arg(format!("--chdir={}", prepared.work_dir))
        .args(&prepared.environment);
    if !prepared.secrets.is_empty() {
        let found = |name| {
            programs
                .path_of(name)
                .map_err(|error| SubmitError::NotAsked(error.to_string()))
        };
        command
            .arg(found("sh")?)
            .args(["-c", TAKES_SECRETS, "sh", &prepared.secrets.len().to_string()])
            .arg(found("head")?);
    }
    command.arg(sbatch).args(&prepared.options);
    let (reads, writes) = pipe_of(account, submission)?;
    command.stdin(reads);
    if !submission.arguments.is_empty() {
        // Where arguments follow, sbatch wants a name for the script, and opens it anew, as the person.
        command.arg("/dev/stdin").args(&submission.arguments);
    }
    let child = command
        .spawn()
        .map_err(|error| SubmitError::NotAsked(format!("sbatch could not be started: {error}")))?;
    // Its end that reads goes with it: the script's end is seen when nobody here can write any more.
    drop(command);
    let text = [prepared.secrets.as_slice(), &submission.script].concat();
    // From here on there may be a job. When the time is up, the child is killed by being dropped.
    match tokio::time::timeout(config.submit_within, hand_over(child, writes, &text)).await {
        Ok(Ok(said)) => answer(&said),
        Ok(Err(error)) => Err(SubmitError::Unknown(format!(
            "sbatch could not be followed: {error}"
        ))),
        Err(_) => Err(SubmitError::Unknown(format!(
            "sbatch gave no answer within {} seconds and was ended",
            config.submit_within.as_secs()
        ))),
    }
}

/// The pipe that the script goes through: its end that reads, and ours. It is the person's before anybody has it, since
/// sbatch may open it by its name at once.
fn pipe_of(account: &PosixAccount, submission: &Submission) -> Result<(PipeReader, Sender), SubmitError> {
    let not_asked = |error: std::io::Error| {
        SubmitError::NotAsked(format!(
            "no pipe for the script could be given to {}: {error}",
            submission.user
        ))
    };
    let (reads, writes) = std::io::pipe().map_err(not_asked)?;
    if !submission.arguments.is_empty() {
        rustix::fs::fchown(
            &writes,
            Some(rustix::fs::Uid::from_raw(account.uid)),
            Some(rustix::fs::Gid::from_raw(account.gid)),
        )
        .map_err(|error| not_asked(error.into()))?;
    }
    let writes = Sender::from_owned_fd(writes.into()).map_err(not_asked)?;
    Ok((reads, writes))
}

/// Writes the script and waits. A script that is cut by our own death must not be submitted, so it is written only
/// when the child is already bound to die with us, and in one piece where the pipe can be made large enough.
async fn hand_over(child: Child, mut writes: Sender, script: &[u8]) -> std::io::Result<Said> {
    if let Some(pid) = child.id() {
        bound_to_us(pid).await;
    }
    // A pipe takes 64 KiB at once unless told otherwise (pipe(7)). It is only a matter of one piece or several.
    if script.len() > 65536
        && let Err(error) = rustix::pipe::fcntl_setpipe_size(&writes, script.len())
    {
        tracing::debug!(%error, bytes = script.len(), "the script goes to sbatch in several pieces");
    }
    match writes.write_all(script).await {
        Ok(()) => {}
        // It ended before it read everything: its answer says why.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => return Err(error),
    }
    drop(writes);
    child.wait_with_output().await.map(|output| Said::of(&output))
}

/// Waits until setpriv has bound the child to this process's life and become the next program of the chain. It takes
/// about a millisecond; a child that has ended already is as good.
async fn bound_to_us(pid: u32) {
    let name = format!("/proc/{pid}/comm");
    while let Ok(running) = std::fs::read_to_string(&name) {
        if running.trim_end() != "setpriv" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Reads sbatch's answer.
pub(super) fn answer(said: &Said) -> Result<JobId, SubmitError> {
    if said.succeeded() {
        // --parsable: the number, with ;cluster behind it where there are several.
        let line = said.stdout.trim();
        let number = line.split_once(';').map_or(line, |(number, _)| number);
        return number
            .parse()
            .map_err(|_| SubmitError::Unknown(format!("sbatch succeeded but its answer was {line:?}")));
    }
    let complaint = said.complaint();
    if said.code.is_none() {
        return Err(SubmitError::Unknown(complaint));
    }
    if complaint.starts_with("setpriv:") {
        return Err(SubmitError::NotAsked(format!(
            "sbatch cannot be run as the job's author ({complaint}): the operator must run as root beside Slurm"
        )));
    }
    if let Some((_, rest)) = complaint.split_once("env: cannot change directory to ") {
        return Err(SubmitError::Refused(format!(
            "the working directory cannot be entered: {rest}"
        )));
    }
    if complaint.contains("Argument list too long") {
        return Err(SubmitError::Refused(
            "its arguments and environment together are too long".to_owned(),
        ));
    }
    if tells_of_absence(&complaint) {
        return Err(SubmitError::Unreachable(complaint));
    }
    Err(SubmitError::Refused(complaint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountName, Dependency, Secret, Token, UserName};
    use proptest::prelude::*;

    fn alice() -> PosixAccount {
        PosixAccount {
            uid: 1001,
            gid: 1001,
            home: "/home/alice".to_owned(),
            shell: "/bin/bash".to_owned(),
        }
    }

    fn config() -> SlurmConfig {
        SlurmConfig::new(crate::ClusterName::new("meso").unwrap())
    }

    fn submission(script: &str) -> Submission {
        Submission::new(
            Token::of_attempt("5b0e", 1).unwrap(),
            UserName::new("alice").unwrap(),
            AccountName::new("univ-caen.climate-2026").unwrap(),
            "pi",
            script,
        )
    }

    fn options(submission: &Submission) -> Vec<String> {
        prepare(submission, &alice(), &config()).unwrap().options
    }

    #[tokio::test]
    async fn the_pipe_of_a_script_with_arguments_is_its_authors_before_anybody_can_open_it() {
        use std::os::unix::fs::MetadataExt;
        let own = tempfile::tempfile().unwrap().metadata().unwrap();
        // Only root can give files away.
        let (uid, gid) = match own.uid() {
            0 => (1001, 1001),
            uid => (uid, own.gid()),
        };
        let account = PosixAccount { uid, gid, ..alice() };
        let mut job = submission("#!/bin/bash\n");
        job.arguments = vec!["x".to_owned()];
        let (reads, _writes) = pipe_of(&account, &job).unwrap();
        let file = std::fs::File::from(std::os::fd::OwnedFd::from(reads));
        assert_eq!(file.metadata().unwrap().uid(), uid);
    }

    #[test]
    fn what_is_left_open_is_given_and_what_the_script_sets_is_kept() {
        let bare = options(&submission("#!/bin/bash\ntrue\n"));
        assert!(bare.contains(&"--job-name=pi".to_owned()));
        assert!(bare.contains(&"--output=%x-%j.out".to_owned()));
        let own = options(&submission("#!/bin/bash\n#SBATCH -J mine -o out.txt\ntrue\n"));
        assert!(
            !own.iter()
                .any(|option| option.starts_with("--job-name") || option.starts_with("--output"))
        );
        let array = options(&submission("#!/bin/bash\n#SBATCH --array=1-3\ntrue\n"));
        assert!(array.contains(&"--output=%x-%A_%a.out".to_owned()));
    }

    #[test]
    fn lines_for_other_schedulers_count_as_sbatch_has_it_but_for_what_the_platform_decides() {
        let plain = prepare(&submission("#!/bin/bash\ntrue\n"), &alice(), &config()).unwrap();
        assert!(plain.environment.contains(&"SLURM_UMASK=0022".to_owned()));
        let mut one = submission(
            "#!/bin/bash\n#PBS -N mine -t 1-3 -o out.txt -A other -v A=1\n#PBS -W umask=027\ntrue\n",
        );
        one.environment = vec![("MODEL".to_owned(), "arome".to_owned())];
        let prepared = prepare(&one, &alice(), &config()).unwrap();
        let is_given = |option: &str| prepared.options.iter().any(|given| given.starts_with(option));
        assert!(!is_given("--ignore-pbs") && !is_given("--job-name") && !is_given("--output"));
        for given in [
            "--account=univ-caen.climate-2026",
            "--comment=meso:5b0e/1",
            "--export=A=1,MODEL",
        ] {
            assert!(is_given(given), "{given} in {:?}", prepared.options);
        }
        // It would win over the line.
        assert!(
            !prepared
                .environment
                .iter()
                .any(|set| set.starts_with("SLURM_UMASK"))
        );
        assert_eq!(
            output_path(&one, "/home/alice", JobId::Number(42)).as_deref(),
            Some("/home/alice/out.txt")
        );
    }

    #[test]
    fn a_reservation_of_the_allocation_holds_where_the_script_names_none() {
        let mut one = submission("#!/bin/bash\ntrue\n");
        one.reservation = Some(crate::ReservationName::new("school").unwrap());
        assert!(options(&one).contains(&"--reservation=school".to_owned()));
        one.script = b"#!/bin/bash\n#SBATCH --reservation=mine\n".to_vec();
        assert!(
            !options(&one)
                .iter()
                .any(|option| option.starts_with("--reservation"))
        );
    }

    #[test]
    fn what_the_platform_decides_is_always_on_the_command_line() {
        let options = options(&submission(
            "#!/bin/bash\n#SBATCH -A other --comment=mine --parsable\ntrue\n",
        ));
        assert!(options.contains(&"--account=univ-caen.climate-2026".to_owned()));
        assert!(options.contains(&"--comment=meso:5b0e/1".to_owned()));
        assert!(options.contains(&"--parsable".to_owned()));
    }

    #[test]
    fn each_field_becomes_its_option() {
        let mut all = submission("#!/bin/bash\n#SBATCH -t 9:00:00\ntrue\n");
        all.partition = Some(crate::PartitionName::new("standard").unwrap());
        (all.nodes, all.tasks, all.cpus_per_task) = (Some(2), Some(4), Some(3));
        (all.memory_mib, all.gpus, all.time_limit_seconds) = (Some(1024), Some(1), Some(301));
        all.array = Some("1-20%10".to_owned());
        all.dependencies = vec![
            Dependency {
                kind: DependencyKind::Succeeded,
                job: JobId::Number(42),
            },
            Dependency {
                kind: DependencyKind::Finished,
                job: JobId::Number(43),
            },
        ];
        all.hold = true;
        let options = options(&all);
        for option in [
            "--partition=standard",
            "--nodes=2",
            "--ntasks=4",
            "--cpus-per-task=3",
            "--mem=1024M",
            "--gres=gpu:1",
            "--time=6",
            "--array=1-20%10",
            "--dependency=afterok:42,afterany:43",
            "--hold",
        ] {
            assert!(options.contains(&option.to_owned()), "{option} in {options:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_job_is_refused_with_a_sentence() {
        let refusal = |change: &dyn Fn(&mut Submission)| {
            let mut one = submission("#!/bin/bash\ntrue\n");
            change(&mut one);
            prepare(&one, &alice(), &config()).unwrap_err().to_string()
        };
        assert!(refusal(&|s| s.script = b"echo".to_vec()).contains("write #!/bin/bash"));
        assert!(refusal(&|s| s.script = b"#!/bin/sh\r\n".to_vec()).contains("dos2unix"));
        assert!(refusal(&|s| s.name = "a\nb".to_owned()).contains("line end"));
        assert!(refusal(&|s| s.work_dir = Some("x".to_owned())).contains("begin it with /"));
        for array in [
            "", "1-", "1-2%0", "a", "1;2", "1-20:0", "1 2", "-1", "+1", "1%2%3",
        ] {
            assert!(
                refusal(&|s| s.array = Some(array.to_owned())).contains("1-20"),
                "{array:?}"
            );
        }
        for name in ["SLURM_CONF", "SBATCH_ACCOUNT", "SLURM_JOB_ID"] {
            let sentence = refusal(&|s| s.environment = vec![(name.to_owned(), String::new())]);
            assert!(sentence.contains("the scheduler's own"), "{sentence}");
        }
        assert!(refusal(&|s| s.environment = vec![("A=B".to_owned(), String::new())]).contains("letters"));
    }

    #[test]
    fn the_loaders_variables_reach_the_job_but_not_sbatch() {
        let mut one = submission("#!/bin/bash\ntrue\n");
        one.environment = vec![
            ("LD_PRELOAD".to_owned(), "/home/alice/x.so".to_owned()),
            ("MODEL".to_owned(), "arome".to_owned()),
        ];
        let prepared = prepare(&one, &alice(), &config()).unwrap();
        assert!(
            !prepared
                .environment
                .iter()
                .any(|variable| variable.starts_with("LD_"))
        );
        assert!(prepared.environment.contains(&"MODEL=arome".to_owned()));
        assert!(
            prepared
                .options
                .contains(&"--export=ALL,LD_PRELOAD=/home/alice/x.so".to_owned())
        );
    }

    /// What a command sees of the submission's variables, started as [`submit`] starts sbatch.
    fn environment_by_way_of_a_shell(one: &Submission, command: &str) -> Vec<u8> {
        use std::io::Write;
        let prepared = prepare(one, &alice(), &config()).unwrap();
        let mut child = std::process::Command::new("env")
            .arg("--ignore-environment")
            .args(&prepared.environment)
            .args([
                "/bin/sh",
                "-c",
                TAKES_SECRETS,
                "sh",
                &prepared.secrets.len().to_string(),
                "/usr/bin/head",
            ])
            .args(["/bin/sh", "-c", command])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let text = [prepared.secrets.as_slice(), &one.script].concat();
        child.stdin.take().unwrap().write_all(&text).unwrap();
        child.wait_with_output().unwrap().stdout
    }

    #[test]
    fn a_secret_variable_reaches_the_job_as_it_is_and_is_in_no_argument_and_no_log() {
        let odd = "it's $HOME `rm` \"x\" \\ é\n\nend\n";
        let mut one = submission("#!/bin/bash\necho the script\n");
        one.environment = vec![("LC_ALL".to_owned(), "fr_FR.UTF-8".to_owned())];
        one.secrets = ["TOKEN", "sbatch", "secrets"]
            .map(|name| (name.to_owned(), Secret::new(odd.to_owned())))
            .to_vec();
        let prepared = prepare(&one, &alice(), &config()).unwrap();
        let arguments = [prepared.environment.as_slice(), &prepared.options].concat();
        assert!(
            arguments.iter().all(|argument| !argument.contains("rm")),
            "{arguments:?}"
        );
        assert!(!format!("{one:?}").contains("rm"));
        let seen =
            environment_by_way_of_a_shell(&one, r#"printf %s "$TOKEN" "$sbatch" "$secrets" "$LC_ALL"; cat"#);
        let wanted = format!("{odd}{odd}{odd}fr_FR.UTF-8#!/bin/bash\necho the script\n");
        assert_eq!(String::from_utf8(seen).unwrap(), wanted);
        let names = environment_by_way_of_a_shell(&one, "env");
        let names = String::from_utf8(names).unwrap();
        assert!(
            !names.contains("OLDPWD=") && !names.contains("SHLVL=2"),
            "{names}"
        );
    }

    #[test]
    fn a_secret_that_would_steer_a_shell_or_the_loader_is_refused() {
        for name in ["PATH", "LD_PRELOAD", "BASH_ENV", "IFS"] {
            let mut one = submission("#!/bin/bash\ntrue\n");
            one.secrets = vec![(name.to_owned(), Secret::new("x".to_owned()))];
            let refusal = prepare(&one, &alice(), &config()).unwrap_err().to_string();
            assert!(refusal.contains("give it another name"), "{refusal}");
        }
    }

    #[test]
    fn an_export_of_the_script_holds_and_the_fields_variables_reach_the_job_all_the_same() {
        let mut one = submission("#!/bin/bash\n#SBATCH --export=NONE\ntrue\n");
        assert!(options(&one).contains(&"--export=NONE".to_owned()));
        one.environment = vec![("MODEL".to_owned(), "arome".to_owned())];
        assert!(options(&one).contains(&"--export=MODEL".to_owned()));
        one.script = b"#!/bin/bash\n#SBATCH --export=A=1\ntrue\n".to_vec();
        assert!(options(&one).contains(&"--export=A=1,MODEL".to_owned()));
    }

    #[test]
    fn the_outputs_path_is_known_before_the_job_runs() {
        let path = |script: &str| output_path(&submission(script), "/home/alice", JobId::Number(42));
        assert_eq!(path("#!/bin/sh\n").as_deref(), Some("/home/alice/pi-42.out"));
        assert_eq!(
            path("#!/bin/sh\n#SBATCH -J a -o /scratch/%u/%x.%8j%%\n").as_deref(),
            Some("/scratch/alice/a.00000042%")
        );
        assert_eq!(
            path("#!/bin/sh\n#SBATCH -a 1-3\n").as_deref(),
            Some("/home/alice/pi-42_%a.out")
        );
        assert_eq!(
            path("#!/bin/sh\n#SBATCH -D /data -o log-%N\n").as_deref(),
            Some("/data/log-%N")
        );
    }

    #[test]
    fn sbatchs_answers_are_told_apart() {
        let said = |code, stdout: &str, stderr: &str| {
            answer(&Said {
                code,
                signal: None,
                stdout: stdout.to_owned(),
                stderr: stderr.to_owned(),
            })
        };
        assert_eq!(said(Some(0), "42\n", ""), Ok(JobId::Number(42)));
        assert_eq!(
            said(Some(0), "42;meso\n", "sbatch: warning"),
            Ok(JobId::Number(42))
        );
        assert!(matches!(
            said(Some(0), "Submitted", ""),
            Err(SubmitError::Unknown(_))
        ));
        assert!(matches!(said(None, "", ""), Err(SubmitError::Unknown(_))));
        assert_eq!(
            said(
                Some(1),
                "",
                "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
            ),
            Err(SubmitError::Refused(
                "Invalid partition name specified".to_owned()
            ))
        );
        assert_eq!(
            said(
                Some(1),
                "",
                include_str!("answers/24.11/sbatch-of-no-account.complaint")
            ),
            Err(SubmitError::Refused(
                "Invalid account or account/partition combination specified".to_owned()
            ))
        );
        assert!(matches!(
            said(
                Some(1),
                "",
                "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n"
            ),
            Err(SubmitError::Unreachable(_))
        ));
    }

    proptest! {
        #[test]
        fn no_field_can_smuggle_in_an_option(name in "\\PC{1,40}", array in "\\PC{0,20}", dir in "\\PC{0,20}") {
            let mut one = submission("#!/bin/bash\ntrue\n");
            one.name = name;
            one.array = Some(array);
            one.work_dir = Some(dir);
            if let Ok(prepared) = prepare(&one, &alice(), &config()) {
                prop_assert!(prepared.options.iter().all(|option| option.starts_with("--")));
                prop_assert_eq!(prepared.options.iter().filter(|option| option.starts_with("--account=")).count(), 1);
            }
        }
    }
}
