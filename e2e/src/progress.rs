//! Progress on the terminal: a line a step with a spinner and the time it takes, steps side by side; or plain lines
//! where there is no terminal, as in CI.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static LINES: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A step under way.
pub struct Step {
    bar: Option<ProgressBar>,
    name: String,
    since: Instant,
    done: bool,
}

/// Begins a step and shows it.
pub fn step(name: impl Into<String>) -> Step {
    let name = name.into();
    let bar = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = LINES.add(
            ProgressBar::new_spinner()
                .with_style(style)
                .with_message(name.clone()),
        );
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    });
    if bar.is_none() {
        eprintln!("… {name}");
    }
    Step {
        bar,
        name,
        since: Instant::now(),
        done: false,
    }
}

impl Step {
    /// Ends it well.
    pub fn done(mut self) {
        self.done = true;
        self.finish('✓');
    }

    fn finish(&self, mark: char) {
        let line = format!("{mark} {} ({})", self.name, seconds(self.since.elapsed()));
        match &self.bar {
            Some(bar) => {
                bar.set_style(
                    ProgressStyle::with_template("{msg}")
                        .unwrap_or_else(|_| ProgressStyle::default_spinner()),
                );
                bar.finish_with_message(line);
            }
            None => eprintln!("{line}"),
        }
    }
}

/// A step that is dropped on the way of an error did not end well.
impl Drop for Step {
    fn drop(&mut self) {
        if !self.done {
            self.finish('✗');
        }
    }
}

/// A time as people read it.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{}.{} s", time.as_secs(), time.subsec_millis() / 100),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}
