//! Promise: what is run on a login node is what was asked for, whatever bytes it holds, and only on the login node that
//! was pinned.
//!
//! The sshd is real, and the test's own. In place of Slurm there are a few lines of sh that write down what they were
//! given; as another user nothing is run here (`e2e_batch_jobs_over_ssh.rs` does, on a real Slurm).

mod login_node;

use login_node::{LoginNode, submission};
use mesocentre_scheduler_bridge::slurm::Slurm;
use mesocentre_scheduler_bridge::{AccountName, BatchScheduler, JobId, SchedulerError, Secret, SubmitError};
use std::time::{Duration, Instant};

const RECORDS: &str = r#"#!/bin/sh
for word in "$@"; do printf '%s\0' "$word"; done > "$RECORD/argv"
/bin/cat > "$RECORD/stdin"
/usr/bin/env -0 > "$RECORD/env"
echo 42
"#;

#[tokio::test]
async fn a_submission_arrives_byte_for_byte() {
    let node = LoginNode::start();
    node.command("sbatch", &RECORDS.replace("$RECORD", &node.record()));
    let odd = "it's \"$HOME\"; `id` $(id) \\ ! ~ * # \n\u{81}é\t-- ";
    let script: Vec<u8> = b"#!/bin/sh\n"
        .iter()
        .copied()
        .chain((1_u8..=255).filter(|b| *b != b'\r').cycle().take(1_000_000))
        .collect();
    let mut one = submission(script.clone());
    one.environment = vec![
        ("ODD".to_owned(), odd.to_owned()),
        ("PATH".to_owned(), "/x".to_owned()),
    ];
    // Far more than one argument of a program may hold, as the whole would be if it went by a command line.
    one.arguments = vec![odd.to_owned(); 5_000];
    one.arguments.extend(["-x".to_owned(), String::new()]);
    assert_eq!(node.slurm().submit(&one).await, Ok(JobId::Number(42)));

    let words = node.recorded("argv");
    let words: Vec<String> = words
        .split(|b| *b == 0)
        .map(|word| String::from_utf8(word.to_vec()).unwrap())
        .collect();
    let at = words.iter().position(|word| word == "/dev/stdin").unwrap();
    assert_eq!(words[at + 1..at + 1 + one.arguments.len()], one.arguments[..]);
    assert!(
        words[..at].iter().all(|word| word.starts_with("--")),
        "{:?}",
        &words[..at]
    );
    assert!(words[..at].contains(&format!("--comment={}", one.token.to_comment())));
    let arrived = node.recorded("stdin");
    assert!(
        arrived == script,
        "another script arrived: {} bytes, like the one sent up to byte {:?}",
        arrived.len(),
        arrived.iter().zip(&script).position(|(a, b)| a != b)
    );
    let environment = || -> Vec<String> {
        let words = node.recorded("env");
        let words = words.split(|b| *b == 0);
        words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    };
    let without_secrets = environment();
    // What is secret takes another way, and nothing else differs by it.
    one.secrets = vec![("TOKEN".to_owned(), Secret::new(odd.to_owned()))];
    assert_eq!(node.slurm().submit(&one).await, Ok(JobId::Number(42)));
    assert!(node.recorded("stdin") == script);
    let (mut environment, mut wanted) = (environment(), without_secrets);
    wanted.push(format!("TOKEN={odd}"));
    environment.sort();
    wanted.sort();
    assert_eq!(environment, wanted);
    assert!(environment.contains(&format!("ODD={odd}")), "{environment:?}");
    assert!(environment.contains(&"HOME=/".to_owned()), "{environment:?}");
    assert!(
        !environment
            .iter()
            .any(|line| line.starts_with("SSH_") || line.starts_with("LC_ALL=")),
        "{environment:?}"
    );
}

#[tokio::test]
async fn what_the_accounts_own_files_print_is_no_part_of_an_answer() {
    let node = LoginNode::start();
    node.command("scancel", &RECORDS.replace("$RECORD", &node.record()));
    node.command("squeue", "#!/bin/sh\ncat\n");
    node.noise("echo Welcome to this cluster; printf 'no line end'");
    let slurm = node.slurm();
    slurm
        .cancel_account(&AccountName::new("univ-caen.climate").unwrap())
        .await
        .unwrap();
    assert_eq!(node.recorded("argv"), b"--account=univ-caen.climate\0");
    assert_eq!(node.recorded("stdin"), b"");
    assert!(slurm.queue().await.unwrap().jobs().is_empty());
    let environment = String::from_utf8(node.recorded("env")).unwrap();
    for set in ["LC_ALL=C", "TZ=UTC", "SLURM_TIME_FORMAT=%s", "HOME=/"] {
        assert!(environment.split('\0').any(|line| line == set), "{environment:?}");
    }
}

#[tokio::test]
async fn all_commands_share_one_connection() {
    let node = LoginNode::start();
    node.command("squeue", "#!/bin/sh\nsleep 0.05\n");
    let slurm = node.slurm();
    // More at a time than sshd allows on a connection.
    let all: Vec<_> = (0..30)
        .map(|_| {
            let slurm = slurm.clone();
            tokio::spawn(async move { slurm.queue().await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    let log = node.log();
    assert_eq!(log.matches("Accepted publickey").count(), 1, "{log}");
}

#[tokio::test]
async fn a_changed_host_key_stops_everything_until_the_new_one_is_pinned() {
    let mut node = LoginNode::start();
    node.command("squeue", "#!/bin/sh\n");
    let slurm = node.slurm();
    slurm.queue().await.unwrap();
    let pinned = node.fingerprint();
    node.change_host_key();
    let shown = node.fingerprint();
    assert_ne!(pinned, shown);
    let sentence = loop {
        // That the connection is cut is told first.
        match slurm.queue().await {
            Err(SchedulerError::HostKeyChanged(sentence)) => break sentence,
            Err(SchedulerError::Unreachable { .. }) => {}
            other => unreachable!("{other:?}"),
        }
    };
    assert!(
        sentence.contains(&format!("shows the host key {shown}")),
        "{sentence}"
    );
    assert!(sentence.contains(&format!("pinned is {pinned}")), "{sentence}");
    let handed_over = slurm.submit(&submission("#!/bin/sh\n")).await;
    assert!(
        matches!(&handed_over, Err(SubmitError::NotAsked(why)) if why.contains(&shown)),
        "{handed_over:?}"
    );
    node.slurm().queue().await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_not_let_in_and_a_host_that_is_away_are_told_apart() {
    let mut node = LoginNode::start();
    node.command("squeue", "#!/bin/sh\n");
    let stranger = node.slurm_with_another_key();
    let refused = stranger.queue().await;
    assert!(
        matches!(&refused, Err(SchedulerError::IdentityRefused(_))),
        "{refused:?}"
    );

    let slurm = node.slurm();
    node.stop();
    let away = slurm.queue().await;
    assert!(
        matches!(
            &away,
            Err(SchedulerError::Unreachable {
                who: "the login node",
                ..
            })
        ),
        "{away:?}"
    );
    node.start_again();
    until_it_answers(&slurm).await;
}

#[tokio::test]
async fn a_certificate_of_minutes_lets_in_once_and_each_new_connection_takes_a_new_one() {
    let mut node = LoginNode::start();
    node.command("squeue", "#!/bin/sh\n");
    let authority = node.authority("authority");
    let slurm = node.slurm_signed_by(authority.clone());
    for _ in 0..3 {
        slurm.queue().await.unwrap();
    }
    assert_eq!(authority.signed(), 1, "one connection, one certificate");
    let log = node.log();
    assert!(log.contains("ED25519-CERT") && log.contains("ID test "), "{log}");

    node.stop();
    assert!(slurm.queue().await.is_err());
    node.start_again();
    until_it_answers(&slurm).await;
    assert!(authority.signed() >= 2, "{}", authority.signed());
}

#[tokio::test]
async fn a_certificate_that_has_expired_or_is_anothers_lets_nobody_in_and_says_what_to_mend() {
    let node = LoginNode::start();
    node.command("squeue", "#!/bin/sh\n");
    let expired = node.authority("authority");
    expired.signs_for(Some("-2h:-1h"));
    for authority in [expired, node.authority("stranger")] {
        let refused = node.slurm_signed_by(authority).queue().await;
        let Err(SchedulerError::IdentityRefused(sentence)) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            sentence.contains("signed by the test's authority: name its public key in TrustedUserCAKeys"),
            "{sentence}"
        );
    }

    let away = node.authority("authority");
    away.signs_for(None);
    assert_eq!(
        node.slurm_signed_by(away).queue().await.unwrap_err(),
        SchedulerError::Unreachable {
            who: "the authority",
            why: "it is closed".into()
        }
    );
}

#[tokio::test]
async fn a_connection_cut_after_the_script_was_sent_leaves_the_outcome_unknown_and_ends_sbatch_in_time() {
    let mut node = LoginNode::start();
    node.command("squeue", "#!/bin/sh\n");
    let record = node.record();
    node.command(
        "sbatch",
        &format!("#!/bin/sh\ncat >/dev/null\necho $$ > {record}/begun.new && mv {record}/begun.new {record}/begun\nsleep 600\ntouch {record}/done\n"),
    );
    let mut config = node.config();
    config.submit_within = Duration::from_secs(3);
    let slurm = Slurm::new(config).unwrap();
    let one = submission("#!/bin/sh\n");
    let submitting = tokio::spawn({
        let slurm = slurm.clone();
        async move { slurm.submit(&one).await }
    });
    let pid = loop {
        if let Ok(pid) = std::fs::read_to_string(format!("{record}/begun")) {
            break pid;
        }
        assert!(!submitting.is_finished(), "{:?}", submitting.await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    node.stop();
    let outcome = submitting.await.unwrap();
    assert!(matches!(outcome, Err(SubmitError::Unknown(_))), "{outcome:?}");
    // Nothing here can reach it any more, and it ends all the same.
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::exists(format!("/proc/{}/exe", pid.trim())).unwrap_or(false) {
        assert!(Instant::now() < deadline, "sbatch goes on after its deadline");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!std::fs::exists(format!("{record}/done")).unwrap());
    node.start_again();
    until_it_answers(&slurm).await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told_by_name() {
    let node = LoginNode::start();
    let missing = node.slurm().queue().await.unwrap_err().to_string();
    assert!(missing.contains("the command squeue"), "{missing}");
    let missing = node.slurm().submit(&submission("#!/bin/sh\n")).await.unwrap_err();
    assert!(
        matches!(&missing, SubmitError::NotAsked(why) if why.contains("the command sbatch is in none of")),
        "{missing}"
    );
}

async fn until_it_answers(slurm: &Slurm) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = slurm.queue().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
