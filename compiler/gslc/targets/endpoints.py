"""Where everything answers: endpoints.json, and the Prometheus and LiteLLM files made from the same list."""

from __future__ import annotations

import json

from gslc.engines.addresses import socket_address
from gslc.engines.variables import KEY_VARIABLES
from gslc.ir.inputs import Cluster, Model, SecretRef
from gslc.ir.output import OutputFile
from gslc.ir.plan import Instance, Plan
from gslc.ir.record import dataclass
from gslc.targets.addresses import ANY_ADDRESS
from gslc.targets.quoting_yaml import key as quoted

# LiteLLM's `mode` of a model, which decides how its health check asks; chat and vision need none.
_LITELLM_MODES = {
    "embedding": "embedding",
    "reranker": "rerank",
    "image": "image_generation",
    "speech-to-text": "audio_transcription",
    "text-to-speech": "audio_speech",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One answering port. `url` has no path: OpenAI clients add /v1."""

    instance: str
    model: str
    url: str
    host: str
    address: str
    port: int
    served_name: str
    kind: str
    backend: str


def render_endpoints(plan: Plan, cluster: Cluster) -> tuple[OutputFile, ...]:
    """The three lists, sorted by model and replica."""
    endpoints = tuple(endpoint_of(instance) for instance in plan.instances if instance.port)
    backends = {instance.model: instance.backend for instance in plan.instances}
    keys = {model.name: key for model in cluster.models if (key := key_secret(model, backends.get(model.name, "")))}
    return (
        OutputFile(path="endpoints.json", text=_endpoints_json(plan.cluster, endpoints)),
        OutputFile(path="litellm/config.yaml", text=_litellm(plan.cluster, endpoints, keys)),
        OutputFile(path="prometheus/targets.json", text=_prometheus(plan.cluster, endpoints)),
    )


def key_secret(model: Model, backend: str) -> str | None:
    """The secret that clients must send: `api_key`, or what `env` gives in the engine's own variable."""
    if model.api_key is not None:
        return model.api_key.name
    own = dict(model.env).get(KEY_VARIABLES.get(backend, ""))
    return own.name if isinstance(own, SecretRef) else None


def endpoint_of(instance: Instance) -> Endpoint:
    """Where one instance answers: the address it listens on, or its host's where it listens on all."""
    leader = instance.shards[0]
    address = leader.launch.listen if leader.launch.listen not in ANY_ADDRESS else leader.address or "127.0.0.1"
    return Endpoint(
        instance=instance.name,
        model=instance.model,
        url=f"http://{socket_address(address, leader.port)}",
        host=leader.host,
        address=address,
        port=leader.port,
        served_name=instance.served_name,
        kind=instance.kind,
        backend=instance.backend,
    )


def _endpoints_json(cluster: str, endpoints: tuple[Endpoint, ...]) -> str:
    models: dict[str, list[dict[str, str | int]]] = {}
    for endpoint in endpoints:
        models.setdefault(endpoint.model, []).append(
            {
                "instance": endpoint.instance,
                "url": endpoint.url,
                "host": endpoint.host,
                "address": endpoint.address,
                "port": endpoint.port,
                "served_name": endpoint.served_name,
                "kind": endpoint.kind,
                "backend": endpoint.backend,
            }
        )
    return _json({"version": 1, "cluster": cluster, "models": models})


def _prometheus(cluster: str, endpoints: tuple[Endpoint, ...]) -> str:
    return _json(
        [
            {
                "targets": [socket_address(endpoint.address, endpoint.port)],
                "labels": {
                    "cluster": cluster,
                    "model": endpoint.model,
                    "replica": endpoint.instance,
                    "host": endpoint.host,
                    "backend": endpoint.backend,
                },
            }
            for endpoint in endpoints
        ]
    )


def _litellm(cluster: str, endpoints: tuple[Endpoint, ...], keys: dict[str, str]) -> str:
    """A router over all replicas; custom programs are left out, since nothing says that they speak OpenAI's API."""
    lines = [f"# LiteLLM router for cluster {cluster}; replicas of a model share a model_name and are balanced."]
    routed = [endpoint for endpoint in endpoints if endpoint.kind != "custom"]
    lines.append("model_list:" if routed else "model_list: []")
    for endpoint in routed:
        # the reranker API of vLLM and llama.cpp is Cohere's, which LiteLLM knows under this provider only
        provider = "hosted_vllm" if endpoint.kind == "reranker" else "openai"
        secret = keys.get(endpoint.model)
        variable = f"os.environ/{secret.upper().replace('-', '_')}" if secret else "none"
        mode = _LITELLM_MODES.get(endpoint.kind)
        lines += [
            f"  - model_name: {quoted(endpoint.served_name)}",
            "    litellm_params:",
            f"      model: {quoted(f'{provider}/{endpoint.served_name}')}",
            f"      api_base: {quoted(f'{endpoint.url}/v1')}",
            f"      api_key: {quoted(variable)}",
            "    model_info:",
            f"      id: {quoted(endpoint.instance)}",
            *([f"      mode: {quoted(mode)}"] if mode else []),
        ]
    return "\n".join(lines) + "\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
