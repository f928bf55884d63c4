//! Options of sbatch that the API has no field for: they travel as `#SBATCH` lines at the end of the script's header,
//! where they win over the script's own (of repeated lines sbatch takes the last; see `sbatch -vv`).

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// Whether an option takes a value, and what that is called.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    One(&'static str),
    Perhaps(&'static str),
}

use Takes::{Nothing, One, Perhaps};

/// An option: long name, letter, its value, help.
type Option_ = (&'static str, Option<char>, Takes, &'static str);

/// Every option of sbatch's that a user may decide and that has no field.
const OPTIONS: &[Option_] = &[
    (
        "acctg-freq",
        None,
        One("INTERVALS"),
        "How often its use is sampled, for example task=30",
    ),
    (
        "batch",
        None,
        One("LIST"),
        "Features of the node that runs the script",
    ),
    ("bb", None, One("SPEC"), "Burst buffer"),
    ("bbf", None, One("FILE"), "File with the burst buffer"),
    ("begin", Some('b'), One("TIME"), "Do not start before this time"),
    (
        "chdir",
        Some('D'),
        One("DIRECTORY"),
        "Directory on the cluster that the job starts in",
    ),
    (
        "consolidate-segments",
        None,
        Nothing,
        "Place its segments close to each other",
    ),
    (
        "constraint",
        Some('C'),
        One("LIST"),
        "Features that nodes must have",
    ),
    ("container", None, One("BUNDLE"), "OCI bundle that it runs in"),
    ("container-id", None, One("ID"), "OCI container that it runs in"),
    ("container-type", None, One("TYPE"), "Kind of container"),
    ("contiguous", None, Nothing, "Nodes that are next to each other"),
    (
        "core-spec",
        Some('S'),
        One("N"),
        "Cores of each node that are left to the system",
    ),
    (
        "cores-per-socket",
        None,
        One("N"),
        "Nodes with at least so many cores a socket",
    ),
    ("cpu-freq", None, One("FREQUENCY"), "Frequency of its CPUs"),
    ("cpus-per-gpu", None, One("N"), "CPUs a GPU"),
    (
        "deadline",
        None,
        One("TIME"),
        "Remove the job when it cannot end before this time",
    ),
    (
        "delay-boot",
        None,
        One("MINUTES"),
        "How long a node with other features may be kept from rebooting for it",
    ),
    (
        "distribution",
        Some('m'),
        One("HOW"),
        "How tasks are laid out over nodes",
    ),
    (
        "error",
        Some('e'),
        One("FILE"),
        "File on the cluster for what the job writes to standard error",
    ),
    ("exclude", Some('x'), One("NODES"), "Nodes that must not be used"),
    (
        "exclusive",
        None,
        Perhaps("user|mcs"),
        "Share the nodes with no other job, or with those of the same user alone",
    ),
    (
        "extra",
        None,
        One("TEXT"),
        "Anything that is to be kept with the job",
    ),
    (
        "extra-node-info",
        Some('B'),
        One("S[:C[:T]]"),
        "Nodes with at least so many sockets, cores and threads",
    ),
    ("gpu-bind", None, One("HOW"), "How tasks are bound to GPUs"),
    ("gpu-freq", None, One("FREQUENCY"), "Frequency of its GPUs"),
    ("gpus", Some('G'), One("N"), "GPUs of the whole job"),
    ("gpus-per-socket", None, One("N"), "GPUs a socket"),
    ("gpus-per-task", None, One("N"), "GPUs a task"),
    (
        "gres-flags",
        None,
        One("FLAGS"),
        "How resources of the nodes are chosen",
    ),
    ("hint", None, One("HINT"), "What the job's speed depends on"),
    ("hold", Some('H'), Nothing, "Submit it held"),
    (
        "ignore-pbs",
        None,
        Nothing,
        "Take lines for PBS and LSF for comments",
    ),
    (
        "input",
        Some('i'),
        One("FILE"),
        "File on the cluster for the job's standard input",
    ),
    (
        "kill-on-invalid-dep",
        None,
        One("YES|NO"),
        "Whether it goes when what it depends on can never be",
    ),
    ("licenses", Some('L'), One("LIST"), "Licences that it takes"),
    (
        "mail-type",
        None,
        One("TYPES"),
        "When to send mail: BEGIN, END, FAIL, ALL…",
    ),
    ("mail-user", None, One("ADDRESS"), "Who gets the mail"),
    ("mcs-label", None, One("LABEL"), "Security label of its nodes"),
    ("mem-bind", None, One("HOW"), "How tasks are bound to memory"),
    ("mem-per-cpu", None, One("SIZE"), "Memory a CPU, for example 2G"),
    ("mem-per-gpu", None, One("SIZE"), "Memory a GPU, for example 16G"),
    (
        "mem-update",
        None,
        One("MARGIN@DELAY"),
        "Give back memory that it does not use",
    ),
    ("mincpus", None, One("N"), "Nodes with at least so many CPUs"),
    ("network", None, One("WHAT"), "What of the network it takes"),
    ("nice", None, Perhaps("N"), "Lower its priority by this much"),
    (
        "no-kill",
        Some('k'),
        Perhaps("off"),
        "Keep it when one of its nodes fails",
    ),
    (
        "no-requeue",
        None,
        Nothing,
        "Do not run it again after a node failed",
    ),
    (
        "nodefile",
        Some('F'),
        One("FILE"),
        "File with the nodes that must be used",
    ),
    ("nodelist", Some('w'), One("NODES"), "Nodes that must be used"),
    ("ntasks-per-core", None, One("N"), "Tasks a core, at most"),
    ("ntasks-per-gpu", None, One("N"), "Tasks a GPU"),
    ("ntasks-per-node", None, One("N"), "Tasks a node"),
    ("ntasks-per-socket", None, One("N"), "Tasks a socket, at most"),
    (
        "oom-kill-step",
        None,
        Perhaps("0|1"),
        "End a step as a whole when one of its tasks runs out of memory",
    ),
    (
        "open-mode",
        None,
        One("MODE"),
        "append to or truncate the output file",
    ),
    (
        "output",
        Some('o'),
        One("FILE"),
        "File on the cluster for the job's output; %j is the job's number, %a the task's index",
    ),
    ("overcommit", Some('O'), Nothing, "Let tasks share CPUs"),
    (
        "oversubscribe",
        Some('s'),
        Nothing,
        "Share its resources with other jobs",
    ),
    ("prefer", None, One("LIST"), "Features that nodes had better have"),
    (
        "profile",
        None,
        One("WHAT"),
        "What is measured of it in detail: energy, task, lustre, network",
    ),
    (
        "propagate",
        None,
        Perhaps("LIMITS"),
        "Limits of the submitting shell that hold for it",
    ),
    ("qos", Some('q'), One("QOS"), "Quality of service"),
    ("requeue", None, Nothing, "Run it again after a node failed"),
    ("reservation", None, One("NAME"), "Reservation to run in"),
    ("resv-ports", None, Perhaps("N"), "Ports that are reserved for it"),
    ("segment", None, One("N"), "Nodes of one segment of a block"),
    (
        "signal",
        None,
        One("SIGNAL"),
        "Signal to send before the time limit, for example B:USR1@60",
    ),
    (
        "sockets-per-node",
        None,
        One("N"),
        "Nodes with at least so many sockets",
    ),
    (
        "spread-job",
        None,
        Nothing,
        "Spread it over as many nodes as possible",
    ),
    (
        "spread-segments",
        None,
        Nothing,
        "Place its segments on different blocks",
    ),
    ("stepmgr", None, Nothing, "Let its first node manage its steps"),
    (
        "switches",
        None,
        One("N[@TIME]"),
        "Switches between its nodes at most, and how long to wait for so few",
    ),
    (
        "thread-spec",
        None,
        One("N"),
        "Threads of each node that are left to the system",
    ),
    (
        "threads-per-core",
        None,
        One("N"),
        "Use cores with so many threads",
    ),
    (
        "time-min",
        None,
        One("TIME"),
        "The time limit may be lowered to this",
    ),
    ("tmp", None, One("SIZE"), "Temporary disk space a node"),
    (
        "tres-bind",
        None,
        One("HOW"),
        "How tasks are bound to trackable resources",
    ),
    ("tres-per-task", None, One("LIST"), "Trackable resources a task"),
    (
        "use-min-nodes",
        None,
        Nothing,
        "Take the smallest number of nodes that was asked for",
    ),
    (
        "wait-all-nodes",
        None,
        One("0|1"),
        "Whether it begins when all of its nodes are ready",
    ),
    ("wckey", None, One("KEY"), "Workload characterization key"),
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
                Nothing => arg.action(ArgAction::SetTrue),
                One(value) => arg.action(ArgAction::Set).value_name(*value),
                Perhaps(value) => arg
                    .action(ArgAction::Set)
                    .value_name(*value)
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value(""),
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
        for (long, _, takes, _) in OPTIONS {
            match takes {
                Nothing if matches.get_flag(long) => passed.add(long, None),
                Nothing => {}
                One(_) | Perhaps(_) => {
                    if let Some(value) = matches.get_one::<String>(long) {
                        let is_left_out = matches!(takes, Perhaps(_)) && value.is_empty();
                        passed.add(long, (!is_left_out).then(|| value.clone()));
                    }
                }
            }
        }
        Ok(passed)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::arguments::Cli;
    use clap::CommandFactory as _;
    use mesocentre_scheduler_bridge::slurm::ScriptHeader;
    use std::collections::BTreeSet;

    /// What of sbatch's is no option of `submit`.
    const NOT_THE_USERS: [(&str, &[&str]); 4] = [
        (
            "decided here: by the allocation, the object and its author",
            &[
                "cluster-constraint",
                "clusters",
                "comment",
                "get-user-env",
                "gid",
                "uid",
            ],
        ),
        (
            "of sbatch's own process, which submits nothing or says more",
            &[
                "autocomplete",
                "export-file",
                "external",
                "quiet",
                "usage",
                "verbose",
            ],
        ),
        ("for Slurm's administrators", &["priority", "reboot"]),
        (
            "old names, and options that Slurm has no more",
            &["power", "share", "workdir"],
        ),
    ];

    #[test]
    fn every_option_of_sbatch_that_a_user_may_decide_is_one_of_submit() {
        let cli = Cli::command();
        let submit = cli.find_subcommand("submit").unwrap();
        let offered: BTreeSet<&str> = submit.get_arguments().filter_map(|arg| arg.get_long()).collect();
        let not_the_users: BTreeSet<&str> = NOT_THE_USERS
            .iter()
            .flat_map(|(_, options)| *options)
            .copied()
            .collect();
        // clap's own.
        let of_clap = ["help", "version"];
        let missing: Vec<&str> = ScriptHeader::known_options()
            .filter(|option| !offered.contains(option) && !not_the_users.contains(option))
            .filter(|option| !of_clap.contains(option))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(offered.intersection(&not_the_users).next(), None);
    }
}
