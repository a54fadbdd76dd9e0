//! PostgreSQL: several processes on one database, a database that goes away, and the move from a file.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem_api::device::{INVENTORY, NEXT_V2};

use crate::harness::postgres::{self, Cluster};
use crate::harness::{Device, Http, PROGRAM, Server, artifact, wait_until};
use crate::rollouts::{check, deploy, report, shown};

/// A server on PostgreSQL, whatever the other tests run on; `None` if there is none here.
fn server() -> Option<Server> {
    if !postgres::installed() {
        return None;
    }
    let database = Arc::new(postgres::database());
    let dir = tempfile::TempDir::new().unwrap();
    Some(Server::start_on(dir, &[], Some(database)))
}

#[test]
fn a_fleet_lives_on_postgresql_as_in_a_file() {
    let Some(mut server) = server() else { return };
    server.uploaded(&artifact("r2"));
    let devices: Vec<Device> = (0..4).map(|n| server.device(&format!("d{n}"))).collect();
    // What only PostgreSQL cannot keep, and what it would put in another order or find in another case.
    let inventory = json!([
        {"name": "artifact_name", "value": "r1"},
        {"name": "device_type", "value": "testboard"},
        {"name": "nul", "value": "a\u{0}b"},
        {"name": "numbers", "value": [1, 2.5]},
    ]);
    let answer = devices[0].request(&server, "PUT", INVENTORY, inventory);
    check(&answer, 200);
    for (device, value) in devices.iter().zip(["b", "B", "_", "é"]) {
        let tag = json!([{"name": "order", "value": value}]);
        let path = format!("/api/management/v1/inventory/devices/{}/tags", device.id);
        check(&server.admin("PUT", &path, tag), 200);
    }
    let search = |filters: Value| -> Vec<String> {
        let question = json!({
            "filters": filters,
            "sort": [{"scope": "tags", "attribute": "order", "order": "asc"}],
        });
        let answer = server.admin(
            "POST",
            "/api/management/v2/inventory/filters/search",
            question,
        );
        check(&answer, 200);
        let found = answer.json();
        let order = |device: &Value| {
            let all = device["attributes"].as_array().unwrap();
            let tag = all
                .iter()
                .find(|one| one["scope"] == "tags" && one["name"] == "order");
            tag.map(|tag| tag["value"].as_str().unwrap().to_owned())
        };
        found.as_array().unwrap().iter().filter_map(order).collect()
    };
    let filter = |kind: &str, value: Value| json!([{"scope": "tags", "attribute": "order", "type": kind, "value": value}]);
    assert_eq!(search(json!([])), ["B", "_", "b", "é"]);
    assert_eq!(search(filter("$regex", json!("^[bB]$"))), ["B", "b"]);
    assert_eq!(search(filter("$gt", json!("B"))), ["_", "b", "é"]);
    // One that only the other database understands matches nothing, and is in nobody's way.
    assert_eq!(search(filter("$regex", json!(r"^(?P<n>b)$"))), [""; 0]);
    let status = json!([{"scope": "identity", "attribute": "status", "type": "$eq", "value": 5}]);
    assert_eq!(search(status), [""; 0]);

    let id = deploy(
        &server,
        json!({"max_concurrent": 2, "stop_on_failures": {"count": 1}}),
    );
    let begun: Vec<usize> = (0..4)
        .filter(|n| devices[*n].next(&server, "r1").status == 200)
        .collect();
    assert_eq!(begun.len(), 2);
    report(&server, &devices, &begun[..1], &id, "failure");
    assert_eq!(shown(&server, &id)["rollout"]["paused_by"], "failures");

    // What was acknowledged is there after a kill; the audit log can be added to and nothing else.
    server.kill();
    server.restart();
    assert_eq!(
        server.status_on(&id, &devices[begun[0]])["status"],
        "failure"
    );
    let log = server.done(&["audit", "list"]);
    assert!(
        log.contains("accept") && log.contains("deployment"),
        "{log}"
    );
    let database = server.database();
    let lines = || database.texts("SELECT COUNT(*)::TEXT FROM audit_log")[0].clone();
    let before = lines();
    let forge = "DO $$ BEGIN UPDATE audit_log SET actor_name = 'x'; RAISE 'it could be changed';
                 EXCEPTION WHEN raise_exception THEN
                    IF SQLERRM NOT LIKE '%append-only%' THEN RAISE; END IF; END $$";
    database.run(forge);
    assert_eq!(lines(), before);
}

#[test]
fn the_verbs_find_the_database_and_a_wrong_one_is_refused() {
    let Some(mut server) = server() else { return };
    server.device("a");
    server.kill();
    let url = server.database().tcp_url();
    let call = |args: &[&str], database: Option<&str>| -> Output {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .arg("--data")
            .arg(server.data())
            .env_remove("TANDEM_DATABASE");
        if let Some(database) = database {
            command.args(["--database", database]);
        }
        command.output().unwrap()
    };
    let says = |out: &Output, words: &str| {
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && text.contains(words), "{text}");
        assert!(
            !text.contains("ss/w") && !text.contains("ss%2Fw"),
            "no password: {text}"
        );
    };
    // With a password over TCP, from a file that others need not see.
    let file = server.dir.path().join("database");
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let out = call(&["device", "list"], Some(file.to_str().unwrap()));
    assert!(
        String::from_utf8_lossy(&out.stdout).contains("mac=a"),
        "{out:?}"
    );
    says(&call(&["device", "list"], None), "--database");
    says(
        &call(&["serve", "--listen", "127.0.0.1:0"], None),
        "--database",
    );
    says(
        &call(&["device", "list"], Some(&url.replace("%25rd", "x"))),
        "cannot open",
    );
    says(&call(&["device", "list"], Some("mysql://x")), "postgres://");
    says(&call(&["device", "list"], Some("/nowhere")), "/nowhere");
    let other = postgres::database();
    says(&call(&["device", "list"], Some(&other.url())), "token.key");
    // Tables of a version that is yet to come.
    server.database().run(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, '', 0)",
    );
    says(&call(&["device", "list"], Some(&url)), "newer version");
}

#[test]
fn what_changes_at_one_process_is_known_at_the_other() {
    let Some(server) = server() else { return };
    let other = server.another();
    server.uploaded(&artifact("r2"));
    let device = server.device("a");
    // Both know it by heart from now on.
    for one in [&server, &other, &other] {
        check(&device.next(one, "r1"), 204);
        assert_eq!(
            one.admin("GET", "/api/management/v1/useradm/users", ())
                .status,
            200
        );
    }
    wait_until("the news of the deployment", || {
        static MADE: AtomicBool = AtomicBool::new(false);
        if !MADE.swap(true, Ordering::Relaxed) {
            deploy(&server, json!({}));
        }
        device.next(&other, "r1").status == 200
    });
    let download = device.next(&other, "r1").json()["artifact"]["source"]["uri"].clone();
    assert!(
        download
            .as_str()
            .unwrap()
            .contains(&other.address.to_string())
    );
    let (id, set) = server.find(&device);
    let path = format!("/api/management/v2/devauth/devices/{id}/auth/{set}/status");
    check(
        &other.admin("PUT", &path, json!({"status": "rejected"})),
        204,
    );
    check(&device.next(&other, "r1"), 401);
    wait_until("the news of the rejection", || {
        device.next(&server, "r1").status == 401
    });
    // Who signs out at one is out at the other.
    let token = server.login();
    let ask = |one: &Server| {
        one.connect()
            .with_token("GET", "/api/management/v1/useradm/users", &token, ())
            .status
    };
    assert_eq!((ask(&server), ask(&other)), (200, 200));
    let mut http = server.connect();
    http.with_token("POST", "/api/management/v1/useradm/auth/logout", &token, ());
    assert_eq!(ask(&server), 401);
    wait_until("the news of the sign-out", || ask(&other) == 401);
}

/// How many devices may be at it in the test below.
const CAP: usize = 3;

#[test]
fn two_processes_that_are_killed_and_started_again_lose_nothing_and_keep_the_cap() {
    let Some(mut server) = server() else { return };
    server.uploaded(&artifact("r2"));
    let devices: Vec<Device> = (0..12).map(|n| server.device(&format!("d{n}"))).collect();
    let deployment = deploy(&server, json!({"max_concurrent": CAP}));
    let mut other = server.another();
    let places = [
        (server.address, server.authority()),
        (other.address, other.authority()),
    ];
    let database = Arc::clone(server.shared_database());
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let path = tandem_api::device::status_path(&deployment);
    let active =
        "SELECT COUNT(*)::TEXT FROM device_deployments WHERE open = 1 AND status IS NOT NULL";
    let last: Vec<Option<String>> = std::thread::scope(|scope| {
        let reporters: Vec<_> = devices
            .iter()
            .enumerate()
            .map(|(n, device)| {
                let (places, path, stop, acknowledged) = (&places, &path, &stop, &acknowledged);
                scope.spawn(move || {
                    let mut turn = n;
                    // Whoever answers: one of the two, this time this one, next time the other.
                    let mut ask = |method: &str, path: &str, body: Value| -> Option<u16> {
                        turn += 1;
                        let (address, authority) = &places[turn % 2];
                        let mut http = Http::try_connect(*address, authority)?;
                        let head = format!(
                            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
                             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                            device.token,
                            body.to_string().len()
                        );
                        http.send(head.as_bytes()).ok()?;
                        Some(http.answer(false).ok()?.status)
                    };
                    let mut last = None;
                    while !stop.load(Ordering::Acquire) {
                        let provides = json!({"device_provides": {"artifact_name": "r1", "device_type": "testboard"}});
                        if ask("POST", NEXT_V2, provides) != Some(200) {
                            std::thread::park_timeout(Duration::from_millis(20));
                            continue;
                        }
                        // Many reports, so that many are under way when a process is killed.
                        for step in 0..60 {
                            let status = if step == 59 { "success" } else { "installing" };
                            let report = json!({"status": status, "substate": step.to_string()});
                            while !stop.load(Ordering::Acquire) {
                                match ask("PUT", path, report.clone()) {
                                    Some(204) => {
                                        acknowledged.fetch_add(1, Ordering::Relaxed);
                                        last = Some(step.to_string());
                                        break;
                                    }
                                    Some(503) | None => std::thread::park_timeout(Duration::from_millis(10)),
                                    Some(wrong) => panic!("{wrong}"),
                                }
                            }
                        }
                        break;
                    }
                    last
                })
            })
            .collect();
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !stop.load(Ordering::Acquire) {
                most = most.max(database.texts(active)[0].parse::<usize>().unwrap());
                std::thread::park_timeout(Duration::from_millis(5));
            }
            most
        });
        let begun = Instant::now();
        let mut kills = 0;
        while acknowledged.load(Ordering::Relaxed) < 12 * 60
            && begun.elapsed() < Duration::from_secs(40)
        {
            let so_far = acknowledged.load(Ordering::Relaxed);
            let victim = if kills % 2 == 0 {
                &mut server
            } else {
                &mut other
            };
            victim.kill();
            victim.restart();
            kills += 1;
            let seen = Instant::now();
            while acknowledged.load(Ordering::Relaxed) < so_far + 40
                && seen.elapsed() < Duration::from_secs(5)
            {
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
        stop.store(true, Ordering::Release);
        assert!(kills >= 4, "{kills} kills");
        let most = watcher.join().unwrap();
        assert_eq!(most, CAP, "devices at it at once");
        reporters
            .into_iter()
            .map(|reporter| reporter.join().unwrap())
            .collect()
    });
    assert!(acknowledged.load(Ordering::Relaxed) > 100);
    for (device, last) in devices.iter().zip(last) {
        let Some(last) = last else { continue };
        let last: usize = last.parse().unwrap();
        let kept = server.status_on(&deployment, device)["substate"].clone();
        let kept: usize = kept.as_str().unwrap().parse().unwrap();
        // The one that was on its way may have been kept without the answer arriving.
        assert!(
            kept == last || kept == last + 1,
            "acknowledged {last}, kept {kept}"
        );
    }
}

#[test]
fn a_database_that_goes_away_is_waited_for_and_nothing_acknowledged_is_lost() {
    if !postgres::installed() {
        return;
    }
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start()));
    let database = Arc::new(cluster.database(false));
    let server = Server::start_on(tempfile::TempDir::new().unwrap(), &[], Some(database));
    server.uploaded(&artifact("r2"));
    let device = server.device("a");
    let id = server.deploy("r2", &[&device]);
    check(&device.next(&server, "r1"), 200);
    check(&device.report(&server, &id, "installing"), 204);
    cluster.tell("stop");
    let refused = device.report(&server, &id, "success");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let refused = device.next(&server, "r1");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(server.nobody("GET", "/healthz", b"").status, 503);
    cluster.tell("start");
    cluster.wait();
    wait_until("the return", || {
        server.nobody("GET", "/healthz", b"").status == 200
    });
    assert_eq!(server.status_on(&id, &device)["status"], "installing");
    check(&device.report(&server, &id, "success"), 204);
    assert_eq!(server.status_on(&id, &device)["status"], "success");
    // It hears others again, and looks after what only one may.
    wait_until("the hearing", || {
        server.log().matches("looks after").count() == 2
    });
}

#[test]
fn a_server_waits_for_a_database_that_is_about_to_start() {
    if !postgres::installed() {
        return;
    }
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start()));
    let database = Arc::new(cluster.database(false));
    cluster.tell("stop");
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            Server::start_on(
                tempfile::TempDir::new().unwrap(),
                &[],
                Some(Arc::clone(&database)),
            )
        });
        std::thread::park_timeout(Duration::from_millis(500));
        cluster.tell("start");
        let server = starting.join().unwrap();
        assert_eq!(server.nobody("GET", "/healthz", b"").status, 200);
    });
}

#[test]
fn a_server_moves_to_postgresql_and_its_devices_do_not_notice() {
    if !postgres::installed() {
        return;
    }
    let mut server = Server::start_on(tempfile::TempDir::new().unwrap(), &[], None);
    server.uploaded(&artifact("r1"));
    server.uploaded(&artifact("r2"));
    let devices: Vec<Device> = (0..30).map(|n| server.device(&format!("d{n}"))).collect();
    for (n, device) in devices.iter().enumerate() {
        let inventory = json!([
            {"name": "artifact_name", "value": "r1"},
            {"name": "n", "value": n},
            {"name": "text", "value": "<b>\u{0}'\"\\ ünï"},
        ]);
        check(&device.request(&server, "PUT", INVENTORY, inventory), 200);
    }
    let token = server.done(&["token", "create", "ci"]).trim().to_owned();
    server.done(&[
        "webhook",
        "add",
        "https://127.0.0.1:9/",
        "--events",
        "deployment.finished",
    ]);
    let id = deploy(
        &server,
        json!({"phases": [{"batch_count": 10}, {"batch_size": 50, "delay": 1}, {}], "max_concurrent": 8}),
    );
    let begun: Vec<usize> = (0..30)
        .filter(|n| devices[*n].next(&server, "r1").status == 200)
        .collect();
    assert_eq!(begun.len(), 8);
    report(&server, &devices, &begun[..3], &id, "success");
    report(&server, &devices, &begun[3..4], &id, "failure");
    report(&server, &devices, &begun[4..6], &id, "installing");
    let database = Arc::new(postgres::database());
    let data = server.data();
    let migrate = || {
        Command::new(PROGRAM)
            .args(["migrate", "--json", "--to", &database.url(), "--data"])
            .arg(&data)
            .output()
            .unwrap()
    };
    let out = migrate();
    assert!(!out.status.success(), "the server runs");
    let before = shown(&server, &id);
    // Properly, so that all of it is in the one file that is compared below.
    server.terminate();
    assert!(server.wait());
    let source = std::fs::read(server.data().join("tandem.db")).unwrap();

    // Interrupted: nothing is there, and it can be begun again.
    database.run(
        "CREATE FUNCTION no() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
                  CREATE TRIGGER no BEFORE INSERT ON audit_log EXECUTE FUNCTION no();",
    );
    assert!(!migrate().status.success());
    assert_eq!(database.texts("SELECT COUNT(*)::TEXT FROM devices"), ["0"]);
    database.run("DROP FUNCTION no CASCADE");
    let out = migrate();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let done: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (&done["tables"]["devices"], &done["before"]),
        (&json!(30), &json!(false))
    );
    let again: Value = serde_json::from_slice(&migrate().stdout).unwrap();
    assert_eq!(
        (&again["rows"], &again["before"]),
        (&done["rows"], &json!(true))
    );
    assert_eq!(
        std::fs::read(server.data().join("tandem.db")).unwrap(),
        source,
        "only read"
    );
    let left: Vec<_> = std::fs::read_dir(server.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains("migrate")),
        "{left:?}"
    );

    // The old one does not start any more by mistake.
    assert!(!server.verb(&["device", "list"]).status.success());
    server.move_to(Arc::clone(&database));
    assert_eq!(shown(&server, &id), before);
    assert_eq!(
        server.try_login(&server.email, &server.password).status,
        200
    );
    assert_eq!(
        server
            .connect()
            .with_token("GET", "/api/management/v1/useradm/users", &token, ())
            .status,
        200
    );
    // Their tokens and the certificate are good as before; the deployment goes on where it was.
    report(&server, &devices, &begun[4..], &id, "success");
    let more = (0..30)
        .filter(|n| !begun.contains(n) && devices[*n].next(&server, "r1").status == 200)
        .count();
    assert_eq!(more, 2, "the rest of the first phase");
    let audit = server.done(&["audit", "list", "--json"]);
    assert!(audit.contains("sign_in"), "{audit}");

    // What is not the same is not overwritten.
    server.kill();
    std::fs::remove_file(server.data().join("postgres")).unwrap();
    let out = migrate();
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("not empty"),
        "{out:?}"
    );
}
