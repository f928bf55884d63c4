//! The operator in the hands of a test: ended, killed, started again, asked for its metrics.

use crate::{operator, process, state, wait};
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::Duration;

/// One process of the operator.
pub struct Operator {
    name: String,
}

impl Operator {
    pub(super) fn named(name: String) -> Self {
        Self { name }
    }

    /// Its process id; none when it does not run.
    ///
    /// # Errors
    /// When the stack is gone.
    pub fn pid(&self) -> Result<Option<u32>> {
        Ok(process::running(&self.name)?.map(|running| running.pid))
    }

    /// Where it serves its health and metrics.
    ///
    /// # Errors
    /// When it was never started.
    pub fn url(&self) -> Result<String> {
        Ok(format!("http://127.0.0.1:{}", operator::port(&self.name)?))
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        crate::paths::log(&self.name)
    }

    /// Starts it as it was last built, when it does not run, and returns when it is ready.
    ///
    /// # Errors
    /// When it is not ready in time: with the last state and the end of its log.
    pub async fn start(&self) -> Result<()> {
        self.start_with(&[]).await
    }

    /// The same, with more in its environment, which wins: a KUBECONFIG that leads through a proxy, say.
    ///
    /// # Errors
    /// When it is not ready in time: with the last state and the end of its log.
    pub async fn start_with(&self, environment: &[(&str, &str)]) -> Result<()> {
        self.launch(environment).await?;
        operator::ready(&self.name).await
    }

    /// Starts it and does not wait until it is ready, for what happens before.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn launch(&self, environment: &[(&str, &str)]) -> Result<()> {
        let release = state::of_the_stack()?.release;
        operator::start(&self.name, release, environment).await
    }

    /// Ends it as a site does, and returns when it is gone.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&self) -> Result<()> {
        operator::stop(&self.name).await
    }

    /// Ends it as a power cut does, and returns when it is gone.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn kill(&self) -> Result<()> {
        operator::kill(&self.name).await
    }

    /// Ends it as a site does and starts it again; returns when it is ready.
    ///
    /// # Errors
    /// When it does not end, or is not ready in time.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Lets it hang, as on a machine that swaps.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on where it hung.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        process::running(&self.name)?
            .with_context(|| format!("{} does not run", self.name))?
            .signal(signal);
        Ok(())
    }

    /// Its metrics, in Prometheus' text form.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        operator::metrics(&self.name).await
    }

    /// The sum of one metric over its labels; none when it is not there.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metric(&self, name: &str) -> Result<Option<f64>> {
        Ok(sum_of(&self.metrics().await?, name))
    }

    /// Returns when it leads: a replica that stands by is ready, too.
    ///
    /// # Errors
    /// When it does not lead in time.
    pub async fn leads(&self, patience: Duration) -> Result<()> {
        wait::until(&format!("{} leads", self.name), patience, async || {
            match self.metric("mesocentre_leader").await {
                Ok(Some(value)) if value > 0.0 => Ok(()),
                Ok(_) => Err("another leads".to_owned()),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await
    }
}

#[expect(clippy::float_arithmetic, reason = "Prometheus' own values, no money")]
fn sum_of(metrics: &str, name: &str) -> Option<f64> {
    metrics
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = match rest.strip_prefix('{') {
                Some(labels) => labels.rsplit_once('}')?.1,
                None => rest.strip_prefix(' ')?,
            };
            value.split_whitespace().next()?.parse::<f64>().ok()
        })
        .reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::sum_of;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_over_others_of_a_longer_name() {
        let text = "# HELP a x\na{k=\"}\"} 1\na{k=\"y\"} 2\na_total 8\nb 5\n";
        assert_eq!(sum_of(text, "a"), Some(3.0));
        assert_eq!(sum_of(text, "b"), Some(5.0));
        assert_eq!(sum_of(text, "c"), None);
    }
}
