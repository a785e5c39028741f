"""What can be imported: each kind with the command whose output it is. No imports: help and completion are quick."""

from __future__ import annotations

KINDS = {
    "nvidia-smi": "nvidia-smi -q -x; beside it nvidia-smi topo -m, for NVLink",
    "rocm-smi": "rocm-smi --showproductname --showmeminfo vram --showuniqueid --json",
    "amd-smi": "amd-smi static --asic --vram --json",
    "gpustack-runtime": "gpustack-runtime detect --format json",
    "kubernetes": "kubectl get nodes -o json",
    "nomad": "/v1/node/ID of Nomad's API: one node, or a JSON list of them",
    "ansible": "ansible-inventory --list, with cached facts",
    "gpustack-workers": "/v1/workers or /v2/workers of GPUStack's API",
    "gpustack-models": "/v1/models or /v2/models of GPUStack's API",
    "compose": "a compose file with vLLM or llama.cpp services",
    "llama-swap": "llama-swap's configuration",
}
CARD_KINDS = ("nvidia-smi", "rocm-smi", "amd-smi", "gpustack-runtime")  # know the cards of one host, and no more of it
MODEL_KINDS = ("gpustack-models", "compose", "llama-swap")
