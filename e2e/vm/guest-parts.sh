#!/usr/bin/env bash
# Fetches what virtual devices are made of beside Tandem: Debian's kernel for virtual machines, the
# modules that it needs, and busybox. Nothing is installed, and nothing of it runs here. Prints the
# directory that it is in.
#
#   e2e/vm/guest-parts.sh ARCHITECTURE      as Debian calls it: arm64 or amd64
set -euo pipefail
cd "$(dirname "$0")/../.."
architecture=${1:?usage: e2e/vm/guest-parts.sh ARCHITECTURE}
own=$(dpkg --print-architecture)
dir=$PWD/target/vm/$architecture
if [ -e "$dir/complete" ]; then
    echo "$dir"
    exit 0
fi

rm -rf "$dir"
mkdir -p "$dir/packages" "$dir/files" "$dir/modules"
if ! { dpkg --print-architecture; dpkg --print-foreign-architectures; } | grep -qx "$architecture"; then
    [ "$(id -u)" = 0 ] || {
        echo "as root: dpkg --add-architecture $architecture && apt-get update" >&2
        exit 1
    }
    dpkg --add-architecture "$architecture"
fi
image=linux-image-cloud-$architecture:$architecture
if [ -z "$(apt-cache depends "$image" 2> /dev/null)" ]; then
    apt-get -qq update
fi
kernel=$(apt-cache depends "$image" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
case $kernel in *:*) ;; *) kernel=$kernel:$architecture ;; esac
(
    cd "$dir/packages"
    apt-get -qq download "$kernel" "busybox-static:$architecture"
    for package in *.deb; do dpkg-deb -x "$package" "$dir/files"; done
    # What busybox can do is asked of the one that runs here; it is the same version.
    [ "$architecture" = "$own" ] || apt-get -qq download "busybox-static:$own"
    mkdir "$dir/own"
    dpkg-deb -x busybox-static_*_"$own".deb "$dir/own"
) > "$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
cp "$dir"/files/boot/vmlinuz-* "$dir/kernel"
cp "$dir/files/bin/busybox" "$dir/busybox"
"$dir/own/bin/busybox" --list > "$dir/applets"
# In the order in which they need each other. What is missing is in the kernel.
number=10
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover \
    net_failover virtio_net fat nls_cp437 nls_ascii vfat; do
    file=$(find "$dir/files/lib/modules" -name "$module.ko")
    [ -z "$file" ] || cp "$file" "$dir/modules/$number-$module.ko"
    number=$((number + 1))
done
rm -rf "$dir/packages" "$dir/files" "$dir/own"
touch "$dir/complete"
echo "$dir"
