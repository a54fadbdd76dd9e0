//! Signatures: by whom, over what, and in which form.

use std::fs;
use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _,
};
use tandem_artifact::{
    Algorithm, Artifact, Content, Draft, Existing, FileName, Kind, PublicKey, SignatureStatus,
    Signer, Verification, Writer, sign,
};

use crate::forge::{
    Entry, Forge, base64, check_signed, ed25519_public, ed25519_signature, ed25519_verification,
    judge, pem, tar,
};
use crate::peers;

/// A P-256 key.
struct Ec {
    pkcs8: Vec<u8>,
}

impl Ec {
    fn new() -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .unwrap();
        Self {
            pkcs8: pkcs8.as_ref().to_vec(),
        }
    }

    fn pair(&self, algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
        EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8, &SystemRandom::new()).unwrap()
    }

    fn sign(&self, algorithm: &'static EcdsaSigningAlgorithm, manifest: &[u8]) -> Vec<u8> {
        self.pair(algorithm)
            .sign(&SystemRandom::new(), manifest)
            .unwrap()
            .as_ref()
            .to_vec()
    }

    fn public(&self) -> PublicKey {
        const HEAD: [u8; 26] = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let pair = self.pair(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let spki = [&HEAD, pair.public_key().as_ref()].concat();
        PublicKey::from_pem("ec", pem("PUBLIC KEY", &spki).as_bytes()).unwrap()
    }
}

fn ed25519() -> PublicKey {
    PublicKey::from_pem("ed25519", ed25519_public().as_bytes()).unwrap()
}

/// An artifact with this content of `manifest.sig`, made from its manifest.
fn with_signature(signature: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut outer = Forge::new(".gz").outer();
    let signature = signature(&outer[1].content);
    outer.insert(2, Entry::new("manifest.sig", signature));
    tar(&outer)
}

#[track_caller]
fn check(
    what: &str,
    keys: &[PublicKey],
    signature: impl Fn(&[u8]) -> Vec<u8>,
    fault: Option<&str>,
) {
    let verification = Verification::by(keys.to_vec()).unwrap();
    let artifact = with_signature(signature);
    check_signed(what, &artifact, &verification, fault);
    if fault.is_some() {
        assert_eq!(
            judge(&*artifact, &verification).unwrap_err().kind(),
            Kind::Untrusted,
            "{what}"
        );
    }
    check_signed(
        &format!("{what}, no key configured"),
        &artifact,
        &Verification::off(),
        None,
    );
}

const NO_KEY_MADE_IT: Option<&str> = Some("was not made for this manifest by a configured key");

#[test]
fn ecdsa_signatures_are_raw_or_der() {
    let ec = Ec::new();
    let keys = [ec.public()];
    let raw = |manifest: &[u8]| ec.sign(&ECDSA_P256_SHA256_FIXED_SIGNING, manifest);
    let der = |manifest: &[u8]| ec.sign(&ECDSA_P256_SHA256_ASN1_SIGNING, manifest);
    for _ in 0..20 {
        check(
            "raw",
            &keys,
            |manifest| base64(&raw(manifest)).into_bytes(),
            None,
        );
        check(
            "DER",
            &keys,
            |manifest| base64(&der(manifest)).into_bytes(),
            None,
        );
    }
    for (what, change) in [
        (
            "a byte less",
            (|bytes| bytes[..bytes.len() - 1].to_vec()) as fn(Vec<u8>) -> Vec<u8>,
        ),
        ("a byte more", |bytes| [&bytes[..], &[0]].concat()),
        ("a byte before", |bytes| [&[0], &bytes[..]].concat()),
        ("all zeros", |bytes| vec![0; bytes.len()]),
        ("all ones", |bytes| vec![0xff; bytes.len()]),
        ("r zero", |bytes| [&[0; 32], &bytes[32..]].concat()),
        ("s zero", |bytes| [&bytes[..32], &[0; 32]].concat()),
        ("changed", |mut bytes| {
            bytes[10] ^= 1;
            bytes
        }),
        ("twice", |bytes| [&bytes[..], &bytes[..]].concat()),
        ("one byte", |bytes| bytes[..1].to_vec()),
    ] {
        check(
            what,
            &keys,
            |manifest| base64(&change(raw(manifest))).into_bytes(),
            NO_KEY_MADE_IT,
        );
        check(
            what,
            &keys,
            |manifest| base64(&change(der(manifest))).into_bytes(),
            NO_KEY_MADE_IT,
        );
    }
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    check(
        "r and s the order of the curve",
        &keys,
        |_| base64(&[order, order].concat()).into_bytes(),
        NO_KEY_MADE_IT,
    );
    for der in [
        &[0x30, 6, 2, 1, 0, 2, 1, 0][..],
        &[0x30, 6, 2, 1, 1, 2, 1, 1],
        &[0x30, 0],
        &[0x30, 0x80, 0, 0],
    ] {
        check(
            "hand-made DER",
            &keys,
            |_| base64(der).into_bytes(),
            NO_KEY_MADE_IT,
        );
    }
}

#[test]
fn the_form_of_a_signature_is_base64_with_line_breaks_at_most() {
    let keys = [ed25519()];
    let text = |manifest: &[u8]| String::from_utf8(ed25519_signature(manifest)).unwrap();
    let check = |what: &str, change: fn(String) -> String, fault| {
        check(
            what,
            &keys,
            |manifest| change(text(manifest)).into_bytes(),
            fault,
        );
    };
    check("as written", |text| text, None);
    check("line feed behind", |text| text + "\n", None);
    check(
        "in lines",
        |text| format!("{}\r\n{}\r\n", &text[..64], &text[64..]),
        None,
    );
    check("empty", |_| String::new(), Some("is empty"));
    check("only line breaks", |_| "\r\n".to_owned(), Some("is empty"));
    check("space behind", |text| text + " ", Some("is not base64"));
    check(
        "space inside",
        |text| format!("{} {}", &text[..10], &text[10..]),
        Some("is not base64"),
    );
    check("tab", |text| text + "\t", Some("is not base64"));
    check("NUL behind", |text| text + "\0", Some("is not base64"));
    check("text behind", |text| text + "!", Some("is not base64"));
    check(
        "no padding",
        |text| text.trim_end_matches('=').to_owned(),
        Some("is not base64"),
    );
    check("more padding", |text| text + "=", Some("is not base64"));
    check("hexadecimal", |_| "00".repeat(64), NO_KEY_MADE_IT);
    check(
        "another alphabet",
        |text| text.replace('+', "-").replace('/', "_") + "-",
        Some("is not base64"),
    );
    check("not ASCII", |text| text + "é", Some("is not base64"));
}

#[test]
fn lengths_of_signatures_are_exact() {
    let keys = [ed25519()];
    for length in [1, 32, 63, 65, 128] {
        let resized = |manifest: &[u8]| {
            let text = ed25519_signature(manifest);
            let mut bytes =
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
            bytes.resize(length, 0);
            base64(&bytes).into_bytes()
        };
        check(&format!("{length} bytes"), &keys, resized, NO_KEY_MADE_IT);
    }
}

#[test]
fn one_of_several_keys_must_have_made_the_signature() {
    let (first, second, other) = (Ec::new(), Ec::new(), Ec::new());
    let by = |key: &Ec, manifest: &[u8]| {
        base64(&key.sign(&ECDSA_P256_SHA256_FIXED_SIGNING, manifest)).into_bytes()
    };
    let keys = [ed25519(), first.public(), second.public()];
    check("the first", &keys, |manifest| by(&first, manifest), None);
    check("the second", &keys, |manifest| by(&second, manifest), None);
    check("of another kind", &keys, ed25519_signature, None);
    check(
        "another",
        &keys,
        |manifest| by(&other, manifest),
        NO_KEY_MADE_IT,
    );
    check(
        "over something else",
        &keys,
        |_| by(&first, b"something else"),
        NO_KEY_MADE_IT,
    );
    check(
        "another kind of key",
        &[first.public()],
        ed25519_signature,
        NO_KEY_MADE_IT,
    );
    assert!(
        Verification::by(Vec::new()).is_err(),
        "no key is not a requirement"
    );

    let verification = Verification::by(keys.to_vec()).unwrap();
    let artifact = with_signature(|manifest| by(&second, manifest));
    let artifact = Artifact::open(&*artifact, &verification).unwrap();
    assert_eq!(
        *artifact.signature(),
        SignatureStatus::Verified {
            key: "ec".to_owned()
        }
    );
}

#[test]
fn an_unsigned_artifact_is_refused_when_a_key_is_configured() {
    let unsigned = Forge::new(".gz").bytes();
    let fault = "sign it with `tandem-artifact sign --key PRIVATE-KEY FILE`";
    check_signed("unsigned", &unsigned, &ed25519_verification(), Some(fault));
    let artifact = Artifact::open(&*unsigned, &Verification::off()).unwrap();
    assert_eq!(*artifact.signature(), SignatureStatus::Unsigned);
    let signed = Forge::signed(".gz").bytes();
    let artifact = Artifact::open(&*signed, &Verification::off()).unwrap();
    assert_eq!(*artifact.signature(), SignatureStatus::NotChecked);
}

/// With a key configured, nothing behind the signature is looked at, and the manifest not parsed, before it is judged.
#[test]
fn the_signature_is_judged_before_anything_behind_it() {
    let forge = Forge {
        manifest: Some("not a manifest at all".to_owned()),
        ..Forge::new(".gz")
    };
    let mut outer = forge.outer();
    outer.insert(
        2,
        Entry::new("manifest.sig", ed25519_signature(b"another manifest")),
    );
    check_signed(
        "a bad manifest",
        &tar(&outer),
        &ed25519_verification(),
        NO_KEY_MADE_IT,
    );
    let mut bytes = tar(&outer[..3]);
    bytes.truncate(512 * 6);
    bytes.extend([0x5a; 4096]);
    check_signed("noise behind", &bytes, &ed25519_verification(), Some(""));
}

#[test]
fn key_files_are_judged_with_a_way_out() {
    let fault = |text: &str| {
        PublicKey::from_pem("k", text.as_bytes())
            .unwrap_err()
            .to_string()
    };
    let good = ed25519_public();
    assert!(PublicKey::from_pem("k", good.replace('\n', "\r\n").as_bytes()).is_ok());
    assert!(PublicKey::from_pem("k", format!("a comment\n{good}\n").as_bytes()).is_ok());
    assert!(fault("").contains("openssl pkey -in PRIVATE -pubout"));
    assert!(fault("hello").contains("not a PEM file"));
    assert!(fault(&good.replace("PUBLIC KEY", "CERTIFICATE")).contains("openssl x509"));
    assert!(fault(&good.replace("PUBLIC KEY", "RSA PUBLIC KEY")).contains("PKCS#1"));
    assert!(fault(&good.replace("PUBLIC KEY", "PRIVATE KEY")).contains("it is a private key"));
    assert!(fault(&good.replace("PUBLIC KEY", "EC PRIVATE KEY")).contains("it is a private key"));
    assert!(fault(&good.replace("PUBLIC KEY", "SOMETHING")).contains("not a PEM file"));
    assert!(fault(&good.repeat(2)).contains("several"));
    assert!(fault(&good.replace("MC", "M!")).contains("damaged"));
    assert!(fault(&good.replace("-----END", "----END")).contains("damaged"));
    for der in [
        &[][..],
        &[0x30, 0],
        &[0x30, 3, 2, 1, 1],
        &[0x30, 0x80],
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert!(
            fault(&pem("PUBLIC KEY", der)).contains("damaged"),
            "{der:?}"
        );
    }
    assert!(PublicKey::from_pem("k", b"\xff\xfe").is_err());
}

/// A small artifact, signed with the key in `pem`.
fn written(pem: &[u8]) -> (Vec<u8>, Signer) {
    let signer = Signer::from_pem("signer", pem).unwrap();
    let content = Content::measure(
        FileName::parse("rootfs").unwrap(),
        std::io::Cursor::new(b"content"),
    )
    .unwrap();
    let draft = Draft::rootfs_image("r1", vec!["qemu".to_owned()], &content);
    let mut out = std::io::Cursor::new(Vec::new());
    Writer::new(&draft, vec![content], Default::default(), Some(&signer))
        .unwrap()
        .write(&mut out)
        .unwrap();
    (out.into_inner(), signer)
}

#[test]
fn every_kind_of_private_key_that_openssl_writes_can_sign() {
    if !peers::have("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let openssl = |command: &str| {
        peers::run(folder, "openssl", &command.split(' ').collect::<Vec<_>>());
    };
    openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pkcs8");
    openssl("rsa -traditional -in rsa.pkcs8 -out rsa.pkcs1");
    openssl("ecparam -name prime256v1 -genkey -out ec.params");
    openssl("ec -in ec.params -out ec.sec1");
    openssl("pkcs8 -topk8 -nocrypt -in ec.sec1 -out ec.pkcs8");
    openssl("genpkey -algorithm ed25519 -out ed.pkcs8");
    for (private, algorithm) in [
        ("rsa.pkcs8", Algorithm::Rsa),
        ("rsa.pkcs1", Algorithm::Rsa),
        ("ec.params", Algorithm::EcdsaP256),
        ("ec.sec1", Algorithm::EcdsaP256),
        ("ec.pkcs8", Algorithm::EcdsaP256),
        ("ed.pkcs8", Algorithm::Ed25519),
    ] {
        openssl(&format!("pkey -in {private} -pubout -out public"));
        let public =
            PublicKey::from_pem("public", &fs::read(folder.join("public")).unwrap()).unwrap();
        assert_eq!(public.algorithm(), algorithm);
        let pem = fs::read(folder.join(private)).unwrap();
        let (artifact, signer) = written(&pem);
        check_signed(
            private,
            &artifact,
            &Verification::by(vec![public]).unwrap(),
            None,
        );
        check_signed(
            private,
            &artifact,
            &Verification::by(vec![signer.public_key()]).unwrap(),
            None,
        );
        let other = Verification::by(vec![ed25519(), Ec::new().public()]).unwrap();
        check_signed(private, &artifact, &other, NO_KEY_MADE_IT);
        if algorithm != Algorithm::EcdsaP256 {
            assert_eq!(
                written(&pem).0,
                artifact,
                "{private} signs the same bytes each time"
            );
        }
        assert!(
            !format!("{signer:?}").contains(&base64(&[0])),
            "no key material in Debug"
        );
    }
}

#[test]
fn unusable_private_keys_are_refused_with_a_way_out() {
    if !peers::have("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let openssl = |command: &str| {
        peers::run(folder, "openssl", &command.split(' ').collect::<Vec<_>>());
    };
    openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out small");
    openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp384r1 -out p384");
    openssl("ec -in p384 -out p384.sec1");
    openssl("genpkey -algorithm ed25519 -out ed");
    openssl("pkcs8 -topk8 -passout pass:x -in ed -out encrypted");
    openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa");
    openssl("rsa -traditional -aes128 -passout pass:x -in rsa -out encrypted.old");
    openssl("genpkey -algorithm x25519 -out x25519");
    openssl("pkey -in ed -pubout -out public");
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("noise"), [0xff; 64]).unwrap();
    let two = [
        fs::read(folder.join("ed")).unwrap(),
        fs::read(folder.join("rsa")).unwrap(),
    ]
    .concat();
    fs::write(folder.join("two"), two).unwrap();
    for (name, fault) in [
        ("small", "2048"),
        ("p384", "P-256"),
        ("p384.sec1", "P-256"),
        ("encrypted", "decrypt it with `openssl pkey"),
        ("encrypted.old", "encrypted"),
        ("x25519", "neither RSA nor ECDSA P-256 nor Ed25519"),
        ("public", "public key"),
        ("empty", "not a PEM file"),
        ("noise", "not a PEM file"),
        ("two", "exactly one"),
    ] {
        let err = Signer::from_pem(name, &fs::read(folder.join(name)).unwrap()).unwrap_err();
        assert_eq!(err.kind(), Kind::Input);
        assert!(err.to_string().contains(fault), "{name}: {err}");
    }
    for (name, fault) in [("small", "2048"), ("p384", "P-256"), ("x25519", "neither")] {
        openssl(&format!("pkey -in {name} -pubout -out public"));
        let err = PublicKey::from_pem(name, &fs::read(folder.join("public")).unwrap()).unwrap_err();
        assert!(err.to_string().contains(fault), "{name}: {err}");
    }
    openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256");
    openssl("ec -in p256 -pubout -conv_form compressed -out public");
    let err = PublicKey::from_pem("k", &fs::read(folder.join("public")).unwrap()).unwrap_err();
    assert!(err.to_string().contains("-conv_form uncompressed"), "{err}");
}

#[test]
fn signing_again_changes_only_the_signature() {
    let key = Ec::new();
    let signer = Signer::from_pem("k", pem("PRIVATE KEY", &key.pkcs8).as_bytes()).unwrap();
    let verification = Verification::by(vec![signer.public_key()]).unwrap();
    let signed = |artifact: &[u8], existing| {
        let mut out = Vec::new();
        sign(artifact, &signer, existing, &mut out).map(|()| out)
    };
    for suffix in ["", ".gz", ".xz", ".zst"] {
        let unsigned = Forge::new(suffix).bytes();
        let facts = judge(&*unsigned, &Verification::off()).unwrap();
        let once = signed(&unsigned, Existing::Refuse).unwrap();
        assert_eq!(judge(&*once, &verification).unwrap(), facts);
        let err = signed(&once, Existing::Refuse).unwrap_err();
        assert!(err.to_string().contains("--force"), "{err}");
        let twice = signed(&once, Existing::Replace).unwrap();
        assert_eq!(judge(&*twice, &verification).unwrap(), facts);
        let by_other = Forge::signed(suffix).bytes();
        assert_eq!(
            judge(
                &*signed(&by_other, Existing::Replace).unwrap(),
                &verification
            )
            .unwrap(),
            facts
        );
        assert!(
            judge(
                &*signed(&by_other, Existing::Replace).unwrap(),
                &ed25519_verification()
            )
            .is_err()
        );
    }
    let honest = Forge::new(".gz").outer();
    for at in 0..honest.len() {
        let mut outer = honest.clone();
        outer.remove(at);
        let verdict = signed(&tar(&outer), Existing::Refuse);
        assert_eq!(verdict.is_ok(), at == 3, "without {}", honest[at].name);
        let mut outer = honest.clone();
        outer.insert(at, honest[at].clone());
        assert!(
            signed(&tar(&outer), Existing::Refuse).is_err(),
            "{} twice",
            honest[at].name
        );
    }
    let whole = tar(&honest);
    for length in (0..whole.len() - 1024).step_by(100) {
        let verdict = signed(&whole[..length], Existing::Refuse);
        if let Ok(out) = verdict {
            assert!(judge(&*out, &verification).is_err(), "cut after {length}");
        }
    }
}

/// So that the helpers above are honest: the vectors' keys are read.
#[test]
fn the_keys_of_the_vectors_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/keys");
    for (name, algorithm) in [
        ("rsa.pub", Algorithm::Rsa),
        ("rsa2.pub", Algorithm::Rsa),
        ("ec.pub", Algorithm::EcdsaP256),
    ] {
        let key = PublicKey::from_pem(name, &fs::read(folder.join(name)).unwrap()).unwrap();
        assert_eq!((key.name(), key.algorithm()), (name, algorithm));
    }
}
