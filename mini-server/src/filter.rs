//! Questions for devices: conditions on what is known about them, and orders. Pure: from requests to values.

use std::str::FromStr;

use serde_json::Value;
use tandem_api::Timestamp;
use tandem_api::management::{Filter, Sort};

/// What a condition or an order is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Whether the device is let in.
    Status,
    /// Its group.
    Group,
    /// When it came first.
    Created,
    /// When something changed last.
    Updated,
    /// When it was heard from last.
    CheckIn,
    /// How the deployment ended that it was done with last. Only pages ask for this.
    Outcome,
    /// What it says it is, as a whole. Only pages ask for this.
    Identity,
    /// One of its attributes.
    Attribute {
        /// Who says so.
        scope: &'static str,
        /// Which one.
        name: String,
    },
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// A time, milliseconds since 1970.
    Time(i64),
}

/// What has to hold of the subject. An attribute with several values fulfils a condition if one of them does.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It has a value in this relation.
    Compare(Relation, Operand),
    /// It has no such value, or none at all.
    NotEqual(Operand),
    /// It has one of these values.
    In(Vec<Operand>),
    /// It has none of these values.
    NotIn(Vec<Operand>),
    /// It is there, or it is not.
    Exists(bool),
    /// It has a value that this expression matches.
    Matches(String),
    /// It is smaller, or not there at all.
    LessOrMissing(Operand),
}

/// A relation between a value and an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Equal,
    /// Greater.
    Greater,
    /// Greater or the same.
    GreaterOrEqual,
    /// Less.
    Less,
    /// Less or the same.
    LessOrEqual,
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate {
    /// On what.
    pub subject: Subject,
    /// What has to hold.
    pub test: Test,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub subject: Subject,
    /// The greatest first.
    pub descending: bool,
}

/// Values in one list.
const LIST: usize = 500;

/// Bytes of an expression.
const EXPRESSION: usize = 1024;

impl Subject {
    /// The attribute `name` that `scope` speaks of.
    ///
    /// # Errors
    /// With the reason, if there is no such scope.
    pub fn new(scope: &str, name: &str) -> Result<Self, String> {
        let attribute = |scope| Self::Attribute {
            scope,
            name: name.to_owned(),
        };
        match (scope, name) {
            ("identity", "status") => Ok(Self::Status),
            ("system", "group") => Ok(Self::Group),
            ("system", "created_ts") => Ok(Self::Created),
            ("system", "updated_ts") => Ok(Self::Updated),
            ("system", "check_in_time") => Ok(Self::CheckIn),
            ("identity", _) => Ok(attribute("identity")),
            ("inventory", _) => Ok(attribute("inventory")),
            ("tags", _) => Ok(attribute("tags")),
            // Nothing is known in these; that is no error.
            ("system", _) => Ok(attribute("system")),
            ("monitor", _) => Ok(attribute("monitor")),
            _ => Err(format!("unknown scope {scope:?}")),
        }
    }

    /// `[scope/]name` as it stands in an address.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((scope, name)) => Self::new(scope, name),
            None => Self::new("inventory", text),
        }
    }

    fn is_time(&self) -> bool {
        match self {
            Self::Created | Self::Updated | Self::CheckIn => true,
            Self::Status
            | Self::Group
            | Self::Outcome
            | Self::Identity
            | Self::Attribute { .. } => false,
        }
    }

    /// `value` as something that can be compared with this.
    fn operand(&self, value: &Value) -> Result<Operand, String> {
        match value {
            Value::String(text) if self.is_time() => Timestamp::from_str(text)
                .map(|time| Operand::Time(time.millis()))
                .map_err(|err| err.to_string()),
            Value::String(text) => Ok(Operand::Text(text.clone())),
            Value::Number(number) if !self.is_time() => number
                .as_f64()
                .map(Operand::Number)
                .ok_or_else(|| "a number is too large".to_owned()),
            Value::Number(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Array(_)
            | Value::Object(_) => Err(format!("cannot compare with {value}")),
        }
    }
}

impl Predicate {
    /// A condition as the second version of the API writes it.
    ///
    /// # Errors
    /// With the reason, if it makes no sense.
    pub fn parse(filter: &Filter) -> Result<Self, String> {
        let subject = Subject::new(&filter.scope, &filter.attribute)?;
        let operand = || subject.operand(&filter.value);
        let needs = |what: &str| format!("{} needs {what}, not {}", filter.kind, filter.value);
        let list = || match filter.value.as_array() {
            Some(values) if values.len() <= LIST => {
                values.iter().map(|value| subject.operand(value)).collect()
            }
            Some(_) | None => Err(needs(&format!("a list of at most {LIST} values"))),
        };
        let compare = |relation| Ok::<_, String>(Test::Compare(relation, operand()?));
        let test = match filter.kind.as_str() {
            "$eq" => compare(Relation::Equal)?,
            "$gt" => compare(Relation::Greater)?,
            "$gte" => compare(Relation::GreaterOrEqual)?,
            "$lt" => compare(Relation::Less)?,
            "$lte" => compare(Relation::LessOrEqual)?,
            "$ne" => Test::NotEqual(operand()?),
            "$ltne" => Test::LessOrMissing(operand()?),
            "$in" => Test::In(list()?),
            "$nin" => Test::NotIn(list()?),
            "$exists" => {
                let wanted = filter.value.as_bool();
                Test::Exists(wanted.ok_or_else(|| needs("true or false"))?)
            }
            "$regex" => {
                let text = filter.value.as_str();
                Test::Matches(expression(text.ok_or_else(|| needs("a text"))?)?)
            }
            other => return Err(format!("unknown filter type {other:?}")),
        };
        Ok(Self { subject, test })
    }

    /// A condition as it stands in an address: `[scope/]name=[eq:]value`.
    ///
    /// # Errors
    /// With the reason, if it makes no sense.
    pub fn parse_pair(name: &str, value: &str) -> Result<Self, String> {
        let subject = Subject::parse(name)?;
        let value = value.strip_prefix("eq:").unwrap_or(value);
        let operand = subject.operand(&Value::String(value.to_owned()))?;
        Ok(Self {
            subject,
            test: Test::Compare(Relation::Equal, operand),
        })
    }
}

impl Order {
    /// An order as the second version of the API writes it.
    ///
    /// # Errors
    /// With the reason, if it makes no sense.
    pub fn parse(sort: &Sort) -> Result<Self, String> {
        Self::new(Subject::new(&sort.scope, &sort.attribute)?, &sort.order)
    }

    /// Orders as they stand in an address: `[scope/]name[:asc|:desc]`, with commas between several.
    ///
    /// # Errors
    /// With the reason, if one makes no sense.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',')
            .take(8)
            .map(|one| match one.rsplit_once(':') {
                Some((name, direction)) => Self::new(Subject::parse(name)?, direction),
                None => Self::new(Subject::parse(one)?, "desc"),
            })
            .collect()
    }

    fn new(subject: Subject, direction: &str) -> Result<Self, String> {
        let descending = match direction {
            "asc" | "" => false,
            "desc" => true,
            other => return Err(format!("an order is asc or desc, not {other:?}")),
        };
        Ok(Self {
            subject,
            descending,
        })
    }
}

/// Mender's expressions are matched from the beginning; `/expression/flags` has flags.
fn expression(text: &str) -> Result<String, String> {
    if text.len() > EXPRESSION {
        return Err(format!("an expression has at most {EXPRESSION} bytes"));
    }
    let (body, flags) = match text
        .strip_prefix('/')
        .and_then(|rest| rest.rsplit_once('/'))
    {
        Some((body, flags)) => (body, flags),
        None => (text, ""),
    };
    if !flags.chars().all(|flag| "imsx".contains(flag)) {
        return Err(format!(
            "an expression has the flags i, m, s and x, not {flags:?}"
        ));
    }
    let flags = if flags.is_empty() {
        String::new()
    } else {
        format!("(?{flags})")
    };
    let anchored = format!("{flags}^(?:{body})");
    match regex::Regex::new(&anchored) {
        Ok(_) => Ok(anchored),
        Err(err) => Err(format!(
            "{text:?} is not an expression that is supported: {err}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, value: &str) -> Result<Test, String> {
        Predicate::parse(&Filter {
            scope: "inventory".to_owned(),
            attribute: "a".to_owned(),
            kind: kind.to_owned(),
            value: serde_json::from_str(value).unwrap(),
        })
        .map(|predicate| predicate.test)
    }

    #[test]
    fn each_kind_of_filter_has_its_kind_of_value() {
        let text = |text: &str| Operand::Text(text.to_owned());
        assert_eq!(
            parse("$eq", "\"x\""),
            Ok(Test::Compare(Relation::Equal, text("x")))
        );
        assert_eq!(
            parse("$lte", "1.5"),
            Ok(Test::Compare(Relation::LessOrEqual, Operand::Number(1.5)))
        );
        assert_eq!(
            parse("$in", "[\"x\",2]"),
            Ok(Test::In(vec![text("x"), Operand::Number(2.0)]))
        );
        assert_eq!(parse("$exists", "false"), Ok(Test::Exists(false)));
        assert_eq!(
            parse("$regex", "\"a|b\""),
            Ok(Test::Matches("^(?:a|b)".to_owned()))
        );
        assert_eq!(
            parse("$regex", "\"/a/i\""),
            Ok(Test::Matches("(?i)^(?:a)".to_owned()))
        );
        for (kind, value) in [
            ("$eq", "null"),
            ("$eq", "{\"$gt\":\"\"}"),
            ("$in", "\"x\""),
            ("$in", "[[]]"),
            ("$exists", "\"true\""),
            ("$regex", "1"),
            ("$regex", "\"/a/z\""),
            ("$where", "\"1\""),
            ("eq", "\"1\""),
        ] {
            assert!(parse(kind, value).is_err(), "{kind} {value}");
        }
    }

    #[test]
    fn what_the_server_itself_says_is_told_apart() {
        assert_eq!(Subject::parse("identity/status"), Ok(Subject::Status));
        assert_eq!(Subject::parse("system/group"), Ok(Subject::Group));
        let attribute = |scope, name: &str| {
            Ok(Subject::Attribute {
                scope,
                name: name.to_owned(),
            })
        };
        assert_eq!(Subject::parse("status"), attribute("inventory", "status"));
        assert_eq!(Subject::parse("tags/a/b"), attribute("tags", "a/b"));
        assert!(Subject::parse("elsewhere/x").is_err());
    }

    #[test]
    fn times_are_compared_as_times() {
        let predicate =
            Predicate::parse_pair("system/created_ts", "eq:1970-01-01T00:00:01Z").unwrap();
        assert_eq!(
            predicate.test,
            Test::Compare(Relation::Equal, Operand::Time(1000))
        );
        assert!(Predicate::parse_pair("system/created_ts", "yesterday").is_err());
    }

    #[test]
    fn orders_are_read() {
        let orders = Order::parse_list("a:asc,system/group,b:desc").unwrap();
        assert_eq!(
            orders
                .iter()
                .map(|order| order.descending)
                .collect::<Vec<_>>(),
            [false, true, true]
        );
        assert_eq!(orders[1].subject, Subject::Group);
        assert!(Order::parse_list("a:up").is_err());
    }
}
