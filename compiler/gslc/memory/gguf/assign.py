"""Which device holds which block: the engine's rule for -ngl, -ts, -sm and -mg."""

from __future__ import annotations

from array import array
from bisect import bisect_right

from gslc.engines.llama_profile import EngineProfile
from gslc.engines.llama_settings import LlamaSettings

HOST = -1


def assign_layers(
    blocks: int, devices: int, settings: LlamaSettings, profile: EngineProfile, free: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """The device of every block and, last, of the output layer; HOST for the CPU.

    llama_model_base::load_tensors: the last `act` of blocks + 1 items go to devices, item i to the first device whose
    cumulated share of -ts (in single precision) is above its place. Without -ts the engine splits by free memory;
    `free` stands for that, else equal shares. Before PR 18148 the blocks were counted without the output layer.
    """
    if not devices:
        return (HOST,) * (blocks + 1)
    wanted = settings.gpu_layers
    layers = blocks + 1 if wanted is None or isinstance(wanted, str) else wanted
    if settings.split_mode == "none":
        weights = [1.0 if index == min(settings.main_gpu, devices - 1) else 0.0 for index in range(devices)]
    elif settings.tensor_split is not None:
        weights = (list(settings.tensor_split) + [0.0] * devices)[:devices]
    elif len(free) == devices and sum(free) > 0:
        weights = [float(amount) for amount in free]
    else:
        weights = [1.0] * devices
    if not any(weights):
        weights = [1.0] * devices
    if profile.output_first:
        start, active = max(blocks + 1 - layers, 0), min(layers, blocks + 1)
    else:
        start, active = max(blocks - layers, 0), min(layers, blocks + 1)
    shares = _cumulated(weights)
    found = []
    for item in range(blocks + 1):
        outside = item < start or item - start >= active
        place = array("f", [float(item - start)])[0] / active if active else 0.0
        found.append(HOST if outside else min(bisect_right(shares, array("f", [place])[0]), devices - 1))
    return tuple(found)


def _cumulated(weights: list[float]) -> list[float]:
    """Running shares in single precision, as the engine cumulates and divides them."""
    total = array("f", [0.0])
    running = []
    for weight in weights:
        total[0] += array("f", [weight])[0]
        running.append(total[0])
    return [array("f", [value / total[0]])[0] for value in running]
