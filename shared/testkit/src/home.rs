//! Folders of the user for what is kept between runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::unistd::{Uid, User};
use uuid::Uuid;

use crate::env;

/// The first home folder that programs can write to: `HOME`, else that of the account. A container or a CI machine may
/// set `HOME` to a folder that is missing or read-only.
pub(crate) fn writable() -> Option<&'static PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| homes().find(|home| is_writable(home))).as_ref()
}

/// The cache: where it is already, though it may be read-only there, else the first place where it can be made.
pub(crate) fn cache() -> Option<PathBuf> {
    let roots = || env::path("XDG_CACHE_HOME").into_iter().chain(homes().map(|home| home.join(".cache")));
    let existing = roots().map(|root| root.join("tristore")).find(|cache| cache.is_dir());
    existing.or_else(|| roots().find(|root| can_be_made(root)).map(|root| root.join("tristore")))
}

fn homes() -> impl Iterator<Item = PathBuf> {
    let of_account = || User::from_uid(Uid::effective()).ok().flatten().map(|user| user.dir);
    env::path("HOME").into_iter().chain(of_account())
}

fn can_be_made(folder: &Path) -> bool {
    folder.ancestors().find(|above| above.exists()).is_some_and(is_writable)
}

/// Tries it: root is allowed to write anywhere, even where nothing can be written.
fn is_writable(folder: &Path) -> bool {
    let probe = folder.join(format!(".tristore-{}", Uuid::new_v4().simple()));
    File::create_new(&probe).and_then(|_| fs::remove_file(&probe)).is_ok()
}
