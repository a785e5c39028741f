"""Memory of speech models: never below what was measured, never above what GPUStack claims."""

from __future__ import annotations

import pytest

from gslc.ir.estimate import EstimateAsk
from gslc.ir.facts import ModelFacts, SpeechFacts, SpeechFramework
from gslc.ir.inputs import GpuKind
from gslc.memory.speech import GIB, MIB, PROCESS_BYTES, cpu_need, estimate, gpu_need


def speech(framework: SpeechFramework, size: int) -> SpeechFacts:
    return SpeechFacts(framework=framework, model_file="model.bin", model_bytes=size)


@pytest.mark.parametrize(("size", "peak"), [(75_446_751, 294_000_000), (482_973_359, 1_151_000_000)])
def test_whisper_on_the_cpu_covers_the_measured_peak_and_stays_below_the_claim(size: int, peak: int) -> None:
    need = cpu_need(speech("faster-whisper", size))
    claim = gpu_need(speech("faster-whisper", size)).gpu
    assert need.basis == "measured"
    assert claim is not None
    assert peak + PROCESS_BYTES <= need.host.total <= claim.total * 3 // 2


@pytest.mark.parametrize(
    ("size", "claim"),
    [(76 * 10**6, 1), (145 * 10**6, 1), (483 * 10**6, 2), (1528 * 10**6, 5), (1618 * 10**6, 6), (3087 * 10**6, 10)],
)
def test_whisper_on_a_card_takes_the_band_of_its_file(size: int, claim: int) -> None:
    need = gpu_need(speech("faster-whisper", size))
    assert need.gpu is not None
    assert (need.gpu.total, need.basis) == (claim * GIB, "claimed")


def test_a_file_beyond_the_last_band_is_derived_and_larger_than_the_band_below() -> None:
    need = gpu_need(speech("faster-whisper", 4 * GIB))
    assert need.gpu is not None
    assert need.gpu.total > 10 * GIB
    assert need.basis == "derived"


@pytest.mark.parametrize("framework", ["cosyvoice", "dia", "bark", "funasr", "faster-whisper"])
def test_every_framework_has_figures_for_card_and_cpu(framework: SpeechFramework) -> None:
    gpu, cpu = gpu_need(speech(framework, 900 * MIB)), cpu_need(speech(framework, 900 * MIB))
    assert gpu.gpu is not None
    assert gpu.gpu.total >= 900 * MIB
    assert gpu.host.total >= PROCESS_BYTES
    assert cpu.gpu is None
    assert cpu.host.total >= 900 * MIB


def test_cosyvoice_takes_what_gpustack_claims() -> None:
    gpu, cpu = gpu_need(speech("cosyvoice", 300 * MIB)), cpu_need(speech("cosyvoice", 300 * MIB))
    assert gpu.gpu is not None
    assert (gpu.gpu.total, gpu.host.total, cpu.host.total) == (3 * GIB, 7 * GIB, 6 * GIB)


def facts() -> ModelFacts:
    return ModelFacts(
        source="hf://Systran/faster-whisper-large-v3", revision=None, files=(), kind="speech-to-text", kind_reason="",
        speech=speech("faster-whisper", 3_087_284_237),
    )  # fmt: skip


def test_an_estimate_says_whether_the_card_is_large_enough() -> None:
    small, large = (GpuKind(model="", vendor="nvidia", memory_bytes=gib * GIB) for gib in (8, 12))
    answers = [estimate(facts(), EstimateAsk(devices=(card,))).value for card in (small, large)]
    assert [answer.fits for answer in answers if answer] == [False, True]


def test_an_estimate_on_the_cpu_and_on_a_card_that_vox_box_can_t_use_is_the_same() -> None:
    radeon = GpuKind(model="", vendor="amd", memory_bytes=24 * GIB)
    cpu, amd = estimate(facts(), EstimateAsk()).value, estimate(facts(), EstimateAsk(devices=(radeon,))).value
    assert cpu is not None
    assert amd is not None
    assert cpu.host == amd.host
    assert [device.total for device in amd.devices] == [0]


def test_several_devices_are_refused() -> None:
    card = GpuKind(model="", vendor="nvidia", memory_bytes=24 * GIB)
    assert [d.code for d in estimate(facts(), EstimateAsk(devices=(card, card))).diagnostics] == ["GS338"]
