"""Memory of diffusion models in one GGUF file, as llama-box runs them: weights, text encoders, VAE, and their work.

Nobody has published buffer by buffer figures of llama-box, so everything here is derived from the tensor shapes. The
stages (text encoders, diffusion, VAE) run one after another, so that the largest work buffer counts; all weights stay
where they were loaded.
"""

from __future__ import annotations

import re

from gslc.engines.llama_args import ParsedArgs, parse_args
from gslc.engines.llama_profile import profile_of
from gslc.ir.diagnostic import Decision, Diagnostic, Outcome, Place
from gslc.ir.estimate import Estimate, EstimateAsk
from gslc.ir.facts import GgufFacts, ModelFacts, TensorGroup
from gslc.ir.inputs import Vendor
from gslc.ir.placement import Choice, HostClass, Options, PartNeed
from gslc.ir.plan import DeviceMemory, Layout
from gslc.ir.record import dataclass
from gslc.memory.gguf.estimate import bad_version
from gslc.memory.gguf.overhead import PROCESS, PROCESS_WITH_GPU, overhead_of
from gslc.memory.gguf.types import pad, tensor_bytes

FLOAT = 4
SIDE_DEFAULT = 1024  # llama-box --image-max-width and --image-max-height
TILE_SIDE = 256  # pixels decoded at a time with --image-vae-tiling: 32 latent cells of 8 pixels
LATENT_STEP = 8  # pixels of one latent cell in each direction
TEXT_TOKENS = 256  # T5 prompts are padded to this; CLIP's are shorter
TRANSFORMER_FLOATS = 17  # activations of a token over the hidden width: Q, K, V, the feed forward's 4, copies, norms
UNET_FLOATS = 20  # activations of a cell over the width, the skip connections included
IM2COL_BYTES = 9 * 2  # a 3 x 3 convolution copies its input nine times in f16
ALL_LAYERS = 999
VAE_PREFIXES = ("first_stage_model.", "vae.", "autoencoder.")
TEXT_PREFIXES = ("cond_stage_model.", "conditioner.", "text_encoders.", "text_model.", "te.", "te1.", "te2.")
VAE_FLAGS = ("--image-vae-model", "--image-taesd-model")
TEXT_FLAGS = ("--image-clip-l-model", "--image-clip-g-model", "--image-t5xxl-model")
ONE_GPU_RANK, CPU_RANK = 0, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShape:
    """What of a diffusion file decides its memory; bytes and elements."""

    text_bytes: int
    diffusion_bytes: int
    vae_bytes: int
    vae_width: int  # channels at full resolution
    attention: tuple[tuple[int, int, int], ...]  # cells' side in pixels, heads, width of every kind of attention
    transformer: bool

    @property
    def weights(self) -> int:
        """All weights."""
        return self.text_bytes + self.diffusion_bytes + self.vae_bytes

    def work_bytes(self, width: int, height: int, *, tiled: bool) -> int:
        """The largest work buffer of the stages for one image."""
        area = min(width, TILE_SIDE) * min(height, TILE_SIDE) if tiled else width * height
        decode = area * self.vae_width * (IM2COL_BYTES + 2 * FLOAT)
        most = decode if self.vae_bytes else 0
        for step, heads, inner in self.attention:
            tokens = -(-width // step) * -(-height // step)
            floats = UNET_FLOATS
            if self.transformer:
                tokens, floats = tokens + TEXT_TOKENS, TRANSFORMER_FLOATS
            # scores are kept whole and in f32: llama-box draws without flash attention unless told
            most = max(most, FLOAT * tokens * (tokens * heads + floats * inner))
        return most


def image_shape(facts: GgufFacts) -> ImageShape:
    """The shape of a diffusion file by the names of its tensors (stable-diffusion.cpp, model.cpp)."""
    text = vae = diffusion = 0
    for group in facts.tensors:
        size = pad(tensor_bytes(group.type, group.shape), 128) * group.count
        if group.name.startswith(VAE_PREFIXES):
            vae += size
        elif group.name.startswith(TEXT_PREFIXES):
            text += size
        else:
            diffusion += size
    attention, transformer = _attention(facts.tensors)
    return ImageShape(
        text_bytes=text,
        diffusion_bytes=diffusion,
        vae_bytes=vae,
        vae_width=_vae_width(facts.tensors),
        attention=attention,
        transformer=transformer,
    )


def _vae_width(tensors: tuple[TensorGroup, ...]) -> int:
    """Channels that enter the decoder's last stage: 3 x 3 convolutions at the picture's own resolution."""
    found = [
        group.shape[2]
        for group in tensors
        if group.name.startswith(VAE_PREFIXES) and "decoder.up.0." in group.name and group.name.endswith("conv1.weight")
        if len(group.shape) == 4
    ]
    return max(found, default=256)


def _attention(tensors: tuple[TensorGroup, ...]) -> tuple[tuple[tuple[int, int, int], ...], bool]:
    """Each kind of self attention, and whether the model is a transformer (else a U-Net)."""
    unet = [g for g in tensors if g.name.endswith("attn1.to_q.weight") and "input_blocks.{}" in g.name and g.blocks]
    if unet:
        contexts = {g.shape[0] for g in tensors if g.name.endswith("attn2.to_k.weight")}
        first = contexts == {768}  # Stable Diffusion 1: always 8 heads; later ones: heads of 64
        kinds = {
            (LATENT_STEP << (min(g.blocks) // 3), 8 if first else max(1, g.shape[1] // 64), g.shape[1]) for g in unet
        }
        return tuple(sorted(kinds)), False
    widths = [
        g.shape[0] for g in tensors if g.name.endswith(("attn.qkv.weight", "attn1.to_q.weight", "attn.wq.weight"))
    ]
    text = (*VAE_PREFIXES, *TEXT_PREFIXES)
    hidden = max(widths, default=0) or max((g.shape[0] for g in tensors if not g.name.startswith(text)), default=0)
    heads = [g.shape[0] for g in tensors if g.name.endswith(("query_norm.scale", "ln_q.weight", "norm_q.weight"))]
    head = min((h for h in heads if h), default=64)
    return ((2 * LATENT_STEP, max(1, hidden // head), hidden),), True  # patches of 2 x 2 cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The pictures that an instance is ready for."""

    width: int = SIDE_DEFAULT
    height: int = SIDE_DEFAULT
    tiled: bool = True


def drawing_of(parsed: ParsedArgs) -> Drawing:
    """Size and tiling by the user's arguments."""
    sides = {"--image-max-width": SIDE_DEFAULT, "--image-max-height": SIDE_DEFAULT}
    tiled = True
    for flag in parsed.flags:
        if flag.setting in sides and flag.values and re.fullmatch(r"[0-9]{1,9}", flag.values[0]):
            sides[flag.setting] = int(flag.values[0])
        if flag.spelling == "--image-no-vae-tiling":
            tiled = False
    return Drawing(width=sides["--image-max-width"], height=sides["--image-max-height"], tiled=tiled)


def missing_stages(shape: ImageShape, parsed: ParsedArgs) -> tuple[str, ...]:
    """Stages that neither the file nor an argument brings; the engine does not start without them."""
    given = {flag.setting for flag in parsed.flags}
    found = []
    if not shape.text_bytes and not given.intersection(TEXT_FLAGS):
        found.append("text encoder")
    if not shape.vae_bytes and not given.intersection(VAE_FLAGS):
        found.append("VAE")
    return tuple(found)


def image_memory(
    shape: ImageShape, drawing: Drawing, vendor: Vendor | None
) -> tuple[DeviceMemory | None, DeviceMemory]:
    """On the card (None without one) and in host RAM."""
    work = shape.work_bytes(drawing.width, drawing.height, tiled=drawing.tiled)
    if vendor is None:
        return None, DeviceMemory(weights=shape.weights, compute=work, overhead=PROCESS)
    device = overhead_of(vendor)
    card = DeviceMemory(weights=shape.weights, compute=work, overhead=device.dense + device.no_flash)
    picture = FLOAT * 3 * drawing.width * drawing.height * 4  # latent, picture, and their copies for the answer
    return card, DeviceMemory(compute=picture, overhead=PROCESS_WITH_GPU)


def image_options(name: str, shape: ImageShape, drawing: Drawing, host_class: HostClass, *, exclusive: bool) -> Options:
    """One GPU, or the CPU: the engine neither splits nor partly offloads a diffusion model."""
    fixed = []
    vendor = host_class.gpu_kinds[0].vendor if host_class.gpu_kinds else None
    for where in (vendor, None) if vendor else (None,):
        card, host = image_memory(shape, drawing, where)
        label = "one GPU" if card else "CPU"
        size = f"pictures up to {drawing.width}x{drawing.height}"
        fixed.append(
            Choice(
                rank=ONE_GPU_RANK if card else CPU_RANK,
                label=label,
                parts=(PartNeed(gpus=(card,) if card else (), host=host),),
                layout=Layout(gpu_layers=ALL_LAYERS if card else 0),
                offloaded_bytes=0 if card else shape.weights,
                exclusive=exclusive,
                basis="derived",
                decisions=(
                    Decision(
                        subject=name,
                        topic="memory",
                        chosen=label,
                        rule="image-footprint",
                        because=f"weights, text encoders and VAE, and the largest work buffer for {size}",
                        evidence=(("weights", shape.weights), ("compute", (card or host).compute)),
                    ),
                ),
            )
        )
    return Options(fixed=tuple(fixed))


def _no_images(facts: ModelFacts) -> Diagnostic:
    return Diagnostic(
        code="GS320",
        message=f"llama.cpp draws no images, and {facts.kind_reason}",
        place=Place(file=facts.source),
        help="use --engine llama-box",
    )


def estimate(facts: ModelFacts, ask: EstimateAsk) -> Outcome[Estimate]:
    """The answer to `gslc estimate` for a diffusion file; errors for another engine and for several devices."""
    if facts.gguf is None:
        raise ValueError(f"{facts.source} is no diffusion file")
    if ask.engine == "llama.cpp":
        return Outcome(value=None, diagnostics=(_no_images(facts),))
    profile = profile_of("llama-box", ask.engine_version)
    if profile is None:
        return Outcome(value=None, diagnostics=(bad_version("llama-box", ask),))
    if len(ask.devices) > 1:
        return Outcome(
            value=None,
            diagnostics=(
                Diagnostic(
                    code="GS322",
                    place=Place(file=facts.source),
                    message=f"llama-box draws on one card or on the CPU, not on {len(ask.devices)} devices",
                    help="give one device, or none for the CPU",
                ),
            ),
        )
    shape = image_shape(facts.gguf)
    drawing = drawing_of(parse_args(ask.args, profile, allow_owned=True))
    device = ask.devices[0] if ask.devices else None
    card, host = image_memory(shape, drawing, device.vendor if device else None)
    room = card is None or (device is not None and card.total <= device.memory_bytes)
    host_room = ask.host_memory_bytes is None or host.total <= ask.host_memory_bytes
    return Outcome(
        value=Estimate(
            backend="llama-box",
            engine_version=profile.version,
            layers=None,
            gpu_layers=None,
            devices=(card,) if card else (),
            host=host,
            fits=room and host_room,
            max_context=None,
            kv_bytes_per_token=0,
            basis="derived",
        )
    )
