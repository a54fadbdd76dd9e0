//! How long pages take with a large fleet.

use std::time::{Duration, Instant};

use super::browser::Browser;
use crate::harness::{Server, build, postgres};

/// Devices of the large fleet.
const FLEET: u64 = 10_000;

/// How long the server may work on any page with them. One that was built without optimisation works three times as long.
const QUICK: Duration = Duration::from_millis(if cfg!(debug_assertions) { 300 } else { 100 });

#[test]
fn every_page_comes_quickly_with_ten_thousand_devices() {
    let mut server = Server::start();
    let artifact = server.uploaded(&build("v2", &["board-0", "board-1"], &[], 100));
    server.terminate();
    assert!(server.wait());
    let (device, deployment) = fill(&server);
    server.restart();
    let browser = Browser::signed_in(&server);
    let mut http = server.connect();
    let mut slow = Vec::new();
    for path in [
        "/".to_owned(),
        "/start".to_owned(),
        "/devices".to_owned(),
        "/devices?page=200".to_owned(),
        "/devices?q=5a5a".to_owned(),
        "/devices?q=nothing-has-this".to_owned(),
        "/devices?status=pending".to_owned(),
        "/devices?status=any&sort=-name".to_owned(),
        "/devices?sort=release&page=20".to_owned(),
        "/devices?sort=-heard".to_owned(),
        "/devices?state=failing&sort=group".to_owned(),
        "/devices?state=silent".to_owned(),
        "/devices?state=unsaid".to_owned(),
        "/devices?release=v1&type=board-3&group=group-1".to_owned(),
        format!("/devices/{device}"),
        "/releases".to_owned(),
        format!("/releases/{artifact}"),
        "/deployments".to_owned(),
        "/deployments/new?release=v2&to=all".to_owned(),
        "/deployments/new?release=v2&to=group&group=group-1".to_owned(),
        format!("/deployments/{deployment}"),
        format!("/deployments/{deployment}?show=failed&page=20"),
        "/people".to_owned(),
        "/settings".to_owned(),
    ] {
        let headers = [("accept", "text/html"), ("cookie", browser.cookie.as_str())];
        let (begun, before) = (Instant::now(), processor_time(&server));
        for _ in 0..ROUNDS {
            let answer = http.request("GET", &path, &headers, b"");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        // What else the machine does is not what is measured: the server's own time counts.
        let (took, worked) = (
            begun.elapsed() / ROUNDS,
            (processor_time(&server) - before) / ROUNDS,
        );
        println!(
            "{:>7.1} ms, of processor time {:>6.1} ms  {path}",
            ms(took),
            ms(worked)
        );
        if worked > QUICK {
            slow.push((path, ms(worked)));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

/// Requests for each page.
const ROUNDS: u32 = 5;

/// How long the server has worked so far. The kernel counts hundredths of a second.
fn processor_time(server: &Server) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = |n: usize| fields[n].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Fills the database of a server that does not run; a device and a deployment.
fn fill(server: &Server) -> (String, String) {
    let id = |part: &str| {
        if postgres::wanted() {
            format!(
                "LPAD(TO_HEX((n * 2654435761) % 4294967296), 8, '0') || '-0000-4000-{part}-' || LPAD(TO_HEX(n), 12, '0')"
            )
        } else {
            format!("PRINTF('%08x-0000-4000-{part}-%012x', (n * 2654435761) % 4294967296, n)")
        }
    };
    let (device, deployment) = (id("8000"), id("9000"));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    // Whoever fills a database at once must tell PostgreSQL what is in it; it finds that out itself a minute later.
    let analyze = if postgres::wanted() { "ANALYZE" } else { "" };
    server.sql(&format!(
        "CREATE TEMP TABLE n (n BIGINT PRIMARY KEY, id TEXT, sid TEXT);
         INSERT INTO n WITH RECURSIVE c (n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM c WHERE n < {FLEET})
             SELECT n, {device}, {deployment} FROM c;
         INSERT INTO devices (id, identity_hash, identity, status, group_name, created, updated, outcome)
             SELECT id, id, '{{\"mac\":\"' || id || '\"}}', CASE WHEN n % 50 = 0 THEN 'pending' ELSE 'accepted' END,
                    CASE WHEN n % 3 = 0 THEN 'group-' || n % 40 END, n * 1000, n * 1000,
                    CASE n % 10 WHEN 0 THEN 'failure' WHEN 1 THEN NULL ELSE 'success' END FROM n;
         UPDATE device_counts SET devices = (SELECT COUNT(*) FROM devices d WHERE d.status = device_counts.status);
         INSERT INTO auth_sets (id, device_id, pubkey, status, created, token_generation)
             SELECT sid, id, '-----BEGIN PUBLIC KEY-----' || n, CASE WHEN n % 50 = 0 THEN 'pending' ELSE 'accepted' END, n, 0
             FROM n;
         INSERT INTO check_ins (device_id, at) SELECT id, ({now} - n * 20) * 1000 FROM n WHERE n % 50 <> 0;
         INSERT INTO attributes (device_id, scope, name, position, text, updated)
             SELECT id, 'identity', 'mac', -1, id, 0 FROM n;
         INSERT INTO attributes (device_id, scope, name, position, text, updated)
             SELECT id, 'inventory', 'artifact_name', -1, 'v' || (n % 7 % 3), 0 FROM n WHERE n % 100 <> 1;
         INSERT INTO attributes (device_id, scope, name, position, text, updated)
             SELECT id, 'inventory', 'device_type', -1, 'board-' || (n % 5), 0 FROM n WHERE n % 100 <> 1;
         INSERT INTO attributes (device_id, scope, name, position, text, updated)
             SELECT n.id, 'inventory', 'attribute-' || m.n, -1, 'a value like those of real devices ' || (n.n * m.n), 0
             FROM n, n AS m WHERE m.n <= 18;
         INSERT INTO deployments (id, sequence, name, artifact_name, forced, created, status, aborted, max_devices, total_size,
                                  fingerprint)
             SELECT sid, n, 'deployment ' || n, 'v2', 0, n * 60000, CASE WHEN n = 60 THEN 'inprogress' ELSE 'finished' END, 0,
                    CASE WHEN n = 60 THEN {FLEET} ELSE 0 END, 0, 'f' || n FROM n WHERE n <= 60;
         UPDATE deployments SET finished = created + 1000 WHERE status = 'finished';
         INSERT INTO device_deployments (deployment_id, device_id, sequence, open, status, created, started, finished, has_log,
                                         reason)
             SELECT (SELECT sid FROM n WHERE n = 60), id, 60, CASE WHEN n % 4 > 1 THEN 1 ELSE 0 END,
                    CASE n % 4 WHEN 0 THEN 'success' WHEN 1 THEN 'failure' WHEN 2 THEN 'installing' END, 1000, 1000, 2000, 0,
                    'reason ' || (n % 9) FROM n;
         INSERT INTO deployment_statistics (deployment_id, status, devices)
             SELECT deployment_id, status, COUNT(*) FROM device_deployments WHERE status IS NOT NULL GROUP BY 1, 2;
         INSERT INTO outcomes_by_day (day, status, devices)
             SELECT {now} / 86400 - n, 'success', n * 7 FROM n WHERE n < 90;
         {analyze}"
    ));
    let named = |n: u64, part: &str| {
        format!(
            "{:08x}-0000-4000-{part}-{n:012x}",
            (n * 2_654_435_761) % (1 << 32)
        )
    };
    (named(8, "8000"), named(60, "9000"))
}
