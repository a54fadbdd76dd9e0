#!/usr/bin/env bash
# Runs a command in which programs for another processor start as if they were for this one. The kernel is told
# of QEMU's user mode emulation (binfmt_misc) in namespaces of the command's own: nothing of the machine changes,
# and nobody has to be root. Linux from 6.7; where the machine itself runs such programs, nothing is done.
#
#   e2e/foreign.sh PROCESSOR COMMAND ...
#
#   PROCESSOR    as QEMU calls it, such as aarch64
#
# Within, root is as here, without what changes the whole machine; somebody else is root, and there is nobody beside.
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
within=(sh -c '
    mount -t binfmt_misc binfmt_misc "$1" && cat "$2" > "$1/register" || {
        echo "the kernel does not let namespaces have a binfmt_misc of their own (Linux 6.7 does); as root:" >&2
        echo "    mount -t binfmt_misc binfmt_misc $1; cat $2 > $1/register" >&2
        exit 1
    }
    cd "$3"
    shift 3
    exec "$@"' sh "$known" "$form" "$PWD" "$@")
[ "$(id -u)" = 0 ] || exec unshare --user --map-root-user --mount "${within[@]}"

# Everybody is who they are: only root may say so, and from outside.
unshare --user --mount sleep infinity &
holder=$!
trap 'kill "$holder" 2> /dev/null || true' EXIT
while [ "$(readlink "/proc/$holder/ns/user")" = "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
for map in uid_map gid_map; do echo '0 0 4294967295' > "/proc/$holder/$map"; done
nsenter --user --mount --preserve-credentials --target "$holder" "${within[@]}"
