//! A program that passes for MongoDB's own server in tests of how that is started. What it is like is in `fake_mongod/`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{programs, quote};

/// Makes a `mongod` that says that it is of this version. It is in a folder that is closed to all others, as the home
/// folder of root is, within `folder`, which the databases' accounts must be able to enter. `built` is the binary
/// `fake-mongod`.
///
/// # Errors
/// When the stand-in, which works behind it, is missing, or a file cannot be written.
pub fn fake_mongod(folder: &Path, built: &Path, version: &str) -> Result<PathBuf> {
    let home = folder.join(format!("mongod-{version}"));
    for (path, mode) in [(folder, 0o755), (&home, 0o700)] {
        fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let stand_in = programs::secantus_root()?.join("bin/secantusd-rs");
    let copies = [(built, "fake"), (&stand_in, "behind")].map(|(program, name)| {
        let copy = folder.join(name);
        fs::copy(program, &copy).with_context(|| format!("copying {}", program.display()))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        anyhow::Ok(quote::shell(&copy.to_string_lossy()))
    });
    let [fake, behind] = copies;
    let program = home.join("mongod");
    fs::write(&program, format!("#!/bin/sh\nexec {} {} {version} \"$@\"\n", fake?, behind?))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}
