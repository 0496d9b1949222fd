//! Which files of a crate need which. Files that need each other are a circle: none of them can be understood, moved or
//! tested before the others.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::{Files, Module, Words};

/// The modules of one crate, found by their declarations from its root.
#[derive(Debug)]
pub(crate) struct Crate {
    /// The folder of the crate.
    pub(crate) name: String,
    modules: BTreeMap<Words, Module>,
}

/// One file needs another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// Which needs it.
    pub(crate) from: String,
    /// Which is needed.
    pub(crate) to: String,
    /// The first path by which it is named there.
    pub(crate) path: String,
}

/// Files that need each other, and how they do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    /// The files.
    pub(crate) files: BTreeSet<String>,
    /// The needs between them.
    pub(crate) needs: Vec<Need>,
}

impl Crate {
    /// The crates whose roots are among the files.
    pub(crate) fn all(files: &Files) -> Vec<Self> {
        let is_root = |path: &str| {
            let within = path.split("/src/").nth(1).unwrap_or_default();
            let is_binary = within.starts_with("bin/") && within.ends_with("/main.rs");
            is_binary || ["lib.rs", "main.rs"].contains(&within)
        };
        files.keys().filter(|path| is_root(path)).map(|root| Self::read(files, root)).collect()
    }

    fn read(files: &Files, root: &str) -> Self {
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut modules = BTreeMap::new();
        let mut unread = vec![(Words::new(), root.to_owned())];
        while let Some((place, file)) = unread.pop() {
            for module in Module::read(&place, &file, &files[&file]) {
                for child in module.children.iter().map(|child| module.below(child)) {
                    let path = format!("{folder}/{}", child.join("/"));
                    let its_file = [format!("{path}.rs"), format!("{path}/mod.rs")]
                        .into_iter()
                        .find(|file| files.contains_key(file));
                    unread.extend(its_file.map(|file| (child, file)));
                }
                modules.insert(module.place.clone(), module);
            }
        }
        Self { name: folder.trim_end_matches("/src").to_owned(), modules }
    }

    /// Its modules.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &Module> {
        self.modules.values()
    }

    /// Which files need which. That a module declares its children, or shows them to others with `pub use`, is no need.
    pub(crate) fn needs(&self) -> Vec<Need> {
        let mut needs = BTreeMap::new();
        for module in self.modules() {
            let imports = module.imports.iter().map(|import| (&import.path, import.is_public));
            let paths = module.paths.iter().map(|path| (path, false));
            for (path, is_shown) in imports.chain(paths) {
                let Some(needed) = self.definer(module, path) else { continue };
                let is_shown_child = is_shown && needed.place.starts_with(&module.place);
                if needed.file != module.file && !is_shown_child {
                    let (from, to) = (module.file.clone(), needed.file.clone());
                    needs.entry((from, to)).or_insert_with(|| path.join("::"));
                }
            }
        }
        needs.into_iter().map(|((from, to), path)| Need { from, to, path }).collect()
    }

    /// The module that defines what a path names, when it is one of this crate.
    fn definer(&self, from: &Module, path: &[String]) -> Option<&Module> {
        self.definer_of_absolute(&from.absolute(path).or_else(|| from.imported(path))?)
    }

    /// The same for a path from the root. What a module only imports is defined elsewhere.
    fn definer_of_absolute(&self, path: &[String]) -> Option<&Module> {
        let length = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let (module, item) = (&self.modules[&path[..length]], &path[length..]);
        match module.imported(item) {
            Some(elsewhere) => self.definer_of_absolute(&elsewhere),
            None => Some(module),
        }
    }

    /// The circles among the files. Two files are in the same one when each needs the other, directly or not.
    pub(crate) fn circles(&self) -> Vec<Circle> {
        let needs = self.needs();
        let reach = reach(&needs);
        let mut circles: Vec<Circle> = Vec::new();
        for (file, reached) in &reach {
            let needs_it = |other: &&&str| reach.get(**other).is_some_and(|back| back.contains(file));
            let files: BTreeSet<String> = reached.iter().filter(needs_it).map(ToString::to_string).collect();
            if files.is_empty() || circles.iter().any(|circle| circle.files == files) {
                continue;
            }
            let closing = needs.iter().filter(|need| files.contains(&need.from) && files.contains(&need.to));
            circles.push(Circle { needs: closing.cloned().collect(), files });
        }
        circles
    }
}

/// For each file those that it needs, directly or not.
pub(crate) fn reach(needs: &[Need]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut direct: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for need in needs {
        direct.entry(&need.from).or_default().insert(&need.to);
    }
    let mut reach = BTreeMap::new();
    for file in direct.keys() {
        let mut found = BTreeSet::new();
        let mut unread = vec![*file];
        while let Some(file) = unread.pop() {
            let next = direct.get(file).into_iter().flatten();
            unread.extend(next.filter(|next| found.insert(**next)));
        }
        reach.insert(*file, found);
    }
    reach
}
