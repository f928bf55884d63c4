//! Promise: economic allocations together are never granted more than the ceiling's share of the year's capacity, what was
//! granted stays granted, and what economic use there was stands in the report.

use anyhow::{Context, Result};
use futures::FutureExt;
use jiff::Zoned;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use mesocentre_api::{
    Allocation, Condition, ConditionStatus, EconomicCeiling, EconomicCeilingStatus, Phase, find_condition,
};
use mesocentre_e2e::lab::{Lab, hours};
use mesocentre_e2e::wait_for;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);
/// A fifth of it are two million hours, beside which what other tests leave is little.
const CAPACITY: &str = "10000000";

/// Allocations and ceilings, as their administrator.
struct Ground {
    lab: Lab,
    allocations: Api<Allocation>,
    ceilings: Api<EconomicCeiling>,
    year: i16,
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn economic_allocations_never_pass_the_ceiling_together_and_what_was_granted_stays() -> Result<()> {
    // A ceiling is everybody's: this test has the stack for itself, and takes it away again.
    let lab = Lab::alone("ceil").await?;
    let ground = Ground {
        allocations: Api::namespaced(lab.stack.admin(), &lab.tenant.name),
        ceilings: Api::all(lab.stack.admin()),
        year: Zoned::now().year(),
        lab,
    };
    let outcome = AssertUnwindSafe(ground.is_held()).catch_unwind().await;
    for name in ["ceiling-of-tests", "ceiling-of-tests-again"] {
        let _ = ground.ceilings.delete(name, &DeleteParams::default()).await;
    }
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

impl Ground {
    async fn is_held(&self) -> Result<()> {
        self.ceiling("ceiling-of-tests", json!({})).await?;
        self.says(|status| within(status).is_some_and(|c| c.reason == "Within"))
            .await;

        // The first has its hours, and the condition warns.
        self.allocation("first", "1500000").await?;
        self.is_ready("first").await;
        let status = self
            .says(|status| within(status).is_some_and(|c| c.reason == "Above15"))
            .await;
        assert_eq!(self.granted(&status, "first"), Some("1500000"));
        assert_eq!(self.lab.limit_on_slurm("first").await?, "90000000");

        // What would pass the ceiling is refused with that reason, and so is a job that wants its hours.
        self.allocation("second", "600000").await?;
        let refused = self.until("second", "CeilingReached").await;
        for part in ["past the ceiling of 20 % of all core-hours", "ask for less"] {
            assert!(refused.message.contains(part), "{}", refused.message);
        }
        self.lab
            .submit(
                "refused",
                json!({"script": "#!/bin/bash\ntrue\n", "allocation": "second"}),
            )
            .await?;
        let job = self
            .lab
            .until("refused", "says why not", |status| {
                status
                    .message
                    .as_deref()
                    .is_some_and(|m| m.contains("past the ceiling"))
            })
            .await;
        assert_eq!(job.phase, Phase::Pending, "{job:?}");

        // Of two that ask in the same moment for hours that are there for one, one has them.
        let (one, other) = tokio::join!(
            self.allocation("one", "300000"),
            self.allocation("other", "300000")
        );
        one?;
        other?;
        let status = self
            .says(|status| {
                ["one", "other"]
                    .iter()
                    .all(|name| self.granted(status, name).is_some())
            })
            .await;
        let mut both = [self.granted(&status, "one"), self.granted(&status, "other")];
        both.sort();
        assert_eq!(both, [Some("0"), Some("300000")]);

        // A raise that does not fit leaves what there was, in Slurm too, and work goes on.
        self.asks("first", "1900000").await?;
        let curtailed = self
            .condition_of("first", "is told that the raise is refused", |ready| {
                ready
                    .message
                    .contains("less than its budget is granted by the ceiling")
            })
            .await;
        assert_eq!(curtailed.status, ConditionStatus::True, "{curtailed:?}");
        assert_eq!(self.lab.limit_on_slurm("first").await?, "90000000");
        self.lab
            .submit(
                "used",
                json!({"script": "#!/bin/bash\nsleep 2\n", "allocation": "first", "resources": {"memory": "10Mi", "timeLimit": "5m"}}),
            )
            .await?;
        let job = self.lab.until_metered("used").await;
        assert_eq!(job.phase, Phase::Succeeded, "{job:?}");
        // Counted anew once a minute.
        let used = job.usage.context("no usage")?.core_seconds.parse::<u64>()?;
        let of_first = hours(used);
        let status = self
            .says(|status| {
                status
                    .grants
                    .iter()
                    .any(|grant| grant.allocation == self.named("first") && grant.used_core_hours == of_first)
            })
            .await;
        let grant = status
            .grants
            .iter()
            .find(|grant| grant.allocation == self.named("first"));
        assert_eq!(
            grant.context("no grant")?.because,
            "decision: a test, judged by nobody"
        );
        // What the lab's other allocation is for is not economic, and stands beside it.
        let report = self
            .lab
            .stack
            .run(&["meso", "ceiling", &self.year.to_string()])
            .await?;
        for part in [
            "Plafond d'usage économique",
            "a capacity of tests",
            &self.named("second"),
        ] {
            assert!(report.stdout.contains(part), "{report:?}");
        }

        // What is given back can be granted: enough for all who wait, whichever of them is the oldest by the second.
        self.asks("first", "700000").await?;
        for name in ["second", "one", "other"] {
            self.is_ready(name).await;
        }
        assert_eq!(self.lab.limit_on_slurm("first").await?, "42000000");

        // One ceiling a year; what is judged stays judged; hours without an end cannot be held.
        self.ceiling("ceiling-of-tests-again", json!({})).await?;
        let taken = wait_for("the second ceiling is told", PATIENCE, async || {
            let second = self
                .ceilings
                .get("ceiling-of-tests-again")
                .await
                .map_err(|error| error.to_string())?;
            ready(&second.status.unwrap_or_default().conditions)
                .filter(|ready| ready.reason == "YearTaken")
                .ok_or_else(|| "not told".to_owned())
        })
        .await;
        assert!(
            taken.message.contains("ceiling-of-tests is the ceiling of"),
            "{taken:?}"
        );
        for (patch, part) in [
            (json!({"spec": {"activity": null}}), "activity does not change"),
            (
                json!({"spec": {"activity": {"class": "NonEconomic", "reason": "on second thoughts"}}}),
                "activity does not change",
            ),
        ] {
            let refused = self
                .allocations
                .patch("first", &PatchParams::default(), &Patch::Merge(patch))
                .await;
            assert!(
                refused.is_err_and(|error| error.to_string().contains(part)),
                "{part}"
            );
        }
        let patch = json!({"spec": {"alertAt": [25]}});
        let refused = self
            .ceilings
            .patch("ceiling-of-tests", &PatchParams::default(), &Patch::Merge(patch))
            .await;
        assert!(refused.is_err_and(|error| error.to_string().contains("below percent")));
        self.allocation("boundless", "").await?;
        let refused = self.until("boundless", "CeilingReached").await;
        assert!(
            refused.message.contains("write budget.coreHours"),
            "{}",
            refused.message
        );
        Ok(())
    }

    fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.lab.tenant.name)
    }

    async fn ceiling(&self, name: &str, more: Value) -> Result<()> {
        let mut spec = json!({
            "year": self.year, "capacity": {"coreHours": CAPACITY}, "basis": "a capacity of tests, by nobody's decision",
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field.as_str()] = value.clone();
        }
        let ceiling = serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "EconomicCeiling", "metadata": {"name": name}, "spec": spec,
        }))?;
        self.ceilings.create(&PostParams::default(), &ceiling).await?;
        Ok(())
    }

    /// An economic allocation of this year; no core-hours are hours without an end.
    async fn allocation(&self, name: &str, core_hours: &str) -> Result<()> {
        let budget = match core_hours {
            "" => json!({"gpuHours": "0"}),
            hours => json!({"coreHours": hours}),
        };
        let allocation = serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "Allocation",
            "metadata": {"name": name},
            "spec": {
                "scheduler": self.lab.tenant.scheduler, "title": "A test", "budget": budget,
                "validFrom": format!("{}-01-01", self.year), "validUntil": format!("{}-12-31", self.year),
                "activity": {"class": "Economic", "reason": "a test, judged by nobody"},
            },
        }))?;
        self.allocations
            .create(&PostParams::default(), &allocation)
            .await?;
        Ok(())
    }

    async fn asks(&self, name: &str, core_hours: &str) -> Result<()> {
        let patch = json!({"spec": {"budget": {"coreHours": core_hours}}});
        self.allocations
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Waits until the ceiling's status, for its present generation, is as it should be.
    async fn says(&self, holds: impl Fn(&EconomicCeilingStatus) -> bool) -> EconomicCeilingStatus {
        wait_for("the ceiling says what it should", PATIENCE, async || {
            let ceiling = self
                .ceilings
                .get("ceiling-of-tests")
                .await
                .map_err(|error| error.to_string())?;
            let generation = ceiling.metadata.generation;
            match ceiling.status {
                Some(status) if status.observed_generation == generation && holds(&status) => Ok(status),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    fn granted<'a>(&self, status: &'a EconomicCeilingStatus, name: &str) -> Option<&'a str> {
        let name = self.named(name);
        let grant = status.grants.iter().find(|grant| grant.allocation == name)?;
        Some(&grant.core_hours)
    }

    async fn is_ready(&self, name: &str) {
        self.condition_of(name, "is Ready", |ready| ready.status == ConditionStatus::True)
            .await;
    }

    async fn until(&self, name: &str, reason: &str) -> Condition {
        self.condition_of(name, reason, |ready| ready.reason == reason)
            .await
    }

    async fn condition_of(&self, name: &str, what: &str, holds: impl Fn(&Condition) -> bool) -> Condition {
        wait_for(&format!("{name} {what}"), PATIENCE, async || {
            let allocation = self
                .allocations
                .get(name)
                .await
                .map_err(|error| error.to_string())?;
            let generation = allocation.metadata.generation;
            let status = allocation.status.unwrap_or_default();
            match ready(&status.conditions) {
                Some(condition) if status.observed_generation == generation && holds(&condition) => {
                    Ok(condition)
                }
                _ => Err(format!("{status:?}")),
            }
        })
        .await
    }
}

fn within(status: &EconomicCeilingStatus) -> Option<Condition> {
    find_condition(&status.conditions, "WithinCeiling").cloned()
}

fn ready(conditions: &[Condition]) -> Option<Condition> {
    find_condition(conditions, "Ready").cloned()
}
