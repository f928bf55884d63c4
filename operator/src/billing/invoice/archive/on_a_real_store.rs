//! Documents in a bucket of versitygw, a server of S3 that keeps objects as files, which each test starts for itself.

use super::bucket::{Address, Bucket, Key};
use super::{Archive, FileName, NotKept, Place, Put};
use crate::controller::pause_after;
use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, header};
use mesocentre_metering::Digest;
use object_store::Certificate;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use url::Url;

const BUCKET: &str = "factures";
const PDF: FileName<'static> = FileName {
    folder: "recherche",
    name: "F2026-000001.pdf",
    media_type: "application/pdf",
};

/// A store of its own folder, port and key; it ends with the test.
struct Store {
    folder: TempDir,
    port: u16,
    id: String,
    secret: String,
    scheme: &'static str,
    server: Option<Child>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.end();
    }
}

fn random() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).unwrap();
    Digest::of(&[&bytes]).to_string()[..32].to_owned()
}

impl Store {
    /// With one empty bucket; it does not run yet.
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("objects").join(BUCKET)).unwrap();
        fs::create_dir(folder.path().join("accounts")).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self {
            port: free.local_addr().unwrap().port(),
            folder,
            id: random(),
            secret: random(),
            scheme: "http",
            server: None,
        }
    }

    fn running() -> Self {
        let mut store = Self::new();
        store.start();
        store
    }

    /// With a certificate; gives the authority's.
    fn with_certificate() -> (Self, Vec<u8>) {
        let mut store = Self::new();
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let pem = own.cert.pem().into_bytes();
        fs::write(store.folder.path().join("tls.crt"), &pem).unwrap();
        fs::write(
            store.folder.path().join("tls.key"),
            own.signing_key.serialize_pem(),
        )
        .unwrap();
        store.scheme = "https";
        store.start();
        (store, pem)
    }

    fn start(&mut self) {
        let program =
            std::env::var("MESO_TEST_S3").expect("MESO_TEST_S3 is set by `cargo dev test`: versitygw");
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("ROOT_ACCESS_KEY_ID", &self.id)
            .env("ROOT_SECRET_ACCESS_KEY", &self.secret)
            .args(["--quiet", "--port", &format!("127.0.0.1:{}", self.port)])
            // Accounts besides its own, of which there are none: it knows whom it does not know.
            .arg("--iam-dir")
            .arg(self.folder.path().join("accounts"));
        if self.scheme == "https" {
            command.arg("--cert").arg(self.folder.path().join("tls.crt"));
            command.arg("--key").arg(self.folder.path().join("tls.key"));
        }
        command
            .arg("posix")
            .arg(self.folder.path().join("objects"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.server = Some(command.spawn().unwrap());
        let since = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                since.elapsed() < Duration::from_secs(30),
                "versitygw does not listen: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    fn endpoint(&self) -> Url {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
            .parse()
            .unwrap()
    }

    fn key(&self) -> Key {
        Key::Environment {
            id: self.id.clone(),
            secret: self.secret.clone(),
        }
    }

    fn bucket(&self) -> Bucket {
        self.bucket_by(self.key())
    }

    fn bucket_by(&self, key: Key) -> Bucket {
        bucket(BUCKET, &self.endpoint(), Vec::new(), key)
    }

    fn archive(&self) -> Archive {
        Archive::new(Place::Bucket(self.bucket()))
    }

    /// Where the store keeps the object.
    fn object(&self) -> PathBuf {
        self.folder
            .path()
            .join("objects")
            .join(BUCKET)
            .join("compta/recherche")
            .join(PDF.name)
    }
}

fn bucket(name: &str, endpoint: &Url, authorities: Vec<Certificate>, key: Key) -> Bucket {
    let address = Address {
        name,
        endpoint,
        region: "us-east-1",
        prefix: "compta/",
        in_path: true,
        authorities,
    };
    Bucket::new(address, key).unwrap()
}

async fn first() -> Result<Vec<u8>, String> {
    Ok(b"first".to_vec())
}

async fn never() -> Result<Vec<u8>, String> {
    panic!("it was rendered, and was there")
}

/// What is told when the place did not do it.
async fn away(archive: &Archive) -> String {
    match archive.keep(PDF, &[], first).await {
        Err(NotKept::Away(why, _)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs versitygw: cargo dev test runs it"]
async fn a_document_is_put_once_comes_back_when_it_goes_and_is_never_put_over_another() {
    let store = Store::running();
    let archive = store.archive();
    let delivered = [archive.keep(PDF, &[], first).await.unwrap()];
    assert_eq!(delivered[0].path, "compta/recherche/F2026-000001.pdf");
    assert_eq!(delivered[0].sha256, Digest::of(&[b"first"]).to_string());
    let written = fs::metadata(store.object()).unwrap().modified().unwrap();

    // Again, by this process and by the next: nothing is rendered, and nothing written.
    archive.keep(PDF, &delivered, never).await.unwrap();
    store.archive().keep(PDF, &delivered, never).await.unwrap();
    // A status that was lost is found again by the bytes.
    assert_eq!(store.archive().keep(PDF, &[], first).await.unwrap(), delivered[0]);
    assert_eq!(fs::metadata(store.object()).unwrap().modified().unwrap(), written);

    fs::remove_file(store.object()).unwrap();
    archive.keep(PDF, &delivered, first).await.unwrap();
    assert_eq!(fs::read(store.object()).unwrap(), b"first");

    // Somebody else's object of that key.
    fs::remove_file(store.object()).unwrap();
    assert_eq!(store.bucket().put(PDF, b"other".to_vec()).await, Ok(Put::Done));
    for archive in [archive, store.archive()] {
        let told = archive.keep(PDF, &delivered, first).await.unwrap_err();
        let NotKept::Wrong(told) = told else {
            panic!("{told:?}")
        };
        for part in [
            "compta/recherche/F2026-000001.pdf",
            BUCKET,
            "is left alone; move it away",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
    assert_eq!(fs::read(store.object()).unwrap(), b"other");
}

#[tokio::test]
#[ignore = "needs versitygw: cargo dev test runs it"]
async fn of_two_writers_side_by_side_one_writes_and_both_are_content_when_they_say_the_same() {
    let store = Store::running();
    for _ in 0..10 {
        let _ = fs::remove_file(store.object());
        let (one, other) = (store.bucket(), store.bucket());
        let (big, small) = (vec![b'1'; 3_000_000], vec![b'2'; 10]);
        let (first, second) = tokio::join!(one.put(PDF, big.clone()), other.put(PDF, small.clone()));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_ne!(first, second, "one writes, and the other is told");
        let there = fs::read(store.object()).unwrap();
        assert!(there == if first == Put::Done { big } else { small });
    }
    for _ in 0..10 {
        let _ = fs::remove_file(store.object());
        let (one, other) = (store.archive(), store.archive());
        let (one, other) = tokio::join!(one.keep(PDF, &[], first), other.keep(PDF, &[], first));
        assert_eq!(one.unwrap(), other.unwrap());
    }
}

#[tokio::test]
#[ignore = "needs versitygw: cargo dev test runs it"]
async fn a_store_that_is_away_is_told_of_and_what_waits_is_delivered_when_it_is_back() {
    let mut store = Store::new();
    let archive = store.archive();
    let told = away(&archive).await;
    assert!(
        told.contains("the bucket factures at http://127.0.0.1:") && told.contains("does not answer"),
        "{told}"
    );
    store.start();
    tokio::time::sleep(pause_after(0)).await;
    let delivered = [archive.keep(PDF, &[], first).await.unwrap()];
    store.end();
    let Err(NotKept::Away(..)) = archive.keep(PDF, &delivered, never).await else {
        panic!("it was said to be there")
    };
    store.start();
    tokio::time::sleep(pause_after(0)).await;
    archive.keep(PDF, &delivered, never).await.unwrap();
}

#[tokio::test]
#[ignore = "needs versitygw: cargo dev test runs it"]
async fn a_key_that_is_refused_is_told_of_without_it_and_one_that_is_renewed_needs_no_restart() {
    let store = Store::running();
    let (id, secret) = (random(), random());
    let as_stranger = Key::Environment {
        id: id.clone(),
        secret: secret.clone(),
    };
    let wrong_secret = Key::Environment {
        id: store.id.clone(),
        secret: secret.clone(),
    };
    for key in [as_stranger, wrong_secret] {
        let archive = Archive::new(Place::Bucket(store.bucket_by(key)));
        let told = away(&archive).await;
        assert!(told.contains("does not take the operator's key"), "{told}");
        for told in [told, format!("{archive:?}")] {
            for kept in [&id, &secret, &store.id] {
                assert!(!told.contains(kept.as_str()), "{told}");
            }
        }
    }

    let file = |name: &str| store.folder.path().join(name);
    let in_files = || Key::Files {
        id: file("id"),
        secret: file("secret"),
    };
    let archive = Archive::new(Place::Bucket(store.bucket_by(in_files())));
    let told = away(&archive).await;
    assert!(told.contains(&file("id").display().to_string()), "{told}");
    fs::write(file("id"), &store.id).unwrap();
    fs::write(file("secret"), format!("{}\n", store.secret)).unwrap();
    tokio::time::sleep(pause_after(0)).await;
    archive.keep(PDF, &[], first).await.unwrap();
}

#[tokio::test]
#[ignore = "needs versitygw: cargo dev test runs it"]
async fn a_bucket_that_is_not_there_is_told_of_and_not_made() {
    let store = Store::running();
    let nowhere = bucket("ailleurs", &store.endpoint(), Vec::new(), store.key());
    let told = away(&Archive::new(Place::Bucket(nowhere))).await;
    assert!(
        told.contains("the bucket ailleurs") && told.contains("is not there: make it"),
        "{told}"
    );
    let names: Vec<_> = fs::read_dir(store.folder.path().join("objects"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| !name.to_string_lossy().starts_with('.'))
        .collect();
    assert_eq!(names, [BUCKET]);
}

#[tokio::test]
#[ignore = "needs versitygw: cargo dev test runs it"]
async fn a_store_is_believed_by_the_authority_that_is_named_and_by_no_other() {
    let (store, authority) = Store::with_certificate();
    let told = away(&store.archive()).await;
    assert!(
        told.contains("does not answer") && told.contains("ertificate"),
        "{told}"
    );
    let authorities = Certificate::from_pem_bundle(&authority).unwrap();
    let known = bucket(BUCKET, &store.endpoint(), authorities, store.key());
    Archive::new(Place::Bucket(known))
        .keep(PDF, &[], first)
        .await
        .unwrap();
    assert_eq!(fs::read(store.object()).unwrap(), b"first");
}

/// There is no store at hand that knows no conditions; of this one that matters alone.
#[tokio::test]
async fn a_store_that_knows_no_conditions_is_asked_without_them() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let puts: Arc<Mutex<Vec<bool>>> = Arc::default();
    let seen = Arc::clone(&puts);
    let store = Router::new().fallback(async move |method: Method, headers: HeaderMap| {
        if method == Method::GET {
            let none = "<Error><Code>NoSuchKey</Code></Error>";
            return (StatusCode::NOT_FOUND, HeaderMap::new(), none);
        }
        let is_conditional = headers.contains_key(header::IF_NONE_MATCH);
        crate::lock::locked(&seen).push(is_conditional);
        if is_conditional {
            let no = "<Error><Code>NotImplemented</Code></Error>";
            return (StatusCode::NOT_IMPLEMENTED, HeaderMap::new(), no);
        }
        let etag = HeaderMap::from_iter([(header::ETAG, "\"1\"".parse().unwrap())]);
        (StatusCode::OK, etag, "")
    });
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let server = tokio::spawn(async { axum::serve(listener, store).await });
    let key = Key::Environment {
        id: random(),
        secret: random(),
    };
    let archive = Archive::new(Place::Bucket(bucket(BUCKET, &endpoint, Vec::new(), key)));
    archive.keep(PDF, &[], first).await.unwrap();
    assert_eq!(*crate::lock::locked(&puts), [true, false]);
    server.abort();
}
