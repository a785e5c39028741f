"""Diagnostic codes of this room."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS380": CodeEntry(
        title="no host can run the model",
        meaning="Every host is ruled out before memory is looked at: by the model's host_selector or gpus, by the "
        "platform that its engine supports, or by the host's target. The message names the rule for each group.",
        remedy="Correct the selector or the labels, add a host that the engine supports, or choose another backend.",
    ),
    "GS381": CodeEntry(
        title="llama-box is no longer maintained",
        meaning="GGUF models go to llama-box unless `backend_for_gguf` says otherwise, and its project has ended. It "
        "still works, but gets no support for new model architectures and no security fixes.",
        remedy="Set `defaults: {backend_for_gguf: llama.cpp}` to serve GGUF models with upstream llama-server.",
    ),
    "GS382": CodeEntry(
        title="unknown backend",
        meaning="The model names a backend that is neither built in nor added by an installed plug-in.",
        remedy="Use one of the backends that the message lists, or install the plug-in on the building machine.",
    ),
    "GS383": CodeEntry(
        title="no facts about a model",
        meaning="The lock has no entry for the model's source, so its memory can't be worked out.",
        remedy="Run `gslc lock` where the source can be reached.",
    ),
    "GS384": CodeEntry(
        title="backend custom without requirements",
        meaning="gslc knows nothing about a custom engine's memory: `requirements` must state it.",
        remedy="Add `requirements`, a list of alternatives with gpus, gpu_memory and memory, best first.",
    ),
    "GS385": CodeEntry(
        title="backend custom without a command",
        meaning="There is neither a `command` to start nor an `image` whose own entry point could run.",
        remedy="Add `command` (a list: the program, then its arguments), or `image`.",
    ),
    "GS386": CodeEntry(
        title="unknown placeholder",
        meaning="Braces in `command` and `env` of a custom backend hold placeholders. Only {port}, {host}, {name}, "
        "{gpus}, {model}, {rank}, {nodes} and {leader} exist.",
        remedy="Use one of them, or put text with other braces into a file that the command reads.",
    ),
    "GS387": CodeEntry(
        title="{model} without a source",
        meaning="{model} stands for the local path of the model's files, and the model has no `source`.",
        remedy="Add `source`, or write the path into the command.",
    ),
    "GS388": CodeEntry(
        title="a key that backend custom does not understand",
        meaning="The key changes how a known engine is started or estimated. A custom engine is started by its command "
        "alone, so the key would have no effect.",
        remedy="Remove the key, and say it in `command`.",
    ),
}
