#!/usr/bin/env bash
# Makes Debian packages of programs that are built already. Same input, same bytes.
#
#   e2e/packages.sh PROGRAMS ARCHITECTURE OUT [VERSION]
#
#   PROGRAMS       directory of tandem, tandem-server, ...; packages whose programs are not there are left out
#   ARCHITECTURE   as Debian calls it
#   VERSION        the workspace's if not said
#
# What is in a package is said by debian/ of its crate: `control`, `install` (a line for each file),
# `conffiles`, and the maintainer scripts, in which `#SYSTEMD UNIT` becomes e2e/debian/SCRIPT.systemd.
# DEBFULLNAME and DEBEMAIL say who answers for the packages, SOURCE_DATE_EPOCH when they were made.
set -euo pipefail
shopt -s nullglob
umask 022
cd "$(dirname "$0")/.."
programs=$(cd "$1" && pwd)
architecture=$2
mkdir -p "$3"
out=$(cd "$3" && pwd)
version=${4:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)}
export DPKG_DEB_COMPRESSOR_TYPE=${DPKG_DEB_COMPRESSOR_TYPE:-xz}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || date +%s)}
maintainer="${DEBFULLNAME:-Tandem} <${DEBEMAIL:-tandem@packages.invalid}>"
# The packages of this machine whose code is linked into static programs.
libc=(libc6-dev-"$architecture"-cross)
[ "$architecture" != "$(dpkg --print-architecture)" ] || libc=(libc6-dev musl-dev)
work=$(mktemp -d "${TMPDIR:-/tmp}/tandem-packages.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The lines of crate $1's list as MODE, FILE and place below the root, separated by tabs.
files_of() {
    local mode source destination file
    while read -r mode source destination; do
        [ "${mode#\#}" = "$mode" ] || continue
        for file in ${source/@PROGRAMS@/"$programs"}; do
            case $destination in
                */) printf '%s\t%s\t%s\n' "$mode" "$file" "$destination${file##*/}" ;;
                *) printf '%s\t%s\t%s\n' "$mode" "$file" "$destination" ;;
            esac
        done
    done < "$1/debian/install"
}

# Whether every program that crate $1 packages is there.
has_programs() {
    local program
    while read -r program; do
        [ -x "$programs/$program" ] || return 1
    done < <(sed -n 's,^[0-7]* @PROGRAMS@/\([^ ]*\) .*,\1,p' "$1/debian/install")
}

# The maintainer script $1 with the parts for its unit filled in.
filled() {
    local line word unit on_upgrade
    while IFS= read -r line; do
        read -r word unit on_upgrade <<< "$line"
        if [ "$word" = '#SYSTEMD' ]; then
            sed "s/@UNIT@/$unit/g; s/@ON_UPGRADE@/${on_upgrade:-start}/g" "e2e/debian/${1##*/}.systemd"
        else
            printf '%s\n' "$line"
        fi
    done < "$1"
}

copyright() {
    cat << TXT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Tandem
Comment: Statically linked in are the crates of THIRD-PARTY beside this file, with their licences, the
 standard library of Rust (MIT or Apache-2.0), and the GNU C library (LGPL-2.1-or-later), whose
 source is that of Debian.

Files: *
Copyright: 2026 the authors of Tandem
License: Apache-2.0
 On Debian systems the text of the licence is in /usr/share/common-licenses/Apache-2.0.
TXT
}

# What the programs below $1 need of shared libraries, as in Depends; nothing if they are static.
libraries() {
    mkdir -p "$work/libraries/debian"
    printf 'Source: tandem\n\nPackage: tandem\nArchitecture: any\n' > "$work/libraries/debian/control"
    (cd "$work/libraries" && dpkg-shlibdeps -O "$1"/usr/bin/* 2> /dev/null) | sed -n 's/^shlibs:Depends=//p'
}

package() {
    local crate=$1 name root doc mode file place script needs depends built_using=
    name=$(sed -n 's/^Package: //p' "$crate/debian/control")
    root=$work/$name
    doc=$root/usr/share/doc/$name
    while IFS=$'\t' read -r mode file place; do
        install -D -m "$mode" "$file" "$root/$place"
    done < <(files_of "$crate")
    [ ! -d "$root/usr/share/man" ] || find "$root/usr/share/man" -type f -exec gzip -9n {} +

    mkdir -p "$doc"
    copyright > "$doc/copyright"
    python3 e2e/bill.py licences "$crate" "$architecture" | gzip -9n > "$doc/THIRD-PARTY.gz"
    {
        printf '%s (%s) unstable; urgency=medium\n\n' "$name" "$version"
        printf '  * What has changed is in CHANGELOG.md of the source.\n\n'
        printf ' -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
    } | gzip -9n > "$doc/changelog.gz"
    needs=$(libraries "$root")
    if [ -z "$needs" ]; then
        # shellcheck disable=SC2016 # dpkg expands it
        built_using=$(dpkg-query -W -f '${source:Package} (= ${source:Version})\n' "${libc[@]}" 2> /dev/null | paste -sd , || true)
        mkdir -p "$root/usr/share/lintian/overrides"
        {
            echo '# The same program for every release of the system, which depends on nothing of it.'
            printf '%s: %s *\n' "$name" statically-linked-binary "$name" shared-library-lacks-prerequisites
        } > "$root/usr/share/lintian/overrides/$name"
    fi

    mkdir "$root/DEBIAN"
    [ ! -e "$crate/debian/conffiles" ] || cp "$crate/debian/conffiles" "$root/DEBIAN/"
    for script in "$crate"/debian/{postinst,prerm,postrm}; do
        [ -e "$script" ] || continue
        filled "$script" > "$root/DEBIAN/${script##*/}"
        chmod 755 "$root/DEBIAN/${script##*/}"
    done
    (cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) \
        > "$root/DEBIAN/md5sums"
    depends=$(printf '%s\n' "$needs" "$(sed -n 's/^Depends: //p' "$crate/debian/control")" | sed '/^$/d' | paste -sd , | sed "s|,\([^ ]\)|, \1|g")
    sed -e '/^Depends:/d' -e "/^Package:/a Version: $version\nArchitecture: $architecture\nMaintainer: $maintainer" \
        -e "/^Package:/a Installed-Size: $(du -k -s --apparent-size "$root" | cut -f 1)" \
        ${built_using:+-e "/^Package:/a Built-Using: $built_using"} \
        -e '/^Package:/a Priority: optional' \
        ${depends:+-e "/^Package:/a Depends: $depends"} \
        "$crate/debian/control" > "$root/DEBIAN/control"
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group --build "$root" "$out/${name}_${version}_$architecture.deb" > /dev/null
    printf '%s\n' "$out/${name}_${version}_$architecture.deb"
}

for control in */debian/control; do
    crate=${control%%/*}
    if has_programs "$crate"; then
        package "$crate"
    else
        printf 'left out, as its programs are not in %s: %s\n' "$programs" "$crate" >&2
    fi
done
