//! Reads which paths the modules of a crate name. It reads tokens, so that a comment, a text or a test is never
//! mistaken for code of the module, and code inside a macro is not missed.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};

/// The words of a path: `crate`, `app`, `App`.
pub(crate) type Words = Vec<String>;

/// The source files of the workspace: their text by their path.
pub(crate) type Files = BTreeMap<String, String>;

/// One module without its tests. Several modules share a file when one is written inside the other.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// Its place in its crate: `app`, `login`. The root of a crate has no words.
    pub(crate) place: Words,
    /// The file that it is written in.
    pub(crate) file: String,
    /// What its `use` declarations name.
    pub(crate) imports: Vec<Import>,
    /// All other paths in its code that have more than one word.
    pub(crate) paths: Vec<Words>,
    /// The modules that it declares.
    pub(crate) children: BTreeSet<String>,
    /// Whether something in it is async.
    pub(crate) is_async: bool,
}

/// One name that a `use` declaration brings into a module.
#[derive(Debug)]
pub(crate) struct Import {
    /// What the module calls it.
    pub(crate) name: String,
    /// What it is.
    pub(crate) path: Words,
    /// Whether it is there for other modules: `pub use`.
    pub(crate) is_public: bool,
}

impl Module {
    /// Reads the module of a file, and those that are written inside it.
    pub(crate) fn read(place: &[String], file: &str, text: &str) -> Vec<Self> {
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut module = Self { place: place.to_vec(), file: file.to_owned(), ..Self::default() };
        let mut modules = module.read_tokens(tokens);
        modules.push(module);
        modules
    }

    /// All paths that the module names, as they are written.
    pub(crate) fn named(&self) -> impl Iterator<Item = &[String]> {
        let imported = self.imports.iter().map(|import| import.path.as_slice());
        imported.chain(self.paths.iter().map(Vec::as_slice))
    }

    /// The path from the root of the crate, when it is written as one of this crate: with `crate`, `self` or `super`,
    /// or beginning with a module that this one declares.
    pub(crate) fn absolute(&self, path: &[String]) -> Option<Words> {
        let (first, below) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(below.to_vec()),
            "self" => Some([&self.place, below].concat()),
            "super" => {
                let ups = path.iter().take_while(|word| *word == "super").count();
                let above = self.place.len().checked_sub(ups)?;
                Some([&self.place[..above], &path[ups..]].concat())
            }
            child => self.children.contains(child).then(|| [&self.place, path].concat()),
        }
    }

    /// The path from the root of the crate, when its first word is imported from this crate.
    pub(crate) fn imported(&self, path: &[String]) -> Option<Words> {
        let (first, below) = path.split_first()?;
        // What a glob brings in has names that are not written here.
        let import = self.imports.iter().find(|import| import.name == *first && first != "*")?;
        Some([&self.absolute(&import.path)?, below].concat())
    }

    /// The place of a module that is declared in this one.
    pub(crate) fn below(&self, child: &str) -> Words {
        [self.place.as_slice(), &[child.to_owned()]].concat()
    }

    /// Reads tokens of the module, and returns the modules that are written inside it.
    fn read_tokens(&mut self, tokens: TokenStream) -> Vec<Self> {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut inner = Vec::new();
        let mut rest = tokens.as_slice();
        while let [token, after @ ..] = rest {
            rest = match (token, after) {
                (hash, [TokenTree::Group(attribute), item @ ..])
                    if is(hash, "#") && is_for_tests(&attribute.stream()) =>
                {
                    after_item(item)
                }
                (word, [TokenTree::Group(_), import, tree @ ..]) if is(word, "pub") && is(import, "use") => {
                    self.read_import(tree, true)
                }
                (word, [import, tree @ ..]) if is(word, "pub") && is(import, "use") => {
                    self.read_import(tree, true)
                }
                (word, tree) if is(word, "use") => self.read_import(tree, false),
                (word, [TokenTree::Group(_), after @ ..]) if is(word, "pub") => after,
                (word, [TokenTree::Ident(child), body, after @ ..]) if is(word, "mod") => {
                    self.children.insert(child.to_string());
                    if let TokenTree::Group(body) = body {
                        let (place, file) = (self.below(&child.to_string()), self.file.clone());
                        let mut module = Self { place, file, ..Self::default() };
                        inner.extend(module.read_tokens(body.stream()));
                        inner.push(module);
                    }
                    after
                }
                (TokenTree::Group(group), after) => {
                    inner.extend(self.read_tokens(group.stream()));
                    after
                }
                _ => {
                    self.is_async |= is(token, "async");
                    match read_path(rest) {
                        (path, _) if path.is_empty() => after,
                        (path, after) => {
                            self.paths.extend((path.len() > 1).then_some(path));
                            after
                        }
                    }
                }
            };
        }
        inner
    }

    /// Reads the rest of a `use` declaration, and returns what comes after it.
    fn read_import<'a>(&mut self, tokens: &'a [TokenTree], is_public: bool) -> &'a [TokenTree] {
        let end = tokens.iter().position(|token| is(token, ";")).unwrap_or(tokens.len());
        self.add_imports(&[], &tokens[..end], is_public);
        &tokens[end..]
    }

    /// Adds every name of a tree such as `app::{App, login::{self, Login as Entry}}`.
    fn add_imports(&mut self, above: &[String], tree: &[TokenTree], is_public: bool) {
        for branch in tree.split(|token| is(token, ",")).filter(|branch| !branch.is_empty()) {
            let (below, after) = read_path(branch);
            let mut path = [above, &below].concat();
            match after {
                [TokenTree::Group(branches)] => {
                    let branches: Vec<TokenTree> = branches.stream().into_iter().collect();
                    self.add_imports(&path, &branches, is_public);
                }
                _ => {
                    path.pop_if(|last| last == "self" && !above.is_empty());
                    let renamed = after.last().map(ToString::to_string);
                    let name = renamed.or_else(|| path.last().cloned()).unwrap_or_default();
                    self.imports.push(Import { name, path, is_public });
                }
            }
        }
    }
}

/// The words of the path that the tokens begin with, and what comes after it. A path that begins with colons names
/// another crate; its first word is empty.
fn read_path(tokens: &[TokenTree]) -> (Words, &[TokenTree]) {
    let (mut words, mut rest) = match after_colons(tokens) {
        Some(after) => (vec![String::new()], after),
        None => (Words::new(), tokens),
    };
    while let [TokenTree::Ident(word), after @ ..] = rest {
        words.push(word.to_string());
        match after_colons(after) {
            Some(after) => rest = after,
            None => return (words, after),
        }
    }
    (words, rest)
}

fn after_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [first, second, after @ ..] if is(first, ":") && is(second, ":") => Some(after),
        _ => None,
    }
}

/// What comes after an item: it ends with a semicolon or a block.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let is_end = |token: &TokenTree| is(token, ";") || token.to_string().starts_with('{');
    let end = tokens.iter().position(is_end).map_or(tokens.len(), |at| at + 1);
    &tokens[end..]
}

/// Whether an attribute makes its item a part of the tests only.
fn is_for_tests(attribute: &TokenStream) -> bool {
    let text = attribute.to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

fn is(token: &TokenTree, text: &str) -> bool {
    match token {
        TokenTree::Ident(word) => word == text,
        TokenTree::Punct(mark) => text.starts_with(mark.as_char()),
        TokenTree::Group(_) | TokenTree::Literal(_) => false,
    }
}
