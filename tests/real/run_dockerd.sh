#!/usr/bin/env bash
# run_dockerd.sh IMAGES SCRIPT
#
# Starts Debian's dockerd in namespaces of its own (network, mounts, processes), makes one image of every folder in IMAGES
# (a root file system; NAME/image holds the image's name, NAME/entrypoint its entry point as JSON), runs the bash script
# SCRIPT against it and ends with its status. No registry is reached, and nothing of the machine's own docker is touched.
# A stand-in for NVIDIA's container hook lets GPU reservations start; what each container was given stands in $HOOK_LOG.
# /etc/gslc, /var/lib/gslc and /srv are empty and the script's own.
#
#   SECONDS_ALLOWED   for the whole run (240)
# Needs root and Debian's docker.io iptables iproute2.
set -euo pipefail
[ $# -eq 2 ] || { awk 'NR > 1 { if (!/^#/) exit; print }' "$0" >&2; exit 2; }
if [ "${INSIDE:-}" != yes ]; then
  images=$(realpath "$1") script=$(realpath "$2")
  work=$(mktemp -d -t gslc-dockerd-XXXXXX)
  status=0
  INSIDE=yes WORK=$work timeout -k 20 "${SECONDS_ALLOWED:-240}" unshare --net --mount --propagation private \
    --pid --fork --kill-child --mount-proc -- "$0" "$images" "$script" || status=$?
  find /sys/fs/cgroup -mindepth 2 -maxdepth 3 -type d -name "$(basename "$work")*" 2> /dev/null |
    while read -r folder; do find "$folder" -depth -type d -exec rmdir {} + 2> /dev/null || true; done
  rm -rf "$work"
  exit $status
fi
images=$1 script=$2
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /etc/gslc /var/lib/gslc
for folder in /etc/gslc /var/lib/gslc /srv; do mount -t tmpfs tmpfs $folder; done
unset DOCKER_HOST DOCKER_CONTEXT
export HOME=$WORK DOCKER_CONFIG=$WORK/.docker HOOK_LOG=$WORK/hook.log PATH=$WORK/bin:/usr/sbin:/usr/bin:/sbin:/bin
: > "$HOOK_LOG"
mkdir -p "$WORK/bin"
cat > "$WORK/bin/nvidia-container-runtime-hook" << 'H'
#!/bin/sh
bundle=$(sed -n 's/.*"bundle":"\([^"]*\)".*/\1/p')
echo "$1 ${bundle##*/} $(grep -o 'NVIDIA_[A-Z_]*=[^"]*' "$bundle/config.json" | sort -u | tr '\n' ' ')" >> "${0%/bin/*}/hook.log"
H
chmod +x "$WORK/bin/nvidia-container-runtime-hook"
dockerd --data-root "$WORK/root" --exec-root "$WORK/exec" --pidfile "$WORK/pid" --storage-driver="${STORAGE:-overlay2}" \
  --cgroup-parent="/$(basename "$WORK")" -H unix:///run/docker.sock > "$WORK/dockerd.log" 2>&1 &
daemon=$!
up=no
for _ in $(seq 120); do
  if /usr/bin/docker version > /dev/null 2>&1; then up=yes; break; fi
  kill -0 $daemon 2> /dev/null || break
  sleep 0.25
done
[ $up = yes ] || { tail -n 10 "$WORK/dockerd.log" >&2; exit 125; }
for folder in "$images"/*/; do
  tar -C "$folder" --exclude=./image --exclude=./entrypoint -c . |
    /usr/bin/docker import -c "ENTRYPOINT $(cat "$folder/entrypoint" 2> /dev/null || echo '[]')" - "$(cat "$folder/image")" > /dev/null
done
status=0
bash "$script" || status=$?
kill $daemon 2> /dev/null || true
wait $daemon 2> /dev/null || true
exit $status
