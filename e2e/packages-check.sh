#!/usr/bin/env bash
# Judges Debian packages: lintian, and what becomes of a clean Debian 12 root in which they are installed,
# upgraded, removed and purged. As root; nothing outside of target/packages changes.
#
#   e2e/packages-check.sh PROGRAMS
# shellcheck disable=SC2016 # dpkg and apt expand what is in single quotes
set -euo pipefail
# What is mounted in the root is mounted for this process alone, and gone with it.
[ -n "${TANDEM_OWN_MOUNTS:-}" ] || TANDEM_OWN_MOUNTS=1 exec unshare --mount "$0" "$@"
cd "$(dirname "$0")/.."
programs=$(cd "$1" && pwd)
work=$PWD/target/packages
root=$work/root
architecture=$(dpkg --print-architecture)
# What packages of ours depend on, what they replace, and what their tests look with; so nothing is
# fetched later.
parts=(adduser systemd init-system-helpers libubootenv-tool u-boot-tools dosfstools e2fsprogs fdisk mtools
    bash-completion zsh fish openssl)
# Whatever is committed meanwhile: the same input.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

fail() { printf 'packages: %s\n' "$*" >&2; exit 1; }
expect() {
    # What is expected, then a command that is true if it is so.
    local what=$1
    shift
    "$@" || fail "$what"
}
# What dpkg knows of package $2, in the form $1.
known() { inside dpkg-query -W -f "$1" "$2" 2> /dev/null || true; }
inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot "$root" "$@"
}
apt() { inside apt-get -qq -o APT::Get::AutomaticRemove=false "$@" > "$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; return 1; }; }
# All there is but for what every use of dpkg and apt changes.
listing() {
    (cd "$root" && find . -xdev \( -path ./proc -o -path ./var/lib/dpkg -o -path ./var/cache -o -path ./var/log \
        -o -path ./var/lib/apt -o -path ./debs -o -path ./run -o -path ./root \) -prune -o -printf '%P %y %m %U\n' | LC_ALL=C sort)
}

mkdir -p "$work"
archive=$work/bookworm.tar
wanted="$architecture ${parts[*]}"
if [ "$(cat "$archive.parts" 2> /dev/null)" != "$wanted" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: bookworm" | head -n 1)
    mmdebstrap --quiet --variant=apt --include="$(IFS=,; printf '%s' "${parts[*]}")" bookworm "$archive" "$mirror"
    printf '%s' "$wanted" > "$archive.parts"
fi

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
# Stripped as packages are, and hardly compressed: how well that works is no question here.
mkdir -p "$work/programs"
for program in tandem tandem-server tandem-artifact tandem-image virtual-device fw_printenv fw_setenv; do
    strip -o "$work/programs/$program" "$programs/$program"
done
programs=$work/programs
export DPKG_DEB_COMPRESSOR_TYPE=gzip DPKG_DEB_COMPRESSOR_LEVEL=1
rm -rf "$work/old" "$work/new" "$root"
e2e/packages.sh "$programs" "$architecture" "$work/old" > "$work/made"
e2e/packages.sh "$programs" "$architecture" "$work/again" > /dev/null
for deb in "$work"/old/*.deb; do
    cmp "$deb" "$work/again/${deb##*/}" || fail "${deb##*/} is not the same when it is made again"
done
rm -r "$work/again"
e2e/packages.sh "$programs" "$architecture" "$work/new" "$version+next" > /dev/null
names=()
for deb in "$work"/old/*.deb; do names+=("$(dpkg-deb -f "$deb" Package)"); done
lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$work"/old/*.deb

mkdir "$root"
tar -C "$root" -xpf "$archive" --exclude='./dev/*'
[ -e "$root/dev/null" ] || mknod -m 666 "$root/dev/null" c 1 3
[ -e "$root/dev/urandom" ] || mknod -m 666 "$root/dev/urandom" c 1 9
[ -e "$root/dev/tty" ] || mknod -m 666 "$root/dev/tty" c 5 0
ln -sfn /proc/self/fd "$root/dev/fd"
mount -t proc proc "$root/proc"
cp -r "$work/old" "$root/debs"
mkdir "$root/debs/next"
cp "$work"/new/*.deb "$root/debs/next/"
before=$(listing)

# Installed.
inside sh -c 'apt-get install -qq --no-install-recommends -y /debs/*.deb' > "$work/apt.log" 2>&1 || { cat "$work/apt.log"; fail "cannot be installed"; }
for name in "${names[@]}"; do
    expect "$name is installed" [ "$(known '${db:Status-Status} ${Version}' "$name")" = "installed $version" ]
done
expect "what is installed is what was packaged" [ -z "$(inside dpkg --verify "${names[@]}")" ]
for program in tandem tandem-server tandem-artifact tandem-image virtual-device fw_printenv fw_setenv; do
    [[ $(inside "$program" --version) == *"$version" ]] || fail "$program --version does not say $version"
done
expect "libubootenv-tool gave way" [ "$(known '${db:Status-Status}' libubootenv-tool)" != installed ]
expect "the server has a user" inside getent passwd tandem-server > /dev/null
for unit in tandem tandem-server; do
    expect "$unit is enabled" [ "$(inside systemctl is-enabled "$unit")" = enabled ]
done
complaints=$(inside systemd-analyze verify --man=no tandem.service tandem-server.service 2>&1) || fail "units: $complaints"
[ -z "$complaints" ] || fail "units: $complaints"
expect "without a configuration the agent does not start" \
    grep -q '^ConditionPathExists=|/etc/tandem/tandem.toml$' "$root/lib/systemd/system/tandem.service"
expect "there is no configuration yet" [ ! -e "$root/etc/tandem/tandem.toml" ]
# How open the walls are, in tenths of systemd's exposure.
exposure() { inside systemd-analyze security --no-pager --offline=true --threshold="$2" "$1" > "$work/security-$1" || fail "$1: $(tail -n 1 "$work/security-$1")"; tail -n 1 "$work/security-$1"; }
exposure tandem-server.service 20
mkdir -p "$root/etc/systemd/system/tandem.service.d"
cp "$root/usr/share/doc/tandem/examples/hardening.conf" "$root/etc/systemd/system/tandem.service.d/"
exposure tandem.service 50
rm -r "$root/etc/systemd/system/tandem.service.d"
# The first start, as the user that was made.
install -d -m 700 -o "$(inside id -u tandem-server)" -g "$(inside id -g tandem-server)" "$root/var/lib/tandem-server"
(PATH=/usr/bin:/usr/sbin exec chroot "$root" setpriv --reuid tandem-server --regid tandem-server --clear-groups \
    tandem-server serve --data /var/lib/tandem-server --listen 127.0.0.1:0) > "$work/server.log" 2>&1 &
server=$!
for _ in $(seq 300); do
    ! grep -q 'listening' "$work/server.log" || break
    sleep 0.1
done
listens=true
grep -q 'listening' "$work/server.log" || listens=false
! $listens || inside tandem-server user list --data /var/lib/tandem-server > /dev/null || listens=false
kill "$server" 2> /dev/null || true
wait "$server" || true
$listens || fail "the server does not start: $(cat "$work/server.log")"

# What somebody new does: the first update, by the book, with what is installed and nothing else.
{
    echo 'set -e; cd /tmp'
    sed -n '/^```sh$/,/^```$/{/^```/!p}' mini-server/docs/src/first-update.md
    echo 'kill %1 %2; cd /tmp; rm -rf first-update'
} > "$root/root/first-update"
from=$SECONDS
inside bash /root/first-update > "$work/first-update.log" 2>&1 || fail "the first update fails: $(cat "$work/first-update.log")"
rm "$root/root/first-update"
printf 'the first update, by the book: %d s\n' $((SECONDS - from))

# Completion, in all three shells, of verbs, options and what is below a verb.
completes() {
    local expected=$1 came
    shift
    came=$("$@" 2>&1)
    [[ $came == *$expected* ]] || fail "no $expected by: $*: $came"
}
for case in 'device tandem-server dev' 'accept tandem-server device acc' 'commit tandem com' \
    '--compression tandem-artifact write rootfs-image --compr' '--server tandem-server device list --serv'; do
    expected=${case%% *} line=${case#* }
    completes "$expected" inside bash -c '. /usr/share/bash-completion/completions/tandem; read -ra COMP_WORDS <<< "$1"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _tandem "${COMP_WORDS[0]}" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"; printf "%s\n" "${COMPREPLY[@]}"' bash "$line"
    completes "$expected" inside fish -c 'complete -C "$argv[1]"' "$line"
done
completes 'device accept ' python3 e2e/completes.py 'autoload -Uz compinit; compinit -u -D' 'tandem-server device acc' \
    env PATH=/usr/bin:/usr/sbin chroot "$root" zsh -f -i

# As somebody sets it up and changes it.
printf 'server_url = "https://updates.example.com"\n' > "$root/etc/tandem/tandem.toml"
printf '# by hand\n' >> "$root/etc/default/tandem-server"
mkdir -p "$root/var/lib/tandem"
printf 'device_type=board\n' > "$root/var/lib/tandem/device_type"
inside systemctl disable --quiet tandem.service
kept() {
    expect "$1: the agent's configuration is kept" grep -q updates.example.com "$root/etc/tandem/tandem.toml"
    expect "$1: the server's options are kept" grep -q 'by hand' "$root/etc/default/tandem-server"
    expect "$1: the device's data are kept" grep -q board "$root/var/lib/tandem/device_type"
    expect "$1: the server's data are kept" [ -e "$root/var/lib/tandem-server/tandem.db" ]
}

# Upgraded.
inside sh -c 'apt-get install -qq --no-install-recommends -y /debs/next/*.deb' > "$work/apt.log" 2>&1 || { cat "$work/apt.log"; fail "cannot be upgraded"; }
expect "tandem is upgraded" [ "$(known '${Version}' tandem)" = "$version+next" ]
kept upgraded
expect "what was disabled stays so" [ "$(inside systemctl is-enabled tandem || true)" = disabled ]

# Removed, and back again.
apt remove -y "${names[@]}"
kept removed
expect "the programs are gone" [ -z "$(ls "$root"/usr/bin/tandem* "$root"/usr/bin/fw_* 2> /dev/null)" ]
inside sh -c 'apt-get install -qq --no-install-recommends -y /debs/*.deb' > "$work/apt.log" 2>&1 || { cat "$work/apt.log"; fail "cannot be installed again"; }
kept 'installed again'
expect "disabled, also after that" [ "$(inside systemctl is-enabled tandem || true)" = disabled ]

# Purged.
apt purge -y "${names[@]}"
after=$(listing)
left=$(diff <(printf '%s\n' "$before") <(printf '%s\n' "$after") | grep '^>' | grep -vE '> etc/(passwd|group|shadow|gshadow|subuid|subgid)-? ' || true)
[ -z "$left" ] || fail "left behind: $left"
umount "$root/proc"
rm -rf "$root"
printf '%d packages: installed, upgraded, removed, installed again, purged\n' "${#names[@]}"
