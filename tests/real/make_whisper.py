"""Writes a whisper of two layers with random weights from a fixed seed, as transformers saves it, into the folder given.

Run by install_voxbox.sh with the interpreter of vox-box's virtual environment, which has torch and transformers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration
from transformers.models.whisper.tokenization_whisper import LANGUAGES

TIMESTAMPS = 1501  # 0.00 to 30.00 s in steps of 0.02 s
MEL_BINS = 80

# whisper's own order: the engine finds the timestamps behind <|notimestamps|>
special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES)]
special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
timestamps = [f"<|{step * 0.02:.2f}|>" for step in range(TIMESTAMPS)]
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
words = [*alphabet, *special, *timestamps]
ids = {word: index for index, word in enumerate(words)}

tokenizer = Tokenizer(models.BPE(vocab={word: ids[word] for word in alphabet}, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.add_special_tokens(special)
tokenizer.add_tokens(timestamps)

folder = Path(sys.argv[1])
fast = PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
)
fast.save_pretrained(folder)
(folder / "preprocessor_config.json").write_text(
    json.dumps(
        {
            "processor_class": "WhisperProcessor",
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": MEL_BINS,
            "sampling_rate": 16000,
            "hop_length": 160,
            "chunk_length": 30,
            "n_fft": 400,
            "padding_value": 0.0,
        }
    )
)
torch.manual_seed(0)
config = WhisperConfig(
    vocab_size=len(words), d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=128, decoder_ffn_dim=128, num_mel_bins=MEL_BINS,
    bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|endoftext|>"], pad_token_id=ids["<|endoftext|>"],
    decoder_start_token_id=ids["<|startoftranscript|>"], suppress_tokens=[], begin_suppress_tokens=[],
)  # fmt: skip
model = WhisperForConditionalGeneration(config)
model.generation_config.suppress_tokens = None
model.generation_config.begin_suppress_tokens = None
model.generation_config.lang_to_id = {f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES}
model.save_pretrained(folder)
