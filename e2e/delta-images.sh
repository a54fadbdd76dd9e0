#!/bin/sh
# Makes the images that delta-bench compares: a Debian root file system, the same with all security
# updates, and with one library replaced. As root: debootstrap and chroot need it.
#
#   delta-images.sh FOLDER     old.ext4, sec.ext4, one-lib.ext4 in FOLDER, and the first two as squashfs and erofs
#
# MIRROR and MIRROR_SECURITY are Debian's archives; without them, those of this machine's apt.
set -eu
work=${1:?usage: delta-images.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
artifact=${TANDEM_ARTIFACT:-$here/../target/release/tandem-artifact}
time=1700000000
size=${SIZE:-320M}

# The archive of a release, from apt's lists.
uri() {
    # shellcheck disable=SC2016 # apt-get replaces it
    apt-get indextargets --format '$(REPO_URI)' "Codename: $1" | sed -n '1s,/$,,p'
}
MIRROR=${MIRROR:-$(uri bookworm)}
MIRROR_SECURITY=${MIRROR_SECURITY:-$(uri bookworm-security)}
if [ -z "$MIRROR" ] || [ -z "$MIRROR_SECURITY" ]; then
    echo "set MIRROR and MIRROR_SECURITY" >&2
    exit 1
fi

mkdir -p "$work"
cd "$work"
packages=systemd-sysv,udev,iproute2,openssh-server,ca-certificates,curl,python3-minimal,less,nano

in_root() {
    root=$1
    shift
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        chroot "$root" "$@"
}

# What a build leaves behind and no device gets.
clean() {
    for root; do
        rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/run/* "$root"/tmp/*
        rm -f "$root"/etc/resolv.conf "$root"/var/cache/ldconfig/aux-cache
        find "$root" -name '*.pyc' -delete
    done
}

if [ ! -e old.done ]; then
    rm -rf old
    debootstrap --variant=minbase --include=$packages bookworm old "$MIRROR" > debootstrap.log
    clean old
    : > old.done
fi
if [ ! -e sec.done ]; then
    rm -rf sec
    cp -a old sec
    {
        echo "deb $MIRROR bookworm main"
        echo "deb $MIRROR bookworm-updates main"
        echo "deb $MIRROR_SECURITY bookworm-security main"
    } > sec/etc/apt/sources.list
    cp /etc/resolv.conf sec/etc/resolv.conf
    in_root sec apt-get -q update > upgrade.log
    in_root sec apt-get -q -y upgrade >> upgrade.log
    cp old/etc/apt/sources.list sec/etc/apt/sources.list
    clean sec
    : > sec.done
fi
if [ ! -e one-lib.done ]; then
    rm -rf one-lib
    cp -a old one-lib
    for library in "$work"/sec/usr/lib/x86_64-linux-gnu/libssl.so.3 "$work"/sec/usr/lib/x86_64-linux-gnu/libcrypto.so.3; do
        cp -a "$library" one-lib/usr/lib/x86_64-linux-gnu/
    done
    printf 'one' > one-lib/etc/one
    : > one-lib.done
fi

for name in old sec one-lib; do
    # The same files, the same image: all that mke2fs takes from the clock and the file system it reads.
    find $name -xdev -newermt @$time -exec touch -h -d @$time {} +
    rm -f $name.ext4
    truncate -s "$size" $name.ext4
    SOURCE_DATE_EPOCH=$time E2FSPROGS_FAKE_TIME=$time mke2fs -q -t ext4 -b 4096 -d $name \
        -U 11111111-2222-3333-4444-555555555555 -m 0 -N 40000 \
        -E hash_seed=11111111-2222-3333-4444-555555555555,lazy_itable_init=0,root_owner=0:0 \
        -O ^has_journal,^metadata_csum,^64bit $name.ext4
    "$artifact" normalise --time $time $name.ext4
done

# File systems that compress: in squashfs one byte more in a file shifts all that comes behind it.
for name in old sec; do
    rm -f $name.sqfs $name.erofs
    mksquashfs $name $name.sqfs -comp zstd -Xcompression-level 15 -b 128K -noappend -quiet -no-progress \
        -all-root -all-time $time -mkfs-time $time
    mkfs.erofs -zlz4hc -T $time -U 11111111-2222-3333-4444-555555555555 --all-root $name.erofs $name > erofs.log
done
