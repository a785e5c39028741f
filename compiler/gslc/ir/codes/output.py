"""Diagnostic codes GS600-GS649: the output folder (GS650-GS689 belong to the targets, GS690-GS699 to `gslc init`)."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS601": CodeEntry(
        title="an owned file was edited by hand",
        meaning="A file that the manifest lists differs from what the last build wrote, so publishing would lose an edit. In "
        "the middle of a merge, what either side built and what Git made of the two is no edit.",
        remedy="Make the change in cluster.yaml (args, env) and undo the edit, or build with --force. After a merge, take either "
        "side of the file from Git and build.",
    ),
    "GS602": CodeEntry(
        title="a foreign file is in the way",
        meaning="The build wants to write a file that exists and that gslc does not own.",
        remedy="Move the file away, choose another folder with -o, or build with --force.",
    ),
    "GS603": CodeEntry(
        title="a link or folder is in the way",
        meaning="A component of an output path is a symbolic link, a device or a folder where a file belongs. Links are never followed.",
        remedy="Remove it.",
    ),
    "GS604": CodeEntry(
        title="the folder belongs to another cluster",
        meaning="MANIFEST.json in the output folder names another cluster, whose files would be removed.",
        remedy="Build into another folder with -o.",
    ),
    "GS605": CodeEntry(
        title="the manifest is damaged",
        meaning="MANIFEST.json is not what gslc writes, so it is not known which files may be replaced. Conflict markers of Git "
        "are no damage as long as both sides can be read.",
        remedy="Restore it from Git (after a merge: either side), or build into an empty folder.",
    ),
    "GS606": CodeEntry(
        title="two instances share an output name",
        meaning="Two different instances would be written to the same file or service name.",
        remedy="Rename one of the models.",
    ),
    "GS607": CodeEntry(
        title="git ignores the output folder",
        meaning="The built files are made to be committed, but a .gitignore rule hides them.",
        remedy="Remove the rule, or build into another folder with -o.",
    ),
    "GS608": CodeEntry(
        title="the output is out of date",
        meaning="With --check: the folder or the lock does not hold what the cluster file compiles to.",
        remedy="Run gslc build and commit what it writes. Where a file is reported that a build refuses to touch (GS601 to "
        "GS605), mend that first.",
    ),
    "GS609": CodeEntry(
        title="the last build was interrupted",
        meaning="The folder holds the journal of a build that did not end; it may mix old and new files.",
        remedy="Run gslc build again: it finishes the work.",
    ),
    "GS690": CodeEntry(
        title="there is a cluster already",
        meaning="`gslc init` starts a new cluster and never overwrites one.",
        remedy="Name another folder.",
    ),
    "GS691": CodeEntry(
        title="a file was kept",
        meaning="`gslc init` found a file that it would have written, and left it as it is.",
        remedy="Compare it with what gslc init writes into an empty folder.",
    ),
    "GS692": CodeEntry(
        title="a first file could not be written",
        meaning="The folder can't be made or written to.",
        remedy="Check the folder and its permissions.",
    ),
}
