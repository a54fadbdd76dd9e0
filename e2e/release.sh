#!/usr/bin/env bash
# Makes everything that is released, into one directory: static programs and Debian packages for each
# processor, a container of the server, the source with the layer for OpenEmbedded in it, a bill of
# materials for each program, checksums, and their signature.
#
#   e2e/release.sh DIRECTORY [--key PRIVATE.pem] [TARGET ...]
#
#   --key     signs SHA256SUMS (RSA, EC or Ed25519); without one nothing is signed, and that is said
#   TARGET    as for e2e/cross-build.sh; all of them if none is said
#
# What is released is the last commit, and it must be what lies here. The same commit, made by the same
# compilers, makes the same bytes; of the container its layer, for buildah notes a name of its own beside it.
#
# The server, the artifact tool, the image tool and the virtual device are made for amd64 and arm64; the
# programs of devices for all.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=e2e/targets.sh
. e2e/targets.sh
# shellcheck source=e2e/setup.sh
. e2e/setup.sh

out='' key='' targets=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
        --key) key=$(realpath "${2:?--key needs a file}"); shift ;;
        *) if [ -z "$out" ]; then out=$1; else targets+=("$(target_named "$1")"); fi ;;
    esac
    shift
done
[ -n "$out" ] || { echo "usage: e2e/release.sh DIRECTORY [--key PRIVATE.pem] [TARGET ...]" >&2; exit 2; }
[ ${#targets[@]} -gt 0 ] || targets=("${all_targets[@]}")
[ -z "$(git status --porcelain)" ] || { echo "there are changes that are not committed" >&2; exit 1; }
mkdir -p "$out"
out=$(cd "$out" && pwd)
[ -z "$(ls -A "$out")" ] || { echo "$out is not empty" >&2; exit 1; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
stage=$PWD/target/release-stage
rm -rf "$stage"
# The one form of archive: sorted, owned by root, of the time of the commit.
archive() {
    tar -C "$1" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
        --format=posix --pax-option=delete=atime,delete=ctime -c "$2" | xz -T1 -9 > "$3"
}

need_cross "${targets[@]}"
cargo fetch --quiet --locked
for target in "${targets[@]}"; do
    architecture=$(debian_of "$target")
    programs=$stage/programs/$architecture
    use_target "$target"
    e2e/static-build.sh "$(smallest "$target")"
    mkdir -p "$programs"
    cp target/static/{tandem,fw_printenv,fw_setenv} "$programs/"
    crates=(agent uboot-env)
    case $architecture in
        amd64 | arm64)
            RUSTFLAGS="${static_flags[*]}" cargo build --quiet --release --target "$target" \
                -p tandem-artifact -p tandem-server -p tandem-e2e \
                --bin tandem-artifact --bin tandem-server --bin tandem-image --bin virtual-device
            cp target/"$target"/release/{tandem-{artifact,server,image},virtual-device} "$programs/"
            crates+=(artifact mini-server e2e)
            ;;
    esac

    e2e/packages.sh "$programs" "$architecture" "$out" > /dev/null

    tree=tandem-$version-$architecture
    mkdir -p "$stage/$tree/bin" "$stage/$tree/man" "$stage/$tree/completion" "$stage/$tree/systemd"
    cp "$programs"/* "$stage/$tree/bin/"
    cp LICENSE README.md CHANGELOG.md "$stage/$tree/"
    cp agent/completion/* "$stage/$tree/completion/"
    cp agent/systemd/* mini-server/systemd/tandem-server.service "$stage/$tree/systemd/"
    for program in "$programs"/*; do cp ./*/man/"${program##*/}".[1-8] "$stage/$tree/man/"; done
    cp agent/man/tandem.toml.5 "$stage/$tree/man/"
    mkdir -p "$stage/$tree/share/tandem"
    cp -r agent/modules agent/support/identity agent/support/inventory "$stage/$tree/share/tandem/"
    for crate in "${crates[@]}"; do
        name=$(sed -n 's/^Package: //p' "$crate/debian/control")
        python3 e2e/bill.py sbom "$crate" "$architecture" > "$out/$name-$version-$architecture.cdx.json"
        python3 e2e/bill.py licences "$crate" "$architecture" > "$stage/$tree/THIRD-PARTY-$name"
    done
    archive "$stage" "$tree" "$out/$tree.tar.xz"

    case $architecture in
        amd64 | arm64)
            if command -v buildah > /dev/null; then
                e2e/container.sh "$programs/tandem-server" "$architecture" "$out/tandem-server-$version-$architecture.container.tar"
            else
                printf 'NOT MADE: the container for %s, as buildah is not installed\n' "$architecture" >&2
            fi
            ;;
    esac
done

# The source, of which yocto/meta-tandem is a part that builds the rest.
git archive --format=tar --prefix="tandem-$version/" HEAD | xz -T1 -9 > "$out/tandem-$version-source.tar.xz"

(cd "$out" && sha256sum -- * > "$stage/SHA256SUMS" && mv "$stage/SHA256SUMS" SHA256SUMS)
if [ -n "$key" ]; then
    # Ed25519 signs the file itself, the others its sum.
    if openssl pkey -in "$key" -noout -text 2> /dev/null | grep -qi '^ed25519'; then
        openssl pkeyutl -sign -rawin -inkey "$key" -in "$out/SHA256SUMS" -out "$out/SHA256SUMS.sig"
    else
        openssl dgst -sha256 -sign "$key" -out "$out/SHA256SUMS.sig" "$out/SHA256SUMS"
    fi
    openssl pkey -in "$key" -pubout -out "$out/SHA256SUMS.pub"
else
    printf 'NOT SIGNED: give a key with --key\n' >&2
fi
(cd "$out" && du -h -- *)
