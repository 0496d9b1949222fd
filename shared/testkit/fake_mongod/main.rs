//! A program that behaves as MongoDB's own server does where starting it is difficult, for machines that cannot have that.
//! What it stores is stored by the stand-in, behind it.
//!
//! It keeps its replica set's configuration with its data and is a primary only on the port that this names. It asks for
//! users as soon as there is one. It refuses the files of other programs, a key that others may read, and arguments that
//! it does not know. It has no users inside the cluster, no elections and no members beside it.

mod connection;
mod replica_set;
mod wire;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testkit::{ReservedPort, wait_until};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use replica_set::ReplicaSet;

const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// The file by which mongod knows a data folder as its own.
const MARK: &str = "storage.bson";
/// The arguments that it knows, all with a value but the last.
const KNOWN: [&str; 9] = [
    "--dbpath",
    "--keyFile",
    "--port",
    "--bind_ip",
    "--replSet",
    "--oplogSize",
    "--wiredTigerCacheSizeGB",
    "--setParameter",
    "--nounixsocket",
];

/// Called with the path of the stand-in, the version to claim, and then as mongod is.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ended = match args.as_slice() {
        [_, version, flag] if flag == "--version" => {
            #[expect(clippy::print_stdout, reason = "it is a program that tells its version")]
            {
                println!("db version v{version}\nBuild Info: {{}}");
            }
            Ok(())
        }
        [stand_in, _, args @ ..] => serve(Path::new(stand_in), args).await,
        _ => Err(anyhow::anyhow!("two arguments come before mongod's")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("{error:#}"));
            ExitCode::from(100)
        }
    }
}

fn log(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

async fn serve(stand_in: &Path, args: &[String]) -> Result<()> {
    let args = parsed(args)?;
    let arg = |name: &str| args.get(name).with_context(|| format!("{name} is missing"));
    if std::env::var_os("GLIBC_TUNABLES").is_none() {
        log("Your system has glibc support for rseq built in, which is not yet supported by tcmalloc-google");
    }
    check_key(Path::new(arg("--keyFile")?))?;
    let data = PathBuf::from(arg("--dbpath")?);
    check_data(&data)?;
    let port: u16 = arg("--port")?.parse()?;
    let set = ReplicaSet::open(&data, arg("--replSet")?, port)?;
    let inner = ReservedPort::any()?.release();
    let mut server = start(stand_in, &data, inner)?;
    let answers = async || TcpStream::connect(("127.0.0.1", inner)).await;
    tokio::select! {
        answer = wait_until(STARTS_WITHIN, "the server behind", answers) => drop(answer?),
        ended = server.wait() => bail!("the server behind it ended: {}", ended?),
    }
    let listener = TcpListener::bind((arg("--bind_ip")?.as_str(), port)).await.context("listening")?;
    let mut terminated = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            client = listener.accept() => {
                let (client, set) = (client?.0, set.clone());
                #[expect(clippy::disallowed_methods, reason = "nobody waits for it: a connection ends with its client")]
                tokio::spawn(async move {
                    // Whoever hangs up has no use for the reason.
                    let _ = connection::serve(client, inner, set).await;
                });
            }
            ended = server.wait() => bail!("the server behind it ended: {}", ended?),
            _ = terminated.recv() => break,
        }
    }
    let pid = server.id().context("it runs")?;
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
    server.wait().await?;
    Ok(())
}

fn parsed(args: &[String]) -> Result<HashMap<String, String>> {
    let mut found = HashMap::new();
    let mut args = args.iter();
    while let Some(name) = args.next() {
        ensure!(KNOWN.contains(&name.as_str()), "unrecognised option '{name}'");
        let is_switch = KNOWN.last().is_some_and(|switch| switch == name);
        let value = if is_switch { Some("") } else { args.next().map(String::as_str) };
        let value = value.with_context(|| format!("the required argument for option '{name}' is missing"))?;
        found.insert(name.clone(), value.to_owned());
    }
    Ok(found)
}

fn check_key(path: &Path) -> Result<()> {
    let key = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mode = fs::metadata(path)?.mode();
    ensure!(mode & 0o077 == 0, "permissions on {} are too open", path.display());
    ensure!((6..=1024).contains(&key.trim().len()), "security key has the wrong length");
    Ok(())
}

fn check_data(folder: &Path) -> Result<()> {
    let is_empty = fs::read_dir(folder).context("reading the data folder")?.next().is_none();
    if is_empty {
        fs::write(folder.join(MARK), "fake").context("marking the data folder")?;
    }
    ensure!(folder.join(MARK).exists(), "{} has the files of another program", folder.display());
    Ok(())
}

/// The server behind this one. The kernel ends it with us.
fn start(stand_in: &Path, data: &Path, port: u16) -> Result<Child> {
    let mut command = Command::from(testkit::tool("setpriv"));
    command.args(["--pdeathsig", "KILL", "--"]).arg(stand_in);
    command.arg("--storage-path").arg(data.join("behind"));
    // With a file of its own it looks for none elsewhere.
    let config = data.join("behind.toml");
    fs::write(&config, "").context("writing a configuration")?;
    command.arg("--config").arg(config);
    command.args(["--auth", "--host", "127.0.0.1", "--port", &port.to_string(), "--sync-on-commit"]);
    command.args(["--cache-size", "64M", "--log-level", "WARNING"]);
    command.spawn().context("starting the server behind")
}
