#!/usr/bin/env bash
# Seeds faults into the code that decides who may begin a deployment, one at a time, and demands that its tests catch each.
#
# A mutant is a patch in e2e/mutants/rollout; its first line says what is wrong. That code depends on little, so it is
# built here as a crate of its own: seconds instead of the whole server for each mutant.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
    cat <<'TXT'
usage: e2e/mutants/rollout.sh [NAME ...]

Without names, every patch in e2e/mutants/rollout. Prints a table; fails if a mutant survives.
TXT
}

case ${1:-} in
    -h | --help) usage; exit 0 ;;
esac

mutants=("$@")
if [ ${#mutants[@]} -eq 0 ]; then
    for patch in e2e/mutants/rollout/*.patch; do
        mutants+=("$(basename "$patch" .patch)")
    done
fi

root=$PWD
crate=target/mutants/rollout
rm -rf "$crate/src"
mkdir -p "$crate/src" "$crate/artifact/src"
# What is made here is no part of the workspace; its dependencies are those of the lock file all the same.
version() {
    sed -n "s/^$1 = { version = \"\([^\"]*\)\".*/\1/p" Cargo.toml
}
cat > "$crate/Cargo.toml" <<TXT
[workspace]
[package]
name = "rollout"
version = "0.1.0"
edition = "2024"
[dependencies]
tandem-api = { path = "$root/target/mutants/rollout/api" }
tandem-artifact = { path = "artifact" }
serde = { version = "$(version serde)", features = ["derive"] }
serde_json = "$(version serde_json)"
humantime = "$(version humantime)"
jiff = { version = "$(version jiff)", default-features = false, features = ["std", "tzdb-bundle-always"] }
uuid = { version = "$(version uuid)", features = ["serde"] }
[dev-dependencies]
proptest = { version = "$(version proptest)", default-features = false, features = ["std", "bit-set"] }
TXT
cp Cargo.lock "$crate/Cargo.lock"
# Of the artifact library only two names are used.
cat > "$crate/artifact/Cargo.toml" <<'TXT'
[package]
name = "tandem-artifact"
version = "0.1.0"
edition = "2024"
TXT
cat > "$crate/artifact/src/lib.rs" <<'TXT'
pub const ARTIFACT_NAME: &str = "artifact_name";
pub struct Depends;
impl Depends {
    pub const DEVICE_TYPE: &'static str = "device_type";
}
TXT
mkdir -p "$crate/api"
cp -r api/src "$crate/api/"
cat > "$crate/api/Cargo.toml" <<TXT
[package]
name = "tandem-api"
version = "0.1.0"
edition = "2024"
[dependencies]
serde = { version = "$(version serde)", features = ["derive"] }
serde_json = "$(version serde_json)"
TXT
cat > "$crate/src/lib.rs" <<'TXT'
pub mod rollout;
pub mod store {
    pub type Id = uuid::Uuid;
    pub struct Content {
        pub depends: std::collections::BTreeMap<String, Vec<String>>,
    }
    pub struct StoredArtifact {
        pub id: Id,
        pub size: u64,
        pub content: Content,
    }
}
TXT

run_tests() {
    CARGO_TARGET_DIR=target/mutants/rollout-build cargo test --quiet --manifest-path "$crate/Cargo.toml" --lib
}

restore() {
    rm -rf "$crate/src/rollout"
    cp -r mini-server/src/rollout mini-server/src/rollout.rs "$crate/src/"
}

log=target/mutants/rollout.log
restore
run_tests > "$log" 2>&1 || { cat "$log" >&2; echo 'the tests fail without a mutant' >&2; exit 1; }

survived=0
for name in "${mutants[@]}"; do
    patch=$root/e2e/mutants/rollout/$name.patch
    restore
    patch --quiet --strip=2 --directory="$crate" --input="$patch"
    if run_tests > "$log" 2>&1; then
        verdict=SURVIVED
        survived=$((survived + 1))
    elif grep -q '^test result: FAILED' "$log"; then
        verdict="caught by $(sed -n 's/^---- \(.*\) stdout ----$/\1/p' "$log" | head -n 1)"
    else
        cat "$log" >&2
        exit 1
    fi
    printf '%-44s %s\n' "$name" "$verdict"
done
[ "$survived" = 0 ]
