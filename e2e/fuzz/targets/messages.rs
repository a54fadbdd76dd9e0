//! What a device hears from a server, and a server from devices: what is understood is the same when said again.

#![no_main]

use serde_json::{from_slice, to_vec};
use tandem_api::device::{
    Attribute, AuthRequest, LogUpload, NextDeployment, NextRequest, StatusReport,
};

macro_rules! check {
    ($bytes:expr, $($message:ty),*) => {$(
        if let Ok(message) = from_slice::<$message>($bytes) {
            let said = to_vec(&message).expect("what was understood can be said");
            let again: $message = from_slice(&said).expect("what we say is understood");
            assert_eq!(said, to_vec(&again).expect("again"));
        }
    )*};
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check!(
        bytes,
        NextDeployment,
        AuthRequest,
        Vec<Attribute>,
        LogUpload,
        NextRequest,
        StatusReport
    );
});
