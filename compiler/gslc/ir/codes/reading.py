"""Diagnostic codes for plans that are read back: plan files, output folders and git revisions (GS850-GS869)."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS850": CodeEntry(
        title="plan is not JSON",
        meaning="The file that was given as a plan can't be read as JSON: it was cut short, edited by hand, holds merge conflict "
        "markers, or is another kind of file.",
        remedy="Build the plan again with `gslc build`, or name the right file.",
    ),
    "GS851": CodeEntry(
        title="not a gslc plan",
        meaning="The file is JSON, but a field that every plan has is missing or holds another kind of value. Fields that this "
        "version does not know are ignored, so a plan of a newer gslc with the same `version` can still be read.",
        remedy="Name a plan.json, or an output folder that holds one.",
    ),
    "GS852": CodeEntry(
        title="plan of an unknown version",
        meaning="`version` in the plan is not one that this gslc can read.",
        remedy="Read the plan with the gslc that wrote it, or with a newer one.",
    ),
    "GS853": CodeEntry(
        title="no plan there",
        meaning="The path that was given is neither a plan file nor a folder that holds plan.json.",
        remedy="Give the output folder of a build, a plan.json, or a git revision with a path, as in `HEAD~1:build`.",
    ),
    "GS854": CodeEntry(
        title="git can't find it",
        meaning="The revision does not exist in this repository, or holds no such path. Continuous integration often fetches only "
        "the newest commit, so that older revisions are missing.",
        remedy="Check the revision and the path with `git ls-tree`; in CI, fetch the history (`fetch-depth: 0`).",
    ),
    "GS855": CodeEntry(
        title="git can't be used here",
        meaning="A git revision was given, but the program `git` is not there, the folder is not inside a repository, or git "
        "refused to read it.",
        remedy="Install git and run the command inside the repository, or give folders or plan files.",
    ),
    "GS856": CodeEntry(
        title="plan can't be read from disk",
        meaning="The operating system refused to open or read the file, or the file is no UTF-8 text.",
        remedy="Check the file's permissions and that it is the plan.json that gslc wrote.",
    ),
    "GS857": CodeEntry(
        title="plans of different clusters",
        meaning="The two plans that are compared carry different cluster names, so nearly everything will look changed.",
        remedy="Compare two plans of the same cluster, or go on if the cluster was renamed.",
    ),
}
