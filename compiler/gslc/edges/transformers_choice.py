"""Which files of a transformers repository vLLM needs: one set of weights, configuration, tokenizer, remote code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from posixpath import basename, dirname

from gslc.edges.hub import HubError, HubFile, Listing

INDEX = "model.safetensors.index.json"
PICKLE_INDEX = "pytorch_model.bin.index.json"
_SUPPORT = (".json", ".txt", ".jinja", ".model", ".tiktoken", ".py", ".vocab", ".bpe")
_NEVER = frozenset({"README.md", ".gitattributes", "training_args.bin", "optimizer.bin", "scheduler.bin"})
_PICKLE = re.compile(r"pytorch_model.*\.bin\Z|model\.bin\Z|.*\.pth\Z|.*\.pt\Z")
# A model in another precision beside the main one (diffusers and onnx habits): model.fp16.safetensors.
_VARIANT = re.compile(r"model\.[A-Za-z0-9_]+(?:-\d{5}-of-\d{5})?\.safetensors\Z")
# Modules of sentence-transformers stand in numbered folders: 1_Pooling, 2_Dense.
_MODULE = re.compile(r"\d_[A-Za-z]+\Z")


def weight_files(listing: Listing, weight_map: Mapping[str, object] | None) -> tuple[HubFile, ...]:
    """The safetensors files to load; () where there are none. `weight_map` is the index's, None without an index.

    HubError when the index names a file that isn't there.
    """
    if weight_map is not None:
        return tuple(_present(listing, name) for name in sorted({str(name) for name in weight_map.values()}))
    root = [file for file in listing.files if "/" not in file.path and file.path.endswith(".safetensors")]
    single = [file for file in root if file.path == "model.safetensors"]
    if single:
        return tuple(single)
    plain = [file for file in root if not file.path.startswith("consolidated") and not _VARIANT.match(file.path)]
    adapters = {"adapter_model.safetensors"}
    kept = [file for file in plain if file.path not in adapters]
    return tuple(kept or [file for file in root if file.path.startswith("consolidated")])


def pickle_files(listing: Listing, weight_map: Mapping[str, object] | None) -> tuple[HubFile, ...]:
    """The pickled weights, for a repository that has nothing else."""
    if weight_map is not None:
        return tuple(_present(listing, name) for name in sorted({str(name) for name in weight_map.values()}))
    root = [file for file in listing.files if "/" not in file.path and file.path not in _NEVER]
    named = [file for file in root if file.path.startswith("pytorch_model") and file.path.endswith(".bin")]
    return tuple(named or [file for file in root if _PICKLE.match(file.path)])


def _present(listing: Listing, name: str) -> HubFile:
    file = listing.file(name)
    if file is None:
        message = f"{listing.source}: the weight index names {name[:80]}, which isn't there"
        raise HubError("GS258", message, "the repository is incomplete: choose another revision or repository")
    return file


def support_files(listing: Listing) -> tuple[HubFile, ...]:
    """Configuration, tokenizer, templates and remote code, from the root and from sentence-transformers' modules."""
    return tuple(file for file in listing.files if _is_support(file.path))


def _is_support(path: str) -> bool:
    name, folder = basename(path), dirname(path)
    if name in _NEVER or name.startswith("."):
        return False
    if _MODULE.match(folder):
        return name.endswith((*_SUPPORT, ".safetensors"))
    if folder and folder != "additional_chat_templates":
        return False
    return name.endswith(_SUPPORT) and not name.endswith((".bin.index.json", ".safetensors.index.json"))


def served_files(listing: Listing, weights: Sequence[HubFile], index: str | None) -> tuple[HubFile, ...]:
    """All files to have on the host, sorted by path."""
    extra: Iterable[HubFile | None] = [listing.file(index)] if index else []
    chosen = {file.path: file for file in (*weights, *support_files(listing), *extra) if file is not None}
    return tuple(chosen[path] for path in sorted(chosen))
