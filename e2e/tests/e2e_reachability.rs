//! Promise: who reaches whom on the network is what the perimeters say, connection by connection.
//!
//! Real pods in the examples' workspaces, on a node whose network enforces NetworkPolicy, connect to each other and to the
//! world outside, by TCP and by UDP. What came of it is held against a table that is computed here, from the promise and from none of our
//! code, and against what cyclonus (an evaluator of others' making) computes from the policies that stand in the API
//! server.
//!
//! One node serves every perimeter here: it carries the label that health-hds asks for and not its taint, since who may
//! run where is not what is measured (`admit_nodes.rs` does that). Its own taint keeps other tests' pods off.

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mesocentre_e2e::pods::{self, NODE_ADDRESS, Outcome, Place, Pods};
use mesocentre_e2e::{Stack, apply_yaml, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
/// What chu-rouen's agreement exposes, and a port beside it.
const EXPOSED: u16 = 8443;
const OTHER: u16 = 8080;
/// The institutional mirror of the example, in what open-research lets out; and one that nobody lists.
const MIRROR: &str = pods::OUTSIDE[0];
const ELSEWHERE: &str = pods::OUTSIDE[1];
/// Whose network is the kubelet's and of pods with hostNetwork.
const NODE: &str = "node";
/// No day ends within a minute of a test. Between these two zones lie 25 hours: what is a day's evening in the one is past
/// it in the other, by the same clock.
const EVENING: &str = "Pacific/Pago_Pago";
const DAY_AFTER: &str = "Pacific/Kiritimati";
const PLATFORM: &str = "reach-monitoring";
const STRANGERS: &str = "reach-strangers";

/// A port, as policies name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Port {
    Tcp(u16),
    Udp(u16),
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(number) => write!(f, "{number}/TCP"),
            Self::Udp(number) => write!(f, "{number}/UDP"),
        }
    }
}

impl Port {
    fn number(self) -> u16 {
        match self {
            Self::Tcp(number) | Self::Udp(number) => number,
        }
    }
}

/// Pods: name, namespace, label `app`, who makes it (nobody: the administrator).
const PODS: [(&str, &str, &str, &str); 8] = [
    ("climate", "univ-caen--climate", "cohort-api", "alice"),
    ("genomics", "univ-caen--genomics", "notebook", "alice"),
    ("cohort-api", "chu-rouen--cohort", "cohort-api", "carol"),
    ("cohort-db", "chu-rouen--cohort", "cohort-db", "carol"),
    ("cfd", "nova-motors--cfd", "cohort-api", "dave"),
    ("stranger", STRANGERS, "cohort-api", ""),
    ("monitoring", PLATFORM, "monitoring", ""),
    ("dns", "kube-system", "dns", ""),
];

/// What is in force, as people know it.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    /// Both Owners have signed, and it is in date.
    peering: bool,
    /// open-research lets the monitoring in, on one port.
    monitoring: bool,
}

/// The promise, by hand.
fn promised(now: Now, from: &str, to: &str, port: Port) -> bool {
    let tenant = |name: &str| match name {
        "climate" | "genomics" => Some("univ-caen"),
        "cohort-api" | "cohort-db" => Some("chu-rouen"),
        "cfd" => Some("nova-motors"),
        _ => None,
    };
    let is_pod = PODS.iter().any(|(name, ..)| *name == to);
    match (tenant(from), tenant(to)) {
        // Out of a tenant: its own pods, its signed peers, what the perimeter lists, names.
        (Some(one), Some(other)) if one == other => true,
        (Some(_), _) if from == "genomics" && to == "cohort-api" => now.peering && port == Port::Tcp(EXPOSED),
        (Some("univ-caen"), None) if to == "mirror" => port == Port::Tcp(443),
        (Some(_), None) if to == "dns" => port.number() == 53,
        (Some(_), _) => false,
        // Into a tenant: the node that its pods are on, whatever the policies say (the kubelet's probes come that way).
        (None, Some(_)) if from == NODE => true,
        // The platform's namespaces that the perimeter lists.
        (None, Some("univ-caen")) if from == "monitoring" => now.monitoring && port == Port::Tcp(OTHER),
        (None, Some(_)) => false,
        // No perimeter holds there.
        (None, None) => is_pod || from != "outside",
    }
}

type Pair = (String, String, Port);
type Table = BTreeMap<Pair, bool>;

/// One end of a connection.
struct End {
    name: &'static str,
    namespace: &'static str,
    address: IpAddr,
    ports: Vec<Port>,
    place: Option<Place>,
}

struct Ground {
    stack: Stack,
    pods: Pods,
    ends: Vec<End>,
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn who_reaches_whom_is_what_the_perimeters_promise_at_each_step_of_a_peering() -> Result<()> {
    let ground = Ground::new().await?;
    let now = Now::default();
    ground.holds("nothing is signed", now).await?;

    // One consent opens nothing, and both sides are told.
    ground.signs("carol", "chu-rouen", "2027-02-28").await?;
    ground.says("chu-rouen", "NoConsent").await?;
    ground.holds("one side has signed", now).await?;

    let began = Instant::now();
    ground.signs("alice", "univ-caen", "2027-02-28").await?;
    ground
        .becomes("genomics", "cohort-api", EXPOSED, Outcome::Open)
        .await?;
    println!("open {:.1?} after the second signature", began.elapsed());
    let now = Now { peering: true, ..now };
    ground.holds("both sides have signed", now).await?;

    ground.forges_labels().await?;
    ground.holds("labels are forged", now).await?;

    ground.lets_monitoring_in(true).await?;
    let now = Now {
        monitoring: true,
        ..now
    };
    ground.holds("the perimeter lets the monitoring in", now).await?;
    ground.lets_monitoring_in(false).await?;
    let now = Now {
        monitoring: false,
        ..now
    };
    ground.holds("and no more", now).await?;

    let mut held = ground
        .end("genomics")
        .place()?
        .holds(ground.at("cohort-api", EXPOSED))
        .await?;
    assert!(held.echoes()?, "a connection that was made does not work");
    let began = Instant::now();
    ground.delete_agreement("alice", "univ-caen").await?;
    ground
        .becomes("genomics", "cohort-api", EXPOSED, Outcome::Closed)
        .await?;
    println!(
        "closed within {:.1?} of the withdrawal, patience included",
        began.elapsed()
    );
    let cut = !held.echoes()?;
    println!(
        "a connection that was open is {}",
        if cut { "cut" } else { "kept" }
    );
    let now = Now {
        peering: false,
        ..now
    };
    ground.holds("one side has withdrawn", now).await?;
    assert!(cut, "a connection outlives the agreement that opened it");

    ground.signs("alice", "univ-caen", "2027-02-28").await?;
    ground
        .becomes("genomics", "cohort-api", EXPOSED, Outcome::Open)
        .await?;
    let began = Instant::now();
    ground.signs("carol", "chu-rouen", "2026-01-31").await?;
    ground
        .becomes("genomics", "cohort-api", EXPOSED, Outcome::Closed)
        .await?;
    println!(
        "closed within {:.1?} of the end date, patience included",
        began.elapsed()
    );
    ground.says("chu-rouen", "Expired").await?;

    // The same by the clock: nobody writes, and the last day is over.
    ground.operator_in(EVENING).await?;
    let last_day = Timestamp::now()
        .to_zoned(TimeZone::get(EVENING)?)
        .date()
        .to_string();
    ground.signs("carol", "chu-rouen", &last_day).await?;
    ground.signs("alice", "univ-caen", &last_day).await?;
    ground
        .becomes("genomics", "cohort-api", EXPOSED, Outcome::Open)
        .await?;
    ground.operator_in(DAY_AFTER).await?;
    let began = Instant::now();
    ground
        .becomes("genomics", "cohort-api", EXPOSED, Outcome::Closed)
        .await?;
    println!(
        "closed within {:.1?} of the operator's start after the last day, patience included",
        began.elapsed()
    );
    for tenant in ["chu-rouen", "univ-caen"] {
        ground.says(tenant, "Expired").await?;
    }
    ground.holds("an agreement has ended", now).await?;
    ground.tidies_up().await
}

impl Ground {
    async fn new() -> Result<Self> {
        let stack = Stack::alone().await?;
        let pods = pods::up().await?;
        for file in ["10-perimeters.yaml", "20-tenants.yaml"] {
            apply_yaml(&stack.admin(), &example(file)?).await?;
        }
        tolerates_the_real_node(&stack, &json!([pods::TAINT])).await?;
        // Of an earlier test, when there was one.
        for tenant in ["univ-caen", "chu-rouen"] {
            let command = [
                "delete",
                "peeringagreement",
                "genomics",
                "-n",
                tenant,
                "--ignore-not-found",
            ];
            kubectl(&stack, &command).await?;
        }
        wait_for("the workspaces apply", PATIENCE, async || {
            let text = example("30-workspaces.yaml").map_err(|error| error.to_string())?;
            apply_yaml(&stack.admin(), &text)
                .await
                .map_err(|error| format!("{error:#}"))
        })
        .await;
        for namespace in [PLATFORM, STRANGERS] {
            let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
            apply_yaml(&stack.admin(), &text).await?;
        }
        // Of an earlier run that was cut.
        for (name, namespace, ..) in PODS {
            let command = [
                "delete",
                "pod",
                name,
                "-n",
                namespace,
                "--ignore-not-found",
                "--grace-period=0",
                "--force",
            ];
            kubectl(&stack, &command).await?;
        }
        for (name, namespace, app, owner) in PODS {
            let image = if namespace.starts_with("chu-rouen") {
                &pods.image_by_digest
            } else {
                pods::IMAGE
            };
            let pod = pod(name, namespace, app, image).to_string();
            let client = if owner.is_empty() {
                stack.admin()
            } else {
                stack.user(owner, &[]).await?
            };
            wait_for(&format!("{name} is admitted"), PATIENCE, async || {
                apply_yaml(&client, &pod)
                    .await
                    .map_err(|error| format!("{error:#}"))
            })
            .await;
        }
        let mut ends = Vec::new();
        for (name, namespace, ..) in PODS {
            let address = wait_for(&format!("{name} runs"), PATIENCE, async || {
                let pod = get(&stack, &["pod", name, "-n", namespace])
                    .await
                    .map_err(|error| error.to_string())?;
                let status = &pod["status"];
                let address = status["podIP"].as_str().and_then(|address| address.parse().ok());
                match address {
                    Some(address) if status["phase"] == "Running" => Ok(address),
                    _ => Err(status.to_string()),
                }
            })
            .await;
            let place = pods.place_of(namespace, name).await?;
            let ports = if name == "dns" {
                place.listens(SocketAddr::new(address, 53)).await?;
                vec![Port::Tcp(53), Port::Udp(53), Port::Tcp(OTHER)]
            } else {
                vec![Port::Tcp(EXPOSED), Port::Tcp(OTHER), Port::Udp(EXPOSED)]
            };
            for port in ports.iter().filter(|port| matches!(port, Port::Udp(_))) {
                place.sends_back(SocketAddr::new(address, port.number())).await?;
            }
            ends.push(End {
                name,
                namespace,
                address,
                ports,
                place: Some(place),
            });
        }
        let api: u16 = api_port(&stack)?;
        for (name, address, ports, place) in [
            (
                "mirror",
                MIRROR,
                vec![Port::Tcp(443), Port::Tcp(80), Port::Udp(443)],
                None,
            ),
            ("elsewhere", ELSEWHERE, vec![Port::Tcp(443), Port::Udp(53)], None),
            (
                NODE,
                NODE_ADDRESS,
                vec![Port::Tcp(pods::kubelet_port()?)],
                Some(pods.node()),
            ),
            ("API server", NODE_ADDRESS, vec![Port::Tcp(api)], None),
            ("outside", pods::GATEWAY_ADDRESS, vec![], Some(pods.outside())),
        ] {
            let address = address.parse()?;
            ends.push(End {
                name,
                namespace: "",
                address,
                ports,
                place,
            });
        }
        for end in ends
            .iter()
            .filter(|end| ["mirror", "elsewhere"].contains(&end.name))
        {
            for port in &end.ports {
                let at = SocketAddr::new(end.address, port.number());
                match port {
                    Port::Tcp(_) => pods.outside().listens(at).await?,
                    Port::Udp(_) => pods.outside().sends_back(at).await?,
                }
            }
        }
        Ok(Self { stack, pods, ends })
    }

    fn end(&self, name: &str) -> &End {
        let known = self.ends.iter().find(|end| end.name == name);
        known.unwrap_or_else(|| unreachable!("{name} is no end of this test"))
    }

    fn at(&self, name: &str, port: u16) -> SocketAddr {
        SocketAddr::new(self.end(name).address, port)
    }

    /// Every pair that is measured.
    fn pairs(&self) -> Vec<(&End, &End, Port)> {
        let mut pairs = Vec::new();
        for from in self.ends.iter().filter(|end| end.place.is_some()) {
            for to in self.ends.iter().filter(|to| to.name != from.name) {
                // Neither the world nor the node measures itself or the other.
                if from.namespace.is_empty() && to.namespace.is_empty() {
                    continue;
                }
                pairs.extend(to.ports.iter().map(|port| (from, to, *port)));
            }
        }
        pairs
    }

    fn promised(&self, now: Now) -> Table {
        self.pairs()
            .into_iter()
            .map(|(from, to, port)| (pair(from, to, port), promised(now, from.name, to.name, port)))
            .collect()
    }

    async fn measured(&self) -> Result<Table> {
        try_join_all(self.pairs().into_iter().map(|(from, to, port)| async move {
            let at = SocketAddr::new(to.address, port.number());
            let outcome = match port {
                Port::Tcp(_) => from.place()?.connects(at).await?,
                Port::Udp(_) => from.place()?.sends(at).await?,
            };
            // A refusal came from the other end: packets pass.
            anyhow::Ok((pair(from, to, port), outcome != Outcome::Closed))
        }))
        .await
        .map(|pairs| pairs.into_iter().collect())
    }

    /// The table is as promised: by connections, and by the policies that stand.
    async fn holds(&self, stage: &str, now: Now) -> Result<()> {
        let promised = self.promised(now);
        wait_for(
            &format!("{stage}: connections are as promised"),
            PATIENCE,
            async || {
                let measured = self.measured().await.map_err(|error| format!("{error:#}"))?;
                compare(&promised, &measured)
            },
        )
        .await;
        // Policies do not bind a pod's own node: <https://kubernetes.io/docs/concepts/services-networking/network-policies/>.
        let by_policies = promised
            .iter()
            .filter(|((from, ..), _)| from != NODE)
            .map(|(pair, open)| (pair.clone(), *open))
            .collect();
        if let Err(differences) = compare(&by_policies, &self.computed().await?) {
            bail!("{stage}: the policies are not what connections are: {differences}");
        }
        println!("{stage}: {} pairs as promised", promised.len());
        Ok(())
    }

    /// One pair, again and again until it is so.
    async fn becomes(&self, from: &str, to: &str, port: u16, wanted: Outcome) -> Result<()> {
        let (place, at) = (self.end(from).place()?, self.at(to, port));
        wait_for(
            &format!("{from} to {to}:{port} becomes {wanted:?}"),
            PATIENCE,
            async || match place.connects(at).await.map_err(|error| format!("{error:#}"))? {
                outcome if outcome == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await;
        Ok(())
    }

    /// What cyclonus makes of the policies, namespaces and pods as they stand.
    async fn computed(&self) -> Result<Table> {
        let namespaces = get(&self.stack, &["namespaces"]).await?;
        let pods = get(&self.stack, &["pods", "--all-namespaces"]).await?;
        let labels = |list: &Value, namespace: &str, name: &str| {
            let found = list["items"].as_array().into_iter().flatten().find(|object| {
                object["metadata"]["name"] == name
                    && object["metadata"]["namespace"].as_str().unwrap_or("") == namespace
            });
            found
                .map(|object| object["metadata"]["labels"].clone())
                .unwrap_or_default()
        };
        let peer = |end: &End| {
            let mut peer = json!({"IP": end.address});
            if !end.namespace.is_empty() {
                peer["Internal"] = json!({
                    "PodLabels": labels(&pods, end.namespace, end.name),
                    "NamespaceLabels": labels(&namespaces, "", end.namespace),
                    "Namespace": end.namespace,
                });
            }
            peer
        };
        let pairs = self.pairs();
        let traffic: Vec<Value> = pairs
            .iter()
            .map(|(from, to, port)| {
                let (number, protocol) = match port {
                    Port::Tcp(number) => (number, "TCP"),
                    Port::Udp(number) => (number, "UDP"),
                };
                json!({"Source": peer(from), "Destination": peer(to), "ResolvedPort": number, "Protocol": protocol})
            })
            .collect();
        let file = tempfile::NamedTempFile::new()?;
        serde_json::to_writer(&file, &traffic)?;
        let path = file.path().display().to_string();
        let answer = self
            .stack
            .run(&[
                "cyclonus",
                "analyze",
                "--all-namespaces",
                "--mode",
                "query-traffic",
                "--traffic-path",
                &path,
            ])
            .await?;
        let verdicts: Vec<bool> = answer
            .stdout
            .lines()
            .filter(|line| line.contains("IS ALLOWED?"))
            .map(|line| line.contains("TRUE"))
            .collect();
        anyhow::ensure!(
            verdicts.len() == pairs.len(),
            "cyclonus said {} of {} things: {answer:?}",
            verdicts.len(),
            pairs.len()
        );
        Ok(pairs
            .into_iter()
            .map(|(from, to, port)| pair(from, to, port))
            .zip(verdicts)
            .collect())
    }

    async fn signs(&self, owner: &str, tenant: &str, until: &str) -> Result<()> {
        let text = example("40-peering.yaml")?;
        let document = text
            .split("\n---\n")
            .find(|document| document.contains(&format!("namespace: {tenant}}}")))
            .context("the example has an agreement of each side")?;
        let document = document.replace("validUntil: 2027-02-28", &format!("validUntil: {until}"));
        apply_yaml(&self.stack.user(owner, &[]).await?, &document).await?;
        Ok(())
    }

    /// Starts the operator anew, as that of a datacentre in another zone.
    async fn operator_in(&self, zone: &str) -> Result<()> {
        let operator = self.stack.operator();
        operator.stop().await?;
        operator.start_with(&[("MESO_TIME_ZONE", zone)]).await
    }

    async fn delete_agreement(&self, owner: &str, tenant: &str) -> Result<()> {
        let kubeconfig = self.stack.kubeconfig_for(owner, &[]).await?;
        let command = [
            "kubectl",
            "delete",
            "peeringagreement",
            "genomics",
            "-n",
            tenant,
            "--wait=false",
        ];
        let answer = self.stack.run_as(&kubeconfig, &command).await?;
        anyhow::ensure!(answer.is_success(), "{answer:?}");
        Ok(())
    }

    /// The agreement of a tenant says why it is closed.
    async fn says(&self, tenant: &str, reason: &str) -> Result<()> {
        wait_for(
            &format!("the agreement of {tenant} says {reason}"),
            PATIENCE,
            async || {
                let agreement = get(&self.stack, &["peeringagreement", "genomics", "-n", tenant])
                    .await
                    .map_err(|error| error.to_string())?;
                let conditions = &agreement["status"]["conditions"];
                let said = conditions
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|condition| condition["reason"] == reason);
                if said { Ok(()) } else { Err(conditions.to_string()) }
            },
        )
        .await;
        Ok(())
    }

    /// Pods that are labelled as others' are; namespaces cannot be, by nobody but the operator.
    async fn forges_labels(&self) -> Result<()> {
        let alice = self.stack.kubeconfig_for("alice", &[]).await?;
        let dave = self.stack.kubeconfig_for("dave", &[]).await?;
        let admin = self.stack.admin_kubeconfig()?;
        let forged = "mesocentre.io/tenant=univ-caen mesocentre.io/workspace=genomics mesocentre.io/perimeter=open-research \
                      kubernetes.io/metadata.name=univ-caen--genomics";
        for (who, pod, namespace) in [
            (&alice, "climate", "univ-caen--climate"),
            (&dave, "cfd", "nova-motors--cfd"),
            (&admin, "stranger", STRANGERS),
        ] {
            let mut command = vec!["kubectl", "label", "--overwrite", "pod", pod, "-n", namespace];
            command.extend(forged.split_whitespace());
            let answer = self.stack.run_as(who, &command).await?;
            anyhow::ensure!(answer.is_success(), "{answer:?}");
            // Seen by the network, too, before anything is measured.
            wait_for(
                &format!("the network knows {pod} by its new labels"),
                PATIENCE,
                async || {
                    let endpoint = get(&self.stack, &["ciliumendpoint", pod, "-n", namespace])
                        .await
                        .map_err(|error| error.to_string())?;
                    let labels = endpoint["status"]["identity"]["labels"].to_string();
                    if labels.contains("\"k8s:mesocentre.io/workspace=genomics\"") {
                        Ok(())
                    } else {
                        Err(labels)
                    }
                },
            )
            .await;
        }
        for (who, namespace) in [
            (&alice, "univ-caen--climate"),
            (&admin, STRANGERS),
            (&admin, "nova-motors--cfd"),
        ] {
            for label in ["mesocentre.io/tenant=chu-rouen", "mesocentre.io/workspace=cohort"] {
                let command = ["kubectl", "label", "--overwrite", "namespace", namespace, label];
                let answer = self.stack.run_as(who, &command).await?;
                anyhow::ensure!(
                    !answer.is_success(),
                    "{namespace} took the label {label}: {answer:?}"
                );
            }
        }
        Ok(())
    }

    async fn lets_monitoring_in(&self, is_let_in: bool) -> Result<()> {
        let rule = json!([{"namespace": PLATFORM, "ports": [{"port": OTHER, "protocol": "TCP"}], "reason": "Supervision"}]);
        let rules = if is_let_in { rule } else { Value::Null };
        let patch = json!({"spec": {"network": {"ingressFrom": rules}}}).to_string();
        kubectl(
            &self.stack,
            &[
                "patch",
                "trustperimeter",
                "open-research",
                "--type=merge",
                "-p",
                &patch,
            ],
        )
        .await?;
        let wanted = if is_let_in { Outcome::Open } else { Outcome::Closed };
        self.becomes("monitoring", "climate", OTHER, wanted).await
    }

    /// Leaves the stack as other tests expect it.
    async fn tidies_up(self) -> Result<()> {
        let Self { stack, pods, ends: _ } = self;
        stack.operator().restart().await?;
        tolerates_the_real_node(&stack, &Value::Null).await?;
        for (name, namespace, ..) in PODS {
            kubectl(
                &stack,
                &[
                    "delete",
                    "pod",
                    name,
                    "-n",
                    namespace,
                    "--grace-period=0",
                    "--force",
                ],
            )
            .await?;
        }
        kubectl(
            &stack,
            &["delete", "namespace", PLATFORM, STRANGERS, "--wait=false"],
        )
        .await?;
        apply_yaml(&stack.admin(), &example("40-peering.yaml")?).await?;
        pods.end().await
    }
}

impl End {
    fn place(&self) -> Result<&Place> {
        self.place
            .as_ref()
            .with_context(|| format!("nothing connects from {}", self.name))
    }
}

fn pair(from: &End, to: &End, port: Port) -> Pair {
    (from.name.into(), to.name.into(), port)
}

/// Says where two tables differ, and shows the one that was found.
fn compare(promised: &Table, found: &Table) -> Result<(), String> {
    let word = |open: bool| if open { "open" } else { "closed" };
    let mut text = String::new();
    for (pair, open) in promised {
        let is_open = found.get(pair).copied().unwrap_or(false);
        if is_open != *open {
            let (from, to, port) = pair;
            let _ = writeln!(
                text,
                "{from} to {to}:{port} is {}, and promised {}",
                word(is_open),
                word(*open)
            );
        }
    }
    if text.is_empty() {
        return Ok(());
    }
    text.push_str("all that is open:\n");
    for ((from, to, port), _) in found.iter().filter(|(_, open)| **open) {
        let _ = writeln!(text, "  {from} to {to}:{port}");
    }
    Err(format!("\n{text}"))
}

/// The node that runs real pods is kept free of those of other tests.
async fn tolerates_the_real_node(stack: &Stack, keys: &Value) -> Result<()> {
    let patch = json!({"spec": {"tolerations": keys}}).to_string();
    for perimeter in ["open-research", "health-hds", "co-invested"] {
        kubectl(
            stack,
            &["patch", "trustperimeter", perimeter, "--type=merge", "-p", &patch],
        )
        .await?;
    }
    Ok(())
}

/// A pod that answers on two ports what it is told, within the strictest Pod Security Standard.
fn pod(name: &str, namespace: &str, app: &str, image: &str) -> Value {
    let labels = match app {
        // As a cluster's DNS is known.
        "dns" => json!({"k8s-app": "kube-dns"}),
        app => json!({"app": app}),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"key": pods::TAINT, "operator": "Exists", "effect": "NoSchedule"}],
            "containers": [{
                "name": "echo",
                "image": image,
                "command": ["/bin/sh", "-c", format!("nc -ll -p {EXPOSED} -e /bin/cat & exec nc -ll -p {OTHER} -e /bin/cat")],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "32Mi"}},
            }],
        },
    })
}

fn example(name: &str) -> Result<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name);
    std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
}

async fn kubectl(stack: &Stack, arguments: &[&str]) -> Result<String> {
    let mut command = vec!["kubectl"];
    command.extend(arguments);
    let answer = stack.run(&command).await?;
    anyhow::ensure!(answer.is_success(), "{command:?}: {answer:?}");
    Ok(answer.stdout)
}

async fn get(stack: &Stack, arguments: &[&str]) -> Result<Value> {
    let mut command = vec!["get", "-o", "json"];
    command.extend(arguments);
    Ok(serde_json::from_str(&kubectl(stack, &command).await?)?)
}

/// The port of the stack's API server, by the administrator's kubeconfig.
fn api_port(stack: &Stack) -> Result<u16> {
    let config: Value = serde_yaml::from_str(&std::fs::read_to_string(stack.admin_kubeconfig()?)?)?;
    config["clusters"][0]["cluster"]["server"]
        .as_str()
        .and_then(|server| server.rsplit_once(':'))
        .and_then(|(_, port)| port.parse().ok())
        .context("the administrator's kubeconfig names the API server's port")
}
