#!/usr/bin/env bash
# install_llama.sh
#
# Installs llama.cpp's own server and RPC server (Debian sid, llama.cpp 0.7.0, build 11669) as a minimal tree below
# ${GSLC_TEST_CACHE:-$HOME/.cache/gslc-tests}/llama, on Debian 12 as root, from Debian's archive alone. They need a newer
# C library than Debian 12 has, so they are run by chroot. A tree that is there already costs nothing.
set -euo pipefail
cache=${GSLC_TEST_CACHE:-$HOME/.cache/gslc-tests}/llama
root=$cache/sid
mirror=$(awk '/^URIs:/{print $2; exit} /^deb /{print $2; exit}' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true)
mirror=${mirror:-http://deb.debian.org/debian}
mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9
if [ -e "$cache/ready" ]; then
  exit 0
fi
if ! command -v debootstrap > /dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=600 --no-install-recommends debootstrap
fi
rm -rf "$root"
debootstrap --variant=minbase --include=llama.cpp-tools,llama.cpp-tools-extra,libggml0-backend-rpc sid "$root" "$mirror"
chroot "$root" llama-server --version 2>&1 | sed -n 's/^version: //p' > "$cache/version"
touch "$cache/ready"
