"""Memory and layout of models that vLLM serves: legality, weights per rank, KV cache, budget."""
