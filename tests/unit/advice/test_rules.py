# SPDX-License-Identifier: Apache-2.0
"""Each rule in a situation in which it has advice, and in one in which it must not have any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import paged
import predictable
import sgxlens
from advised import SGX1, SGX2, Make, asked, calls, declined, of, position_of, reason
from sgxlens.advice.registry import BUILT_IN, rules
from sgxlens.advice.rules.batching import batched
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.quantities import Constant, Range
from sgxlens.enclave.runtime import load_runtime


def test_all_rules_of_the_package_are_there_under_their_names() -> None:
    found, broken = rules()
    assert [rule.name for rule in found][: len(BUILT_IN)] == list(BUILT_IN)
    assert not broken
    assert all(rule.about and rule.find.__doc__ for rule in found)


def test_streamed_weights_call_for_a_batch_narrower_weights_an_epc_and_an_order(make: Make) -> None:
    advisory = sgxlens.advise(make(), SGX1, epc=paged.SMALL_EPC)
    (batch,) = of(advisory, "batching")
    assert batch.title == "Batch 16 samples in one inference"
    loads = batch.evidence[0].value
    assert loads.likely > 0.9 * paged.WEIGHT_PAGES
    swap_ns = 12_600
    (gain,) = batch.gains
    assert gain.of == "sample"
    assert gain.saved.likely == pytest.approx(loads.likely * 15 / 16 * swap_ns / 1e9, rel=0.05)
    (narrow,) = of(advisory, "narrower_weights")
    assert narrow.gains[0].saved.likely >= loads.likely * 0.74 * swap_ns / 1e9
    assert any("deviate" in cost.text for cost in narrow.costs)
    (larger,) = of(advisory, "epc_size")
    assert larger.changes == "machine"
    assert larger.gains[0].after.likely == pytest.approx(0.002, rel=0.02)
    (order,) = of(advisory, "eviction_order")
    rows = {e.what.rpartition(" ")[2]: e.value.likely for e in order.evidence[:3]}
    assert rows["linux"] > rows["mru"] >= rows["optimum"] > 0
    # What keeps model and machine comes first, whatever the others gain.
    assert [row.rule for row in advisory.advice][:5] == [
        *("batching", "streaming", "threads", "narrower_weights", "epc_size"),
    ]


def test_weights_that_fit_call_for_nothing(make: Make) -> None:
    advisory = sgxlens.advise(make(), SGX1, epc=paged.LARGE_EPC)
    assert "brings weights into the EPC" in reason(advisory, "batching")
    assert "too little" in reason(advisory, "narrower_weights")
    assert "large enough" in reason(advisory, "epc_size")
    assert "loads no page" in reason(advisory, "eviction_order")


def test_an_epc_that_can_be_set_is_to_be_set(make: Make) -> None:
    (advice,) = asked("epc_size", make(), SGX2, epc=paged.SMALL_EPC)
    assert advice.title == "Set an EPC of 2 MiB"
    assert advice.gains[0].share > 0.3


def test_convolutions_are_not_quantised(make: Make) -> None:
    advisory = sgxlens.advise(
        make("Conv"), SGX1, epc=paged.SMALL_EPC, only=("narrower_weights", "batching")
    )
    assert "no fully connected layer" in reason(advisory, "narrower_weights")
    assert of(advisory, "batching")


def test_the_batch_is_of_samples_recorded(make: Make) -> None:
    inputs = [{"name": "x", "type": "float32", "shape": [4, 8]}]
    target = {"kind": "onnx", "model": "/models/net.onnx", "inputs": inputs}
    path = make(fields={"target": target})
    (batch,) = asked("batching", path, SGX1, epc=paged.SMALL_EPC)
    assert batch.title == "Batch 64 samples in one inference"
    assert "4 samples" in batch.finding
    assert "session.run(None, {'x': numpy.stack(samples)})" in batch.steps[0].snippet


def test_a_batch_shares_weights_and_nothing_of_samples() -> None:
    constant = Constant(low=1, likely=1, high=1, source="a test", name="paging.page_swap_ns")

    def charge(cause: Any, role: str, count: float) -> Charge:
        return Charge(cause, f"{cause} {role}", constant, Range.exact(count), role=role)

    charges = [
        charge("paging", "weights", 80),
        charge("paging", "activations", 5),
        charge("encryption", "weights", 800),
        charge("encryption", "activations", 50),
    ]
    found = {(c.cause, c.role): c.count for c in batched(charges, 8, Range(0, 12, 20))}
    assert found["paging", "weights"] == Range.exact(10)
    assert found["paging", None] == Range(5, 12, 20)
    assert found["encryption", "weights"] == Range(100, 100, 800)
    assert found["encryption", "activations"] == Range.exact(50)
    alone = {(c.cause, c.role): c.count for c in batched(charges, 8, None)}
    assert alone["paging", "activations"] == Range.exact(5)


def test_replicas_that_page_each_other_out_should_be_fewer(make: Make) -> None:
    path = make()
    (advice,) = asked("fewer_replicas", path, SGX1, epc="3M", replicas=2)
    assert advice.title == "Run 1 replica instead of 2"
    assert "one replica" in declined("fewer_replicas", path, SGX1, epc="3M")
    both = declined("fewer_replicas", path, SGX1, epc="64M", replicas=2)
    assert "as many inferences a second" in both


def test_writes_in_an_inference_should_be_fewer_or_served_outside(make: Make) -> None:
    advisory = sgxlens.advise(
        make(syscalls=calls(4, position_of(4), "write", 400, arg0=1, arg2=10, result=10)),
        SGX2,
        only=("frequent_calls", "exitless"),
    )
    (advice,) = of(advisory, "frequent_calls")
    assert advice.evidence[0].what == "exits for write in an inference"
    assert advice.evidence[0].value.likely == 400
    (outside,) = of(advisory, "exitless")
    assert outside.gains[0].saved.likely < advice.gains[0].saved.likely
    assert "sgx.insecure__rpc_thread_num = " in outside.steps[0].snippet
    few = sgxlens.advise(make(), SGX2, only=("frequent_calls", "exitless"))
    assert "leaving and entering adds" in reason(few, "frequent_calls")
    assert "leaving and entering adds" in reason(few, "exitless")


def test_only_runtimes_with_a_switchless_variant_can_be_exitless(make: Make) -> None:
    path = make()
    assert "no switchless" in declined("exitless", path, SGX2, "occlum")
    assert "already" in declined("exitless", path, SGX2, "gramine-exitless")


def test_look_ups_of_files_that_are_not_there_should_be_fewer(make: Make) -> None:
    missing = calls(
        *(1, position_of(1), "openat", 6_000),
        arg0=-100 & (1 << 64) - 1,
        path="/no-such-folder/module.so",
        result=-2,
    )
    path = make(syscalls=missing)
    (advice,) = asked("missing_files", path, SGX2)
    assert advice.evidence[0].what == "look-ups that fail in /no-such-folder"
    assert advice.evidence[0].value == Range.exact(6_000)
    assert advice.gains[0].saved.likely > 0.005
    assert "3 look-ups" in declined("missing_files", make(syscalls=missing[:3]), SGX2)


def model_read(size_bytes: int, path: str = "/no-such-folder/net.onnx") -> list[dict[str, Any]]:
    return [
        *calls(
            *(1, position_of(1), "openat", 1),
            arg0=-100 & (1 << 64) - 1,
            path=path,
            result=3,
        ),
        *calls(1, position_of(1), "read", 1, number=0, arg0=3, arg2=size_bytes, result=size_bytes),
    ]


def test_a_large_model_file_should_not_be_hashed(make: Make) -> None:
    path = make(syscalls=model_read(100 << 20))
    found = asked("model_file", path, SGX2)
    assert [advice.title.split(" ")[0] for advice in found] == ["Let", "Seal"]
    hashed, without = (e.value.likely for e in found[0].evidence)
    assert hashed - without >= 2 * (100 << 20)
    assert '"file:/no-such-folder/net.onnx"' in "".join(step.snippet for step in found[0].steps)
    assert asked("model_file", path, SGX2, trusted=("/no-such-folder/net.onnx",))
    python = make(syscalls=model_read(100 << 20, "/lib/site-packages/folders.pth"))
    assert "no file that holds a model" in declined("model_file", python, SGX2)
    path = make(syscalls=model_read(100 << 20))
    assert "one by one" in declined("model_file", path, SGX2, "occlum")
    allowed = declined("model_file", path, SGX2, allowed=("/no-such-folder/**",))
    assert "no file that holds a model" in allowed
    assert "of the start" in declined("model_file", make(syscalls=model_read(1000)), SGX2)


def test_memory_may_be_added_when_it_is_asked_for(make: Make) -> None:
    path = make()
    (advice,) = asked("dynamic_memory", path, SGX2)
    assert advice.gains[0].of == "startup"
    assert advice.steps[0].snippet == "sgx.edmm_enable = true"
    assert "SGX1" in declined("dynamic_memory", path, SGX1)
    assert "no variant" in declined("dynamic_memory", path, SGX2, "sdk")
    assert declined("dynamic_memory", path, SGX2, "gramine-edmm")


def test_an_enclave_should_be_no_larger_than_it_must(make: Make) -> None:
    path = make()
    (advice,) = asked("enclave_size", path, SGX2, enclave_size="4G")
    assert advice.steps[0].snippet == 'sgx.enclave_size = "256M"'
    assert advice.gains[0].share > 0.5
    assert "as small as" in declined("enclave_size", path, SGX2)
    assert "as the program asks" in declined("enclave_size", path, SGX2, "gramine-edmm")


def test_an_enclave_that_does_not_fit_should_not_be_preheated(make: Make) -> None:
    runtime = load_runtime("gramine")
    heated = runtime.model_copy(update={"work": runtime.work.model_copy(update={"preheats": True})})
    (advice,) = asked("enclave_size", make(), SGX1, heated)
    assert advice.steps[0].snippet == "sgx.preheat_enclave = false"


def test_gains_come_from_the_models_and_not_from_a_share(make: Make) -> None:
    path = make()
    halved = replace_swap(path)
    assert halved[1] == pytest.approx(halved[0] / 2, rel=0.01)


def replace_swap(path: Path) -> tuple[float, float]:
    """What a batch saves with the platform's page swaps, and with half as dear ones."""
    from sgxlens.enclave.platform import ByThreads, load_platform

    place = load_platform(SGX1).overridden(epc_bytes=1400 << 10)
    swap = {
        threads: constant.model_copy(
            update={k: getattr(constant, k) / 2 for k in ("low", "likely", "high")}
        )
        for threads, constant in place.paging.page_swap_ns.root.items()
    }
    paging = place.paging.model_copy(update={"page_swap_ns": ByThreads(swap)})
    cheap = place.model_copy(update={"paging": paging})
    first, second = (
        asked("batching", path, one)[0].gains[0].saved.likely for one in (place, cheap)
    )
    return first, second


def test_the_snippet_makes_a_batch_dynamic(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", floats, [1, 2, 3])],
        [helper.make_tensor_value_info("y", floats, [1, 6])],
        [helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [1, 6])],
    )
    model = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph), model)
    inputs = [{"name": "x", "type": "float32", "shape": [1, 2, 3]}]
    target = {"kind": "onnx", "model": str(model), "inputs": inputs}
    path = make(fields={"target": target})
    (advice,) = asked("batching", path, SGX1, epc=paged.SMALL_EPC)
    monkeypatch.chdir(tmp_path)
    exec(advice.steps[1].snippet, {})  # noqa: S102
    found = onnx.load("dynamic.onnx").graph
    assert found.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert list(onnx.numpy_helper.to_array(found.initializer[0])) == [0, 6]


def test_openblas_should_not_wait_by_a_clock_that_traps(make: Make) -> None:
    def read(count: int) -> dict[str, Any]:
        return {"process": 0, "phase": 1, "kind": "rdtsc", "leaf": None, "subleaf": None,
                "count": count}  # fmt: skip

    library = {**predictable.MAPPING, "kind": "file", "name": "/lib/libscipy_openblas64_-1.so"}
    path = make(traps=[read(100_000)], mappings=[predictable.MAPPING, library])
    (advice,) = asked("clock_reads", path, SGX1, epc=paged.LARGE_EPC)
    assert advice.modification is not None
    assert advice.modification.environment == {"OPENBLAS_NUM_THREADS": "1"}
    # A trap and an OCALL each; none, if a loop makes them that ends after a time.
    saved = advice.gains[0].saved
    assert saved.likely == pytest.approx(100_000 * (6005 + 2720) * 1e-9, rel=0.01)
    assert saved.low < 0.3 * saved.likely
    assert "libscipy_openblas64_" in advice.evidence[2].what
    (other,) = asked("clock_reads", make(traps=[read(100_000)]), SGX1, epc=paged.LARGE_EPC)
    assert other.title == "Read the time stamp counter less often"
    assert other.modification is None
    assert declined("clock_reads", path, SGX2)
    few = make(traps=[read(100)], mappings=[predictable.MAPPING, library])
    assert declined("clock_reads", few, SGX1, epc=paged.LARGE_EPC)


def mapped(size_bytes: int, path: str, protection: str = "r--") -> dict[str, Any]:
    """A mapping made in phase 1 of `size_bytes`, and the call that makes it."""
    address, position = 1 << 40, position_of(1)
    row = {**predictable.MAPPING, "position": position, "address": address, "name": path,
           "size_bytes": size_bytes, "protection": protection,
           "kind": "file" if path else "anonymous"}  # fmt: skip
    opened = {"arg0": -100 & (1 << 64) - 1, "path": path, "result": 3}
    at_end = {"number": 8, "arg0": 3, "arg2": 2, "result": size_bytes}  # tells the size
    fields = {"arg1": size_bytes, "arg3": 2 if path else 0x22, "arg4": 3, "result": address}
    return {
        "mappings": [predictable.MAPPING, row],
        "syscalls": [
            *(calls(1, position, "openat", 1, **opened) if path else []),
            *(calls(1, position, "lseek", 1, **at_end) if path else []),
            *calls(1, position, "mmap", 1, number=9, **fields),
        ],
    }


def test_of_a_data_file_only_what_is_used_should_be_read(make: Make) -> None:
    size = 64 << 20
    path = make(**mapped(size, "/no-such-folder/table.npy"))
    (advice,) = asked("eager_mappings", path, SGX2)
    assert "Read what is needed of table.npy" in advice.title
    assert [row.value.likely for row in advice.evidence[:2]] == [size, 0]
    # Hashed, copied, cleared, and a fault for each page.
    saved = size * (5.3 + 0.08 + 0.04) * 1e-9 + size / 4096 * 2.5e-6
    assert advice.gains[0].saved.likely == pytest.approx(saved, rel=0.1)
    assert [gain.of for gain in advice.gains] == ["startup", "memory"]
    library = make(**mapped(size, "/no-such-folder/lib.so", "r-x"))
    assert "no data file" in declined("eager_mappings", library, SGX2)
    small = make(**mapped(1 << 20, "/no-such-folder/table.npy"))
    assert "are mapped and not used are" in declined("eager_mappings", small, SGX2)
    smaller = make(**mapped(1 << 19, "/no-such-folder/table.npy"))
    assert "no data file" in declined("eager_mappings", smaller, SGX2)


def test_memory_should_be_mapped_as_it_is_used(make: Make) -> None:
    (advice,) = asked("eager_mappings", make(**mapped(128 << 20, "", "rw-")), SGX2)
    assert advice.title == "Map no more memory than is used"
    assert advice.steps[0].snippet.startswith("strace -f -k -e trace=mmap ")
    reserved = make(**mapped(128 << 20, "", "---"))
    assert "no data file" in declined("eager_mappings", reserved, SGX2)
