//! A certificate authority for each fake.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A server's certificate for `localhost` and 127.0.0.1, and its certificate authority.
pub(crate) struct Identity {
    pub(crate) ca_pem: String,
    pub(crate) acceptor: TlsAcceptor,
}

impl Identity {
    pub(crate) fn new() -> Identity {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "fake-aws test authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate().expect("a key pair for the authority");
        let authority = CertifiedIssuer::self_signed(authority, authority_key).expect("the authority signs itself");

        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server_key = KeyPair::generate().expect("a key pair for the server");
        let server = CertificateParams::new(names)
            .and_then(|params| params.signed_by(&server_key, &authority))
            .expect("the authority signs the server's certificate");

        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![server.der().clone()], key)
            .expect("the certificate matches its key");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Identity { ca_pem: authority.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}
