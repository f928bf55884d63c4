//! Who acts in the demonstration: each with a client certificate of their own, by kubectl and meso, as a person would.

use crate::{environment, kubeconfig, paths, state, wait};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Someone with a kubeconfig.
pub struct Person {
    /// As the API server names them.
    pub name: String,
    kubeconfig: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// What a command came to.
pub struct Outcome {
    /// Whether it ended well.
    pub succeeded: bool,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub complaint: String,
}

/// alice owns univ-caen and bob is a member of it; carol owns chu-rouen, dave nova-motors.
pub async fn owners_and_members() -> Result<[Person; 4]> {
    Ok([
        Person::user("alice").await?,
        Person::user("bob").await?,
        Person::user("carol").await?,
        Person::user("dave").await?,
    ])
}

impl Person {
    /// The datacentre's administrator.
    pub fn administrator() -> Result<Self> {
        let record = state::of_the_stack()?;
        Ok(Self {
            name: "administrator".into(),
            kubeconfig: kubeconfig::admin(&record),
            environment: environment::of(&record)?,
        })
    }

    async fn user(name: &str) -> Result<Self> {
        let record = state::of_the_stack()?;
        let text = kubeconfig::for_user(&record, name, &[], None).await?;
        let file = paths::state().join(format!("{name}.kubeconfig"));
        state::write_secret(&file, text.as_bytes())?;
        Ok(Self {
            name: name.into(),
            kubeconfig: file,
            environment: environment::of(&record)?,
        })
    }

    /// Runs a command as this person, with `input` on its standard input.
    pub async fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<Outcome> {
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        let mut child = command
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        Ok(Outcome {
            succeeded: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    async fn must(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        let outcome = self.run(program, arguments, input).await?;
        if !outcome.succeeded {
            bail!(
                "{} ran `{program} {}`, and it said: {}{}",
                self.name,
                arguments.join(" "),
                outcome.complaint,
                outcome.out
            );
        }
        Ok(outcome.out)
    }

    /// kubectl, which must end well.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.must("kubectl", arguments, "").await
    }

    /// meso, which must end well.
    pub async fn meso(&self, arguments: &[&str]) -> Result<String> {
        self.must("meso", arguments, "").await
    }

    /// meso with a script on its standard input.
    pub async fn meso_with(&self, arguments: &[&str], script: &str) -> Result<String> {
        self.must("meso", arguments, script).await
    }

    /// One of Slurm's commands, as its administrator.
    pub async fn slurm(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.must(program, arguments, "").await
    }

    /// Applies those objects of an example that are chosen; says what kubectl said.
    pub async fn apply_example(
        &self,
        file: &str,
        chosen: impl Fn(&serde_yaml::Value) -> bool,
    ) -> Result<String> {
        let path = paths::repository().join("examples").join(format!("{file}.yaml"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut documents = String::new();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = serde_yaml::Value::deserialize(document)?;
            if chosen(&object) {
                documents.push_str("---\n");
                documents.push_str(&serde_yaml::to_string(&object)?);
            }
        }
        if documents.is_empty() {
            return Ok(String::new());
        }
        self.must("kubectl", &["apply", "-f", "-"], &documents).await
    }

    /// Waits until every object of the kinds says that it is Ready.
    pub async fn until_ready(&self, kinds: &[&str]) -> Result<()> {
        let template = r#"{range .items[*]}{.kind}{" "}{.metadata.namespace}{" "}{.metadata.name}{": "}{.status.conditions[?(@.type=="Ready")].status}{" "}{.status.conditions[?(@.type=="Ready")].message}{"\n"}{end}"#;
        wait::until("everything is Ready", Duration::from_secs(120), async || {
            let all = self
                .kubectl(&[
                    "get",
                    &kinds.join(","),
                    "--all-namespaces",
                    "-o",
                    &format!("jsonpath={template}"),
                ])
                .await
                .map_err(|error| error.to_string())?;
            let waiting: Vec<&str> = all
                .lines()
                .filter(|line| {
                    !line
                        .split_once(": ")
                        .is_some_and(|(_, state)| state.starts_with("True"))
                })
                .collect();
            if waiting.is_empty() {
                Ok(())
            } else {
                Err(waiting.join("\n"))
            }
        })
        .await
    }
}
