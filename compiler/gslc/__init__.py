"""gslc compiles a reviewed cluster.yaml into the files that run an LLM fleet."""

__version__ = "0.1.0"
