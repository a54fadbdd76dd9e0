//! What the server does when it is pressed, stopped, or killed.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tandem_api::device::{INVENTORY, NEXT_V2};

use crate::harness::{Device, SOON, Server, artifact, build, form, pause, wait_until};

const ARTIFACTS: &str = "/api/management/v1/deployments/artifacts";
const DEVICES: &str = "/api/management/v2/devauth/devices";

#[test]
fn nothing_that_was_acknowledged_is_lost_by_kill_9() {
    let mut server = Server::start();
    let mut artifacts = Vec::new();
    for round in 0..3 {
        let name = format!("v{round}");
        artifacts.push(server.uploaded(&artifact(&name)));
        let device = server.device(&format!("d{round}"));
        let deployment = server.deploy(&name, &[&device]);
        assert_eq!(device.next(&server, "old").status, 200);
        assert_eq!(
            device.report(&server, &deployment, "installing").status,
            204
        );
        let inventory = json!([{"name": "round", "value": round}]);
        assert_eq!(
            device.request(&server, "PUT", INVENTORY, inventory).status,
            200
        );
        assert_eq!(device.report(&server, &deployment, "success").status, 204);
        server.kill();
        server.restart();
        // Tokens are good as before.
        assert_eq!(server.status_on(&deployment, &device)["status"], "success");
        assert_eq!(device.next(&server, "old").status, 204);
        let shown = server.admin(
            "GET",
            &format!("/api/management/v1/inventory/devices/{}", device.id),
            (),
        );
        assert!(shown.text().contains("\"round\""));
    }
    for id in artifacts {
        assert_eq!(
            server.admin("GET", &format!("{ARTIFACTS}/{id}"), ()).status,
            200
        );
    }
}

#[test]
fn reports_from_many_devices_survive_kill_9_in_their_midst() {
    let mut server = Server::start();
    server.uploaded(&artifact("v2"));
    let devices: Vec<Device> = (0..12).map(|n| server.device(&format!("d{n}"))).collect();
    let all: Vec<&Device> = devices.iter().collect();
    let deployment = server.deploy("v2", &all);
    for device in &devices {
        assert_eq!(device.next(&server, "v1").status, 200);
    }
    let (killed, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let path = tandem_api::device::status_path(&deployment);
    let (address, authority) = (server.address, server.authority());
    let acknowledged: Vec<usize> = std::thread::scope(|scope| {
        let reporters: Vec<_> = devices
            .iter()
            .map(|device| {
                let (path, authority) = (&path, &authority);
                let (killed, answered) = (&killed, &answered);
                let mut http = crate::harness::Http::connect(address, authority);
                scope.spawn(move || {
                    let request = |status: &str, n: usize| {
                        let body = json!({"status": status, "substate": n.to_string()}).to_string();
                        format!(
                            "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
                             Content-Length: {}\r\n\r\n{body}",
                            device.token,
                            body.len()
                        )
                    };
                    let mut last = 0;
                    for n in 1.. {
                        let sent = http.send(request("installing", n).as_bytes());
                        match sent.and_then(|()| http.answer(false)) {
                            Ok(answer) => assert_eq!(answer.status, 204),
                            Err(_) => break,
                        }
                        last = n;
                        answered.fetch_add(1, Ordering::Relaxed);
                        assert!(!killed.load(Ordering::Acquire) || n < 1_000_000);
                    }
                    last
                })
            })
            .collect();
        let begun = Instant::now();
        while answered.load(Ordering::Relaxed) < 100 && begun.elapsed() < Duration::from_secs(30) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        server.kill();
        killed.store(true, Ordering::Release);
        reporters
            .into_iter()
            .map(|reporter| reporter.join().unwrap())
            .collect()
    });
    server.restart();
    assert!(acknowledged.iter().sum::<usize>() > 20, "{acknowledged:?}");
    for (device, last) in devices.iter().zip(acknowledged) {
        let substate = server.status_on(&deployment, device)["substate"].clone();
        let kept: usize = substate.as_str().unwrap_or("0").parse().unwrap();
        // The one that was on its way may have been kept without the answer arriving.
        assert!(
            kept == last || kept == last + 1,
            "acknowledged {last}, kept {kept}"
        );
    }
}

#[test]
fn an_upload_that_is_killed_leaves_nothing_and_the_next_one_works() {
    let mut server = Server::start();
    let body = form(&[("artifact", &build("v2", &["testboard"], &[], 3_000_000))]);
    let head = format!(
        "POST {ARTIFACTS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: multipart/form-data; boundary=XyZ\r\nContent-Length: {}\r\n\r\n",
        server.token(),
        body.len()
    );
    let files =
        |server: &Server, name: &str| std::fs::read_dir(server.data().join(name)).unwrap().count();
    for part in [1, 2, 3] {
        let mut http = server.connect();
        http.send(head.as_bytes()).unwrap();
        http.send(&body[..body.len() * part / 4]).unwrap();
        wait_until("the upload", || files(&server, "uploads") == 1);
        server.kill();
        server.restart();
        assert_eq!(
            (files(&server, "uploads"), files(&server, "artifacts")),
            (0, 0)
        );
        assert_eq!(server.admin("GET", ARTIFACTS, ()).json(), json!([]));
    }
    assert_eq!(server.upload_form(&body).status, 201);
}

#[test]
fn a_server_that_is_told_to_stop_answers_what_it_has_begun() {
    let mut server = Server::start();
    let body = form(&[("artifact", &build("v2", &["testboard"], &[], 3_000_000))]);
    let mut http = server.connect();
    let mut idle = server.connect();
    let head = format!(
        "POST {ARTIFACTS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: multipart/form-data; boundary=XyZ\r\nContent-Length: {}\r\n\r\n",
        server.token(),
        body.len()
    );
    http.send(head.as_bytes()).unwrap();
    http.send(&body[..body.len() / 2]).unwrap();
    wait_until("the upload", || {
        std::fs::read_dir(server.data().join("uploads"))
            .unwrap()
            .count()
            == 1
    });
    server.terminate();
    wait_until("the stop", || server.log().contains("stopping"));
    // Whoever does nothing is let go.
    assert_eq!(idle.stream.read(&mut [0; 1]).unwrap_or(0), 0);
    http.send(&body[body.len() / 2..]).unwrap();
    let answer = http.answer(false).unwrap();
    assert_eq!(answer.status, 201);
    assert!(server.wait(), "{}", server.log());
    assert!(!server.data().join("admin.sock").exists());
    server.restart();
    assert_eq!(
        server
            .admin("GET", &format!("{ARTIFACTS}/{}", answer.location()), ())
            .status,
        200
    );
}

#[test]
fn who_never_ends_does_not_keep_the_server_from_stopping() {
    let mut server = Server::start_with(&["--drain", "1"]);
    let mut http = server.connect();
    http.send(b"POST /api/devices/v1/authentication/auth_requests HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").unwrap();
    server.terminate();
    let begun = Instant::now();
    assert!(server.wait());
    assert!(begun.elapsed() < SOON);
}

#[test]
fn what_is_too_large_or_not_http_is_refused() {
    let server = Server::start();
    let device = server.device("a");
    let long = json!([{"name": "n", "value": "v".repeat(1 << 20)}]);
    assert_eq!(device.request(&server, "PUT", INVENTORY, long).status, 413);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(
        device
            .request(&server, "PUT", INVENTORY, deep.as_str())
            .status,
        400
    );
    let text = [
        ("content-type", "text/plain"),
        ("authorization", &format!("Bearer {}", device.token)),
    ];
    assert_eq!(
        server
            .connect()
            .request("POST", NEXT_V2, &text, b"{}")
            .status,
        415
    );
    for head in [
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000)),
        format!(
            "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
            "x".repeat(100_000)
        ),
        "NONSENSE\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"
            .to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n".to_owned(),
    ] {
        let mut http = server.connect();
        // It may have closed before all is sent.
        let _ = http.send(head.as_bytes());
        if let Ok((status, _)) = http.head() {
            assert!((400..500).contains(&status), "{status} for {:.40}", head);
        }
    }
    assert_eq!(device.next(&server, "v1").status, 204);
}

#[test]
fn a_device_that_asks_too_often_is_told_to_wait() {
    let server = Server::start_with(&["--device-rate", "5"]);
    let device = server.device("a");
    let other = server.device("b");
    let refused = (0..30)
        .map(|_| device.next(&server, "v1"))
        .find(|answer| answer.status != 204)
        .unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(other.next(&server, "v1").status, 204);
}

#[test]
fn devices_that_may_not_wait_are_turned_away() {
    let server = Server::start_with(&["--max-pending", "2", "--max-devices", "1"]);
    let mut devices: Vec<Device> = ["a", "b", "c"].into_iter().map(Device::new).collect();
    let statuses: Vec<u16> = devices
        .iter_mut()
        .map(|device| device.authenticate(&server).status)
        .collect();
    assert_eq!(statuses, [401, 401, 429]);
    server.accept(&mut devices[0]);
    assert_eq!(devices[2].authenticate(&server).status, 401);
    let (id, set) = server.find(&devices[1]);
    let answer = server.admin(
        "PUT",
        &format!("{DEVICES}/{id}/auth/{set}/status"),
        json!({"status": "accepted"}),
    );
    assert_eq!(answer.status, 422);
    let limit = server.admin("GET", "/api/management/v2/devauth/limits/max_devices", ());
    assert_eq!(limit.json(), json!({"limit": 1}));
}

#[test]
fn secrets_are_for_their_owner_alone() {
    let server = Server::start();
    server.uploaded(&artifact("v2"));
    fn walk(dir: &Path, open: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            if mode & 0o077 != 0 {
                open.push(entry.file_name().into_string().unwrap());
            }
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), open);
            }
        }
    }
    assert_eq!(
        server.data().metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
    let mut open = Vec::new();
    walk(&server.data(), &mut open);
    open.sort();
    assert_eq!(
        open,
        ["ca.crt", "server.crt", "server.names"],
        "these are public"
    );
    let (log, printed) = (server.log(), server.printed());
    assert!(printed.contains(&server.password));
    for secret in [server.password.as_str(), server.token()] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

#[test]
fn the_first_start_says_what_to_do_and_the_second_does_not() {
    let mut server = Server::start_with(&["--admin-email", "Ops@example.com"]);
    let printed = server.printed();
    for end in [
        "e-mail    ops@example.com",
        &format!("password  {}", server.password),
    ] {
        assert!(printed.lines().any(|line| line.ends_with(end)), "{printed}");
    }
    assert!(printed.contains("ca.crt") && printed.contains("server_url"));
    server.kill();
    server.restart();
    assert!(
        !server.printed().contains("password"),
        "{}",
        server.printed()
    );
    assert_eq!(
        server.try_login("ops@example.com", &server.password).status,
        200
    );
}

#[test]
fn it_says_how_it_is() {
    let server = Server::start();
    let health = server.nobody("GET", "/healthz", b"");
    assert_eq!(health.status, 200);
    let metrics = server.nobody("GET", "/metrics", b"");
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    let text = metrics.text();
    assert!(
        text.lines().any(|line| line.starts_with("# TYPE tandem_")),
        "{text}"
    );
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(
            name.starts_with("tandem_") || name.starts_with("process_"),
            "{line}"
        );
        value.parse::<f64>().unwrap();
    }
}

#[test]
fn one_directory_has_one_server() {
    let server = Server::start();
    let second = std::process::Command::new(crate::harness::PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(server.data())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("already"));
    assert_eq!(server.nobody("GET", "/healthz", b"").status, 200);
}

#[test]
fn strangers_that_do_nothing_do_not_keep_others_out() {
    let server = Server::start_with(&["--max-connections", "50"]);
    let silent: Vec<std::net::TcpStream> = (0..40)
        .map(|_| std::net::TcpStream::connect(server.address).unwrap())
        .collect();
    pause();
    assert_eq!(server.nobody("GET", "/healthz", b"").status, 200);
    drop(silent);
}
