"""What a header costs to read: CPU time and memory, with the largest vocabulary that is published."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

from model_files import Sparse, llama_gguf, text
from pace import pace

VOCABULARY = 262_208  # Gemma 3
PROGRAM = r"""
import os, re, sys, time
from gslc.edges.gguf_model import read_gguf_header
from gslc.edges.ranges import DescriptorReader
descriptor = os.open(sys.argv[1], os.O_RDONLY)
reader = DescriptorReader(descriptor, "m.gguf")
started = time.process_time()
facts = read_gguf_header(reader)
spent = time.process_time() - started
peak = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read()).group(1)  # ru_maxrss would count the parent's pages
print(spent, peak, facts.vocabulary_size, facts.file_bytes)
"""


def with_vocabulary(count: int) -> Sparse:
    """A llama of 62 blocks with tokens, scores, types and merges of the usual lengths."""
    plain = llama_gguf(blocks=62, width=5120, inner=21504, kv=2048, tokens=0)
    tokens = b"".join(text(f"\u0120word{number:x}") for number in range(count))
    merges = b"".join(text(f"w{number:x} ord") for number in range(count))
    extra = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, count) + tokens
    extra += text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, count) + bytes(4 * count)
    extra += text("tokenizer.ggml.token_type") + struct.pack("<IIQ", 9, 5, count) + bytes(4 * count)
    extra += text("tokenizer.ggml.merges") + struct.pack("<IIQ", 9, 8, count) + merges
    keys = struct.unpack_from("<Q", plain.head, 16)[0]
    table = plain.head.index(text("token_embd.weight"))
    last = plain.head.index(text("output.weight")) + len(text("output.weight")) + 4 + 2 * 8 + 4 + 8
    head = plain.head[:16] + struct.pack("<Q", keys + 4) + plain.head[24:table] + extra + plain.head[table:last]
    head += bytes(-len(head) % 32)
    return Sparse(head, len(head) + plain.size - len(plain.head))


def test_the_largest_vocabulary_costs_a_third_of_a_second_and_60_mib(tmp_path: Path) -> None:
    file = with_vocabulary(VOCABULARY)
    path = tmp_path / "m.gguf"
    path.write_bytes(file.head)
    os.truncate(path, file.size)
    answers = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    seconds, resident_kib, vocabulary, size = min(answers)
    assert (int(vocabulary), int(size)) == (VOCABULARY, file.size)
    assert float(seconds) <= 0.3 * pace()
    assert int(resident_kib) <= 60 * 1024
