//! How a file of the storage says its statements: once, by name, at its head. `doctor` has the database plan each.

/// A statement: its name, which begins with the module that it is in, and its text.
pub(crate) type Statement = (&'static str, &'static str);

/// Makes a constant of each statement, and a list of them all for `statements.rs`.
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident = $text:expr;)+) => {
        $($(#[$meta])* const $name: &str = $text;)+

        /// The statements of this file.
        pub(in crate::storage) const STATEMENTS: &[crate::storage::statement::Statement] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name)),+];
    };
}
pub(in crate::storage) use statements;
