#!/usr/bin/env bash
# install_voxbox.sh
#
# Installs vox-box 0.0.21 and two folders with the same tiny random whisper below
# ${GSLC_TEST_CACHE:-$HOME/.cache/gslc-tests}/voxbox, on Debian 12 as root, from pip's configured package index:
#   venv                        run by /usr/bin/python3, which every user may execute; it may be bound to another path
#   models/faster-whisper-tiny  a name by which vox-box tells faster-whisper, and
#   models/tiny-speech          one by which it does not
# Prints that folder. What is there already costs nothing.
#
# A plain `pip install vox-box` takes several GB more: what CosyVoice, Dia and FunASR want, which don't run here.
set -euo pipefail
cache=${GSLC_TEST_CACHE:-$HOME/.cache/gslc-tests}/voxbox
here=$(cd "$(dirname "$0")" && pwd)
version=0.0.21
mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9
wanted="$version $(sha256sum "$here/make_whisper.py" | cut -d ' ' -f 1)"
if [ "$(cat "$cache/ready" 2> /dev/null)" = "$wanted" ]; then
  echo "$cache"
  exit 0
fi

venv() {
  [ "$(cat "$cache/venv/version" 2> /dev/null)" = "$version" ] && return
  if ! /usr/bin/python3 -c 'import ensurepip' 2> /dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=600 \
      --no-install-recommends python3-venv
  fi
  rm -rf "$cache/venv"
  /usr/bin/python3 -m venv "$cache/venv"
  local pip=("$cache/venv/bin/pip" --disable-pip-version-check --quiet install)
  "${pip[@]}" torch==2.13.0
  "${pip[@]}" faster-whisper==1.0.3 'fastapi>=0.115.5,<0.116' 'uvicorn>=0.32,<0.33' \
    'python-multipart>=0.0.17,<0.0.19' httpx 'huggingface-hub>=0.32,<1' 'modelscope>=1.20.1,<2' pyyaml \
    'transformers>=4.47.1,<5' soundfile 'numpy>=2.2.4,<3' scipy
  # vox-box imports all its backends when it starts; torchaudio's compiled part wants CUDA's libraries and isn't called
  "${pip[@]}" --no-deps 'torchaudio>=2.5.1,<3'
  "${pip[@]}" --no-deps "vox-box==$version"
  find "$cache/venv/lib" -path '*/torchaudio/*' -name '*.so' -delete
  echo "$version" > "$cache/venv/version"
}

models() {
  local made=$cache/models.new
  rm -rf "$made"
  mkdir -p "$made"
  "$cache/venv/bin/python" "$here/make_whisper.py" "$made/transformers"
  "$cache/venv/bin/ct2-transformers-converter" --model "$made/transformers" --output_dir "$made/faster-whisper-tiny" \
    --copy_files tokenizer.json preprocessor_config.json
  rm -rf "$made/transformers" "$cache/models"
  cp -r "$made/faster-whisper-tiny" "$made/tiny-speech"
  chmod -R go+rX "$made"
  mv "$made" "$cache/models"
}

{
  venv
  models
} >&2
echo "$wanted" > "$cache/ready"
echo "$cache"
