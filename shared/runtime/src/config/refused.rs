//! What an operator reads when the settings are refused.
//!
//! clap names the flag of a setting and quotes its value. Most settings come from the environment, so their variable is
//! named too; and a value may be a secret, or have one in it.

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};

use super::mask::redact_url;
use super::names::Misnamed;

const HIDDEN: &str = "***";

/// The same refusal with the variables named and without secrets. Where a setting is missing, variables of the
/// environment that may have been meant for it are named as well.
pub(super) fn explain(mut error: clap::Error, command: &Command, misnamed: &[Misnamed]) -> clap::Error {
    match error.get(ContextKind::InvalidArg).cloned() {
        Some(ContextValue::String(flag)) => {
            let argument = find(command, &flag);
            if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
                let shown = ContextValue::String(shown(value, argument));
                error.insert(ContextKind::InvalidValue, shown);
            }
            error.insert(ContextKind::InvalidArg, ContextValue::String(named(&flag, argument)));
        }
        Some(ContextValue::Strings(flags)) => {
            let flags = flags.iter().map(|flag| named(flag, find(command, flag))).collect();
            error.insert(ContextKind::InvalidArg, ContextValue::Strings(flags));
            if !misnamed.is_empty() {
                let tips = misnamed.iter().map(|variable| variable.to_string().into()).collect();
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
            }
        }
        _ => {}
    }
    error
}

/// `--order-url <URL> (ORDER_URL)`.
fn named(flag: &str, argument: Option<&Arg>) -> String {
    match argument.and_then(Arg::get_env) {
        Some(variable) => format!("{flag} ({})", variable.display()),
        None => flag.to_owned(),
    }
}

fn shown(value: &str, argument: Option<&Arg>) -> String {
    // What stands before an @ may be a password that has lost the rest of its address.
    let may_hold_secret = value.contains('@') && !value.contains("://");
    // clap asks for a value where there is none.
    let is_hidden = !value.is_empty() && argument.is_none_or(Arg::is_hide_env_values_set);
    if is_hidden || may_hold_secret { HIDDEN.to_owned() } else { redact_url(value) }
}

/// The argument that clap shows like this.
fn find<'a>(command: &'a Command, shown: &str) -> Option<&'a Arg> {
    let flag = shown.split([' ', '=', '[']).next()?.strip_prefix("--")?;
    let own = command.get_arguments().find(|argument| argument.get_long() == Some(flag));
    own.or_else(|| command.get_subcommands().find_map(|subcommand| find(subcommand, shown)))
}
