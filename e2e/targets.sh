# Sourced by what builds for other processors: how each is called, compiled for, and run here.
# shellcheck shell=bash disable=SC2034 # what is set here is used there

host=$(rustc -vV | sed -n 's/^host: //p')
sysroot=$(rustc --print sysroot)
# This machine's kind with musl's C library: glibc's takes 650 KiB more of a static program.
musl=${host%-gnu}-musl

# The targets that static programs are made for, all by default.
all_targets=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf riscv64gc-unknown-linux-gnu)

# The target that is meant by $1: one of them, or the processor as Debian or Rust calls it.
target_named() {
    local target
    for target in "${all_targets[@]}" "$musl"; do
        case $1 in
            "$target" | "${target%%-*}" | "$(debian_of "$target")") printf '%s\n' "$target"; return ;;
        esac
    done
    printf 'no such target: %s (there are %s)\n' "$1" "${all_targets[*]}" >&2
    return 2
}

# The target that makes the smallest programs for the processor of target $1.
smallest() {
    if [ "$1" = "$host" ] && command -v musl-gcc > /dev/null && has_standard_library "$musl"; then
        printf '%s\n' "$musl"
    else
        printf '%s\n' "$1"
    fi
}

# Whether Rust's standard library for target $1 is there, or can be had.
has_standard_library() {
    [ -d "$sysroot/lib/rustlib/$1/lib" ] \
        || { command -v rustup > /dev/null && rustup -q target add "$1" > /dev/null 2>&1; }
}

# What Debian calls the processor of target $1.
debian_of() {
    case $1 in
        x86_64-*) echo amd64 ;;
        aarch64-*) echo arm64 ;;
        armv7-*) echo armhf ;;
        riscv64gc-*) echo riscv64 ;;
    esac
}

# What QEMU calls it.
qemu_of() {
    case $1 in
        armv7-*) echo arm ;;
        riscv64gc-*) echo riscv64 ;;
        *) printf '%s\n' "${1%%-*}" ;;
    esac
}

# What GNU's tools and Debian's cross compilers are called for target $1.
gnu_of() {
    case $1 in
        armv7-*) echo arm-linux-gnueabihf ;;
        riscv64gc-*) echo riscv64-linux-gnu ;;
        *) printf '%s\n' "${1/-unknown-/-}" ;;
    esac
}

# Whether target $1 is for this machine's processor.
native() {
    [ "$1" = "$host" ] || [ "$1" = "$musl" ]
}

# The Debian packages that cross compile for target $1.
cross_packages() {
    native "$1" || printf 'gcc-%s\nlibc6-dev-%s-cross\n' "$(gnu_of "$1")" "$(debian_of "$1")"
}

# How large `tandem` may be for target $1, in bytes.
budget_of() {
    case $1 in
        armv7-*) echo $((2560 * 1024)) ;;
        *-musl) echo $((3072 * 1024)) ;;
        *) echo $((3584 * 1024)) ;;
    esac
}

# Prepares cargo's environment for target $1. Sets:
#   static_flags   for RUSTFLAGS: a static program, the same wherever source and crates lie
#   folding        for RUSTFLAGS: identical code once, which LLVM's linker can
#   runner         what runs programs for this target here; empty for this machine's own
use_target() {
    local gnu name crates
    gnu=$(gnu_of "$1") name=${1//-/_}
    static_flags=(-C target-feature=+crt-static "--remap-path-prefix=$PWD=/tandem")
    for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
        static_flags+=("--remap-path-prefix=${crates%/}=/crates")
    done
    folding=(-C "link-arg=-Wl,--icf=all")
    runner=()
    has_standard_library "$1" || { echo "Rust's standard library for $1 is missing, and rustup cannot add it" >&2; return 1; }
    # Where it is the default already there is nothing to say.
    [ "$1" != "$host" ] || return 0
    case $1 in
        # The processor's shorter instructions, which every ARMv7-A has and Debian's C code is made of (-17 %).
        armv7-*) static_flags+=(-C target-feature=+thumb-mode) ;;
    esac
    use_linker
    ! native "$1" || return 0

    command -v "$gnu-gcc" > /dev/null || {
        printf '%s is missing: apt-get install --no-install-recommends %s\n' "$gnu-gcc" \
            "$(cross_packages "$1" | paste -sd ' ')" >&2
        return 1
    }
    export "CARGO_TARGET_${name^^}_LINKER=$gnu-gcc" "CC_$name=$gnu-gcc" "AR_$name=$gnu-ar"
    runner=("qemu-$(qemu_of "$1")-static")
    export "CARGO_TARGET_${name^^}_RUNNER=${runner[*]}"
}

# LLVM's linker: rustup brings it, wrapped for gcc; else Debian's; else GNU's.
use_linker() {
    local wrapped=$sysroot/lib/rustlib/$host/bin/gcc-ld
    if [ -d "$wrapped" ]; then
        static_flags+=(-C "link-arg=-B$wrapped" -C link-arg=-fuse-ld=lld)
    elif command -v ld.lld > /dev/null; then
        static_flags+=(-C link-arg=-fuse-ld=lld)
    else
        folding=()
    fi
}

# Whether programs for target $1, which is in use, can be run here.
runs() {
    native "$1" || command -v "${runner[0]}" > /dev/null
}
