//! A system, and what watches it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use testkit::{
    Authority, DatabaseOptions, Exported, Exporter, Issued, Lifetime, Port, Prometheus, Service, ServiceName,
    ServiceOptions, Subject, TlsFiles,
};
use tests::{System, tool};
use time::Duration;
use types::{Clock as _, SystemClock};

use super::config::{Targets, config};

/// The name in the certificate of session service.
const ID: &str = "spiffe://trust.example/session";

/// A system with Prometheus and with exporters of the databases that have one here.
pub(super) struct Watched {
    pub(super) system: System,
    pub(super) prometheus: Prometheus,
    /// A second session service, whose port speaks TLS.
    pub(super) secured: Secured,
    _exporters: Vec<Exporter>,
}

/// How a system is watched.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// `rules.yml`.
    pub(super) rules: String,
    /// More variables for every service.
    pub(super) settings: Vec<(&'static str, String)>,
    pub(super) databases: DatabaseOptions,
    pub(super) services: ServiceOptions,
}

/// Whether all programs are here that a test needs. It is skipped if not.
pub(super) fn has_programs(test: &str) -> bool {
    let names = ["prometheus", Exported::Postgres("").program(), Exported::Redis("").program()];
    let found: Option<Vec<PathBuf>> = names.iter().map(|name| tool::find(name, test)).collect();
    found.is_some()
}

impl Watched {
    pub(super) async fn start(options: Options) -> Result<Self> {
        let Options { rules, settings, databases, mut services } = options;
        for service in ServiceName::ALL {
            let own = settings.iter().map(|(name, value)| (service, (*name).to_owned(), value.clone()));
            services.env.extend(own);
        }
        let system = System::start_with(databases, services).await?;
        let databases = &system.stack.databases;
        let state = databases.state();
        let secured = Secured::beside(&system)?;

        let urls = databases.urls_for_services().await?;
        let mut exporters = Vec::new();
        let mut targets = Targets::default();
        for (job, of) in [
            ("postgresql", Exported::Postgres(&urls.postgres)),
            ("redis", Exported::Redis(&urls.redis_session)),
        ] {
            let exporter = Exporter::start(state, of, Port::Free, Lifetime::WithParent).await.context(job)?;
            targets.add(job, format!("127.0.0.1:{}", exporter.port()));
            exporters.push(exporter);
        }
        for name in ServiceName::ALL {
            targets.add(name.binary(), system.stack.services.get(name).admin_address());
        }
        targets.add(secured.service.name().binary(), secured.service.admin_address());
        let port = Port::Free.choose()?;
        targets.add("prometheus", format!("127.0.0.1:{port}"));
        let config = config(&targets)?;
        let prometheus =
            Prometheus::start(state, &config, &rules, Port::Fixed(port), Lifetime::WithParent).await?;
        Ok(Self { system, prometheus, secured, _exporters: exporters })
    }
}

/// A second session service with a certificate, beside the first. Its peers do not call it.
pub(super) struct Secured {
    pub(super) service: Service,
    /// Its certificate.
    pub(super) files: TlsFiles,
    authority: Authority,
}

impl Secured {
    fn beside(system: &System) -> Result<Self> {
        let authority = Authority::new("tests")?;
        let folder = system.stack.databases.state().folder("session-tls")?;
        let files = TlsFiles::write(&folder, &issue(&authority, Duration::DAY)?, &authority.pem())?;
        let first = system.stack.services.get(ServiceName::Session);
        let service = first.replica_with(|launch| {
            let paths =
                [("TLS_CERTIFICATE", &files.certificate), ("TLS_KEY", &files.key), ("TLS_CA", &files.ca)];
            let paths = paths.map(|(name, path)| (name.to_owned(), path.display().to_string()));
            launch.env.extend(paths);
            launch.env.push(("TLS_PEER_IDS".to_owned(), format!("session-service={ID}")));
        })?;
        Ok(Self { service, files, authority })
    }

    /// Another certificate of the same service, for so long from now.
    pub(super) fn issue(&self, valid_for: Duration) -> Result<Issued> {
        issue(&self.authority, valid_for)
    }
}

fn issue(authority: &Authority, valid_for: Duration) -> Result<Issued> {
    let now = SystemClock.now();
    let mut subject = Subject::local(ID, now);
    subject.valid.1 = now + valid_for;
    authority.issue(&subject)
}
