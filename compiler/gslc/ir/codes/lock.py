"""Diagnostic codes of gslc.lock."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

_TAKE = "Take either side of the file from Git and run `gslc build`: it fills what is missing and moves nothing else."

CODES: CodeTable = {
    "GS200": CodeEntry(
        title="the lock is not JSON",
        meaning="gslc.lock can't be parsed: it was cut off, edited by hand, or is another file.",
        remedy=_TAKE,
    ),
    "GS201": CodeEntry(
        title="the lock holds a merge conflict marker",
        meaning="Two branches changed neighbouring entries and Git left both sides in the file.",
        remedy=_TAKE,
    ),
    "GS202": CodeEntry(
        title="the lock has a field of the wrong kind",
        meaning="A field is unknown, missing, or holds a value that gslc never writes there.",
        remedy=_TAKE + " If another release of gslc wrote the lock, use that release.",
    ),
    "GS203": CodeEntry(
        title="the lock belongs to another cluster",
        meaning=(
            "A lock carries the name of the cluster it was made for, so that one cluster's placements are never "
            "applied to another."
        ),
        remedy="Name this cluster's own lock with `--lock-file`, or delete the file if the cluster was renamed.",
    ),
    "GS204": CodeEntry(
        title="the lock is not canonical",
        meaning=(
            "The values may be right, but the bytes are not the ones gslc writes: reordered keys, other spacing, "
            "CRLF line ends, a doubled key."
        ),
        remedy=_TAKE + " Put `gslc.lock -text` into .gitattributes where Git changes line ends.",
    ),
    "GS205": CodeEntry(
        title="the lock contradicts itself",
        meaning=(
            "Two facts of one entry can't both be true: a size that differs from the tensor table, a file listed "
            "twice, a replica placed twice."
        ),
        remedy="Run `gslc lock --upgrade-model NAME` on the lock from Git, or take the file from Git again.",
    ),
    "GS206": CodeEntry(
        title="an entry of the lock was changed by hand",
        meaning="Facts and placements carry a digest of their own lines, and this one doesn't have it.",
        remedy=(
            "Take the lines from Git. To pin a placement use the model's `gpus` and `port`; to refresh facts run "
            "`gslc lock --upgrade-model NAME`."
        ),
    ),
    "GS207": CodeEntry(
        title="the lock has a version that this gslc doesn't read",
        meaning="The lock was written by a release of gslc with another lock format.",
        remedy="Use that release, or delete the lock and run `gslc lock`.",
    ),
    "GS208": CodeEntry(
        title="the lock lacks a model and may not be changed",
        meaning=(
            "With --locked or --frozen the lock must already hold the facts of every model; this model is new, or "
            "its source was changed."
        ),
        remedy="Run `gslc lock` and commit the result.",
    ),
}
