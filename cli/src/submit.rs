//! `meso submit`: an sbatch script as it is, with sbatch's options, becomes a batch job.
//!
//! ```text
//!  script ─► read (sbatch/script.rs) ─┐
//!  options ─► request: fields where the API has them, else #SBATCH lines ─► create ─► (wait.rs)
//!  -A, #SBATCH -A, or the one allocation that is usable ─┘
//! ```
//!
//! `#SBATCH` lines stay sbatch's; options of the command line win over them, as with sbatch.

use crate::api_answer;
use crate::batch_jobs::{list_all, who_am_i};
use crate::connection::{Connection, Place, PlaceOfSubmission};
use crate::failure::Failure;
use crate::output::{self, FormatOfSubmission, machine_readable};
use crate::sbatch::passed_on::PassedOn;
use crate::sbatch::script::Script;
use crate::sbatch::{Said, Unreadable, array, dependency, export, gpus, memory, number, secret, time};
use crate::template;
use crate::wait;
use clap::Args;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use mesocentre_api::{
    Allocation, BatchJob, BatchJobSpec, EnvironmentVariable, JobContainer, JobResources, ScriptSource,
    is_ready,
};
use std::io::Read;

/// What `submit` takes.
#[derive(Args, Debug)]
#[command(
    after_help = "The script travels as it is and its #SBATCH lines hold; options here win over them. Options that the API has no field for are added to the script as #SBATCH lines, after its own. As with sbatch, options stand before the script; what follows it is the script's own."
)]
pub struct Options {
    /// The batch script (- or none: standard input), and its arguments
    #[arg(trailing_var_arg = true, value_name = "SCRIPT")]
    pub script_and_arguments: Vec<String>,
    /// The script is a file on the cluster, read there as you: write its whole path
    #[arg(long, requires = "script_and_arguments", conflicts_with = "template")]
    on_cluster: bool,
    /// The script of this template, instead of a file; what stands behind the options is its arguments
    #[arg(long, value_name = "TEMPLATE")]
    template: Option<String>,
    /// A command, instead of a script: it becomes a script of its own
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["script_and_arguments", "on_cluster", "template"])]
    wrap: Option<String>,
    /// What a parameter of the template says; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "template")]
    set: Vec<String>,
    /// Name of the job; the object is called so, with five letters that make it unique
    #[arg(short = 'J', long, value_name = "NAME")]
    job_name: Option<String>,
    /// Exact name of the job object, instead
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The allocation that pays [default: the script's #SBATCH -A, else the only one that you can use]
    #[arg(short = 'A', long, value_name = "ALLOCATION")]
    account: Option<String>,
    /// Tasks
    #[arg(short = 'n', long, value_name = "N")]
    ntasks: Option<String>,
    /// Nodes
    #[arg(short = 'N', long, value_name = "N")]
    nodes: Option<String>,
    /// CPUs a task
    #[arg(short = 'c', long, value_name = "N")]
    cpus_per_task: Option<String>,
    /// Memory a node, for example 4G; megabytes without a unit
    #[arg(long, value_name = "SIZE")]
    mem: Option<String>,
    /// Longest run time: minutes, hours:minutes:seconds or days-hours
    #[arg(short = 't', long, value_name = "TIME", allow_hyphen_values = true)]
    time: Option<String>,
    /// Partition
    #[arg(short = 'p', long, value_name = "PARTITION")]
    partition: Option<String>,
    /// Run the script once an index: 1-20, 0-100:5 or 1,3,5, and %10 for at most 10 at a time
    #[arg(short = 'a', long, value_name = "INDICES")]
    array: Option<String>,
    /// Start after other jobs: afterok:NAME, afternotok:NAME, afterany:NAME, after:NAME, separated by commas
    #[arg(short = 'd', long, value_name = "LIST")]
    dependency: Option<String>,
    /// Resources of the nodes: gpu:N
    #[arg(long, value_name = "LIST")]
    gres: Option<String>,
    /// GPUs a node
    #[arg(long, value_name = "N", conflicts_with = "gres")]
    gpus_per_node: Option<String>,
    /// The image that the script runs in, where the scheduler is Kubernetes
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The PersistentVolumeClaim that is the script's home there
    #[arg(long, value_name = "CLAIM")]
    home: Option<String>,
    /// Variables of the job: NAME=VALUE, or NAME to take the value from here, separated by commas
    #[arg(long, value_name = "LIST")]
    export: Option<String>,
    /// A variable of the job that is in a Secret of the workspace; may be repeated
    #[arg(long, value_name = "NAME=SECRET/KEY")]
    secret: Vec<String>,
    /// Print the job's name and nothing else
    #[arg(long)]
    parsable: bool,
    /// Have the API server judge the job and submit nothing
    #[arg(long, conflicts_with = "wait")]
    test_only: bool,
    /// Wait for the job's end, show its progress, and exit with its exit code; a code of meso's own comes with a line on
    /// standard error that begins with `meso:`
    #[arg(short = 'W', long)]
    pub wait: bool,
    #[command(flatten)]
    passed_on: PassedOn,
    #[command(flatten)]
    format: FormatOfSubmission,
    #[command(flatten)]
    place: PlaceOfSubmission,
}

/// A job that is ready but for the allocation.
#[derive(Debug)]
struct Request {
    metadata: ObjectMeta,
    /// Everything but the allocation.
    spec: BatchJobSpec,
    /// As the command line or the script names it.
    allocation: Option<String>,
}

/// Submits the script.
///
/// # Errors
/// [`Failure::Usage`], when the script or an option cannot be understood; else as the API server answers; with
/// `--wait` the job's own exit code.
pub async fn run(options: Options, before: Place, command: &str) -> Result<(), Failure> {
    let place = Place::from(options.place.clone()).or(before);
    let (shown, script, variables, opened) = match &options.template {
        Some(name) => {
            let connection = Connection::open(place.clone()).await?;
            let (script, variables) = template::find(&connection, name).await?.fill(&options.set)?;
            (
                format!("the template {name}"),
                script.into_bytes(),
                variables,
                Some(connection),
            )
        }
        None if options.on_cluster => {
            let path = options.script_and_arguments.first().cloned().unwrap_or_default();
            (path, Vec::new(), Vec::new(), None)
        }
        None if options.wrap.is_some() => {
            let command = options.wrap.as_deref().unwrap_or_default();
            (
                "the command of --wrap".to_owned(),
                wrapped(command),
                Vec::new(),
                None,
            )
        }
        None => {
            let (shown, script) = read_script(options.script_and_arguments.first().map(String::as_str))?;
            (shown, script, Vec::new(), None)
        }
    };
    let script = if options.on_cluster {
        Ok(Script::elsewhere())
    } else {
        Script::read(script)
    };
    let script = script.map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
    let request = request(&options, &script, variables, |name| std::env::var(name).ok())
        .map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
    let connection = match opened {
        Some(connection) => connection,
        None => Connection::open(place).await?,
    };
    let namespace = connection.namespace()?;
    let allocation = match &request.allocation {
        Some(named) => {
            let allocation = allocation_of_account(named, connection.home()?)?;
            let place = if options.account.is_some() {
                "--account".to_owned()
            } else {
                format!("the account that {shown} names")
            };
            is_open(&connection, &place, &allocation).await?;
            allocation
        }
        None => the_usable_allocation(&connection).await?,
    };

    let mut job = BatchJob::new("", request.spec);
    job.metadata = request.metadata;
    job.spec.allocation = allocation;
    let api: Api<BatchJob> = Api::namespaced(connection.client.clone(), namespace);
    let parameters = PostParams {
        dry_run: options.test_only,
        ..PostParams::default()
    };
    let mut created = api
        .create(&parameters, &job)
        .await
        .map_err(|error| api_answer::failure(&format!("submitting {shown}"), &error))?;
    created.metadata.managed_fields = None;

    let name = created.name_any();
    match machine_readable(options.format.format, &created)? {
        Some(text) => output::print(&text)?,
        None if options.parsable => output::print(&format!("{name}\n"))?,
        None if options.test_only => output::print(&format!(
            "The batch job would be accepted (namespace {namespace}); nothing was submitted\n"
        ))?,
        None => output::print(&format!("Submitted batch job {name} (namespace {namespace})\n"))?,
    }
    if options.wait {
        wait::until_the_end(api, &name, command).await?;
    }
    Ok(())
}

/// The script, and what to call it in messages.
fn read_script(named: Option<&str>) -> Result<(String, Vec<u8>), Failure> {
    // A device or a huge file by mistake must not fill the memory.
    const MOST: u64 = 4 << 20;
    let mut bytes = Vec::new();
    match named {
        None | Some("-") => std::io::stdin().lock().take(MOST).read_to_end(&mut bytes),
        Some(path) => std::fs::File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes)),
    }
    .map_err(|error| {
        Failure::Usage(format!(
            "reading the batch script {} failed: {error}",
            named.unwrap_or("-")
        ))
    })?;
    let shown = match named {
        None | Some("-") => "the script on standard input",
        Some(path) => path,
    };
    Ok((shown.to_owned(), bytes))
}

/// A script of one command, as sbatch makes it.
fn wrapped(command: &str) -> Vec<u8> {
    format!("#!/bin/sh\n# This script was created by meso submit --wrap.\n\n{command}\n").into_bytes()
}

/// From options and script to the job. Pure, but for `here`: the terminal's environment.
fn request(
    options: &Options,
    script: &Script,
    variables: Vec<EnvironmentVariable>,
    here: impl Fn(&str) -> Option<String>,
) -> Result<Request, Unreadable> {
    let mut lines = options.passed_on.clone();
    let mut field_or_line = |option: &'static str, said: Option<Said<i64>>| match said {
        Some(Said::Field(value)) => Some(value),
        Some(Said::Line(value)) => {
            lines.add(option, Some(value));
            None
        }
        None => None,
    };
    let tasks = field_or_line("ntasks", options.ntasks.as_deref().map(number));
    let nodes = field_or_line("nodes", options.nodes.as_deref().map(number));
    let cpus_per_task = field_or_line("cpus-per-task", options.cpus_per_task.as_deref().map(number));
    let gpus = field_or_line("gres", options.gres.as_deref().map(gpus::from_gres)).or(field_or_line(
        "gpus-per-node",
        options.gpus_per_node.as_deref().map(gpus::from_per_node),
    ));
    let memory = match options.mem.as_deref().map(memory::parse).transpose()? {
        Some(Said::Field(quantity)) => Some(quantity),
        Some(Said::Line(value)) => {
            lines.add("mem", Some(value));
            None
        }
        None => None,
    };
    let time_limit = match options.time.as_deref().map(time::parse).transpose()? {
        Some(Said::Field(limit)) => Some(limit.into()),
        Some(Said::Line(value)) => {
            lines.add("time", Some(value));
            None
        }
        None => None,
    };
    if let Some(name) = &options.job_name {
        lines.add("job-name", Some(name.clone()));
    }
    let resources = JobResources {
        nodes,
        tasks,
        cpus_per_task,
        memory,
        gpus,
        time_limit,
        partition: options.partition.clone(),
    };

    let script_from = options.on_cluster.then(|| ScriptSource {
        path: options.script_and_arguments.first().cloned(),
        config_map: None,
    });
    if let (true, Some((option, _))) = (options.on_cluster, lines.options().first()) {
        return Err(Unreadable(format!(
            "--{option} becomes a line of the script, and the script is on the cluster: write #SBATCH --{option} there"
        )));
    }
    let mut environment = match &options.export {
        // What is exported by hand wins over a parameter of its name.
        Some(list) => {
            let exported = export::parse(list, here)?;
            let is_exported = |name: &str| exported.iter().any(|other| other.name == name);
            let others = variables
                .into_iter()
                .filter(|variable| !is_exported(&variable.name));
            others.chain(exported.clone()).collect()
        }
        None => variables,
    };
    for written in &options.secret {
        let variable = secret::parse(written)?;
        environment.retain(|other| other.name != variable.name);
        environment.push(variable);
    }

    let metadata = match &options.name {
        Some(name) => ObjectMeta {
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        None => {
            let path = options.template.as_deref();
            let path = path.or(options.script_and_arguments.first().map(String::as_str));
            let path = path.or(options.wrap.as_ref().map(|_| "wrap"));
            let name = options.job_name.as_deref().or(script.says("job-name"));
            ObjectMeta {
                generate_name: Some(format!("{}-", label(name.unwrap_or_else(|| stem(path))))),
                ..ObjectMeta::default()
            }
        }
    };
    Ok(Request {
        metadata,
        allocation: options
            .account
            .clone()
            .or_else(|| script.says("account").map(str::to_owned)),
        spec: BatchJobSpec {
            allocation: String::new(),
            script: script.with(&lines)?,
            script_from,
            arguments: {
                // The first is the script, where no template is.
                let skipped = usize::from(options.template.is_none());
                options
                    .script_and_arguments
                    .iter()
                    .skip(skipped)
                    .cloned()
                    .collect()
            },
            environment,
            resources: (resources != JobResources::default()).then_some(resources),
            container: (options.image.is_some() || options.home.is_some()).then(|| JobContainer {
                image: options.image.clone(),
                home_claim: options.home.clone(),
            }),
            array: options.array.as_deref().map(array::parse).transpose()?,
            depends_on: match &options.dependency {
                Some(list) => dependency::parse(list)?,
                None => Vec::new(),
            },
            cancel: false,
            // --hold travels as a line of the script.
            hold: None,
            time_limit: None,
            ttl_after_finished: None,
            submitted_by: None,
        },
    })
}

/// The script's file name without its ending; sbatch calls a script from standard input "sbatch".
fn stem(path: Option<&str>) -> &str {
    match path {
        None | Some("-") => "sbatch",
        Some(path) => std::path::Path::new(path)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or("job"),
    }
}

/// A job's name as the beginning of an object's: lower-case letters, digits and hyphens. The API server adds a hyphen's
/// worth of letters and keeps the whole within 63.
fn label(name: &str) -> String {
    let mut label = String::new();
    for c in name.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_alphanumeric() {
            label.push(c);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    label.truncate(57);
    let label = label.trim_end_matches('-');
    if label.is_empty() {
        "job".to_owned()
    } else {
        label.to_owned()
    }
}

/// The allocation of a name as sbatch knows it: `<tenant>.<allocation>` or `<allocation>`.
fn allocation_of_account(account: &str, tenant: &str) -> Result<String, Failure> {
    match account.split_once('.') {
        None => Ok(account.to_owned()),
        Some((of, allocation)) if of == tenant => Ok(allocation.to_owned()),
        Some((of, _)) => Err(Failure::Usage(format!(
            "the account {account} is of {of}, and this namespace is of {tenant}: name one of {tenant}'s allocations (`meso allocations` lists them), or the namespace of a workspace of {of} with --namespace"
        ))),
    }
}

/// Refuses an allocation that is not there, or not open to the user, as sbatch refuses an account. Who may not see the
/// allocations goes on: then the job itself says what is wrong.
async fn is_open(connection: &Connection, place: &str, named: &str) -> Result<(), Failure> {
    let home = connection.home()?;
    let api: Api<Allocation> = Api::namespaced(connection.client.clone(), home);
    let all = match list_all(&api, &format!("looking for the allocation {named} of {home}")).await {
        Ok(all) => all,
        Err(Failure::Refused(_)) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    // Most allocations are open to all of the tenant: then nobody need be asked who this is.
    if all
        .iter()
        .any(|one| one.name_any() == named && one.spec.members.is_empty())
    {
        return Ok(());
    }
    check_named(&all, &who_am_i(connection).await?, home, place, named)
}

/// How many allocations a refusal names.
const NAMED: usize = 10;

fn check_named(all: &[Allocation], me: &str, tenant: &str, place: &str, named: &str) -> Result<(), Failure> {
    let found = all.iter().find(|one| one.name_any() == named);
    if found.is_some_and(|one| is_member(one, me)) {
        return Ok(());
    }
    let usable: Vec<String> = all
        .iter()
        .filter(|one| is_usable(one, me))
        .map(ResourceExt::name_any)
        .collect();
    let instead = match usable.as_slice() {
        [] if all.is_empty() => "it has none at all: its Owners ask the administrators for hours".to_owned(),
        [] => format!("none of {tenant} can be used by {me} now, and `meso allocations` says why"),
        [one] => format!("write {one}, the only one that you can use"),
        several if several.len() <= NAMED => format!("write one that you can use: {}", several.join(", ")),
        several => format!(
            "write one that you can use: {} and {} more, which `meso allocations` lists",
            several[..NAMED].join(", "),
            several.len() - NAMED
        ),
    };
    Err(if found.is_some() {
        Failure::Refused(format!(
            "{place}: {me} is not among the members of the allocation {named} of {tenant}: {instead}; an Owner of {tenant} can have you added"
        ))
    } else {
        Failure::NotFound(format!("{place}: {tenant} has no allocation {named}: {instead}"))
    })
}

fn is_member(allocation: &Allocation, me: &str) -> bool {
    let members = &allocation.spec.members;
    members.is_empty() || members.iter().any(|member| member == me)
}

fn is_usable(allocation: &Allocation, me: &str) -> bool {
    let status = allocation.status.as_ref();
    status.is_some_and(|status| is_ready(&status.conditions)) && is_member(allocation, me)
}

/// The one allocation that the user can use now.
async fn the_usable_allocation(connection: &Connection) -> Result<String, Failure> {
    let home = connection.home()?;
    let api: Api<Allocation> = Api::namespaced(connection.client.clone(), home);
    let all = list_all(
        &api,
        &format!("looking for an allocation of {home} to pay for the job"),
    )
    .await?;
    let me = who_am_i(connection).await?;
    let allocation = choose(&all, &me, home)?;
    eprintln!("Allocation {allocation}: the only one of {home} that you can use");
    Ok(allocation)
}

fn choose(all: &[Allocation], me: &str, tenant: &str) -> Result<String, Failure> {
    let usable = all.iter().filter(|one| is_usable(one, me));
    let names: Vec<String> = usable.map(ResourceExt::name_any).collect();
    match names.as_slice() {
        [one] => Ok(one.clone()),
        [] if all.is_empty() => Err(Failure::Failed(format!(
            "{tenant} has no allocation, and a job needs one that pays: its Owners ask the administrators for hours"
        ))),
        [] => Err(Failure::Failed(format!(
            "no allocation of {tenant} can be used by {me} now: `meso allocations` says why"
        ))),
        several => Err(Failure::Usage(format!(
            "which allocation pays? Write --account with one of: {}",
            several.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Cli, Command};
    use crate::output::Format;
    use clap::Parser;
    use mesocentre_api::{Dependency, DependencyState, JobArray};

    fn options(arguments: &[&str]) -> Options {
        let line = ["meso", "submit"].iter().chain(arguments);
        match Cli::try_parse_from(line).map(|cli| cli.command) {
            Ok(Command::Submit(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    fn asked(arguments: &[&str], script: &str) -> Result<Request, Unreadable> {
        let script = Script::read(script.as_bytes().to_vec()).unwrap();
        request(&options(arguments), &script, Vec::new(), |_| None)
    }

    const PI: &str = "#!/bin/bash\n#SBATCH --job-name=pi -A univ-caen.climate-2026\ntrue\n";

    #[test]
    fn a_command_is_a_script_of_its_own_and_gets_its_options() {
        let script = Script::read(wrapped("srun hostname")).unwrap();
        let said = options(&[
            "--wrap",
            "srun hostname",
            "-n",
            "2",
            "--exclusive",
            "--nice=5",
            "-k",
        ]);
        let asked = request(&said, &script, Vec::new(), |_| None).unwrap();
        assert_eq!(
            asked.spec.script,
            "#!/bin/sh\n#SBATCH --exclusive\n#SBATCH --nice=5\n#SBATCH --no-kill\n\
             # This script was created by meso submit --wrap.\n\nsrun hostname\n"
        );
        assert_eq!(asked.metadata.generate_name.as_deref(), Some("wrap-"));
        assert_eq!(asked.spec.resources.unwrap().tasks, Some(2));
        assert!(Cli::try_parse_from(["meso", "submit", "--wrap", "true", "job.sh"]).is_err());
    }

    #[test]
    fn a_script_alone_travels_as_it_is() {
        let asked = asked(&["pi.sh"], PI).unwrap();
        assert_eq!(asked.spec.script, PI);
        assert_eq!(asked.spec.resources, None);
        assert_eq!(asked.metadata.generate_name.as_deref(), Some("pi-"));
        assert_eq!(asked.allocation.as_deref(), Some("univ-caen.climate-2026"));
    }

    #[test]
    fn sbatchs_options_become_the_jobs_fields() {
        let asked = asked(
            &[
                "-n",
                "4",
                "-N1",
                "-c2",
                "--mem=4G",
                "-t",
                "1:30:00",
                "-p",
                "standard",
                "-a",
                "1-20%10",
                "-d",
                "afterok:tau",
                "--gres=gpu:2",
                "--export=MODEL=arome",
                "-A",
                "other",
                "x.sh",
                "--member",
                "3",
            ],
            PI,
        )
        .unwrap();
        assert_eq!(asked.spec.script, PI);
        assert_eq!(
            serde_json::to_value(asked.spec.resources).unwrap(),
            serde_json::json!({"nodes": 1, "tasks": 4, "cpusPerTask": 2, "memory": "4Gi", "gpus": 2,
                               "timeLimit": "5400s", "partition": "standard"})
        );
        assert_eq!(
            asked.spec.array,
            Some(JobArray {
                indices: "1-20".to_owned(),
                max_concurrent: Some(10)
            })
        );
        assert_eq!(
            asked.spec.depends_on,
            [Dependency {
                workspace: None,
                job: "tau".to_owned(),
                when: DependencyState::Succeeded
            }]
        );
        assert_eq!(asked.spec.environment[0].value, "arome");
        assert_eq!(asked.spec.arguments, ["--member", "3"]);
        assert_eq!(asked.allocation.as_deref(), Some("other"));
    }

    #[test]
    fn what_no_field_can_say_becomes_a_line_of_the_script() {
        let asked = asked(
            &[
                "-J",
                "tau",
                "-o",
                "my out",
                "-N",
                "2-4",
                "--mem=0",
                "-t",
                "0",
                "-G",
                "4",
                "--gres=gpu:a100:2",
                "-H",
                "x.sh",
            ],
            PI,
        )
        .unwrap();
        assert_eq!(asked.spec.resources, None);
        assert_eq!(asked.metadata.generate_name.as_deref(), Some("tau-"));
        let script = Script::read(asked.spec.script.into_bytes()).unwrap();
        for (option, value) in [
            ("job-name", "tau"),
            ("output", "my out"),
            ("nodes", "2-4"),
            ("mem", "0"),
            ("time", "UNLIMITED"),
            ("gpus", "4"),
            ("gres", "gpu:a100:2"),
        ] {
            assert_eq!(script.says(option), Some(value));
        }
    }

    #[test]
    fn an_objects_name_is_made_of_the_jobs() {
        for (name, made) in [
            ("pi", "pi"),
            ("Pi_2 (test)", "pi-2-test"),
            ("été", "t"),
            ("***", "job"),
            ("", "job"),
        ] {
            assert_eq!(label(name), made);
        }
        assert!(label(&"x".repeat(200)).len() <= 57);
        assert_eq!(stem(Some("/home/alice/pi.sh")), "pi");
        assert_eq!(stem(None), "sbatch");
        assert_eq!(
            asked(&["--name=exact", "x.sh"], PI)
                .unwrap()
                .metadata
                .name
                .as_deref(),
            Some("exact")
        );
    }

    #[test]
    fn an_account_of_another_tenant_is_not_taken_for_ours() {
        assert_eq!(
            allocation_of_account("climate-2026", "univ-caen").unwrap(),
            "climate-2026"
        );
        assert_eq!(
            allocation_of_account("univ-caen.climate-2026", "univ-caen").unwrap(),
            "climate-2026"
        );
        let failure = allocation_of_account("chu.icu", "univ-caen").unwrap_err();
        assert_eq!(failure.code(), 2);
    }

    fn allocation(name: &str, ready: &str, members: &[&str]) -> Allocation {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "Allocation", "metadata": {"name": name},
            "spec": {"scheduler": "austral", "title": "x", "validFrom": "2026-01-01", "validUntil": "2026-12-31",
                     "budget": {}, "members": members},
            "status": {"conditions": [{"type": "Ready", "status": ready, "reason": "R", "message": "m",
                                       "lastTransitionTime": "2026-11-24T10:00:00Z"}]},
        }))
        .unwrap()
    }

    #[test]
    fn an_allocation_that_is_not_there_or_not_open_to_the_user_is_refused_with_those_that_are() {
        let all = [
            allocation("climate", "True", &[]),
            allocation("over", "False", &[]),
            allocation("bobs", "True", &["bob"]),
            allocation("hers", "True", &["alice"]),
        ];
        let said = |all: &[Allocation], named: &str| {
            check_named(all, "alice", "univ-caen", "--account", named)
                .map_err(|failure| (failure.code(), failure.to_string()))
        };
        assert_eq!(said(&all, "climate"), Ok(()));
        assert_eq!(said(&all, "hers"), Ok(()));
        // Why it cannot be used now is the job's to say, which waits and goes on by itself.
        assert_eq!(said(&all, "over"), Ok(()));
        let (code, sentence) = said(&all, "climat").unwrap_err();
        assert_eq!(code, 4);
        assert_eq!(
            sentence,
            "--account: univ-caen has no allocation climat: write one that you can use: climate, hers"
        );
        let (code, sentence) = said(&all, "bobs").unwrap_err();
        assert_eq!(code, 3);
        assert!(
            sentence
                .starts_with("--account: alice is not among the members of the allocation bobs of univ-caen"),
            "{sentence}"
        );
        let (_, sentence) = said(&all[1..3], "climat").unwrap_err();
        assert!(
            sentence.contains("none of univ-caen can be used by alice"),
            "{sentence}"
        );
        assert!(said(&[], "climat").unwrap_err().1.contains("none at all"));
        let many: Vec<Allocation> = (10..30)
            .map(|number| allocation(&format!("a{number}"), "True", &[]))
            .collect();
        let (_, sentence) = said(&many, "climat").unwrap_err();
        assert!(
            sentence.contains("a19 and 10 more") && !sentence.contains("a20"),
            "{sentence}"
        );
    }

    #[test]
    fn the_only_usable_allocation_is_taken_and_several_are_named() {
        let (a, over, bobs, b) = (
            allocation("a", "True", &[]),
            allocation("over", "False", &[]),
            allocation("bobs", "True", &["bob"]),
            allocation("b", "True", &["alice"]),
        );
        let chosen = |all: &[&Allocation]| {
            let all: Vec<Allocation> = all.iter().map(|one| (*one).clone()).collect();
            choose(&all, "alice", "univ-caen").map_err(|failure| failure.to_string())
        };
        assert_eq!(chosen(&[&a, &over, &bobs]).unwrap(), "a");
        assert!(chosen(&[&a, &b]).unwrap_err().ends_with("one of: a, b"));
        assert!(
            chosen(&[&over, &bobs])
                .unwrap_err()
                .contains("can be used by alice")
        );
        assert!(chosen(&[]).unwrap_err().contains("has no allocation"));
    }

    #[test]
    fn the_letter_o_is_sbatchs_output_file() {
        assert_eq!(options(&["-o", "json", "x.sh"]).format.format, Format::Table);
        assert_eq!(options(&["--format", "json", "x.sh"]).format.format, Format::Json);
    }
}
