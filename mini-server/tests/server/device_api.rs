//! What devices ask and are answered.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tandem_api::device::{AUTH_REQUESTS, INVENTORY, NEXT_V1, log_path, status_path};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Answer, Device, Server, artifact, build};

/// An answer with this status whose body says why.
#[track_caller]
fn check_refused(answer: &Answer, status: u16, why: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert!(body["error"].as_str().unwrap().contains(why), "{body}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        body["request_id"].as_str(),
        answer.header("x-men-requestid")
    );
}

fn knock(server: &Server, body: &[u8], signature: Option<&str>) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(signature.map(|signature| ("x-men-signature", signature)));
    server
        .connect()
        .request("POST", AUTH_REQUESTS, &headers, body)
}

#[test]
fn a_device_gets_in_when_it_is_accepted_and_not_before() {
    let server = Server::start();
    let mut device = Device::new("a");
    for _ in 0..2 {
        check_refused(&device.authenticate(&server), 401, "dev auth: unauthorized");
    }
    server.accept(&mut device);
    let answer = device.authenticate(&server);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/jwt"));
    assert_eq!(answer.text().split('.').count(), 3);
    assert_eq!(answer.text().trim(), answer.text());
    assert_eq!(device.next(&server, "v1").status, 204);
}

#[test]
fn an_auth_request_is_refused_with_the_reason() {
    let server = Server::start();
    let device = Device::new("a");
    let good = device.auth_request();
    let with = |field: &str, value: Value| {
        let mut body: Value = serde_json::from_slice(&good).unwrap();
        body[field] = value;
        body.to_string().into_bytes()
    };
    let rsa_header = device.pem().replace("PUBLIC KEY", "RSA PUBLIC KEY");
    for (body, status, why) in [
        (b"{".to_vec(), 400, "failed to decode auth request"),
        (b"[]".to_vec(), 400, "auth request"),
        (with("id_data", json!("")), 400, "id_data must be provided"),
        (with("id_data", json!("[1]")), 400, "invalid auth request"),
        (
            with("id_data", json!("{\"mac\":")),
            400,
            "invalid auth request",
        ),
        (
            with("id_data", json!({"mac": "a"})),
            400,
            "failed to decode auth request",
        ),
        (with("pubkey", json!("")), 400, "pubkey must be provided"),
        (with("pubkey", json!("no PEM")), 400, "invalid auth request"),
        (
            with("pubkey", json!(rsa_header)),
            400,
            "invalid auth request",
        ),
    ] {
        check_refused(
            &knock(&server, &body, Some(&device.sign(&body))),
            status,
            why,
        );
    }
    check_refused(
        &knock(&server, &good, None),
        400,
        "missing request signature header",
    );
    let other = Device::new("a").sign(&good);
    for signature in ["", "%%%", "AAAA", other.as_str()] {
        check_refused(
            &knock(&server, &good, Some(signature)),
            401,
            "signature verification failed",
        );
    }
    // Not one of them is known now.
    let devices = server.admin("GET", "/api/management/v2/devauth/devices", ());
    assert_eq!(devices.json(), json!([]));
}

#[test]
fn ecdsa_keys_are_as_good_as_ed25519() {
    let server = Server::start();
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let mut der = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00".to_vec();
    der.extend(key.public_key().as_ref());
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(der)
    );
    let body = json!({"id_data": "{\"sn\":\"1\"}", "pubkey": pem}).to_string();
    let signature = STANDARD.encode(key.sign(&random, body.as_bytes()).unwrap());
    check_refused(
        &knock(&server, body.as_bytes(), Some(&signature)),
        401,
        "dev auth: unauthorized",
    );
}

#[test]
fn an_identity_that_comes_with_another_key_waits_again() {
    let server = Server::start();
    let first = server.device("a");
    let mut second = Device::new("a");
    assert_eq!(second.authenticate(&server).status, 401);
    // The one that is in stays in until an operator decides.
    assert_eq!(first.next(&server, "v1").status, 204);
    server.accept(&mut second);
    assert_eq!(second.id, first.id, "the same device");
    assert_eq!(second.authenticate(&server).status, 200);
    assert_eq!(second.next(&server, "v1").status, 204);
    assert_eq!(first.next(&server, "v1").status, 401);
}

#[test]
fn the_order_of_identity_keys_does_not_matter() {
    let server = Server::start();
    let device = Device::new("a");
    for identity in [r#"{"a":"1","b":"2"}"#, r#"{ "b" : "2", "a":"1" }"#] {
        let body = json!({"id_data": identity, "pubkey": device.pem()}).to_string();
        let signature = device.sign(body.as_bytes());
        assert_eq!(
            knock(&server, body.as_bytes(), Some(&signature)).status,
            401
        );
    }
    let count = server.admin("GET", "/api/management/v2/devauth/devices/count", ());
    assert_eq!(count.json(), json!({"count": 1}));
}

#[test]
fn every_form_of_the_question_gets_the_same_answer() {
    let server = Server::start();
    server.uploaded(&artifact("v2"));
    let device = server.device("a");
    let deployment = server.deploy("v2", &[&device]);
    let provides = json!({"artifact_name": "v1", "device_type": "testboard"});
    let get = format!("{NEXT_V1}?artifact_name=v1&device_type=testboard");
    for answer in [
        device.next(&server, "v1"),
        device.request(&server, "POST", NEXT_V1, provides),
        device.request(&server, "GET", &get, ()),
    ] {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["id"], deployment.as_str());
        assert_eq!(body["artifact"]["artifact_name"], "v2");
        assert_eq!(
            body["artifact"]["device_types_compatible"],
            json!(["testboard"])
        );
        let uri = body["artifact"]["source"]["uri"].as_str().unwrap();
        assert!(uri.starts_with(&server.url()), "{uri}");
        assert!(body["artifact"]["source"]["expire"].is_string());
        assert!(body.get("update_control_map").is_none());
    }
    for missing in [
        json!({}),
        json!({"artifact_name": "v1"}),
        json!({"device_type": "", "artifact_name": "v1"}),
    ] {
        check_refused(
            &device.request(&server, "POST", NEXT_V1, missing),
            400,
            "must be provided",
        );
    }
}

#[test]
fn the_smallest_artifact_that_fits_is_offered_and_none_has_a_reason() {
    let server = Server::start();
    for (types, depends, size) in [
        (["testboard"], [("rootfs.version", "v1")], 5_000),
        (["testboard"], [("rootfs.version", "v0")], 6_000),
        (["another"], [("rootfs.version", "v1")], 4_096),
    ] {
        server.uploaded(&build("v2", &types, &depends, size));
    }
    let (fits, misfit) = (server.device("fits"), server.device("misfit"));
    let deployment = server.deploy("v2", &[&fits, &misfit]);
    let ask = |device: &Device, version: &str| {
        let provides =
            json!({"artifact_name": "v1", "device_type": "testboard", "rootfs.version": version});
        device.request(&server, "POST", NEXT_V1, provides)
    };
    assert_eq!(ask(&fits, "v0").status, 200);
    assert_eq!(ask(&misfit, "v9").status, 204);
    let settled = server.status_on(&deployment, &misfit);
    assert_eq!(settled["status"], "noartifact");
    let why = settled["substate"].as_str().unwrap();
    assert!(
        why.contains("rootfs.version") && why.contains("v9"),
        "{why}"
    );
}

#[test]
fn a_deployment_goes_from_pending_to_its_first_final_report() {
    let server = Server::start();
    server.uploaded(&artifact("v2"));
    let device = server.device("a");
    let deployment = server.deploy("v2", &[&device]);
    assert_eq!(device.next(&server, "v1").status, 200);
    assert_eq!(server.status_on(&deployment, &device)["status"], "pending");
    let path = status_path(&deployment);
    for status in [
        "downloading",
        "downloading",
        "installing",
        "rebooting",
        "installing",
    ] {
        assert_eq!(device.report(&server, &deployment, status).status, 204);
        assert_eq!(server.status_on(&deployment, &device)["status"], status);
    }
    let substate =
        json!({"status": "installing", "substate": "Executing script: ArtifactInstall_Enter_05"});
    assert_eq!(device.request(&server, "PUT", &path, substate).status, 204);
    let seen = server.status_on(&deployment, &device)["substate"].clone();
    assert_eq!(seen, "Executing script: ArtifactInstall_Enter_05");
    for status in ["success", "failure", "installing"] {
        assert_eq!(device.report(&server, &deployment, status).status, 204);
        assert_eq!(server.status_on(&deployment, &device)["status"], "success");
    }
    assert_eq!(device.next(&server, "v1").status, 204);
    for (body, status) in [
        (json!({"status": "pending"}), 400),
        (json!({"status": "nonsense"}), 400),
        (json!({}), 400),
        (json!([]), 400),
    ] {
        assert_eq!(device.request(&server, "PUT", &path, body).status, status);
    }
    let nobody = status_path("11111111-1111-4111-8111-111111111111");
    for path in [nobody, status_path("no-uuid"), status_path("..%2f..")] {
        let answer = device.request(&server, "PUT", &path, json!({"status": "installing"}));
        check_refused(&answer, 404, "not found");
    }
}

#[test]
fn what_the_device_has_counts_more_than_a_report_that_was_lost() {
    let server = Server::start();
    server.uploaded(&artifact("v2"));
    let (updated, had, back) = (
        server.device("updated"),
        server.device("had"),
        server.device("back"),
    );
    let deployment = server.deploy("v2", &[&updated, &had, &back]);
    for device in [&updated, &back] {
        device.next(&server, "v1");
        device.report(&server, &deployment, "rebooting");
    }
    assert_eq!(updated.next(&server, "v2").status, 204);
    assert_eq!(server.status_on(&deployment, &updated)["status"], "success");
    assert_eq!(had.next(&server, "v2").status, 204);
    assert_eq!(
        server.status_on(&deployment, &had)["status"],
        "already-installed"
    );
    // It came up with the old one: it may try again.
    assert_eq!(back.next(&server, "v1").status, 200);
}

#[test]
fn an_aborted_deployment_is_a_conflict_at_the_next_report() {
    let server = Server::start();
    server.uploaded(&artifact("v2"));
    let device = server.device("a");
    let deployment = server.deploy("v2", &[&device]);
    device.next(&server, "v1");
    device.report(&server, &deployment, "downloading");
    let path = format!("/api/management/v1/deployments/deployments/{deployment}/status");
    assert_eq!(
        server
            .admin("PUT", &path, json!({"status": "aborted"}))
            .status,
        204
    );
    check_refused(
        &device.report(&server, &deployment, "installing"),
        409,
        "aborted",
    );
    assert_eq!(device.report(&server, &deployment, "failure").status, 409);
    assert_eq!(server.status_on(&deployment, &device)["status"], "aborted");
    assert_eq!(device.next(&server, "v1").status, 204);
    check_refused(
        &server.admin("PUT", &path, json!({"status": "aborted"})),
        422,
        "finished",
    );
}

#[test]
fn the_log_of_a_device_can_be_read() {
    let server = Server::start();
    server.uploaded(&artifact("v2"));
    let (device, other) = (server.device("a"), server.device("b"));
    let deployment = server.deploy("v2", &[&device]);
    device.next(&server, "v1");
    let path = log_path(&deployment);
    let log = json!({"messages": [
        {"level": "info", "message": "one", "timestamp": "2026-11-23T08:03:37Z"},
        {"level": "error", "message": "two", "timestamp": "2026-11-23T08:03:38.25Z"},
    ]});
    let read = format!(
        "/api/management/v1/deployments/deployments/{deployment}/devices/{}/log",
        device.id
    );
    check_refused(&server.admin("GET", &read, ()), 404, "not found");
    assert_eq!(device.request(&server, "PUT", &path, log).status, 204);
    let answer = server.admin("GET", &read, ());
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    let lines: Vec<String> = answer.text().lines().map(ToOwned::to_owned).collect();
    assert!(
        lines[0].ends_with("info: one") && lines[1].ends_with("error: two"),
        "{lines:?}"
    );
    assert_eq!(server.status_on(&deployment, &device)["log"], true);
    for body in ["", "{", "{\"messages\":3}", "[]", "{\"messages\":[3]}"] {
        check_refused(
            &device.request(&server, "PUT", &path, body),
            400,
            "messages",
        );
    }
    // What a device cannot send again later is not lost to a limit: the beginning and the end are kept.
    let line =
        json!({"level": "info", "message": "x".repeat(1000), "timestamp": "2026-11-23T08:03:37Z"});
    let endless = json!({"messages": vec![line; 3_000]});
    assert_eq!(device.request(&server, "PUT", &path, endless).status, 204);
    let kept = server.admin("GET", &read, ()).body.len();
    assert!((500_000..1_500_000).contains(&kept), "{kept}");
    assert_eq!(
        device
            .request(&server, "PUT", &path, json!({"messages": []}))
            .status,
        204
    );
    // Another device has no business there.
    let strange = other.request(&server, "PUT", &path, json!({"messages": []}));
    check_refused(&strange, 404, "not found");
}

#[test]
fn the_inventory_is_replaced_or_added_to() {
    let server = Server::start();
    let device = server.device("a");
    let put = |method: &str, body: Value| device.request(&server, method, INVENTORY, body);
    let shown = |name: &str| {
        let path = format!("/api/management/v1/inventory/devices/{}", device.id);
        let found = server.admin("GET", &path, ()).json();
        let attributes = found["attributes"].as_array().unwrap().clone();
        let found = attributes
            .into_iter()
            .find(|one| one["name"] == name && one["scope"] == "inventory");
        found.map(|one| one["value"].clone())
    };
    let answer = put(
        "PUT",
        json!([
            {"name": "kernel", "value": "Linux"}, {"name": "ports", "value": [1, 2.5]}, {"name": "ip", "value": ["a", "b"]},
        ]),
    );
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(shown("ports"), Some(json!([1, 2.5])));
    assert_eq!(
        put(
            "PATCH",
            json!([{"name": "kernel", "value": "BSD", "scope": "identity"}])
        )
        .status,
        200
    );
    assert_eq!(
        (shown("kernel"), shown("ip")),
        (Some(json!("BSD")), Some(json!(["a", "b"])))
    );
    assert_eq!(
        put("PUT", json!([{"name": "kernel", "value": 7}])).status,
        200
    );
    assert_eq!((shown("kernel"), shown("ip")), (Some(json!(7)), None));
    let many: Vec<Value> = (0..600)
        .map(|n| json!({"name": format!("n{n}"), "value": "v"}))
        .collect();
    for body in [
        json!([{"name": "", "value": "v"}]),
        json!([{"name": "n".repeat(1025), "value": "v"}]),
        json!([{"name": "n", "value": {"a": 1}}]),
        json!([{"name": "n", "value": ["a", 1]}]),
        json!([{"value": "v"}]),
        json!({"name": "n"}),
        json!(many),
    ] {
        assert_eq!(put("PUT", body.clone()).status, 400, "{body}");
    }
    assert_eq!(
        shown("kernel"),
        Some(json!(7)),
        "nothing of a body that is refused is taken"
    );
}

#[test]
fn bodies_may_come_in_chunks_as_mender_client_sends_them() {
    let server = Server::start();
    let device = server.device("a");
    let mut http = server.connect();
    let head = format!(
        "PUT {INVENTORY} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        device.token
    );
    http.send(head.as_bytes()).unwrap();
    http.send(b"10\r\n[{\"name\":\"a\",\"va\r\n").unwrap();
    http.send(b"b\r\nlue\":\"b\"}]\n\r\n0\r\n\r\n").unwrap();
    assert_eq!(http.answer(false).unwrap().status, 200);
}

#[test]
fn there_is_no_control_map_and_no_configuration() {
    let server = Server::start();
    let device = server.device("a");
    let map = tandem_api::device::control_map_path("11111111-1111-4111-8111-111111111111");
    for path in [
        map.as_str(),
        "/api/devices/v1/deviceconfig/configuration",
        "/api/devices/v3/x",
        "/api/",
    ] {
        check_refused(&device.request(&server, "GET", path, ()), 404, "not found");
    }
}
