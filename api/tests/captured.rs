//! Bodies that real clients sent, or that the specification gives for the real server: read, and written again as
//! they were.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test"
)]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tandem_api::device::{
    Attribute, AuthRequest, LogUpload, NextDeployment, NextRequest, StatusReport,
};
use tandem_api::management::{Artifact, Device, InventoryDevice, NewDeployment, Search};
use tandem_api::{DeploymentStatus, ErrorBody};

/// `text` is read as a `T`, which is written as `text` again.
#[track_caller]
fn check<T: Serialize + DeserializeOwned>(text: &str) -> T {
    let value: T = serde_json::from_str(text).unwrap();
    let wanted: Value = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&value).unwrap(), wanted);
    value
}

#[test]
fn what_devices_send() {
    let auth: AuthRequest = check(
        r#"{"id_data":"{\"mac\":[\"de:ad:be:ef:00:01\",\"second\"],\"sn\":\"A1\"}","tenant_token":"tenant-tok-x","pubkey":"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"}"#,
    );
    assert!(auth.id_data.contains("second"));
    let next: NextRequest = check(
        r#"{"device_provides":{"artifact_name":"ok-2.0","device_type":"testboard","okmod.version":"2.0","rootfs-image.okmod.version":"ok-2.0"},"update_control_map":true}"#,
    );
    assert_eq!(next.device_provides["device_type"], "testboard");
    let status: StatusReport =
        check(r#"{"status":"installing","substate":"Executing script: ArtifactInstall_Enter_05"}"#);
    assert_eq!(status.status, DeploymentStatus::Installing);
    check::<LogUpload>(
        r#"{"messages":[{"level":"info","message":"Running Mender client version: 3.4.0+ds1-5+b1","timestamp":"2026-11-23T08:03:37Z"}]}"#,
    );
    check::<Vec<Attribute>>(
        r#"[{"name":"kernel","value":"Linux"},{"name":"a","value":["1","2"]},{"name":"n","value":12.5},{"name":"m","value":[1,2]},{"name":"e","value":[]}]"#,
    );
    for wrong in [
        r#"{"name":"x","value":{"$gt":1}}"#,
        r#"{"name":"x","value":["a",1]}"#,
        r#"{"name":"x","value":null}"#,
    ] {
        assert!(serde_json::from_str::<Attribute>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn newer_clients_leave_fields_out_and_add_others() {
    let auth: AuthRequest =
        serde_json::from_str(r#"{"id_data":"{}","pubkey":"k","tier":"standard"}"#).unwrap();
    assert_eq!(auth.tenant_token, None);
    let next: NextRequest =
        serde_json::from_str(r#"{"device_provides":{"artifact_name":"a","device_type":"b"}}"#)
            .unwrap();
    assert!(!next.update_control_map);
    assert!(serde_json::from_str::<StatusReport>(r#"{"status":"pendin"}"#).is_err());
}

#[test]
fn what_devices_get() {
    check::<NextDeployment>(
        r#"{"id":"11111111-1111-4111-8111-111111111111","artifact":{"id":"aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa","artifact_name":"ok-2.0","source":{"uri":"https://host/dl/ok.mender?sig=1","expire":"2026-11-24T08:00:00.123Z"},"device_types_compatible":["testboard"]}}"#,
    );
    check::<ErrorBody>(r#"{"error":"dev auth: unauthorized","request_id":"x"}"#);
}

#[test]
fn what_operators_send_and_get() {
    check::<Artifact>(
        r#"{"id":"0c13a0e6","description":"d","name":"ok-2.0","device_types_compatible":["testboard"],"info":{"format":"mender","version":3},"signed":false,
 "updates":[{"type_info":{"type":"okmod"},"files":[{"name":"payload.bin","checksum":"00","size":300000,"date":"2026-11-01T00:00:00Z"}],
             "metadata":{"k":"v"},"meta_data":[{"Key":"k","Value":"v"}]}],
 "artifact_provides":{"artifact_name":"ok-2.0"},"artifact_depends":{"device_type":["testboard"]},"clears_artifact_provides":["rootfs-image.*"],
 "size":307712,"modified":"2026-11-23T08:00:00.500Z"}"#,
    );
    check::<Device>(
        r#"{"id":"d","identity_data":{"mac":["a","b"]},"status":"pending","created_ts":"2026-11-23T08:00:00Z","updated_ts":"2026-11-23T08:00:00Z",
 "auth_sets":[{"id":"a","identity_data":{"mac":["a","b"]},"pubkey":"PEM","status":"pending","ts":"2026-11-23T08:00:00Z"}],"decommissioning":false}"#,
    );
    check::<InventoryDevice>(
        r#"{"id":"d","attributes":[{"name":"group","value":"g","scope":"system"}],"updated_ts":"2026-11-23T08:00:00Z"}"#,
    );
    let search: Search = serde_json::from_str(
        r#"{"filters":[{"scope":"inventory","attribute":"a","type":"$eq","value":"b"}]}"#,
    )
    .unwrap();
    assert_eq!((search.page, search.per_page), (1, 20));
}

#[test]
fn what_a_new_deployment_asks_for_beyond_this_version_is_seen() {
    let new: NewDeployment =
        check(r#"{"name":"n","artifact_name":"a","devices":["d"],"autogenerate_delta":true}"#);
    assert!(new.unknown.contains_key("autogenerate_delta"));
}
