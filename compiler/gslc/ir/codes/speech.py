"""Diagnostic codes GS335-GS339: vox-box."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS335": CodeEntry(
        title="vox-box doesn't take this argument",
        meaning="vox-box start has a short, fixed list of flags, and exits with an error for any other. Most of them gslc sets itself.",
        remedy="Remove the argument.",
    ),
    "GS336": CodeEntry(
        title="not a speech model",
        meaning="backend: vox-box was asked for a model that none of vox-box's detection rules recognises. vox-box would log an error and exit 0.",
        remedy="Remove the backend key or choose a speech model.",
    ),
    "GS337": CodeEntry(
        title="vox-box can't check an API key",
        meaning="vox-box has no setting for an API key; every client that reaches its port is served.",
        remedy="Remove api_key; listen on a private address and put a proxy in front.",
    ),
    "GS338": CodeEntry(
        title="a speech model on several devices",
        meaning="vox-box runs each model in one process, on one NVIDIA card or on the CPU; it can't be split.",
        remedy="Give one device, or none for the CPU.",
    ),
}
