//! The development stack: a real Kubernetes control plane, a real Slurm, a real Vault and our operator, on one machine.
//!
//! ```text
//! Go modules, Debian packages ─▶ cache outside the repository      our own binaries ─▶ target
//! up: etcd ▶ kube-apiserver ▶ controller-manager, scheduler ▶ chart ─┐
//!     munged, mariadbd ▶ slurmdbd ▶ slurmctld ▶ slurmd n1..n4 ───────┼─▶ operator, as its own service account
//!     vault (dev) ───────────────────────────────────────────────────┘
//! on demand: a node in namespaces of its own: containerd ▶ kubelet ▶ Cilium ▶ pods
//! ```
//! Everything listens on 127.0.0.1, on ports that were free at the first start. What was started is written down with
//! its start time, so that `down` ends just that.

mod apply;
mod bench;
mod binaries;
mod bucket;
mod cargo;
mod certificates;
mod chart;
mod control_plane;
mod demo;
mod down;
mod environment;
pub mod fixture;
mod generate;
pub mod kinds_of_others;
mod kubeconfig;
pub mod lab;
mod loopback;
mod operator;
mod output;
mod packages;
mod parts;
mod paths;
pub mod pods;
pub mod postgres;
mod process;
mod progress;
mod public_tools;
mod slurm;
mod stack;
mod state;
pub mod tasks;
mod test_run;
mod up;
mod vault;
mod wait;

pub use apply::yaml as apply_yaml;
pub use stack::{Answer, Operator, Part, Stack};
pub use vault::Vault;
pub use wait::{until, wait_for};
