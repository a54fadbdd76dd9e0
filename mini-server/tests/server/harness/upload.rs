//! What is uploaded: artifacts, and forms with files in them.

use std::collections::BTreeMap;

use tandem_artifact::{Compressor, Content, Draft, FileName, Writer};

/// A form with these fields.
pub fn form(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, content) in fields {
        let file = if *name == "artifact" {
            "; filename=\"../../a.mender\""
        } else {
            ""
        };
        form.extend(
            format!("--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
                .into_bytes(),
        );
        form.extend(*content);
        form.extend(b"\r\n");
    }
    form.extend(b"--XyZ--\r\n");
    form
}

/// An artifact for the devices of the tests.
pub fn artifact(name: &str) -> Vec<u8> {
    build(name, &["testboard"], &[], 10_000)
}

/// An artifact.
pub fn build(name: &str, device_types: &[&str], depends: &[(&str, &str)], size: usize) -> Vec<u8> {
    let draft = Draft {
        name: name.to_owned(),
        device_types: device_types.iter().map(ToString::to_string).collect(),
        depends: depends
            .iter()
            .map(|(key, value)| (key.to_string(), vec![value.to_string()]))
            .collect(),
        payload_type: Some("okmod".to_owned()),
        provides: BTreeMap::from([("rootfs-image.okmod.version".to_owned(), name.to_owned())]),
        clears_provides: vec!["rootfs-image.okmod.*".to_owned()],
        meta_data: Some(br#"{"k":"v"}"#.to_vec()),
        ..Draft::default()
    };
    // Not compressible, so that the artifact has this size as well.
    let mut state = 1_u64;
    let payload: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(size)
    .collect();
    let file = Content::measure(
        FileName::parse("payload.bin").unwrap(),
        std::io::Cursor::new(payload),
    )
    .unwrap();
    let mut out = std::io::Cursor::new(Vec::new());
    Writer::new(&draft, vec![file], Compressor::None, None)
        .unwrap()
        .write(&mut out)
        .unwrap();
    out.into_inner()
}
