"""Environment variables that an engine's start sets or was planned with: a value of the user's own would contradict it.

Left free are those that change neither placement nor addresses: logging, NCCL, caches (HF_HOME, TRITON_CACHE_DIR,
XDG_CACHE_HOME, VLLM_CACHE_ROOT), usage statistics, Ray's memory monitor, and HF_HUB_OFFLINE, since "0" only lets an
adapter or a tokenizer named in `args` come from the hub.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from gslc.ir.diagnostic import Diagnostic
from gslc.ir.inputs import SecretRef
from gslc.ir.placement import Request
from gslc.ir.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnVariable:
    """Names of variables that a model may not set, why not, and what to do instead."""

    names: re.Pattern[str]
    why: str
    remedy: str


def _own(names: str, why: str, remedy: str) -> OwnVariable:
    return OwnVariable(names=re.compile(rf"(?:{names})\Z"), why=why, remedy=remedy)


# vllm/envs.py of 0.7.3 to 0.26.0, and Ray's ray_constants.py of 2.40 to 2.50
OWN: Mapping[str, tuple[OwnVariable, ...]] = {
    "vllm": (
        _own(
            "VLLM_HOST_IP",
            "gslc gives each host of a replica its own address in it",
            "remove it, and set the address of each host under hosts",
        ),
        _own(
            "VLLM_PORT",
            "every replica on a host would open its inner ports from this one on",
            "remove it: vLLM takes free ports",
        ),
        _own("VLLM_DP_[A-Z_]+", "every replica is placed as an instance of its own", "remove it, and use replicas"),
        _own(
            "(?:LOCAL_)?RANK|(?:LOCAL_)?WORLD_SIZE|MASTER_(?:ADDR|PORT)",
            "it follows from the placement",
            "remove it: gslc starts the ranks",
        ),
        _own(
            "RAY_ADDRESS|RAY_NAMESPACE",
            "gslc starts a Ray for each replica, and tells vLLM where it is",
            "remove it; distributed decides it",
        ),
        _own(
            "VLLM_RAY_(?:PER_WORKER_GPUS|BUNDLE_INDICES)|RAY_OVERRIDE_[A-Z_]+|RAY_EXPERIMENTAL_NOSET_[A-Z_]+",
            "it would give workers other cards than the placement does",
            "remove it, and pin cards with gpus: [host/0]",
        ),
    ),
    # tools/server/server-http.cpp of b11669: Vertex AI's variables set port and routes, over the command line
    "llama.cpp": (_own("AIP_[A-Z_]+", "with it llama-server takes another port than the plan's", "remove it"),),
}
# The variable in which an engine is told the API key that `api_key` names.
KEY_VARIABLES: Mapping[str, str] = {"vllm": "VLLM_API_KEY", "llama.cpp": "LLAMA_API_KEY"}


def own_variable(backend: str, name: str) -> OwnVariable | None:
    """Why a model on this backend may not set a variable; None where it may."""
    return next((own for own in OWN.get(backend, ()) if own.names.match(name)), None)


def review_variables(request: Request) -> Iterator[Diagnostic]:
    """The variables in `env` that would contradict how the engine is started."""
    model, places = request.model, request.cluster.places
    for name, value in model.env:
        place = places.at("models", model.name, "env", name)
        own = own_variable(request.backend, name)
        if own is not None:
            yield Diagnostic(
                code="GS161",
                message=f"model {model.name}: env holds {name}, and {own.why}",
                place=place,
                help=own.remedy,
            )
        elif (
            name == KEY_VARIABLES.get(request.backend)
            and isinstance(value, SecretRef)
            and model.api_key not in (None, value)
        ):
            yield Diagnostic(
                code="GS173",
                message=f"model {model.name}: api_key is another secret than {value.name}, to which env sets {name}: "
                "the engine takes one key",
                place=place,
                help=f"keep api_key and remove {name} from env",
            )
