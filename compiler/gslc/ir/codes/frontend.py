"""Diagnostic codes GS100-GS199: what can be wrong in a cluster file before anything is placed."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS100": CodeEntry(
        title="not YAML",
        meaning="The text can't be read as YAML. The place is where the reader stopped; the cause may be one line up.",
        remedy="Check indentation (spaces only), quotes and colons there.",
    ),
    "GS101": CodeEntry(
        title="not UTF-8", meaning="The file is in another encoding than UTF-8.", remedy="Save it as UTF-8."
    ),
    "GS102": CodeEntry(
        title="a character that can't be seen",
        meaning="Control characters, and characters that hide or reorder text (bidi marks, zero width, "
        "line separators), would let a reviewer read something else than the compiler.",
        remedy="Remove the character; in double quotes, \\n stands for a line break.",
    ),
    "GS103": CodeEntry(
        title="too large",
        meaning="A file is larger than gslc reads, or holds more keys and values.",
        remedy="Split it and join the parts with include.",
    ),
    "GS104": CodeEntry(
        title="no map at the top",
        meaning="The file is empty, or holds a list or a single value.",
        remedy="Begin with: version: 1",
    ),
    "GS105": CodeEntry(
        title="anchor or alias",
        meaning="Anchors (&x) and aliases (*x) are not read: every value stands where it holds, "
        "so that a change is seen where it acts.",
        remedy="Write the value out; put shared model settings into defaults.",
    ),
    "GS106": CodeEntry(
        title="tag",
        meaning="Tags (!!int, !x) are not read: the key decides the type of its value.",
        remedy="Remove the tag.",
    ),
    "GS107": CodeEntry(
        title="merge key",
        meaning="Merge keys (<<) are not read.",
        remedy="Write the keys out; put shared model settings into defaults.",
    ),
    "GS108": CodeEntry(
        title="duplicate key",
        meaning="A map holds a key twice. Other readers keep the last one without a word.",
        remedy="Keep one of the two.",
    ),
    "GS109": CodeEntry(
        title="second document",
        meaning="A file holds one document.",
        remedy="Put the second into a file of its own and join the two with include.",
    ),
    "GS110": CodeEntry(
        title="nested too deep",
        meaning="Maps and lists are nested deeper than 32 levels.",
        remedy="Flatten them; a cluster file needs no more than eight.",
    ),
    "GS111": CodeEntry(
        title="a key that is no text", meaning="A key is a map, a list, or missing.", remedy="Write: key: value"
    ),
    "GS112": CodeEntry(
        title="directive", meaning="Lines that begin with % (directives) are not read.", remedy="Remove the line."
    ),
    "GS120": CodeEntry(
        title="include pattern",
        meaning="An include must be a path or glob with /, relative to the cluster file and below its folder.",
        remedy="Write, e.g. hosts/*.yaml",
    ),
    "GS121": CodeEntry(
        title="include without a file",
        meaning="No file matches the include.",
        remedy="Check the path; it is relative to the cluster file.",
    ),
    "GS122": CodeEntry(
        title="defined twice",
        meaning="Two files define the same host, model or engine.",
        remedy="Keep one of the two.",
    ),
    "GS123": CodeEntry(
        title="key of an included file",
        meaning="An included file may hold version, engines, hosts and models only.",
        remedy="Move the key into the cluster file.",
    ),
    "GS130": CodeEntry(
        title="unknown key",
        meaning="The key is not one that gslc knows at this place, so it would have no effect.",
        remedy="Use the key that the help names, or see the cluster file reference.",
    ),
    "GS131": CodeEntry(title="missing key", meaning="A key that must be there is missing.", remedy="Add it."),
    "GS132": CodeEntry(
        title="wrong shape",
        meaning="A single value, a list or a map stands where another of the three is wanted.",
        remedy="Write it in the wanted shape.",
    ),
    "GS133": CodeEntry(
        title="no value",
        meaning="The key has no value (null, or an empty list that means nothing).",
        remedy="Write a value, or remove the key.",
    ),
    "GS134": CodeEntry(
        title="no number",
        meaning="A number is wanted. A number in quotes is text.",
        remedy="Write the number without quotes.",
    ),
    "GS135": CodeEntry(
        title="not true or false",
        meaning="true or false is wanted; yes, no, on and off are text.",
        remedy="Write true or false.",
    ),
    "GS136": CodeEntry(
        title="not one of the known words",
        meaning="The value is not one of the words that the key knows.",
        remedy="Use one of the words in the message.",
    ),
    "GS137": CodeEntry(
        title="out of range",
        meaning="The value is too small, too large or too long.",
        remedy="Use a value in the range of the message.",
    ),
    "GS140": CodeEntry(
        title="not a name",
        meaning="Names stand in file, unit and job names: 1 to 63 characters of a-z, 0-9 and -, no - at the ends, "
        "and no device name of Windows (con, nul, …).",
        remedy="Rename it.",
    ),
    "GS141": CodeEntry(
        title="not a size",
        meaning="A size is a number with a unit: 24GiB, 80GB, 512MiB; or a bare number of bytes.",
        remedy="Write it with a unit.",
    ),
    "GS142": CodeEntry(
        title="too small for a number of bytes",
        meaning="A number without unit is a number of bytes, and nothing here is that small: 24 was meant as 24GiB.",
        remedy="Add the unit.",
    ),
    "GS143": CodeEntry(
        title="not a source",
        meaning="A source is hf://owner/repository or modelscope://owner/repository (each with @revision, "
        "and /file or :QUANT), ollama://name:tag or file:///path.",
        remedy="Write it in one of these forms.",
    ),
    "GS144": CodeEntry(
        title="not an address",
        meaning="An address is IPv4, IPv6 or a host name, without scheme and port, and one that a host can have: no multicast "
        "or broadcast address, and as `address` not 0.0.0.0 or ::, which mean all interfaces.",
        remedy="Write, e.g. 10.0.0.11",
    ),
    "GS145": CodeEntry(
        title="not a path",
        meaning="A path on a host begins at its root and holds no '..'; a path in a repository is relative.",
        remedy="Write the path out.",
    ),
    "GS146": CodeEntry(
        title="not a container image",
        meaning="An image is [registry/]name[:tag][@sha256:digest].",
        remedy="Write it as docker pull takes it.",
    ),
    "GS147": CodeEntry(
        title="not a version",
        meaning="A version is written as the engine writes it, e.g. 0.26.0 or b11669.",
        remedy='Write it in quotes: "0.26.0"',
    ),
    "GS148": CodeEntry(
        title="not a port range",
        meaning="A port range is the first and the last port, e.g. 20000-29999.",
        remedy="Write both.",
    ),
    "GS149": CodeEntry(
        title="text in the wrong form",
        meaning="The text has not the form that the key wants, or holds control characters.",
        remedy="Write it like the example in the help.",
    ),
    "GS150": CodeEntry(
        title="unknown GPU",
        meaning="The name of the card is not in the GPU table.",
        remedy="Use the name that nvidia-smi -L prints, or describe the card: model: custom, vendor, memory.",
    ),
    "GS151": CodeEntry(
        title="a GPU that is not described",
        meaning="Vendor or memory of a card is not known.",
        remedy="Write vendor and memory.",
    ),
    "GS152": CodeEntry(
        title="contradiction at a host",
        meaning="Two statements about a host or its GPUs can't both hold.",
        remedy="Correct the one that is wrong.",
    ),
    "GS153": CodeEntry(title="too many GPUs", meaning="A host has more than 1,024 GPUs.", remedy="Check count."),
    "GS154": CodeEntry(
        title="a card in two places",
        meaning="A GPU's UUID is given twice.",
        remedy="Copy each card's own UUID from nvidia-smi -L.",
    ),
    "GS155": CodeEntry(
        title="NVLink between cards that can't have it",
        meaning="A group under `nvlink` has fewer than two cards, a card that another group has or that the host does "
        "not have, or one that is not made by NVIDIA.",
        remedy="Write each group of linked cards once, by the indices of `gpus`; `nvidia-smi topo -m` shows the links "
        "as NV1, NV2 …",
    ),
    "GS160": CodeEntry(
        title="a literal secret",
        meaning="A token, key or password stands in the file, or would stand on a command line where everyone sees it.",
        remedy="Write {secret: name}; put the value into that secret on the host, and revoke the one that was written.",
    ),
    "GS161": CodeEntry(
        title="a variable that overrides the placement",
        meaning="CUDA_VISIBLE_DEVICES and its like choose devices; gslc sets them from the placement. What an engine is "
        "started with is refused too: for vLLM its addresses and ports (VLLM_HOST_IP, VLLM_PORT), Ray's (RAY_ADDRESS), "
        "ranks (RANK, VLLM_DP_RANK) and what gives workers other cards. Logging, NCCL and caches are free.",
        remedy="Remove it; the help names the key that decides it, e.g. gpus: [host/index] for cards.",
    ),
    "GS162": CodeEntry(
        title="a variable that loads other code",
        meaning="LD_PRELOAD, PYTHONPATH, PATH and their like run other code than the pinned engine.",
        remedy="Remove it; set it in the image or on the host.",
    ),
    "GS163": CodeEntry(
        title="not an environment variable",
        meaning="Names of variables are of A-Z, a-z, 0-9 and _, and don't begin with a digit.",
        remedy="Rename it.",
    ),
    "GS164": CodeEntry(
        title="unknown placeholder",
        meaning="In commands of custom programs braces stand for placeholders only: "
        "{port} {host} {name} {gpus} {model} {rank} {nodes} {leader}.",
        remedy="Use one of these, or put the text into a file.",
    ),
    "GS167": CodeEntry(
        title="two hosts of one address",
        meaning="The `address` of two hosts is the same. Endpoints of replicas on both then lead to one host, and a replica "
        "over both is refused (GS663).",
        remedy="Write each host's own address; leave it out where only programs of the host itself are to reach it.",
    ),
    "GS170": CodeEntry(
        title="a pin to nothing",
        meaning="A GPU pin names a host or a card that doesn't exist, or a card twice.",
        remedy="Name cards of the cluster as host/index.",
    ),
    "GS171": CodeEntry(
        title="a selector that no host matches",
        meaning="No host has all labels of the host_selector.",
        remedy="Use labels that exist; the help names them.",
    ),
    "GS172": CodeEntry(
        title="a label that is always there",
        meaning="os, arch and host are labels of every host and follow from the host itself.",
        remedy="Remove the label.",
    ),
    "GS173": CodeEntry(
        title="keys that don't go together",
        meaning="A key has no meaning beside another one.",
        remedy="Remove one of the two.",
    ),
    "GS174": CodeEntry(
        title="requirements that don't add up",
        meaning="An alternative of requirements is empty or contradicts itself.",
        remedy="State gpus with gpu_memory, or memory.",
    ),
    "GS175": CodeEntry(
        title="over a limit", meaning="There are more items, files or replicas than gslc takes.", remedy="Write fewer."
    ),
    "GS176": CodeEntry(
        title="no hosts", meaning="The cluster has no host to place anything on.", remedy="Add one under hosts."
    ),
    "GS177": CodeEntry(
        title="more mistakes than are shown",
        meaning="After the first 200 mistakes a file is not read further.",
        remedy="Mend these first.",
    ),
    "GS178": CodeEntry(
        title="ports that the kernel uses too",
        meaning="The port range reaches into the ports that Linux gives to outgoing connections; "
        "a service may find its port taken.",
        remedy="End the range at 32767, or reserve it with net.ipv4.ip_local_reserved_ports.",
    ),
    "GS179": CodeEntry(
        title="another version of the file",
        meaning="The file is written for another version of gslc.",
        remedy="Write version: 1, or update gslc.",
    ),
}
