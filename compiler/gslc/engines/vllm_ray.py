"""Ray below vLLM: which releases start several hosts with it, and the commands that bring it up and serve.

Read in the packages of vLLM 0.7.3, 0.9.2 and 0.11.0 (executor/ray_utils.py, executor/ray_distributed_executor.py); the
commands were run with Ray 2.40, 2.48 and 2.50, which those releases ask for (tests/real/test_vllm_ray.py runs them).

- vLLM makes one bundle a card, the first on its own host, and waits up to 1800 s until all hosts have joined.
- It calls hosts by VLLM_HOST_IP and asks Ray for `node:<VLLM_HOST_IP>`: both must be told the same address.
- Workers on the server's host come first, then by address as text; each host's cards are in Ray's own order, which is
  that of the visibility variable. Ray narrows that variable to one card a worker, vLLM widens it to the host's again.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Literal

from gslc.engines.vllm_versions import version_tuple
from gslc.ir.record import dataclass

NATIVE_NODES_FROM = "0.11.2"  # first sampled release with --nnodes; 0.11.0 and 0.11.1 ask for Ray in their packages
RAY_NODES_FROM = "0.7.3"  # the oldest release that was looked at
RAY_INSTALLED_BEFORE = "0.18.0"  # from here on neither the package nor the image brings Ray
EXECUTOR_FLAG = "--distributed-executor-backend"
# What goes between workers beside tensors: scheduler output and pictures. Ray's default is 30 % of the host's memory.
OBJECT_STORE_BYTES = 1 << 30
# Ports that Ray reserves for itself without a way to say otherwise: as its head's port it refuses them.
OWN_PORTS: Mapping[int, str] = {8265: "dashboard", 10001: "client server"}
# vLLM hands its own variables of the leader, VLLM_CACHE_ROOT among them, to the workers of all hosts, where that folder
# is another's; below XDG_CACHE_HOME it finds one of its own on each.
CACHES = (("HF_HOME", "huggingface"), ("TRITON_CACHE_DIR", "triton"), ("XDG_CACHE_HOME", "cache"))
SHELL = "/bin/sh"
_RETRY_SECONDS = 2
_STOPS = "TERM INT"  # Nomad's raw_exec stops with SIGINT, all others with SIGTERM


@dataclass(frozen=True, slots=True, kw_only=True)
class RayNode:
    """One host of a Ray cluster that serves one instance."""

    program: str  # `ray`
    address: str  # what vLLM knows the host by
    head: str  # address:port of the leader's Ray
    gpus: int


def starts_hosts_with(version: str, executor: str | None) -> Literal["native", "ray"] | None:
    """How a release starts an instance over several hosts; `executor` is what the user asks for. None: not at all."""
    release = version_tuple(version)
    if release < version_tuple(RAY_NODES_FROM):
        return None
    if release < version_tuple(NATIVE_NODES_FROM):
        return "ray"
    return "ray" if executor == "ray" and release < version_tuple(RAY_INSTALLED_BEFORE) else "native"


def beside(program: str) -> str:
    """The `ray` of the same installation as a `vllm`: from its folder, or by PATH like it."""
    folder, slash, _ = program.rpartition("/")
    return f"{folder}{slash}ray"


def leader_argv(node: RayNode, port: int, vllm: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments of a shell that starts Ray's head in the background and becomes the server.

    One process tree: what stops the server (a control group, a container) stops Ray too. The server's own words stay
    words of the command.
    """
    start = ("start", "--head", f"--port={port}", "--include-dashboard=false", *_start_words(node))
    script = f'trap \'exit 0\' {_STOPS}; {shlex.join((node.program, *start))} && exec "$0" "$@"'
    return ("-c", script, vllm, *words)


def follower_argv(node: RayNode) -> tuple[str, ...]:
    """The arguments of a shell that waits for the leader's Ray, joins it, and ends when either is gone.

    The wait has no end of its own: the leader may still be fetching its files; one try ends after some 35 s. Another
    version of Ray or no `ray` at all is not waited over: `ray start` and the shell say so and fail. Ray ends 60 s after
    it lost its head, which makes the shell fail, and the supervisor's restart waits for the next head. `ray start`
    answers SIGTERM with status 1, an asked stop should be none.
    """
    alive = f'"$0" health-check --skip-version-check --address {shlex.quote(node.head)} >/dev/null 2>&1'
    script = (
        f"trap 'kill $p 2>/dev/null; wait $p; exit 0' {_STOPS}; "
        'command -v "$0" >/dev/null || exec "$0"; '
        f"until {{ {alive} & p=$!; wait $p; }}; do sleep {_RETRY_SECONDS}; done; "
        '"$0" "$@" & p=$!; wait $p'
    )
    return ("-c", script, node.program, "start", f"--address={node.head}", "--block", *_start_words(node))


def environment(node: RayNode, *, leader: bool) -> dict[str, str]:
    """Variables that keep Ray quiet, and let the server find this Ray and no other of the host."""
    found = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray would kill workers at 95 % of the host's memory, whoever uses it; the kernel decides, as without Ray
        "RAY_memory_monitor_refresh_ms": "0",
    }
    return {**found, "RAY_ADDRESS": node.head} if leader else found


def _start_words(node: RayNode) -> tuple[str, ...]:
    return (
        f"--node-ip-address={node.address}",
        f"--num-gpus={node.gpus}",
        "--num-cpus=1",  # workers ask for none; Ray starts as many idle processes as there are
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        # by default 10002-19999 and 52365: a head's port in there is refused, and a second Ray of the host meets them
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
        "--disable-usage-stats",
        "--log-color=false",
    )
