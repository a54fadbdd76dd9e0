//! The JSON of the header: what it must say, and what it may not.

use crate::forge::{Forge, HEADER_INFO, TYPE_INFO, check};

#[track_caller]
fn check_member(member: &str, content: impl AsRef<[u8]>, fault: Option<&str>) {
    let mut forge = Forge::new("");
    forge.header_entry(member).content = content.as_ref().to_vec();
    check(
        &String::from_utf8_lossy(content.as_ref()),
        &forge.bytes(),
        fault,
    );
}

#[track_caller]
fn check_info(content: impl AsRef<[u8]>, fault: Option<&str>) {
    check_member("header-info", content, fault);
}

#[track_caller]
fn check_type_info(content: impl AsRef<[u8]>, fault: Option<&str>) {
    check_member("headers/0000/type-info", content, fault);
}

#[test]
fn documents_are_strict_json_everywhere() {
    let deep = |levels: usize| format!(r#""x":{}{}"#, "[".repeat(levels), "]".repeat(levels));
    for member in [
        "header-info",
        "headers/0000/type-info",
        "headers/0000/meta-data",
    ] {
        let honest = match member {
            "header-info" => HEADER_INFO,
            "headers/0000/type-info" => TYPE_INFO,
            _ => r#"{"a":1}"#,
        };
        let with = |more: &str| honest.replacen('{', &format!("{{{more},"), 1);
        check_member(member, honest, None);
        check_member(member, format!(" \r\n\t{honest}\n\n"), None);
        check_member(
            member,
            with(r#""x":{"y":[1,2.5e-3,null,true,"é\u00e9\ud83d\ude00"]}"#),
            None,
        );
        check_member(member, with(&deep(31)), None);
        check_member(member, with(&deep(32)), Some("32 levels"));
        check_member(member, with(&deep(200_000)), Some("32 levels"));
        check_member(member, with(r#""x":1,"x":1"#), Some("twice"));
        check_member(member, with(r#""x":{"y":1,"z":2,"y":1}"#), Some("twice"));
        check_member(member, with(r#""x":1,"\u0078":1"#), Some("twice"));
        check_member(member, with(r#""x":1e999"#), Some("out of range"));
        check_member(member, with(r#""x":"\ud800""#), Some("not the JSON"));
        check_member(member, with("\"x\":\"\0\""), Some("not the JSON"));
        check_member(member, with("\"x\":\"\n\""), Some("not the JSON"));
        check_member(member, with(r#""x":"\q""#), Some("not the JSON"));
        check_member(member, with(r#""x":00"#), Some("not the JSON"));
        check_member(member, format!("{honest}{honest}"), Some("trailing"));
        check_member(member, format!("{honest},"), Some("trailing"));
        check_member(member, format!("{honest}\0"), Some("trailing"));
        check_member(member, format!("\u{feff}{honest}"), Some("not the JSON"));
        check_member(member, &honest[..honest.len() - 1], Some("EOF"));
        check_member(
            member,
            [honest.as_bytes(), b"\xff"].concat(),
            Some("not UTF-8"),
        );
        check_member(
            member,
            honest
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<_>>(),
            Some("not the JSON"),
        );
        check_member(member, format!("[{honest}]"), Some("an object"));
        check_member(member, "null", Some("an object"));
        check_member(member, "\"x\"", Some("an object"));
        check_member(
            member,
            format!("{honest}{}", " ".repeat(1 << 20)),
            Some("over the limit of 1 MiB"),
        );
    }
    check_info("", Some("not the JSON"));
    check_type_info("", Some("not the JSON"));
    check_member("headers/0000/meta-data", "", None);
    check_member("headers/0000/meta-data", " ", Some("not the JSON"));
    check_member("headers/0000/meta-data", "[1]", Some("an object"));
}

/// A header-info of these members.
fn info(payloads: &str, provides: &str, depends: &str) -> String {
    format!(
        r#"{{"payloads":{payloads},"artifact_provides":{provides},"artifact_depends":{depends}}}"#
    )
}

const PAYLOADS: &str = r#"[{"type":"module"}]"#;
const PROVIDES: &str = r#"{"artifact_name":"r1"}"#;
const DEPENDS: &str = r#"{"device_type":["qemu"]}"#;

#[test]
fn header_info_says_name_device_types_and_one_payload() {
    check_info(info(PAYLOADS, PROVIDES, DEPENDS), None);
    for (payloads, fault) in [
        ("[]", "has 0 payloads"),
        (r#"[{"type":"module"},{"type":"module"}]"#, "has 2 payloads"),
        ("{}", "not the JSON"),
        ("null", "not the JSON"),
        (r#"["module"]"#, "an object"),
        (r#"[["module"]]"#, "an object"),
        ("[{}]", "missing field `type`"),
        (r#"[{"type":7}]"#, "not the JSON"),
        (r#"[{"type":["module"]}]"#, "not the JSON"),
        (r#"[{"type":""}]"#, "payload type \"\""),
        (r#"[{"type":"."}]"#, "payload type \".\""),
        (r#"[{"type":".."}]"#, "payload type \"..\""),
        (r#"[{"type":"../../bin/sh"}]"#, "payload type"),
        (r#"[{"type":"/bin/sh"}]"#, "payload type"),
        (r#"[{"type":"a\u0000"}]"#, "payload type"),
        (r#"[{"type":"a b"}]"#, "payload type"),
        (r#"[{"type":"Module"}]"#, "another payload type"),
        (r#"[{"type":null}]"#, "another payload type"),
    ] {
        check_info(info(payloads, PROVIDES, DEPENDS), Some(fault));
    }
    for (provides, fault) in [
        (r#"{"artifact_name":"r1","artifact_group":""}"#, None),
        (r#"{"artifact_name":"r 1 é","artifact_group":"g"}"#, None),
        ("{}", Some("missing field `artifact_name`")),
        ("null", Some("an object")),
        ("[\"r1\"]", Some("an object")),
        (
            r#"{"artifact_name":""}"#,
            Some("artifact_name: it is empty"),
        ),
        (r#"{"artifact_name":null}"#, Some("not the JSON")),
        (r#"{"artifact_name":["r1"]}"#, Some("not the JSON")),
        (r#"{"artifact_name":1}"#, Some("not the JSON")),
        (
            r#"{"artifact_name":"a\u0000b"}"#,
            Some("control characters"),
        ),
        (r#"{"artifact_name":"a\nb"}"#, Some("control characters")),
        (
            r#"{"artifact_name":"a\u009bb"}"#,
            Some("control characters"),
        ),
        (
            r#"{"artifact_name":"r1","artifact_group":null}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"artifact_name":"r1","artifact_group":["g"]}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"artifact_name":"r1","artifact_group":"g\u001b"}"#,
            Some("control characters"),
        ),
    ] {
        check_info(info(PAYLOADS, provides, DEPENDS), fault);
    }
    for (length, fault) in [(256, None), (257, Some("longer than 256 bytes"))] {
        check_info(
            info(
                PAYLOADS,
                &format!(r#"{{"artifact_name":"{}"}}"#, "x".repeat(length)),
                DEPENDS,
            ),
            fault,
        );
    }
    for (depends, fault) in [
        (
            r#"{"device_type":["a","b"],"artifact_name":["x"],"artifact_group":["y","z"]}"#,
            None,
        ),
        ("{}", Some("missing field `device_type`")),
        ("null", Some("an object")),
        (r#"{"device_type":[]}"#, Some("empty list")),
        (r#"{"device_type":"qemu"}"#, Some("not the JSON")),
        (r#"{"device_type":null}"#, Some("not the JSON")),
        (r#"{"device_type":[""]}"#, Some("device_type: it is empty")),
        (r#"{"device_type":[1]}"#, Some("not the JSON")),
        (r#"{"device_type":[["qemu"]]}"#, Some("not the JSON")),
        (r#"{"device_type":["a\tb"]}"#, Some("control characters")),
        (
            r#"{"device_type":["qemu"],"artifact_name":[]}"#,
            Some("empty list"),
        ),
        (
            r#"{"device_type":["qemu"],"artifact_name":"x"}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"device_type":["qemu"],"artifact_name":null}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"device_type":["qemu"],"artifact_group":[null]}"#,
            Some("not the JSON"),
        ),
    ] {
        check_info(info(PAYLOADS, PROVIDES, depends), fault);
    }
    check_info(
        format!(r#"{{"payloads":{PAYLOADS},"artifact_provides":{PROVIDES}}}"#),
        Some("missing field"),
    );
    check_info(
        format!(r#"[{PAYLOADS},{PROVIDES},{DEPENDS}]"#),
        Some("an object"),
    );
}

#[test]
fn type_info_agrees_with_header_info() {
    for (type_info, fault) in [
        (r#"{"type":"module"}"#, None),
        (
            r#"{"type":"module","artifact_provides":{},"artifact_depends":{},"clears_artifact_provides":[]}"#,
            None,
        ),
        (
            r#"{"type":"module","artifact_depends":{"k":"v","l":["v","w"]}}"#,
            None,
        ),
        (
            r#"{"type":"module","artifact_provides":{"artifact_group":"g"}}"#,
            None,
        ),
        (
            r#"{"type":"module","artifact_depends":{"artifact_name":"x"}}"#,
            None,
        ),
        ("{}", Some("missing field `type`")),
        (r#"{"type":""}"#, Some("another payload type")),
        (r#"{"type":null}"#, Some("another payload type")),
        (r#"{"type":"rootfs-image"}"#, Some("another payload type")),
        (r#"{"type":"Module"}"#, Some("another payload type")),
        (r#"{"type":["module"]}"#, Some("not the JSON")),
        (
            r#"{"type":"module","artifact_provides":null}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"type":"module","artifact_provides":[]}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"type":"module","artifact_provides":{"k":1}}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"type":"module","artifact_provides":{"k":null}}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"type":"module","artifact_provides":{"k":["v"]}}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"type":"module","artifact_provides":{"k":"v\nx=y"}}"#,
            Some("control characters"),
        ),
        (
            r#"{"type":"module","artifact_provides":{"k\n":"v"}}"#,
            Some("control characters"),
        ),
        (
            r#"{"type":"module","artifact_provides":{"artifact_name":"r2"}}"#,
            Some("which header-info provides too"),
        ),
        (
            r#"{"type":"module","artifact_depends":null}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"type":"module","artifact_depends":[]}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"type":"module","artifact_depends":{"k":1}}"#,
            Some("a string or a list of strings"),
        ),
        (
            r#"{"type":"module","artifact_depends":{"k":{"v":"w"}}}"#,
            Some("a string or a list of strings"),
        ),
        (
            r#"{"type":"module","artifact_depends":{"k":[]}}"#,
            Some("empty list"),
        ),
        (
            r#"{"type":"module","artifact_depends":{"k":["v",1]}}"#,
            Some("a string or a list of strings"),
        ),
        (
            r#"{"type":"module","artifact_depends":{"k":"\u0000"}}"#,
            Some("control characters"),
        ),
        (
            r#"{"type":"module","artifact_depends":{"device_type":"x"}}"#,
            Some("as header-info does too"),
        ),
        (
            r#"{"type":"module","clears_artifact_provides":null}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"type":"module","clears_artifact_provides":"*"}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"type":"module","clears_artifact_provides":[1]}"#,
            Some("not the JSON"),
        ),
        (
            r#"{"type":"module","clears_artifact_provides":["\u007f"]}"#,
            Some("control characters"),
        ),
    ] {
        check_type_info(type_info, fault);
    }
}

#[test]
fn what_header_info_has_type_info_must_not_have_again() {
    let mut forge = Forge::new("");
    let provides = r#"{"artifact_name":"r1","artifact_group":"g"}"#;
    let depends = r#"{"device_type":["qemu"],"artifact_name":["x"]}"#;
    forge.header_entry("header-info").content = info(PAYLOADS, provides, depends).into_bytes();
    let mut type_info = |content: &str, fault: &str| {
        forge.header_entry("headers/0000/type-info").content = content.as_bytes().to_vec();
        check(content, &forge.bytes(), Some(fault));
    };
    type_info(
        r#"{"type":"module","artifact_provides":{"artifact_group":"g"}}"#,
        "which header-info provides too",
    );
    type_info(
        r#"{"type":"module","artifact_depends":{"artifact_name":"x"}}"#,
        "as header-info does too",
    );
}

#[test]
fn only_a_rootfs_image_may_have_no_type_in_type_info() {
    for (type_info, fault) in [
        (r#"{"type":"rootfs-image"}"#, None),
        (r#"{"type":""}"#, None),
        (r#"{"type":null}"#, Some("another payload type")),
        (r#"{"type":"module"}"#, Some("another payload type")),
    ] {
        let mut forge = Forge::new("");
        forge.payload.pop();
        forge.header_entry("header-info").content =
            HEADER_INFO.replace("module", "rootfs-image").into_bytes();
        forge.header_entry("headers/0000/type-info").content = type_info.as_bytes().to_vec();
        check(type_info, &forge.bytes(), fault);
    }
}
