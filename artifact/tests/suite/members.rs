//! Which members an artifact may have, and in which order. All sums are right here: the order alone is judged.

use tandem_artifact::Verification;

use crate::forge::{
    Entry, Forge, HEADER_INFO, TYPE_INFO, VERSION, check, check_signed, ed25519_verification,
    judge, line, pack, tar,
};

#[test]
fn an_honest_artifact_is_accepted_in_every_compression() {
    for suffix in ["", ".gz", ".xz", ".zst"] {
        check(suffix, &Forge::new(suffix).bytes(), None);
        check_signed(
            suffix,
            &Forge::signed(suffix).bytes(),
            &ed25519_verification(),
            None,
        );
    }
}

/// Every way to leave out, repeat, or move one member, and to put a foreign one somewhere.
fn rearrangements(entries: &[Entry]) -> Vec<(String, Vec<Entry>)> {
    let mut variants = Vec::new();
    let foreign = [
        "evil",
        "version",
        "manifest",
        "manifest.sig",
        "manifest-augment",
        "header-augment.tar.gz",
        "header.tar.gz",
        "header.tar",
        "data/0000.tar",
        "data/0001.tar.gz",
        "data/",
        "data/0000/one",
        "header-info",
        "scripts/ArtifactReboot_Enter_01",
        "scripts/",
        "headers/0000/type-info",
        "headers/0000/meta-data",
        "headers/0001/type-info",
        "headers/0000/files",
        "headers/0000/other",
        "three",
    ];
    for at in 0..entries.len() {
        let name = &entries[at].name;
        let mut without = entries.to_vec();
        let entry = without.remove(at);
        for to in (0..=without.len()).filter(|to| *to != at) {
            let mut moved = without.clone();
            moved.insert(to, entry.clone());
            variants.push((format!("{name} moved from {at} to {to}"), moved));
        }
        for to in 0..=entries.len() {
            let mut twice = entries.to_vec();
            twice.insert(to, entry.clone());
            variants.push((format!("{name} again at {to}"), twice));
        }
        variants.push((format!("without {name}"), without));
    }
    for name in foreign {
        for to in 0..=entries.len() {
            let mut more = entries.to_vec();
            more.insert(to, Entry::new(name, "{}"));
            variants.push((format!("{name} at {to}"), more));
        }
    }
    variants
}

#[test]
fn the_outer_archive_has_one_order() {
    let forge = Forge::signed(".gz");
    let facts = judge(&*forge.bytes(), &ed25519_verification()).unwrap();
    for (what, outer) in rearrangements(&forge.outer()) {
        let verdict = judge(&*tar(&outer), &ed25519_verification());
        assert!(verdict.is_err(), "{what} is accepted");
        if let Ok(found) = judge(&*tar(&outer), &Verification::off()) {
            assert_eq!(what, "without manifest.sig");
            assert_eq!(found, facts);
        }
    }
}

#[test]
fn the_header_has_one_order_but_for_the_scripts() {
    let honest = Forge::new(".gz");
    let facts = judge(&*honest.bytes(), &Verification::off()).unwrap();
    for (what, header) in rearrangements(&honest.header) {
        let forge = Forge {
            header,
            ..honest.clone()
        };
        match judge(&*forge.bytes(), &Verification::off()) {
            Ok(found) if what.starts_with("without scripts/") => {
                assert_eq!(found.header.scripts().len(), 1)
            }
            Ok(found) if what.starts_with("scripts/ArtifactReboot") => {
                assert_eq!(found.header.scripts().len(), 3)
            }
            Ok(found) if what == "without headers/0000/meta-data" => {
                assert_eq!(found.header.meta_data(), None)
            }
            Ok(found) => {
                assert!(
                    what.starts_with("scripts/") && what.contains("moved"),
                    "{what} is accepted"
                );
                assert_eq!(found, facts, "{what}");
            }
            Err(_) => {}
        }
    }
}

/// CVE-2025-67903: a file that the signed manifest does not list must not be installed.
#[test]
fn payload_files_are_those_of_the_manifest_each_once() {
    let honest = Forge::new(".gz");
    let manifest = Some(String::from_utf8(honest.outer()[1].content.clone()).unwrap());
    let facts = judge(&*honest.bytes(), &Verification::off()).unwrap();
    for (what, payload) in rearrangements(&honest.payload) {
        let forge = Forge {
            payload,
            manifest: manifest.clone(),
            ..honest.clone()
        };
        match judge(&*forge.bytes(), &Verification::off()) {
            Ok(found) => {
                assert!(what.contains("moved"), "{what} is accepted");
                assert_eq!(found.header, facts.header);
            }
            Err(err) => {
                let name = what.split(' ').next().unwrap();
                let expected = match () {
                    () if what.contains("again") => "twice",
                    () if what.starts_with("without") => "is listed in the manifest and missing",
                    () if name.contains('/') => "payload file name",
                    () => "does not list payload file",
                };
                assert!(err.to_string().contains(expected), "{what}: {err}");
            }
        }
    }
}

#[test]
fn a_rootfs_image_is_one_file() {
    let rootfs = |files: &[&str]| {
        let mut forge = Forge::new(".gz");
        forge.header_entry("header-info").content =
            HEADER_INFO.replace("module", "rootfs-image").into_bytes();
        forge.header_entry("headers/0000/type-info").content =
            TYPE_INFO.replace("module", "rootfs-image").into_bytes();
        forge.payload = files.iter().map(|name| Entry::new(name, "x")).collect();
        forge.bytes()
    };
    check("one file", &rootfs(&["rootfs"]), None);
    check(
        "no file",
        &rootfs(&[]),
        Some("lists 0 payload files, but rootfs-image has 1"),
    );
    check(
        "two files",
        &rootfs(&["a", "b"]),
        Some("lists 2 payload files, but rootfs-image has 1"),
    );
}

fn bootstrap() -> Forge {
    let mut forge = Forge::new(".gz");
    forge.header.pop();
    forge.header_entry("header-info").content =
        HEADER_INFO.replace("\"module\"", "null").into_bytes();
    forge.header_entry("headers/0000/type-info").content =
        TYPE_INFO.replace("\"module\"", "null").into_bytes();
    forge.payload.clear();
    forge
}

#[test]
fn an_artifact_without_payload_has_an_empty_payload_archive_or_none() {
    let forge = bootstrap();
    check("empty archive", &forge.bytes(), None);
    let mut outer = forge.outer();
    outer.pop();
    check("no archive", &tar(&outer), None);
    let empty = Forge {
        suffix: "",
        packed_payload: Some(Vec::new()),
        ..forge.clone()
    };
    check("no bytes, not compressed", &empty.bytes(), None);
    let empty = Forge {
        packed_payload: Some(pack(&[], ".gz")),
        ..forge.clone()
    };
    check("no bytes, compressed", &empty.bytes(), None);
    for suffix in [".gz", ".xz", ".zst"] {
        let nothing = Forge {
            suffix,
            packed_payload: Some(Vec::new()),
            ..forge.clone()
        };
        check(
            "not even a compressed stream",
            &nothing.bytes(),
            Some("does not decompress"),
        );
    }

    let mut with_meta_data = forge.clone();
    with_meta_data
        .header
        .push(Entry::new("headers/0000/meta-data", ""));
    check(
        "meta-data",
        &with_meta_data.bytes(),
        Some("is present although there is no payload"),
    );
    let with_file = Forge {
        payload: vec![Entry::new("x", "x")],
        ..forge.clone()
    };
    check(
        "a file",
        &with_file.bytes(),
        Some("lists 1 payload files, but an artifact without payload has 0"),
    );
    let manifest = Some(String::from_utf8(forge.outer()[1].content.clone()).unwrap());
    let with_unlisted = Forge {
        payload: vec![Entry::new("x", "x")],
        manifest,
        ..forge
    };
    check(
        "an unlisted file",
        &with_unlisted.bytes(),
        Some("does not list payload file \"x\""),
    );
}

#[test]
fn an_update_module_may_have_no_file_but_needs_its_archive() {
    let forge = Forge {
        payload: Vec::new(),
        ..Forge::new(".gz")
    };
    check("no file", &forge.bytes(), None);
    let mut outer = forge.outer();
    outer.pop();
    check(
        "no archive",
        &tar(&outer),
        Some("the end of the artifact where data/0000.tar"),
    );
}

#[test]
fn the_header_line_of_the_manifest_is_that_of_the_header() {
    let mut outer = Forge::new(".gz").outer();
    let manifest = String::from_utf8(outer[1].content.clone()).unwrap();
    outer[1].content = manifest
        .replace("header.tar.gz", "header.tar.xz")
        .into_bytes();
    check(
        "another suffix",
        &tar(&outer),
        Some("does not list header.tar.gz"),
    );
    let honest = Forge::new(".gz").outer();
    let other = line(b"other", "header.tar.gz");
    let own = line(&honest[2].content, "header.tar.gz");
    let mut outer = honest.clone();
    outer[1].content = manifest.replace(&own, &other).into_bytes();
    check(
        "another sum",
        &tar(&outer),
        Some("header.tar.gz does not match the manifest"),
    );
    outer[1].content = manifest.replace(&own, "").into_bytes();
    check("no line", &tar(&outer), Some("does not list header.tar"));
}

/// MEN-1412: the header's sum must be checked, and before anything in it is used.
#[test]
fn a_changed_header_is_not_even_unpacked() {
    let mut outer = Forge::new(".gz").outer();
    outer[2].content = b"not gzip at all".to_vec();
    check(
        "garbage",
        &tar(&outer),
        Some("header.tar.gz does not match the manifest"),
    );
}

#[test]
fn payload_files_that_are_not_as_the_manifest_says_are_refused() {
    let honest = Forge::new(".gz");
    let manifest = Some(String::from_utf8(honest.outer()[1].content.clone()).unwrap());
    for (what, content) in [
        ("empty", &b""[..]),
        ("shorter", b"content of on"),
        ("longer", b"content of one "),
        ("changed", b"content of onf"),
    ] {
        let mut forge = Forge {
            manifest: manifest.clone(),
            ..honest.clone()
        };
        forge.payload[0].content = content.to_vec();
        check(
            what,
            &forge.bytes(),
            Some("payload file \"one\" does not match the manifest"),
        );
    }
}

#[test]
fn only_version_3_of_this_format_is_read() {
    for (version, fault) in [
        (r#"{"format":"mender","version":3}"#, None),
        ("{\"format\":\"mender\",\"version\":3}\n", None),
        (
            r#" { "version" : 3 , "x" : {} , "format" : "mender" } "#,
            None,
        ),
        (
            r#"{"format":"mender","version":2}"#,
            Some("version 2 is not supported"),
        ),
        (
            r#"{"format":"mender","version":-3}"#,
            Some("version -3 is not supported"),
        ),
        (
            r#"{"format":"mender","version":3.0}"#,
            Some("version 3.0 is not supported"),
        ),
        (
            r#"{"format":"mender","version":18446744073709551619}"#,
            Some("is not supported"),
        ),
        (
            r#"{"format":"mender","version":"3"}"#,
            Some("version is not the JSON"),
        ),
        (
            r#"{"format":"mender","version":null}"#,
            Some("version is not the JSON"),
        ),
        (r#"{"format":"mender"}"#, Some("version is not the JSON")),
        (r#"{"version":3}"#, Some("version is not the JSON")),
        (
            r#"{"format":"Mender","version":3}"#,
            Some("the format is \"Mender\""),
        ),
        (r#"["mender",3]"#, Some("version is not the JSON")),
        (
            r#"{"format":"mender","version":3,"version":3}"#,
            Some("twice"),
        ),
        (r#"{"format":"mender","version":3}3"#, Some("trailing")),
        ("", Some("version is not the JSON")),
        (
            &format!("{VERSION}{}", " ".repeat(5000)),
            Some("version is over the limit of 4 KiB"),
        ),
    ] {
        let forge = Forge {
            version: version.to_owned(),
            ..Forge::new("")
        };
        check(version, &forge.bytes(), fault);
    }
}

#[test]
fn an_empty_source_is_no_artifact() {
    check(
        "nothing",
        b"",
        Some("the end of the artifact where version must be"),
    );
    check(
        "zeros",
        &[0; 10240],
        Some("the end of the artifact where version must be"),
    );
    check("text", b"hello", Some("ends too early"));
    check("noise", &[0x5a; 4096], Some("not a ustar header"));
}
