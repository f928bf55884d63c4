//! A login node of a test's own: a real sshd on this machine, with keys of its own, and commands that the test writes.

#![allow(clippy::unwrap_used, clippy::panic)] // A test may end itself.

use mesocentre_scheduler_bridge::slurm::ssh::{
    Address, Credential, HostKeys, Identity, Signer, Signing, SshConfig,
};
use mesocentre_scheduler_bridge::slurm::{Slurm, SlurmConfig};
use mesocentre_scheduler_bridge::{AccountName, ClusterName, SchedulerError, Submission, Token, UserName};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub struct LoginNode {
    folder: tempfile::TempDir,
    port: u16,
    sshd: Child,
}

impl LoginNode {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // What runs as a job's author must get there.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["bin", "record"] {
            fs::create_dir(at(name)).unwrap();
        }
        // Nothing but what a test puts there is found: this machine may have a Slurm of its own.
        for tool in [
            "sh", "env", "head", "timeout", "mktemp", "rm", "wc", "cat", "mv", "sleep", "touch",
        ] {
            symlink(format!("/bin/{tool}"), at("bin").join(tool)).unwrap();
        }
        fs::write(at("noise"), "").unwrap();
        for name in ["host", "identity", "stranger", "authority"] {
            keygen(&at(name));
        }
        fs::copy(at("identity.pub"), at("authorized_keys")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {host}\nAuthorizedKeysFile {keys}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nTrustedUserCAKeys {authority}\nSetEnv BASH_ENV={noise}\n",
            host = at("host").display(),
            keys = at("authorized_keys").display(),
            noise = at("noise").display(),
            authority = at("authority.pub").display(),
        );
        fs::write(at("sshd_config"), config).unwrap();
        // Where sshd keeps its unprivileged part, when it is root; else it needs none, and none can be made.
        let _ = fs::create_dir_all("/run/sshd");
        let sshd = sshd(folder.path(), port);
        let node = Self { folder, port, sshd };
        // The author is another user only on a real cluster.
        node.command("getent", "#!/bin/sh\necho alice:x:1001:1001::/:/bin/sh\n");
        node.command(
            "setpriv",
            "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n",
        );
        node
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder where commands write down what they were given.
    pub fn record(&self) -> String {
        self.at("record").display().to_string()
    }

    pub fn recorded(&self, name: &str) -> Vec<u8> {
        fs::read(self.at("record").join(name)).unwrap()
    }

    /// Puts a command there.
    pub fn command(&self, name: &str, text: &str) {
        let path = self.at("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the account's own shell does before each command.
    pub fn noise(&self, text: &str) {
        fs::write(self.at("noise"), format!("{text}\n")).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap()
    }

    /// As `ssh-keygen` tells it.
    pub fn fingerprint(&self) -> String {
        let output = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.at("host.pub"))
            .output()
            .unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    }

    fn config_with(&self, credential: Credential) -> SlurmConfig {
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let mut config = SlurmConfig::over_ssh(
            ClusterName::new("meso").unwrap(),
            SshConfig {
                address: Address::new(user.trim(), "127.0.0.1", self.port).unwrap(),
                host_keys: HostKeys::parse(&[fs::read_to_string(self.at("host.pub")).unwrap().trim()])
                    .unwrap(),
                credential,
                persons: None,
            },
        );
        config.path = self.at("bin").display().to_string();
        config
    }

    fn key(&self, name: &str) -> Credential {
        Credential::Key(Identity::new(&fs::read(self.at(name)).unwrap()).unwrap())
    }

    pub fn config(&self) -> SlurmConfig {
        self.config_with(self.key("identity"))
    }

    pub fn slurm(&self) -> Slurm {
        Slurm::new(self.config()).unwrap()
    }

    pub fn slurm_with_another_key(&self) -> Slurm {
        Slurm::new(self.config_with(self.key("stranger"))).unwrap()
    }

    /// As whoever this authority signs for.
    pub fn slurm_signed_by(&self, authority: Arc<Authority>) -> Slurm {
        Slurm::new(self.config_with(Credential::Signed(authority))).unwrap()
    }

    /// An authority: that of this login node, or another.
    pub fn authority(&self, name: &str) -> Arc<Authority> {
        Arc::new(Authority {
            key: self.at(name),
            signs_for: Mutex::new(Some("+5m".to_owned())),
            signed: AtomicUsize::new(0),
        })
    }

    /// Ends sshd, and all connections with it.
    pub fn stop(&mut self) {
        let children = Command::new("ps")
            .args(["-o", "pid=", "--ppid", &self.sshd.id().to_string()])
            .output()
            .unwrap();
        for pid in String::from_utf8(children.stdout).unwrap().split_whitespace() {
            Command::new("kill").args(["-KILL", pid]).status().unwrap();
        }
        self.sshd.kill().unwrap();
        self.sshd.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.sshd = sshd(self.folder.path(), self.port);
    }

    pub fn change_host_key(&mut self) {
        self.stop();
        fs::remove_file(self.at("host")).unwrap();
        fs::remove_file(self.at("host.pub")).unwrap();
        keygen(&self.at("host"));
        self.start_again();
    }
}

impl Drop for LoginNode {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "ssh-keygen is missing: install openssh-client"
    );
}

fn sshd(folder: &Path, port: u16) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    let child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("sshd is missing: install openssh-server");
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            Instant::now() < deadline,
            "sshd does not listen: {}",
            fs::read_to_string(folder.join("log")).unwrap()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// A submission as alice.
pub fn submission(script: impl Into<Vec<u8>>) -> Submission {
    Submission::new(
        Token::of_attempt("5b0e", 1).unwrap(),
        UserName::new("alice").unwrap(),
        AccountName::new("univ-caen.climate").unwrap(),
        "pi",
        script,
    )
}

/// An authority that signs by ssh-keygen.
pub struct Authority {
    key: PathBuf,
    signs_for: Mutex<Option<String>>,
    signed: AtomicUsize,
}

impl Authority {
    /// From now on, certificates hold for so long (`ssh-keygen(1)`, -V); none is signed any more.
    pub fn signs_for(&self, validity: Option<&str>) {
        *self.signs_for.lock().unwrap() = validity.map(ToOwned::to_owned);
    }

    /// How many it has signed.
    pub fn signed(&self) -> usize {
        self.signed.load(Ordering::Relaxed)
    }
}

impl Signer for Authority {
    fn name(&self) -> &str {
        "the test's authority"
    }

    fn sign<'a>(&'a self, public_key: &'a str, user: &'a str) -> Signing<'a> {
        Box::pin(async move {
            let validity = self.signs_for.lock().unwrap().clone();
            let validity = validity.ok_or_else(|| SchedulerError::Unreachable {
                who: "the authority",
                why: "it is closed".into(),
            })?;
            let folder = tempfile::tempdir().unwrap();
            let key = folder.path().join("key.pub");
            fs::write(&key, public_key).unwrap();
            let signed = Command::new("ssh-keygen")
                .args(["-q", "-I", "test", "-n", user, "-V", &validity, "-s"])
                .arg(&self.key)
                .arg(&key)
                .status()
                .unwrap();
            assert!(signed.success());
            self.signed.fetch_add(1, Ordering::Relaxed);
            Ok(fs::read_to_string(folder.path().join("key-cert.pub")).unwrap())
        })
    }
}
