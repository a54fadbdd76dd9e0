//! Finding devices by what is known about them.

use std::collections::HashMap;

use tandem_api::DeploymentStatus;
use tandem_api::management::DeviceStatus;

use super::devices::{parsed, parsed_or_null, unsigned};
use super::dialect::{LIKE, push_matches};
use super::sql::{Either, QueryBuilder};
use super::{Error, Id, Store, push_ids};
use crate::filter::{Operand, Order, Predicate, Relation, Subject, Test};
use crate::paging::Window;

/// Which devices, in which order.
#[derive(Debug, Clone, Default)]
pub struct DeviceSearch {
    /// All of these have to hold.
    pub predicates: Vec<Predicate>,
    /// The first decides first.
    pub order: Vec<Order>,
    /// Those among these, unless absent.
    pub ids: Option<Vec<Id>>,
    /// Those that have this in some attribute, unless empty.
    pub text: String,
}

/// A device as the inventory shows it, without its attributes.
#[derive(Debug, Clone)]
pub struct Found {
    /// Identifies it.
    pub id: Id,
    /// What it says it is: normalised JSON.
    pub identity: String,
    /// Whether it is let in.
    pub status: DeviceStatus,
    /// Its group.
    pub group: Option<String>,
    /// When it came first, ms.
    pub created: i64,
    /// When something changed last, ms.
    pub updated: i64,
    /// When it was heard from last, ms.
    pub check_in: Option<i64>,
    /// How the deployment ended that it was done with last.
    pub outcome: Option<DeploymentStatus>,
}

impl Store {
    /// Some of the devices that a search finds, and how many it finds in all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn search(
        &self,
        search: &DeviceSearch,
        window: Window,
    ) -> Result<(Vec<Found>, u64), Error> {
        // First only which devices: their order is found from indices, and counted in the same pass.
        let mut query = QueryBuilder::new("SELECT d.id, COUNT(*) OVER () AS total ");
        query.push(FROM);
        for (n, order) in search.order.iter().enumerate() {
            push_sorted(&mut query, n, order);
        }
        push_where(&mut query, search);
        query.push(" ORDER BY ");
        for (n, order) in search.order.iter().enumerate() {
            push_order(&mut query, n, order);
        }
        query.push("d.created, d.id LIMIT ");
        query.push_bind(window.limit);
        query.push(" OFFSET ");
        query.push_bind(window.offset);
        let rows = query.build().fetch_all(&self.readers).await?;
        let Some(first) = rows.first() else {
            return Ok((Vec::new(), self.count_found(search, window).await?));
        };
        let total = unsigned(first.try_get("total")?);
        let ids = rows
            .iter()
            .map(|row| parsed(row, "id"))
            .collect::<Result<Vec<Id>, _>>()?;
        let mut found = self.found(&ids).await?;
        let in_order = ids.iter().filter_map(|id| found.remove(id));
        Ok((in_order.collect(), total))
    }

    /// How many devices a search finds of which none is in the window.
    async fn count_found(&self, search: &DeviceSearch, window: Window) -> Result<u64, Error> {
        if window.offset == 0 && window.limit > 0 {
            return Ok(0);
        }
        let mut query = QueryBuilder::new("SELECT COUNT(*) ");
        query.push(FROM);
        push_where(&mut query, search);
        let row = query.build().fetch_one(&self.readers).await?;
        Ok(unsigned(row.try_get(0)?))
    }

    async fn found(&self, ids: &[Id]) -> Result<HashMap<Id, Found>, Error> {
        let mut query = QueryBuilder::new(
            "SELECT d.id, d.identity, d.status, d.group_name, d.outcome, d.created, ",
        );
        query.push(UPDATED);
        query.push(" AS updated, c.at AS check_in ");
        query.push(FROM);
        query.push(" WHERE d.id IN ");
        push_ids(&mut query, ids);
        let rows = query.build().fetch_all(&self.readers).await?;
        let found = rows.iter().map(|row| {
            let id = parsed(row, "id")?;
            let found = Found {
                id,
                identity: row.try_get("identity")?,
                status: parsed(row, "status")?,
                group: row.try_get("group_name")?,
                created: row.try_get("created")?,
                updated: row.try_get("updated")?,
                check_in: row.try_get("check_in")?,
                outcome: parsed_or_null(row, "outcome")?,
            };
            Ok((id, found))
        });
        found.collect()
    }
}

/// Devices `d` with what conditions on them need.
pub(super) const FROM: &str = "FROM devices d LEFT JOIN check_ins c ON c.device_id = d.id";

const UPDATED: &str =
    "CASE WHEN d.inventory_updated > d.updated THEN d.inventory_updated ELSE d.updated END";

fn push_where(query: &mut QueryBuilder, search: &DeviceSearch) {
    query.push(" WHERE 1 = 1");
    if let Some(ids) = &search.ids {
        query.push(" AND d.id IN ");
        push_ids(query, ids);
    }
    if !search.text.is_empty() {
        // The texts are looked through once; SQLite does so in the index.
        query.push_either(Either {
            sqlite: " AND d.id IN (SELECT a.device_id FROM attributes a WHERE a.rowid IN
                           (SELECT t.rowid FROM attributes t WHERE t.text",
            postgres: " AND d.id IN (SELECT t.device_id FROM attributes t WHERE (t.text",
        });
        query.push_either(LIKE);
        query.push_bind(containing(&search.text));
        query.push(" ESCAPE '\\'))");
    }
    push_predicates(query, &search.predicates);
}

/// All of these have to hold as well.
pub(super) fn push_predicates(query: &mut QueryBuilder, predicates: &[Predicate]) {
    for Predicate { subject, test } in predicates {
        query.push(" AND ");
        match test {
            Test::Exists(true) => push_has(query, subject, None),
            Test::Exists(false) => push_has_not(query, subject, None),
            Test::Compare(relation, operand) => {
                push_has(query, subject, Some(&Value::One(*relation, operand)))
            }
            Test::NotEqual(operand) => {
                push_has_not(query, subject, Some(&Value::One(Relation::Equal, operand)))
            }
            Test::In(operands) => push_has(query, subject, Some(&Value::Any(operands))),
            Test::NotIn(operands) => push_has_not(query, subject, Some(&Value::Any(operands))),
            Test::Matches(expression) => {
                push_has(query, subject, Some(&Value::Matching(expression)))
            }
            Test::LessOrMissing(operand) => {
                query.push("(");
                push_has(query, subject, Some(&Value::One(Relation::Less, operand)));
                query.push(" OR ");
                push_has_not(query, subject, None);
                query.push(")");
            }
        }
    }
}

/// What one value of a subject has to be.
enum Value<'a> {
    One(Relation, &'a Operand),
    Any(&'a [Operand]),
    Matching(&'a str),
}

fn push_has_not(query: &mut QueryBuilder, subject: &Subject, value: Option<&Value<'_>>) {
    query.push("NOT ");
    push_has(query, subject, value);
}

/// The subject has a value, and one that is as wanted.
fn push_has(query: &mut QueryBuilder, subject: &Subject, value: Option<&Value<'_>>) {
    let (text, number) = match subject {
        Subject::Attribute { scope, name } => {
            query
                .push("EXISTS (SELECT 1 FROM attributes a WHERE a.device_id = d.id AND a.scope = ");
            query.push_bind(*scope);
            query.push(" AND a.name = ");
            query.push_bind(name.clone());
            ("a.text", "a.number")
        }
        Subject::Status
        | Subject::Group
        | Subject::Created
        | Subject::Updated
        | Subject::CheckIn
        | Subject::Outcome
        | Subject::Identity => {
            let column = column(subject);
            query.push("(");
            query.push(column);
            query.push(" IS NOT NULL");
            (column, column)
        }
    };
    match value {
        None => {}
        Some(Value::One(relation, operand)) => {
            query.push(" AND ");
            push_comparison(query, text, number, *relation, operand);
        }
        Some(Value::Any(operands)) => {
            query.push(" AND (1 = 0");
            for operand in *operands {
                query.push(" OR ");
                push_comparison(query, text, number, Relation::Equal, operand);
            }
            query.push(")");
        }
        Some(Value::Matching(expression)) => {
            query.push(" AND ");
            push_matches(query, &format!("CAST({text} AS TEXT)"), expression);
        }
    }
    query.push(")");
}

fn push_comparison(
    query: &mut QueryBuilder,
    text: &'static str,
    number: &'static str,
    relation: Relation,
    operand: &Operand,
) {
    query.push(match operand {
        Operand::Text(_) => text,
        Operand::Number(_) | Operand::Time(_) => number,
    });
    query.push(match relation {
        Relation::Equal => " = ",
        Relation::Greater => " > ",
        Relation::GreaterOrEqual => " >= ",
        Relation::Less => " < ",
        Relation::LessOrEqual => " <= ",
    });
    match operand {
        Operand::Text(text) => query.push_bind(text.clone()),
        // What is only ever a text is compared with the text of the number.
        Operand::Number(one) if text == number => query.push_bind(format!("{one:?}")),
        Operand::Number(one) => query.push_bind(*one),
        Operand::Time(time) => query.push_bind(*time),
    };
}

/// What the `n`th order needs beside the devices: the attribute that it is about, or the first of its values.
fn push_sorted(query: &mut QueryBuilder, n: usize, order: &Order) {
    let Subject::Attribute { scope, name } = &order.subject else {
        return;
    };
    query.push(format_args!(
        " LEFT JOIN attributes o{n} ON o{n}.device_id = d.id AND o{n}.position <= 0 AND o{n}.scope = "
    ));
    query.push_bind(*scope);
    query.push(format_args!(" AND o{n}.name = "));
    query.push_bind(name.clone());
}

fn push_order(query: &mut QueryBuilder, n: usize, order: &Order) {
    // What a device does not have is the least.
    let direction = if order.descending {
        "DESC NULLS LAST"
    } else {
        "ASC NULLS FIRST"
    };
    match &order.subject {
        Subject::Attribute { .. } => {
            query.push(format_args!(
                "o{n}.number {direction}, o{n}.text {direction}, "
            ));
        }
        subject @ (Subject::Status
        | Subject::Group
        | Subject::Created
        | Subject::Updated
        | Subject::CheckIn
        | Subject::Outcome
        | Subject::Identity) => {
            query.push(format_args!("{} {direction}, ", column(subject)));
        }
    }
}

/// The column of a subject that is not an attribute.
fn column(subject: &Subject) -> &'static str {
    match subject {
        Subject::Status => "d.status",
        Subject::Group => "d.group_name",
        Subject::Created => "d.created",
        Subject::Updated => UPDATED,
        Subject::CheckIn => "c.at",
        Subject::Outcome => "d.outcome",
        Subject::Identity => "d.identity",
        Subject::Attribute { .. } => "NULL",
    }
}

/// A pattern for `LIKE ... ESCAPE '\\'` that matches what contains `text`.
pub(super) fn containing(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!("%{text}%")
}
