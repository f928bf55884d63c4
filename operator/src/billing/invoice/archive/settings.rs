//! Where issued documents are delivered to: a folder or a bucket, as the operator is told from outside.

use super::bucket::{Address, Bucket, Key};
use super::folder::Folder;
use super::{Archive, Place, is_one_name};
use crate::address::{Unsafe, bare};
use anyhow::{Context as _, bail};
use clap::Args;
use object_store::Certificate;
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

/// The variables of the bucket's key, as all programs of S3 have them. They are no flags: what is on a command line is
/// read by everybody on the machine.
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// The other half.
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";

/// Where issued documents are delivered to; nowhere when nothing is set.
#[derive(Args, Clone, Debug)]
pub struct InvoiceSettings {
    /// Folder that issued invoices are written to, each series in a folder of its own [default: none, they are written nowhere]
    #[arg(
        long = "invoice-folder",
        env = "MESO_INVOICE_FOLDER",
        value_name = "FOLDER",
        id = "invoice_folder"
    )]
    pub folder: Option<PathBuf>,
    /// Bucket of an S3-compatible store that issued invoices are written to instead; its key is in AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY, or in files
    #[arg(
        long = "invoice-bucket",
        env = "MESO_INVOICE_BUCKET",
        value_name = "NAME",
        id = "invoice_bucket"
    )]
    pub bucket: Option<BucketName>,
    /// The store's address, for example https://s3.example.org
    #[arg(
        long = "invoice-bucket-endpoint",
        env = "MESO_INVOICE_BUCKET_ENDPOINT",
        value_name = "URL",
        id = "invoice_bucket_endpoint"
    )]
    pub endpoint: Option<Endpoint>,
    /// The bucket's region
    #[arg(
        long = "invoice-bucket-region",
        env = "MESO_INVOICE_BUCKET_REGION",
        value_name = "REGION",
        id = "invoice_bucket_region",
        default_value = "us-east-1"
    )]
    pub region: String,
    /// What all keys in it begin with, without a slash at its end [default: nothing, the series' folder comes first]
    #[arg(
        long = "invoice-bucket-prefix",
        env = "MESO_INVOICE_BUCKET_PREFIX",
        value_name = "PREFIX",
        id = "invoice_bucket_prefix"
    )]
    pub prefix: Option<Prefix>,
    /// Whether the bucket is in the path of its addresses (https://s3.example.org/BUCKET), and not in the host's name
    #[arg(
        long = "invoice-bucket-in-path",
        env = "MESO_INVOICE_BUCKET_IN_PATH",
        value_name = "BOOL",
        id = "invoice_bucket_in_path",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub in_path: bool,
    /// Certificate authority of the store's certificate, in PEM [default: the system's]
    #[arg(
        long = "invoice-bucket-cacert",
        env = "MESO_INVOICE_BUCKET_CACERT",
        value_name = "FILE",
        id = "invoice_bucket_authority"
    )]
    pub authority: Option<PathBuf>,
    /// File with the id of the bucket's access key, read anew for each request
    #[arg(
        long = "invoice-bucket-key-id-file",
        env = "MESO_INVOICE_BUCKET_KEY_ID_FILE",
        value_name = "FILE",
        id = "invoice_bucket_key_id_file",
        requires = "invoice_bucket_secret_file"
    )]
    pub key_id_file: Option<PathBuf>,
    /// File with its secret, read anew for each request
    #[arg(
        long = "invoice-bucket-secret-file",
        env = "MESO_INVOICE_BUCKET_SECRET_FILE",
        value_name = "FILE",
        id = "invoice_bucket_secret_file",
        requires = "invoice_bucket_key_id_file"
    )]
    pub secret_file: Option<PathBuf>,
}

/// A bucket's name.
#[derive(Clone, Debug)]
pub struct BucketName(String);

impl FromStr for BucketName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if (3..=255).contains(&text.len()) && text.chars().all(is_name) && !text.starts_with('.') {
            Ok(Self(text.to_owned()))
        } else {
            Err("a bucket's name is of at least three letters, digits, hyphens, dots or underscores")
        }
    }
}

/// A store's address: https, or http to this very machine.
#[derive(Clone, Debug)]
pub struct Endpoint(Url);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why}: write for example https://s3.example.org");
        bare(text).map(Self).map_err(|error| match error {
            Unsafe::NoUrl(why) => wrong(&format!("it is no URL, {why}")),
            Unsafe::NotBare => wrong("it is more than a scheme, a host and a port"),
            Unsafe::InTheClear => wrong("invoices would cross the network in the clear"),
            Unsafe::NotHttps => wrong("the store is reached by https"),
        })
    }
}

/// What all keys begin with: names with slashes between them, and one at the end.
#[derive(Clone, Debug)]
pub struct Prefix(String);

impl FromStr for Prefix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.split('/').all(is_one_name) {
            Ok(Self(format!("{text}/")))
        } else {
            Err(
                "write names of letters, digits, hyphens and dots, with slashes between them: for example compta/factures",
            )
        }
    }
}

impl InvoiceSettings {
    /// Where documents are delivered to, if anywhere; nothing is asked of it yet.
    ///
    /// # Errors
    /// When it is in two places, or lacks what it takes to reach it.
    pub fn archive(&self) -> anyhow::Result<Option<Archive>> {
        self.archive_with(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn archive_with(&self, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Archive>> {
        let place = match (&self.folder, &self.bucket) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => bail!(
                "MESO_INVOICE_FOLDER and MESO_INVOICE_BUCKET are both set, and invoices are delivered to one place: leave one of them out"
            ),
            (Some(folder), None) => Place::Folder(Folder::new(folder.clone())),
            (None, Some(name)) => {
                let endpoint = self.endpoint.as_ref().with_context(|| {
                    format!(
                        "where the bucket {} is, is not said: set MESO_INVOICE_BUCKET_ENDPOINT",
                        name.0
                    )
                })?;
                let address = Address {
                    name: &name.0,
                    endpoint: &endpoint.0,
                    region: &self.region,
                    prefix: self.prefix.as_ref().map_or("", |prefix| &prefix.0),
                    in_path: self.in_path,
                    authorities: self.authorities()?,
                };
                Place::Bucket(Bucket::new(address, self.key(variable)?)?)
            }
        };
        Ok(Some(Archive::new(place)))
    }

    fn key(&self, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Key> {
        if let (Some(id), Some(secret)) = (self.key_id_file.clone(), self.secret_file.clone()) {
            return Ok(Key::Files { id, secret });
        }
        match (variable(KEY_ID), variable(SECRET)) {
            (Some(id), Some(secret)) => Ok(Key::Environment { id, secret }),
            _ => bail!(
                "there is no key for the bucket: set {KEY_ID} and {SECRET}, or MESO_INVOICE_BUCKET_KEY_ID_FILE and MESO_INVOICE_BUCKET_SECRET_FILE"
            ),
        }
    }

    fn authorities(&self) -> anyhow::Result<Vec<Certificate>> {
        let Some(file) = &self.authority else {
            return Ok(Vec::new());
        };
        let pem = std::fs::read(file)
            .with_context(|| format!("reading {} of MESO_INVOICE_BUCKET_CACERT", file.display()))?;
        let all = Certificate::from_pem_bundle(&pem)
            .with_context(|| format!("{} of MESO_INVOICE_BUCKET_CACERT", file.display()))?;
        if all.is_empty() {
            bail!(
                "{} of MESO_INVOICE_BUCKET_CACERT holds no certificate in PEM",
                file.display()
            );
        }
        Ok(all)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        invoices: InvoiceSettings,
    }

    fn archive(flags: &[&str], key: Option<&str>) -> Result<String, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings =
            Alone::try_parse_from([&["operator"], flags].concat()).map_err(|error| error.to_string())?;
        settings
            .invoices
            .archive_with(|_| key.map(str::to_owned))
            .map(|archive| format!("{archive:?}"))
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn documents_are_delivered_to_one_place_that_can_be_reached_and_its_key_is_never_shown() {
        let bucket = [
            "--invoice-bucket=factures",
            "--invoice-bucket-endpoint=https://s3.test",
        ];
        assert_eq!(archive(&[], None).unwrap(), "None");
        assert!(archive(&["--invoice-folder=/x"], None).unwrap().contains("/x"));
        let shown = archive(&bucket, Some("s3cr3t")).unwrap();
        assert!(shown.contains("factures") && !shown.contains("s3cr3t"), "{shown}");
        for (flags, sentence) in [
            (&[bucket[0]][..], "set MESO_INVOICE_BUCKET_ENDPOINT"),
            (&bucket, "there is no key for the bucket"),
            (
                &[bucket[0], bucket[1], "--invoice-folder=/x"],
                "leave one of them out",
            ),
            (
                &[bucket[0], bucket[1], "--invoice-bucket-key-id-file=/x"],
                "--invoice-bucket-secret-file",
            ),
            (&["--invoice-bucket-endpoint=http://s3.test"], "in the clear"),
            (&["--invoice-bucket=a/b"], "a bucket's name is"),
            (&["--invoice-bucket-prefix=/a/"], "with slashes between them"),
        ] {
            let error = archive(flags, None).unwrap_err();
            assert!(error.contains(sentence), "{flags:?}: {error}");
        }
        let of_an_address = [
            "--invoice-bucket=factures",
            "--invoice-bucket-endpoint=http://127.0.0.1:1",
            "--invoice-bucket-in-path=false",
        ];
        assert!(
            archive(&of_an_address, Some("k"))
                .unwrap_err()
                .contains("MESO_INVOICE_BUCKET_IN_PATH")
        );
    }
}
