# SPDX-License-Identifier: Apache-2.0
"""Streaming: weights that lie encrypted outside and are decrypted layer by layer, not paged.

Paging is the hardware doing the same, 4 KiB at a time: a fault, an exit, a decryption, and another
page encrypted for it. A program that decrypts with AES-GCM as it goes pays none of that:

- page loads of the layers that are streamed go away; of the other pages, what is left is simulated
  in an EPC that is larger by what the enclave no longer holds, and it is at most what it is now;
- each byte is decrypted (`compute.aes_gcm_byte_ns` of the platform) and read from outside, as a
  byte copied across the border;
- each line of the buffer is written once more. A buffer that is larger than the last-level cache
  goes through memory encryption.

Layers are streamed, the largest first, until the others and the buffer fit the EPC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.layers import Layer, weight_layers, weight_loads
from sgxlens.advice.registry import Rule
from sgxlens.advice.rules.splitting import split_step
from sgxlens.attribution import has_attribution
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.quantities import Range
from sgxlens.recording.format import LINE_BYTES, PAGE_BYTES
from sgxlens.text import one_line
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.quantities import Constant

#: The buffer takes at most this part of the EPC; a larger layer comes in parts.
_BUFFER_SHARE = 0.25
_LAYERS_MAX = 4
_DECRYPT = """\
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
buffer = bytearray({buffer} + 15)
def opened(sealed, nonce, tag, key):
    aes = Cipher(algorithms.AES(key), modes.GCM(nonce, tag)).decryptor()
    size = aes.update_into(sealed, buffer)
    aes.finalize()  # raises InvalidTag: nothing may use the buffer before
    return memoryview(buffer)[:size]
"""
_SEAL = """\
import os
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
key = AESGCM.generate_key(128)  # for the enclave, by attestation
def seal(weights):  # those of one layer, or of one part of it: a contiguous array
    nonce = os.urandom(12)
    sealed = AESGCM(key).encrypt(nonce, weights.tobytes(), None)
    return nonce, sealed[-16:], sealed[:-16]"""
_TORCH = """\
import torch
def stream(layer, nonce, tag, sealed, key):
    shape = layer.weight.shape
    layer.weight.requires_grad_(False)
    layer.weight.data = torch.empty(0)
    def read(*_):
        plain = opened(sealed, nonce, tag, key)
        layer.weight.data = torch.frombuffer(plain, dtype=torch.float32).view(shape)
    layer.register_forward_pre_hook(read)"""
_MAKE_INPUT = """\
import onnx
model = onnx.load({model!r})
graph = model.graph
node = next(node for node in graph.node if node.name == 'LAYER')
weights = next(c for c in graph.initializer if c.name in node.input and len(c.dims) > 1)
graph.initializer.remove(weights)
graph.input.append(
    onnx.helper.make_tensor_value_info(weights.name, weights.data_type, weights.dims))
onnx.save(model, 'inputs.onnx')
data = next(name for name in node.input if name in {{o for n in graph.node for o in n.output}}
            | {{i.name for i in graph.input}} - {{weights.name}})
onnx.utils.extract_model('inputs.onnx', 'layer.onnx', [data, weights.name], [node.output[0]])"""
_RUN_INPUT = """\
import numpy
import onnxruntime
layer = onnxruntime.InferenceSession('layer.onnx', providers=['CPUExecutionProvider'])
def run(x, nonce, tag, sealed, key):
    data, weights = layer.get_inputs()
    plain = numpy.frombuffer(opened(sealed, nonce, tag, key), numpy.float32)
    return layer.run(None, {data.name: x, weights.name: plain.reshape(weights.shape)})[0]"""


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """Layers whose weights are dearer to page than to decrypt."""
    if not has_attribution(situation.recording):
        return Declined("the recording does not say which memory holds weights")
    aes = situation.platform.compute.aes_gcm_byte_ns
    if aes is None:
        return Declined("the platform does not say how fast AES-GCM is (compute.aes_gcm_byte_ns)")
    layers = _paged_layers(situation)
    if not layers:
        return Declined("no inference loads pages of weights: there is nothing to stream")
    streamed, buffer_bytes = _chosen(situation, layers)
    gain = situation.inference_gain(_streamed(situation, streamed, buffer_bytes, aes))
    size = sum(layer.weight_bytes for layer in streamed)
    swap = situation.platform.paging.page_swap(
        situation.prediction.deployment.threads, situation.settings.replicas
    )
    per_mib = {
        "to page": swap.range.scaled((1 << 20) / PAGE_BYTES / 1e9),
        "to decrypt with AES-GCM": aes.range.scaled((1 << 20) / 1e9),
    }
    if not situation.is_worth(gain):
        return Declined(
            f"decrypting {format_bytes(size)} of weights in each inference in place of paging them"
            f" saves {max(gain.share, 0):.1%} of it"
        )
    parts = max(-(-layer.weight_bytes // buffer_bytes) for layer in streamed)
    return (
        Advice(
            title=f"Stream the weights of {len(streamed)}"
            f" layer{'s' if len(streamed) > 1 else ''} from outside, sealed with AES-GCM",
            finding=(
                f"Each inference pages in weights that the EPC cannot keep. {format_bytes(size)} of"
                f" them, decrypted from untrusted memory into a buffer of"
                f" {format_bytes(buffer_bytes)}, leave the rest room."
            ),
            evidence=(
                *(
                    Evidence(f"1 MiB {how}", seconds, "seconds", "sgxlens platforms")
                    for how, seconds in per_mib.items()
                ),
                *(
                    Evidence(
                        f"weights of {layer.title}",
                        *(Range.exact(layer.weight_bytes), "bytes"),
                        "sgxlens show --json: operators, lines by role",
                    )
                    for layer in streamed[:_LAYERS_MAX]
                ),
                *situation.operators("paging"),
            ),
            changes="program",
            gains=(gain,),
            costs=(
                Cost("memory", f"a buffer of {format_bytes(buffer_bytes)} inside, and"
                     f" {format_bytes(size)} outside"),
                Cost("security", "the host sees which layer is read when; it may replay an older"
                     " version of a layer unless version and name are authenticated with it"),
                Cost("start-up", "a key must be given to the enclave, by attestation"),
            ),
            steps=_steps(situation, buffer_bytes, parts),
            assumptions=(
                "One thread decrypts, and no layer is computed meanwhile.",
                "Natively an inference takes as long.",
            ),
        ),
    )  # fmt: skip


RULE = Rule("streaming", "weights that are dearer to page than to decrypt", find)


def _paged_layers(situation: Situation) -> list[Layer]:
    """Operators whose weights are loaded, those with most weights first."""
    loads = weight_loads(situation)
    return [
        layer
        for layer in weight_layers(situation)
        if layer.operator.number in loads
        and loads[layer.operator.number].likely > 0
        and not layer.looks_up
    ]


def _chosen(situation: Situation, layers: list[Layer]) -> tuple[list[Layer], int]:
    """The layers to stream, and the size of the buffer."""
    epc = situation.prediction.epc
    usable = situation.platform.epc.usable_bytes.low / situation.settings.replicas
    buffer_max = max(int(usable * _BUFFER_SHARE), PAGE_BYTES)
    excess = epc.footprint_bytes + epc.reserved_bytes / situation.settings.replicas - usable
    chosen: list[Layer] = []
    buffer_bytes = 0
    for layer in layers:
        if chosen and sum(one.weight_bytes for one in chosen) - buffer_bytes >= excess:
            break
        chosen.append(layer)
        parts = -(-layer.weight_bytes // buffer_max)
        buffer_bytes = max(buffer_bytes, -(-layer.weight_bytes // parts))
    return chosen, buffer_bytes


def _streamed(
    situation: Situation, layers: list[Layer], buffer_bytes: int, aes: Constant
) -> list[Charge]:
    """The charges of the steady inference with these layers streamed."""
    size = sum(layer.weight_bytes for layer in layers)
    numbers = {layer.operator.number for layer in layers}
    platform, threads = situation.platform, situation.prediction.deployment.threads
    less = (size - buffer_bytes) * situation.settings.replicas
    roomier = situation.again(platform=_with_more_epc(platform, less)).steady
    after = [charge for charge in situation.evaluation.steady if charge.cause != "paging"]
    left = {_place(charge): charge.count for charge in roomier if charge.cause == "paging"}
    for charge in situation.evaluation.steady:
        if charge.cause != "paging" or (charge.role == "weights" and charge.operator in numbers):
            continue
        now, then = charge.count, left.get(_place(charge), Range.exact(0))
        likely = min(then.likely, now.likely)
        # What the EPC holds of the rest depends on the order in which pages leave.
        most = now.high if likely else min(then.high, now.high)
        count = Range(min(then.low, now.low, likely), likely, most)
        after.append(
            Charge(charge.cause, charge.what, charge.constant, count, charge.operator, charge.role)
        )
    llc = platform.cache.llc_bytes
    lines = size / LINE_BYTES
    written = [lines if buffer_bytes > cache else 0 for cache in (llc.high, llc.likely, llc.low)]
    outside = situation.runtime.work.copy_byte_ns
    return [
        *after,
        Charge("compute", "bytes of weights decrypted", aes, Range.exact(size)),
        Charge("runtime", "bytes of weights read from outside", outside, Range.exact(size)),
        Charge(
            *("encryption", "lines of the buffer written"),
            platform.encryption.sequential_ns.at(threads),
            Range(*written),
        ),
    ]


def _place(charge: Charge) -> tuple[str, int | None, str | None]:
    return charge.what, charge.operator, charge.role


def _with_more_epc(platform: Platform, more_bytes: int) -> Platform:
    """The platform with an EPC that may be larger than that of any processor."""
    usable = platform.epc.usable_bytes
    larger = usable.model_copy(
        update={
            "low": usable.low + more_bytes,
            "likely": usable.likely + more_bytes,
            "high": usable.high + more_bytes,
        }
    )
    return platform.model_copy(
        update={"epc": platform.epc.model_copy(update={"usable_bytes": larger})}
    )


def _steps(situation: Situation, buffer_bytes: int, parts: int) -> tuple[Step, ...]:
    target = situation.recording.metadata.target
    steps = [split_step(situation, parts)] if parts > 1 else []
    steps += [
        Step(
            "Seal the weights of each layer outside, with a key that only the enclave gets.",
            "python",
            _SEAL,
        ),
        _outside(situation.runtime.name),
        Step(
            "Decrypt into one buffer that all layers share.",
            "python",
            _DECRYPT.format(buffer=buffer_bytes),
        ),
    ]
    if target.kind == "torch":
        steps.append(Step("Let a layer fetch its weights before it runs.", "python", _TORCH))
    elif target.kind == "onnx":
        model = one_line(str(getattr(target, "model", "MODEL.onnx")))
        steps += [
            Step(
                "Make a layer a model of its own whose weights are an input; extract what is before"
                " and after it alike.",
                "python",
                _MAKE_INPUT.format(model=model),
            ),
            Step("Run it with the buffer.", "python", _RUN_INPUT),
        ]
    return tuple(steps)


def _outside(runtime: str) -> Step:
    """How the program gets at memory outside."""
    if runtime.startswith("gramine"):
        return Step(
            "Map the sealed weights from shared memory of the host (/dev/shm), which is outside the"
            " enclave: open and mmap the file there.",
            "toml",
            "fs.mounts = [\n"
            '  { type = "untrusted_shm", path = "/dev/shm/weights",'
            ' uri = "dev:/dev/shm/weights" },\n'
            "]",
        )
    return Step(
        "Read the sealed weights from outside: in the SDK through a pointer marked user_check, in"
        " Occlum from /host."
    )
