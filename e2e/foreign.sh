#!/usr/bin/env bash
# Runs a command in which programs for another processor start as if they were for this one. The kernel is told
# of QEMU's user mode emulation (binfmt_misc) in namespaces of the command's own: nothing of the machine changes,
# and nobody has to be root. Linux from 6.7; where the machine itself runs such programs, nothing is done.
#
#   e2e/foreign.sh PROCESSOR COMMAND ...
#
#   PROCESSOR    as QEMU calls it, such as aarch64
#
# Within, everybody is root, and files belong to root or to nobody.
set -euo pipefail
processor=$1
shift
known=/proc/sys/fs/binfmt_misc
if grep -qs '^enabled' "$known/qemu-$processor"; then
    exec "$@"
fi
form=/usr/lib/binfmt.d/qemu-$processor.conf
[ -e "$form" ] || { echo "$form is missing: apt-get install --no-install-recommends qemu-user-static" >&2; exit 1; }
# shellcheck disable=SC2016 # expanded within
exec unshare --user --map-root-user --mount sh -c '
    mount -t binfmt_misc binfmt_misc "$1" && cat "$2" > "$1/register" || {
        echo "the kernel does not let namespaces have a binfmt_misc of their own (Linux 6.7 does); as root:" >&2
        echo "    mount -t binfmt_misc binfmt_misc $1; cat $2 > $1/register" >&2
        exit 1
    }
    shift 2
    exec "$@"' sh "$known" "$form" "$@"
