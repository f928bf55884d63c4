//! A bucket of an S3-compatible store: each document an object, put under the condition that there is none of its key.
//!
//! ```text
//!  GET, If-None-Match: the ETag of what was last read ─► 304: as it was │ 200: hashed │ 404: none
//!  PUT, If-None-Match: *                               ─► 200: whole, there │ 412, 409: somebody was faster
//! ```
//!
//! A store that does not know the condition of the PUT says so (501) and is asked without: it was looked at just before,
//! and there is one operator. What the store answers is never repeated but for its error's code: its sentences hold the
//! key's name and what was signed. Nothing of its client is logged (see `main.rs`).

use super::{FileName, Put};
use crate::lock::locked;
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Certificate, ClientOptions, CredentialProvider, Error, GetOptions,
    ObjectStore as _, PutMode, PutOptions, RetryConfig,
};
use ring::digest::{Context as Hash, SHA256};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use url::Url;

/// How long a connection may take to come about.
const CONNECTION: Duration = Duration::from_secs(5);
/// How long an answer may take, to its end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bucket, and what was last read in it.
#[derive(Debug)]
pub(super) struct Bucket {
    client: AmazonS3,
    name: String,
    endpoint: String,
    prefix: String,
    /// By key.
    read: Mutex<HashMap<String, Read>>,
}

/// What an object held when it was read.
#[derive(Clone, Debug)]
struct Read {
    /// The store's mark of these bytes.
    etag: String,
    sha256: String,
}

/// Where a bucket is, and how it is reached.
pub(super) struct Address<'a> {
    pub name: &'a str,
    pub endpoint: &'a Url,
    pub region: &'a str,
    /// Of all keys, with its slash, or empty.
    pub prefix: &'a str,
    /// Whether the bucket is in the path, and not in the host's name.
    pub in_path: bool,
    /// Who may have signed the store's certificate, besides the system's authorities.
    pub authorities: Vec<Certificate>,
}

/// The access key, read for each request: what renews a file need not restart us.
pub(super) enum Key {
    Files { id: PathBuf, secret: PathBuf },
    Environment { id: String, secret: String },
}

/// What is in it is nobody's to read.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { id, secret } => f.debug_tuple("Files").field(id).field(secret).finish(),
            Self::Environment { .. } => f.write_str("Environment"),
        }
    }
}

/// A file of the key that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the bucket's key in {} cannot be read ({error}); it is tried again by itself", path.display())]
struct NoKey {
    path: PathBuf,
    error: std::io::Error,
}

impl CredentialProvider for Key {
    type Credential = AwsCredential;

    fn get_credential<'key, 'read>(&'key self) -> BoxFuture<'read, object_store::Result<Arc<AwsCredential>>>
    where
        'key: 'read,
        Self: 'read,
    {
        Box::pin(async move {
            let (key_id, secret_key) = match self {
                Self::Files { id, secret } => (word_of(id).await?, word_of(secret).await?),
                Self::Environment { id, secret } => (id.clone(), secret.clone()),
            };
            Ok(Arc::new(AwsCredential {
                key_id,
                secret_key,
                token: None,
            }))
        })
    }
}

async fn word_of(path: &PathBuf) -> object_store::Result<String> {
    match tokio::fs::read_to_string(path).await {
        Ok(word) => Ok(word.trim().to_owned()),
        Err(error) => Err(Error::Generic {
            store: "S3",
            source: Box::new(NoKey {
                path: path.clone(),
                error,
            }),
        }),
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bucket {} at {}", self.name, self.endpoint)
    }
}

impl Bucket {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When it cannot be reached like this, whatever the store says.
    pub(super) fn new(address: Address<'_>, key: Key) -> anyhow::Result<Self> {
        let mut endpoint = address.endpoint.clone();
        if !address.in_path {
            let host = endpoint.host_str().unwrap_or_default();
            let of_the_bucket = format!("{}.{host}", address.name);
            if endpoint.set_host(Some(&of_the_bucket)).is_err() {
                anyhow::bail!("{of_the_bucket} is no name of a host: leave MESO_INVOICE_BUCKET_IN_PATH true");
            }
        }
        let mut connections = ClientOptions::new()
            .with_connect_timeout(CONNECTION)
            .with_timeout(PATIENCE)
            .with_allow_http(endpoint.scheme() == "http");
        for authority in address.authorities {
            connections = connections.with_root_certificate(authority);
        }
        // Every field by hand: from_env() would take keys and roles from wherever the machine offers some.
        let client = AmazonS3Builder::new()
            .with_bucket_name(address.name)
            .with_endpoint(endpoint.as_str().trim_end_matches('/'))
            .with_region(address.region)
            .with_virtual_hosted_style_request(!address.in_path)
            .with_credentials(Arc::new(key))
            .with_client_options(connections)
            // We have pauses of our own, and documents do not wait for each other.
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            .build()?;
        Ok(Self {
            client,
            name: address.name.to_owned(),
            endpoint: address.endpoint.as_str().trim_end_matches('/').to_owned(),
            prefix: address.prefix.to_owned(),
            read: Mutex::default(),
        })
    }

    pub(super) fn key(&self, file: FileName<'_>) -> String {
        format!("{}{}/{}", self.prefix, file.folder, file.name)
    }

    pub(super) async fn held(&self, file: FileName<'_>) -> Result<Option<String>, String> {
        let key = self.key(file);
        let read = locked(&self.read).get(&key).cloned();
        let unless_known = GetOptions {
            if_none_match: read.as_ref().map(|read| read.etag.clone()),
            ..GetOptions::default()
        };
        let answer = match self
            .client
            .get_opts(&Path::from(key.as_str()), unless_known)
            .await
        {
            Ok(answer) => answer,
            Err(Error::NotModified { .. }) if read.is_some() => return Ok(read.map(|read| read.sha256)),
            Err(error @ Error::NotFound { .. }) if code(&error).as_deref() != Some("NoSuchBucket") => {
                locked(&self.read).remove(&key);
                return Ok(None);
            }
            Err(error) => return Err(self.in_words(&error)),
        };
        let etag = answer.meta.e_tag.clone();
        let mut hash = Hash::new(&SHA256);
        // Somebody may have put there what does not fit into memory.
        let mut pieces = answer.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(|error| self.in_words(&error))? {
            hash.update(&piece);
        }
        let sha256: String = hash
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if let Some(etag) = etag {
            let sha256 = sha256.clone();
            locked(&self.read).insert(key, Read { etag, sha256 });
        }
        Ok(Some(sha256))
    }

    pub(super) async fn put(&self, file: FileName<'_>, bytes: Vec<u8>) -> Result<Put, String> {
        let key = Path::from(self.key(file));
        let as_new = PutOptions {
            mode: PutMode::Create,
            attributes: Attributes::from_iter([(Attribute::ContentType, file.media_type)]),
            ..PutOptions::default()
        };
        let mut over = as_new.clone();
        let mut put = self.client.put_opts(&key, bytes.clone().into(), as_new).await;
        if put
            .as_ref()
            .is_err_and(|error| code(error).as_deref() == Some("NotImplemented"))
        {
            over.mode = PutMode::Overwrite;
            put = self.client.put_opts(&key, bytes.into(), over).await;
        }
        match put {
            Ok(_) => Ok(Put::Done),
            Err(Error::AlreadyExists { .. }) => Ok(Put::Taken),
            Err(error) => Err(self.in_words(&error)),
        }
    }

    /// A sentence for the administrator, without a word of the store's but its code.
    fn in_words(&self, error: &Error) -> String {
        if let Some(no_key) = cause::<NoKey>(error) {
            return no_key.to_string();
        }
        if let Some(http) = cause::<HttpError>(error) {
            let why = match http.kind() {
                HttpErrorKind::Timeout => "it took too long".to_owned(),
                _ => innermost(http),
            };
            return format!(
                "{self} does not answer ({why}): see that it runs and can be reached from the operator; it is tried again by itself"
            );
        }
        let code = code(error);
        match (code.as_deref(), error) {
            (Some("NoSuchBucket"), _) => format!(
                "{self} is not there: make it, or write another name into MESO_INVOICE_BUCKET; it is tried again by itself"
            ),
            (Some(code @ ("InvalidAccessKeyId" | "SignatureDoesNotMatch")), _) => {
                format!(
                    "{self} does not take the operator's key ({code}): renew it; it is tried again by itself"
                )
            }
            (code, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => format!(
                "{self} does not let the operator's key read and write objects ({}): allow s3:GetObject, s3:PutObject and s3:ListBucket; it is tried again by itself",
                code.unwrap_or("AccessDenied")
            ),
            (Some(code), _) => {
                format!("{self} refuses what is asked of it ({code}); it is tried again by itself")
            }
            (None, _) => {
                format!(
                    "{self} gives an answer that is none of S3's: see that MESO_INVOICE_BUCKET_ENDPOINT is its address; it is tried again by itself"
                )
            }
        }
    }
}

/// The first cause of this kind.
fn cause<E: std::error::Error + 'static>(error: &Error) -> Option<&E> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The last reason: of the network or of TLS. It holds an address at most.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The code of the store's error (Amazon S3 API Reference, "Error responses"): one word of its document, and nothing else
/// of it. Some stores have codes of their own, but letters they all are.
fn code(error: &Error) -> Option<String> {
    let told = error.to_string();
    let (_, from) = told.split_once("<Code>")?;
    let (code, _) = from.split_once("</Code>")?;
    (code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric())).then(|| code.to_owned())
}
