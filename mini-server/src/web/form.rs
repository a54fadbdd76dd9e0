//! What a person has filled in and sent.

use axum::extract::{FromRequest, Request};
use http::header;
use tandem_api::management::{NotARole, Role};

use crate::query::Query;
use crate::reply::Refusal;
use crate::request::read_body;

/// The fields of a form, in order.
pub(crate) struct Form(pub(super) Query);

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Err(Refusal::new(
                http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a form must be sent as application/x-www-form-urlencoded",
            ));
        }
        let body = read_body(request.into_body()).await?;
        let text = std::str::from_utf8(&body)
            .map_err(|_| Refusal::bad_request("the form is not UTF-8"))?;
        Query::parse(text).map(Self)
    }
}

impl Form {
    /// The text of a field, without space around it; empty if it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.one(name).unwrap_or_default().trim()
    }

    /// The role in a field; `None` if it is empty or not there.
    ///
    /// # Errors
    /// A refusal if it is none.
    pub(super) fn role(&self, name: &str) -> Result<Option<Role>, Refusal> {
        match self.text(name) {
            "" => Ok(None),
            text => match text.parse() {
                Ok(role) => Ok(Some(role)),
                Err(NotARole) => Err(Refusal::bad_request(NotARole.to_string())),
            },
        }
    }

    /// The text of a field as it is; for passwords.
    pub(super) fn exactly(&self, name: &str) -> String {
        self.0.one(name).unwrap_or_default().to_owned()
    }
}
