"""The command line and environment that gslc gives to vLLM."""

from __future__ import annotations

from gslc.engines.vllm_flags import Argument, has_flag
from gslc.engines.vllm_ray import EXECUTOR_FLAG
from gslc.ir.record import dataclass

THOUSAND = 1000

# Flags that follow from the placement: a value of the user's own would contradict it.
OWNED = {
    "--host": "the host's `listen`",
    "--port": "`port`",
    "--uds": None,
    "--nnodes": "`distributed`",
    "--node-rank": "`distributed`",
    "--master-addr": "`distributed`",
    "--master-port": "`distributed`",
    "--headless": "`distributed`",
    "--model": "`source`",
    "--revision": "`source` with @revision",
    "--tokenizer-revision": "`source` with @revision",
    "--code-revision": "`source` with @revision",
    "--api-key": "`api_key`",
    "--config": "`args`",
    EXECUTOR_FLAG: "`distributed`",
    "--download-dir": "the host's `model_dir`",
}
# Flags with which vLLM answers https alone (uvicorn: a key file or a certificate turns TLS on), which neither the waits
# for its health nor endpoints.json speak.
SECURED = frozenset({"--ssl-keyfile", "--ssl-certfile"})
# Flags with which nothing answers http (--grpc: gRPC on the same port; serve.py: no API server is a headless node).
SILENT = frozenset({"--grpc", "--api-server-count"})
# Flags with which the program prints something and ends.
ENDING = frozenset({"-h", "--help", "-v", "--version"})
# Flags with a model key of their own; both may be given where they agree.
KEYED = {
    "--max-model-len": "context",
    "--max-num-seqs": "parallel",
    "--tensor-parallel-size": "tensor_parallel",
    "--pipeline-parallel-size": "pipeline_parallel",
    "--gpu-memory-utilization": "gpu_memory_utilization",
    "--kv-cache-dtype": "kv_cache_type",
    "--served-model-name": "served_name",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The settings of one process, decided. None: not emitted, the engine's default holds."""

    version: str
    model_path: str
    served_name: str
    host: str
    port: int
    tensor_parallel: int
    pipeline_parallel: int
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int | None
    utilization: int  # thousandths
    dtype: str | None = None
    kv_cache_dtype: str | None = None
    runner: str | None = None
    convert: str | None = None
    nodes: int = 1
    node_rank: int = 0
    master_address: str = ""
    master_port: int = 0
    ray: bool = False  # several hosts by Ray, whose workers take all settings from this one process
    user: tuple[Argument, ...] = ()
    user_words: tuple[str, ...] = ()


def utilization_words(share: int) -> str:
    """900 thousandths are written 0.9, 905 are 0.905, 1000 is 1.0."""
    whole, rest = divmod(share, THOUSAND)
    digits = f"{rest:03d}".rstrip("0")
    return f"{whole}.{digits or '0'}"


def argv(command: Command) -> tuple[str, ...]:
    """The words after `vllm`. The user's own come last, without those that gslc has written already."""
    own = _own_flags(command)
    words: list[str] = ["serve", command.model_path]
    for flag, value in own:
        words += [flag] if value is None else [flag, value]
    written = {flag for flag, _ in own} | {EXECUTOR_FLAG}  # on one host the engine chooses by itself
    for argument in _last_of_each(command.user):
        if argument.flag not in written:
            words += command.user_words[argument.index : argument.index + argument.width]
    return tuple(words)


def _last_of_each(arguments: tuple[Argument, ...]) -> tuple[Argument, ...]:
    """A flag given twice keeps its last value, as argparse would; dotted JSON keys add up and all stay."""
    last = {argument.flag: argument.index for argument in arguments if "." not in argument.written.partition("=")[0]}
    return tuple(argument for argument in arguments if last.get(argument.flag, argument.index) == argument.index)


def _own_flags(command: Command) -> list[tuple[str, str | None]]:
    leader = command.node_rank == 0
    found: list[tuple[str, str | None]] = []
    if leader:
        found += [("--host", command.host), ("--port", str(command.port)), ("--served-model-name", command.served_name)]
    found += [
        ("--tensor-parallel-size", str(command.tensor_parallel)),
        ("--pipeline-parallel-size", str(command.pipeline_parallel)),
        ("--max-model-len", str(command.max_model_len)),
        ("--max-num-seqs", str(command.max_num_seqs)),
    ]
    if command.max_num_batched_tokens is not None:
        found.append(("--max-num-batched-tokens", str(command.max_num_batched_tokens)))
    found.append(("--gpu-memory-utilization", utilization_words(command.utilization)))
    if command.dtype is not None:
        found.append(("--dtype", command.dtype))
    if command.kv_cache_dtype is not None:
        found.append(("--kv-cache-dtype", command.kv_cache_dtype))
    found += pooling_flags(command.runner, command.convert, command.version)
    if command.nodes > 1 and command.ray:
        found.append((EXECUTOR_FLAG, "ray"))
    elif command.nodes > 1:
        found += [
            ("--nnodes", str(command.nodes)),
            ("--node-rank", str(command.node_rank)),
            ("--master-addr", command.master_address),
            ("--master-port", str(command.master_port)),
        ]
        if not leader:
            found.append(("--headless", None))
    return found


def pooling_flags(runner: str | None, convert: str | None, version: str) -> list[tuple[str, str | None]]:
    """--runner and --convert, or --task for releases before 0.10.2."""
    if runner != "pooling":
        return [] if runner is None else [("--runner", runner)]
    if has_flag("--runner", version):
        return [("--runner", "pooling"), *([("--convert", convert)] if convert is not None else [])]
    task = "score" if convert == "classify" else "embed"
    return [("--task", task)]
