"""Diagnostic codes of `gslc import`."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS180": CodeEntry(
        title="not a file of this kind",
        meaning="The file can't be read as what the kind promises: broken XML, JSON or YAML, or another document.",
        remedy="Give the file that the named command writes, whole and unchanged; `gslc import --help` lists "
        "the commands.",
    ),
    "GS181": CodeEntry(
        title="file too large",
        meaning="The file is larger, deeper or expands to more values than a real one of its kind does.",
        remedy="Import the hosts in several files.",
    ),
    "GS182": CodeEntry(
        title="XML with declarations of its own",
        meaning="The document declares entities or an internal DTD. nvidia-smi never writes those; they are how "
        "XML bombs are made.",
        remedy="Run `nvidia-smi -q -x` again and import its output unchanged.",
    ),
    "GS183": CodeEntry(
        title="nothing to import",
        meaning="The file is of the right kind, but holds no host, GPU or model that could be imported.",
        remedy="Check that the command ran on the right machine, with the rights to see its GPUs.",
    ),
    "GS184": CodeEntry(
        title="card that the GPU table doesn't know",
        meaning="The probe names a card that is not in the table (docs/gpus.md). It is written as `custom`, with "
        "what the probe said.",
        remedy="Check the memory and compute capability that were written.",
    ),
    "GS185": CodeEntry(
        title="card with other memory than the table says",
        meaning="The probe saw clearly less or more memory than the table has for this card: ECC switched on, a "
        "rebuilt card, a slice of one.",
        remedy="Nothing, if the card really is so; it was written as `custom` with the probe's figure.",
    ),
    "GS186": CodeEntry(
        title="fact that the probe doesn't hold",
        meaning="The imported file does not say something that a host needs, and it was not guessed.",
        remedy="Give it on the command line (--memory, --address), or write it into the result.",
    ),
    "GS187": CodeEntry(
        title="card cut into MIG slices",
        meaning="gslc numbers whole cards in PCI order; a host with MIG switched on can't be described by them.",
        remedy="Switch MIG off (`nvidia-smi -mig 0`) and import again, or leave the host to another tool.",
    ),
    "GS188": CodeEntry(
        title="name that was changed",
        meaning="Names in cluster.yaml are lower-case letters, digits and hyphens, at most 63. Another name was "
        "made to fit.",
        remedy="Use the new name in `host_selector`, `gpus` and commands, or rename it.",
    ),
    "GS189": CodeEntry(
        title="two of one name",
        meaning="Two imported hosts or models would have the same name.",
        remedy="Give each file its own name with --host, or import them into different files.",
    ),
    "GS190": CodeEntry(
        title="host or card of an unsupported kind",
        meaning="The operating system or processor is not one that gslc places models on (linux, darwin, "
        "windows; amd64, arm64), or the device is no GPU that an engine runs on.",
        remedy="Leave the host or the device out.",
    ),
    "GS191": CodeEntry(
        title="setting that was not carried over",
        meaning="The source has a setting that has no counterpart in cluster.yaml, or whose value gslc must not "
        "take over.",
        remedy="Read the note, and add what you still need by hand.",
    ),
    "GS192": CodeEntry(
        title="model whose source is not known",
        meaning="Nothing in the service says which model it serves (or only a variable does), so it was left out.",
        remedy="Write the model by hand, with its `source`.",
    ),
    "GS193": CodeEntry(
        title="secret in plain text",
        meaning="The source holds a token or password in clear. It was replaced by a reference; the value was "
        "not copied.",
        remedy="Put the value where the reference points and take it out of the old file.",
    ),
    "GS194": CodeEntry(
        title="file that can't be edited safely",
        meaning="--into changes only what it must and keeps your comments; here that is not possible.",
        remedy="Import to standard output, and copy what you want.",
    ),
    "GS195": CodeEntry(
        title="your value kept",
        meaning="The file given with --into states something else than the probe. What you wrote was kept.",
        remedy="Change it by hand if the probe is right.",
    ),
    "GS196": CodeEntry(
        title="service that is no model server",
        meaning="A service of the compose file is neither vLLM nor llama.cpp and was left out.",
        remedy="Nothing; write it with `backend: custom` if gslc shall place it.",
    ),
    "GS197": CodeEntry(
        title="NVLink mesh written as groups",
        meaning="Some cards are linked to others that are not linked among themselves (the mesh of eight V100s). "
        "`nvlink` holds groups in which all are linked to each other, gathered from the lowest index on.",
        remedy="Nothing for such a mesh: its groups are the two boards of four. Else write the groups that suit you.",
    ),
    "GS198": CodeEntry(
        title="links of cards that are gone",
        meaning="With --into a host got other cards, and `nvlink` named one that it has no more, or that is no NVIDIA card. "
        "The groups were taken out, or replaced with those of the import.",
        remedy="Give the import the matrix of `nvidia-smi topo -m` too, or write the groups of the new cards.",
    ),
}
