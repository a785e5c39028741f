"""Memory of vox-box's speech models, by framework and size of the model file.

What is known (bytes; measured on CPU with vox-box 0.0.21, faster-whisper 1.0.3):

* The server process takes 513 MB before any weights (torch and transformers are imported).
* faster-whisper on the CPU keeps float32: twice its float16 model.bin. Measured peak of the weights: 294 MB for tiny
  (75,446,751 bytes of model.bin), 1,151 MB for small (482,973,359): twice the file plus 144 and 186 MB.
* On a GPU nobody has measured vox-box. GPUStack 0.5.1 claims a step by file size (OpenAI's figures for the original
  implementation, gpustack/policies/candidate_selectors/vox_box_resource_fit_selector.py); published figures of
  faster-whisper are far lower, so the claim is an upper bound.
"""

from __future__ import annotations

from gslc.ir.diagnostic import Decision, Diagnostic, Outcome, Place
from gslc.ir.estimate import Estimate, EstimateAsk
from gslc.ir.facts import ModelFacts, SpeechFacts
from gslc.ir.plan import Basis, DeviceMemory
from gslc.ir.record import dataclass

DEFAULT_VERSION = "0.0.21"  # the release whose behaviour was measured

MIB = 1024**2
GIB = 1024**3

PROCESS_BYTES = 513_000_000  # measured, see above
WHISPER_WORK_BYTES = 200 * MIB  # above twice the file; measured 144 MB (tiny) and 186 MB (small)

# model.bin up to this size -> VRAM that GPUStack claims
WHISPER_CLAIMS = (
    (100 * MIB, 1 * GIB),
    (200 * MIB, 1 * GIB),
    (500 * MIB, 2 * GIB),
    (3 * GIB // 2, 5 * GIB),
    (8 * GIB // 5, 6 * GIB),
    (31 * GIB // 10, 10 * GIB),
)
BARK_CLAIMS = ((2 * GIB, 2 * GIB), (5 * GIB, 12 * GIB))
COSYVOICE_GPU_BYTES = 3 * GIB
COSYVOICE_GPU_HOST_BYTES = 7 * GIB
COSYVOICE_CPU_BYTES = 6 * GIB
DIA_GPU_BYTES = 10 * GIB
DIA_GPU_HOST_BYTES = 1 * GIB
DIA_CPU_BYTES = 10 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechNeed:
    """What a speech model takes: on the card (None: it runs on the CPU) and in host RAM."""

    gpu: DeviceMemory | None
    host: DeviceMemory
    basis: Basis


def gpu_need(facts: SpeechFacts) -> SpeechNeed:
    """Bytes on one NVIDIA card. Host RAM is the process and the file, which passes through it while it loads."""
    size = facts.model_bytes
    if facts.framework == "cosyvoice":
        return claimed(size, COSYVOICE_GPU_BYTES, COSYVOICE_GPU_HOST_BYTES)
    if facts.framework == "dia":
        return claimed(size, DIA_GPU_BYTES, DIA_GPU_HOST_BYTES + PROCESS_BYTES)
    bands = {"faster-whisper": WHISPER_CLAIMS, "bark": BARK_CLAIMS}.get(facts.framework, ())
    claim = next((claim for limit, claim in bands if size <= limit), None)
    if claim is not None:
        return claimed(size, claim, PROCESS_BYTES + size)
    # No claim exists (FunASR, files beyond the last band): float32 weights as torch holds them at most (twice a float16
    # file), as much again for activations, and a CUDA context of 0.6 GiB (measured on H200 for another torch program).
    return SpeechNeed(
        gpu=DeviceMemory(weights=2 * size, compute=2 * size, overhead=3 * GIB // 5),
        host=DeviceMemory(weights=size, overhead=PROCESS_BYTES),
        basis="derived",
    )


def claimed(size: int, gpu_bytes: int, host_bytes: int) -> SpeechNeed:
    """GPUStack's claim, split into the file and the rest."""
    weights = min(size, gpu_bytes)
    return SpeechNeed(
        gpu=DeviceMemory(weights=weights, compute=gpu_bytes - weights),
        host=DeviceMemory(overhead=host_bytes),
        basis="claimed",
    )


def cpu_need(facts: SpeechFacts) -> SpeechNeed:
    """Bytes of host RAM without a card."""
    size = facts.model_bytes
    if facts.framework == "faster-whisper":
        # the work area grows with the model; 15 % of the float32 weights covers both measured sizes
        work = max(WHISPER_WORK_BYTES, -(-2 * size * 15 // 100))
        basis: Basis = "measured" if size <= 500 * MIB else "derived"
        return SpeechNeed(
            gpu=None, host=DeviceMemory(weights=2 * size, compute=work, overhead=PROCESS_BYTES), basis=basis
        )
    if facts.framework == "cosyvoice":
        return SpeechNeed(gpu=None, host=DeviceMemory(overhead=COSYVOICE_CPU_BYTES), basis="claimed")
    if facts.framework == "dia":
        return SpeechNeed(gpu=None, host=DeviceMemory(overhead=DIA_CPU_BYTES), basis="claimed")
    # Bark's CPU claim is one and a half times its VRAM claim; FunASR has none: float32 weights, as much for work.
    claim = next((claim for limit, claim in BARK_CLAIMS if size <= limit), None) if facts.framework == "bark" else None
    if claim is not None:
        return SpeechNeed(gpu=None, host=DeviceMemory(overhead=claim * 3 // 2), basis="claimed")
    return SpeechNeed(
        gpu=None, host=DeviceMemory(weights=2 * size, compute=2 * size, overhead=PROCESS_BYTES), basis="derived"
    )


def estimate(facts: ModelFacts, ask: EstimateAsk) -> Outcome[Estimate]:
    """What a speech model takes on the one device asked for, or on the CPU. Several devices are a GS338 error."""
    speech = facts.speech
    if speech is None:
        raise ValueError(f"{facts.source} is no speech model")
    if len(ask.devices) > 1:
        return Outcome(
            value=None,
            diagnostics=(
                Diagnostic(
                    code="GS338",
                    place=Place(file=facts.source),
                    message=f"vox-box runs a model on one NVIDIA card or on the CPU, not on {len(ask.devices)} devices",
                    help="give one device, or none for the CPU",
                ),
            ),
        )
    device = ask.devices[0] if ask.devices else None
    on_card = device is not None and device.vendor == "nvidia"
    need = gpu_need(speech) if on_card else cpu_need(speech)
    fits_card = need.gpu is None or (device is not None and need.gpu.total <= device.memory_bytes)
    fits_host = ask.host_memory_bytes is None or need.host.total <= ask.host_memory_bytes
    because = f"{speech.framework} with {speech.model_bytes} bytes of {speech.model_file}: {need.basis}"
    return Outcome(
        value=Estimate(
            backend="vox-box",
            engine_version=ask.engine_version or DEFAULT_VERSION,
            layers=None,
            gpu_layers=None,
            devices=tuple(need.gpu or DeviceMemory() for _ in ask.devices),
            host=need.host,
            fits=fits_card and fits_host,
            max_context=None,
            kv_bytes_per_token=0,
            basis=need.basis,
            decisions=(
                Decision(
                    subject=facts.source,
                    topic="memory",
                    chosen=f"{(need.gpu or need.host).total} bytes",
                    rule=f"speech-{need.basis}",
                    because=because if on_card or device is None else f"{because}; {device.vendor} cards are not used",
                ),
            ),
        )
    )
