#!/usr/bin/env bash
# Tests the Debian package, and the RPM beside it: installs them into a fresh Debian, beside netsniff-ng too, and has
# the manual page, the completions, the unit and the package looked at by Debian's own tools:
#
#   scripts/package-test.sh [PACKAGE]      target/package/flowtop_*_amd64.deb
#
# Needs root, for chroot, and a Debian mirror the first time: the roots stay in the cache.
#
#   $FLOWTOP_CACHE/package/minimal   debootstrap's minbase: no more than every Debian has
#                         /tools     the same with man-db, mandoc, zsh, fish, systemd, lintian
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

die() { printf 'package-test: %s\n' "$*" >&2; exit 1; }
say() { printf 'package-test: %s\n' "$*" >&2; }
package=$(realpath -e "${1:-$(ls target/package/flowtop_*_"$(dpkg --print-architecture)".deb)}")
# Of the same version and architecture, where there is one.
rpm=${package%/*}/flowtop-$(dpkg-deb -f "$package" Version)-1.$(uname -m).rpm
[ -e "$rpm" ] && command -v rpm >/dev/null || rpm=
[ "$(id -u)" -eq 0 ] || die "needs root"

suite=trixie
cache=${FLOWTOP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flowtop}/package
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
log=$cache/log
quietly() { "$@" >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "'$*' failed (above)"; }; }
if [ ! -e "$cache/tools/complete" ]; then
    command -v debootstrap >/dev/null || die "needs debootstrap (Debian and Ubuntu: apt-get install debootstrap)"
    # shellcheck source=scripts/debian.sh
    . scripts/debian.sh
    say "making two roots of Debian $suite in $cache (1 GB)"
    rm -rf --one-file-system "$cache"/{minimal,tools}
    quietly debootstrap --variant=minbase --keyring="$keyring" "$suite" "$cache/minimal" "$mirror"
    cp -a "$cache/minimal" "$cache/tools"
    quietly env DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$cache/tools" apt-get -qy --no-install-recommends \
        install man-db mandoc zsh fish systemd systemd-sysv bash-completion lintian
    quietly chroot "$cache/tools" apt-get -qy download netsniff-ng
    mv "$cache"/tools/netsniff-ng_*.deb "$cache/tools/root/"
    chroot "$cache/tools" apt-get clean
    touch "$cache/tools/complete"
fi

# A throw-away copy of each: what is written lies over it, in memory, and goes with this process.
# shellcheck disable=SC2016 # for the inner shell
exec unshare --mount --pid --fork --kill-child bash -euc '
cache=$1 package=$2 rpm=$3
top=$(mktemp -d)
mount -t tmpfs tmpfs "$top"
root() {
    mkdir -p "$top/$1"/{over,work,root}
    mount -t overlay overlay -o "lowerdir=$cache/$1,upperdir=$top/$1/over,workdir=$top/$1/work" "$top/$1/root"
    mount -t proc proc "$top/$1/root/proc"
    cp "$package" "$top/$1/root/root/flowtop.deb"
}
in_root() { local name=$1; shift; env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot "$top/$name/root" "$@"; }
failed=0 passed=0
# is TEXT COMMAND…: it succeeds, and says nothing where nothing is all there is to say.
check() {
    local what=$1 output
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok     $what"
    else
        failed=$((failed + 1))
        echo "FAILED $what:"
        sed "s/^/    /" <<<"$output"
    fi
}
silent() { local output; output=$("$@" 2>&1) || { echo "$output"; return 1; }; [ -z "$output" ] || { echo "$output"; return 1; }; }

root minimal
check "installs into a fresh Debian that has nothing else" in_root minimal dpkg -i /root/flowtop.deb
check "depends on nothing" [ -z "$(in_root minimal dpkg-query -W -f "\${Depends}\${Pre-Depends}" flowtop)" ]
version=$(in_root minimal dpkg-query -W -f "\${Version}" flowtop)
check "runs" in_root minimal sh -c "[ \"\$(flowtop --version)\" = \"flowtop $version\" ]"
check "explains a filter" in_root minimal flowtop --explain-filter tcp and user root
files="/usr/bin/flowtop /usr/share/man/man8/flowtop.8bpf.gz /usr/share/bash-completion/completions/flowtop
    /usr/share/zsh/vendor-completions/_flowtop /usr/share/fish/vendor_completions.d/flowtop.fish
    /usr/lib/systemd/system/flowtop-record.service /usr/share/doc/flowtop/copyright /usr/share/doc/flowtop/NOTICES.gz
    /usr/share/doc/flowtop/README.Debian /usr/share/doc/flowtop/examples/fleet/duckdb.sql
    /usr/share/doc/flowtop/examples/prometheus/flowtop.rules.yml
    /usr/share/doc/flowtop/examples/helm/flowtop/templates/daemonset.yaml
    /usr/share/doc/flowtop/examples/publish/flowtop_publish.h"
for file in $files; do check "has $file" in_root minimal test -s "$file"; done
check "dpkg has sums of its files, and they are right" silent in_root minimal dpkg -V flowtop
check "dpkg -V finds a file that was changed" in_root minimal sh -c "
    echo >>/usr/share/doc/flowtop/README.Debian; dpkg -V flowtop | grep -q README.Debian"
# The binary itself names crates, in the places of its panics: no list of the build is asked.
crates=$(grep -aoE "registry/src/[^/]+/[A-Za-z0-9_+.-]+/" "$top/minimal/root/usr/bin/flowtop" | cut -d / -f 4 | sort -u)
notices=$(zcat "$top/minimal/root/usr/share/doc/flowtop/NOTICES.gz")
check "crates are found in the binary" [ "$(wc -l <<<"$crates")" -gt 20 ]
for crate in $crates; do
    name=$(sed -E "s/-[0-9]+\\.[0-9].*//" <<<"$crate")
    check "has the notice of $crate" grep -qxF "$name ${crate#"$name"-}" <<<"$notices"
done
check "is removed" in_root minimal dpkg --purge flowtop
check "leaves nothing behind" in_root minimal sh -c "! find / -xdev -path /proc -prune -o -name \"*flowtop*\" -print | grep -v ^/root/"

if [ -n "$rpm" ]; then
    of_rpm() { rpm --root "$top/minimal/root" "$@"; }
    check "the RPM installs into the same Debian" of_rpm -i --nodeps "$rpm"
    check "the RPM has the files of the .deb" silent sh -c "
        deb() { dpkg-deb -c $package | sed \"s,.* \\./,/,\" | grep -v /\\$ | sed -E \"s,/zsh/vendor-completions/,/zsh/site-functions/,
            s,/doc/flowtop/NOTICES.gz,/licenses/flowtop/NOTICES.gz,\" |
            grep -Ev \"/doc/flowtop/(README.Debian|copyright|changelog.gz)|/lintian/\"; }
        deb | sort >$top/of-deb; rpm -qlp $rpm | sort >$top/of-rpm; comm -23 $top/of-deb $top/of-rpm"
    check "its flowtop runs" in_root minimal sh -c "[ \"\$(flowtop --version)\" = \"flowtop $version\" ]"
    check "rpm -V finds every file as it was" silent of_rpm -V --nodeps flowtop
    check "the RPM depends on nothing but a shell" silent sh -c "rpm -qp --requires $rpm | grep -Ev \"^(/bin/sh|rpmlib)\"; true"
    check "the RPM is removed" of_rpm -e flowtop
    check "it leaves nothing behind" in_root minimal sh -c "! find / -xdev -path /proc -prune -o -name \"*flowtop*\" -print | grep -v ^/root/"
fi

root tools
check "unpacks beside netsniff-ng, which has a flowtop too" in_root tools dpkg --unpack /root/flowtop.deb
check "netsniff-ng unpacks beside it" in_root tools sh -c "dpkg --unpack --force-depends /root/netsniff-ng_*.deb"
check "both are there" in_root tools sh -c "test -x /usr/sbin/flowtop && test -x /usr/bin/flowtop && dpkg -S /usr/bin/flowtop | grep ^flowtop:"
check "is configured" in_root tools dpkg --configure flowtop
check "the record service is off" in_root tools sh -c "! systemctl is-enabled flowtop-record"
page=/usr/share/man/man8/flowtop.8bpf.gz
check "man finds the page" in_root tools sh -c "MANPAGER=cat man 8bpf flowtop | grep -q \"byte-exact\""
check "man has no complaint" silent in_root tools sh -c "MANROFFSEQ= MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z $page 2>&1 >/dev/null"
check "apropos has a line of it" in_root tools sh -c "lexgrog $page | grep flowtop"
check "mandoc has no complaint" silent in_root tools sh -c "zcat $page | mandoc -T lint -W warning"
check "zsh reads its completions" silent in_root tools zsh -n /usr/share/zsh/vendor-completions/_flowtop
check "fish completes" in_root tools fish -c "complete -C \"flowtop --units b\" | grep bits-iec"
check "fish completes after a comma" in_root tools fish -c "complete -C \"flowtop --columns rate,pi\" | grep ^rate,pid"
check "zsh completes" in_root tools zsh -fc "
    fpath=(/usr/share/zsh/vendor-completions \$fpath); autoload -Uz compinit; compinit -u -d /tmp/dump
    [[ \$_comps[flowtop] == _flowtop ]]"
check "bash completes" in_root tools bash -c "
    . /usr/share/bash-completion/bash_completion; _comp_load flowtop 2>/dev/null || _completion_loader flowtop
    COMP_WORDS=(flowtop --units bits-); COMP_CWORD=2; _flowtop flowtop bits- --units; [ \"\${COMPREPLY[*]}\" = bits-iec ]"
check "the unit names this page, not that of netsniff-ng" in_root tools sh -c "
    section=\$(sed -n \"s/^Documentation=man:flowtop(\\(.*\\))/\\1/p\" /usr/lib/systemd/system/flowtop-record.service)
    man -w \$section flowtop | grep -qx $page"
check "systemd takes the unit as it is" silent in_root tools systemd-analyze verify /usr/lib/systemd/system/flowtop-record.service
check "systemd calls it safe (2.6 of 10 or less)" in_root tools systemd-analyze security --offline=yes --threshold=26 --no-pager flowtop-record.service
in_root tools lintian --allow-root /root/flowtop.deb >"$top/lintian" 2>&1 || true
check "lintian has no complaint" silent sh -c "grep -E \"^[EW]: \" $top/lintian; true"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
' bash "$cache" "$package" "$rpm"
