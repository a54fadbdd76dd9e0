//! The example that asks a web address for its health.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::device::has_tool;
use crate::userland::{Installed, Userland, Verdict};

/// A web server on loopback that gives these answers, one a connection, and the last for ever.
fn serve(answers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for number in 0.. {
            let (stream, _) = listener.accept().unwrap();
            let answer = answers[answers.len().min(number + 1) - 1];
            std::thread::spawn(move || answer_one(stream, answer));
        }
    });
    port
}

fn answer_one(mut stream: TcpStream, answer: &str) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
    }
    match answer {
        // Never an answer, and one that never ends.
        "silence" => while stream.read(&mut buffer).is_ok_and(|length| length > 0) {},
        "trickle" => {
            while stream.write_all(b"HTTP/1.1 1").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        status => {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nLocation: /x\r\n\r\nok");
            let _ = stream.write_all(head.as_bytes());
        }
    }
}

/// Runs the script against a server with these answers, with each client there is, all at a time.
#[track_caller]
fn check(answers: &'static [&'static str], settings: &str, expected: Verdict, said: &str) {
    let clients = [
        (Userland::Debian, "curl"),
        (Userland::Debian, "wget"),
        (Userland::Busybox, "wget"),
    ];
    let there = Userland::all();
    std::thread::scope(|scope| {
        for (userland, client) in clients {
            if there.contains(&userland) && has_tool(client) {
                scope.spawn(move || ask(userland, client, answers, settings, expected, said));
            }
        }
    });
}

fn ask(
    userland: Userland,
    client: &str,
    answers: &'static [&'static str],
    settings: &str,
    expected: Verdict,
    said: &str,
) {
    let url = format!("http://127.0.0.1:{}/", serve(answers));
    let conf = format!("URL={url}\nCLIENT={client}\nWINDOW_SECONDS=0\n{settings}");
    let check = Installed::new(
        userland,
        "http-ok",
        "ArtifactCommit_Enter_20_http-ok",
        &conf,
    );
    let (verdict, text) = check.run(&check.runner());
    let text = text.replace(&url, "URL");
    assert_eq!(verdict, expected, "{userland:?} {client}: {text}");
    assert!(text.contains(said), "{userland:?} {client}: {text}");
}

#[test]
fn the_status_decides() {
    check(&["200 OK"], "", Verdict::Passed, "URL answers 200\n");
    check(
        &["204 No"],
        "STATUS='200 204'",
        Verdict::Passed,
        "URL answers 204\n",
    );
    let unhealthy = "URL is not healthy after 0 seconds: 503\n";
    check(&["503 Busy"], "", Verdict::Refused, unhealthy);
    let missing = "URL is not healthy after 0 seconds: 404\n";
    check(&["404 HTTP/1.1 200"], "", Verdict::Refused, missing);
}

#[test]
fn a_redirection_is_an_answer_of_its_own() {
    let moved = "URL is not healthy after 0 seconds: 302\n";
    check(&["302 Moved", "200 OK"], "", Verdict::Refused, moved);
}

#[test]
fn a_service_may_take_its_time_to_become_healthy() {
    let settings = "WINDOW_SECONDS=30";
    check(
        &["503 x", "500 x", "200 OK"],
        settings,
        Verdict::Passed,
        "URL answers 200\n",
    );
    // Twice in a row, and not just twice.
    let settings = "WINDOW_SECONDS=30\nTIMES=2";
    check(
        &["200 x", "500 x", "200 OK"],
        settings,
        Verdict::Passed,
        "URL answers 200\n",
    );
}

#[test]
fn a_server_that_is_silent_or_never_ends_is_not_healthy() {
    for answer in [&["silence"], &["trickle"]] {
        let start = Instant::now();
        check(
            answer,
            "REQUEST_SECONDS=1",
            Verdict::Refused,
            "URL is not healthy",
        );
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_closed_port_is_not_healthy() {
    for userland in Userland::all() {
        let conf = "URL=http://127.0.0.1:1/\nWINDOW_SECONDS=0";
        let check = Installed::new(userland, "http-ok", "ArtifactCommit_Enter_20_http-ok", conf);
        let (verdict, text) = check.run(&check.runner());
        assert_eq!(verdict, Verdict::Refused);
        assert!(
            text.to_lowercase().contains("connect"),
            "{userland:?}: {text}"
        );
    }
}
