"""Memory of GGUF models under llama.cpp and llama-box, device by device."""

from gslc.memory.gguf.estimate import estimate

__all__ = ["estimate"]
