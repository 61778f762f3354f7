# SPDX-License-Identifier: Apache-2.0
"""Model files that the runtime hashes as trusted files: sealed, or checked by the program."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import WORTH_SHARE, counted
from sgxlens.prediction.inputs import MODEL_SUFFIXES
from sgxlens.text import one_line

if TYPE_CHECKING:
    from sgxlens.advice.advice import Gain
    from sgxlens.advice.situation import Situation
    from sgxlens.prediction.evaluation import Evaluation

_SUFFIXES = (*MODEL_SUFFIXES, ".bin", ".data", ".ort", ".weights")
_HASHED = "bytes of files hashed"


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """Model files as encrypted or allowed ones, where hashing takes a share of the start."""
    runtime = situation.runtime
    # The steps are Gramine's: Occlum has what is only read in an image.
    if runtime.files.read_only != "trusted" or not runtime.name.startswith("gramine"):
        return Declined(f"{runtime.title} has no files that it hashes one by one")
    paths = _model_files(situation)
    if not paths:
        return Declined("no file that holds a model is read as a trusted file")
    sealed = _again(situation, paths, "encrypted")
    allowed = _again(situation, paths, "allowed")
    gains = [situation.startup_gain(one.startup) for one in (sealed, allowed)]
    advice = []
    if situation.is_worth(gains[0]):
        advice.append(_sealed(situation, paths, gains[0], sealed))
    # What gives up more must save more.
    if gains[1].share - max(gains[0].share, 0) >= WORTH_SHARE:
        advice.append(_allowed(situation, paths, gains[1], allowed))
    if not advice:
        share = max(gain.share for gain in gains)
        return Declined(f"what the runtime hashes of the model is {max(share, 0):.1%} of the start")
    return tuple(advice)


RULE = Rule("model_file", "model files that the runtime hashes", find)


def _model_files(situation: Situation) -> list[str]:
    """Files that hold a model by their name, and that the user does not treat otherwise."""
    if not situation.recording.has_table("syscalls"):
        return []
    table = situation.recording.table("syscalls").select(["process", "name", "result", "path"])
    opens = pc.is_in(table["name"], pa.array(["open", "openat"], pa.string()))
    paths = {
        row["path"]
        for row in table.filter(opens).to_pylist()
        if row["process"] == situation.phase.process
        and row["path"]
        and (row["result"] or 0) >= 0
        and _holds_model(PurePosixPath(row["path"]))
    }
    return sorted(
        path
        for path in paths
        if path.startswith("/")
        # Those are of patterns.
        and not any(c in path for c in "*?")
        and situation.files.kind_of(path) in (None, "trusted")
    )


def _holds_model(path: PurePosixPath) -> bool:
    # Python's own .pth files name folders of modules.
    is_of_python = path.suffix == ".pth" and path.parent.name.endswith("-packages")
    return path.suffix.lower() in _SUFFIXES and not is_of_python


def _settings(
    situation: Situation, paths: list[str], kind: Literal["allowed", "encrypted"]
) -> dict[str, Any]:
    """The patterns with which files are of another kind."""
    now = situation.settings
    given = now.allowed if kind == "allowed" else now.encrypted
    # A pattern is of one kind only.
    trusted = tuple(pattern for pattern in now.trusted if pattern not in paths)
    return {"trusted": trusted, kind: (*given, *paths)}


def _again(
    situation: Situation, paths: list[str], kind: Literal["allowed", "encrypted"]
) -> Evaluation:
    return situation.again(**_settings(situation, paths, kind))


def _evidence(situation: Situation, evaluation: Evaluation) -> tuple[Evidence, ...]:
    origin = "sgxlens predict --json: startup.inside_items"
    return tuple(
        Evidence(
            what,
            *(counted(c for c in of.startup if c.what == _HASHED), "bytes", origin),
        )
        for what, of in (
            ("bytes that the runtime hashes until the first result", situation.evaluation),
            ("the same without these files", evaluation),
        )
    )


def _finding(paths: list[str]) -> str:
    names = ", ".join(one_line(PurePosixPath(path).name, 40) for path in paths[:3])
    rest = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"The runtime hashes {names}{rest} twice when first looked up, and again as it is read."


def _sealed(situation: Situation, paths: list[str], gain: Gain, after: Evaluation) -> Advice:
    path = one_line(paths[0])
    return Advice(
        title="Seal the model file instead of hashing it (encrypted file)",
        finding=_finding(paths),
        evidence=_evidence(situation, after),
        changes="program",
        gains=(gain,),
        costs=(Cost("security", "a key must be given to the enclave, by attestation; in return the"
                    " model is secret, too"),),
        steps=(
            Step(
                "Seal the file with a key of 16 bytes.",
                "shell",
                "gramine-sgx-pf-crypt gen-key -w KEY\n"
                f"gramine-sgx-pf-crypt encrypt -w KEY -i {path} -o {path}.sealed",
            ),
            Step(
                "Mount it; the key comes with Secret Provisioning, under the name of the mount.",
                "toml",
                "fs.mounts = [\n"
                f'  {{ type = "encrypted", path = "{path}", uri = "file:{path}.sealed",'
                ' key_name = "default" },\n]',
            ),
        ),
        modification=Modification(settings=_settings(situation, paths, "encrypted")),
    )  # fmt: skip


def _allowed(situation: Situation, paths: list[str], gain: Gain, after: Evaluation) -> Advice:
    path = one_line(paths[0])
    return Advice(
        title="Let the program check the model itself (allowed file)",
        finding=_finding(paths),
        evidence=_evidence(situation, after),
        changes="program",
        gains=(gain,),
        costs=(Cost("security", "nothing but the program's own check protects the file: read it"
                    " once, check what was read, and use that"),),
        steps=(
            Step(
                "Allow the file, and do not list it as trusted.",
                "toml",
                f'sgx.allowed_files = ["file:{path}"]',
            ),
            Step(
                "Check it in the program, with a hash that is part of trusted code.",
                "python",
                "import hashlib\n"
                f"content = open({path!r}, 'rb').read()\n"
                "if hashlib.sha256(content).hexdigest() != 'HASH':\n"
                "    raise SystemExit('the model was changed')\n"
                "session = onnxruntime.InferenceSession(content)",
            ),
        ),
        assumptions=(
            "The program's own hash, with OpenSSL's SHA instructions, takes next to nothing.",
        ),
        modification=Modification(settings=_settings(situation, paths, "allowed")),
    )  # fmt: skip
