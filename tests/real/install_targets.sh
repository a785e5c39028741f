#!/usr/bin/env bash
# install_targets.sh [PART...]
#
# Installs what the real-thing tests of the targets use, on Debian 12 as root, from Debian's archive alone.
# Everything that is not a package of the running Debian lies below ${GSLC_TEST_CACHE:-$HOME/.cache/gslc-tests}/targets:
#   compose-trixie, compose-sid  compose v2 of Debian 13 and sid, unpacked (its package needs nothing but libc)
#   systemd-trixie, systemd-sid  minimal trees with systemd 257 and the newest systemd, to boot; sid's holds llama.cpp too
#   hcl/gslc-hcl                 a reader of HCL2 built from Debian's package of HashiCorp's library
# Parts: packages compose hcl trees (default: all). A part that is there already costs nothing.
set -euo pipefail
cache=${GSLC_TEST_CACHE:-$HOME/.cache/gslc-tests}/targets
here=$(cd "$(dirname "$0")" && pwd)
mirror=$(awk '/^URIs:/{print $2; exit} /^deb /{print $2; exit}' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true)
mirror=${mirror:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
apt_opts=(-y -qq -o DPkg::Lock::Timeout=600 --no-install-recommends)
mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9

packages() {
  local wanted=(systemd systemd-container debootstrap curl docker.io docker-compose iptables iproute2
                busybox-static procps python3-minimal golang-go golang-github-hashicorp-hcl-v2-dev ca-certificates)
  local missing=() name
  for name in "${wanted[@]}"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q '^install ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return
  # services of the machine that runs the tests must not start: the daemons are started by the tests themselves
  local policy=/usr/sbin/policy-rc.d made=no
  if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; made=yes; fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install "${apt_opts[@]}" "${missing[@]}"
  [ $made = no ] || rm -f $policy
}

# A private apt state for another suite, so that the machine's own sources stay as they are.
suite_download() { # SUITE PACKAGE FOLDER
  local state=$cache/apt-$1
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$3"
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$1" > "$state/sources.list"
  : > "$state/status"
  local own=(-qq -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
             -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache"
             -o APT::Sandbox::User=root)
  apt-get "${own[@]}" update
  (cd "$3" && apt-get "${own[@]}" download "$2")
}

compose() {
  local suite folder
  for suite in trixie sid; do
    folder=$cache/compose-$suite
    [ -x "$folder/docker-compose" ] && continue
    rm -rf "$folder.new"
    suite_download "$suite" docker-compose "$folder.new"
    dpkg-deb -x "$folder.new"/docker-compose_*.deb "$folder.new/root"
    cp "$folder.new/root/usr/libexec/docker/cli-plugins/docker-compose" "$folder.new/docker-compose"
    rm -rf "$folder.new/root" "$folder.new"/*.deb "$folder"
    mv "$folder.new" "$folder"
  done
}

hcl() {
  local folder=$cache/hcl
  if [ -x "$folder/gslc-hcl" ] && [ "$folder/gslc-hcl" -nt "$here/hcl/main.go" ]; then return; fi
  mkdir -p "$folder/src/gslc-hcl"
  cp "$here/hcl/main.go" "$folder/src/gslc-hcl/main.go"
  # Debian installs Go libraries below /usr/share/gocode, to be used without modules
  (cd "$folder/src/gslc-hcl" && GO111MODULE=off GOFLAGS= GOPATH="$folder:/usr/share/gocode" GOCACHE="$folder/gocache" \
     go build -o "$folder/gslc-hcl" .)
}

trees() {
  local suite folder packages
  for suite in trixie sid; do
    folder=$cache/systemd-$suite
    packages=systemd,systemd-sysv,dbus,curl,iproute2,python3,ca-certificates
    # sid has llama.cpp: the newest systemd is booted together with a real engine
    [ $suite = trixie ] || packages+=,llama.cpp-tools,llama.cpp-tools-extra,libggml0-backend-rpc
    [ "$(cat "$folder/complete" 2> /dev/null)" = "$packages" ] && continue
    rm -rf "$folder"
    debootstrap --variant=minbase --include="$packages" --keyring="$keyring" "$suite" "$folder" "$mirror" \
      > "$cache/debootstrap-$suite.log" 2>&1 || { tail -n 20 "$cache/debootstrap-$suite.log" >&2; exit 1; }
    rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/usr/share/{doc,man,locale} "$folder"/var/lib/apt/lists/*
    echo "$packages" > "$folder/complete"
  done
}

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(packages compose hcl trees)
for part in "${parts[@]}"; do
  case "$part" in
    packages | compose | hcl | trees) "$part" ;;
    *) echo "install_targets.sh: unknown part $part" >&2; exit 2 ;;
  esac
done
