//! The Lua scripts, each of which is one transaction. `scripts/prelude.lua` has the rules for all of them; the header
//! of each script says what it takes, what it returns, and why it must be atomic.

use std::sync::LazyLock;

use redis::Script;

const PRELUDE: &str = include_str!("scripts/prelude.lua");

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| assemble(include_str!(concat!("scripts/", $file, ".lua"))));)*

        /// All scripts, by name.
        pub(crate) fn all() -> Vec<(&'static str, &'static Script)> {
            vec![$(($file, &*$name)),*]
        }
    };
}

scripts! {
    SESSION_CREATE = "session_create";
    SESSION_TOUCH = "session_touch";
    SESSION_REFRESH = "session_refresh";
    SESSION_REVOKE = "session_revoke";
    SESSION_REVOKE_ALL = "session_revoke_all";
    SESSION_REVOKE_BELOW = "session_revoke_below";
    SESSION_FORGET = "session_forget";
    SESSION_LIST = "session_list";
    REQUEST_CLAIM = "request_claim";
    REQUEST_RELEASE = "request_release";
    LOGIN_BEGIN = "login_begin";
    LOGIN_FAILED = "login_failed";
    LOGIN_SUCCEEDED = "login_succeeded";
    STREAM_HEAD = "stream_head";
    STREAM_ADOPT = "stream_adopt";
    STREAM_READ = "stream_read";
    LEASE_TAKE = "lease_take";
    CONSUMER_BEGIN = "consumer_begin";
    CONSUMER_LEASE = "consumer_lease";
    CONSUMER_COMMIT = "consumer_commit";
    CONSUMER_ADOPT = "consumer_adopt";
    CONSUMER_HALT = "consumer_halt";
    RESYNC_HOLD = "resync_hold";
    RESYNC_HOLDS = "resync_holds";
    RESYNC_END = "resync_end";
}

/// Puts the prelude below the shebang, which Redis expects in the first line.
fn assemble(source: &str) -> Script {
    let (shebang, body) = source.split_once('\n').expect("a script has more than one line");
    assert!(shebang.starts_with("#!lua"), "a script begins with its shebang");
    Script::new(&format!("{shebang}\n{PRELUDE}\n{body}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_on_disk_is_in_the_list_and_says_what_it_is() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage/scripts");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| name != "prelude")
            .collect();
        on_disk.sort();
        let mut listed: Vec<_> = all().into_iter().map(|(name, _)| name).collect();
        listed.sort_unstable();
        assert_eq!(on_disk, listed);
        for name in listed {
            let source = std::fs::read_to_string(format!("{folder}/{name}.lua")).unwrap();
            for word in ["-- KEYS ", "-- RETURN ", "-- ATOMIC "] {
                assert!(source.contains(word), "{name} lacks {word}");
            }
        }
    }
}
