"""What is known of a model's files: the part of the lock that the estimators read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from gslc.ir.record import dataclass

ModelKind: TypeAlias = Literal[
    "chat", "vision", "embedding", "reranker", "image", "speech-to-text", "text-to-speech", "other"
]  # other: the files of a custom backend that hold no known format
SpeechFramework: TypeAlias = Literal["faster-whisper", "cosyvoice", "funasr", "bark", "dia"]
Scalar: TypeAlias = str | int | float | bool
HyperValue: TypeAlias = Scalar | tuple[Scalar, ...]
Json: TypeAlias = "str | int | float | bool | tuple[Json, ...] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFact:
    """One file to have on a host. `path` is relative to the repository (or the folder of a file:// source)."""

    path: str
    size_bytes: int
    sha256: str | None = None
    url: str | None = None  # where it can be fetched without more knowledge; None: derived from the source


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherQuantization:
    """Another quantisation of a model in its repository, as the source would name it: after the colon, or by path."""

    name: str  # "Q4_K_M", or the path of its first file: then it ends in .gguf
    size_bytes: int  # all its files together

    @property
    def is_path(self) -> bool:
        """True where the name is a path."""
        return self.name.lower().endswith(".gguf")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorGroup:
    """Tensors that share name pattern, type and shape.

    `name` holds `{}` for the block number, and a second `{}` for the expert number where experts are stored apart
    ("blk.{}.attn_q.weight", "model.layers.{}.mlp.experts.{}.up_proj.weight"). `blocks` are the block numbers,
    () for a tensor outside the blocks. `experts` is how many experts each of the blocks holds under this pattern, 0 for
    none. `shape` is in the file's own order: GGUF fastest dimension first, safetensors slowest first.
    """

    name: str
    type: str  # ggml type name (Q4_K, F32, …) or safetensors dtype (BF16, F8_E4M3, …)
    shape: tuple[int, ...]
    blocks: tuple[int, ...] = ()
    experts: int = 0

    @property
    def count(self) -> int:
        """How many tensors the group stands for."""
        return max(1, len(self.blocks)) * max(1, self.experts)


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFacts:
    """A GGUF header without its vocabulary. Keys of `hyper` keep their full names ("llama.block_count")."""

    architecture: str
    hyper: Mapping[str, HyperValue]
    vocabulary_size: int
    tensors: tuple[TensorGroup, ...]
    header_sha256: str  # of the header bytes of all files, in order
    header_bytes: int
    file_bytes: int  # all files of the split together

    @property
    def block_count(self) -> int:
        """Number of blocks that the header declares; 0 where it declares none (a projector or a diffusion file)."""
        value = self.hyper.get(f"{self.architecture}.block_count", 0)
        return value if isinstance(value, int) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsFacts:
    """config.json as published (unused keys dropped) and the tensor table of the safetensors files.

    tensors is () where the repository has only pickled weights: then `parameter_bytes` comes from file sizes.
    """

    config: Mapping[str, Json]
    tensors: tuple[TensorGroup, ...]
    parameter_bytes: int
    header_sha256: str | None
    weight_format: Literal["safetensors", "pickle"] = "safetensors"
    tokenizer_max_length: int | None = None
    pooling: str | None = None  # from modules.json / 1_Pooling, None where the repository has none


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechFacts:
    """A speech model of vox-box: its framework and the size of the file that the memory bands go by."""

    framework: SpeechFramework
    model_file: str
    model_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """All that is pinned of one model. Exactly one of gguf, safetensors and speech is given; none for kind "other"."""

    source: str  # the source text that was resolved
    revision: str | None  # 40 hex for repositories, the manifest digest for ollama, None for file://
    # In the order in which the engine wants them; files[0] is the model where one file is named.
    files: tuple[FileFact, ...]
    kind: ModelKind
    kind_reason: str
    gguf: GgufFacts | None = None
    projector: GgufFacts | None = None
    projector_file: str | None = None  # path of the projector among `files`
    safetensors: SafetensorsFacts | None = None
    speech: SpeechFacts | None = None
    code_files: tuple[str, ...] = ()  # remote code the repository would run (auto_map)
    asked: tuple[tuple[str, str], ...] = ()  # model settings that chose the files (backend, mmproj), sorted pairs
    other_quantizations: tuple[OtherQuantization, ...] = ()  # by name; () too where nobody has looked for them
