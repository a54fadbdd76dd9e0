//! Artifacts that the server puts into frames.

use std::fs;
use std::io::{Cursor, Read};

use serde_json::json;
use tandem_artifact::framed::{BLOCK, Cost, Hint, sections};
use tandem_artifact::{Artifact, Compressor, Content, Draft, FileName, Verification, Writer};

use crate::harness::{Server, artifact, form};
use crate::pages::browser::Browser;

/// Noise, the same for the same seed.
fn blocks(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..count * BLOCK).map(|_| next()).collect()
}

fn rootfs(name: &str, image: &[u8]) -> Vec<u8> {
    let draft = Draft {
        name: name.to_owned(),
        device_types: vec!["testboard".to_owned()],
        payload_type: Some("rootfs-image".to_owned()),
        ..Draft::default()
    };
    let file = FileName::parse("rootfs.ext4").unwrap();
    let content = Content::measure(file, Cursor::new(image)).unwrap();
    let mut out = Cursor::new(Vec::new());
    let writer = Writer::new(&draft, vec![content], Compressor::Gzip, None).unwrap();
    writer.write(&mut out).unwrap();
    out.into_inner()
}

/// Uploads it with the wish, and gives what the server has then.
fn framed(server: &Server, artifact: &[u8]) -> Vec<u8> {
    let answer = server.upload_form(&form(&[("framed", b"true"), ("artifact", artifact)]));
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(
        fs::read_dir(server.data().join("uploads")).unwrap().count(),
        0
    );
    server.stored(&answer.location())
}

/// What somebody fetches of `artifact` who has `image`; `None` if it is not framed.
fn cost(artifact: &[u8], image: &[u8]) -> Option<u64> {
    let mut opened = Artifact::open(artifact, &Verification::off()).unwrap();
    let framed = opened.framed().unwrap()?;
    let sections = sections(Cursor::new(artifact), &framed).unwrap();
    Some(Cost::of(&sections, &Hint::read(image).unwrap()).frames)
}

#[test]
fn an_upload_is_framed_with_the_release_that_most_devices_run_as_a_hint() {
    let server = Server::start();
    let old = blocks(1, 300);
    let mut new = old.clone();
    // Not where frames of one size begin.
    new[101 * BLOCK..103 * BLOCK].copy_from_slice(&blocks(2, 2));
    server.uploaded(&rootfs("v1", &old));
    let plain = framed(&server, &rootfs("v2", &new));
    assert_eq!(cost(&plain, &old).unwrap() / (4 * BLOCK) as u64, 1);

    let mut device = server.device("one");
    server.accept(&mut device);
    let body = json!([{"name": "artifact_name", "value": "v1"}]);
    let path = "/api/devices/v1/inventory/device/attributes";
    let answer = device.request(&server, "PATCH", path, body);
    assert_eq!(answer.status, 200);
    let hinted = framed(&server, &rootfs("v3", &new));
    assert_eq!(cost(&hinted, &old).unwrap() / BLOCK as u64, 2);

    // It is the same image, and what the server says of it is what it has.
    let mut opened = Artifact::open(&*hinted, &Verification::off()).unwrap();
    let mut image = Vec::new();
    opened
        .next_file()
        .unwrap()
        .unwrap()
        .read_to_end(&mut image)
        .unwrap();
    opened.finish().unwrap();
    assert!(image == new);
    let list = server
        .admin("GET", "/api/management/v1/deployments/artifacts", ())
        .json();
    let shown = list
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "v3")
        .unwrap()
        .clone();
    assert_eq!(shown["size"], hinted.len());
}

#[test]
fn what_is_here_already_is_framed_by_a_button_on_its_page() {
    let server = Server::start();
    let browser = Browser::signed_in(&server);
    let (old, mut new) = (blocks(1, 300), blocks(1, 300));
    new[101 * BLOCK..103 * BLOCK].copy_from_slice(&blocks(2, 2));
    server.uploaded(&rootfs("v1", &old));
    let plain = server.uploaded(&rootfs("v2", &new));
    let mut device = server.device("one");
    server.accept(&mut device);
    let body = json!([{"name": "artifact_name", "value": "v1"}]);
    let path = "/api/devices/v1/inventory/device/attributes";
    assert_eq!(device.request(&server, "PATCH", path, body).status, 200);
    assert!(browser.page("/releases").contains("v1, is taken as a hint"));

    // Not while devices may be fetching it.
    let deployment = server.deploy("v2", &[&device]);
    let page = format!("/releases/{plain}");
    assert!(browser.page(&page).contains("Put it into frames"));
    let refused = browser.post(&page, &[("action", "frame")]);
    assert_eq!(refused.status, 409);
    assert!(
        refused.text().contains("when that has ended"),
        "{}",
        refused.text()
    );
    assert_eq!(device.next(&server, "v1").status, 200);
    device.report(&server, &deployment, "success");

    let framed = browser.post(&page, &[("action", "frame")]);
    assert_eq!(framed.status, 303, "{}", framed.text());
    let location = framed.header("location").unwrap().to_owned();
    assert!(browser.page(&location).contains("is in frames"));
    let id = location.split(['/', '?']).nth(2).unwrap();
    let bytes = server.stored(id);
    assert_eq!(cost(&bytes, &old).unwrap() / BLOCK as u64, 2);
    assert_eq!(server.kept(), 2);
    // The old address leads nowhere, and what is known of the release is as before.
    assert_eq!(browser.get(&page).status, 404);
    assert_eq!(server.status_on(&deployment, &device)["status"], "success");
    assert_eq!(server.upload(&rootfs("v2", &new)).status, 409);

    // What is no root file system has no such button.
    let module = server.uploaded(&artifact("v3"));
    let page = format!("/releases/{module}");
    assert!(!browser.page(&page).contains("Put it into frames"));
    assert_eq!(browser.post(&page, &[("action", "frame")]).status, 422);
}

#[test]
fn the_form_for_uploads_frames_where_that_is_ticked() {
    let server = Server::start();
    let browser = Browser::signed_in(&server);
    let image = blocks(1, 300);
    let plain = rootfs("v1", &image);
    let fields: [(&str, &[u8]); 3] = [
        ("description", b"d"),
        ("framed", b"true"),
        ("artifact", &plain),
    ];
    let uploaded = browser.upload_form(&form(&fields), "text/html");
    assert_eq!(uploaded.status, 303, "{}", uploaded.text());
    let location = uploaded.header("location").unwrap().to_owned();
    let id = location.split(['/', '?']).nth(2).unwrap();
    assert!(cost(&server.stored(id), &image).is_some());
}

#[test]
fn what_cannot_be_framed_is_kept_as_it_came() {
    let server = Server::start();
    let odd = [blocks(1, 3), vec![1]].concat();
    for kept in [artifact("v1"), rootfs("v2", &odd)] {
        assert!(framed(&server, &kept) == kept);
    }
    let answer = server.upload_form(&form(&[
        ("framed", b"maybe"),
        ("artifact", &artifact("v3")),
    ]));
    assert_eq!(answer.status, 400);
}
