# SPDX-License-Identifier: Apache-2.0
"""The keys of Gramine's manifest: which there are, and what each takes.

They are those of Gramine 1.9 (gramineproject/gramine@ff71d7af: Documentation/manifest-syntax.rst,
python/graminelibos/manifest_check.py). The release notes of 1.4 to 1.9 tell of those that are gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "1.9"
#: A number, and K, M or G for powers of 1,024: what both the signer and the loader understand.
_SIZE = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)([KMG]?)")
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

Type = Literal["bool", "integer", "size", "string", "path", "uri", "hex", "choice", "any"]


@dataclass(frozen=True)
class KeyType:
    """What a key takes.

    Attributes:
        type: of the value; ``uri`` has the prefix ``file:`` or ``dev:``, ``path`` is inside
            Gramine, ``hex`` are hexadecimal digits, ``any`` is not looked at.
        choices: of a ``choice``, what it can be.
        minimum, maximum: of an ``integer``.
        digits: of a ``hex``, how many; 0: any number.
        default: what holds where the key is not there, as it is written; empty: nothing does.
    """

    type: Type
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = (1 << 63) - 1
    digits: int = 0
    default: str = ""

    def problem(self, value: object) -> str | None:
        """Why it does not take a value, in words: what it should be; None: it does."""
        if self.type == "any":
            return None
        if self.type == "bool":
            return None if isinstance(value, bool) else "true or false, without quotes"
        if self.type == "integer":
            return self._integer_problem(value)
        if not isinstance(value, str):
            return f"a string in quotes{self._example()}"
        return self._text_problem(value)

    def _text_problem(self, value: str) -> str | None:
        if self.type == "choice" and value not in self.choices:
            return "one of " + ", ".join(f'"{choice}"' for choice in self.choices)
        if self.type == "size" and parse_size(value) is None:
            return f"a number, and K, M or G{self._example()}"
        if self.type == "uri" and not value.startswith(("file:", "dev:")):
            return 'a URI, which begins with "file:" or "dev:"'
        if self.type == "path" and value.startswith("file:"):
            return "a path, without file:"
        if self.type == "hex":
            digits = value.removeprefix("0x")
            if not re.fullmatch(r"[0-9a-fA-F]+", digits) or self.digits not in (0, len(digits)):
                return f"{self.digits or 'some'} hexadecimal digits in quotes"
        return None

    def _integer_problem(self, value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "a whole number, without quotes"
        if not self.minimum <= value <= self.maximum:
            upper = f" to {self.maximum}" if self.maximum < (1 << 63) - 1 else " on"
            return f"a number from {self.minimum}{upper}"
        return None

    def _example(self) -> str:
        return {"size": ', as in "512M"', "uri": ', as in "file:model.onnx"'}.get(self.type, "")


def parse_size(text: str) -> int | None:
    """Bytes of a size of a manifest, as ``512M``; None: it is none."""
    found = _SIZE.fullmatch(text)
    # Longer numbers are no sizes, and take long to read.
    if found is None or len(found[1]) > 24:
        return None
    return int(found[1], 16 if found[1][:2] in ("0x", "0X") else 10) * _FACTORS[found[2]]


_BOOL = KeyType("bool", default="false")
_STRING = KeyType("string")
_URI = KeyType("uri")
_PATH = KeyType("path")
_ANY = KeyType("any")
_SHA256 = KeyType("hex", digits=64)


def _choice(*choices: str, default: str = "") -> KeyType:
    return KeyType("choice", choices, default=default)


_PERMITTED = _choice("unspecified", "disabled", "required", default="unspecified")
_HARDENING = _choice("disabled", "required", default="disabled")
_MOUNT = {
    "type": _choice("chroot", "encrypted", "tmpfs", "untrusted_shm", default="chroot"),
    "uri": _STRING,  # of tmpfs it may be anything: the check of mounts looks at the others
    "key_name": _STRING,
}

#: By name: ``*`` is a name that the user chooses, ``[]`` the elements of a list.
KEYS: Mapping[str, KeyType] = {
    "loader.entrypoint.uri": _URI,
    "loader.entrypoint.sha256": _SHA256,
    "loader.argv[]": _STRING,
    "loader.argv_src_file": _URI,
    "loader.env.*": _STRING,
    "loader.env.*.value": _STRING,
    "loader.env.*.passthrough": _BOOL,
    "loader.env_src_file": _URI,
    "loader.gid": KeyType("integer", maximum=(1 << 32) - 1, default="0"),
    "loader.uid": KeyType("integer", maximum=(1 << 32) - 1, default="0"),
    "loader.insecure__use_cmdline_argv": _BOOL,
    "loader.insecure__use_host_env": _BOOL,
    "loader.insecure__disable_aslr": _BOOL,
    "loader.log_file": _STRING,
    "loader.log_level": _choice(
        "none", "error", "warning", "debug", "trace", "all", default="error"
    ),
    "libos.entrypoint": _PATH,
    "libos.check_invalid_pointers": KeyType("bool", default="true"),
    **{f"fs.root.{name}": found for name, found in _MOUNT.items()},
    **{f"fs.mounts[].{name}": found for name, found in _MOUNT.items()},
    "fs.mounts[].path": _PATH,
    "fs.start_dir": _PATH,
    "fs.insecure__keys.*": KeyType("hex", digits=32),
    "sgx.allowed_files[]": _URI,
    "sgx.trusted_files[]": _URI,
    "sgx.trusted_files[].uri": _URI,
    "sgx.trusted_files[].sha256": _SHA256,
    "sgx.trusted_files_cache_size": KeyType("size"),
    "sgx.cpu_features.avx": _PERMITTED,
    "sgx.cpu_features.avx512": _PERMITTED,
    "sgx.cpu_features.amx": _PERMITTED,
    "sgx.cpu_features.mpx": _HARDENING,
    "sgx.cpu_features.pkru": _HARDENING,
    "sgx.debug": _BOOL,
    "sgx.edmm_enable": _BOOL,
    "sgx.enable_stats": _BOOL,
    "sgx.enclave_size": KeyType("size", default="256M"),
    "sgx.file_check_policy": _choice("strict", "allow_all_but_log", default="strict"),
    "sgx.insecure__allow_memfaults_without_exinfo": _BOOL,
    "sgx.insecure__rpc_thread_num": KeyType("integer", default="0"),
    "sgx.isvprodid": KeyType("integer", maximum=(1 << 16) - 1, default="0"),
    "sgx.isvsvn": KeyType("integer", maximum=(1 << 16) - 1, default="0"),
    "sgx.max_threads": KeyType("integer", minimum=1, default="4"),
    "sgx.preheat_enclave": _BOOL,
    "sgx.profile.enable": _choice("none", "main", "all", default="none"),
    "sgx.profile.mode": _choice("aex", "ocall_inner", "ocall_outer", default="aex"),
    "sgx.profile.with_stack": _BOOL,
    "sgx.profile.frequency": KeyType("integer", minimum=1, default="50"),
    "sgx.remote_attestation": _choice("none", "dcap", default="none"),
    "sgx.seal_key.flags_mask": KeyType("hex", digits=16),
    "sgx.seal_key.xfrm_mask": KeyType("hex", digits=16),
    "sgx.seal_key.misc_mask": KeyType("hex", digits=8),
    "sgx.use_exinfo": _BOOL,
    "sgx.vtune_profile": _BOOL,
    "sys.allowed_ioctls[].request_code": KeyType("integer"),
    "sys.allowed_ioctls[].struct": _STRING,
    "sys.brk.max_size": KeyType("size", default="256K"),
    "sys.debug__mock_syscalls[].name": _STRING,
    "sys.debug__mock_syscalls[].return": KeyType("integer", minimum=-(1 << 63)),
    "sys.disallow_subprocesses": _BOOL,
    "sys.enable_extra_runtime_domain_names_conf": _BOOL,
    "sys.enable_sigterm_injection": _BOOL,
    "sys.experimental__enable_flock": _BOOL,
    "sys.fds.limit": KeyType("integer", minimum=1, default="900"),
    "sys.insecure__allow_eventfd": _BOOL,
    "sys.ioctl_structs.*": _ANY,
    "sys.stack.size": KeyType("size", default="256K"),
}

#: Keys that Gramine had, since when they are gone, and what took their place.
GONE: Mapping[str, tuple[str, str]] = {
    "fs.experimental__enable_sysfs_topology": ("1.5", "remove it: topology is always there"),
    "fs.mount": ("1.5", 'list mounts: fs.mounts = [ { path = "...", uri = "file:..." } ]'),
    "libos.entrypoint.uri": ("1.9", "give the path itself: libos.entrypoint"),
    "loader.debug_type": ("1.5", "use loader.log_level and loader.log_file"),
    "loader.pal_internal_mem_size": ("1.5", "remove it: that memory grows by itself"),
    "loader.preload": ("1.0", "use loader.entrypoint.uri"),
    "sgx.insecure__protected_files_key": ("1.5", "use fs.insecure__keys.NAME"),
    "sgx.nonpie_binary": ("1.5", "remove it"),
    "sgx.protected_files": ("1.5", 'mount them with type = "encrypted"'),
    "sgx.protected_mrenclave_files": (
        "1.5",
        'mount them with type = "encrypted" and key_name = "_sgx_mrenclave"',
    ),
    "sgx.protected_mrsigner_files": (
        "1.5",
        'mount them with type = "encrypted" and key_name = "_sgx_mrsigner"',
    ),
    "sgx.ra_client_linkable": ("1.9", "remove it: EPID attestation is gone"),
    "sgx.ra_client_spid": ("1.9", "remove it: EPID attestation is gone"),
    "sgx.require_amx": ("1.8", "use sgx.cpu_features.amx"),
    "sgx.require_avx": ("1.8", "use sgx.cpu_features.avx"),
    "sgx.require_avx512": ("1.8", "use sgx.cpu_features.avx512"),
    "sgx.require_exinfo": ("1.8", "use sgx.use_exinfo"),
    "sgx.require_mpx": ("1.8", "use sgx.cpu_features.mpx"),
    "sgx.require_pkru": ("1.8", "use sgx.cpu_features.pkru"),
    "sgx.static_address": ("1.0", "remove it"),
    "sgx.thread_num": ("1.5", "use sgx.max_threads"),
    "sgx.zero_heap_on_demand": ("1.0", "remove it"),
}
