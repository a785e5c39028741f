"""The hyper-parameters of a GGUF model, block by block, as llama.cpp reads them."""

from __future__ import annotations

from functools import cached_property

from gslc.ir.facts import GgufFacts, HyperValue, TensorGroup
from gslc.ir.record import dataclass

# src/llama-arch.cpp, llm_arch_is_recurrent and llm_arch_is_hybrid
RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
HYBRID = frozenset(
    {
        "jamba",
        "falcon-h1",
        "plamo2",
        "granitehybrid",
        "lfm2",
        "lfm2moe",
        "nemotron_h",
        "nemotron_h_moe",
        "qwen3next",
        "kimi-linear",
        "qwen35",
        "qwen35moe",
        "minimax-01",
        "bailingmoe3",
    }
)
# src/llama-model.cpp, create_memory: no cache at all
CACHELESS = frozenset(
    {
        "bert",
        "jina-bert-v2",
        "jina-bert-v3",
        "nomic-bert",
        "nomic-bert-moe",
        "neo-bert",
        "eurobert",
        "wavtokenizer-dec",
        "modern-bert",
        "gemma-embedding",
        "dream",
        "llada",
        "llada-moe",
        "rnd1",
    }
)
INTERVAL_RECURRENT = frozenset({"qwen3next", "qwen35", "qwen35moe", "minimax-01"})


@dataclass(frozen=True, slots=True)
class WindowRule:
    """How an architecture slides its window (src/models/<arch>.cpp, load_arch_hparams).

    Every `period`-th block sees everything (the first of each period where dense_first). `window` is the built-in width
    where the file names none (0: then no window); fixed: the file's width is ignored.
    """

    period: int
    dense_first: bool = False
    window: int = 0
    fixed: bool = False


WINDOWS: dict[str, WindowRule] = {
    "afmoe": WindowRule(4),
    "cohere2": WindowRule(4),
    "cohere2moe": WindowRule(4, True),
    "exaone-moe": WindowRule(4, window=128),
    "exaone4": WindowRule(4, window=4096),
    "gemma-embedding": WindowRule(6),
    "gemma2": WindowRule(2, window=4096),
    "gemma3": WindowRule(6),
    "gemma3n": WindowRule(5),
    "gemma4": WindowRule(6),
    "gpt-oss": WindowRule(2),
    "laguna": WindowRule(4, True),
    "llama4": WindowRule(4, window=8192, fixed=True),
    "mellum": WindowRule(4),
    "mimo2": WindowRule(0),
    "modern-bert": WindowRule(3, True),
    "muse-glimmer": WindowRule(4),
    "olmo2": WindowRule(4),
    "plamo3": WindowRule(8),
    "smallthinker": WindowRule(4, True, window=4096, fixed=True),
    "step35": WindowRule(0),
    "lfm2": WindowRule(0),
    "maple": WindowRule(0),
    "spark2-5": WindowRule(0),
    "granite-swa": WindowRule(0),
}


class ModelShape:
    """What the arithmetic needs to know of a model; every list has one entry a block, in block order."""

    def __init__(self, facts: GgufFacts) -> None:
        """Read the header once; nothing is computed before it is asked for."""
        self.facts = facts
        self.arch = facts.architecture
        self.blocks = max(0, self.integer("block_count"))
        self.nextn = min(self.integer("nextn_predict_layers"), self.blocks)
        self.trunk = self.blocks - self.nextn
        self.embedding = self.integer("embedding_length")
        self.vocabulary = facts.vocabulary_size or self.integer("vocab_size")
        self.by_name: dict[str, TensorGroup] = {}
        self._block_groups: dict[str, dict[int, TensorGroup]] = {}
        for group in facts.tensors:
            if group.blocks:
                rows = self._block_groups.setdefault(group.name, {})
                for block in group.blocks:
                    rows[block] = group
            else:
                self.by_name[group.name] = group

    # ------------------------------------------------------------ keys

    def key(self, name: str) -> HyperValue | None:
        """The value of "<architecture>.<name>", None where the file has none."""
        return self.facts.hyper.get(f"{self.arch}.{name}")

    def integer(self, name: str, default: int = 0) -> int:
        """A whole number of the header; the largest entry where the file gives a list."""
        value = self.key(name)
        if isinstance(value, tuple):
            numbers = [int(entry) for entry in value if isinstance(entry, int)]
            return max(numbers, default=default)
        return int(value) if isinstance(value, int | float) else default

    def listed(self, name: str, default: int = 0) -> tuple[int, ...]:
        """A value per block, whether the file gives one number or a list."""
        value = self.key(name)
        if isinstance(value, tuple):
            numbers = [int(entry) if isinstance(entry, int | float) else default for entry in value]
            return tuple((numbers + [default] * self.blocks)[: self.blocks])
        return (int(value) if isinstance(value, int | float) else default,) * self.blocks

    def tensor(self, name: str, block: int | None = None) -> TensorGroup | None:
        """The tensor "<name>.weight" of a block (or outside the blocks), None where the file has none."""
        return self.named(name + ".weight", block)

    def named(self, name: str, block: int | None = None) -> TensorGroup | None:
        """The tensor with this full name; inside a block without its "blk.N."."""
        if block is None:
            return self.by_name.get(name)
        return self._block_groups.get("blk.{}." + name, {}).get(block)

    def block_tensors(self, block: int) -> list[TensorGroup]:
        """All tensors of a block."""
        return [rows[block] for rows in self._block_groups.values() if block in rows]

    # ------------------------------------------------------------ attention

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """Attention heads of each block."""
        return self.listed("attention.head_count")

    @cached_property
    def kv_heads(self) -> tuple[int, ...]:
        """Key/value heads of each block; as many as heads where the file says nothing."""
        if self.key("attention.head_count_kv") is None:
            return self.heads
        return self.listed("attention.head_count_kv")

    @cached_property
    def default_head(self) -> int:
        """Width of a head where the file gives none (llama.cpp divides by the first block's head count)."""
        first = self.heads[0] if self.heads else 0
        return self.embedding // first if first else 0

    def key_head(self, block: int) -> int:
        """Width of a key head."""
        full = self.integer("attention.key_length", self.default_head)
        return self.integer("attention.key_length_swa", full) if self.windowed[block] else full

    def value_head(self, block: int) -> int:
        """Width of a value head."""
        full = self.integer("attention.value_length", self.default_head)
        return self.integer("attention.value_length_swa", full) if self.windowed[block] else full

    def key_width(self, block: int) -> int:
        """Elements of one key row in the cache."""
        return self.key_head(block) * self.kv_heads[block]

    def value_width(self, block: int) -> int:
        """Elements of one value row in the cache."""
        return self.value_head(block) * self.kv_heads[block]

    @cached_property
    def latent(self) -> bool:
        """Multi-head latent attention whose cache holds latent keys alone (files with the `_mla` keys)."""
        return bool(self.integer("attention.key_length_mla") and self.integer("attention.value_length_mla"))

    # ------------------------------------------------------------ windows

    @cached_property
    def window(self) -> int:
        """Tokens of the sliding window, 0 where there is none."""
        rule = WINDOWS.get(self.arch)
        if rule is None:
            return 0
        given = self.key("attention.sliding_window")
        if self.arch == "exaone4" and self.trunk < 64:  # only the 32B slides its window
            return 0
        if isinstance(given, int) and (given == 0 or not rule.fixed):
            return given
        return rule.window

    @cached_property
    def windowed(self) -> tuple[bool, ...]:
        """Which blocks keep the window only."""
        if not self.window:
            return (False,) * self.blocks
        rule = WINDOWS[self.arch]
        pattern = self.key("attention.sliding_window_pattern")
        if isinstance(pattern, tuple):
            flags = [bool(entry) for entry in pattern]
            return tuple((flags + [False] * self.blocks)[: self.blocks])
        if self.arch == "lfm2":
            return tuple(not recurrent for recurrent in self.recurrent)
        period = pattern if isinstance(pattern, int) else rule.period
        if rule.dense_first:
            flags = [period == 0 or i % period != 0 for i in range(self.trunk)]
        else:
            flags = [period == 0 or i % period < period - 1 for i in range(self.trunk)]
        return tuple(flags + [False] * self.nextn)

    # ------------------------------------------------------------ recurrence

    @cached_property
    def recurrent(self) -> tuple[bool, ...]:
        """Which blocks keep a recurrent state (instead of, or in falcon-h1 beside, a KV cache)."""
        if self.arch in RECURRENT or self.arch == "falcon-h1":
            return (True,) * self.blocks
        if self.arch not in HYBRID:
            return (False,) * self.blocks
        flags = self.key("attention.recurrent_layers")
        if isinstance(flags, tuple):
            return tuple(bool(entry) for entry in flags)[: self.blocks]
        if self.arch in INTERVAL_RECURRENT:
            interval = self.integer("full_attention_interval", 4)
            return tuple(i < self.trunk and (i + 1) % interval != 0 for i in range(self.blocks))
        if self.arch.startswith("nemotron_h"):
            widths = self.listed("feed_forward_length")
            return tuple(i < self.trunk and self.kv_heads[i] == 0 and widths[i] == 0 for i in range(self.blocks))
        return tuple(count == 0 for count in self.kv_heads)

    @cached_property
    def attends(self) -> tuple[bool, ...]:
        """Which blocks have a KV cache of their own."""
        if self.arch in RECURRENT or self.arch in CACHELESS:
            return (False,) * self.blocks
        own = [self.kv_heads[i] > 0 for i in range(self.blocks)]
        if self.arch in HYBRID and self.arch != "falcon-h1":
            own = [has and not self.recurrent[i] for i, has in enumerate(own)]
        limit = self.cached_blocks
        return tuple(has and i < limit for i, has in enumerate(own))

    @cached_property
    def cached_blocks(self) -> int:
        """Blocks from the start that keep their own cache; later ones share (Gemma 3n: 20), nextn blocks have none."""
        if self.arch == "gemma3n":
            return min(20, self.trunk)
        if self.arch == "gemma4":
            return max(0, self.trunk - self.integer("attention.shared_kv_layers"))
        return self.trunk

    @cached_property
    def conv_state(self) -> int:
        """Elements of the convolution state of a recurrent block, for one sequence (llama_hparams::n_embd_r)."""
        if self.integer("wkv.head_size"):
            return self.integer("token_shift_count", 2) * self.embedding
        if self.integer("shortconv.l_cache"):
            return self.embedding * (self.integer("shortconv.l_cache") - 1)
        kernel = self.integer("ssm.conv_kernel")
        if self.integer("kda.head_dim"):
            return 3 * (kernel - 1 if kernel else 3) * self.integer("kda.head_dim") * max(self.heads, default=0)
        inner, groups, state = (self.integer("ssm." + k) for k in ("inner_size", "group_count", "state_size"))
        return max(0, kernel - 1) * (inner + 2 * groups * state)

    @cached_property
    def scan_state(self) -> int:
        """Elements of the scan state of a recurrent block, for one sequence (llama_hparams::n_embd_s)."""
        if self.integer("wkv.head_size"):
            return self.embedding * self.integer("wkv.head_size")
        if self.integer("kda.head_dim"):
            return self.integer("kda.head_dim") ** 2 * max(self.heads, default=0)
        return self.integer("ssm.state_size") * self.integer("ssm.inner_size")

    # ------------------------------------------------------------ feed forward

    @cached_property
    def experts(self) -> int:
        """Experts of a block, 0 for dense models."""
        return self.integer("expert_count")

    @cached_property
    def used_experts(self) -> int:
        """Experts a token is sent to."""
        return self.integer("expert_used_count")

    @cached_property
    def tied(self) -> bool:
        """The token embedding serves as the output head, so it is loaded twice."""
        return self.tensor("output") is None and self.arch not in CACHELESS - {"llada", "dream", "rnd1", "llada-moe"}

    @cached_property
    def encoder(self) -> bool:
        """A model without a cache whose answer is an embedding or a score."""
        return self.arch in CACHELESS
