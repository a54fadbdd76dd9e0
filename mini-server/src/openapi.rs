//! The description of the APIs in the form of OpenAPI 3: made from the table of routes, with what the files in
//! `openapi/` say about each of them.
//!
//! `operations.json` has a member for each route (`METHOD /path`): `says` in a line what it is for; `query` names its
//! parameters (`name:int` a number, `name*` several times); `body` and `answers` name what goes in and, by status, what
//! comes out: a schema, `[schema]` for a list of it, `text MEDIA/TYPE`, or null for nothing. `schema?` may be left out.
//! `schemas.json` has the schemas.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::access::Access;
use crate::surface::Route;

/// What is said about a route.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    says: String,
    #[serde(default)]
    query: Vec<String>,
    body: Option<String>,
    answers: BTreeMap<String, Option<String>>,
}

/// Whether a route is of an API that programs use, and so in the description.
#[must_use]
pub fn is_described(route: &Route) -> bool {
    route.path.starts_with("/api/")
}

/// The description of `routes`.
///
/// # Errors
/// If a route is not in `operations.json`, or something there is no route; a test sees that neither comes about.
pub fn document(routes: &[Route]) -> Result<Value, String> {
    let read = |what: &str, err| format!("{what} is damaged: {err}");
    let mut operations: BTreeMap<String, Operation> =
        serde_json::from_str(include_str!("../openapi/operations.json"))
            .map_err(|err| read("operations.json", err))?;
    let schemas: Value = serde_json::from_str(include_str!("../openapi/schemas.json"))
        .map_err(|err| read("schemas.json", err))?;
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes.iter().filter(|route| is_described(route)) {
        let key = format!("{} {}", route.method, route.path);
        let operation = operations
            .remove(&key)
            .ok_or_else(|| format!("{key} is not in operations.json"))?;
        let method = route.method.as_str().to_lowercase();
        let described = describe(route, &key, &operation);
        paths
            .entry(route.path)
            .or_default()
            .insert(method, described);
    }
    if let Some(key) = operations.keys().next() {
        return Err(format!("{key} is in operations.json and no route"));
    }
    Ok(json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Tandem server",
            "description": "The device and management APIs. Names are those of Mender's APIs where those have one.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "person": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of a session or a personal access token.",
                },
                "device": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "What an accepted device gets for its signed auth request.",
                },
            },
        },
    }))
}

fn describe(route: &Route, key: &str, operation: &Operation) -> Value {
    let mut described = Map::new();
    described.insert("operationId".to_owned(), operation_id(key).into());
    described.insert("summary".to_owned(), operation.says.clone().into());
    let security = match route.access {
        Access::Device => json!([{"device": []}]),
        Access::Person(_) | Access::Monitor | Access::Browser(_) => json!([{"person": []}]),
        Access::Anyone | Access::Visitor => json!([]),
    };
    described.insert("security".to_owned(), security);
    if let Access::Person(role) = route.access {
        described.insert("x-role".to_owned(), role.as_str().into());
    }
    let in_path = route.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({"name": name, "in": "path", "required": true, "schema": path_schema(name)}))
    });
    let in_query = operation.query.iter().map(|name| query_parameter(name));
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    if !parameters.is_empty() {
        described.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(body) = &operation.body {
        described.insert("requestBody".to_owned(), request_body(body));
    }
    let mut answers = Map::new();
    for (status, what) in &operation.answers {
        let mut answer = json!({"description": "Done."});
        if let (Some(what), Some(answer)) = (what, answer.as_object_mut()) {
            answer.insert("content".to_owned(), content(what));
        }
        answers.insert(status.clone(), answer);
    }
    for (status, what) in [("4XX", "Refused."), ("5XX", "Not possible now.")] {
        let answer = json!({"description": what, "content": content("Error")});
        answers.insert(status.to_owned(), answer);
    }
    described.insert("responses".to_owned(), answers.into());
    Value::Object(described)
}

/// `GET /api/a/{b}` becomes `get_a_b`, without what all paths have.
fn operation_id(key: &str) -> String {
    let words = key
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !["", "api", "management"].contains(word));
    words.collect::<Vec<_>>().join("_").to_lowercase()
}

fn path_schema(name: &str) -> Value {
    match name {
        "name" => json!({"type": "string", "minLength": 1}),
        _ => json!({"type": "string", "format": "uuid"}),
    }
}

fn query_parameter(text: &str) -> Value {
    let (name, schema) = if let Some(name) = text.strip_suffix('*') {
        (name, json!({"type": "array", "items": {"type": "string"}}))
    } else if let Some(name) = text.strip_suffix(":int") {
        (name, json!({"type": "integer"}))
    } else {
        (text, json!({"type": "string"}))
    };
    json!({"name": name, "in": "query", "schema": schema})
}

fn request_body(what: &str) -> Value {
    if what == "multipart" {
        let text = json!({"type": "string"});
        let fields = json!({
            "description": text,
            "size": {"type": "integer", "minimum": 0},
            "artifact": {"type": "string", "format": "binary"},
        });
        let schema = json!({"type": "object", "properties": fields, "required": ["artifact"]});
        return json!({"required": true, "content": {"multipart/form-data": {"schema": schema}}});
    }
    match what.strip_suffix('?') {
        Some(what) => json!({"required": false, "content": content(what)}),
        None => json!({"required": true, "content": content(what)}),
    }
}

fn content(what: &str) -> Value {
    match what.strip_prefix("text ") {
        Some(kind) if kind.starts_with("text/") => {
            return json!({kind: {"schema": {"type": "string"}}});
        }
        // Of other bytes there is nothing to say.
        Some(kind) => return json!({kind: {}}),
        None => {}
    }
    let list = what
        .strip_prefix('[')
        .and_then(|what| what.strip_suffix(']'));
    let schema = match list {
        Some(what) => json!({"type": "array", "items": schema(what)}),
        None => schema(what),
    };
    json!({"application/json": {"schema": schema}})
}

fn schema(name: &str) -> Value {
    match name {
        "string" => json!({"type": "string"}),
        _ => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::surface;

    #[test]
    fn every_route_of_the_apis_is_described_and_nothing_else() {
        let surface = surface();
        let document = document(surface.routes()).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                described.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let routes: BTreeSet<String> = surface
            .routes()
            .iter()
            .filter(|route| is_described(route))
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn what_is_referred_to_is_there_and_every_operation_has_a_name_of_its_own() {
        let document = document(surface().routes()).unwrap();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        for name in schemas.keys() {
            let used = format!("#/components/schemas/{name}\"");
            assert!(text.contains(&used), "{name} is of no use");
        }
        let mut names = BTreeSet::new();
        for name in text.split("\"operationId\":\"").skip(1) {
            assert!(names.insert(name.split('"').next().unwrap()));
        }
    }
}
