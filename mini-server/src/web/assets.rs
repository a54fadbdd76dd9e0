//! Style sheet, script and icon, from within the program.

use std::sync::LazyLock;

use axum::response::IntoResponse;
use http::header;
use tandem_artifact::Digest;

use crate::reply::{Refusal, Result};
use crate::request::Params;

/// Name, type, content.
const ASSETS: [(&str, &str, &str); 3] = [
    (
        "app.css",
        "text/css; charset=utf-8",
        include_str!("../../assets/app.css"),
    ),
    (
        "app.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/app.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../../assets/icon.svg"),
    ),
];

/// The beginnings of their checksums.
static VERSIONS: LazyLock<[String; 3]> = LazyLock::new(|| {
    ASSETS.map(|(_, _, content)| {
        let mut sum = Digest::of(content.as_bytes()).to_string();
        sum.truncate(12);
        sum
    })
});

/// The path of an asset. It changes with the content, so browsers may keep what they got for ever.
#[must_use]
pub(super) fn path(name: &str) -> String {
    let place = ASSETS.iter().position(|(found, ..)| *found == name);
    let version = place.and_then(|place| VERSIONS.get(place));
    format!("/assets/{name}?{}", version.map_or("", String::as_str))
}

/// `GET /assets/{name}`
pub(crate) async fn get(Params(name): Params<String>) -> Result {
    let found = ASSETS.iter().find(|(found, ..)| *found == name);
    let (_, kind, content) = found.ok_or_else(|| Refusal::not_found("page"))?;
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, *content).into_response())
}
