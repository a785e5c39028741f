#!/usr/bin/env bash
# install_ray.sh VERSION
#
# Installs Ray as vLLM of its time asks for it below ${GSLC_TEST_CACHE:-$HOME/.cache/gslc-tests}/ray/VERSION, on Debian 12 as
# root, from pip's configured package index, in a virtual environment of /usr/bin/python3, which every user may execute and
# which may be bound to another path. Prints that folder. What is there already costs nothing.
set -euo pipefail
[ $# -eq 1 ] || { awk 'NR > 1 { if (!/^#/) exit; print }' "$0" >&2; exit 2; }
version=$1
folder=${GSLC_TEST_CACHE:-$HOME/.cache/gslc-tests}/ray/$version
mkdir -p "$folder"
exec 9> "$folder.lock"
flock 9
if [ ! -e "$folder/ready" ]; then
  {
    if ! /usr/bin/python3 -c 'import ensurepip' 2> /dev/null; then
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=600 \
        --no-install-recommends python3-venv
    fi
    /usr/bin/python3 -m venv --clear "$folder"
    "$folder/bin/pip" --disable-pip-version-check --quiet install "ray==$version"
  } >&2
  touch "$folder/ready"
fi
echo "$folder"
