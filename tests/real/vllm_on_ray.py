"""Stands in for `vllm serve` of 0.7.3 to 0.11.1 on Ray: asks Ray for what vLLM asks (executor/ray_utils.py), then serves.

GET /health is 200 once all workers run; GET / says what they were given, in the order in which vLLM ranks them. No card is
touched, so Ray's own count of them is all there is.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import ray
from ray._private.state import available_resources_per_node
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

PARCEL_BYTES = 64 << 20  # as pictures go to the workers, through the object store
WAIT_SECONDS = 300


class Worker:
    """What one rank sees on its host."""

    def given(self, parcel: bytes) -> dict[str, object]:
        return {
            "host": os.environ["VLLM_HOST_IP"],
            "ids": [int(text) for text in ray.get_runtime_context().get_accelerator_ids()["GPU"]],
            "visible": os.environ["CUDA_VISIBLE_DEVICES"],
            "cache": os.environ["XDG_CACHE_HOME"],
            "key": "VLLM_API_KEY" in os.environ,
            "parcel": len(parcel),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("--host", "--distributed-executor-backend"):
        parser.add_argument(flag)
    for flag in ("--port", "--tensor-parallel-size", "--pipeline-parallel-size"):
        parser.add_argument(flag, type=int)
    given, _ = parser.parse_known_args()
    assert given.distributed_executor_backend == "ray"

    ray.init(address=None)
    # after Ray, which sets one of its own: vLLM calls Ray in a process of its engine, and its server handles the signal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    here = os.environ["VLLM_HOST_IP"]
    free = available_resources_per_node()[ray.get_runtime_context().get_node_id()]
    assert free["GPU"] >= 1, free
    bundles = [{"GPU": 1.0} for _ in range(given.tensor_parallel_size * given.pipeline_parallel_size)]
    bundles[0][f"node:{here}"] = 0.001
    group = ray.util.placement_group(bundles, strategy="PACK")
    ray.get(group.ready(), timeout=WAIT_SECONDS)
    workers = [
        ray.remote(
            num_cpus=0,
            num_gpus=1,
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                placement_group=group, placement_group_capture_child_tasks=True, placement_group_bundle_index=index
            ),
        )(Worker).remote()
        for index in range(len(bundles))
    ]
    parcel = ray.put(bytes(PARCEL_BYTES))
    found = ray.get([worker.given.remote(parcel) for worker in workers])
    found.sort(key=lambda worker: (worker["host"] != here, worker["host"], worker["ids"]))
    nodes = sorted(
        (node["NodeManagerAddress"], node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"]
    )
    answer = json.dumps({"argv": sys.argv, "nodes": nodes, "workers": found}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"" if self.path == "/health" else answer
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer((given.host, given.port), Handler).serve_forever()


main()
