"""Diagnostic codes GS800-GS899: files and network."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

CODES: CodeTable = {
    "GS800": CodeEntry(
        title="a hub can't be reached",
        meaning=(
            "No connection, no answer in time, or a connection that broke, again after several tries. Facts that "
            "were fetched before stay in the lock."
        ),
        remedy=(
            "Check the network, the proxy variables and the hub's endpoint setting (HF_ENDPOINT, "
            "MODELSCOPE_DOMAIN), then run it again."
        ),
    ),
    "GS801": CodeEntry(
        title="a hub answers with an error",
        meaning="The hub was reached and kept answering with an error status of its own.",
        remedy="Try again later.",
    ),
    "GS802": CodeEntry(
        title="a hub limits the rate of requests",
        meaning="The hub answered 429 and kept doing so, or asked to wait for longer than a minute.",
        remedy="Try again later; with HF_TOKEN set, Hugging Face allows more requests.",
    ),
    "GS803": CodeEntry(
        title="a hub's answer makes no sense",
        meaning=(
            "HTML or broken JSON instead of an answer of the API, too many bytes, another range than the one "
            "asked for, or a listing without commit or sizes."
        ),
        remedy="Check that the endpoint setting names a hub and no login page or proxy.",
    ),
    "GS804": CodeEntry(
        title="a hub ignores range requests",
        meaning="The server answers with whole files. Model files have gigabytes, so they are never read that way.",
        remedy="Use an endpoint that supports Range, or download the model and name it by file://.",
    ),
    "GS805": CodeEntry(
        title="a redirect is not followed",
        meaning=(
            "The hub redirects too often, from https to http, to an address with a user name, or from the "
            "internet into a private network."
        ),
        remedy="Check the endpoint setting of the hub.",
    ),
    "GS806": CodeEntry(
        title="an endpoint setting is no address",
        meaning=(
            "HF_ENDPOINT, MODELSCOPE_DOMAIN or OLLAMA_LIBRARY_BASE_URL must be http(s)://host[/path] without user "
            "name and query."
        ),
        remedy="Correct or unset the variable.",
    ),
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
    "GS899": CodeEntry(
        title="the operating system refused",
        meaning="A read or write failed in a way that no other code describes. The message is the operating system's.",
        remedy="Check the disk, the permissions and the limits of the process.",
    ),
}
