//! A section of a document that the code prints: a test compares them, so that neither changes alone.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The part of a file between the lines `<!-- begin: NAME -->` and `<!-- end: NAME -->`.
#[derive(Debug, Clone)]
pub struct Reference {
    file: PathBuf,
    name: &'static str,
}

impl Reference {
    /// The section of this name.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, name: &'static str) -> Self {
        Self { file: file.into(), name }
    }

    /// Fails when the section is not this text. `how` says how it is written anew.
    ///
    /// # Errors
    /// When it differs, or there is no such section.
    pub fn assert_is(&self, text: &str, how: &str) -> Result<()> {
        let whole = self.read()?;
        let (_, section, _) = self.cut(&whole)?;
        let (file, name) = (self.file.display(), self.name);
        ensure!(
            section.trim() == text.trim(),
            "section `{name}` of {file} is out of date; `{how}` writes it"
        );
        Ok(())
    }

    /// Writes this text into the section.
    ///
    /// # Errors
    /// When there is no such section, or the file cannot be written.
    pub fn write(&self, text: &str) -> Result<()> {
        let whole = self.read()?;
        let (before, _, after) = self.cut(&whole)?;
        let whole = format!("{before}\n{}\n\n{after}", text.trim());
        std::fs::write(&self.file, whole).with_context(|| format!("writing {}", self.file.display()))
    }

    fn read(&self) -> Result<String> {
        std::fs::read_to_string(&self.file).with_context(|| format!("reading {}", self.file.display()))
    }

    /// What is before the section with its first line, the section, and what is after it with its last line.
    fn cut<'a>(&self, whole: &'a str) -> Result<(&'a str, &'a str, &'a str)> {
        let (first, last) =
            (format!("<!-- begin: {} -->\n", self.name), format!("<!-- end: {} -->", self.name));
        let begin = whole.find(&first).map(|at| at + first.len());
        let begin =
            begin.with_context(|| format!("{} has no section `{}`", self.file.display(), self.name))?;
        let end = whole[begin..].find(&last).map(|at| at + begin);
        let end = end.with_context(|| format!("section `{}` does not end", self.name))?;
        Ok((&whole[..begin], &whole[begin..end], &whole[end..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let file = std::env::temp_dir().join(format!("testkit-reference-{}", uuid::Uuid::new_v4()));
        std::fs::write(&file, "# A\n\n<!-- begin: table -->\nold\n<!-- end: table -->\n\nrest\n").unwrap();
        let section = Reference::new(&file, "table");
        let error = section.assert_is("new", "make").unwrap_err().to_string();
        assert!(error.contains("`make` writes it"), "{error}");
        section.write("new").unwrap();
        section.assert_is("new\n", "make").unwrap();
        let whole = std::fs::read_to_string(&file).unwrap();
        assert_eq!(whole, "# A\n\n<!-- begin: table -->\n\nnew\n\n<!-- end: table -->\n\nrest\n");
        assert!(Reference::new(&file, "other").write("new").is_err());
        std::fs::remove_file(&file).unwrap();
    }
}
