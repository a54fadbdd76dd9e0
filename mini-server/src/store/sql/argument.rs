//! Values for placeholders.

use sqlx::Arguments as _;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

/// A value for a placeholder. What is absent has a type, too.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum Argument {
    Text(Option<String>),
    Integer(Option<i64>),
    Number(Option<f64>),
    Truth(bool),
}

/// In the place of a NUL, which a text of PostgreSQL cannot have in it.
const NUL: &str = "\u{fffd}";

/// As SQLite takes them.
pub(super) fn sqlite(arguments: Vec<Argument>) -> Result<SqliteArguments, BoxDynError> {
    let mut all = SqliteArguments::default();
    all.reserve(arguments.len(), 0);
    for argument in arguments {
        match argument {
            Argument::Text(text) => all.add(text),
            Argument::Integer(number) => all.add(number),
            Argument::Number(number) => all.add(number),
            Argument::Truth(truth) => all.add(truth),
        }?;
    }
    Ok(all)
}

/// As PostgreSQL takes them.
pub(super) fn postgres(arguments: Vec<Argument>) -> Result<PgArguments, BoxDynError> {
    let mut all = PgArguments::default();
    all.reserve(arguments.len(), 0);
    for argument in arguments {
        match argument {
            Argument::Text(Some(text)) if text.contains('\0') => all.add(text.replace('\0', NUL)),
            Argument::Text(text) => all.add(text),
            Argument::Integer(number) => all.add(number),
            Argument::Number(number) => all.add(number),
            Argument::Truth(truth) => all.add(truth),
        }?;
    }
    Ok(all)
}

impl From<String> for Argument {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Argument {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<Option<String>> for Argument {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<Option<&str>> for Argument {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(ToOwned::to_owned))
    }
}

impl From<&Option<String>> for Argument {
    fn from(text: &Option<String>) -> Self {
        Self::Text(text.clone())
    }
}

impl From<i64> for Argument {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

impl From<Option<i64>> for Argument {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Argument {
    fn from(number: f64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<f64>> for Argument {
    fn from(number: Option<f64>) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Argument {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}
