//! Names that would leave their folder, or confuse whoever sees them.

use crate::forge::{Entry, Forge, check, line, pax, tar};

const BAD: [&str; 24] = [
    "",
    ".",
    "..",
    "../x",
    "a/../../x",
    "/etc/passwd",
    "/",
    "./x",
    "x/",
    "a//b",
    "a\\b",
    "C:x",
    "a b",
    "a\tb",
    "a\nb",
    "a\x1b[31m",
    "a\u{7f}",
    "ä",
    "\u{202e}x",
    "-rf\n",
    "a*b",
    "a\"b",
    "a$b",
    "a;b",
];

#[test]
fn payload_files_have_flat_plain_names() {
    for name in ["rootfs.ext4", "-x", "a_b-c.d,e", "...", &"x".repeat(90)] {
        let forge = Forge {
            payload: vec![Entry::new(name, "x")],
            ..Forge::new("")
        };
        check(name, &forge.bytes(), None);
    }
    for name in BAD.into_iter().chain([&*"x".repeat(91)]) {
        let forge = Forge {
            payload: vec![Entry::new(name, "x")],
            ..Forge::new("")
        };
        check(
            name,
            &forge.bytes(),
            Some(if name == "a\nb" || name == "-rf\n" {
                "manifest line"
            } else {
                "payload file name"
            }),
        );
        // The name in the manifest is good, the one in the archive is not.
        let honest = Forge {
            payload: vec![Entry::new("good", "x")],
            ..Forge::new("")
        };
        let manifest = Some(String::from_utf8(honest.outer()[1].content.clone()).unwrap());
        check(
            name,
            &Forge { manifest, ..forge }.bytes(),
            Some("payload file name"),
        );
    }
}

#[test]
fn scripts_have_names_that_say_when_they_run() {
    for name in [
        "ArtifactInstall_Enter_01",
        "ArtifactFailure_Error_99_x-y.sh",
        "ArtifactRollbackReboot_Leave_00_é",
    ] {
        let mut forge = Forge::new("");
        forge
            .header
            .insert(1, Entry::new(&format!("scripts/{name}"), "x"));
        check(name, &forge.bytes(), None);
    }
    let long = format!("ArtifactInstall_Enter_02_{}", "x".repeat(300));
    let bad = [
        "hello.sh",
        "Idle_Enter_00",
        "Sync_Leave_00",
        "Download_Enter_00",
        "ArtifactInstall_Enter_1",
        "ArtifactInstall_Enter_000",
        "ArtifactInstall_Enter_00_",
        "xArtifactInstall_Enter_00",
        "ArtifactInstall_Enter_00_x/../../../etc/x",
        "ArtifactInstall_Enter_00_a/b",
        "ArtifactInstall_Enter_00_a b",
        "ArtifactInstall_Enter_00_a\n",
        "sub/ArtifactInstall_Enter_00",
        &long[..100],
    ];
    for name in BAD.into_iter().chain(bad) {
        let mut forge = Forge::new("");
        forge
            .header
            .insert(1, Entry::new(&format!("scripts/{name}"), "x"));
        let fault = if name == &long[..100] {
            None
        } else {
            Some("state script name")
        };
        // A name field holds 100 bytes, "scripts/" takes 8 of them.
        check(name, &forge.bytes(), fault);
    }
}

#[test]
fn names_of_300_bytes_come_in_extended_headers_and_are_too_long() {
    let path = |name: &str| pax(format!("{} path={name}\n", name.len() + 10).as_bytes());
    let long = "x".repeat(300);
    let mut forge = Forge::new("");
    forge.payload[0] = forge.payload[0].clone().after(path(&long));
    check("payload file", &forge.bytes(), Some("payload file name"));
    let script = |length: usize| {
        let name = format!(
            "scripts/ArtifactInstall_Enter_02_{}",
            "x".repeat(length - 25)
        );
        let mut forge = Forge::new("");
        forge.header[1] = forge.header[1].clone().after(path(&name));
        forge.bytes()
    };
    check("script", &script(255), None);
    check("script", &script(256), Some("state script name"));
    let mut outer = Forge::new("").outer();
    outer[0] = outer[0].clone().after(path(&long));
    check("outer member", &tar(&outer), Some("where version must be"));
}

#[test]
fn members_have_exactly_their_names() {
    let honest = Forge::new(".gz");
    for at in 0..honest.outer().len() {
        let name = honest.outer()[at].name.clone();
        let (head, tail) = name.split_at(1);
        for other in [
            format!("./{name}"),
            format!("/{name}"),
            format!("{name}/"),
            format!("{name} "),
            format!(" {name}"),
            format!("x/../{name}"),
            name.to_uppercase(),
            format!("{head}/{tail}"),
            format!("{name}\u{200b}"),
        ] {
            let mut outer = honest.outer();
            outer[at].name.clone_from(&other);
            check(&other, &tar(&outer), Some("must be"));
        }
        let mut outer = honest.outer();
        outer[at].name.push_str("\0evil");
        check(
            "what follows a NUL is not in the name, for any reader",
            &tar(&outer),
            None,
        );
    }
}

#[test]
fn manifest_names_are_those_of_members() {
    let honest = Forge::new("");
    let manifest = String::from_utf8(honest.outer()[1].content.clone()).unwrap();
    for name in [
        "evil",
        "data/0000",
        "data/0000/",
        "data/0001/x",
        "data/x",
        "DATA/0000/x",
        "header.tar.bz2",
        "manifest",
        "manifest.sig",
        "./version",
        "header-augment.tar",
    ] {
        let manifest = Some(manifest.clone() + &line(b"x", name));
        check(
            name,
            &Forge {
                manifest,
                ..honest.clone()
            }
            .bytes(),
            Some(""),
        );
    }
    for name in ["version", "header.tar", "header.tar.gz", "data/0000/one"] {
        let manifest = Some(manifest.clone() + &line(b"x", name));
        check(
            name,
            &Forge {
                manifest,
                ..honest.clone()
            }
            .bytes(),
            Some("twice"),
        );
    }
    let manifest = Some(manifest.clone() + &line(b"x", "data/0000/three"));
    check(
        "one more",
        &Forge {
            manifest,
            ..honest.clone()
        }
        .bytes(),
        Some("\"three\" is listed in the manifest and missing"),
    );
}
