//! Artifacts that are kept elsewhere: in an S3-compatible store that checks signatures, or in another directory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tandem_places::ObjectStore;
use tempfile::TempDir;

use crate::harness::{Device, PROGRAM, Server, artifact, build, form};

const ARTIFACTS: &str = "/api/management/v1/deployments/artifacts";

/// A store, if one can be started here.
fn store() -> Option<(TempDir, ObjectStore)> {
    if !ObjectStore::installed().unwrap() {
        eprintln!("SKIPPED: the S3-compatible store is not installed; e2e/s3.sh does so");
        return None;
    }
    let dir = TempDir::new().unwrap();
    let store = ObjectStore::start(&dir.path().join("store")).unwrap();
    Some((dir, store))
}

/// The address that a device is given.
#[track_caller]
fn address(server: &Server, device: &Device) -> String {
    let offer = device.next(server, "v1");
    assert_eq!(offer.status, 200, "{}", offer.text());
    let source = &offer.json()["artifact"]["source"];
    source["uri"].as_str().unwrap().to_owned()
}

#[track_caller]
fn get(server: &Server, uri: &str, headers: &[(&str, &str)]) -> crate::harness::Answer {
    let path = uri.strip_prefix(&server.url()).unwrap();
    server.connect().request("GET", path, headers, b"")
}

/// The status and the body that whoever has it gives for `url`, to somebody without any credentials.
fn anonymous(url: &str, more: &str) -> (u16, Vec<u8>) {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let request =
        format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer[head + 4..].to_vec())
}

/// Makes the files of objects look as if they had been there for two days.
fn age(files: &[std::path::PathBuf]) {
    for file in files {
        let old = SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60);
        File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
}

#[test]
fn artifacts_go_to_the_store_and_come_from_it() {
    let Some((dir, store)) = store() else { return };
    let mut server = Server::start_storing_in(dir, store, &[]);
    // One that goes in one piece, one in parts.
    let (small, large) = (artifact("v1"), build("v2", &["testboard"], &[], 20_000_000));
    let ids = [server.uploaded(&small), server.uploaded(&large)];
    assert!(server.stored(&ids[0]) == small);
    assert!(server.stored(&ids[1]) == large);
    for own in ["artifacts", "uploads"] {
        assert_eq!(fs::read_dir(server.data().join(own)).unwrap().count(), 0);
    }
    // Through the server, wholly and in part, for devices and operators.
    let device = server.device("a");
    server.deploy("v2", &[&device]);
    let uri = address(&server, &device);
    let whole = get(&server, &uri, &[]);
    assert!(whole.status == 200 && whole.body == large);
    let part = get(&server, &uri, &[("range", "bytes=9000000-9000999")]);
    assert!(part.status == 206 && part.body == large[9_000_000..9_001_000]);
    let file = server.dir.path().join("got.mender");
    server.done(&["artifact", "download", "v2", "-o", file.to_str().unwrap()]);
    assert!(fs::read(file).unwrap() == large);
    // And gone is gone.
    let deleted = server.admin("DELETE", &format!("{ARTIFACTS}/{}", ids[0]), ());
    assert_eq!(deleted.status, 204);
    assert_eq!(server.store().objects("").unwrap().len(), 1);
    // What is refused after it was put there as well.
    assert_eq!(server.upload(&large).status, 409);
    assert_eq!(server.store().objects("").unwrap().len(), 1);
}

#[test]
fn an_identifier_is_used_once_and_what_is_there_stays() {
    let Some((dir, store)) = store() else { return };
    let server = Server::start_storing_in(dir, store, &[]);
    let id = "0c13a0e6-1111-4222-8333-444455556666";
    let upload = |name: &str| {
        let fields: [(&str, &[u8]); 2] = [
            ("artifact_id", id.as_bytes()),
            ("artifact", &artifact(name)),
        ];
        server.upload_form(&form(&fields)).status
    };
    assert_eq!(upload("v1"), 201);
    assert_eq!(upload("v2"), 409);
    assert!(server.stored(id) == artifact("v1"));
}

#[test]
fn devices_get_links_that_the_store_signed() {
    let Some((dir, store)) = store() else { return };
    let at = store.address();
    let server = Server::start_storing_in(
        dir,
        store,
        &["--artifact-links", "store", "--link-hours", "2"],
    );
    let bytes = artifact("v2");
    server.uploaded(&bytes);
    let device = server.device("a");
    server.deploy("v2", &[&device]);
    let uri = address(&server, &device);
    assert!(uri.starts_with(&format!("http://{at}/fleet/")), "{uri}");
    assert!(uri.contains("X-Amz-Expires=7200"), "{uri}");
    assert!(anonymous(&uri, "") == (200, bytes.clone()));
    assert!(anonymous(&uri, "Range: bytes=100-199\r\n") == (206, bytes[100..200].to_vec()));
    // It is a permission for this, as long as it says, and for nothing else.
    let plain = uri.split_once('?').unwrap().0;
    let longer = uri.replace("X-Amz-Expires=7200", "X-Amz-Expires=7201");
    let before = uri.replace("X-Amz-Date=2", "X-Amz-Date=1");
    for wrong in [plain, &longer, &before] {
        assert_eq!(anonymous(wrong, "").0, 403, "{wrong}");
    }
}

#[test]
fn one_link_serves_all_devices_through_a_cache() {
    let server = Server::start_with(&["--artifact-base-url", "https://cdn.example.com/updates/"]);
    let bytes = artifact("v2");
    let id = server.uploaded(&bytes);
    let (one, two) = (server.device("one"), server.device("two"));
    server.deploy("v2", &[&one, &two]);
    let uri = address(&server, &one);
    assert_eq!(uri, address(&server, &two));
    let path = uri
        .strip_prefix("https://cdn.example.com/updates")
        .unwrap()
        .to_owned();
    assert!(path.starts_with(&format!("/api/devices/v1/artifacts/{id}/")));
    let got = server.nobody("GET", &path, b"");
    assert!(got.status == 200 && got.body == bytes);
    let keep = got.header("cache-control").unwrap();
    let age = keep
        .strip_prefix("public, max-age=")
        .unwrap()
        .strip_suffix(", immutable")
        .unwrap();
    let age: u64 = age.parse().unwrap();
    assert!((24 * 3600 - 60..=48 * 3600).contains(&age), "{keep}");
    // The cache asks for slices.
    let mut http = server.connect();
    let slice = http.request("GET", &path, &[("range", "bytes=0-4095")], b"");
    assert!(slice.status == 206 && slice.body == bytes[..4096]);
    let (plain, query) = path.split_once('?').unwrap();
    assert_eq!(server.nobody("GET", plain, b"").status, 403);
    let sum = plain.rsplit('/').next().unwrap();
    let other = path.replace(sum, &"0".repeat(64));
    assert_eq!(server.nobody("GET", &other, b"").status, 403);
    assert!(query.starts_with("x-men-expire="));
    server.done(&["deployment", "abort", &deployment(&server)]);
    server.done(&["artifact", "delete", "v2"]);
    assert_eq!(server.nobody("GET", &path, b"").status, 404);
}

fn deployment(server: &Server) -> String {
    let all = server.admin("GET", "/api/management/v1/deployments/deployments", ());
    all.json()[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn artifacts_move_to_the_store_and_back_when_the_server_is_told_so() {
    let Some((dir, store)) = store() else { return };
    let mut server = Server::start_among(TempDir::new().unwrap(), &[], store.environment());
    let bytes = [artifact("v1"), build("v2", &["testboard"], &[], 10_000_000)];
    let ids = [server.uploaded(&bytes[0]), server.uploaded(&bytes[1])];
    server.terminate();
    assert!(server.wait());
    let place = store.place("moved");
    server.set_args(&["--artifacts", &place]);
    server.restart();
    let object = |id: &str| {
        let found = store.objects(&format!("moved/{id}")).unwrap();
        fs::read(&found[0]).unwrap()
    };
    assert!(object(&ids[0]) == bytes[0] && object(&ids[1]) == bytes[1]);
    // It is remembered, by the server and by the verbs without one.
    server.terminate();
    assert!(server.wait());
    let third = dir.path().join("v3.mender");
    crate::harness::write(&third, &artifact("v3"));
    server.done(&["artifact", "upload", third.to_str().unwrap()]);
    assert_eq!(store.objects("moved").unwrap().len(), 3);
    server.set_args(&[]);
    server.restart();
    let file = dir.path().join("got.mender");
    server.done(&["artifact", "download", "v3", "-o", file.to_str().unwrap()]);
    assert!(fs::read(file).unwrap() == artifact("v3"));
    // And home again, but for one that is lost: then nothing is changed.
    server.terminate();
    assert!(server.wait());
    let own = server.data().join("artifacts");
    for left in fs::read_dir(&own).unwrap() {
        fs::remove_file(left.unwrap().path()).unwrap();
    }
    let lost = store.objects(&format!("moved/{}", ids[0])).unwrap();
    fs::remove_file(&lost[0]).unwrap();
    let back = refused(&server, &["--artifacts", own.to_str().unwrap()]);
    assert!(back.contains(&ids[0]) && back.contains("v1"), "{back}");
    crate::harness::write(&lost[0], &bytes[0]);
    server.set_args(&["--artifacts", own.to_str().unwrap()]);
    server.restart();
    assert!(fs::read(own.join(&ids[1])).unwrap() == bytes[1]);
    assert!(!server.data().join("artifacts-at").exists());
}

/// What a server says that does not start with these options.
#[track_caller]
fn refused(server: &Server, args: &[&str]) -> String {
    refused_among(server, args, &[])
}

#[track_caller]
fn refused_among(server: &Server, args: &[&str], environment: &[(String, String)]) -> String {
    let mut command = std::process::Command::new("timeout");
    let output = command
        .args(["60", PROGRAM, "serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(server.data())
        .args(args)
        .envs(server.environment().iter().cloned())
        .envs(environment.iter().cloned())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    log
}

#[test]
fn what_is_wrong_with_the_store_is_said_at_the_start() {
    let Some((_dir, store)) = store() else { return };
    let mut server = Server::start_among(TempDir::new().unwrap(), &[], store.environment());
    server.terminate();
    assert!(server.wait());
    let place = store.place("");
    let place = ["--artifacts", &place];
    let set = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
    let log = refused_among(&server, &place, &set("AWS_SECRET_ACCESS_KEY", "wrong"));
    assert!(
        log.contains("refuses") && log.contains("s3://fleet"),
        "{log}"
    );
    let log = refused(&server, &["--artifacts", "s3://nowhere"]);
    assert!(log.contains("s3://nowhere"), "{log}");
    let log = refused_among(&server, &place, &set("AWS_ALLOW_HTTP", "false"));
    assert!(log.contains("AWS_ALLOW_HTTP"), "{log}");
    let log = refused(&server, &["--artifact-links", "store"]);
    assert!(log.contains("--artifacts s3://"), "{log}");
    server.restart();
}

#[test]
fn without_its_store_a_server_does_what_it_can() {
    let Some((dir, store)) = store() else { return };
    let mut server = Server::start_storing_in(dir, store, &[]);
    let bytes = artifact("v2");
    server.uploaded(&bytes);
    let device = server.device("a");
    let deployment = server.deploy("v2", &[&device]);
    let uri = address(&server, &device);
    server.store().stop();
    server.kill();
    server.restart();
    // Reports come in; who wants bytes is told to come again.
    assert_eq!(
        device.report(&server, &deployment, "downloading").status,
        204
    );
    let answer = get(&server, &uri, &[]);
    assert!(answer.status >= 500, "{}", answer.status);
    let answer = server.upload(&artifact("v3"));
    assert!(answer.status >= 500, "{}", answer.text());
    let list = server.admin("GET", ARTIFACTS, ()).json();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    server.store().restart().unwrap();
    assert!(get(&server, &uri, &[]).body == bytes);
    server.uploaded(&artifact("v3"));
}

#[test]
fn only_what_nobody_can_need_is_removed_from_the_store() {
    let Some((dir, store)) = store() else { return };
    let mut server = Server::start_storing_in(dir, store, &[]);
    let id = server.uploaded(&artifact("v1"));
    let kept = server.store().objects("").unwrap();
    let folder = kept[0].parent().unwrap().parent().unwrap().to_owned();
    let put = |name: &str| {
        let path = folder.join(name);
        crate::harness::write(&path, b"x");
        path
    };
    let sum = "0".repeat(64);
    let orphan = put(&format!("0c13a0e6-1111-4222-8333-444455556666/{sum}"));
    // It may be on its way into the database of another server.
    let young = put(&format!("0c13a0e6-1111-4222-8333-444455556667/{sum}"));
    let foreign = put("notes/of-somebody");
    age(&[kept[0].clone(), orphan.clone(), foreign.clone()]);
    server.kill();
    server.restart();
    assert!(!orphan.exists() && young.exists() && foreign.exists());
    assert!(server.stored(&id) == artifact("v1"));
}

#[test]
fn a_backup_says_where_the_artifacts_are_and_a_restored_server_finds_them() {
    let Some((dir, store)) = store() else { return };
    let server = Server::start_storing_in(dir, store, &[]);
    server.uploaded(&artifact("v1"));
    let backup = server.dir.path().join("backup");
    let said = server.done(&["backup", backup.to_str().unwrap()]);
    assert!(said.contains("s3://fleet/"), "{said}");
    let text = fs::read_to_string(backup.join("backup.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    assert!(
        manifest["artifacts_at"]
            .as_str()
            .unwrap()
            .starts_with("s3://fleet/"),
        "{manifest}"
    );
    let other = TempDir::new().unwrap();
    let data = other.path().join("data");
    let restored = std::process::Command::new(PROGRAM)
        .arg("restore")
        .arg(&backup)
        .arg("--data")
        .arg(&data)
        .status()
        .unwrap();
    assert!(restored.success());
    let copy = Server::start_among(other, &[], server.environment().to_vec());
    let file = copy.dir.path().join("got.mender");
    copy.done(&["artifact", "download", "v1", "-o", file.to_str().unwrap()]);
    assert!(fs::read(file).unwrap() == artifact("v1"));
}

#[test]
fn servers_share_a_directory_and_leave_each_other_in_peace() {
    let shared = TempDir::new().unwrap();
    let place = shared.path().join("artifacts");
    let options = ["--artifacts", place.to_str().unwrap()];
    let mut one = Server::start_among(TempDir::new().unwrap(), &options, Vec::new());
    let other = Server::start_among(TempDir::new().unwrap(), &options, Vec::new());
    let of_one = one.uploaded(&artifact("v1"));
    let of_other = other.uploaded(&artifact("v1"));
    let notes = place.join("notes");
    crate::harness::write(&notes, b"x");
    one.kill();
    one.restart();
    for id in [of_one, of_other] {
        assert!(fs::read(place.join(&id)).unwrap() == artifact("v1"));
    }
    assert!(notes.exists());
    let free: &Path = &one.data().join("artifacts");
    assert_eq!(fs::read_dir(free).unwrap().count(), 0);
}
