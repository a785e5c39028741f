"""Diagnostic codes GS800-GS899: files and network."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS860": CodeEntry(
        title="a file can't be read",
        meaning="The operating system refused to open or read a file that the command was given.",
        remedy="Check the path and the permissions.",
    ),
    "GS861": CodeEntry(
        title="not a regular file",
        meaning="A cluster file, lock or include is a device, a pipe or a folder. Only regular files are read.",
        remedy="Give the path of a text file.",
    ),
    "GS862": CodeEntry(
        title="a file is too large",
        meaning="An input file is larger than any cluster file has reason to be.",
        remedy="Split it, and join the parts with include.",
    ),
    "GS863": CodeEntry(
        title="an include leads out of the folder",
        meaning="Includes stay below the folder of the cluster file, links too, so that a repository can't read what is beside it.",
        remedy="Copy the file into the folder.",
    ),
    "GS870": CodeEntry(
        title="a file can't be written",
        meaning="The operating system refused to write the lock or the output. What was there before is whole, or the next build finishes it.",
        remedy="Free space or fix the permissions, then build again.",
    ),
}
