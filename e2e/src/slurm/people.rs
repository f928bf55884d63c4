//! People with a posix account on the cluster, as batch jobs run as somebody.

use crate::process::run;
use crate::{paths, state};
use anyhow::Result;
use std::path::PathBuf;
use tokio::process::Command;

const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Makes the accounts of the examples that are missing.
pub(super) async fn make() -> Result<()> {
    for person in PEOPLE {
        make_one(person).await?;
    }
    Ok(())
}

fn homes() -> PathBuf {
    paths::state().join("home")
}

/// The home of an account that was made here.
pub fn home(person: &str) -> PathBuf {
    homes().join(person)
}

/// Makes an account where there is none, and remembers that it was made. One of an earlier stack in this folder, which was
/// killed before it took it away, is taken over.
pub async fn make_one(person: &str) -> Result<()> {
    let is_there = uid(person).await.is_some();
    if is_there && (home_of(person).await != Some(home(person)) || home(person).exists()) {
        return Ok(());
    }
    // First the note, then the deed: an account that was made is never forgotten.
    state::edit(|record| {
        if !record.people.iter().any(|known| known == person) {
            record.people.push(person.into());
        }
        Ok(())
    })?;
    // A home inside the stack's folder goes with it, and never was anybody else's.
    state::folder(&homes())?;
    if is_there {
        take_away(person).await?;
    }
    let mut useradd = Command::new("useradd");
    useradd
        .args(["--create-home", "--shell", "/bin/bash", "--home-dir"])
        .arg(home(person))
        .arg(person);
    run(&mut useradd).await.map(drop)
}

/// The home of an account, as the machine has it.
async fn home_of(person: &str) -> Option<PathBuf> {
    let line = run(Command::new("getent").args(["passwd", person])).await.ok()?;
    line.trim().split(':').nth(5).map(PathBuf::from)
}

/// The user id of an account, when there is one.
pub async fn uid(person: &str) -> Option<u32> {
    let line = run(Command::new("id").args(["-u", person])).await.ok()?;
    line.trim().parse().ok()
}

/// Takes an account away; its home goes with the stack's folder.
pub async fn take_away(person: &str) -> Result<()> {
    if uid(person).await.is_none() {
        return Ok(());
    }
    run(Command::new("userdel").args(["--force", person]))
        .await
        .map(drop)
}
