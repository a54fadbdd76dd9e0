//! Statements that are put together.

use std::fmt::{Display, Write};

use super::{Argument, Query, Text};
use crate::store::dialect::Dialect;

/// A statement that is being put together.
pub(in crate::store) struct QueryBuilder {
    sql: String,
    /// Where something goes that the databases write differently, in order.
    differences: Vec<(usize, Either)>,
    arguments: Vec<Argument>,
}

/// The same in both dialects.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Either {
    pub(in crate::store) sqlite: &'static str,
    pub(in crate::store) postgres: &'static str,
}

/// Items of a list, with something between them.
pub(in crate::store) struct Separated<'b> {
    query: &'b mut QueryBuilder,
    separator: &'static str,
    first: bool,
}

impl QueryBuilder {
    pub(in crate::store) fn new(sql: &str) -> Self {
        Self {
            sql: sql.to_owned(),
            differences: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Goes on with this. It must be of the program: what comes from outside is bound.
    pub(in crate::store) fn push(&mut self, sql: impl Display) -> &mut Self {
        // A string takes everything.
        let _ = write!(self.sql, "{sql}");
        self
    }

    /// Goes on with what the database calls this.
    pub(in crate::store) fn push_either(&mut self, either: Either) -> &mut Self {
        self.differences.push((self.sql.len(), either));
        self
    }

    /// Goes on with a placeholder for this.
    pub(in crate::store) fn push_bind(&mut self, value: impl Into<Argument>) -> &mut Self {
        self.arguments.push(value.into());
        let _ = write!(self.sql, "${}", self.arguments.len());
        self
    }

    /// Goes on with a list.
    pub(in crate::store) fn separated(&mut self, separator: &'static str) -> Separated<'_> {
        Separated {
            query: self,
            separator,
            first: true,
        }
    }

    /// Goes on with rows of values.
    pub(in crate::store) fn push_values<I: IntoIterator>(
        &mut self,
        rows: I,
        mut push: impl FnMut(Separated<'_>, I::Item),
    ) -> &mut Self {
        self.push("VALUES ");
        for (n, row) in rows.into_iter().enumerate() {
            self.push(if n == 0 { "(" } else { ", (" });
            push(self.separated(", "), row);
            self.push(")");
        }
        self
    }

    /// The statement; there is nothing left.
    pub(in crate::store) fn build(&mut self) -> Query {
        let arguments = std::mem::take(&mut self.arguments);
        let built = Self {
            sql: std::mem::take(&mut self.sql),
            differences: std::mem::take(&mut self.differences),
            arguments: Vec::new(),
        };
        Query {
            sql: Text::Built(built),
            arguments,
        }
    }

    pub(super) fn into_sql(self, dialect: Dialect) -> String {
        let mut sql = self.sql;
        for (at, either) in self.differences.into_iter().rev() {
            sql.insert_str(at, either.of(dialect));
        }
        sql
    }
}

impl Either {
    /// As one database takes it.
    pub(in crate::store) fn of(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

impl Separated<'_> {
    /// Another item.
    pub(in crate::store) fn push(&mut self, sql: impl Display) -> &mut Self {
        self.next();
        self.query.push(sql);
        self
    }

    /// Another item, bound.
    pub(in crate::store) fn push_bind(&mut self, value: impl Into<Argument>) -> &mut Self {
        self.next();
        self.query.push_bind(value);
        self
    }

    /// More of the last item.
    pub(in crate::store) fn push_unseparated(&mut self, sql: impl Display) -> &mut Self {
        self.query.push(sql);
        self
    }

    /// More of the last item, bound.
    pub(in crate::store) fn push_bind_unseparated(
        &mut self,
        value: impl Into<Argument>,
    ) -> &mut Self {
        self.query.push_bind(value);
        self
    }

    fn next(&mut self) {
        if !self.first {
            self.query.push(self.separator);
        }
        self.first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_and_differences_come_where_they_belong() {
        let mut query = QueryBuilder::new("SELECT 1 WHERE a");
        query.push_either(Either {
            sqlite: " LIKE ",
            postgres: " ILIKE ",
        });
        query.push_bind("x").push(" OR ");
        query.push_values([1_i64, 2], |mut row, n| {
            row.push_bind(n).push("0");
        });
        query.push_either(Either {
            sqlite: "!",
            postgres: "?",
        });
        assert_eq!(query.arguments.len(), 3);
        assert_eq!(
            query.into_sql(Dialect::Postgres),
            "SELECT 1 WHERE a ILIKE $1 OR VALUES ($2, 0), ($3, 0)?"
        );
    }
}
