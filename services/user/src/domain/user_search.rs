//! By what users are ordered and found: their names and what else they say of themselves, folded and taken apart. It is
//! kept beside what it is made of, and made anew whenever that changes.

use types::search;

use super::user::User;

/// How many bytes of a folded name count: a page token has room for these, and few names have more.
pub(crate) const NAME_KEY_BYTES_MAX: usize = 200;
/// More words than people write of themselves; what is behind them is not found.
const WORDS_MAX: usize = 1000;

/// What a user is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SearchKeys {
    /// The display name, to be ordered by and to be found by how it begins.
    pub(crate) name_key: String,
    /// The words of all their names.
    pub(crate) name_words: Vec<String>,
    /// These and the words of the bio.
    pub(crate) words: Vec<String>,
}

/// What somebody says that they can be found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said<'a> {
    pub(crate) display_name: &'a str,
    pub(crate) username: Option<&'a str>,
    pub(crate) given_name: Option<&'a str>,
    pub(crate) family_name: Option<&'a str>,
    pub(crate) bio: Option<&'a str>,
}

impl<'a> From<&'a User> for Said<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            display_name: &user.display_name,
            username: user.username.as_ref().map(|username| username.as_str()),
            given_name: user.profile.given_name.as_deref(),
            family_name: user.profile.family_name.as_deref(),
            bio: user.profile.bio.as_deref(),
        }
    }
}

impl Said<'_> {
    /// What is kept of it.
    pub(crate) fn keys(self) -> SearchKeys {
        let names = [Some(self.display_name), self.username, self.given_name, self.family_name];
        let name_words = words(names.into_iter().flatten());
        let of_bio = self.bio.map(search::words).unwrap_or_default();
        let words = words_once(name_words.iter().cloned().chain(of_bio));
        SearchKeys { name_key: name_key(self.display_name), name_words, words }
    }
}

/// The beginning of a name, folded, as far as it counts.
pub(crate) fn name_key(name: &str) -> String {
    let mut key = search::folded(name);
    key.truncate(key.floor_char_boundary(NAME_KEY_BYTES_MAX));
    key
}

fn words<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    words_once(texts.flat_map(search::words))
}

fn words_once(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    words.filter(|word| seen.insert(word.clone())).take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Said<'_> = Said {
        display_name: "Ann Lee",
        username: Some("annlee"),
        given_name: Some("Ann"),
        family_name: None,
        bio: Some("Tea, with Ann. 緑茶"),
    };

    #[test]
    fn a_user_is_found_by_names_and_by_the_bio() {
        let keys = ANN.keys();
        assert_eq!(keys.name_key, "ann lee");
        assert_eq!(keys.name_words, ["ann", "lee", "annlee"]);
        assert_eq!(keys.words, ["ann", "lee", "annlee", "tea", "with", "緑茶"]);
    }

    #[test]
    fn a_key_has_its_bounds_whatever_the_text() {
        // One character, eighteen letters.
        let long = "\u{fdfa}".repeat(50);
        let key = name_key(&long);
        assert!(key.len() <= NAME_KEY_BYTES_MAX && key.len() > NAME_KEY_BYTES_MAX - 4);
        assert!(search::folded(&long).starts_with(&key));
        let bio: String = ('\u{4e00}'..).step_by(7).take(1500).collect();
        let keys = Said { bio: Some(&bio), ..ANN }.keys();
        assert_eq!(keys.words.len(), WORDS_MAX);
        let symbols = Said { display_name: "\u{1f375}", username: None, given_name: None, bio: None, ..ANN };
        assert_eq!((symbols.keys().name_key.as_str(), symbols.keys().words.len()), ("\u{1f375}", 0));
    }
}
