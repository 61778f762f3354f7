# SPDX-License-Identifier: Apache-2.0
"""Settings of a session as ONNX Runtime takes them.

These functions are also copied into the loader that `sgxlens.optimize` writes: they use what they
are given, each other and nothing else.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def session_options(onnxruntime: Any, asked: dict[str, Any], threads: int) -> Any:
    """`SessionSettings` as ONNX Runtime takes them."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = asked["inter_op_threads"]
    mode, level = asked["execution_mode"].upper(), asked["graph_optimization"].upper()
    settings.execution_mode = getattr(onnxruntime.ExecutionMode, f"ORT_{mode}")
    settings.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel,
        "ORT_DISABLE_ALL" if level == "DISABLE" else f"ORT_ENABLE_{level}",
    )
    for name in ("enable_cpu_mem_arena", "enable_mem_pattern", "enable_mem_reuse"):
        setattr(settings, name, asked[name])
    is_spinning = str(int(asked["allow_spinning"]))
    entries = {"session.intra_op.allow_spinning": is_spinning}
    if asked["execution_mode"] == "parallel":
        entries["session.inter_op.allow_spinning"] = is_spinning
    if asked["arena"] is not None:
        register_arena(onnxruntime, asked["arena"])
        entries["session.use_env_allocators"] = "1"
    for name, value in {**entries, **asked["config"]}.items():
        settings.add_session_config_entry(name, value)
    return settings


def register_arena(onnxruntime: Any, arena: dict[str, Any]) -> None:
    """Let sessions that use allocators of the environment have one arena of these settings."""
    sizes = {
        "max_mem": arena["max_bytes"],
        "initial_chunk_size_bytes": arena["initial_chunk_bytes"],
        "max_dead_bytes_per_chunk": arena["max_dead_bytes_per_chunk"],
    }
    strategy = int(arena["extend_strategy"] == "same_as_requested")
    given = {name: size for name, size in sizes.items() if size is not None}
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    settings = onnxruntime.OrtArenaCfg({"arena_extend_strategy": strategy, **given})
    onnxruntime.create_and_register_allocator(memory, settings)


def run_options(onnxruntime: Any, asked: dict[str, Any]) -> Any:
    """What each run gets; None: nothing of its own."""
    entries = asked["run_config"]
    if not entries:
        return None
    settings = onnxruntime.RunOptions()
    for name, value in entries.items():
        settings.add_run_config_entry(name, value)
    return settings
