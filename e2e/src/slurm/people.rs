//! People with a posix account on the cluster, as batch jobs run as somebody.

use crate::process::run;
use crate::state;
use anyhow::Result;
use std::path::Path;
use tokio::process::Command;

const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Makes the accounts that are missing, and remembers which they were.
pub(super) async fn make() -> Result<()> {
    for person in PEOPLE {
        if uid(person).await.is_some() {
            continue;
        }
        // First the note, then the deed: an account that was made is never forgotten.
        state::edit(|record| {
            record.people.push(person.into());
            Ok(())
        })?;
        run(Command::new("useradd").args(["--create-home", "--shell", "/bin/bash", person])).await?;
    }
    Ok(())
}

/// The user id of an account, when there is one.
pub async fn uid(person: &str) -> Option<u32> {
    let line = run(Command::new("id").args(["-u", person])).await.ok()?;
    line.trim().parse().ok()
}

/// Takes an account away with its home.
pub async fn take_away(person: &str) -> Result<()> {
    if uid(person).await.is_none() {
        return Ok(());
    }
    let removed = run(Command::new("userdel").args(["--force", "--remove", person])).await;
    // userdel fails when there was no mail to remove, after it removed all else.
    if uid(person).await.is_none() && !Path::new("/home").join(person).exists() {
        return Ok(());
    }
    removed.map(drop)
}
