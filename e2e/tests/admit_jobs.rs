//! Promise: a batch job is its author's, in a workspace, and what it was when it was written.

mod support;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use support::{Attempt, Ground, Who, merged};

const JOBS: &str = "/apis/mesocentre.io/v1alpha1/namespaces/{ns}/batchjobs";
const HOME: &str = "/apis/mesocentre.io/v1alpha1/namespaces/{home}/batchjobs";
const FREE: &str = "/apis/mesocentre.io/v1alpha1/namespaces/{free}/batchjobs";
const MAKE_ANOTHER: &str = "delete it and make another";

/// A job that waits: there are no hours.
fn job(changes: Value) -> Value {
    merged(
        json!({
            "apiVersion": "mesocentre.io/v1alpha1",
            "kind": "BatchJob",
            "metadata": {"generateName": "tried-"},
            "spec": {"allocation": "none", "script": "#!/bin/bash\ntrue\n"},
        }),
        changes,
    )
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn nobody_submits_as_another_or_where_no_jobs_are() -> Result<()> {
    let ground = Ground::new("jobauthor", json!({})).await?;
    let (owner, member) = (&ground.tenant.owner, &ground.tenant.member);
    // Whoever is named, the author is who wrote it, and the operator's finalizer is there from the first moment.
    for named in ["root", owner.as_str(), ""] {
        let forged = job(json!({"spec": {"submittedBy": named}}));
        let made = ground
            .ask(
                &ground.member,
                Method::POST,
                &format!("{JOBS}?dryRun=All"),
                forged,
            )
            .await
            .unwrap();
        assert_eq!(made["spec"]["submittedBy"], member.as_str(), "{made}");
        assert_eq!(
            made["metadata"]["finalizers"],
            json!(["mesocentre.io/finalizer"]),
            "{made}"
        );
    }
    let standing = job(json!({"metadata": {"generateName": null, "name": "standing"}}));
    ground
        .ask(&ground.owner, Method::POST, JOBS, standing)
        .await
        .unwrap();
    let at = format!("{JOBS}/standing");
    let harmless = json!({"metadata": {"annotations": {"example.org/tried": "yes"}}});
    let forged = |author: Value| json!({"spec": {"submittedBy": author}});
    let unforgeable = |attempt: Attempt| {
        attempt
            .unlike_here(harmless.clone())
            .told_of_no_perimeter("spec.submittedBy says who wrote the job", "make another job")
    };
    let finalized = |attempt: Attempt| {
        attempt.told_of_no_perimeter("is taken off by the operator", "leave it in metadata.finalizers")
    };
    let no_member = "is not a member of";
    let limit = |text: &str| json!({"spec": {"timeLimit": text}});
    let limited = job(
        json!({"metadata": {"generateName": null, "name": "limited"}, "spec": {"resources": {"timeLimit": "1h"}}}),
    );
    ground
        .ask(&ground.member, Method::POST, JOBS, limited)
        .await
        .unwrap();
    // Less its author writes, and an Owner what is wanted.
    for (client, text) in [(&ground.member, "30m"), (&ground.owner, "2h")] {
        let at = format!("{JOBS}/limited?dryRun=All");
        let changed = ground.ask(client, Method::PATCH, &at, limit(text)).await;
        assert!(changed.is_ok(), "{text}: {changed:?}");
    }
    for (name, text, way_out) in [
        ("limited", "61m", "or write at most 1h into spec.timeLimit"),
        (
            "standing",
            "1m",
            "or cancel the job and submit it with a time limit",
        ),
    ] {
        let at = format!("{JOBS}/{name}");
        let told = ground
            .ask(&ground.member, Method::PATCH, &at, limit(text))
            .await
            .unwrap_err();
        assert!(
            told.contains("an Owner of the tenant writes it") && told.contains(way_out),
            "{told}"
        );
    }
    let new = job(json!({"spec": {"timeLimit": "1h"}}));
    let told = ground
        .ask(&ground.owner, Method::POST, JOBS, new)
        .await
        .unwrap_err();
    assert!(told.contains("into spec.resources.timeLimit"), "{told}");
    ground
        .refuses(vec![
            unforgeable(Attempt::patch("an author afterwards", &at, forged(json!(member)))),
            unforgeable(Attempt::patch(
                "root as the author afterwards",
                &at,
                forged(json!("root")),
            )),
            unforgeable(Attempt::patch("no author afterwards", &at, forged(Value::Null))),
            unforgeable(
                Attempt::patch("an author afterwards by an Owner", &at, forged(json!(member))).by(Who::Owner),
            ),
            finalized(
                Attempt::patch("no finalizer", &at, json!({"metadata": {"finalizers": []}}))
                    .unlike_here(harmless.clone()),
            ),
            finalized(
                Attempt::patch_of(
                    "application/json-patch+json",
                    "no finalizer by JSON patch",
                    &at,
                    json!([{"op": "remove", "path": "/metadata/finalizers"}]),
                )
                .unlike_here(json!([{"op": "test", "path": "/metadata/name", "value": "standing"}])),
            ),
            finalized(
                Attempt::patch(
                    "another finalizer in its place",
                    &at,
                    json!({"metadata": {"finalizers": ["example.org/tried"]}}),
                )
                .unlike_here(harmless.clone()),
            ),
            Attempt::patch(
                "a status",
                format!("{at}/status"),
                json!({"status": {"phase": "Succeeded"}}),
            )
            .no_right()
            .only_here()
            .told("hold the perimeter", "ask the administrators of the datacentre"),
            Attempt::patch(
                "a status by an Owner",
                format!("{at}/status"),
                json!({"status": {"phase": "Succeeded"}}),
            )
            .by(Who::Owner)
            .no_right()
            .only_here()
            .told("hold the perimeter", "ask the administrators of the datacentre"),
            Attempt::create("a job in the home namespace", HOME, job(json!({})))
                .by(Who::Owner)
                .no_right()
                .only_here()
                .told_of_no_perimeter(
                    "batch jobs are made in a workspace",
                    "write its namespace, <tenant>--<workspace>",
                ),
            Attempt::create("a job in a namespace of nobody's", FREE, job(json!({})))
                .no_right()
                .only_here()
                .even_to_an_outsider()
                .told_of_no_perimeter(
                    "batch jobs are made in a workspace",
                    "write its namespace, <tenant>--<workspace>",
                ),
            Attempt::create("a job by a Viewer", JOBS, job(json!({})))
                .by(Who::Viewer)
                .no_right()
                .only_here()
                .told_of_no_perimeter(no_member, "role: Member, posixAccount: ...}"),
            Attempt::create("a job by Billing", JOBS, job(json!({})))
                .by(Who::Billing)
                .no_right()
                .only_here(),
            Attempt::delete("a job deleted by a Viewer", &at)
                .by(Who::Viewer)
                .no_right()
                .only_here(),
            Attempt::patch(
                "a job cancelled by a Viewer",
                &at,
                json!({"spec": {"cancel": true}}),
            )
            .by(Who::Viewer)
            .no_right()
            .only_here(),
            Attempt::get("another tenant's jobs", FREE).no_right(),
            Attempt::get("everybody's jobs", "/apis/mesocentre.io/v1alpha1/batchjobs").no_right(),
        ])
        .await;
    // A Member without a posix account has every right and nobody to run as.
    let unposix = ground
        .stack
        .user(&format!("{}-unposix", ground.tenant.name), &[])
        .await?;
    let told = ground
        .ask(
            &unposix,
            Method::POST,
            &format!("{JOBS}?dryRun=All"),
            job(json!({})),
        )
        .await
        .unwrap_err();
    assert!(
        told.contains("with a posix account, and batch jobs run as one"),
        "{told}"
    );
    assert!(told.contains("ask an Owner of"), "{told}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_job_stays_what_it_was_and_smuggles_no_option_to_the_scheduler() -> Result<()> {
    let ground = Ground::new("jobstays", json!({})).await?;
    let standing = job(json!({
        "metadata": {"generateName": null, "name": "standing"},
        "spec": {"resources": {"tasks": 1}, "environment": [{"name": "A", "value": "1"}], "arguments": ["1"]},
    }));
    ground
        .ask(&ground.member, Method::POST, JOBS, standing)
        .await
        .unwrap();
    let at = format!("{JOBS}/standing");
    let harmless = json!({"metadata": {"annotations": {"example.org/tried": "yes"}}});
    let stays = [
        ("another script", json!({"script": "#!/bin/bash\nevil\n"})),
        ("another allocation", json!({"allocation": "others"})),
        ("more resources", json!({"resources": {"tasks": 64}})),
        ("no resources", json!({"resources": null})),
        (
            "another environment",
            json!({"environment": [{"name": "A", "value": "2"}]}),
        ),
        ("other arguments", json!({"arguments": ["2"]})),
        ("an array", json!({"array": {"indices": "1-1000"}})),
        ("a dependency", json!({"dependsOn": [{"job": "other"}]})),
    ];
    let mut attempts: Vec<Attempt> = stays
        .into_iter()
        .map(|(what, spec)| {
            Attempt::patch(format!("{what} afterwards"), &at, json!({"spec": spec}))
                .unlike_here(harmless.clone())
                .told_of_no_perimeter("a batch job that exists does not change", MAKE_ANOTHER)
        })
        .collect();
    let smuggled = [
        (
            "an option in the partition",
            json!({"resources": {"partition": "standard --uid=0"}}),
            "write one partition's name",
        ),
        (
            "an option as the partition",
            json!({"resources": {"partition": "--uid=0"}}),
            "write one partition's name",
        ),
        (
            "an option in the indices",
            json!({"array": {"indices": "1 --uid=0"}}),
            "write the indices as sbatch --array takes them",
        ),
        (
            "a variable of Slurm's",
            json!({"environment": [{"name": "SLURM_JOB_UID", "value": "0"}]}),
            "use a field of resources, or another name",
        ),
        (
            "a variable of sbatch's",
            json!({"environment": [{"name": "SBATCH_ACCOUNT", "value": "x"}]}),
            "use a field of resources, or another name",
        ),
        (
            "a variable that is two",
            json!({"environment": [{"name": "A=1,LD_PRELOAD", "value": "x"}]}),
            "write a variable's name with letters",
        ),
        (
            "a script without an interpreter",
            json!({"script": "evil\n"}),
            "write #!/bin/bash",
        ),
    ];
    attempts.extend(smuggled.into_iter().map(|(what, spec, told)| {
        Attempt::create(what, JOBS, job(json!({"spec": spec})))
            .unlike_here(job(json!({})))
            .alone()
            .told_by_kubernetes(told)
    }));
    ground.refuses(attempts).await;
    Ok(())
}
