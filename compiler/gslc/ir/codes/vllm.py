"""Diagnostic codes of vLLM: its command line, its layouts, its memory."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS340": CodeEntry(
        title="vLLM can't serve these files",
        meaning=(
            "vLLM serves repositories with a config.json and safetensors (or pickled) "
            "weights. GGUF support left its tree after 0.23."
        ),
        remedy="Take the repository with the original weights, or let llama-box or llama.cpp serve the GGUF file.",
    ),
    "GS341": CodeEntry(
        title="unknown vLLM flag",
        meaning="The pinned release of vLLM has no such flag; it would exit at once with `unrecognized arguments`.",
        remedy="Correct the spelling, or remove the flag.",
    ),
    "GS342": CodeEntry(
        title="flag removed from vLLM",
        meaning="Older releases had this flag, the pinned one refuses it and does not start.",
        remedy="Use the successor that the message names, or pin an older release in `engines`.",
    ),
    "GS343": CodeEntry(
        title="flag of a later vLLM",
        meaning="The flag came with a release newer than the pinned one.",
        remedy="Pin a newer release in `engines`, or remove the flag.",
    ),
    "GS344": CodeEntry(
        title="value that vLLM would refuse",
        meaning="The flag is known, but its value is missing, of the wrong type, or stands where a flag must stand.",
        remedy="Give the value that the message asks for, each word as an item of its own.",
    ),
    "GS345": CodeEntry(
        title="flag whose release is not known for sure",
        meaning="The flag came or went between two releases that were looked at, and the pinned one lies between them.",
        remedy="Check `vllm serve --help` of the pinned release, or pin a release that was looked at.",
    ),
    "GS346": CodeEntry(
        title="one setting, two values",
        meaning="A key of the model and an item of `args` give the same setting different values.",
        remedy="Keep one of the two.",
    ),
    "GS347": CodeEntry(
        title="flag that gslc sets itself",
        meaning="Address, port, node rank and the like follow from the placement; a second value would contradict it. "
        "With --ssl-keyfile or --ssl-certfile vLLM answers https, and neither health checks nor endpoints.json do. "
        "With --grpc or --api-server-count 0 nothing answers http. A flag that only prints, such as `--help`, would end "
        "the program.",
        remedy="Remove the flag; use the model key that the message names where there is one.",
    ),
    "GS348": CodeEntry(
        title="context beyond the model's maximum",
        meaning="vLLM refuses a --max-model-len above the length that it derives from config.json and the tokenizer.",
        remedy="Lower `context`, or set VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 in `env` if you know that the model can do it.",
    ),
    "GS349": CodeEntry(
        title="layout that vLLM refuses",
        meaning="The tensor or pipeline parallel size breaks a rule of vLLM or of the checkpoint's quantisation, or "
        "VLLM_PP_LAYER_PARTITION in `env` has not one number a pipeline stage, all layers together.",
        remedy="Take one of the sizes that the message names.",
    ),
    "GS350": CodeEntry(
        title="key without effect on vLLM",
        meaning="The key belongs to engines for GGUF; vLLM has no such setting.",
        remedy="Remove the key.",
    ),
    "GS351": CodeEntry(
        title="architecture that vLLM does not list",
        meaning=(
            "The release has no implementation of this architecture; it would fall "
            "back to the Transformers backend or refuse."
        ),
        remedy="Pin a release that lists it, or state `requirements` after a trial.",
    ),
    "GS352": CodeEntry(
        title="memory that is not counted",
        meaning=(
            "An argument makes vLLM use memory that gslc has no model of (a draft "
            "model, adapters, weights kept on the host)."
        ),
        remedy="State `requirements` with what you measured, or lower `gpu_memory_utilization`.",
    ),
    "GS353": CodeEntry(
        title="remote code",
        meaning="The repository brings its own model code; vLLM runs it only with --trust-remote-code.",
        remedy="Read the code, then add `--trust-remote-code` to `args`.",
    ),
    "GS354": CodeEntry(
        title="expert parallelism without experts",
        meaning="--enable-expert-parallel is refused by vLLM for a model that has no experts.",
        remedy="Remove the flag.",
    ),
    "GS355": CodeEntry(
        title="several hosts need a newer vLLM",
        meaning=(
            "Replicas over several hosts are started with vLLM's own --nnodes from 0.11.2 on and with Ray from "
            "0.7.3 on; older releases were not looked at."
        ),
        remedy="Pin vllm 0.11.2 or newer, or set `distributed: false`.",
    ),
    "GS356": CodeEntry(
        title="batch smaller than its sequences",
        meaning="vLLM refuses a max_num_batched_tokens below max_num_seqs.",
        remedy="Raise --max-num-batched-tokens or lower `parallel`.",
    ),
    "GS357": CodeEntry(
        title="fewer concurrent requests than asked",
        meaning="The KV cache holds fewer full-length requests than `parallel`; the rest wait.",
        remedy="Lower `context` or `parallel`, or give the model more memory.",
    ),
    "GS358": CodeEntry(
        title="KV cache type that vLLM does not know",
        meaning="vLLM keeps its cache in the model's dtype or in 8-bit floats.",
        remedy="Use auto, fp8, fp8_e4m3 or fp8_e5m2.",
    ),
    "GS359": CodeEntry(
        title="data parallelism is not placed",
        meaning=(
            "gslc places every replica as an instance of its own; --data-parallel-size would start several inside one."
        ),
        remedy="Use `replicas` instead.",
    ),
    "GS360": CodeEntry(
        title="a layout that vLLM refuses on these devices",
        meaning="`estimate` was asked for a layout or a card on which vLLM does not start.",
        remedy="Take one of the sizes or cards that the message names.",
    ),
    "GS361": CodeEntry(
        title="devices that don't make the layout",
        meaning=(
            "Tensor parallel size x pipeline parallel size must be the number of devices, and the cards must be alike."
        ),
        remedy="Give as many equal devices as the layout has ranks.",
    ),
    "GS362": CodeEntry(
        title="vLLM needs a GPU",
        meaning=(
            "Without a device there is nothing to divide: the images and wheels of vLLM that gslc places run on GPUs."
        ),
        remedy="Name a device, or serve a GGUF file with llama.cpp on the CPU.",
    ),
    "GS364": CodeEntry(
        title="utilisation lowered",
        meaning=(
            "What vLLM uses outside of its budget (context, NCCL, graphs) would not fit beside nine tenths of the card."
        ),
        remedy="Nothing to do; set `gpu_memory_utilization` yourself to keep another share.",
    ),
    "GS365": CodeEntry(
        title="vLLM would not start",
        meaning="The named memory is too small on at least one card.",
        remedy="Lower the context, take more or larger cards, or a quantised checkpoint.",
    ),
    "GS366": CodeEntry(
        title="several model folders under Ray",
        meaning="Before 0.11.2 vLLM starts several hosts with Ray, and all load the model at the path of the leader.",
        remedy="Set the same `model_dir` on all hosts that the model may lie on, or pin vllm 0.11.2 or newer.",
    ),
    "GS367": CodeEntry(
        title="an address that Ray can't use",
        meaning="The releases of Ray that vLLM before 0.11.2 asks for don't start at an IPv6 address.",
        remedy="Give the host an IPv4 address or a name, or pin vllm 0.11.2 or newer.",
    ),
    "GS368": CodeEntry(
        title="a port that Ray keeps for itself",
        meaning="Ray refuses to start its head at 8265 and 10001, which it keeps for its dashboard and client server.",
        remedy="Choose a `port_range` without them, or pin vllm 0.11.2 or newer.",
    ),
    "GS363": CodeEntry(
        title="the tensor table and config.json disagree",
        meaning=(
            "The weights in the files and those that config.json describes differ "
            "by more than 2 %; the files are believed."
        ),
        remedy="Check that the repository is complete and its config.json is the one it was published with.",
    ),
}
