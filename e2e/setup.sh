# Sourced by ./demo and ./check: what the machine needs, and building the programs.
# shellcheck shell=bash

# Debian packages by what they are for.
packages_build=(build-essential pkg-config)
packages_demo=(e2fsprogs openssl)
packages_check=(grub-common libubootenv-tool u-boot-tools mender-artifact mender-client mender-cli strace shellcheck zstd
    xz-utils busybox curl wget file man-db whiptail dialog iproute2 util-linux dpkg python3 libarchive-tools
    fdisk dosfstools mtools qemu-system-x86 u-boot-qemu python3-venv systemd musl-tools nginx-light postgresql
    squashfs-tools erofs-utils)
packages_boot=(qemu-system-arm qemu-system-x86 u-boot-qemu u-boot-tools ovmf grub-efi-amd64-bin grub-common
    mtools dosfstools fdisk e2fsprogs openssl busybox file util-linux gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
packages_bench=(swupdate rauc squashfs-tools dbus-bin dbus-daemon cpio binutils mount nginx-light libc-bin)
packages_load=(nginx-light python3-venv)
packages_openapi=(python3-venv curl openssl)
packages_delta=(debootstrap nginx-light casync zchunk xdelta3 zstd e2fsprogs squashfs-tools erofs-utils)
packages_packages=(mmdebstrap lintian file binutils xz-utils)
packages_release=(file binutils xz-utils openssl buildah)
packages_pages=(chromium e2fsprogs openssl fonts-dejavu-core)

# Installs, as root, what is missing of the packages for $1 (demo, check, boot, bench, delta, load, openapi, pages, packages or
# release), and those that are named behind it; others are told.
need_tools() {
    local wanted=("${packages_build[@]}" "${packages_demo[@]}" "${@:2}") missing=() package
    case $1 in
        check) wanted+=("${packages_check[@]}") ;;
        boot) wanted+=("${packages_boot[@]}") ;;
        bench) wanted+=("${packages_bench[@]}") ;;
        load) wanted+=("${packages_load[@]}") ;;
        packages) wanted+=("${packages_packages[@]}") ;;
        release) wanted+=("${packages_release[@]}") ;;
        openapi) wanted+=("${packages_openapi[@]}") ;;
        delta) wanted+=("${packages_delta[@]}") ;;
        pages)
            wanted+=("${packages_pages[@]}")
            # Any Node.js that is there will do.
            command -v node > /dev/null || wanted+=(nodejs)
            command -v npm > /dev/null || wanted+=(npm)
            ;;
    esac
    for package in "${wanted[@]}"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null | grep -qx installed \
            || missing+=("$package")
    done
    # rustup's toolchain if there is one; else Debian's newest.
    command -v cargo > /dev/null || missing+=(rustc-web cargo-web)
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        printf 'missing packages; as root: apt-get install --no-install-recommends %s\n' \
            "${missing[*]}" >&2
        exit 1
    fi
    printf 'installing %s\n' "${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" > /dev/null
}

# What cross compiles for the targets $@, and runs the result here.
need_cross() {
    local target packages=(file libubootenv-tool openssl qemu-user-static)
    for target in "$@"; do
        mapfile -t -O ${#packages[@]} packages < <(cross_packages "$target")
    done
    need_tools cross "${packages[@]}"
}

# Builds every program of the workspace; quiet when there is nothing to do. One package alone would be built with other
# features of its dependencies, and the next step build them again.
build_programs() {
    cargo build --workspace --quiet
}
