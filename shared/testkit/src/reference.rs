//! A section of a document that the code prints: a test compares them, so that neither changes alone.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::env;

const WRITE: &str = "TRISTORE_WRITE_REFERENCES";

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

    /// Fails when the section is not this text. Where `TRISTORE_WRITE_REFERENCES` is set, it writes the section instead.
    ///
    /// # Errors
    /// When it differs, when there is no such section, or when the file cannot be written.
    pub fn check(&self, text: &str) -> Result<()> {
        if env::var(WRITE).is_some() { self.write(text) } else { self.assert_is(text) }
    }

    /// The same for a file that is nothing else.
    ///
    /// # Errors
    /// When it differs, or cannot be read or written.
    pub fn check_file(file: impl AsRef<Path>, text: &str) -> Result<()> {
        let file = file.as_ref();
        if env::var(WRITE).is_some() {
            return std::fs::write(file, text).with_context(|| format!("writing {}", file.display()));
        }
        let present = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        ensure!(present == text, "{} is out of date; the same with {WRITE}=1 writes it", file.display());
        Ok(())
    }

    fn assert_is(&self, text: &str) -> Result<()> {
        let whole = self.read()?;
        let (_, section, _) = self.cut(&whole)?;
        let (file, name) = (self.file.display(), self.name);
        ensure!(
            section.trim() == text.trim(),
            "section `{name}` of {file} is out of date; the same test with {WRITE}=1 writes it"
        );
        Ok(())
    }

    fn write(&self, text: &str) -> Result<()> {
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
        let error = section.assert_is("new").unwrap_err().to_string();
        assert!(error.contains("TRISTORE_WRITE_REFERENCES=1 writes it"), "{error}");
        section.write("new").unwrap();
        section.assert_is("new\n").unwrap();
        let whole = std::fs::read_to_string(&file).unwrap();
        assert_eq!(whole, "# A\n\n<!-- begin: table -->\n\nnew\n\n<!-- end: table -->\n\nrest\n");
        assert!(Reference::new(&file, "other").write("new").is_err());
        std::fs::remove_file(&file).unwrap();
    }
}
