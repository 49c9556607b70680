//! TLS of a server: a certificate and its key, from PEM files.

use crate::failure::Failure;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Speaks TLS 1.2 and 1.3 with the certificates of one file, the server's own first, and the key of another.
///
/// # Errors
/// [`Failure::Invalid`], with the flag, the file and what is wrong with it.
pub fn acceptor(certificates: &Path, key: &Path) -> Result<TlsAcceptor, Failure> {
    let of = |flag: &str, file: &Path, why: &dyn Display| Failure::Invalid(format!("{flag} {}: {why}", file.display()));
    let wrong = |why: &dyn Display| of("--tls-cert", certificates, why);
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificates).map_err(|error| wrong(&error))?.collect();
    let chain = chain.map_err(|error| wrong(&error))?;
    if chain.is_empty() {
        return Err(wrong(&"it holds no certificate; a PEM file is expected"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| of("--tls-key", key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Failed(format!("TLS: {error}")))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| of("--tls-key", key, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
