//! The time.

use std::time::SystemTime;

use tandem_api::Timestamp;

/// Now. Read in handlers and handed to whatever decides.
#[must_use]
pub fn now() -> Timestamp {
    SystemTime::now().into()
}
