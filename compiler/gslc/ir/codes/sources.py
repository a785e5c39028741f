"""Diagnostic codes of model sources: which files, their headers, what they are."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS250": CodeEntry(
        title="facts are missing and the network is forbidden",
        meaning=(
            "The lock has no facts for this model as it is written now, and `--offline`, `--frozen` or "
            "HF_HUB_OFFLINE forbids to fetch them."
        ),
        remedy="Run `gslc lock` once where the network may be used, and commit the lock.",
    ),
    "GS251": CodeEntry(
        title="a repository is private or gated",
        meaning=(
            "The hub refuses to show the repository. Hugging Face gives the same answer for one that doesn't exist."
        ),
        remedy=(
            "Check the spelling. Set HF_TOKEN (or run `hf auth login`), for ModelScope MODELSCOPE_API_TOKEN; "
            "accept the terms on the model's page."
        ),
    ),
    "GS252": CodeEntry(
        title="a repository, revision or model doesn't exist",
        meaning="The hub was reached and doesn't know what the source names.",
        remedy="Check owner, name, revision and tag.",
    ),
    "GS253": CodeEntry(
        title="a source matches no model",
        meaning=(
            "No file of the repository has the name, matches the glob or has the quantisation. Upper and lower "
            "case count, as in the engines' own downloads."
        ),
        remedy="Choose one of the models that the message lists.",
    ),
    "GS254": CodeEntry(
        title="a source matches several models",
        meaning="The glob, or a repository named alone, matches several quantisations. A split model counts as one.",
        remedy="Add the quantisation (`hf://owner/repo:Q4_K_M`) or name one file.",
    ),
    "GS255": CodeEntry(
        title="a part of a split model is missing",
        meaning=(
            "The name says that the model has N parts, and not all of them are there. llama.cpp refuses such a model."
        ),
        remedy="Choose a complete model, or finish the upload or download.",
    ),
    "GS256": CodeEntry(
        title="a GGUF header is malformed",
        meaning=(
            "The file isn't what llama.cpp loads: it is cut off, of version 1, big-endian, or breaks a rule of "
            "the format. The message names the byte and what was expected there."
        ),
        remedy="Choose another file or revision, or convert the model again.",
    ),
    "GS257": CodeEntry(
        title="a safetensors header is malformed",
        meaning=(
            "The file breaks a rule of the safetensors format, or two files of the repository hold the same tensor."
        ),
        remedy="Choose another revision of the repository.",
    ),
    "GS258": CodeEntry(
        title="a repository holds no model that can be served",
        meaning=(
            "There is no config.json or GGUF file, the weights are missing or incomplete, or a small file that "
            "must be JSON isn't."
        ),
        remedy="Name the repository that holds the model itself; an adapter is given to the engine by `args`.",
    ),
    "GS259": CodeEntry(
        title="a projector is missing or is no projector",
        meaning=(
            "`mmproj` names no file of the repository or several, a source names a projector as the model, or a "
            "file called mmproj holds something else."
        ),
        remedy="Name one projector file of the same repository by `mmproj`.",
    ),
    "GS260": CodeEntry(
        title="a repository has pickled weights only",
        meaning=(
            "There are no safetensors. gslc never opens a pickle, so the estimate goes by file sizes; the engine "
            "will open it, and a pickle can run code."
        ),
        remedy="Prefer a repository with safetensors.",
    ),
    "GS261": CodeEntry(
        title="a repository brings code of its own",
        meaning=(
            "Its configuration names Python files (auto_map) that the engine runs when it is told to trust remote code."
        ),
        remedy="Read the files at the pinned revision before you put --trust-remote-code into `args`.",
    ),
    "GS262": CodeEntry(
        title="a local source can't be read",
        meaning=(
            "A file:// source is missing, is a pipe, a device or a link that leads out of its folder, or may not "
            "be read."
        ),
        remedy=(
            "Name a regular file or a folder of regular files; the building machine must have the same files as "
            "the hosts while locking."
        ),
    ),
    "GS263": CodeEntry(
        title="a model is no speech model",
        meaning=(
            "`backend: vox-box` was asked for, and by vox-box's own rules the files are none of faster-whisper, "
            "CosyVoice, FunASR, Bark and Dia."
        ),
        remedy="Leave `backend` out, or name a model of these families.",
    ),
    "GS264": CodeEntry(
        title="a large local file is pinned without a hash",
        meaning=(
            "Files of a file:// source over the limit are pinned by size and by the hash of their header, since "
            "hashing them would take minutes."
        ),
        remedy="Nothing to do. A file from a hub is pinned by the hub's own sha256.",
    ),
    "GS265": CodeEntry(
        title="a repository lists an impossible file",
        meaning="A file name is absolute, leads out of its folder or holds control characters, or a size is no size.",
        remedy="Don't use the repository; report it.",
    ),
    "GS266": CodeEntry(
        title="a diffusers pipeline",
        meaning=(
            "The repository holds an image pipeline in the diffusers format. Image models are served by "
            "llama-box, from GGUF files."
        ),
        remedy="Name a GGUF repository of the model, or state `requirements` with backend custom.",
    ),
}
