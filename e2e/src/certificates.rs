//! Certificates of the development control plane: one authority, the API server's, and one for each user.

use crate::paths;
use crate::process::run;
use crate::state::{random_hex, write_secret};
use anyhow::{Context, Result};
use mesocentre_api::SYSTEM_NAMESPACE;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::path::PathBuf;
use tokio::process::Command;

/// The common name of the API server as a front proxy.
pub const FRONT_PROXY: &str = "front-proxy-client";

/// Where they are.
pub fn folder() -> PathBuf {
    paths::state().join("pki")
}

/// A certificate and its key, in PEM.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// Makes the authority, the API server's certificates, and the key that signs service accounts' tokens, once.
pub fn make() -> Result<()> {
    if !folder().join("apiserver.crt").exists() {
        make_servers()?;
    }
    if !folder().join("apiserver-kubelet.crt").exists() {
        make_kubelets_client()?;
    }
    if !folder().join("front-proxy.crt").exists() {
        make_front_proxy()?;
    }
    Ok(())
}

/// What the API server shows when it sends a request on in a user's name, of an authority of its own: whoever else the
/// stack's authority certifies must not be able to say who they are.
fn make_front_proxy() -> Result<()> {
    let (authority, key) = authority("mesocentre development front proxy")?;
    fs::write(folder().join("front-proxy-ca.crt"), &authority)?;
    let mut client = CertificateParams::default();
    client.distinguished_name.push(DnType::CommonName, FRONT_PROXY);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = signed_by(client, &authority, key)?;
    write_secret(&folder().join("front-proxy.key"), client.key.as_bytes())?;
    fs::write(folder().join("front-proxy.crt"), client.certificate)?;
    Ok(())
}

/// The certificate of what serves outputs, by the name that the API server asks for.
pub fn make_output() -> Result<()> {
    let names = vec![format!("mesocentre-output.{SYSTEM_NAMESPACE}.svc")];
    let mut server = CertificateParams::new(names)?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = sign(server)?;
    write_secret(&folder().join("output.key"), server.key.as_bytes())?;
    fs::write(folder().join("output.crt"), server.certificate)?;
    Ok(())
}

/// The certificate by which the operator takes use that others measure, on this machine.
pub fn make_intake() -> Result<()> {
    if folder().join("intake.crt").exists() {
        return Ok(());
    }
    let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = sign(server)?;
    write_secret(&folder().join("intake.key"), server.key.as_bytes())?;
    fs::write(folder().join("intake.crt"), server.certificate)?;
    Ok(())
}

/// What the API server shows to the kubelet, which asks it whether that user may read logs.
fn make_kubelets_client() -> Result<()> {
    let mut client = CertificateParams::default();
    client
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver-kubelet-client");
    client
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = sign(client)?;
    write_secret(&folder().join("apiserver-kubelet.key"), client.key.as_bytes())?;
    fs::write(folder().join("apiserver-kubelet.crt"), client.certificate)?;
    Ok(())
}

fn make_servers() -> Result<()> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;

    let (authority, key) = authority("mesocentre development")?;
    fs::write(folder.join("ca.crt"), authority)?;
    write_secret(&folder.join("ca.key"), key.serialize_pem().as_bytes())?;

    let tokens = KeyPair::generate()?;
    fs::write(folder.join("tokens.pub"), tokens.public_key_pem())?;
    write_secret(&folder.join("tokens.key"), tokens.serialize_pem().as_bytes())?;

    let names = [
        "localhost",
        "127.0.0.1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "10.96.0.1",
    ];
    let mut server = CertificateParams::new(names.map(String::from).to_vec())?;
    server
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = sign(server)?;
    write_secret(&folder.join("apiserver.key"), server.key.as_bytes())?;
    fs::write(folder.join("apiserver.crt"), server.certificate)?;
    Ok(())
}

/// A request for a client certificate: the API server takes the common name for the user, the organisations for groups.
/// By openssl: rcgen's names hold one organisation, and a user has several groups.
pub async fn request(user: &str, groups: &[String]) -> Result<Identity> {
    let mut subject = format!("/CN={}", escaped(user));
    for group in groups {
        subject += &format!("/O={}", escaped(group));
    }
    let key = KeyPair::generate()?.serialize_pem();
    let file = folder().join(format!("request-{}.key", random_hex(6)?));
    fs::create_dir_all(folder())?;
    write_secret(&file, key.as_bytes())?;
    let request = run(Command::new("openssl")
        .args(["req", "-new", "-utf8", "-subj", &subject])
        // An extension makes it a certificate of version 3: rustls takes no other.
        .args(["-addext", "extendedKeyUsage=clientAuth", "-key"])
        .arg(&file))
    .await;
    fs::remove_file(&file)?;
    Ok(Identity {
        certificate: request?,
        key,
    })
}

/// A client certificate of our own authority.
pub async fn client(user: &str, groups: &[String]) -> Result<Identity> {
    let Identity {
        certificate: request,
        key,
    } = request(user, groups).await?;
    let folder = folder();
    let file = folder.join(format!("request-{}.csr", random_hex(6)?));
    fs::write(&file, request)?;
    let serial = format!("0x{}", random_hex(16)?);
    let certificate = run(Command::new("openssl")
        .args([
            "x509",
            "-req",
            "-days",
            "365",
            "-copy_extensions",
            "copyall",
            "-set_serial",
            &serial,
            "-in",
        ])
        .arg(&file)
        .arg("-CA")
        .arg(folder.join("ca.crt"))
        .arg("-CAkey")
        .arg(folder.join("ca.key")))
    .await;
    fs::remove_file(&file)?;
    Ok(Identity {
        certificate: certificate?,
        key,
    })
}

/// A value inside openssl's `-subj`.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('/', r"\/").replace('+', r"\+")
}

/// An authority that signs itself: its certificate, and its key.
fn authority(name: &str) -> Result<(String, KeyPair)> {
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((authority.self_signed(&key)?.pem(), key))
}

fn sign(params: CertificateParams) -> Result<Identity> {
    let folder = folder();
    let authority = fs::read_to_string(folder.join("ca.crt")).context("reading the development authority")?;
    let key = KeyPair::from_pem(&fs::read_to_string(folder.join("ca.key"))?)?;
    signed_by(params, &authority, key)
}

fn signed_by(params: CertificateParams, authority: &str, authority_key: KeyPair) -> Result<Identity> {
    let issuer = Issuer::from_ca_cert_pem(authority, authority_key)?;
    let key = KeyPair::generate()?;
    Ok(Identity {
        certificate: params.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
    })
}
