#!/usr/bin/env bash
# boot_systemd.sh FILES SCRIPT
#
# Boots systemd as PID 1 of a container over a throw-away overlay of a root file system, with the tree FILES copied over it,
# runs the bash script SCRIPT as root when the boot is done, prints what SCRIPT prints and ends with its exit status.
# Nothing that is written inside survives, and what the machine itself has enabled is not started.
#
#   ROOTFS   another root tree than / (a debootstrap folder)      SECONDS_ALLOWED   for the whole run (180)
#   NETNS    a network namespace to run in, by name               JOURNAL           a file that gets the journal
#   BINDS    folders of this machine, `from:to from:to` (neither with blanks), which the inside may write
# Needs root and Debian's systemd-container.
set -euo pipefail
[ $# -eq 2 ] || { awk 'NR > 1 { if (!/^#/) exit; print }' "$0" >&2; exit 2; }
files=$(realpath "$1") script=$(realpath "$2")
name=gslc-test-$$
work=$(mktemp -d -t "$name.XXXX")
groups=()
for folder in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
  [ -e "$folder/cgroup.procs" ] && groups+=("$folder")
done
cleanup() {
  status=$?
  for folder in "${groups[@]}"; do
    [ -d "$folder/$name" ] && find "$folder/$name" -depth -type d -exec rmdir {} + 2> /dev/null
  done
  rm -rf "$work" "/run/systemd/nspawn/propagate/$name"
  exit $status
}
trap cleanup EXIT
mkdir -p "$work/in" "$work/out" "$work/overlay"
cp "$script" "$work/in/script"
cat > "$work/in/runner" << 'R'
#!/bin/bash
export SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
bash /run/gslc-in/script > /run/gslc-out/stdout 2> /run/gslc-out/stderr < /dev/null
status=$?
journalctl --no-pager -o short-monotonic -b > /run/gslc-out/journal 2> /dev/null
echo $status > /run/gslc-out/status
systemctl exit $status --force 2> /dev/null || systemctl poweroff --force --force
R
cat > "$work/in/gslc-check.service" << 'U'
[Unit]
After=basic.target dbus.socket
Wants=basic.target dbus.socket
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/bash /run/gslc-in/runner
U
network=(--private-network)
[ -z "${NETNS:-}" ] || network=("--network-namespace-path=/run/netns/$NETNS")
binds=()
for pair in ${BINDS:-}; do binds+=("--bind=$pair"); done
set +e
(
  for folder in "${groups[@]}"; do mkdir -p "$folder/$name" && echo $BASHPID > "$folder/$name/cgroup.procs"; done
  export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
  # nspawn refuses an overlay over /, so it is made here, in a mount namespace that takes it away again
  exec timeout -k 10 "${SECONDS_ALLOWED:-180}" unshare --mount --propagation private -- bash -euc '
    overlay=$1 lower=$2 files=$3 unit=$4; shift 4
    mount -t tmpfs -o mode=755 tmpfs "$overlay"
    mkdir "$overlay"/{upper,work,root}
    mount -t overlay overlay -o lowerdir="$lower",upperdir="$overlay/upper",workdir="$overlay/work" "$overlay/root"
    rm -rf "$overlay/root/etc/systemd/system"
    mkdir -p "$overlay/root/etc/systemd/system"
    cp -a --no-preserve=ownership "$files/." "$overlay/root/"
    cp "$unit" "$overlay/root/etc/systemd/system/"
    exec systemd-nspawn "$@"' - "$work/overlay" "${ROOTFS:-/}" "$files" "$work/in/gslc-check.service" \
    --quiet --register=no --keep-unit --boot -M "$name" --console=read-only -D "$work/overlay/root" \
    --bind-ro="$work/in:/run/gslc-in" --bind="$work/out:/run/gslc-out" --resolv-conf=off --timezone=off --link-journal=no \
    "${network[@]}" "${binds[@]}" systemd.unit=gslc-check.service systemd.firstboot=off systemd.mask=systemd-networkd.socket \
    systemd.show_status=0 systemd.log_level=warning
) < /dev/null > "$work/console" 2>&1
booted=$?
set -e
cat "$work/out/stdout" 2> /dev/null || true
cat "$work/out/stderr" >&2 2> /dev/null || true
[ -z "${JOURNAL:-}" ] || cp "$work/out/journal" "$JOURNAL" 2> /dev/null || true
if [ -s "$work/out/status" ]; then exit "$(cat "$work/out/status")"; fi
echo "boot_systemd.sh: no result (nspawn ended with $booted)" >&2
tail -n 20 "$work/console" >&2
exit 125
