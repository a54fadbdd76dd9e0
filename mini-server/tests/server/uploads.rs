//! What operators upload, and what is kept of it.

use std::fs;

use serde_json::json;
use tandem_artifact::Digest;

use crate::harness::{Server, artifact, build, form, wait_until};

const ARTIFACTS: &str = "/api/management/v1/deployments/artifacts";

/// How many artifacts are kept, and how many are on their way there.
fn files(server: &Server) -> (usize, usize) {
    let uploads = fs::read_dir(server.data().join("uploads")).unwrap();
    (server.kept(), uploads.count())
}

#[test]
fn an_artifact_is_kept_as_it_came() {
    let server = Server::start();
    let bytes = artifact("v2");
    let id = server.uploaded(&bytes);
    let shown = server.admin("GET", &format!("{ARTIFACTS}/{id}"), ()).json();
    assert_eq!(shown["name"], "v2");
    assert_eq!(shown["description"], "d");
    assert_eq!(shown["size"], bytes.len());
    assert_eq!(shown["signed"], false);
    assert_eq!(shown["info"], json!({"format": "mender", "version": 3}));
    assert_eq!(shown["device_types_compatible"], json!(["testboard"]));
    assert_eq!(shown["updates"][0]["type_info"]["type"], "okmod");
    assert_eq!(shown["updates"][0]["files"][0]["name"], "payload.bin");
    // mender-cli reads this one as a list, newer clients read the other one.
    assert_eq!(
        shown["updates"][0]["meta_data"],
        json!([{"Key": "k", "Value": "v"}])
    );
    assert_eq!(shown["updates"][0]["metadata"], json!({"k": "v"}));
    assert_eq!(shown["artifact_provides"]["artifact_name"], "v2");
    assert_eq!(
        shown["artifact_depends"]["device_type"],
        json!(["testboard"])
    );
    assert_eq!(server.stored(&id), bytes);
    assert_eq!(files(&server), (1, 0));
    assert_eq!(
        server
            .admin(
                "PUT",
                &format!("{ARTIFACTS}/{id}"),
                json!({"description": "new"})
            )
            .status,
        204
    );
    assert_eq!(
        server.admin("GET", ARTIFACTS, ()).json()[0]["description"],
        "new"
    );
    assert_eq!(
        server
            .admin("DELETE", &format!("{ARTIFACTS}/{id}"), ())
            .status,
        204
    );
    assert_eq!(
        server
            .admin("DELETE", &format!("{ARTIFACTS}/{id}"), ())
            .status,
        404
    );
    wait_until("nothing is kept", || files(&server) == (0, 0));
}

#[test]
fn nothing_is_kept_of_what_is_no_artifact() {
    let server = Server::start();
    let good = artifact("v2");
    let mut flipped = good.clone();
    let middle = good.len() / 2;
    flipped[middle] ^= 1;
    let size = |n: usize| n.to_string().into_bytes();
    let (right, wrong) = (size(good.len()), size(good.len() + 1));
    let (short, huge) = (size(good.len() - 1), b"99999999999999".to_vec());
    for (fields, status) in [
        (vec![("artifact", &b""[..])], 400),
        (vec![("artifact", b"not an artifact")], 400),
        (vec![("artifact", &good[..good.len() - 2048])], 400),
        (vec![("artifact", &good[..5000])], 400),
        (vec![("artifact", &flipped[..])], 400),
        (vec![("size", &wrong), ("artifact", &good)], 400),
        (vec![("size", &short), ("artifact", &good)], 400),
        (vec![("size", b"-1"), ("artifact", &good)], 400),
        (vec![("size", &huge), ("artifact", &good)], 413),
        (vec![("artifact_id", b"../../x"), ("artifact", &good)], 400),
        (
            vec![("description", &[b'd'; 5000]), ("artifact", &good)],
            400,
        ),
        (vec![("description", b"\xff"), ("artifact", &good)], 400),
        (vec![("size", &right)], 400),
        (vec![], 400),
    ] {
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let answer = server.upload_form(&form(&fields));
        assert_eq!(answer.status, status, "{names:?}: {}", answer.text());
        assert!(!answer.json()["error"].as_str().unwrap().is_empty());
        // What was written is removed when the writing has ended, which may be after the answer.
        wait_until("nothing is kept", || files(&server) == (0, 0));
    }
    assert_eq!(server.admin("GET", ARTIFACTS, ()).json(), json!([]));
}

#[test]
fn every_flipped_byte_of_the_payload_is_noticed() {
    let server = Server::start();
    let good = artifact("v2");
    for place in (3_000..good.len() - 1_024).step_by(1_999) {
        let mut bad = good.clone();
        bad[place] ^= 0x40;
        // Padding between the parts has no meaning; nothing else may change.
        let answer = server.upload(&bad);
        if answer.status == 201 {
            server.admin("DELETE", &format!("{ARTIFACTS}/{}", answer.location()), ());
            assert_eq!(good[place], 0, "byte {place}");
        }
    }
    wait_until("nothing is kept", || files(&server) == (0, 0));
}

#[test]
fn names_from_outside_never_become_paths() {
    let server = Server::start();
    let before = fs::read_dir(server.dir.path()).unwrap().count();
    for name in ["../../evil", "/etc/evil", "..", "a/b", "-rf", "x\u{202e}y"] {
        let answer = server.upload(&artifact(name));
        let id = match answer.status {
            201 => answer.location(),
            400 => continue,
            other => panic!("{other} {}", answer.text()),
        };
        let link = server
            .admin("GET", &format!("{ARTIFACTS}/{id}/download"), ())
            .json();
        let path = link["uri"]
            .as_str()
            .unwrap()
            .strip_prefix(&server.url())
            .unwrap()
            .to_owned();
        let got = server.nobody("GET", &path, b"");
        let offered = got.header("content-disposition").unwrap();
        let file = offered.strip_prefix("attachment; filename=\"").unwrap();
        assert!(
            !file.starts_with('.') && !file.contains('/') && file.is_ascii(),
            "{offered}"
        );
        assert!(!server.stored(&id).is_empty());
    }
    assert_eq!(fs::read_dir(server.dir.path()).unwrap().count(), before);
}

#[test]
fn an_artifact_is_kept_under_the_identifier_that_was_asked_for() {
    let server = Server::start();
    let id = b"0c13a0e6-1111-4222-8333-444455556666";
    let upload = |name: &str| {
        server.upload_form(&form(&[
            ("artifact_id", id),
            ("unknown", b"x"),
            ("artifact", &artifact(name)),
        ]))
    };
    let answer = upload("v2");
    let expected = format!("{ARTIFACTS}/{}", String::from_utf8_lossy(id));
    assert_eq!(
        (answer.status, answer.header("location")),
        (201, Some(expected.as_str()))
    );
    assert_eq!(upload("v3").status, 409);
    assert_eq!(files(&server), (1, 0));
}

#[test]
fn two_artifacts_that_would_be_the_same_choice_are_a_conflict() {
    let server = Server::start();
    server.uploaded(&build("v2", &["a", "b"], &[], 5_000));
    let answer = server.upload(&build("v2", &["b", "c"], &[], 6_000));
    assert_eq!(answer.status, 409);
    let body = answer.json();
    assert_eq!(body["metadata"]["name"], "v2", "{body}");
    server.uploaded(&build("v2", &["c"], &[], 5_000));
    server.uploaded(&build("v2", &["b"], &[("rootfs.version", "1")], 5_000));
    server.uploaded(&build("v3", &["a", "b"], &[], 5_000));
    assert_eq!(files(&server), (4, 0));
}

#[test]
fn an_artifact_that_is_being_deployed_stays() {
    let server = Server::start();
    let id = server.uploaded(&artifact("v2"));
    let device = server.device("a");
    let deployment = server.deploy("v2", &[&device]);
    let path = format!("{ARTIFACTS}/{id}");
    assert_eq!(server.admin("DELETE", &path, ()).status, 409);
    assert_eq!(
        server
            .admin("PUT", &path, json!({"description": "x"}))
            .status,
        422
    );
    assert_eq!(device.next(&server, "v1").status, 200);
    device.report(&server, &deployment, "success");
    assert_eq!(server.admin("DELETE", &path, ()).status, 204);
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let server = Server::start();
    let body = form(&[("artifact", &build("v2", &["testboard"], &[], 5_000_000))]);
    let mut http = server.connect();
    let head = format!(
        "POST {ARTIFACTS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: multipart/form-data; boundary=XyZ\r\nContent-Length: {}\r\n\r\n",
        server.token(),
        body.len()
    );
    http.send(head.as_bytes()).unwrap();
    http.send(&body[..body.len() / 2]).unwrap();
    wait_until("the upload", || files(&server) == (0, 1));
    drop(http);
    wait_until("the end of the upload", || files(&server) == (0, 0));
}

#[test]
fn nothing_in_memory_grows_with_the_size_of_an_artifact() {
    let server = Server::start();
    let small = build("v1", &["testboard"], &[], 1_000_000);
    server.uploaded(&small);
    let before = server.peak_memory();
    let big = build("v2", &["testboard"], &[], 100_000_000);
    let id = server.uploaded(&big);
    let kept = server.stored(&id);
    assert!(Digest::of(&kept) == Digest::of(&big));
    let grown = server.peak_memory() - before;
    assert!(grown < 16 << 20, "{grown} bytes more");
}

#[test]
fn only_signed_artifacts_are_taken_where_a_key_is_given() {
    let dir = tempfile::TempDir::new().unwrap();
    let key = dir.path().join("key.pem");
    fs::write(&key, crate::harness::Device::new("signer").pem()).unwrap();
    let server = Server::start_with(&["--artifact-key", key.to_str().unwrap()]);
    let answer = server.upload(&artifact("v2"));
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("sign"), "{}", answer.text());
    wait_until("nothing is kept", || files(&server) == (0, 0));
}
