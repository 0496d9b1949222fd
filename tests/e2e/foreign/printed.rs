//! What READMEs and proto files print for people to run.
//!
//! In a README that is each fenced block of `sh`, in a proto file each comment line that is indented by three
//! spaces. Whatever could hide a command is an error: a fence of another language, a call outside of such a block.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Languages of fences that hold nothing to run here. A `console` is at a Kubernetes cluster of the reader's.
const NO_COMMANDS: [&str; 6] = ["rust", "mermaid", "json", "ini", "yaml", "console"];
/// How a command in a proto comment stands out.
const INDENTED: &str = "//   ";

/// A command, with its continuation lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Printed {
    /// File and line, such as `README.md:53`.
    pub(super) place: String,
    /// As printed, comments and all.
    pub(super) text: String,
}

impl Printed {
    /// The command without a comment behind it.
    pub(super) fn command(&self) -> &str {
        self.text.split_once(" #").map_or(&*self.text, |(command, _)| command).trim()
    }

    /// Whether the next line belongs to it.
    fn goes_on(&self) -> bool {
        let command = self.command();
        command.ends_with(['\\', '|']) || command.matches('\'').count() % 2 == 1
    }
}

/// What one reader would run in one shell, in this order.
#[derive(Debug)]
pub(super) struct Session {
    /// Whose commands they are.
    pub(super) name: String,
    pub(super) commands: Vec<Printed>,
}

/// A session for each README that prints something, and one for the proto files.
pub(super) fn sessions(workspace: &Path) -> Result<Vec<Session>> {
    let mut files = Vec::new();
    walk(workspace, workspace, &mut files)?;
    let read =
        |name: &String| fs::read_to_string(workspace.join(name)).with_context(|| format!("reading {name}"));
    let mut sessions = Vec::new();
    let mut proto = Session { name: "proto".to_owned(), commands: Vec::new() };
    // People log in before they call other services, and sign up before that.
    files.sort_by_key(|name| {
        (
            name.matches('/').count(),
            !name.contains("proto/user"),
            !name.contains("proto/session"),
            name.clone(),
        )
    });
    for name in &files {
        if name.ends_with(".proto") {
            proto.commands.extend(in_proto(name, &read(name)?)?);
        } else {
            sessions.push(Session { name: name.clone(), commands: in_readme(name, &read(name)?)? });
        }
    }
    ensure!(
        !sessions.is_empty() && !proto.commands.is_empty(),
        "no README or no proto file prints a command"
    );
    sessions.push(proto);
    sessions.retain(|session| !session.commands.is_empty());
    Ok(sessions)
}

/// Programs whose commands READMEs name.
pub(super) const PROGRAMS: [&str; 5] =
    ["cargo xtask ", "tristore ", "user-service ", "order-service ", "session-service "];

/// Commands that a README names in its text, such as `cargo xtask up`, but for those with a word to fill in.
pub(super) fn mentioned(workspace: &Path) -> Result<Vec<Printed>> {
    let mut files = Vec::new();
    walk(workspace, workspace, &mut files)?;
    let mut all = Vec::new();
    for name in files.iter().filter(|name| name.ends_with("README.md")) {
        for (number, line) in fs::read_to_string(workspace.join(name))?.lines().enumerate() {
            let names =
                |span: &&str| PROGRAMS.iter().any(|program| span.starts_with(program)) && !span.contains('<');
            let spans = line.split('`').skip(1).step_by(2).filter(names);
            let place = format!("{name}:{}", number + 1);
            all.extend(spans.map(|span| Printed { place: place.clone(), text: span.to_owned() }));
        }
    }
    Ok(all)
}

/// The commands of a README.
pub(super) fn in_readme(name: &str, text: &str) -> Result<Vec<Printed>> {
    let (mut commands, mut fence) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        match (line.trim_start().strip_prefix("```"), fence) {
            (Some(_), Some(_)) => fence = None,
            (Some("sh"), None) => fence = Some(true),
            (Some(language), None) if NO_COMMANDS.contains(&language) => fence = Some(false),
            (Some(language), None) => {
                bail!("{place}: commands are in fences of `sh`, this one is {language:?}")
            }
            (None, Some(true)) => push(&mut commands, place, line),
            (None, _) => {}
        }
    }
    ensure!(fence.is_none(), "{name}: a fence does not end");
    Ok(commands)
}

/// The commands of a proto file.
pub(super) fn in_proto(name: &str, text: &str) -> Result<Vec<Printed>> {
    let mut commands = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (place, line) = (format!("{name}:{}", number + 1), line.trim_start());
        match line.strip_prefix(INDENTED) {
            Some(command) => push(&mut commands, place, command),
            None => ensure!(!line.contains("grpcurl -"), "{place}: a call is indented by three spaces"),
        }
    }
    Ok(commands)
}

/// Adds a line: to the command before when that goes on.
fn push(commands: &mut Vec<Printed>, place: String, line: &str) {
    if let Some(open) = commands.last_mut().filter(|command| command.goes_on()) {
        open.text = format!("{}\n{line}", open.text);
    } else if !line.trim().is_empty() && !line.starts_with('#') {
        commands.push(Printed { place, text: line.to_owned() });
    }
}

/// READMEs and proto files, by their paths in the workspace.
fn walk(workspace: &Path, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                walk(workspace, &path, files)?;
            }
        } else if name == "README.md" || name.ends_with(".proto") {
            files.push(path.strip_prefix(workspace)?.display().to_string());
        }
    }
    Ok(())
}

#[test]
fn every_command_in_a_document_is_found() {
    let readme = "text `cargo xtask up`\n```sh\none \\\n  --more   # why\n\n# only a comment\ntwo\n```\n```rust\nfn no() {}\n```\n";
    let commands = in_readme("README.md", readme).unwrap();
    let [one, two] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!((&*one.place, one.command()), ("README.md:3", "one \\\n  --more"));
    assert_eq!((&*two.place, two.command()), ("README.md:7", "two"));
    let refused = |text: &str| in_readme("README.md", text).unwrap_err().to_string();
    assert!(refused("```\nhidden\n```").contains("README.md:1: commands are in fences of `sh`"));
    assert!(refused("```bash\nhidden\n```").contains("bash"));
    assert!(refused("```sh\nopen").contains("does not end"));

    let proto = "// Logins.\n//\n//   grpcurl -d '{\n//     }' \\\n//     localhost:1 a.B/C |\n//     cat\npackage a;\n";
    let commands = in_proto("a.proto", proto).unwrap();
    assert_eq!(commands[0].text, "grpcurl -d '{\n  }' \\\n  localhost:1 a.B/C |\n  cat");
    assert_eq!(commands.len(), 1);
    let refused = in_proto("a.proto", "// grpcurl -plaintext x").unwrap_err().to_string();
    assert_eq!(refused, "a.proto:1: a call is indented by three spaces");
}
