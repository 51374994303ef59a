#!/usr/bin/env bash
# Installs what is missing to build or to test flowtop, or to measure its peers
# beside it, and says so; does nothing, quickly, when all of it is there.
#
#   scripts/deps.sh build|test|peers
#
# Rust itself is not installed: which toolchain is the user's choice.
set -euo pipefail

what=${1:-build}
rust_wanted=1.88
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin
die() { printf '%s\n' "$@" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- Rust ---------------------------------------------------------------------
if ! have cargo; then
    die "flowtop needs Rust $rust_wanted or newer, and there is no cargo on this machine." \
        "  rustup (https://rustup.rs) installs it for you alone;" \
        "  a distribution's packages will do if new enough: apt-get install cargo rustfmt rust-clippy"
fi
rust=$(cargo --version | cut -d' ' -f2)
if [ "$(printf '%s\n' "$rust_wanted" "$rust" | sort -V | head -n 1)" != "$rust_wanted" ]; then
    die "flowtop needs Rust $rust_wanted or newer; this is $rust." "  With rustup: rustup update stable"
fi
if [ "$what" = test ] && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
    echo "Installing, to test flowtop: rustfmt, clippy"
    { have rustup && rustup -q component add rustfmt clippy; } ||
        die "The checks need rustfmt and clippy." "  apt-get install rustfmt rust-clippy, or use rustup"
fi

# --- everything else ----------------------------------------------------------
# PRESENT? (a command, or a file) and its package in Debian, Fedora, Arch, openSUSE, Alpine.
multiarch=/usr/include/$(uname -m)-linux-gnu
build=(
    "clang              clang                 clang            clang         clang          clang"
    "cc                 gcc                   gcc              gcc           gcc            gcc"
    "make               make                  make             make          make           make"
    "pkg-config         pkg-config            pkgconf-pkg-config pkgconf     pkg-config     pkgconf"
    "libelf.h           libelf-dev            elfutils-libelf-devel libelf   libelf-devel   elfutils-dev"
    "zlib.h             zlib1g-dev            zlib-devel       zlib          zlib-devel     zlib-dev"
    "stdio.h            libc6-dev             glibc-devel      glibc         glibc-devel    musl-dev"
    "linux/bpf.h        linux-libc-dev        kernel-headers   linux-api-headers linux-glibc-devel linux-headers"
)
test=(
    "clang-format       clang-format          clang-tools-extra clang        clang-tools    clang-extra-tools"
    "qemu-system-x86_64 qemu-system-x86       qemu-system-x86-core qemu-system-x86 qemu-x86 qemu-system-x86_64"
    "busybox            busybox-static        busybox          busybox       busybox-static busybox-static"
    "podman             podman                podman           podman        podman         podman"
    "runc               runc                  runc             runc          runc           runc"
    "cpio               cpio                  cpio             cpio          cpio           cpio"
    "ip                 iproute2              iproute          iproute2      iproute2       iproute2"
    "modprobe           kmod                  kmod             kmod          kmod           kmod"
    "bpftool            bpftool               bpftool          bpf           bpftool        bpftool"
    "xz                 xz-utils              xz               xz            xz             xz"
    "tmux               tmux                  tmux             tmux          tmux           tmux"
    "column             bsdextrautils         util-linux       util-linux    util-linux     util-linux-misc"
    "jq                 jq                    jq               jq            jq             jq"
    "nsd                nsd                   nsd              nsd           nsd            nsd"
    "setcap             libcap2-bin           libcap           libcap        libcap-progs   libcap-utils"
    "sudo               sudo                  sudo             sudo          sudo           sudo"
    "setpriv            util-linux            util-linux       util-linux    util-linux     setpriv"
    "prometheus         prometheus            golang-github-prometheus prometheus golang-github-prometheus-prometheus prometheus"
    "promtool           prometheus            golang-github-prometheus prometheus golang-github-prometheus-prometheus prometheus"
    "ensurepip          python3-venv          python3          python        python3       python3"
    "rsyslogd           rsyslog               rsyslog          rsyslog       rsyslog        rsyslog"
    "nfcapd             nfdump                nfdump           nfdump        nfdump         nfdump"
    "nfacctd            pmacct                pmacct           pmacct        -              pmacct"
    "mandoc             mandoc                mandoc           mandoc        mandoc         mandoc"
    "dpkg-deb           dpkg                  dpkg             dpkg          dpkg           dpkg"
    "apt-get            apt                   apt              apt           -              -"
    "debian-archive-keyring.* debian-archive-keyring debian-keyring debian-archive-keyring - debian-archive-keyring"
)
# The peers of benches/load.sh, and what the one of them that cargo builds needs.
peers=(
    "nethogs            nethogs               nethogs          nethogs       nethogs        nethogs"
    "iftop              iftop                 iftop            iftop         iftop          iftop"
    "tcptop             libbpf-tools          libbpf-tools     libbpf-tools  libbpf-tools   -"
    "pcap.h             libpcap-dev           libpcap-devel    libpcap       libpcap-devel  libpcap-dev"
)
package=(
    "rpmbuild           rpm                   rpm-build        rpm-tools     rpm-build      rpm"
    "debootstrap        debootstrap           debootstrap      debootstrap   debootstrap    debootstrap"
    "qemu-system-aarch64 qemu-system-arm      qemu-system-aarch64-core qemu-system-aarch64 qemu-arm qemu-system-aarch64"
)
case $what in
build) wanted=("${build[@]}") why="to build flowtop" ;;
test) wanted=("${build[@]}" "${test[@]}") why="to build and test flowtop" ;;
peers) wanted=("${build[@]}" "${test[@]}" "${peers[@]}") why="to measure flowtop beside its peers" ;;
package) wanted=("${build[@]}" "${test[@]}" "${package[@]}") why="to package flowtop, and to build and test it for aarch64" ;;
*) die "usage: scripts/deps.sh build|test|peers|package" ;;
esac

present() {
    case $1 in
    *.h) [ -e "/usr/include/$1" ] || [ -e "$multiarch/$1" ] ;;
    debian-archive-keyring*) compgen -G "/usr/share/keyrings/$1" >/dev/null ;;
    # For scripts/engines.sh: no distribution has those.
    ensurepip) python3 -c 'import ensurepip' 2>/dev/null ;;
    # A busybox that needs libraries would not run in the VM.
    busybox) have busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1 ;;
    *) have "$1" ;;
    esac
}

missing=()
for line in "${wanted[@]}"; do
    present "${line%% *}" || missing+=("$line")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

column=0
for manager in apt-get dnf pacman zypper apk; do
    column=$((column + 1))
    if have "$manager" && { [ "$manager" != apt-get ] || [ -e /etc/debian_version ]; }; then break; fi
    manager=
done
[ -n "$manager" ] || column=1
packages=()
for line in "${missing[@]}"; do
    read -ra field <<<"$line"
    [ "${field[$column]}" = - ] || packages+=("${field[$column]}")
done
# Ubuntu had no package of bpftool's own before 25.04.
if [ "$manager" = apt-get ] && ! have bpftool && grep -qs '^ID=ubuntu' /etc/os-release; then
    for i in "${!packages[@]}"; do
        [ "${packages[$i]}" != bpftool ] || packages[i]="linux-tools-common linux-tools-generic"
    done
    read -ra packages <<<"${packages[*]}"
fi

case $manager in
apt-get) install="apt-get install -y --no-install-recommends" ;;
dnf) install="dnf install -y" ;;
pacman) install="pacman -S --needed --noconfirm" ;;
zypper) install="zypper --non-interactive install" ;;
apk) install="apk add" ;;
*) die "Missing $why: ${packages[*]} (Debian's names), and this machine has no package manager I know." ;;
esac

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    have sudo || die "Missing $why: ${packages[*]}" "  Not root and no sudo here; as root, run: $install ${packages[*]}"
    as_root=(sudo)
fi
if [ "$manager" = apt-get ]; then as_root+=(env DEBIAN_FRONTEND=noninteractive); fi

printf 'Installing, %s: %s\n' "$why" "${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { "${as_root[@]}" "$@" >"$log" 2>&1; }
read -ra command <<<"$install"
refresh() { if [ "$manager" = apt-get ]; then run apt-get update; fi; }
# Package lists may be absent or old: then refresh them, once.
run "${command[@]}" "${packages[@]}" || { refresh && run "${command[@]}" "${packages[@]}"; } || {
    tail -n 20 "$log" >&2
    die "'$install ${packages[*]}' failed (above)." "  Install what is missing by hand, then run make again."
}
# Debian starts the servers it installs. Here they are for tests, which start them themselves.
for server in nsd prometheus rsyslog nfdump; do
    if [[ " ${packages[*]} " == *" $server "* ]] && [ -d /run/systemd/system ]; then
        run systemctl disable --now "$server" || true
    fi
done
