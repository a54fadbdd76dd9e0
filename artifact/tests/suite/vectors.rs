//! Every artifact in `vectors/` is judged as its table says.

use std::fs;
use std::path::{Path, PathBuf};

use tandem_artifact::{Artifact, PublicKey, Summary, Verification};

use crate::peers;
use crate::short_reads::ShortReads;

struct Vector {
    path: PathBuf,
    key: Option<PathBuf>,
    accept: bool,
    why: String,
}

fn vectors() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let table = fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let vectors: Vec<Vector> = table
        .lines()
        .skip(1)
        .map(|line| {
            let [file, key, verdict, why] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            Vector {
                path: folder.join(file),
                key: (key != "-").then(|| folder.join("keys").join(key)),
                accept: match verdict {
                    "accept" => true,
                    "reject" => false,
                    other => panic!("{other}"),
                },
                why: why.to_owned(),
            }
        })
        .collect();
    assert_eq!(vectors.len(), 73);
    vectors
}

fn read(vector: &Vector, bytes: impl std::io::Read) -> Result<Summary, tandem_artifact::Error> {
    let verification = match &vector.key {
        Some(key) => {
            let key = PublicKey::from_pem("key", &fs::read(key).unwrap()).unwrap();
            Verification::by(vec![key]).unwrap()
        }
        None => Verification::off(),
    };
    Artifact::open(bytes, &verification)?.finish()
}

#[test]
fn every_vector_is_judged_as_its_table_says() {
    for vector in vectors() {
        let name = vector.path.display();
        let bytes = fs::read(&vector.path).unwrap();
        let verdict = read(&vector, &*bytes);
        eprintln!(
            "{name}: {}",
            verdict
                .as_ref()
                .map_or_else(ToString::to_string, |_| "accepted".to_owned())
        );
        assert_eq!(
            verdict.is_ok(),
            vector.accept,
            "{name}: {}: {verdict:?}",
            vector.why
        );
    }
}

#[test]
fn short_reads_change_no_verdict_and_no_message() {
    for vector in vectors() {
        let bytes = fs::read(&vector.path).unwrap();
        let whole = read(&vector, &*bytes).map_err(|err| err.to_string());
        for seed in 0..3 {
            let short = read(&vector, ShortReads::new(&bytes, seed)).map_err(|err| err.to_string());
            assert_eq!(short, whole, "{}", vector.path.display());
        }
    }
}

#[test]
fn the_program_judges_every_vector_as_the_library_does() {
    for vector in vectors() {
        let mut command = std::process::Command::new(peers::ours());
        command.arg("validate").arg(&vector.path);
        if let Some(key) = &vector.key {
            command.arg("--key").arg(key);
        }
        let output = command.output().unwrap();
        let expected = if vector.accept { 0 } else { 1 };
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{}: {output:?}",
            vector.path.display()
        );
    }
}
