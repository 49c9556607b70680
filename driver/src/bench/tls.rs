//! TLS: the system's certificates, and one more on request.

use crate::failure::Failure;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Trusts the system's certificates, and those in `pem`.
///
/// # Errors
/// [`Failure::Invalid`] where `pem` has no certificate; [`Failure::Failed`] where there is none at all.
pub(super) fn connector(pem: Option<&Path>) -> Result<TlsConnector, Failure> {
    let mut config = configuration(pem, true)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The same, with no protocol negotiated; where none is `needed`, without certificates if need be.
///
/// # Errors
/// As [`connector`].
pub(crate) fn configuration(pem: Option<&Path>, needed: bool) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = pem {
        let invalid = |why: &dyn std::fmt::Display| Failure::Invalid(format!("--cacert {}: {why}", path.display()));
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| invalid(&error))?;
        let before = roots.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| invalid(&error))?;
            roots.add(certificate).map_err(|error| invalid(&error))?;
        }
        if roots.len() == before {
            return Err(invalid(&"it holds no certificate; a PEM file is expected"));
        }
    }
    if needed && roots.is_empty() {
        return Err(Failure::Failed(
            "https: the system has no certificates to trust; install ca-certificates or name a file with --cacert"
                .to_owned(),
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Failed(format!("https: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
