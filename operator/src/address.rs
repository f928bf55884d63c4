//! Addresses of what the operator speaks to with a secret.

use url::{Host, Url};

/// What cannot be spoken to safely, and why not.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsafe {
    /// No URL at all, in the parser's words.
    NoUrl(String),
    /// More than a scheme, a host and a port.
    NotBare,
    /// http, to another machine.
    InTheClear,
    /// Another scheme.
    NotHttps,
}

/// A scheme, a host and a port: https, or http to this very machine.
///
/// # Errors
/// What is wrong with it. It may hold a password, and is not repeated.
pub fn bare(text: &str) -> Result<Url, Unsafe> {
    let url = Url::parse(text).map_err(|error| Unsafe::NoUrl(error.to_string()))?;
    let is_bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        _ if url.host().is_none() || !is_bare => Err(Unsafe::NotBare),
        "https" => Ok(url),
        "http" if is_local => Ok(url),
        "http" => Err(Unsafe::InTheClear),
        _ => Err(Unsafe::NotHttps),
    }
}
