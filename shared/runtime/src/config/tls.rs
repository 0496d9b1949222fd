//! TLS, and which connections of a service must be encrypted.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use types::DatabaseUrl;

use super::ServiceTokenConfig;
use super::database_url::is_encrypted;
use crate::tls::PeerIds;

/// TLS, with certificates on both sides, for the own port and for calls to peers. The files are read again every ten
/// seconds.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "TLS")]
pub struct TlsConfig {
    /// PEM file with the own certificate, and behind it those that lead from it to an authority. Its one URI says whose it
    /// is. With it, a service's port speaks TLS and nothing else.
    #[arg(long, env = "TLS_CERTIFICATE", value_name = "PATH", global = true)]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with the key of that certificate.
    #[arg(long, env = "TLS_KEY", value_name = "PATH", global = true)]
    pub tls_key: Option<PathBuf>,
    /// PEM file with the authorities whose certificates are believed; two of them while one is replaced by the other.
    #[arg(long, env = "TLS_CA", value_name = "PATH", global = true)]
    pub tls_ca: Option<PathBuf>,
    /// Whose certificate is whose, as `user-service=spiffe://trust.example/user,order-service=spiffe://...`. A service may be
    /// named twice, while one id is replaced by another.
    #[arg(long, env = "TLS_PEER_IDS", value_name = "LIST", value_parser = PeerIds::parse, global = true)]
    pub tls_peer_ids: Option<PeerIds>,
    /// Do not start while anything is sent in the clear: on the own port, to a peer, to a database or to Redis; or while
    /// services show tokens and not certificates.
    #[arg(long, env = "REQUIRE_TLS", default_value_t = false, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", global = true)]
    pub require_tls: bool,
}

/// What a service connects to, and what it shows of itself there.
#[derive(Debug, Clone, Copy)]
pub struct Edges<'a> {
    /// The tokens by which services recognise each other.
    pub tokens: &'a ServiceTokenConfig,
    /// The peers.
    pub peers: &'a [PeerEdge<'a>],
    /// The addresses of databases and of Redis, each with its flag.
    pub databases: &'a [(&'static str, &'a DatabaseUrl)],
}

/// A peer that a service calls.
#[derive(Debug, Clone, Copy)]
pub struct PeerEdge<'a> {
    /// The flag of its address.
    pub flag: &'static str,
    /// Its name, such as `user-service`.
    pub name: &'static str,
    /// Its address.
    pub url: &'a str,
}

impl PeerEdge<'_> {
    fn is_encrypted(&self) -> bool {
        self.url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
    }
}

impl TlsConfig {
    /// Refuses settings that do not fit together, before anything is connected.
    ///
    /// # Errors
    /// When a service and its peers could not recognise each other, or `--require-tls` is given and something is in the
    /// clear. Names the flag.
    pub fn check(&self, edges: Edges<'_>) -> anyhow::Result<()> {
        for peer in edges.peers.iter().filter(|peer| peer.is_encrypted()) {
            recognisable(self.tls_ca.is_some(), self.tls_peer_ids.as_ref(), peer.name).context(peer.flag)?;
        }
        if edges.tokens.service_token.is_none() {
            let missing = "--service-token (SERVICE_TOKEN) is missing, and";
            ensure!(
                self.tls_certificate.is_some(),
                "{missing} without --tls-certificate no peer knows who calls"
            );
            if let Some(peer) = edges.peers.iter().find(|peer| !peer.is_encrypted()) {
                bail!("{missing} a peer at http:// does not know who calls: {}", peer.flag);
            }
        }
        if self.require_tls {
            self.check_required(edges).context("--require-tls (REQUIRE_TLS)")
        } else {
            Ok(())
        }
    }

    fn check_required(&self, edges: Edges<'_>) -> anyhow::Result<()> {
        ensure!(
            self.tls_certificate.is_some(),
            "--tls-certificate (TLS_CERTIFICATE) is missing, so the own port would be in the clear"
        );
        if let Some(peer) = edges.peers.iter().find(|peer| !peer.is_encrypted()) {
            bail!("{} names a peer at http://; write https://", peer.flag);
        }
        for (flag, url) in edges.databases {
            is_encrypted(url.now().expose_secret()).map_err(anyhow::Error::msg).context(*flag)?;
        }
        let ServiceTokenConfig { service_token, service_tokens } = edges.tokens;
        ensure!(
            service_token.is_none(),
            "--service-token (SERVICE_TOKEN) is given: services show certificates instead"
        );
        ensure!(
            service_tokens.is_none(),
            "--service-tokens (SERVICE_TOKENS) is given: services show certificates instead"
        );
        Ok(())
    }
}

/// Whether a service at `https://` can be told from others.
///
/// # Errors
/// When there are no authorities to check its certificate by, or its id is not listed.
pub(crate) fn recognisable(has_ca: bool, ids: Option<&PeerIds>, service: &str) -> anyhow::Result<()> {
    ensure!(has_ca, "https:// needs --tls-ca (TLS_CA), to know genuine certificates by");
    ensure!(
        ids.is_some_and(|ids| ids.has(service)),
        "https:// needs the id of {service} in --tls-peer-ids (TLS_PEER_IDS), to know the right certificate by"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCRYPTED: &str = "postgres://app:s3cret@db/orders?sslmode=verify-full";
    const PLAIN: &str = "postgres://app:s3cret@db/orders";

    fn tls(change: impl FnOnce(&mut TlsConfig)) -> TlsConfig {
        let ids = PeerIds::parse("user-service=spiffe://trust.example/user").unwrap();
        let mut config = TlsConfig {
            tls_certificate: Some("/tls.crt".into()),
            tls_key: Some("/tls.key".into()),
            tls_ca: Some("/ca.crt".into()),
            tls_peer_ids: Some(ids),
            require_tls: false,
        };
        change(&mut config);
        config
    }

    fn check(config: &TlsConfig, token: Option<&str>, url: &str, database: &str) -> Result<(), String> {
        let token: Option<secrecy::SecretString> = token.map(|token| token.to_owned().into());
        let tokens = ServiceTokenConfig { service_tokens: token.clone(), service_token: token };
        let database = database.into();
        let edges = Edges {
            tokens: &tokens,
            peers: &[PeerEdge { flag: "--user-url", name: "user-service", url }],
            databases: &[("--postgres-url", &database)],
        };
        config.check(edges).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_service_and_its_peers_recognise_each_other_by_tokens_or_by_certificates() {
        let (token, http, https) = (Some("s3cret"), "http://user:1", "HTTPS://user:1");
        let none = TlsConfig::default();
        assert_eq!(check(&none, token, http, PLAIN), Ok(()));
        assert_eq!(check(&tls(|_| {}), token, http, PLAIN), Ok(()));
        assert_eq!(check(&tls(|_| {}), None, https, PLAIN), Ok(()));
        let refused = [
            (
                none.clone(),
                None,
                http,
                "--service-token (SERVICE_TOKEN) is missing, and without --tls-certificate",
            ),
            (tls(|_| {}), None, http, "a peer at http:// does not know who calls: --user-url"),
            (none, token, https, "--user-url: https:// needs --tls-ca"),
            (
                tls(|config| config.tls_peer_ids = None),
                None,
                https,
                "--user-url: https:// needs the id of user-service",
            ),
        ];
        for (config, token, url, rule) in refused {
            let error = check(&config, token, url, PLAIN).unwrap_err();
            assert!(error.contains(rule) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn where_tls_is_required_nothing_is_in_the_clear() {
        let required = || tls(|config| config.require_tls = true);
        let https = "https://user:1";
        assert_eq!(check(&required(), None, https, ENCRYPTED), Ok(()));
        let bare = TlsConfig { tls_certificate: None, tls_key: None, ..required() };
        for (config, token, url, database, rule) in [
            (bare, Some("s3cret"), https, ENCRYPTED, "--tls-certificate (TLS_CERTIFICATE) is missing"),
            (required(), Some("s3cret"), "http://user:1", ENCRYPTED, "--user-url names a peer at http://"),
            (required(), None, https, PLAIN, "--postgres-url: is not encrypted"),
            (required(), Some("s3cret"), https, ENCRYPTED, "--service-token (SERVICE_TOKEN) is given"),
        ] {
            let error = check(&config, token, url, database).unwrap_err();
            assert!(error.starts_with("--require-tls (REQUIRE_TLS): "), "{error}");
            assert!(error.contains(rule) && !error.contains("s3cret"), "{error}");
        }
    }
}
