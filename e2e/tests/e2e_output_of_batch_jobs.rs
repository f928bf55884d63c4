//! Promise: with nothing but a kubeconfig a member reads what a job on Slurm wrote, as it grows, as their own posix account
//! and nobody else's.

use anyhow::Result;
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use mesocentre_api::output::path;
use mesocentre_api::{BatchJobStatus, Phase};
use mesocentre_e2e::lab::Lab;
use mesocentre_e2e::wait_for;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the API server answers to a user.
async fn read(client: &Client, question: &str) -> Result<String, kube::Error> {
    let request = Request::get(question).body(Vec::new());
    client
        .request_text(request.map_err(kube::Error::HttpError)?)
        .await
}

/// The code and the sentence of a refusal.
#[expect(clippy::panic, reason = "a test ends by it, with what came instead")]
async fn refused(client: &Client, question: &str) -> (u16, String) {
    match read(client, question).await {
        Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
        other => panic!("{question}: {other:?}"),
    }
}

/// A job of these lines that is over.
async fn ended(lab: &Lab, name: &str, lines: &str, more: Value) -> Result<BatchJobStatus> {
    let mut spec = json!({"script": format!("#!/bin/sh\n{lines}\n"), "resources": {"timeLimit": "2m"}});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field.as_str()] = value.clone();
    }
    lab.submit(name, spec).await?;
    let status = lab.until_over(name).await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    Ok(status)
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_member_reads_whole_a_piece_or_the_last_lines_and_a_task_by_its_index() -> Result<()> {
    let lab = Lab::new("out").await?;
    ended(
        &lab,
        "lines",
        "for i in 1 2 3; do echo line $i; done; printf 'no end'",
        json!({}),
    )
    .await?;
    let of = path(&lab.namespace, "lines");
    assert_eq!(read(&lab.member, &of).await?, "line 1\nline 2\nline 3\nno end");
    assert_eq!(
        read(&lab.member, &format!("{of}?from=7")).await?,
        "line 2\nline 3\nno end"
    );
    assert_eq!(
        read(&lab.member, &format!("{of}?tailLines=2&follow=true")).await?,
        "line 3\nno end",
        "what is over has an end"
    );
    let (code, told) = refused(&lab.member, &format!("{of}?tail=1")).await;
    assert_eq!(code, 400);
    assert!(
        told.starts_with("tail: unknown field") && told.contains("tailLines"),
        "{told}"
    );

    ended(
        &lab,
        "tasks",
        "echo task $SLURM_ARRAY_TASK_ID",
        json!({"array": {"indices": "5-7"}}),
    )
    .await?;
    let of = path(&lab.namespace, "tasks");
    assert_eq!(read(&lab.member, &format!("{of}?task=6")).await?, "task 6\n");
    let (code, told) = refused(&lab.member, &of).await;
    assert!(code == 400 && told.contains("name the task"), "{told}");
    let (code, told) = refused(&lab.member, &format!("{of}?task=9")).await;
    assert!(code == 404 && told.contains("there is no such file"), "{told}");
    // An index is not a way to another file.
    let (code, told) = refused(&lab.member, &format!("{of}?task=..%2F..%2Fetc%2Fpasswd")).await;
    assert!(code == 404 || code == 400, "{code} {told}");
    let (code, told) = refused(&lab.member, &path(&lab.namespace, "no-such-job")).await;
    assert!(
        code == 404 && told.contains("there is no batch job no-such-job"),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_output_is_followed_as_it_grows_until_the_job_has_ended_and_meso_follows_it_from_another_machine()
-> Result<()> {
    let lab = Lab::new("outf").await?;
    // It goes on when it is let.
    let gate = home(&lab, &lab.tenant.member).join(format!("gate-{}", lab.tenant.name));
    let lines = format!(
        "echo begun; while [ ! -e {0} ]; do sleep 0.2; done; echo ended; rm {0}",
        gate.display()
    );
    lab.submit(
        "grows",
        json!({"script": format!("#!/bin/sh\n{lines}\n"), "resources": {"timeLimit": "5m"}}),
    )
    .await?;
    lab.until("grows", "runs", |status| status.phase == Phase::Running)
        .await;
    let of = path(&lab.namespace, "grows");
    wait_for("its first line is there", PATIENCE, async || {
        match read(&lab.member, &of).await {
            Ok(text) if text == "begun\n" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    // A machine that has neither the homes nor anything else of the cluster's.
    let kubeconfig = lab.stack.kubeconfig_for(&lab.tenant.member, &[]).await?;
    let homes = home(&lab, &lab.tenant.member);
    let hidden = format!(
        "mount -t tmpfs none {} && exec meso -n {} logs -f grows",
        homes.display(),
        lab.namespace
    );
    let elsewhere = ["unshare", "--mount", "--propagation=private", "sh", "-c", &hidden];
    let readings = || {
        let log = lab.stack.log_of("output", 500);
        let of_this = format!("namespace=\"{}\" job=\"grows\"", lab.namespace);
        log.lines().filter(|line| line.contains(&of_this)).count()
    };
    let before = readings();
    let question = format!("{of}?follow=true");
    let (followed, elsewhere, opened) = futures::join!(
        read(&lab.member, &question),
        lab.stack.run_as(&kubeconfig, &elsewhere),
        async {
            // What serves it says of each reading when it begins.
            wait_for("both follow", PATIENCE, async || match readings() {
                now if now >= before + 2 => Ok(()),
                now => Err(format!("{now} readings, {before} of them before")),
            })
            .await;
            std::fs::write(&gate, "")
        }
    );
    opened?;
    assert_eq!(followed?, "begun\nended\n");
    let elsewhere = elsewhere?;
    assert!(elsewhere.is_success(), "{elsewhere:?}");
    assert_eq!(elsewhere.stdout, "begun\nended\n", "{elsewhere:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn nobody_reads_what_their_own_posix_account_may_not() -> Result<()> {
    let lab = Lab::new("outr").await?;
    let owner = lab.stack.user(&lab.tenant.owner, &[]).await?;
    ended(&lab, "open", "echo for all of us", json!({})).await?;
    ended(
        &lab,
        "mine",
        "echo secret; chmod 600 \"$(readlink /proc/$$/fd/1)\"",
        json!({}),
    )
    .await?;
    // Whatever stands in the place of the output is read as the reader, too.
    let swapped = "out=$(readlink /proc/$$/fd/1); rm -f \"$out\"";
    ended(
        &lab,
        "link",
        &format!("{swapped}; ln -s /etc/shadow \"$out\""),
        json!({}),
    )
    .await?;
    ended(&lab, "pipe", &format!("{swapped}; mkfifo \"$out\""), json!({})).await?;
    let of = |name: &str| path(&lab.namespace, name);

    let home = home(&lab, &lab.tenant.member);
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    assert_eq!(read(&owner, &of("open")).await?, "for all of us\n");
    assert_eq!(read(&lab.member, &of("mine")).await?, "secret\n");
    let (code, told) = refused(&owner, &of("mine")).await;
    let account = format!("the posix account {} may not read it", lab.tenant.owner);
    assert!(code == 403 && told.contains(&account), "{code} {told}");
    let (code, told) = refused(&lab.member, &of("link")).await;
    assert!(code == 403 && told.contains("may not read it"), "{code} {told}");
    let (code, told) = refused(&lab.member, &of("pipe")).await;
    assert!(code == 400 && told.contains("no regular file"), "{code} {told}");

    // A member by a group has no posix account, and an administrator of Kubernetes has none either.
    let (code, told) = refused(&lab.stack.admin(), &of("open")).await;
    assert!(
        code == 403 && told.contains("not named among the members"),
        "{code} {told}"
    );
    // Who is no member does not come so far.
    let stranger = lab.stack.user("somebody-else", &[]).await?;
    let (code, told) = refused(&stranger, &of("open")).await;
    assert!(
        code == 403 && told.contains("cannot get resource \"batchjobs/log\""),
        "{code} {told}"
    );
    // Who says that they are somebody else is not believed.
    let forged = Request::get(of("mine"))
        .header("X-Remote-User", &lab.tenant.member)
        .header("X-Remote-Group", "system:masters")
        .body(Vec::new())?;
    assert!(owner.request_text(forged).await.is_err(), "a forged header");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_serves_outputs_hears_the_api_server_alone_and_needs_no_operator() -> Result<()> {
    let lab = Lab::alone("outa").await?;
    ended(&lab, "done", "echo still here", json!({})).await?;
    let of = path(&lab.namespace, "done");
    lab.stack.operator().kill().await?;
    let answered = read(&lab.member, &of).await;
    lab.stack.operator().start().await?;
    assert_eq!(answered?, "still here\n");

    // Without a certificate, and with one of a user of the cluster, whatever they say of themselves.
    let kubeconfig = Kubeconfig::read_from(lab.stack.kubeconfig_for(&lab.tenant.member, &[]).await?)?;
    let as_member = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    for identity in [as_member.auth_info.clone(), Default::default()] {
        let mut config = as_member.clone();
        config.auth_info = identity;
        config.cluster_url = format!("https://127.0.0.1:{}", lab.stack.port("output")?).parse()?;
        config.accept_invalid_certs = true;
        let client = Client::try_from(config)?;
        let request = Request::get(&of)
            .header("X-Remote-User", &lab.tenant.member)
            .header("X-Remote-Group", "system:masters")
            .body(Vec::new())?;
        match client.request_text(request).await {
            Err(error) if !matches!(error, kube::Error::Api(_)) => {}
            other => panic!("it answered somebody who is not the API server: {other:?}"),
        }
    }
    Ok(())
}

/// The home of a posix account.
fn home(lab: &Lab, account: &str) -> PathBuf {
    lab.stack.home_of(account)
}
