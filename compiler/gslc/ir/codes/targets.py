"""Diagnostic codes of the targets: what systemd, compose and Nomad can't do for a plan."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS650": CodeEntry(
        title="one job over several targets",
        meaning="A replica spans hosts of different targets, or a model that Nomad runs (one job a model) also "
        "has replicas on hosts of another target. No supervisor could start, stop and restart the whole "
        "of it.",
        remedy="Give the hosts of the model one target, or choose hosts of one target with host_selector.",
    ),
    "GS651": CodeEntry(
        title="no program to start",
        meaning="systemd and Nomad's raw_exec driver start a program by its absolute path on the host, and the "
        "plan has none.",
        remedy="Give the model a command, or the engine a path under engines (of the cluster or of the host).",
    ),
    "GS652": CodeEntry(
        title="no container image",
        meaning="The engine has no image for this host's processor and cards, and none was given.",
        remedy="Name one in the model's image or in engines.<engine>.image, or run the host with systemd.",
    ),
    "GS653": CodeEntry(
        title="the image has no RPC",
        meaning="llama.cpp's official images are built without GGML_RPC and hold no RPC server, so a replica that"
        " spans hosts can't start from them.",
        remedy="Build an image with -DGGML_RPC=ON and name it in engines.llama.cpp.image, run the hosts with "
        "systemd, or drop distributed.",
    ),
    "GS654": CodeEntry(
        title="Nomad would replace a part of the text",
        meaning="Nomad's client replaces ${name} in arguments and variables at run time and knows no escape for it.",
        remedy="Write the argument or variable without ${name}.",
    ),
    "GS655": CodeEntry(
        title="a character that no process can be given",
        meaning="An argument, variable, path or name holds a NUL, a lone surrogate, or a control character where "
        "the target's files know no way to write it.",
        remedy="Remove the character.",
    ),
    "GS656": CodeEntry(
        title="Nomad does not count these cards",
        meaning="Nomad's device block takes a card for one job alone and wants its UUID; where cards are shared "
        "or the inventory has no UUIDs, gslc names the cards by environment variables instead, and Nomad "
        "may give the same cards to jobs of other people. All GPU tasks of one node use one of the two "
        "ways.",
        remedy="Keep jobs that gslc did not write off the node, or set exclusive_gpus and the uuid of each card.",
    ),
    "GS657": CodeEntry(
        title="the cards can't be given to a container",
        meaning="Containers can be given NVIDIA, AMD, Intel and Ascend cards on Linux; the others have no way "
        "into one.",
        remedy="Run the host with systemd, or with nomad and nomad_driver raw_exec.",
    ),
    "GS658": CodeEntry(
        title="the driver can't run on this host",
        meaning="Nomad's docker driver starts Linux containers; macOS and Windows hosts run programs by raw_exec.",
        remedy="Set nomad_driver: raw_exec on the host.",
    ),
    "GS659": CodeEntry(
        title="a part of a replica that its other hosts can't reach",
        meaning="A replica spans hosts, and one of its parts listens on its own host alone, or the address of its host is a "
        "loopback one (127.0.0.1, ::1, localhost), which on every host means the host itself.",
        remedy="Give the host an address, or a listen address, that the other hosts reach.",
    ),
    "GS660": CodeEntry(
        title="workers are not restarted with their leader",
        meaning="A replica spans hosts and its engine needs all of its parts to start together, and compose and "
        "Nomad can't restart a process of one host because one of another host ended. With systemd a small service beside "
        "each worker watches the leader's port, which it can't where the leader listens on its own host alone.",
        remedy="Restart the workers after the leader, or run the hosts with systemd and let the leader listen on an "
        "address that the others reach. Workers under Ray (vLLM before 0.11.2) are no such case: they end by themselves.",
    ),
    "GS661": CodeEntry(
        title="Nomad would change the characters",
        meaning="HCL brings every string into Unicode normal form C, escapes included, so a decomposed character "
        "(e followed by a combining accent) would reach the process, or name a file, as another sequence "
        "of bytes.",
        remedy="Write the text in normal form C, rename the file, or run the host with systemd or compose.",
    ),
    "GS662": CodeEntry(
        title="two services of one name",
        meaning="The name of a follower of one model (a-0-rpc-1) is the name of a replica of another "
        "(replica 1 of model a-0-rpc) on the same host, where only one service can have it.",
        remedy="Rename one of the models.",
    ),
    "GS663": CodeEntry(
        title="a replica over hosts of one address",
        meaning="Two hosts that a replica spans have the same address, so one of them would connect to itself, "
        "or to the wrong one.",
        remedy="Give each host the address under which the other reaches it.",
    ),
    "GS664": CodeEntry(
        title="an RPC server without an IPv4 address",
        meaning="The RPC of llama.cpp and llama-box knows IPv4 alone, and its server can't listen on a host name: it "
        'would end with "Invalid host address", or its leader would not find it.',
        remedy="Give the host an IPv4 address (or one that is a name for it), and its listen in numbers, or 0.0.0.0.",
    ),
    "GS665": CodeEntry(
        title="a file that the container does not have",
        meaning="An argument names a file on the host (a chat template, a grammar, an adapter), and the container is given "
        "the model folder alone, so that the engine would not find it and end.",
        remedy="Put the file below model_dir, or into an image of your own, and name that one in image.",
    ),
}
