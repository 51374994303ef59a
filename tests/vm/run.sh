#!/usr/bin/env bash
# Boots a stock Debian kernel in an emulated machine, runs one shell command in it
# as root, and exits with the command's status.
#
#   tests/vm/run.sh [OPTION]… -- COMMAND…       COMMAND is run by sh, as ssh does
#
#   --kernel V         5.10, 6.1, 6.12, 7.2 (the default), or SUITE/PACKAGE of Debian; fetched when missing
#   --arch A           x86_64 (the default) or aarch64; files must be of that one
#   --file HOST:GUEST  copies a file in, with the shared libraries it needs; repeatable
#   --out DIR          what the command left in /out is put in DIR
#   --append "ARGS"    more kernel command line, such as preempt=full
#   --smp N            CPUs (2), or N,maxcpus=M for M possible ones
#   --mem SIZE         memory (1G)
#   --icount           counts instructions instead of time: one CPU, repeatable
#   --timeout S        gives up after S seconds (600)
#   --log FILE         keeps the kernel's console there
#   --minimal          no tracefs, debugfs, cgroup2, bpf file system, loopback, modules
#   --quiet            nothing but the command's output
#
# Exit status: the command's; 125 when the VM failed (panic, hang, cannot start),
# with the end of its console on stderr. No KVM: this is to run anywhere.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
die() { printf 'vm: %s\n' "$*" >&2; exit 125; }

kernel=7.2 arch=x86_64 append='' smp= mem=1G icount=no limit=600 log='' out='' minimal=no quiet=no files=()
while [ $# -gt 0 ]; do
    case $1 in
    --) shift; break ;;
    --icount) icount=yes; shift; continue ;;
    --minimal) minimal=yes; shift; continue ;;
    --quiet) quiet=yes; shift; continue ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    esac
    [ $# -ge 2 ] || die "$1 needs a value, or is unknown (see --help)"
    case $1 in
    --kernel) kernel=$2 ;;
    --arch) arch=$2 ;;
    --append) append=$2 ;;
    --smp) smp=$2 ;;
    --mem) mem=$2 ;;
    --timeout) limit=$2 ;;
    --log) log=$2 ;;
    --out) out=$2 ;;
    --file) files+=("$2") ;;
    *) die "unknown option $1 (see --help)" ;;
    esac
    shift 2
done
[ $# -gt 0 ] || die "no command given: tests/vm/run.sh [OPTION]… -- COMMAND…"
command=$*

case $arch in
# cx16=off: without it QEMU 7.2's emulation of cmpxchg16b takes 6.12 down now and then.
x86_64) qemu_package=qemu-system-x86 board=(-M q35 -cpu 'max,cx16=off') console=ttyS0 stdio=ttyS1 ;;
# Pointer authentication costs as much as all the rest in emulation, and tests nothing of ours.
aarch64) qemu_package=qemu-system-arm board=(-M virt -cpu 'max,pauth=off') console=ttyAMA0 stdio=hvc0 ;;
*) die "no architecture is known as '$arch'; known are x86_64 and aarch64" ;;
esac
for tool in qemu-system-$arch:$qemu_package busybox:busybox-static cpio:cpio ldd:libc-bin timeout:coreutils; do
    command -v "${tool%%:*}" >/dev/null ||
        die "needs ${tool%%:*} (Debian and Ubuntu: apt-get install ${tool##*:}; or run 'make deps-test')"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/flowtop-vm.XXXXXX")
qemu=
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    # The whole group, which timeout made: it would not take QEMU along if killed alone.
    [ -z "$qemu" ] || kill -9 -- "-$qemu" "$qemu" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 125' INT TERM HUP
if [ -n "$log" ]; then mkdir -p "$(dirname "$log")"; else log=$work/console; fi
: >"$log"

kernel_dir=$("$here/fetch-kernel.sh" "$kernel" "$arch") || die "kernel $kernel could not be fetched (above)"
release=$(cat "$kernel_dir/release")
busybox=$kernel_dir/busybox
if [ ! -e "$busybox" ]; then
    busybox=$(command -v busybox)
    ! ldd "$busybox" >/dev/null 2>&1 || die "$busybox is not static: apt-get install busybox-static"
fi

# --- the root file system ---------------------------------------------------
root=$work/root
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,usr/lib,lib,lib64,etc,dev,proc,sys,tmp,run,root,out,var}
cp "$busybox" "$root/bin/busybox"
while read -r applet; do
    [ "$applet" != bin/busybox ] || continue
    mkdir -p "$root/${applet%/*}"
    ln -sf /bin/busybox "$root/$applet"
done < <(busybox --list-full)
ln -sf /run "$root/var/run"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
cp -r "$kernel_dir/modules/lib/modules" "$root/lib/modules"
cp "$here/init" "$root/init"
chmod +x "$root/init"

# copy_in HOST GUEST: a file and, when it is dynamically linked, its libraries
# and loader at the paths they have here.
copy_in() {
    [ -f "$1" ] || die "--file: there is no $1"
    mkdir -p "$root/$(dirname "$2")"
    # Not through the applet's link that may stand there: it leads to the host's own busybox.
    cp -L --remove-destination "$1" "$root/$2"
    local listing library
    listing=$(ldd "$1" 2>/dev/null) || return 0 # static, or no program at all
    ! grep 'not found' <<<"$listing" >&2 || die "$1 misses libraries on this machine (above)"
    while read -r library; do
        [ -e "$root$library" ] || { mkdir -p "$root${library%/*}" && cp -L "$library" "$root$library"; }
    done < <(sed -nE 's/^(.* => |[[:space:]]*)(\/[^ ]+) \(0x.*/\2/p' <<<"$listing")
}
for file in ${files[@]+"${files[@]}"}; do
    [[ $file == *:/* ]] || die "--file wants HOST:GUEST with an absolute GUEST path, not '$file'"
    copy_in "${file%%:/*}" "/${file#*:/}"
done

# A guest that stops its command before we stop the guest still hands /out back.
nonce=$$-$RANDOM$RANDOM
command_timeout=$((limit > 60 ? limit - 20 : limit))
[ $icount = no ] || command_timeout=86400 # the guest's clock is no clock there
printf 'nonce=%s minimal=%s command_timeout=%s release=%s stdio=%s\n' "$nonce" $minimal "$command_timeout" "$release" $stdio >"$root/vm.conf"
printf '%s\n' "$command" >"$root/command"
(cd "$root" && find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) >"$work/initramfs"
rm -rf "$root"

# --- the machine ------------------------------------------------------------
truncate -s 256M "$work/disk" # sparse
machine=("${board[@]}" -m "$mem" -display none -monitor none -no-reboot -nodefaults)
if [ $icount = yes ]; then
    machine+=(-accel 'tcg,thread=single' -icount 'shift=0,sleep=off' -smp "${smp:-1}")
else
    machine+=(-accel 'tcg,thread=multi' -smp "${smp:-2}")
    # On a busy host the kernel would find the emulated TSC unstable and, while both CPUs run, patch
    # its scheduler's clock: the emulator executes the breakpoint of that after it has gone (int3
    # oops), or time stands still.
    append="tsc=reliable $append"
fi
case $stdio in
hvc0) second=(-device virtio-serial-pci -device 'virtconsole,chardev=stdio' -chardev 'stdio,id=stdio,signal=off') ;;
*) second=(-serial stdio) ;;
esac
# Whether init, the first that is ours, has said that it runs.
is_up() { grep -aq 'flowtop-vm: up' "$log"; }
# Prints the seconds of processor time that QEMU has had; it is the child of timeout.
qemu_seconds() { ps -o cputimes= --ppid "$qemu" | awk '{ sum += $1 } END { print sum + 0 }'; }
# Starts it, and gives up a boot that has not reached init after a minute of processor time, or ten minutes where the
# host has none to give: QEMU's emulation hangs one in a hundred or so, before anything of ours has run. Not with
# icount, whose time is another.
boot() {
    started=$(date +%s%N)
    : >"$log"
    rm -f "$work/serial" "$work/hung"
    # The pipe: QEMU makes its stdout non-blocking, which must not be the caller's.
    mkfifo "$work/serial"
    cat <"$work/serial" &
    streamer=$!
    timeout -k 5 "$limit" qemu-system-$arch "${machine[@]}" \
        -kernel "$kernel_dir/vmlinuz" -initrd "$work/initramfs" \
        -append "console=$console loglevel=5 panic=-1 rdinit=/init $append" \
        -serial "file:$log" "${second[@]}" \
        -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" \
        </dev/null >"$work/serial" 2>"$work/qemu.err" &
    qemu=$!
    (
        for _ in $(seq 600); do
            sleep 1
            if is_up || ! kill -0 $qemu; then exit 0; fi
            [ "$(qemu_seconds)" -lt 60 ] || break
        done
        if [ $icount = no ]; then touch "$work/hung" && kill $qemu; fi
    ) >/dev/null 2>&1 &
    watch=$!
    qemu_status=0
    wait "$qemu" || qemu_status=$?
    qemu=
    kill $watch 2>/dev/null || true
    wait $watch 2>/dev/null || true
    wait "$streamer" || true
}
boot
# The emulator's fault and no other's: nothing of ours has run. Said each time.
for _ in 1 2; do
    if is_up; then break; fi
    if [ -e "$work/hung" ]; then
        trouble=hung
    elif grep -aq 'Kernel panic' "$log"; then
        trouble=panicked
    else
        break
    fi
    printf 'vm: kernel %s %s before init; once more\n' "$kernel" "$trouble" >&2
    boot
done
elapsed=$((($(date +%s%N) - started) / 1000000))

# --- what came of it ----------------------------------------------------------
failed() {
    printf 'vm: kernel %s (%s): %s, after %d.%01d s; its console ends with\n' \
        "$kernel" "$release" "$1" $((elapsed / 1000)) $((elapsed % 1000 / 100)) >&2
    { tail -n 40 "$log" | tr -d '\r' && cat "$work/qemu.err"; } | sed 's/^/    /' >&2
    exit 125
}
header=$(head -c 4096 "$work/disk" | tr -d '\0')
if [ -n "$out" ] && [[ $header == "flowtop-vm $nonce exit="* ]]; then
    mkdir -p "$out"
    tar -xf - --no-same-owner --no-overwrite-dir -C "$out" < <(tail -c +4097 "$work/disk")
fi
case $header in
"flowtop-vm $nonce exit="*) status=${header##*=} ;;
*)
    if [ $qemu_status -ge 124 ]; then failed "did not end in $limit s"; fi
    if [ $qemu_status -ne 0 ]; then failed "QEMU failed with status $qemu_status"; fi
    failed "ended without a result (a panic?)"
    ;;
esac
# A kernel that complained is worth a line even when the command was happy.
if grep -aqE 'BUG:|WARNING:|Oops|Call Trace:|rcu_sched|soft lockup' "$log"; then
    printf 'vm: the kernel complained:\n' >&2
    grep -aE -m 3 -A 12 'BUG:|WARNING:|Oops|rcu_sched|soft lockup' "$log" | tr -d '\r' | sed 's/^/    /' >&2
fi
[ $quiet = yes ] || printf 'vm: %s, exit %d, %d.%01d s\n' "$release" "$status" $((elapsed / 1000)) $((elapsed % 1000 / 100)) >&2
exit "$status"
