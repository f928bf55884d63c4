//! Promise: a Scheduler whose commands run on a login node over ssh runs jobs as any other, and only on the machine that
//! was pinned.

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use mesocentre_api::{Condition, Phase, SYSTEM_NAMESPACE, Scheduler, find_condition};
use mesocentre_e2e::Vault;
use mesocentre_e2e::lab::{Lab, job_id};
use mesocentre_e2e::{apply_yaml, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(90);
/// The one that the stack's chart lets the operator read.
const SECRET: &str = "slurm-login";
/// Where Vault signs the operator's logins, and its own role there.
const MOUNT: &str = "mesocentre-login";
const OPERATOR_ROLE: &str = "auth/mesocentre/role/mesocentre-operator";
const OUTPUT_ROLE: &str = "auth/mesocentre/role/mesocentre-output";

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_job_runs_over_ssh_and_a_changed_host_key_stops_all_until_the_new_one_is_pinned() -> Result<()> {
    // All tests share one Scheduler: this one has it for itself, and gives it back as it was, however it ends.
    let lab = Lab::alone("ssh").await?;
    back_to_local(&lab, on_a_login_node(&lab)).await
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn with_certificates_of_minutes_from_vault_no_key_is_kept_and_vault_decides_who_logs_in() -> Result<()>
{
    let lab = Lab::alone("sshv").await?;
    let vault = Vault::of_the_stack()?;
    // As it was, however the test ends.
    let (code, role) = vault.as_root("GET", OPERATOR_ROLE, Value::Null).await?;
    ensure!(code == 200, "the operator's role in Vault: {code}");
    let outcome = back_to_local(&lab, signed_by_vault(&lab, &vault, &role["data"])).await;
    done(&vault, "POST", OPERATOR_ROLE, role["data"].clone()).await?;
    done(&vault, "DELETE", &format!("sys/mounts/{MOUNT}"), Value::Null).await?;
    outcome
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn with_the_connection_cut_before_and_after_slurm_acted_each_job_is_there_once() -> Result<()> {
    let lab = Lab::alone("sshc").await?;
    back_to_local(&lab, is_cut(&lab)).await
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn each_author_logs_in_themselves_by_a_certificate_for_them_alone_and_nobody_becomes_anybody()
-> Result<()> {
    let lab = Lab::alone("sshp").await?;
    let vault = Vault::of_the_stack()?;
    let (code, role) = vault.as_root("GET", OPERATOR_ROLE, Value::Null).await?;
    ensure!(code == 200, "the operator's role in Vault: {code}");
    let outcome = back_to_local(&lab, as_themselves(&lab, &vault, &role["data"])).await;
    done(&vault, "POST", OPERATOR_ROLE, role["data"].clone()).await?;
    done(&vault, "DELETE", "sys/policies/acl/mesocentre-login", Value::Null).await?;
    done(&vault, "DELETE", &format!("sys/mounts/{MOUNT}"), Value::Null).await?;
    outcome
}

/// As docs/administrator.md has it under "Each person by themselves".
async fn as_themselves(lab: &Lab, vault: &Vault, role: &Value) -> Result<()> {
    let authority = authority(vault).await?;
    let policy = r#"path "mesocentre-login/sign/operator" { capabilities = ["update"] }
        path "mesocentre-login/sign/people" { capabilities = ["update"] }"#;
    give_policy(vault, role, policy).await?;
    let signs = |whom: &str| json!({"key_type": "ca", "allow_user_certificates": true, "allowed_users": whom, "ttl": "2m", "max_ttl": "2m"});
    done(vault, "POST", &format!("{MOUNT}/roles/operator"), signs("root")).await?;
    // Not for this lab's member yet.
    done(
        vault,
        "POST",
        &format!("{MOUNT}/roles/people"),
        signs("nobody-else"),
    )
    .await?;

    // Whoever may become anybody there has no way to: setpriv and sudo are not to be found.
    let bin = tempfile::Builder::new().prefix("meso-").tempdir_in("/var/tmp")?;
    fs::set_permissions(bin.path(), fs::Permissions::from_mode(0o755))?;
    for program in [
        "sbatch", "squeue", "sacct", "scontrol", "sacctmgr", "scancel", "sdiag", "sinfo", "env", "sh",
        "head", "mktemp", "rm", "wc", "cat", "timeout", "getent", "id", "ls", "tail",
    ] {
        let answer = lab
            .stack
            .run(&["sh", "-c", &format!("command -v {program}")])
            .await?;
        std::os::unix::fs::symlink(answer.stdout.trim(), bin.path().join(program))?;
    }
    // An account without a password, as a site's directory has it; useradd makes one that is locked.
    let unlocked = lab.stack.run(&["usermod", "-p", "*", &lab.tenant.member]).await?;
    ensure!(unlocked.is_success(), "{unlocked:?}");
    let node = LoginNode::trusting_for_all(&authority)?;
    let path = bin.path().display().to_string();
    let identity = json!({"vaultSshRole": "operator"});
    let by = Identities {
        own: &identity,
        persons: Some("people"),
    };
    pin_at(lab, &node, node.port, by, Some(&path)).await?;
    until_it_says(lab, "Answers").await;
    lab.submit("themselves", json!({"script": "#!/bin/sh\nid -un\n"}))
        .await?;
    let told = lab
        .until("themselves", "says that nobody signs for its author", |status| {
            status
                .message
                .as_ref()
                .is_some_and(|message| message.contains("role people"))
        })
        .await;
    assert_eq!(told.phase, Phase::Pending, "{told:?}");
    done(
        vault,
        "POST",
        &format!("{MOUNT}/roles/people"),
        signs(&lab.tenant.member),
    )
    .await?;
    let status = lab.until_over("themselves").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    let member = &lab.tenant.member;
    assert_eq!(
        fs::read_to_string(status.output_path.context("no output path")?)?,
        format!("{member}\n")
    );
    let log = node.log()?;
    ensure!(
        log.contains(&format!("Accepted publickey for {member}"))
            && log.contains("Accepted publickey for root"),
        "{log}"
    );
    // A script of theirs is read by them as well; of another it is not.
    let file = lab.stack.home_of(member).join("own.sh");
    fs::write(&file, "#!/bin/sh\necho own\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    let owner = format!("{member}:");
    lab.stack.run(&["chown", &owner, &file.to_string_lossy()]).await?;
    lab.submit("own", json!({"scriptFrom": {"path": file}})).await?;
    let status = lab.until_over("own").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    lab.submit("roots", json!({"scriptFrom": {"path": "/etc/shadow"}}))
        .await?;
    let status = lab.until_over("roots").await;
    assert!(
        status
            .message
            .clone()
            .unwrap_or_default()
            .contains("may not read it"),
        "{status:?}"
    );
    Ok(())
}

/// Gives the operator's role in Vault this policy beside its own.
async fn give_policy(vault: &Vault, role: &Value, policy: &str) -> Result<()> {
    let path = "sys/policies/acl/mesocentre-login";
    done(vault, "PUT", path, json!({"policy": policy})).await?;
    let mut with_policy = role.clone();
    with_policy["token_policies"] = json!(["mesocentre-operator", "mesocentre-login"]);
    done(vault, "POST", OPERATOR_ROLE, with_policy).await
}

/// An SSH engine in Vault for logins, and its public key.
async fn authority(vault: &Vault) -> Result<String> {
    done(
        vault,
        "POST",
        &format!("sys/mounts/{MOUNT}"),
        json!({"type": "ssh"}),
    )
    .await?;
    let authority = json!({"generate_signing_key": true, "key_type": "ed25519"});
    done(vault, "POST", &format!("{MOUNT}/config/ca"), authority).await?;
    let (_, authority) = vault
        .as_root("GET", &format!("{MOUNT}/config/ca"), Value::Null)
        .await?;
    let public = authority["data"]["public_key"].as_str().context("no authority")?;
    Ok(public.to_owned())
}

/// What logs in: for itself, and as the people there.
#[derive(Clone, Copy)]
struct Identities<'a> {
    own: &'a Value,
    persons: Option<&'a str>,
}

/// Does something with the Scheduler, and sets it to run commands here again, whatever came of it.
async fn back_to_local(lab: &Lab, doing: impl Future<Output = Result<()>>) -> Result<()> {
    let outcome = AssertUnwindSafe(doing).catch_unwind().await;
    let local = json!({"spec": {"slurm": {"transport": {"local": {}, "ssh": null}}}});
    schedulers(lab)
        .patch(
            &lab.tenant.scheduler,
            &PatchParams::default(),
            &Patch::Merge(local),
        )
        .await?;
    until_it_says(lab, "Answers").await;
    let deleted = secrets(lab).delete(SECRET, &DeleteParams::default()).await;
    outcome.unwrap_or_else(|panic| resume_unwind(panic))?;
    deleted?;
    Ok(())
}

/// How many jobs are submitted, and how many of their submissions are cut off.
const JOBS: usize = 8;
const CUTS: usize = 6;

async fn is_cut(lab: &Lab) -> Result<()> {
    let marks = tempfile::Builder::new().prefix("meso-").tempdir_in("/var/tmp")?;
    let bin = marks.path().join("bin");
    fs::create_dir(&bin)?;
    // The real one, which says before and after it acted that it does, and leaves time to be cut off.
    let at = marks.path().display();
    let sbatch = format!(
        "#!/bin/sh\ntouch {at}/before.$$; sleep 0.5\nsaid=$(/usr/bin/sbatch \"$@\"); code=$?\n\
         touch {at}/after.$$; sleep 0.5\necho \"$said\"; exit $code\n"
    );
    fs::write(bin.join("sbatch"), sbatch)?;
    // It runs as the jobs' author.
    fs::set_permissions(bin.join("sbatch"), fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(marks.path(), fs::Permissions::from_mode(0o777))?;

    let node = LoginNode::start()?;
    let way = Way::to(node.port).await?;
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let by = Identities {
        own: &json!({"secretName": SECRET}),
        persons: None,
    };
    pin_at(lab, &node, way.port, by, Some(&path)).await?;
    until_it_says(lab, "Answers").await;
    let names: Vec<String> = (0..JOBS).map(|number| format!("cut-{number}")).collect();
    for name in &names {
        lab.submit(
            name,
            json!({"script": "#!/bin/bash\ntrue\n", "resources": {"memory": "10Mi", "timeLimit": "5m"}}),
        )
        .await?;
    }
    // In turn before Slurm is asked and after it has acted, each time on a submission that was not cut yet.
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for cut in 0..CUTS {
        let moment = if cut % 2 == 0 { "before." } else { "after." };
        let mark = wait_for(&format!("a submission comes to {moment}"), PATIENCE, async || {
            marked(marks.path(), moment, &seen).map_err(|error| error.to_string())
        })
        .await;
        way.cut();
        seen.insert(mark);
    }
    for name in &names {
        let status = lab.until_metered(name).await;
        assert_eq!(status.phase, Phase::Succeeded, "{name}: {status:?}");
    }
    let mut tokens: Vec<Vec<String>> = lab.sacct("Comment").await?;
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), JOBS, "{tokens:?}");
    assert_eq!(
        lab.sacct("Comment").await?.len(),
        JOBS,
        "a token ran twice: {tokens:?}"
    );
    // The cuts fell where they were meant to: behind the point from which nobody knows whether there is a job.
    let log = fs::read_to_string(lab.stack.operator().log())?;
    let unknown = log
        .lines()
        .filter(|line| line.contains(&lab.namespace) && line.contains("outcome is not known"))
        .count();
    ensure!(unknown >= CUTS / 2, "only {unknown} outcomes were not known");
    Ok(())
}

/// The process number of a submission that is at this moment now, and was not seen before.
fn marked(folder: &Path, moment: &str, seen: &BTreeSet<String>) -> Result<String> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // It stays there for half a second.
        let is_there = entry.metadata()?.modified()?.elapsed()? < Duration::from_millis(400);
        if let Some(process) = name.strip_prefix(moment)
            && is_there
            && !seen.contains(process)
        {
            return Ok(process.to_owned());
        }
    }
    anyhow::bail!("none has")
}

/// A way to a port of this machine that can be cut: what is under way ends at once, on both sides.
struct Way {
    port: u16,
    cut: watch::Sender<()>,
}

impl Way {
    async fn to(port: u16) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let (cut, cuts) = watch::channel(());
        let way = Self {
            port: listener.local_addr()?.port(),
            cut,
        };
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let mut cuts = cuts.clone();
                cuts.borrow_and_update();
                tokio::spawn(async move {
                    let Ok(mut to) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Ok(way)
    }

    fn cut(&self) {
        self.cut.send_replace(());
    }
}

/// As docs/administrator.md has it under "Certificates instead of a key", each step after what its absence is told by.
async fn signed_by_vault(lab: &Lab, vault: &Vault, role: &Value) -> Result<()> {
    let authority = &authority(vault).await?;
    let node = LoginNode::trusting("")?;
    let by_role = json!({"vaultSshRole": "operator"});
    pin(lab, &node, &by_role).await?;

    let told = until_it_says(lab, "IdentityRefused").await;
    assert!(
        told.message.contains("update on mesocentre-login/sign/operator"),
        "{}",
        told.message
    );
    let policy = r#"path "mesocentre-login/sign/operator" { capabilities = ["update"] }"#;
    give_policy(vault, role, policy).await?;
    until_its_message_has(lab, "signs no login").await;

    let signs = json!({
        "key_type": "ca", "allow_user_certificates": true, "allowed_users": "root", "ttl": "5m", "max_ttl": "5m",
        "default_critical_options": {"source-address": "127.0.0.1"},
    });
    done(vault, "POST", &format!("{MOUNT}/roles/operator"), signs).await?;
    // A login node that trusts nobody yet.
    until_its_message_has(lab, "name its public key in TrustedUserCAKeys").await;
    drop(node);

    let node = LoginNode::trusting(authority)?;
    pin(lab, &node, &by_role).await?;
    until_it_says(lab, "Answers").await;
    let log = node.log()?;
    ensure!(log.contains("ED25519-CERT"), "no certificate logged in: {log}");
    lab.submit("signed", json!({"script": "#!/bin/bash\nid -un\n"}))
        .await?;
    let status = lab.until_over("signed").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    // What serves outputs has a role of its own, which may sign and nothing else.
    let told = output_of(lab, "signed")
        .await
        .err()
        .context("an output came without a role in Vault")?;
    assert!(told.to_string().contains("mesocentre-output"), "{told:#}");
    let own: Value = serde_json::from_str(include_str!(
        "../../charts/mesocentre/files/vault/output-role.json"
    ))?;
    done(vault, "POST", OUTPUT_ROLE, own).await?;
    let read = wait_for("its output is read", PATIENCE, async || {
        output_of(lab, "signed")
            .await
            .map_err(|error| format!("{error:#}"))
    })
    .await;
    assert_eq!(read, format!("{}\n", lab.tenant.member));
    done(vault, "DELETE", OUTPUT_ROLE, Value::Null).await?;

    // Taken away, no new connection is made.
    done(vault, "POST", OPERATOR_ROLE, role.clone()).await?;
    done(vault, "DELETE", "sys/policies/acl/mesocentre-login", Value::Null).await?;
    drop(node);
    let node = LoginNode::trusting(authority)?;
    pin(lab, &node, &by_role).await?;
    until_it_says(lab, "IdentityRefused").await;
    let log = node.log()?;
    ensure!(!log.contains("Accepted publickey"), "somebody logged in: {log}");
    let log = fs::read_to_string(lab.stack.operator().log())?;
    for secret in ["PRIVATE KEY", "ssh-ed25519-cert"] {
        assert!(!log.contains(secret), "the operator's log holds {secret}");
    }
    Ok(())
}

/// A job's output, as its author reads it through the API server.
async fn output_of(lab: &Lab, job: &str) -> Result<String> {
    let request = http::Request::get(mesocentre_api::output::path(&lab.namespace, job)).body(Vec::new())?;
    Ok(lab.member.request_text(request).await?)
}

async fn done(vault: &Vault, method: &str, path: &str, body: Value) -> Result<()> {
    let (code, answer) = vault.as_root(method, path, body).await?;
    ensure!((200..300).contains(&code), "{method} {path}: {code} {answer}");
    Ok(())
}

async fn on_a_login_node(lab: &Lab) -> Result<()> {
    let by_key = json!({"secretName": SECRET});
    let mut node = LoginNode::start()?;
    pin(lab, &node, &by_key).await?;
    until_it_says(lab, "Answers").await;
    ensure!(
        node.log()?.contains("Accepted publickey for root"),
        "the operator did not come by the login node"
    );

    let odd = "it's \"$HOME\"; `id` \\ \n second line é";
    lab.submit(
        "there",
        json!({
            "script": "#!/bin/bash\nid -un\nprintf '%s|%s' \"$ODD\" \"$1\"\n",
            "environment": [{"name": "ODD", "value": odd}],
            "arguments": [odd],
        }),
    )
    .await?;
    let status = lab.until_over("there").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    let row = lab.sacct_of(job_id(&status), "User,State").await?;
    assert_eq!(row, [lab.tenant.member.as_str(), "COMPLETED"]);
    let output = status.output_path.context("no output path")?;
    let member = &lab.tenant.member;
    let written = format!("{member}\n{odd}|{odd}");
    assert_eq!(fs::read_to_string(output)?, written);
    // Its author, who has a kubeconfig and nothing else, reads it by the same way.
    assert_eq!(output_of(lab, "there").await?, written);

    let pinned = node.fingerprint()?;
    node.change_host_key()?;
    let shown = node.fingerprint()?;
    let told = until_it_says(lab, "HostKeyChanged").await;
    for part in [
        &format!("shows the host key {shown}"),
        &format!("pinned is {pinned}"),
    ] {
        assert!(told.message.contains(part), "{}", told.message);
    }
    let told = output_of(lab, "there")
        .await
        .err()
        .context("an output came from a host that nobody knows")?;
    assert!(
        told.to_string().contains(&format!("shows the host key {shown}")),
        "{told:#}"
    );
    // What is submitted meanwhile waits; no account can be changed either.
    lab.submit("waits", json!({"script": "#!/bin/bash\ntrue\n"}))
        .await?;
    let waits = lab
        .until("waits", "says why it waits", |status| status.message.is_some())
        .await;
    assert_eq!(waits.phase, Phase::Pending, "{waits:?}");

    pin(lab, &node, &by_key).await?;
    until_it_says(lab, "Answers").await;
    let status = lab.until_over("waits").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    // Each once, though the way to the scheduler was cut between them.
    let mut states: Vec<Vec<String>> = lab.sacct("State").await?;
    states.sort();
    assert_eq!(states, [["COMPLETED"], ["COMPLETED"]]);
    let log = fs::read_to_string(lab.stack.operator().log())?;
    assert!(
        !log.contains("PRIVATE KEY"),
        "the operator's log holds a private key"
    );
    Ok(())
}

fn schedulers(lab: &Lab) -> Api<Scheduler> {
    Api::all(lab.stack.admin())
}

fn secrets(lab: &Lab) -> Api<Secret> {
    Api::namespaced(lab.stack.admin(), SYSTEM_NAMESPACE)
}

/// Has the Scheduler's commands run there, known by the host key that it has now.
async fn pin(lab: &Lab, node: &LoginNode, identity: &Value) -> Result<()> {
    let by = Identities {
        own: identity,
        persons: None,
    };
    pin_at(lab, node, node.port, by, None).await
}

/// The same through another port, and with commands in other folders.
async fn pin_at(
    lab: &Lab,
    node: &LoginNode,
    port: u16,
    by: Identities<'_>,
    path: Option<&str>,
) -> Result<()> {
    let indented = |text: &str| text.trim_end().replace('\n', "\n    ");
    let known_hosts = format!(
        "# as ssh-keyscan writes it\n[127.0.0.1]:{port} {}",
        fs::read_to_string(node.at("host.pub"))?
    );
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {SECRET}, namespace: {SYSTEM_NAMESPACE}}}\ntype: kubernetes.io/ssh-auth\n\
         stringData:\n  ssh-privatekey: |\n    {}\n  known_hosts: |\n    {}\n",
        indented(&fs::read_to_string(node.at("identity"))?),
        indented(&known_hosts),
    );
    apply_yaml(&lab.stack.admin(), &secret).await?;
    let ssh = json!({
        "path": path,
        "host": "127.0.0.1",
        "port": port,
        "user": "root",
        "knownHostsSecret": SECRET,
        "identity": by.own,
        "personIdentity": by.persons.map(|role| json!({"vaultSshRole": role})),
        "slurmConf": lab.stack.slurm_conf(),
    });
    let patch = json!({"spec": {"slurm": {"transport": {"local": null, "ssh": ssh}}}});
    schedulers(lab)
        .patch(
            &lab.tenant.scheduler,
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    Ok(())
}

/// Waits until the Scheduler as it is now says so.
async fn until_it_says(lab: &Lab, reason: &str) -> Condition {
    // The stack's Slurm may have something to remark.
    until_ready(lab, &format!("the Scheduler says {reason}"), |found| {
        found.reason.starts_with(reason)
    })
    .await
}

async fn until_its_message_has(lab: &Lab, words: &str) -> Condition {
    until_ready(lab, &format!("the Scheduler says that {words}"), |found| {
        found.message.contains(words)
    })
    .await
}

async fn until_ready(lab: &Lab, what: &str, holds: impl Fn(&Condition) -> bool) -> Condition {
    wait_for(what, PATIENCE, async || {
        let scheduler = schedulers(lab)
            .get(&lab.tenant.scheduler)
            .await
            .map_err(|error| error.to_string())?;
        let generation = scheduler.metadata.generation;
        let status = scheduler.status.clone().unwrap_or_default();
        match find_condition(&status.conditions, "Ready") {
            Some(found) if holds(found) && status.observed_generation == generation => Ok(found.clone()),
            _ => Err(format!("{} {status:?}", scheduler.name_any())),
        }
    })
    .await
}

/// A login node of the stack's Slurm: an sshd on this machine, which is a submit host.
struct LoginNode {
    folder: tempfile::TempDir,
    port: u16,
    sshd: Child,
}

impl LoginNode {
    /// One that lets in a key.
    fn start() -> Result<Self> {
        let node = |at: &dyn Fn(&str) -> PathBuf| {
            fs::copy(at("identity.pub"), at("authorized_keys"))?;
            Ok(format!(
                "AuthorizedKeysFile {}\n",
                at("authorized_keys").display()
            ))
        };
        Self::with(node)
    }

    /// One that lets in whom this authority signs for.
    fn trusting(authority: &str) -> Result<Self> {
        Self::with(|at| {
            fs::write(at("authority.pub"), authority)?;
            Ok(format!(
                "AuthorizedKeysFile none\nMatch User root\n    TrustedUserCAKeys {}\n",
                at("authority.pub").display()
            ))
        })
    }

    /// The same for everybody's account, each for their own.
    fn trusting_for_all(authority: &str) -> Result<Self> {
        Self::with(|at| {
            fs::write(at("authority.pub"), authority)?;
            Ok(format!(
                "AuthorizedKeysFile none\nTrustedUserCAKeys {}\n",
                at("authority.pub").display()
            ))
        })
    }

    fn with(lets_in: impl FnOnce(&dyn Fn(&str) -> PathBuf) -> Result<String>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        for name in ["host", "identity"] {
            keygen(&at(name))?;
        }
        let lets_in = lets_in(&at)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n{lets_in}",
            at("host").display(),
        );
        fs::write(at("sshd_config"), config)?;
        fs::create_dir_all("/run/sshd")?;
        let sshd = sshd(folder.path(), port)?;
        Ok(Self { folder, port, sshd })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.at("log"))?)
    }

    fn fingerprint(&self) -> Result<String> {
        let output = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.at("host.pub"))
            .output()?;
        let line = String::from_utf8(output.stdout)?;
        Ok(line.split(' ').nth(1).context("ssh-keygen -l")?.to_owned())
    }

    /// As when the machine is installed anew: its connections are cut, and it comes back with another key.
    fn change_host_key(&mut self) -> Result<()> {
        self.stop()?;
        fs::remove_file(self.at("host"))?;
        keygen(&self.at("host"))?;
        self.sshd = sshd(self.folder.path(), self.port)?;
        Ok(())
    }

    /// Ends sshd and those of its children that hold a connection.
    fn stop(&mut self) -> Result<()> {
        let children = Command::new("ps")
            .args(["-o", "pid=", "--ppid", &self.sshd.id().to_string()])
            .output()?;
        for pid in String::from_utf8(children.stdout)?.split_whitespace() {
            Command::new("kill").args(["-KILL", pid]).status()?;
        }
        self.sshd.kill()?;
        self.sshd.wait()?;
        Ok(())
    }
}

impl Drop for LoginNode {
    fn drop(&mut self) {
        // With its connections; what is gone already is gone.
        let _ = self.stop();
    }
}

fn keygen(path: &Path) -> Result<()> {
    let _ = fs::remove_file(path.with_extension("pub"));
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status()?;
    ensure!(made.success(), "ssh-keygen made no key");
    Ok(())
}

fn sshd(folder: &Path, port: u16) -> Result<Child> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    let child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("starting sshd")?;
    let since = std::time::Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(
            since.elapsed() < Duration::from_secs(10),
            "sshd does not listen: {}",
            fs::read_to_string(folder.join("log"))?
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(child)
}
