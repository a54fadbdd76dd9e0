#!/usr/bin/env bash
# Has device programs of whatever processor install an artifact into a root part that is a file, arm the
# boot loader, and roll back; Debian's fw_printenv and cmp judge.
#
#   e2e/cross-try.sh PROGRAMS ARTIFACT-TOOL [RUNNER ...]
#
#   PROGRAMS         directory of tandem, fw_printenv and fw_setenv
#   ARTIFACT-TOOL    a tandem-artifact for this machine
#   RUNNER           what runs them here, such as qemu-arm-static
set -euo pipefail
programs=$(realpath "$1")
artifact_tool=$(realpath "$2")
runner=("${@:3}")
work=$(mktemp -d "${TMPDIR:-/tmp}/tandem-try.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
length=3000000

truncate -s 4M a b
head -c $length /dev/urandom > image
openssl ecparam -genkey -name prime256v1 -noout -out signer.pem 2> /dev/null
openssl ec -in signer.pem -pubout -out signer.pub 2> /dev/null
"$artifact_tool" write rootfs-image --quiet -t board -n release-2 -f image -k signer.pem --compression zstd_fast -o update.mender
mkdir data
echo device_type=board > data/device_type
truncate -s 16K environment
printf '%s 0 0x2000\n%s 0x2000 0x2000\n' "$work/environment" "$work/environment" > fw_env.config
printf '%s\n' mender_boot_part=1 mender_boot_part_hex=1 upgrade_available=0 bootcount=0 > default
cat > tandem.toml << TOML
rootfs_part_a = "$work/a1"
rootfs_part_b = "$work/b2"
root_device = "$work/a1"
data_dir = "$work/data"
uboot_env_config = "$work/fw_env.config"
artifact_verify_key = "$work/signer.pub"
TOML
mv a a1
mv b b2

ours() {
    local program=$1
    shift
    "${runner[@]}" "$programs/$program" "$@" > log 2>&1 || { cat log >&2; return 1; }
}
# What Debian's tool reads must be this.
says() {
    local said
    said=$(fw_printenv -c fw_env.config -n "$1")
    [ "$said" = "$2" ] || { printf '%s is %s instead of %s\n' "$1" "$said" "$2" >&2; exit 1; }
}
ours fw_setenv -c fw_env.config -f default tried yes
says mender_boot_part 1
says tried yes
# What QEMU translates says which instructions are run.
QEMU_LOG=in_asm QEMU_LOG_FILENAME=$work/code ours tandem -c tandem.toml install update.mender
case ${runner[0]:-} in
    *aarch64*) grep -q sha256h code || { echo "SHA-256 is computed without the processor's instructions for it" >&2; exit 1; } ;;
esac
cmp -n $length image b2
says mender_boot_part 2
says upgrade_available 1
ours fw_printenv -c fw_env.config mender_boot_part
grep -qx mender_boot_part=2 log
ours tandem -c tandem.toml rollback
says mender_boot_part 1
says upgrade_available 0
# What is not signed for is refused.
printf x | dd of=update.mender bs=1 seek=2000 conv=notrunc status=none
! ours tandem -c tandem.toml install update.mender 2> /dev/null || { echo "a damaged artifact was installed" >&2; exit 1; }
