//! An error as programs print it for people.

use std::error::Error;
use std::fmt;

use tonic::Status;

/// An error and its causes in one line, each said once. tonic's own text of a status holds its cause as a dump of
/// fields, and many errors repeat the text of their cause.
#[derive(Debug)]
pub struct Causes<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = String::new();
        let mut next = Some(self.0);
        while let Some(cause) = next {
            let text = match cause.downcast_ref::<Status>() {
                Some(status) => format!("{:?}: {}", status.code(), status.message()),
                None => cause.to_string(),
            };
            if !said.contains(&text) {
                let before = if said.is_empty() { "" } else { ": " };
                said = format!("{said}{before}{text}");
            }
            next = cause.source();
        }
        f.write_str(&said)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Step(&'static str, Box<dyn Error + Send + Sync>);

    impl fmt::Display for Step {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Step {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.1)
        }
    }

    #[test]
    fn each_cause_is_said_once_and_without_fields() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let connect = Step("tcp connect error", Box::new(refused));
        let status = Status::from_error(Box::new(Step("tcp connect error", Box::new(connect))));
        let error = Step("order-service", Box::new(status));
        assert_eq!(
            Causes(&error).to_string(),
            "order-service: Unknown: tcp connect error: connection refused"
        );
        let full = io::Error::from_raw_os_error(28);
        let error = Step("printing the result", Box::new(full));
        assert_eq!(Causes(&error).to_string(), "printing the result: No space left on device (os error 28)");
    }
}
