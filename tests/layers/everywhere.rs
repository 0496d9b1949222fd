//! Rules for every source file, those of tests too.

use proc_macro2::{TokenStream, TokenTree};

pub(crate) const ONE_PLACE: &str = "programs are started by a command of testkit, which gives them an environment of our \
                                    making: tool, installer, cargo, shell";
pub(crate) const OWN_MESSAGE: &str =
    "main prints its failure itself: what it returns is printed with a backtrace when RUST_BACKTRACE is set";

/// Where commands are made.
const COMMANDS: &str = "shared/testkit/src/command.rs";

/// The rules that a source file breaks.
pub(crate) fn broken_everywhere(path: &str, text: &str) -> Vec<&'static str> {
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let words = words(tokens);
    let has = |wanted: &[&str]| {
        let pairs = words.windows(wanted.len());
        pairs.into_iter().any(|found| found.iter().zip(wanted).all(|(found, wanted)| found == wanted))
    };
    let makes_command = has(&["Command", ":", ":", "new"]) && path != COMMANDS;
    let returns_result = has(&["fn", "main", "(", ")", "-", ">", "Result"])
        || has(&["fn", "main", "(", ")", "-", ">", "anyhow", ":", ":", "Result"]);
    let rules = [(ONE_PLACE, makes_command), (OWN_MESSAGE, returns_result)];
    rules.into_iter().filter(|(_, is_broken)| *is_broken).map(|(rule, _)| rule).collect()
}

/// All tokens in their order, those in brackets too.
fn words(tokens: TokenStream) -> Vec<String> {
    let word = |token: TokenTree| match token {
        TokenTree::Group(group) => {
            let mut inner = words(group.stream());
            if group.delimiter() == proc_macro2::Delimiter::Parenthesis {
                inner.insert(0, "(".to_owned());
                inner.push(")".to_owned());
            }
            inner
        }
        token => vec![token.to_string()],
    };
    tokens.into_iter().flat_map(word).collect()
}

#[test]
fn a_file_that_breaks_a_rule_for_all_is_caught() {
    for (path, text, rules) in [
        ("tests/e2e/a.rs", "fn f() { let c = Command::new(\"psql\"); }", vec![ONE_PLACE]),
        (
            "tools/load/src/a.rs",
            "#[cfg(test)] mod t { fn f() { std::process::Command::new(\"sh\"); } }",
            vec![ONE_PLACE],
        ),
        (COMMANDS, "fn f() { Command::new(program) }", vec![]),
        (
            "tests/e2e/a.rs",
            "// Command::new\nfn f() { Command::from(testkit::tool(\"Command::new\")) }",
            vec![],
        ),
        ("tools/load/src/main.rs", "async fn main() -> Result<ExitCode> {}", vec![OWN_MESSAGE]),
        ("tools/load/src/main.rs", "fn main() -> anyhow::Result<()> {}", vec![OWN_MESSAGE]),
        ("tools/load/src/main.rs", "fn main() -> ExitCode {} fn run() -> Result<()> {}", vec![]),
    ] {
        assert_eq!(broken_everywhere(path, text), rules, "{path}: {text}");
    }
}
