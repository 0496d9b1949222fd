//! What the driver's client was made of, as far as it may be renewed.

use mongodb::options::{ClientOptions, Tls};
use secrecy::{ExposeSecret as _, SecretString};

/// The URL with its login, and the files that it names.
#[derive(Clone)]
pub(super) struct Made {
    url: SecretString,
    /// No content where one cannot be read.
    files: Vec<Option<Vec<u8>>>,
}

impl Made {
    /// Of this URL, which says these options, and of its files as they are now.
    pub(super) async fn of(url: SecretString, options: &ClientOptions) -> Self {
        let paths = match &options.tls {
            Some(Tls::Enabled(tls)) => [tls.ca_file_path.as_ref(), tls.cert_key_file_path.as_ref()],
            Some(Tls::Disabled) | None => [None, None],
        };
        let mut files = Vec::new();
        for path in paths.into_iter().flatten() {
            files.push(tokio::fs::read(path).await.ok());
        }
        Self { url, files }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.url.expose_secret() == other.url.expose_secret() && self.files == other.files
    }
}

/// Without what is in it, since it has a password.
impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made")
    }
}
