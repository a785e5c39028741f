"""Diagnostic codes of this room."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS402": CodeEntry(
        title="a replica has no place",
        meaning="No layout of the model fits on what is free on the hosts that may run it. The message says what each "
        "group of hosts lacks, in bytes; the help names the smallest change that was tried and places it.",
        remedy="Make the change that the help names.",
    ),
    "GS404": CodeEntry(
        title="no port is left",
        meaning="All ports of the cluster's port_range are taken on the host where the replica would lie.",
        remedy="Widen `port_range`.",
    ),
    "GS405": CodeEntry(
        title="a rule leaves no host",
        meaning="There are hosts with room, and a rule of the model keeps it off them: anti_affinity, a fixed port "
        "that is taken, or one Nomad job that can't reach into another target. Or a replica needs several hosts, and they "
        "lack an address, or have different targets, cards or releases of the engine.",
        remedy="Lower `replicas`, add a host, choose another port, or give the rule up; the message names what hosts of "
        "one replica lack.",
    ),
    "GS406": CodeEntry(
        title="no layout for these hosts",
        meaning="The hosts that may run the model have no cards for any way of laying it out; the message says what "
        "was ruled out and why.",
        remedy="Allow offload, name other hosts, or correct the settings that the message names.",
    ),
    "GS407": CodeEntry(
        title="a replica moved",
        meaning="The placement in the lock could not be kept, or a new plan was asked for; the message says why.",
        remedy="None is needed. Restore what was changed to keep the old place.",
    ),
}
