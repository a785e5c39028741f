"""Diagnostic codes of GGUF models and of llama.cpp and llama-box."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS301": CodeEntry(
        title="unknown engine flag",
        meaning="`args` holds a flag that the pinned build of the engine does not know; it would stop at once.",
        remedy="Correct the flag, or pin the build that knows it under `engines`.",
    ),
    "GS302": CodeEntry(
        title="removed engine flag",
        meaning="The pinned build of the engine has removed this flag and refuses to start with it.",
        remedy="Use the flag that the message names.",
    ),
    "GS303": CodeEntry(
        title="flag that gslc sets",
        meaning="Addresses, ports, the model file, RPC servers and the like follow from the plan; a second value for "
        "them would contradict it. With --ssl-key-file or --ssl-cert-file the server answers https, and "
        "health checks and endpoints.json don't; with --api-prefix it answers below a path, and they ask at the root. "
        "A flag that only prints, such as `--help`, would end the program.",
        remedy="Remove the flag and use the key that the message names.",
    ),
    "GS304": CodeEntry(
        title="value that the engine does not take",
        meaning="The value of a flag (or of the key it stands for) is missing or not one that the engine accepts.",
        remedy="Give one of the values that the message names.",
    ),
    "GS305": CodeEntry(
        title="flag given twice",
        meaning="`args` gives one setting two different values; the engine would take the last one silently.",
        remedy="Keep one.",
    ),
    "GS306": CodeEntry(
        title="key and argument contradict each other",
        meaning="A setting stands both as a key of the model and in `args`, with different values.",
        remedy="Keep the key.",
    ),
    "GS307": CodeEntry(
        title="tensor split of the wrong length",
        meaning="-ts (or `tensor_split`) has one number per device; no eligible host has that many, or the number of "
        "devices asked for is another.",
        remedy="Give one number per device, RPC devices first.",
    ),
    "GS308": CodeEntry(
        title="quantised V cache without flash attention",
        meaning="llama.cpp stores V transposed without flash attention and can't quantise it then: it does not start.",
        remedy="Turn flash attention on, or keep the V cache at f16.",
    ),
    "GS309": CodeEntry(
        title="KV type does not divide the head",
        meaning="Quantised types store blocks of 32 elements; the engine refuses a type whose block does not divide "
        "the width of a head.",
        remedy="Use f16 for this model.",
    ),
    "GS310": CodeEntry(
        title="unknown architecture or tensor type",
        meaning="gslc does not know how llama.cpp computes this architecture. Weights are exact where the types are "
        "known; the compute buffers are an upper bound from the widths of the tensors.",
        remedy="Measure the model once and state its memory with `requirements`.",
    ),
    "GS311": CodeEntry(
        title="not a GGUF model",
        meaning="llama.cpp and llama-box run GGUF files only.",
        remedy="Remove `backend`, or name a GGUF repository.",
    ),
    "GS312": CodeEntry(
        title="version of an unknown form",
        meaning="llama.cpp builds are numbered (b11669); llama-box releases are v0.0.N. Anything else can't be tied to "
        "flags and memory rules.",
        remedy="Write the version as the engine prints it.",
    ),
    "GS313": CodeEntry(
        title="build newer than this release of gslc",
        meaning="The pinned build was not tested with this release; the newest known rules are used.",
        remedy="Check the plan with `gslc estimate` and the engine's own log.",
    ),
    "GS314": CodeEntry(
        title="context longer than the model's",
        meaning="`context` exceeds the length the model was trained for. Answers beyond it are poor, and llama-server "
        "gives a request no more than that length, whatever memory its cache takes.",
        remedy="Use a shorter context, or scale the positions with --rope-scaling and raise the length with "
        "--override-kv ARCHITECTURE.context_length=int:TOKENS.",
    ),
    "GS315": CodeEntry(
        title="more layers than the model has",
        meaning="`gpu_layers` (or -ngl) counts the blocks and the output layer, and is larger than their number. As in "
        "llama.cpp, where 99 is a common way to say it, all layers are then pinned to GPUs.",
        remedy="Nothing must be done; the number in the message says the same.",
    ),
    "GS316": CodeEntry(
        title="engine settings in the environment",
        meaning="LLAMA_ARG_* variables change the engine's settings without the plan knowing.",
        remedy="Give the flag in `args`.",
    ),
    "GS317": CodeEntry(
        title="split mode that is not planned",
        meaning="-sm row is deprecated and -sm tensor experimental; both place memory by other rules than layers.",
        remedy="Use -sm layer, or state the measured memory with `requirements`.",
    ),
    "GS318": CodeEntry(
        title="memory that is not counted",
        meaning="The flag loads a file or makes a cache that is not in the lock, so the estimate leaves it out.",
        remedy="State the measured memory with `requirements`.",
    ),
    "GS319": CodeEntry(
        title="API key that the engine can't check",
        meaning="llama-box has no authentication.",
        remedy="Use llama.cpp, or a proxy that checks the key.",
    ),
    "GS320": CodeEntry(
        title="image model for an engine that draws none",
        meaning="llama-server has no image models; of the engines for GGUF files only llama-box draws.",
        remedy="Set `backend: llama-box`.",
    ),
    "GS321": CodeEntry(
        title="diffusion file without all stages",
        meaning="The file lacks a text encoder or the VAE, and no argument names a file that holds it.",
        remedy="Use a file with all stages, or name the missing one with --image-vae-model, --image-clip-l-model, ….",
    ),
    "GS322": CodeEntry(
        title="image model on several devices",
        meaning="llama-box runs a diffusion model on one card or on the CPU.",
        remedy="Give one device, or none for the CPU.",
    ),
}
