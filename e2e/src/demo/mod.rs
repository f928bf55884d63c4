//! From nothing to a bill, on the terminal: `cargo dev demo`.
//!
//! ```text
//! 1 the datacentre opens    administrators apply examples/10, 20, 50, 70
//! 2 tenants move in         owners apply their part of examples/30 and 40
//! 3 members compute         examples/60 by kubectl, two sbatch scripts by meso; a stranger is refused
//! 4 use is metered          sacct beside the ledger, a row an account
//! 5 the month is closed     statements, recomputed here from sacct and the tariffs
//! 6 invoices are issued     numbers without a gap, as PDF with EN 16931 inside
//! ```
//! Whatever is not as it should be ends it with a sentence: exit code 0 means that all of it is true.

mod bill;
mod jobs;
mod people;
mod tell;
mod usage;

use crate::tasks;
use anyhow::{Result, ensure};
use people::Person;
use std::collections::BTreeMap;
use tell::{chapter, say, show};

/// A kind and how its objects of the examples are asked for.
const KINDS: [&str; 9] = [
    "trustperimeters",
    "tenants",
    "workspaces",
    "peeringagreements",
    "schedulers",
    "allocations",
    "tariffs",
    "costpools",
    "billingperiods",
];

/// Plays the main job and tells of it.
///
/// # Errors
/// The first thing that is not true.
pub async fn demo() -> Result<()> {
    tasks::up(tasks::Options {
        fresh: true,
        ..tasks::Options::default()
    })
    .await?;
    let administrator = Person::administrator()?;
    let [alice, bob, carol, dave] = people::owners_and_members().await?;

    chapter(
        1,
        "The datacentre opens",
        "administrators write perimeters, tenants, schedulers, hours and prices",
    );
    for file in ["10-perimeters", "20-tenants"] {
        say(&administrator.apply_example(file, |_| true).await?);
    }
    administrator.until_ready(&KINDS[..2]).await?;

    chapter(
        2,
        "Tenants move in",
        "each Owner makes workspaces and signs agreements, as themselves",
    );
    for (owner, tenant) in [
        (&alice, "univ-caen"),
        (&carol, "chu-rouen"),
        (&dave, "nova-motors"),
    ] {
        for file in ["30-workspaces", "40-peering"] {
            let of_the_tenant = |object: &serde_yaml::Value| object["metadata"]["namespace"] == tenant;
            let told = owner.apply_example(file, of_the_tenant).await?;
            if !told.is_empty() {
                say(&format!("{} writes\n{told}", owner.name));
            }
        }
    }
    for file in ["50-compute", "70-billing"] {
        say(&administrator.apply_example(file, |_| true).await?);
    }
    let month = bill::open_this_month(&administrator).await?;
    administrator.until_ready(&KINDS).await?;
    show(
        &administrator
            .kubectl(&["get", "trustperimeters,tenants,schedulers"])
            .await?,
    );
    show(
        &administrator
            .kubectl(&[
                "get",
                "workspaces,peeringagreements,allocations",
                "--all-namespaces",
            ])
            .await?,
    );

    chapter(
        3,
        "Members compute",
        "batch jobs as Kubernetes objects and as sbatch scripts, each run as its author",
    );
    let jobs = jobs::submit_all(&alice, &bob, &carol, &dave).await?;
    jobs::until_over(&administrator, &jobs).await?;
    show(
        &administrator
            .kubectl(&["get", "batchjobs", "--all-namespaces", "-o", "wide"])
            .await?,
    );
    say(&format!(
        "alice reads what pi wrote:\n{}",
        alice.meso(&["logs", "pi", "-n", "univ-caen--climate"]).await?
    ));

    chapter(
        4,
        "Use is metered",
        "core-seconds of Slurm's own accounting beside those of our ledger",
    );
    let by_slurm = usage::of_slurm(&administrator).await?;
    let by_ledger = usage::of_jobs(&administrator, &jobs).await?;
    show(&usage::side_by_side(&by_slurm, &by_ledger)?);
    show(&alice.meso(&["allocations", "-n", "univ-caen"]).await?);

    chapter(
        5,
        "The month is closed",
        "statements become final, and are recomputed here from sacct and the tariffs",
    );
    bill::close(&administrator, &month).await?;
    let mut nets = BTreeMap::new();
    for (reader, tenant) in [
        (&alice, "univ-caen"),
        (&carol, "chu-rouen"),
        (&dave, "nova-motors"),
    ] {
        show(&reader.meso(&["statement", &month, "--tenant", tenant]).await?);
        let checked = bill::recompute(&administrator, tenant, &month, &by_slurm).await?;
        say(&checked.told);
        nets.insert(tenant, checked.share);
    }
    say(&bill::shares_sum(&nets)?);

    chapter(
        6,
        "Invoices are issued",
        "numbers without a gap, PDF with EN 16931 inside (Factur-X), for the eyes of those who pay",
    );
    let tenants = ["univ-caen", "chu-rouen", "nova-motors"];
    let (invoiced, net) = (
        bill::invoice(&administrator, &tenants, &month).await?,
        bill::net_of(&administrator, &month).await?,
    );
    ensure!(
        invoiced == net,
        "the invoices come to {invoiced} €, and the month to {net} €"
    );
    show(&administrator.meso(&["invoice", "list", "--all-tenants"]).await?);
    say(&format!(
        "the three come to the {net} € of the month; each tenant's Owners and Billing keep theirs by `meso invoice pdf`, and all are in {}",
        crate::paths::state().join("invoices").display()
    ));
    let verified = administrator.meso(&["ledger", "verify"]).await?;
    show(&verified);
    ensure!(
        verified.contains("OK: every record"),
        "the ledger does not verify"
    );

    println!(
        "\nAll of it is true. The stack stays up; look around in it:\n\n  \
         eval \"$(cargo dev env)\"\n  \
         kubectl get meso --all-namespaces\n  \
         kubectl explain batchjob.spec\n  \
         cargo dev kubeconfig bob --namespace univ-caen--climate > bob.kubeconfig\n  \
         KUBECONFIG=bob.kubeconfig meso submit --wait examples/scripts/pi.sh\n\n\
         and take it down with `cargo dev down`."
    );
    Ok(())
}
