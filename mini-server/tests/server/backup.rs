//! Copies of a data directory.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::{PROGRAM, Server, artifact, postgres};

fn restore(from: &str, to: &str) -> bool {
    Command::new(PROGRAM)
        .args(["restore", from, "--data", to])
        .status()
        .unwrap()
        .success()
}

#[test]
fn a_backup_of_a_running_server_is_whole_and_can_be_served() {
    if postgres::skip("PostgreSQL has its own tools for backups") {
        return;
    }
    let server = Server::start();
    server.uploaded(&artifact("v1"));
    let device = server.device("a");
    let deployment = server.deploy("v1", &[&device]);
    device.next(&server, "old");
    let path = |name: &str| server.dir.path().join(name).to_str().unwrap().to_owned();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Artifacts come and go, and reports come in, meanwhile.
        let busy = scope.spawn(|| {
            for n in 0.. {
                if stop.load(Ordering::Acquire) && n > 3 {
                    return n;
                }
                let id = server.uploaded(&artifact(&format!("busy{n}")));
                device.report(&server, &deployment, "installing");
                if n % 2 == 0 {
                    server.admin(
                        "DELETE",
                        &format!("/api/management/v1/deployments/artifacts/{id}"),
                        (),
                    );
                }
            }
            0
        });
        for n in 0..3 {
            server.done(&["backup", &path(&format!("backup{n}"))]);
        }
        stop.store(true, Ordering::Release);
        assert!(busy.join().unwrap() > 3);
    });
    for n in 0..3 {
        let dir = tempfile::TempDir::new().unwrap();
        let data = dir.path().join("data");
        assert!(restore(
            &path(&format!("backup{n}")),
            data.to_str().unwrap()
        ));
        let copy = Server::start_in(dir, &[]);
        // The keys are the same, and so the tokens are good.
        let mut http = copy.connect();
        let list = http.with_token(
            "GET",
            "/api/management/v1/deployments/artifacts",
            server.token(),
            (),
        );
        let list = list.json();
        let artifacts = list.as_array().unwrap();
        assert!(artifacts.iter().any(|one| one["name"] == "v1"));
        for one in artifacts {
            let id = one["id"].as_str().unwrap();
            let kept = std::fs::metadata(copy.data().join("artifacts").join(id)).unwrap();
            assert_eq!(json!(kept.len()), one["size"]);
        }
        let files = std::fs::read_dir(copy.data().join("artifacts"))
            .unwrap()
            .count();
        assert_eq!(files, artifacts.len(), "no more than there are rows");
        assert_eq!(device.next(&copy, "old").status, 200);
        assert_eq!(copy.try_login(&server.email, &server.password).status, 200);
    }
    let left: Vec<_> = std::fs::read_dir(server.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().starts_with("backup")),
        "{left:?}"
    );
}

#[test]
fn nothing_is_overwritten_and_half_a_backup_is_refused() {
    if postgres::skip("PostgreSQL has its own tools for backups") {
        return;
    }
    let server = Server::start();
    let path = |name: &str| server.dir.path().join(name).to_str().unwrap().to_owned();
    server.done(&["backup", &path("backup")]);
    assert!(!server.verb(&["backup", &path("backup")]).status.success());
    assert!(!restore(&path("backup"), server.data().to_str().unwrap()));
    std::fs::remove_file(server.dir.path().join("backup/backup.json")).unwrap();
    assert!(!restore(&path("backup"), &path("new")));
    assert!(!server.dir.path().join("new/tandem.db").exists());
}
