//! A process of user service whose port speaks TLS.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use testkit::admin_port::told;
use testkit::{Authority, Service, Subject, TlsFiles, wait_until};

const SERVES_WITHIN: Duration = Duration::from_secs(30);
/// The folder of its certificate.
const FOLDER: &str = "tls";

/// The process.
pub(super) struct Encrypted {
    pub(super) service: Service,
    /// The authority of its certificate.
    pub(super) ca: PathBuf,
}

impl Encrypted {
    /// Another process of `plain`, with its certificate in `folder`.
    pub(super) async fn beside(plain: &Service, folder: &Path) -> Result<Self> {
        let authority = Authority::new("bench")?;
        #[expect(clippy::disallowed_methods, reason = "certificates are checked by the machine's clock")]
        let now = SystemTime::now().into();
        let subject = Subject::local("spiffe://tristore.test/user-service", now);
        let folder = folder.join(FOLDER);
        std::fs::create_dir_all(&folder).context("making the folder of a certificate")?;
        let files = TlsFiles::write(&folder, &authority.issue(&subject)?, &authority.pem())?;
        let service = plain.replica_with(|launch| {
            for (name, file) in
                [("TLS_CERTIFICATE", &files.certificate), ("TLS_KEY", &files.key), ("TLS_CA", &files.ca)]
            {
                launch.env.push((name.to_owned(), file.display().to_string()));
            }
        })?;
        // Health is asked over TLS; the admin port says the same in the clear.
        let log = || format!("its log ends:\n{}", service.log().tail(15));
        wait_until(SERVES_WITHIN, "user-service with TLS to serve", async || {
            let answer = told(&service.admin_address(), "/readyz").await?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            Ok(())
        })
        .await
        .with_context(log)?;
        Ok(Self { service, ca: files.ca })
    }
}
