#!/bin/sh
# fw_printenv and fw_setenv on the kernel's own flash drivers, in a virtual machine, because few
# build machines have MTD. Debian's libubootenv-tool is there too and has to agree.
#
#   run.sh           on a PC: NAND with bad blocks, UBI volumes, a write-protected MMC disk
#   run.sh armhf     on a board with an AST2600: SPI NOR flash, an eMMC with its boot partitions
#
# Needs dpkg-deb, apt-get (everything else is downloaded, nothing is installed), busybox and QEMU for
# the architecture, or $QEMU; for the eMMC version 9.1 or later. fw_setenv is built here for amd64;
# for armhf FW_SETENV names a static build.
# Work is kept in target/flash-vm, or in $FLASH_VM. Ends with 0 when every check in guest.sh passed.
set -eu

arch=${1:-amd64}
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
work=${FLASH_VM:-$top/target/flash-vm}/$arch
mkdir -p "$work/packages" "$work/lists/partial" "$work/cache/archives/partial"

case $arch in
amd64) qemu=${QEMU:-qemu-system-x86_64} image=linux-image-amd64 console=ttyS0 ;;
armhf) qemu=${QEMU:-qemu-system-arm} image=linux-image-armmp console="ttyS4 vmalloc=768M" ;;
*) echo "unknown architecture: $arch" >&2 && exit 2 ;;
esac

# apt for this architecture, without touching the state of this machine.
apt() {
    command=$1
    shift
    "$command" -q -o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o Dir::State::status=/dev/null \
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" "$@"
}

if [ ! -e "$work/root/downloaded" ]; then
    # A missing index is no matter if what is asked for below is found.
    apt apt-get update >/dev/null || true
    kernel=$(apt apt-cache depends "$image" | sed -n 's/.*Depends: \(linux-image-[^ ]*\)/\1/p' | head -n 1)
    (cd "$work/packages" && apt apt-get download "$kernel" busybox-static libubootenv-tool \
        libubootenv0.1 mtd-utils libc6 zlib1g)
    for package in "$work"/packages/*.deb; do
        dpkg-deb -x "$package" "$work/root"
    done
    : >"$work/root/downloaded"
fi

if [ -z "${FW_SETENV:-}" ]; then
    target=x86_64-unknown-linux-gnu
    (cd "$top" && RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --profile device \
        -p tandem-uboot-env --target "$target" --target-dir "$work/cargo")
    FW_SETENV=$work/cargo/$target/device/fw_setenv
fi

# The first file system: busybox, Debian's tools and ours, and the modules that may be asked for.
initrd=$work/initrd
rm -rf "$initrd"
mkdir -p "$initrd/ours" "$initrd/dev" "$initrd/proc" "$initrd/sys" "$initrd/tmp" "$initrd/run/lock" \
    "$initrd/var" "$initrd/bin" "$initrd/usr"
ln -s /run/lock "$initrd/var/lock"
cp "$FW_SETENV" "$initrd/ours/fw_setenv"
ln -s fw_setenv "$initrd/ours/fw_printenv"
cp "$here/guest.sh" "$initrd/init"
cp -a "$work/root/bin/busybox" "$initrd/bin/busybox"
cp -a "$work/root/lib" "$initrd/lib"
[ ! -d "$work/root/lib64" ] || cp -a "$work/root/lib64" "$initrd/lib64"
cp -a "$work/root/usr/bin" "$work/root/usr/lib" "$work/root/usr/sbin" "$initrd/usr/"
modules=$(echo "$initrd"/lib/modules/*)
version=${modules##*/}
find "$modules/kernel" -mindepth 1 -maxdepth 1 ! -name drivers ! -name lib ! -name crypto ! -name arch \
    -exec rm -rf {} +
find "$modules/kernel/drivers" -mindepth 1 -maxdepth 1 ! -name mtd ! -name mmc ! -name spi -exec rm -rf {} +

# Programs of the guest's packages that this machine can run too, or its own.
busybox() {
    if [ "$arch" = amd64 ]; then "$work/root/bin/busybox" "$@"; else command busybox "$@"; fi
}
busybox depmod -b "$initrd" "$version"
(cd "$initrd" && find . | busybox cpio -o -H newc | gzip -1) >"$work/initrd.gz"

truncate -s 16M "$work/mmc.img"
set -- -accel tcg -m 1024 -nographic -no-reboot -monitor none -serial stdio \
    -kernel "$work/root/boot/vmlinuz-$version" -initrd "$work/initrd.gz" \
    -append "console=$console quiet panic=-1"
case $arch in
amd64)
    set -- "$@" -M q35 -nodefaults -device sdhci-pci -device sd-card,drive=mmc \
        -drive "if=none,id=mmc,format=raw,file=$work/mmc.img"
    ;;
armhf)
    # Erased flash. QEMU keeps the boot partitions of the eMMC
    # in the first 2 MiB of its image.
    head -c 67108864 /dev/zero | tr '\0' '\377' >"$work/flash.img"
    truncate -s 32M "$work/mmc.img"
    set -- "$@" -M ast2600-evb \
        -dtb "$work/root/usr/lib/linux-image-$version/aspeed-ast2600-evb.dtb" \
        -drive "if=mtd,format=raw,file=$work/flash.img" \
        -drive "if=sd,index=2,format=raw,file=$work/mmc.img" \
        -global emmc.boot-partition-size=1048576
    ;;
esac
timeout 600 "$qemu" "$@" </dev/null | tee "$work/console.log"
grep -q '^every check passed' "$work/console.log"
