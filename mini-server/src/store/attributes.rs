//! What is known about devices, attribute by attribute.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};
use tandem_api::Timestamp;
use tandem_api::device::{Attribute, AttributeValue};

use super::devices::{parsed, unsigned};
use super::enrolment::enrol;
use super::sql::{self, QueryBuilder, Row};
use super::writer::{Change, Topic, Tx};
use super::{Connection, Error, Id, Store, push_ids};
use crate::audit::{Action, Kind};
use crate::identity::Identity;

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The device.
    Inventory,
    /// An operator.
    Tags,
}

impl Owner {
    fn as_str(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Tags => "tags",
        }
    }
}

/// Whether attributes that are not named stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They go.
    Replace,
    /// They stay, as long as there are no more than this in all.
    Merge {
        /// How many attributes there may be.
        limit: u64,
    },
}

/// What became of new attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// They are there.
    Done,
    /// There is no such device.
    Missing,
    /// There would be too many.
    TooMany,
}

impl Store {
    /// Writes attributes of a device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn write_attributes(
        &self,
        device: Id,
        owner: Owner,
        attributes: Vec<Attribute>,
        mode: Mode,
        now: i64,
    ) -> Result<Written, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let found = sql::query("UPDATE devices SET inventory_updated = $2 WHERE id = $1")
                    .bind(device.to_string())
                    .bind(now)
                    .execute(tx.connection())
                    .await?;
                if found.rows_affected() == 0 {
                    return Ok(Written::Missing);
                }
                if let Mode::Merge { limit } = mode {
                    let names = names(tx, device, owner).await?;
                    let new = attributes
                        .iter()
                        .filter(|one| !names.contains(&one.name))
                        .count();
                    let all = names.len().saturating_add(new);
                    if u64::try_from(all).unwrap_or(u64::MAX) > limit {
                        return Ok(Written::TooMany);
                    }
                }
                remove(tx, device, owner, &attributes, mode).await?;
                insert(tx.connection(), device, owner.as_str(), &attributes, now).await?;
                enrol(tx, device).await?;
                tx.changed(Change::Shown(Topic::Devices));
                // What a device says of itself is no change by anybody.
                if let Owner::Tags = owner {
                    let names: Vec<&str> = attributes.iter().map(|one| one.name.as_str()).collect();
                    let change = format!("tags: {}", names.join(", "));
                    tx.audit(Action::Update, Kind::Device, device, change)
                        .await?;
                }
                Ok(Written::Done)
            })
        })
        .await
    }

    /// Forgets what a device said about itself.
    ///
    /// # Errors
    /// Of the database.
    pub async fn clear_inventory(&self, device: Id) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move { remove(tx, device, Owner::Inventory, &[], Mode::Replace).await })
        })
        .await
    }

    /// The attributes of devices, by device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn attributes(&self, devices: &[Id]) -> Result<BTreeMap<Id, Vec<Attribute>>, Error> {
        let mut found: BTreeMap<Id, Vec<Attribute>> = BTreeMap::new();
        if devices.is_empty() {
            return Ok(found);
        }
        let mut query = QueryBuilder::new(
            "SELECT device_id, scope, name, position, text, number, description, updated
             FROM attributes WHERE device_id IN ",
        );
        push_ids(&mut query, devices);
        query.push(" ORDER BY device_id, scope, name, position");
        for row in query.build().fetch_all(&self.readers).await? {
            let list = found.entry(parsed(&row, "device_id")?).or_default();
            add(list, &row)?;
        }
        Ok(found)
    }

    /// What lists show of devices: the tag `name`, and the values of `inventory` that are asked for. Of each value the
    /// beginning.
    ///
    /// # Errors
    /// Of the database.
    pub async fn labels(
        &self,
        devices: &[Id],
        inventory: &[&'static str],
    ) -> Result<BTreeMap<Id, BTreeMap<String, String>>, Error> {
        let mut found: BTreeMap<Id, BTreeMap<String, String>> = BTreeMap::new();
        if devices.is_empty() {
            return Ok(found);
        }
        let mut query = QueryBuilder::new(
            "SELECT device_id, name, SUBSTR(text, 1, 200) AS text FROM attributes
             WHERE position <= 0 AND (scope = 'tags' AND name = 'name' OR scope = 'inventory' AND name IN (",
        );
        let mut names = query.separated(", ");
        for name in inventory {
            names.push_bind(*name);
        }
        query.push(")) AND device_id IN ");
        push_ids(&mut query, devices);
        for row in query.build().fetch_all(&self.readers).await? {
            found
                .entry(parsed(&row, "device_id")?)
                .or_default()
                .insert(row.try_get("name")?, row.try_get("text")?);
        }
        Ok(found)
    }

    /// The names of all attributes with their scopes, and how many devices have them; at most 500.
    ///
    /// # Errors
    /// Of the database.
    pub async fn attribute_names(&self) -> Result<Vec<(String, String, u64)>, Error> {
        let rows = sql::query(
            "SELECT scope, name, COUNT(*) AS devices FROM attributes WHERE position <= 0
             GROUP BY scope, name ORDER BY devices DESC, scope, name LIMIT 500",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    row.try_get("scope")?,
                    row.try_get("name")?,
                    unsigned(row.try_get("devices")?),
                ))
            })
            .collect()
    }
}

/// Notes what a new device says it is, so that one can search for it. Values that are neither texts nor numbers are
/// only in the identity itself.
pub(super) async fn insert_identity(
    connection: &mut Connection,
    device: Id,
    identity: &Identity,
    now: i64,
) -> Result<(), Error> {
    let object: Map<String, Value> = serde_json::from_str(identity.as_str())
        .map_err(|err| Error::corrupt(format!("an identity: {err}")))?;
    let attributes: Vec<Attribute> = object
        .into_iter()
        .filter_map(|(name, value)| {
            let value: AttributeValue = serde_json::from_value(value).ok()?;
            Some(Attribute {
                name,
                value,
                scope: None,
                description: None,
                timestamp: None,
            })
        })
        .collect();
    insert(connection, device, "identity", &attributes, now).await
}

async fn names(tx: &mut Tx, device: Id, owner: Owner) -> Result<Vec<String>, Error> {
    let rows =
        sql::query("SELECT DISTINCT name FROM attributes WHERE device_id = $1 AND scope = $2")
            .bind(device.to_string())
            .bind(owner.as_str())
            .fetch_all(tx.connection())
            .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Removes what gets a new value, or everything.
async fn remove(
    tx: &mut Tx,
    device: Id,
    owner: Owner,
    attributes: &[Attribute],
    mode: Mode,
) -> Result<(), Error> {
    let mut query = QueryBuilder::new("DELETE FROM attributes WHERE device_id = ");
    query.push_bind(device.to_string());
    query.push(" AND scope = ");
    query.push_bind(owner.as_str());
    match mode {
        Mode::Replace => {}
        Mode::Merge { .. } if attributes.is_empty() => return Ok(()),
        Mode::Merge { .. } => {
            query.push(" AND name IN (");
            let mut list = query.separated(", ");
            for attribute in attributes {
                list.push_bind(&attribute.name);
            }
            query.push(")");
        }
    }
    query.build().execute(tx.connection()).await?;
    Ok(())
}

/// Rows of one statement.
const CHUNK: usize = 200;

async fn insert(
    connection: &mut Connection,
    device: Id,
    scope: &str,
    attributes: &[Attribute],
    now: i64,
) -> Result<(), Error> {
    let mut rows: Vec<(&Attribute, i64, String, Option<f64>)> = Vec::new();
    for attribute in attributes {
        let text = |text: &String| (text.clone(), None);
        let number = |number: &Number| (number.to_string(), number.as_f64());
        let (first, values) = match &attribute.value {
            AttributeValue::Text(one) => (-1, vec![text(one)]),
            AttributeValue::Number(one) => (-1, vec![number(one)]),
            AttributeValue::Texts(many) => (0, many.iter().map(text).collect()),
            AttributeValue::Numbers(many) => (0, many.iter().map(number).collect()),
        };
        rows.extend(
            (first..)
                .zip(values)
                .map(|(position, (text, number))| (attribute, position, text, number)),
        );
    }
    for chunk in rows.chunks(CHUNK) {
        let mut query = QueryBuilder::new(
            "INSERT INTO attributes
             (device_id, scope, name, position, text, number, description, updated) ",
        );
        query.push_values(chunk, |mut row, (attribute, position, text, number)| {
            row.push_bind(device.to_string())
                .push_bind(scope)
                .push_bind(&attribute.name)
                .push_bind(*position)
                .push_bind(text)
                .push_bind(*number)
                .push_bind(&attribute.description)
                .push_bind(now);
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Adds one row to the attributes: a new one, or a further value of the last.
fn add(list: &mut Vec<Attribute>, row: &Row) -> Result<(), Error> {
    let (scope, name): (&str, &str) = (row.try_get("scope")?, row.try_get("name")?);
    let text: &str = row.try_get("text")?;
    let number: Option<f64> = row.try_get("number")?;
    let number = match number {
        Some(_) => Some(
            text.parse()
                .map_err(|err| Error::corrupt(format!("column number: {err}")))?,
        ),
        None => None,
    };
    let position: i64 = row.try_get("position")?;
    if position > 0
        && let Some(last) = list.last_mut()
        && last.name == name
        && last.scope.as_deref() == Some(scope)
    {
        match (&mut last.value, number) {
            (AttributeValue::Texts(values), None) => values.push(text.to_owned()),
            (AttributeValue::Numbers(values), Some(number)) => values.push(number),
            _ => return Err(Error::corrupt("an attribute with values of two kinds")),
        }
        return Ok(());
    }
    list.push(Attribute {
        name: name.to_owned(),
        value: match (position < 0, number) {
            (true, None) => AttributeValue::Text(text.to_owned()),
            (true, Some(number)) => AttributeValue::Number(number),
            (false, None) => AttributeValue::Texts(vec![text.to_owned()]),
            (false, Some(number)) => AttributeValue::Numbers(vec![number]),
        },
        scope: Some(scope.to_owned()),
        description: row.try_get("description")?,
        timestamp: Some(Timestamp::from_millis(row.try_get("updated")?)),
    });
    Ok(())
}
