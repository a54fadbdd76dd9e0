//! The example that waits for the network, in a network namespace of its own.

use std::net::TcpListener;
use std::process::Command;

use crate::device::has_tool;
use crate::userland::{Installed, Userland, Verdict};

/// Runs one of the tests below in a new network namespace, where nothing is up.
fn in_namespace(test: &str) {
    if !has_tool("unshare") || !has_tool("ip") {
        return;
    }
    let own_network = ["--net", "--user", "--map-root-user"];
    if !Command::new("unshare")
        .args(own_network)
        .arg("true")
        .status()
        .unwrap()
        .success()
    {
        eprintln!("SKIPPED: network namespaces are not allowed here");
        return;
    }
    let output = Command::new("unshare")
        .args(own_network)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            &format!("network_up::{test}"),
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:#?}"
    );
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

fn install(userland: Userland, name: &str, settings: &str) -> Installed {
    let conf = format!("WAIT_SECONDS=0\n{settings}");
    Installed::new(userland, "network-up", name, &conf)
}

#[track_caller]
fn check(settings: &str, expected: Verdict, said: &str) {
    for userland in Userland::all() {
        let network = install(userland, "Sync_Enter_00_network-up", settings);
        let (verdict, text) = network.run(&network.runner());
        assert_eq!((verdict, text.as_str()), (expected, said), "{userland:?}");
    }
}

const NO_ROUTE: &str = "the network is not there after 0 seconds: no default route\n";

#[test]
fn a_default_route_is_a_network() {
    in_namespace("inside_routes");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_routes() {
    check("", Verdict::Later, NO_ROUTE);
    ip("link set lo up");
    ip("route add unreachable default metric 9999");
    ip("-6 route add unreachable default metric 9999");
    check("", Verdict::Later, NO_ROUTE);
    ip("link add br0 type bridge");
    ip("link set br0 up");
    ip("address add 192.0.2.2/24 dev br0");
    check("", Verdict::Later, NO_ROUTE);
    ip("route add default via 192.0.2.1");
    check("", Verdict::Passed, "");
    ip("route delete default via 192.0.2.1");
    check("", Verdict::Later, NO_ROUTE);
    ip("-6 address add 2001:db8::2/64 dev br0 nodad");
    ip("-6 route add default via 2001:db8::1");
    check("", Verdict::Passed, "");
}

#[test]
fn before_a_commit_a_missing_network_is_a_failure() {
    in_namespace("inside_commit");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_commit() {
    for userland in Userland::all() {
        let network = install(userland, "ArtifactCommit_Enter_00_network-up", "");
        let (verdict, text) = network.run(&network.runner());
        assert_eq!((verdict, text.as_str()), (Verdict::Refused, NO_ROUTE));
    }
}

#[test]
fn the_network_may_take_its_time() {
    in_namespace("inside_late");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_late() {
    for userland in Userland::all() {
        let network = install(userland, "Sync_Enter_00_network-up", "WAIT_SECONDS=60");
        let mut later = Command::new("sh")
            .args([
                "-c",
                "sleep 1.2; ip link set lo up; ip route add default dev lo",
            ])
            .spawn()
            .unwrap();
        let (verdict, text) = network.run(&network.runner());
        assert_eq!((verdict, text.as_str()), (Verdict::Passed, ""));
        assert!(later.wait().unwrap().success());
        ip("route delete default dev lo");
    }
}

#[test]
fn a_name_and_an_address_can_be_demanded() {
    in_namespace("inside_demands");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_demands() {
    ip("link set lo up");
    ip("route add default dev lo");
    // Name servers are out of reach, and that is known at once.
    ip("route add unreachable 0.0.0.0/1");
    ip("route add unreachable 128.0.0.0/1");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{Read, Write};
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not here\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let not_there = |what: &str| format!("the network is not there after 0 seconds: {what}\n");
    let unknown = not_there("cannot resolve nobody.invalid");
    check("RESOLVE=nobody.invalid", Verdict::Later, &unknown);
    check(
        &format!("REACH=http://127.0.0.1:{port}/"),
        Verdict::Passed,
        "",
    );
    let silent = not_there("no answer from http://127.0.0.1:1/");
    check("REACH=http://127.0.0.1:1/", Verdict::Later, &silent);
    // Busybox's nslookup asks a name server, and there is none here.
    let network = install(
        Userland::Debian,
        "Sync_Enter_00_network-up",
        "RESOLVE=localhost",
    );
    assert_eq!(network.run(&network.runner()).0, Verdict::Passed);
}
