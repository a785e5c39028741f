"""Memory and layout of models that vLLM serves: legality, weights per rank, KV cache, budget."""

from gslc.memory.vllm.estimate import estimate

__all__ = ["estimate"]
