#!/usr/bin/env bash
# Seeds faults into our own durability, one at a time, and demands that `crash` catches each.
#
# A mutant is a patch in this directory. Its first line says what is wrong, its second which options
# of `crash` catch it. They are applied to a copy of the tree, so nothing here changes.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
    cat <<'TXT'
usage: e2e/mutants/run.sh [NAME ...]

Without names, every patch in e2e/mutants. Prints a table; fails if a mutant survives.
Needs root, and the programs built: cargo build -p tandem-e2e -p tandem-artifact -p tandem-agent
TXT
}

case ${1:-} in
    -h | --help) usage; exit 0 ;;
esac

mutants=("$@")
if [ ${#mutants[@]} -eq 0 ]; then
    for patch in e2e/mutants/*.patch; do
        mutants+=("$(basename "$patch" .patch)")
    done
fi

copy=target/mutants/tree
programs=$PWD/target/debug
export CARGO_TARGET_DIR=$PWD/target/mutants/build
mkdir -p "$copy"
# Only what differs is copied, so that cargo builds only what differs.
restore() {
    git ls-files -z | while IFS= read -r -d '' file; do
        [ -e "$file" ] || continue
        cmp -s "$file" "$copy/$file" && continue
        mkdir -p "$copy/$(dirname "$file")"
        cp "$file" "$copy/$file"
    done
}

survived=0
printf '%-36s %-9s %s\n' mutant verdict 'by (crash ...), with'
for name in "${mutants[@]}"; do
    patch=$PWD/e2e/mutants/$name.patch
    read -r -a options < <(sed -n '2s/^caught by: crash //p' "$patch")
    restore
    patch --quiet --strip=1 --directory="$copy" --input="$patch"
    (cd "$copy" && cargo build --quiet --locked -p tandem-agent --bin tandem)
    log=target/mutants/$name.log
    code=0
    "$programs/crash" --first --tandem "$CARGO_TARGET_DIR/debug/tandem" "${options[@]}" > "$log" 2>&1 || code=$?
    case $code in
        1) verdict=caught ;;
        0) verdict=SURVIVED survived=$((survived + 1)) ;;
        *) cat "$log" >&2; exit 1 ;;
    esac
    reason=$(grep -m 1 -oE 'VIOLATION.*' "$log" || true)
    printf '%-36s %-9s %s\n' "$name" "$verdict" "${options[*]}"
    printf '    %.140s\n' "${reason:-no violation}"
done
printf '%s mutants, %s survived\n' "${#mutants[@]}" "$survived"
[ "$survived" -eq 0 ]
