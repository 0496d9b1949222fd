//! Text as other programs read it. (What we write into postgresql.conf has no names of ours in it.)

/// One word of a POSIX shell.
#[must_use]
pub fn shell(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    // Between single quotes nothing is special, and a single quote cannot be there.
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// One value of redis.conf.
pub(crate) fn redis(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command;

    #[test]
    fn a_shell_reads_a_quoted_word_as_it_was() {
        for text in
            ["", "plain/path-1.2", "a b", "José's \"folder\"", "$HOME `id` \\ ; & #", "-n", "ä\tb", "'"]
        {
            let script = format!("printf %s {}", shell(text));
            let output = command::shell().args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{script}");
        }
        assert_eq!(shell("/opt/bin"), "/opt/bin", "a plain word stays readable");
    }

    #[test]
    fn redis_reads_quotes_and_backslashes_as_they_were() {
        assert_eq!(redis(r#"/José's "x" \y"#), r#""/José's \"x\" \\y""#);
    }
}
