//! Every program that is started from this workspace is started by a command from here, with an environment of our
//! making.
//!
//! A person's shell is set up for other servers, proxies and languages. What a program inherits from it leads it
//! astray: psql goes to another server, a compiled program lands in another folder. So a command begins with an empty
//! environment and gets what its kind of program needs, from a list. `tests/layers` refuses a command made elsewhere.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use crate::env;
use crate::home;

/// What a kind of program needs of our environment, beside `PATH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A server: nothing.
    Server,
    /// A tool: who uses it, and what the terminal can show.
    Tool,
    /// What fetches from the network: also the way there, and whose certificates are believed.
    Installer,
    /// What builds the workspace or runs its tests: also the settings of cargo, of compilers and of our own programs.
    Cargo,
}

/// Names that a kind of program gets; one with `*` stands for all that begin with the text before it.
const TOOL: &[&str] = &["USER", "LOGNAME", "TERM", "COLORTERM", "NO_COLOR", "CI"];
const INSTALLER: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "SSH_AUTH_SOCK",
    "npm_config_*",
    "PIP_*",
    "DOCKER_*",
];
/// No `RUSTFLAGS` and no target: what we build runs on this machine, and is found where cargo puts it by itself. All
/// that a build script may look at is here, since it would run again whenever we and a person build in turn.
const CARGO: &[&str] = &[
    "CARGO_HOME",
    "CARGO_INCREMENTAL",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
    "CARGO_BUILD_JOBS",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_NET_*",
    "CARGO_HTTP_*",
    "CARGO_REGISTR*",
    "CARGO_SOURCE_*",
    "CARGO_TERM_*",
    "CARGO_PROFILE_*",
    "RUSTUP_*",
    "RUSTC_WRAPPER",
    "SCCACHE_*",
    "RUST_*",
    "CC",
    "CC_*",
    "CXX",
    "CXX_*",
    "AR",
    "AR_*",
    "CFLAGS",
    "CFLAGS_*",
    "CXXFLAGS",
    "CXXFLAGS_*",
    "LDFLAGS",
    "LIBCLANG_PATH",
    "MONGOD",
    "JAEGER",
    "TRISTORE_*",
];

impl Kind {
    fn gets(self, name: &str) -> bool {
        let lists: &[&[&str]] = match self {
            Self::Server => &[],
            Self::Tool => &[TOOL],
            Self::Installer => &[TOOL, INSTALLER],
            Self::Cargo => &[TOOL, INSTALLER, CARGO],
        };
        let is_name = |listed: &&str| match listed.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *listed,
        };
        name == "PATH" || lists.concat().iter().any(is_name)
    }

    /// What it gets of the variables of `all`.
    fn of(
        self,
        all: impl Iterator<Item = (OsString, OsString)>,
    ) -> impl Iterator<Item = (OsString, OsString)> {
        all.filter(move |(name, _)| name.to_str().is_some_and(|name| self.gets(name)))
    }

    fn command(self, program: &OsStr) -> Command {
        let mut command = Command::new(program);
        // Messages are read by us and by people who report them, so they are in one language.
        command.env_clear().envs(self.of(std::env::vars_os())).env("LC_ALL", "C.UTF-8");
        match self {
            Self::Server => {}
            // Cargo and rustup find their own folders there, which need not be writable.
            Self::Cargo => {
                command.envs(env::path("HOME").map(|home| ("HOME", home)));
            }
            Self::Tool | Self::Installer => {
                command
                    .envs(home::writable().cloned().or_else(|| env::path("HOME")).map(|home| ("HOME", home)));
            }
        }
        command
    }
}

/// A server or a service: it gets `PATH` and nothing else.
pub(crate) fn server(program: impl AsRef<OsStr>) -> Command {
    Kind::Server.command(program.as_ref())
}

/// A tool that works on this machine: `psql`, `grpcurl`, `git`. It gets a home folder that it can write to, and knows
/// of no proxy.
#[must_use]
pub fn tool(program: impl AsRef<OsStr>) -> Command {
    Kind::Tool.command(program.as_ref())
}

/// A program that fetches from the network: `apt-get`, `npm`, `pip`. It gets a person's proxies and certificates.
#[must_use]
pub fn installer(program: impl AsRef<OsStr>) -> Command {
    Kind::Installer.command(program.as_ref())
}

/// Cargo: the one that runs us, or else the one on `PATH`.
///
/// It does not learn what cargo tells a program about itself (`CARGO_PKG_NAME` and the like): a build script that
/// reads one of these, as ring's does, would run again under each such program, and everything that depends on it
/// would be built again.
#[must_use]
pub fn cargo() -> Command {
    Kind::Cargo.command(env::path("CARGO").unwrap_or_else(|| "cargo".into()).as_os_str())
}

/// A program of this workspace that runs cargo itself, as xtask does.
#[must_use]
pub fn task(program: impl AsRef<OsStr>) -> Command {
    Kind::Cargo.command(program.as_ref())
}

/// A POSIX shell in which cargo can be run.
#[must_use]
pub fn shell() -> Command {
    task("sh")
}

/// `name=value`, as one argument.
pub(crate) fn option(name: &str, value: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push("=");
    option.push(value);
    option
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CLAIM: what a shell is set up with for other programs reaches none of ours.
    #[test]
    fn a_program_gets_what_its_kind_needs_and_nothing_else() {
        let lead_astray = [
            "PGHOST",
            "PGSSLMODE",
            "PGOPTIONS",
            "PGSERVICE",
            "REDISCLI_AUTH",
            "REDIS_URL",
            "MONGO_URL",
            "MONGODB_URL",
            "POSTGRES_URL",
            "ORDER_URL",
            "SERVICE_TOKEN",
            "LISTEN",
            "grpc_proxy",
            "LC_ALL",
            "LANG",
            "LANGUAGE",
            "TMPDIR",
            "GREP_OPTIONS",
            "POSIXLY_CORRECT",
            "BASH_ENV",
            "ENV",
            "CDPATH",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "PYTHONPATH",
            "PYTHONHOME",
            "NODE_OPTIONS",
            "PERL5OPT",
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
            "CARGO",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ];
        let network = [
            "http_proxy",
            "HTTPS_PROXY",
            "no_proxy",
            "NO_PROXY",
            "ALL_PROXY",
            "SSL_CERT_FILE",
            "NODE_EXTRA_CA_CERTS",
        ];
        let build = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_HOME", "RUSTUP_TOOLCHAIN", "CC"];
        let all = [&["PATH", "TERM"][..], &lead_astray, &network, &build].concat();
        let got = |kind: Kind| {
            let all = all.iter().map(|name| (OsString::from(name), OsString::from("x")));
            kind.of(all).filter_map(|(name, _)| name.into_string().ok()).collect::<Vec<_>>()
        };
        assert_eq!(got(Kind::Server), ["PATH"]);
        assert_eq!(got(Kind::Tool), ["PATH", "TERM"]);
        assert_eq!(got(Kind::Installer), [&["PATH", "TERM"][..], &network].concat());
        assert_eq!(got(Kind::Cargo), [&["PATH", "TERM"][..], &network, &build].concat());
    }

    #[test]
    fn a_program_sees_the_environment_that_it_was_given() {
        let seen = tool("env").env("GIVEN", "to it").output().unwrap();
        let seen = String::from_utf8(seen.stdout).unwrap();
        let names: Vec<&str> = seen.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.contains(&"GIVEN") && names.contains(&"LC_ALL") && names.contains(&"HOME"), "{seen}");
        let strange = names.iter().find(|name| name.starts_with("CARGO"));
        assert_eq!(strange, None, "cargo tells this test about itself, and that goes no further");
    }
}
