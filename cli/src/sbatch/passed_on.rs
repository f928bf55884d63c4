//! Options of sbatch that the API has no field for: they travel as `#SBATCH` lines at the end of the script's header,
//! where they win over the script's own (of repeated lines sbatch takes the last; see `sbatch -vv`).

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// An option: long name, letter, what its value is called (nothing: a switch), help.
type Option_ = (&'static str, Option<char>, Option<&'static str>, &'static str);

const OPTIONS: &[Option_] = &[
    ("begin", Some('b'), Some("TIME"), "Do not start before this time"),
    (
        "chdir",
        Some('D'),
        Some("DIRECTORY"),
        "Directory on the cluster that the job starts in",
    ),
    (
        "constraint",
        Some('C'),
        Some("LIST"),
        "Features that nodes must have",
    ),
    ("cpus-per-gpu", None, Some("N"), "CPUs a GPU"),
    (
        "deadline",
        None,
        Some("TIME"),
        "Remove the job when it cannot end before this time",
    ),
    (
        "distribution",
        Some('m'),
        Some("HOW"),
        "How tasks are laid out over nodes",
    ),
    (
        "error",
        Some('e'),
        Some("FILE"),
        "File on the cluster for what the job writes to standard error",
    ),
    ("exclude", Some('x'), Some("NODES"), "Nodes that must not be used"),
    ("exclusive", None, None, "Share the nodes with no other job"),
    ("gpus", Some('G'), Some("N"), "GPUs of the whole job"),
    ("gpus-per-task", None, Some("N"), "GPUs a task"),
    ("hint", None, Some("HINT"), "What the job's speed depends on"),
    ("hold", Some('H'), None, "Submit it held"),
    (
        "input",
        Some('i'),
        Some("FILE"),
        "File on the cluster for the job's standard input",
    ),
    ("licenses", Some('L'), Some("LIST"), "Licences that it takes"),
    (
        "mail-type",
        None,
        Some("TYPES"),
        "When to send mail: BEGIN, END, FAIL, ALL…",
    ),
    ("mail-user", None, Some("ADDRESS"), "Who gets the mail"),
    ("mem-per-cpu", None, Some("SIZE"), "Memory a CPU, for example 2G"),
    ("mem-per-gpu", None, Some("SIZE"), "Memory a GPU, for example 16G"),
    ("nice", None, Some("N"), "Lower its priority by this much"),
    (
        "no-requeue",
        None,
        None,
        "Do not run it again after a node failed",
    ),
    ("nodelist", Some('w'), Some("NODES"), "Nodes that must be used"),
    ("ntasks-per-node", None, Some("N"), "Tasks a node"),
    (
        "open-mode",
        None,
        Some("MODE"),
        "append to or truncate the output file",
    ),
    (
        "output",
        Some('o'),
        Some("FILE"),
        "File on the cluster for the job's output; %j is the job's number, %a the task's index",
    ),
    ("qos", Some('q'), Some("QOS"), "Quality of service"),
    ("requeue", None, None, "Run it again after a node failed"),
    ("reservation", None, Some("NAME"), "Reservation to run in"),
    (
        "signal",
        None,
        Some("SIGNAL"),
        "Signal to send before the time limit, for example B:USR1@60",
    ),
    (
        "threads-per-core",
        None,
        Some("N"),
        "Use cores with so many threads",
    ),
    (
        "time-min",
        None,
        Some("TIME"),
        "The time limit may be lowered to this",
    ),
    ("tmp", None, Some("SIZE"), "Temporary disk space a node"),
];

/// What of [`OPTIONS`] stood on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOn(Vec<(&'static str, Option<String>)>);

impl PassedOn {
    /// Adds an option whose value no field could say.
    pub fn add(&mut self, option: &'static str, value: Option<String>) {
        self.0.push((option, value));
    }

    /// The options, without dashes, and their values.
    pub fn options(&self) -> &[(&'static str, Option<String>)] {
        &self.0
    }
}

impl Args for PassedOn {
    fn augment_args(mut command: Command) -> Command {
        for (long, short, value, help) in OPTIONS {
            let mut arg = Arg::new(*long)
                .long(*long)
                .help(*help)
                .help_heading("Options of sbatch that become #SBATCH lines of the script");
            if let Some(short) = short {
                arg = arg.short(*short);
            }
            arg = match value {
                Some(value) => arg.action(ArgAction::Set).value_name(*value),
                None => arg.action(ArgAction::SetTrue),
            };
            command = command.arg(arg);
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PassedOn {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut passed = Self::default();
        for (long, _, value, _) in OPTIONS {
            if value.is_none() {
                if matches.get_flag(long) {
                    passed.add(long, None);
                }
            } else if let Some(value) = matches.get_one::<String>(long) {
                passed.add(long, Some(value.clone()));
            }
        }
        Ok(passed)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
