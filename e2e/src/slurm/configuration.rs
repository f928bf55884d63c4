//! slurm.conf, slurmdbd.conf and what is read beside them (Slurm 22.05's man pages of those names).

use super::{Release, base, munge};
use crate::state::{self, folder, write_secret};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

/// The cluster's name.
pub const CLUSTER: &str = "meso";
/// Its nodes.
pub const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];

/// The one with four GPUs, which are counted and do not exist.
const GPU_NODE: &str = "n4";

/// Slurm's configuration file.
pub fn conf() -> PathBuf {
    base().join("slurm.conf")
}

/// Writes them; says whether slurm.conf is another one than before, as after an update of this tool.
pub(super) fn write(release: Release) -> Result<bool> {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").context("reading the machine's name")?;
    let hostname = hostname.trim();
    for path in ["ctld", "spool"] {
        folder(&base().join(path))?;
    }
    let text = slurm(hostname, release)?;
    let changed = fs::read_to_string(conf()).ok().as_ref() != Some(&text);
    if changed {
        write_secret(&conf(), text.as_bytes())?;
        // Everybody's commands read it.
        fs::set_permissions(conf(), fs::Permissions::from_mode(0o644))?;
    }
    graphics()?;
    write_secret(
        &base().join("slurmdbd.conf"),
        slurmdbd(hostname, release)?.as_bytes(),
    )?;
    // It is looked for beside slurm.conf, and its absence is a warning from each command.
    let plugstack = base().join("plugstack.conf");
    if fs::symlink_metadata(&plugstack).is_err() {
        symlink("/dev/null", &plugstack).context("linking plugstack.conf")?;
    }
    Ok(changed)
}

/// slurmd counts a GPU only by a device file: four names of a device that every machine has.
fn graphics() -> Result<()> {
    let devices = base().join("gpus");
    folder(&devices)?;
    for number in 0..4 {
        let device = devices.join(format!("gpu{number}"));
        if fs::symlink_metadata(&device).is_err() {
            symlink("/dev/null", &device).with_context(|| format!("linking {}", device.display()))?;
        }
    }
    let text = format!(
        "# Written by cargo dev up.\nNodeName={GPU_NODE} Name=gpu Type=a100 File={}/gpu[0-3]\n",
        devices.display()
    );
    fs::write(base().join("gres.conf"), text).context("writing gres.conf")
}

/// The line that says where a release's plugins are, where it does not know.
fn plugin_dir(release: Release) -> String {
    release
        .plugins()
        .map(|folder| format!("PluginDir={}\n", folder.display()))
        .unwrap_or_default()
}

fn slurm(hostname: &str, release: Release) -> Result<String> {
    let base = base().display().to_string();
    let controller = state::port("slurmctld")?;
    let accounting = state::port("slurmdbd")?;
    let socket = munge::socket().display().to_string();
    let mut text = format!(
        "# Written by cargo dev up.
ClusterName={CLUSTER}
SlurmctldHost={hostname}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={socket}
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={base}/ctld
SlurmdSpoolDir={base}/spool/%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd-%n.pid
MailProg=/bin/true
ReturnToService=2
MessageTimeout=10
KillWait=5

# No cgroups, no MPI, more cores than the machine has: what runs in any container.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=10

SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# A job that asks for nothing takes one core, some memory and an hour, not a node for ever.
DefMemPerCPU=1024
SchedulerType=sched/backfill
# Jobs start at once, where a site would wait to schedule many together.
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=2,bf_resolution=60
EpilogMsgTime=0
MaxArraySize=100001
MaxJobCount=200000
MinJobAge=300

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting}
# Between slurmctld or a command and slurmdbd it is this that names munge's socket.
AccountingStoragePass={socket}
AccountingStorageEnforce=associations,limits,qos,safe
AccountingStoreFlags=job_comment,job_script
AccountingStorageTRES=gres/gpu,gres/gpu:a100
GresTypes=gpu
# Hours granted are spent once: what was used never decays.
PriorityType=priority/multifactor
PriorityDecayHalfLife=0
PriorityUsageResetPeriod=NONE
PriorityCalcPeriod=00:01:00

"
    );
    for node in NODES {
        let gpus = if node == GPU_NODE { " Gres=gpu:a100:4" } else { "" };
        folder(&self::base().join("spool").join(node))?;
        let port = state::port(&format!("slurmd-{node}"))?;
        text += &format!(
            "NodeName={node} NodeHostname={hostname} NodeAddr=127.0.0.1 Port={port} CPUs=64 Sockets=2 \
             CoresPerSocket=32 ThreadsPerCore=1 RealMemory=262144 TmpDisk=102400{gpus} State=UNKNOWN\n"
        );
    }
    text += &plugin_dir(release);
    text +=
        "PartitionName=standard Nodes=n[1-4] Default=YES DefaultTime=01:00:00 MaxTime=7-00:00:00 State=UP\n";
    Ok(text)
}

fn slurmdbd(hostname: &str, release: Release) -> Result<String> {
    let base = base().display().to_string();
    let port = state::port("slurmdbd")?;
    let socket = munge::socket().display().to_string();
    Ok(format!(
        "# Written by cargo dev up.
AuthType=auth/munge
AuthInfo=socket={socket}
DbdHost={hostname}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
PidFile={base}/slurmdbd.pid
DebugLevel=info
StorageType=accounting_storage/mysql
# By its socket, named in the environment.
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
{}",
        plugin_dir(release)
    ))
}
