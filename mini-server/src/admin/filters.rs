//! `tandem-server filter`

use anyhow::{Result, anyhow};
use clap::Subcommand;
use serde_json::{Value, json};
use tandem_api::management::{Filter, NewFilter, SavedFilter};

use super::client::{Client, escape};
use super::output::{Output, Table};
use crate::exit::{Because, Exit};

const PATH: &str = "/api/management/v2/inventory/filters";

/// What to do with saved filters: groups that devices are in as long as they fulfil some conditions
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Save a filter
    Create {
        /// What to call it
        name: String,
        /// Conditions that all have to hold: [SCOPE/]NAME=VALUE, or with != < <= > >= or =~ (expression); the scope is
        /// inventory (without one), identity, tags or system
        #[arg(required = true)]
        terms: Vec<String>,
    },
    /// List saved filters
    List,
    /// Forget a filter; deployments that were made for it keep it
    Delete {
        /// Which one: its name or identifier
        filter: String,
    },
}

/// Does it.
///
/// # Errors
/// If it cannot be done.
pub async fn run(verb: Verb, client: &mut Client, output: Output) -> Result<()> {
    match verb {
        Verb::Create { name, terms } => {
            let terms = terms
                .iter()
                .map(|term| parse(term))
                .collect::<Result<_>>()?;
            let new = NewFilter { name, terms };
            let id = client.make(PATH, &new).await?;
            output.done(&json!({"id": id}), &format!("made {id}"))
        }
        Verb::List => {
            let filters: Vec<SavedFilter> = client.get(PATH).await?;
            output.show(&filters, |filters| {
                let mut table = Table::new(&["ID", "NAME", "DEVICES"]);
                for filter in filters {
                    table.row([
                        filter.id.clone(),
                        filter.name.clone(),
                        in_words("", &filter.terms),
                    ]);
                }
                table.render()
            })
        }
        Verb::Delete { filter } => {
            let id = find(client, &filter).await?;
            client.delete(&format!("{PATH}/{}", escape(&id))).await?;
            output.done(&json!({"deleted": id}), &format!("{filter} is forgotten"))
        }
    }
}

/// The identifier of a filter that is given by its name or identifier.
///
/// # Errors
/// If there is none.
pub async fn find(client: &mut Client, filter: &str) -> Result<String> {
    let filters: Vec<SavedFilter> = client.get(PATH).await?;
    let found = filters
        .into_iter()
        .find(|one| one.name == filter || one.id == filter);
    let missing = || Because(Exit::Missing, format!("there is no filter {filter:?}"));
    Ok(found.map(|one| one.id).ok_or_else(missing)?)
}

/// Relations as they are written here and over the wire; the longer ones first.
const RELATIONS: [(&str, &str); 7] = [
    ("!=", "$ne"),
    ("<=", "$lte"),
    (">=", "$gte"),
    ("=~", "$regex"),
    ("=", "$eq"),
    ("<", "$lt"),
    (">", "$gt"),
];

fn parse(text: &str) -> Result<Filter> {
    // The relation that comes first is the one: a value may have others in it.
    let found = RELATIONS
        .iter()
        .filter_map(|(sign, kind)| Some((text.find(sign)?, *sign, *kind)))
        .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
    let Some((at, sign, kind)) = found else {
        return Err(anyhow!(
            "{text:?} is no condition: one is written like kernel=6.6 or tags/site!=lab"
        ));
    };
    let (subject, rest) = text.split_at(at);
    let value = rest.strip_prefix(sign).unwrap_or_default();
    let (scope, attribute) = subject.split_once('/').unwrap_or(("inventory", subject));
    let number = match kind {
        "$lt" | "$lte" | "$gt" | "$gte" => value.parse::<serde_json::Number>().ok(),
        _ => None,
    };
    Ok(Filter {
        scope: scope.to_owned(),
        attribute: attribute.to_owned(),
        kind: kind.to_owned(),
        value: number.map_or_else(|| value.into(), Value::Number),
    })
}

/// A filter for people.
#[must_use]
pub fn in_words(name: &str, terms: &[Filter]) -> String {
    if !name.is_empty() {
        return name.to_owned();
    }
    if terms.is_empty() {
        return "all".to_owned();
    }
    let terms = terms.iter().map(|term| {
        let sign = RELATIONS.iter().find(|(_, kind)| *kind == term.kind);
        let sign = sign.map_or_else(
            || format!(" {} ", term.kind),
            |(sign, _)| (*sign).to_owned(),
        );
        let value = term
            .value
            .as_str()
            .map_or_else(|| term.value.to_string(), ToOwned::to_owned);
        let scope = if term.scope == "inventory" {
            String::new()
        } else {
            format!("{}/", term.scope)
        };
        format!("{scope}{}{sign}{value}", term.attribute)
    });
    terms.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, scope: &str, attribute: &str, kind: &str, value: Value) {
        let term = parse(text).unwrap();
        assert_eq!(
            (
                term.scope.as_str(),
                term.attribute.as_str(),
                term.kind.as_str(),
                &term.value
            ),
            (scope, attribute, kind, &value)
        );
        assert_eq!(in_words("", &[term]), text);
    }

    #[test]
    fn conditions_are_read_and_said_again() {
        check("kernel=6.6", "inventory", "kernel", "$eq", "6.6".into());
        check("tags/site!=lab", "tags", "site", "$ne", "lab".into());
        check(
            "mem_total_kB>=1000",
            "inventory",
            "mem_total_kB",
            "$gte",
            1000.into(),
        );
        check("name=~a=b", "inventory", "name", "$regex", "a=b".into());
        check("a=x<=y", "inventory", "a", "$eq", "x<=y".into());
        assert!(parse("kernel").is_err());
        assert_eq!(in_words("", &[]), "all");
    }
}
