//! What people say of themselves: names, a few lines, links, and roughly where they are.

use super::email::ascii_domain;

/// The most characters of a given name or a family name.
pub(crate) const NAME_CHARS_MAX: usize = 50;
/// The most characters of a bio.
pub(crate) const BIO_CHARS_MAX: usize = 500;
/// The most characters of a URL.
pub(crate) const URL_CHARS_MAX: usize = 500;

/// What somebody says of themselves; `None` is what they do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) given_name: Option<String>,
    pub(crate) family_name: Option<String>,
    pub(crate) bio: Option<String>,
    pub(crate) avatar_url: Option<HttpsUrl>,
    pub(crate) twitter: Option<HttpsUrl>,
    pub(crate) facebook: Option<HttpsUrl>,
    pub(crate) linkedin: Option<HttpsUrl>,
    pub(crate) location: Option<Location>,
    /// Whether others may see the location, and find the user by it.
    pub(crate) location_shared: bool,
}

/// What becomes of a profile: `None` stays as it is, `Some(None)` is removed.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProfileChange {
    pub(crate) given_name: Option<Option<String>>,
    pub(crate) family_name: Option<Option<String>>,
    pub(crate) bio: Option<Option<String>>,
    pub(crate) avatar_url: Option<Option<HttpsUrl>>,
    pub(crate) twitter: Option<Option<HttpsUrl>>,
    pub(crate) facebook: Option<Option<HttpsUrl>>,
    pub(crate) linkedin: Option<Option<HttpsUrl>>,
    pub(crate) location: Option<Option<Location>>,
    pub(crate) location_shared: Option<bool>,
}

impl Profile {
    /// The profile after a change.
    pub(crate) fn changed(&self, change: ProfileChange) -> Self {
        let before = self.clone();
        Self {
            given_name: change.given_name.unwrap_or(before.given_name),
            family_name: change.family_name.unwrap_or(before.family_name),
            bio: change.bio.unwrap_or(before.bio),
            avatar_url: change.avatar_url.unwrap_or(before.avatar_url),
            twitter: change.twitter.unwrap_or(before.twitter),
            facebook: change.facebook.unwrap_or(before.facebook),
            linkedin: change.linkedin.unwrap_or(before.linkedin),
            location: change.location.unwrap_or(before.location),
            location_shared: change.location_shared.unwrap_or(before.location_shared),
        }
    }

    /// Given name and family name.
    pub(crate) fn full_name(&self) -> String {
        let names = [&self.given_name, &self.family_name];
        names.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// The profile as others see it.
    pub(crate) fn for_others(self) -> Self {
        Self { location: self.location.filter(|_| self.location_shared), ..self }
    }
}

/// A URL to show, and never to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpsUrl(String);

impl HttpsUrl {
    /// Reads what somebody wrote: `https`, a host with a name, no login; all in ASCII, as a URL is sent.
    pub(crate) fn new(text: &str) -> Option<Self> {
        // What RFC 3986 has no place for, and what browsers read as something else, such as a backslash.
        let is_good = |byte: u8| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte);
        if !text.bytes().all(is_good) {
            return None;
        }
        let rest = text.strip_prefix("https://")?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
        let is_port =
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
        (is_port && !host.contains('@') && ascii_domain(host).is_ok()).then(|| Self(text.to_owned()))
    }

    /// Takes what the database kept.
    pub(crate) fn from_row(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A hundredth of a degree, in ten-millionths.
const STEP_E7: i32 = 100_000;
const LONGITUDE_E7_MAX: i32 = 1_800_000_000;
const LATITUDE_E7_MAX: i32 = 900_000_000;

/// A place on the Earth, to a hundredth of a degree: nobody's house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    longitude: i32,
    latitude: i32,
}

/// Which of the two is not on the Earth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfRange {
    pub(crate) longitude: bool,
    pub(crate) latitude: bool,
}

impl Location {
    /// The place nearest to these ten-millionths of a degree. Each place has one form: the 180th meridian is -180
    /// degrees, and a pole has longitude 0.
    pub(crate) fn from_e7(longitude_e7: i32, latitude_e7: i32) -> Result<Self, OutOfRange> {
        let is_beyond = |value: i32, most: i32| !(-most..=most).contains(&value);
        let beyond = OutOfRange {
            longitude: is_beyond(longitude_e7, LONGITUDE_E7_MAX),
            latitude: is_beyond(latitude_e7, LATITUDE_E7_MAX),
        };
        if beyond.longitude || beyond.latitude {
            return Err(beyond);
        }
        Ok(Self::from_hundredths(rounded(longitude_e7), rounded(latitude_e7)))
    }

    /// A place in hundredths of a degree, as the database keeps them.
    pub(crate) fn from_hundredths(longitude: i32, latitude: i32) -> Self {
        let is_pole = latitude.abs() == LATITUDE_E7_MAX / STEP_E7;
        let is_date_line = longitude == LONGITUDE_E7_MAX / STEP_E7;
        let longitude = if is_pole {
            0
        } else if is_date_line {
            -longitude
        } else {
            longitude
        };
        Self { longitude, latitude }
    }

    /// In hundredths of a degree: longitude, latitude.
    pub(crate) fn hundredths(self) -> (i32, i32) {
        (self.longitude, self.latitude)
    }

    /// In ten-millionths of a degree: longitude, latitude.
    pub(crate) fn e7(self) -> (i32, i32) {
        (self.longitude * STEP_E7, self.latitude * STEP_E7)
    }
}

/// The nearest hundredth; of two, the one that is farther from 0.
fn rounded(e7: i32) -> i32 {
    (e7 + e7.signum() * (STEP_E7 / 2)) / STEP_E7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_rounded_to_the_nearest_hundredth_and_have_one_form() {
        for (given, kept) in [
            ((0, 0), (0, 0)),
            ((49_999, -49_999), (0, 0)),
            ((50_000, -50_000), (100_000, -100_000)),
            ((1_396_917_061, 356_894_875), (1_396_900_000, 356_900_000)),
            ((-1_800_000_000, 0), (-1_800_000_000, 0)),
            ((1_800_000_000, 0), (-1_800_000_000, 0)),
            ((1_799_950_000, 100_000), (-1_800_000_000, 100_000)),
            ((1_799_949_999, 0), (1_799_900_000, 0)),
            ((-1_799_950_000, 0), (-1_800_000_000, 0)),
            ((123_456_789, 900_000_000), (0, 900_000_000)),
            ((123_456_789, -899_950_000), (0, -900_000_000)),
            ((123_456_789, 899_949_999), (123_500_000, 899_900_000)),
        ] {
            let place = Location::from_e7(given.0, given.1).unwrap();
            assert_eq!(place.e7(), kept, "{given:?}");
            let (longitude, latitude) = place.hundredths();
            assert_eq!(Location::from_hundredths(longitude, latitude), place);
        }
    }

    #[test]
    fn what_is_not_on_the_earth_is_refused() {
        let beyond = |longitude, latitude| Location::from_e7(longitude, latitude).unwrap_err();
        assert_eq!(beyond(1_800_000_001, 0), OutOfRange { longitude: true, latitude: false });
        assert_eq!(beyond(0, -900_000_001), OutOfRange { longitude: false, latitude: true });
        assert_eq!(beyond(i32::MIN, i32::MAX), OutOfRange { longitude: true, latitude: true });
    }

    #[test]
    fn urls_are_https_with_a_named_host_and_nothing_to_fool_a_reader_with() {
        for good in [
            "https://example.com",
            "https://example.com:8443/a%20b?c=d#e",
            "https://xn--bcher-kva.example/~ann/[1].png",
            "https://example.com/@ann",
        ] {
            assert_eq!(HttpsUrl::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "http://example.com",
            "HTTPS://example.com",
            "https:/example.com",
            "https:///a",
            "https://",
            "https://localhost/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://example.com:0/",
            "https://example.com:/",
            "https://example.com:65536/",
            "https://example.com:+1/",
            "https://ann@example.com/",
            "https://ann:pass@example.com/",
            "https://bücher.example/",
            "https://example.com/a b",
            "https://example.com\\@evil.example/",
            "https://example.com/\"onload=",
            "https://example.com/<script>",
            "https://example.com/\r\nSet-Cookie: a=b",
            "javascript:alert(1)",
            "data:text/html,a",
        ] {
            assert_eq!(HttpsUrl::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn others_see_a_location_only_if_it_is_shared() {
        let here = Location::from_e7(1, 1).unwrap();
        let ann = Profile { location: Some(here), given_name: Some("Ann".to_owned()), ..Profile::default() };
        assert_eq!(ann.clone().for_others(), Profile { location: None, ..ann.clone() });
        let shared = Profile { location_shared: true, ..ann };
        assert_eq!(shared.clone().for_others(), shared);
    }

    #[test]
    fn a_full_name_is_what_there_is_of_it() {
        let of = |given: &str, family: &str| {
            let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Profile { given_name: name(given), family_name: name(family), ..Profile::default() }.full_name()
        };
        let names = [of("Ann", "Lee"), of("Ann", ""), of("", "Lee"), of("", "")];
        assert_eq!(names, ["Ann Lee", "Ann", "Lee", ""]);
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let before =
            Profile { bio: Some("Tea".to_owned()), given_name: Some("Ann".to_owned()), ..Profile::default() };
        let change =
            ProfileChange { bio: Some(None), location_shared: Some(true), ..ProfileChange::default() };
        let after = Profile { bio: None, location_shared: true, ..before.clone() };
        assert_eq!(before.changed(change), after);
    }
}
