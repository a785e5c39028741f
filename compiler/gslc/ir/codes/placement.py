"""Diagnostic codes of this room."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS402": CodeEntry(
        title="a replica has no place",
        meaning="No layout of the model fits on what is free on the hosts that may run it. The message says what each "
        "group of hosts lacks, in bytes; the help names the smallest change that was tried and places it.",
        remedy="Make the change that the help names.",
    ),
    "GS407": CodeEntry(
        title="a replica moved",
        meaning="The placement in the lock could not be kept, or a new plan was asked for; the message says why.",
        remedy="None is needed. Restore what was changed to keep the old place.",
    ),
}
