# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from sgxlens.configuration.gramine_keys import GONE, KEYS, parse_size
from sgxlens.configuration.reading.positions import toml_places
from sgxlens.configuration.reading.read import SIZE_MAX_BYTES, read_document
from sgxlens.configuration.reading.template import render
from sgxlens.errors import UsageError

TEMPLATE = """\
{# two
   lines -#}
{% set names = ["a", "b"] %}
libos.entrypoint = "{{ program }}" # {% if debug %}
sgx.debug = true{% endif %}

sgx.trusted_files = [
{%- for name in names %}
  "file:{{ name }}",
{%- endfor %}
]{% set note %}
captured
{% endset %}
sgx.max_threads = {{ 2 ** 3 }} {% raw %}# {{ kept }}{% endraw %}
sgx.enclave_size = "{{ note | trim | length }}G"
"""


def write(tmp_path: Path, content: str | bytes, name: str = "app.manifest.template") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_lines_of_what_a_template_makes_are_those_of_the_template(tmp_path: Path) -> None:
    found = read_document(write(tmp_path, TEMPLATE), {"program": "/x"})
    assert found.values == {
        "libos": {"entrypoint": "/x"},
        "sgx": {"trusted_files": ["file:a", "file:b"], "max_threads": 8, "enclave_size": "8G"},
    }
    assert found.line("libos.entrypoint") == 4
    assert found.line(("sgx", "trusted_files")) == 7
    assert found.line(("sgx", "trusted_files", 0)) == 9
    assert found.line(("sgx", "trusted_files", 1)) == 9
    assert found.line("sgx.max_threads") == 14
    assert found.line("sgx.enclave_size") == 15
    # What is not there belongs where the last key of its table is.
    assert found.line("sgx.edmm_enable") == 15
    assert found.line("loader.argv") == 1


def test_what_is_not_known_stays_as_it_was_written() -> None:
    text = "{{ a.b['c'](1) }} {{ ldd('/x') / 'y' }} {% for i in z %}{{ i }}{% endfor %} {{ g() }}"
    found = render(text, {}, "f")
    assert found.text == "{{ a.b['c'](1) }} {{ ldd('/x') }}/y {{ z }} {{ g() }}"
    assert found.unknown == ("a.b['c'](1)", "ldd('/x')", "z", "g()")


def test_gramine_and_the_environment_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGXLENS_TEST", "yes")
    text = "{{ gramine.libos }} {{ gramine.runtimedir('musl') }} {{ env.SGXLENS_TEST }}"
    folder = "/usr/lib/x86_64-linux-gnu/gramine"
    assert render(text, {}, "f").text == f"{folder}/libsysdb.so {folder}/runtime/musl yes"
    assert render("{{ gramine.runtimedir / 'x' }}{{ arch_libdir }}", {"arch_libdir": "/l"}, "f"
                  ).text == f"{folder}/runtime/glibc/x/l"  # fmt: skip


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("\n{% if %}", "f:2: no Jinja template: Expected an expression"),
        ("\n\n{{ ''.__class__.__mro__ }}", "f:3: the template fails: access to attribute"),
        ("{{ ''['__class__'] }}", "f:1: the template fails: access to attribute"),
        ("{{ x.__init__.__globals__ }}", "f:1: the template fails: "),
        ("{{ 10 ** 10 ** 10 }}", "f:1: the template fails: "),
        ("{{ 'a' * 10 ** 9 }}", "f:1: the template fails: a text that is too long"),
        ("{{ [0] * 10 ** 9 }}", "f:1: the template fails: a text that is too long"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "f:1: the template fails: OverflowError"),
        ("{% set x = 'a' * 100000 %}{% for i in range(1000) %}{{ x }}{% endfor %}", "16 MiB"),
        ("{% include '/etc/passwd' %}", "f:1: the template fails: "),
        ("{{ 1 / 0 }}", "f:1: the template fails: ZeroDivisionError"),
        ("{{ nothing + 1 }}", "f:1: the template fails: 'nothing' is undefined"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "f:1: the template fails: Recursion"),
    ],
)
def test_a_template_that_fails_is_one_line(template: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        render(template, {}, "f")
    assert message in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.manifest", b"\x7fELF\0\0", "is a binary file, not a manifest"),
        ("a.manifest", b"sgx.debug = \xff", "not UTF-8 at byte 12"),
        ("a.manifest", b"#" * (SIZE_MAX_BYTES + 1), "is larger than 16 MiB"),
        ("a.manifest", b"", "is not a manifest of Gramine: it has none of the sections loader"),
        ("p.toml", b"[epc]\ndriver = 'linux'", "is not a manifest of Gramine"),
        ("a.manifest", b"sgx.debug = true\nsgx.debug = false", "a.manifest:2: not TOML: Cannot"),
        ("a.manifest", b"sgx.debug = \n", "a.manifest:1: not TOML: Invalid value"),
        ("a.manifest", b"sgx = [" + b"[" * 9000, "cannot be read: "),
        ("a.manifest", b"sgx.x = " + b"9" * 9000, "cannot be read: "),
        ("t.template", b"\nsgx.debug = [{{ debug }}]", "debug is not known here: give it with -D"),
        ("t.template", b"\nsgx.debug = [{{ debug }}]", "t.template:2: not TOML: "),
        ("Occlum.json", b"{\n 'a': 1 }", "Occlum.json:2: not JSON: Expecting property name"),
        ("x.json", b'{"name": "x"}', "is not an Occlum.json: it has none of the sections"),
        ("x.json", b'{"env": ' + b"[" * 9000, "cannot be read: "),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_document(write(tmp_path, content, name))
    assert message in caught.value.message
    assert len(caught.value.message) < 700


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path, "is not a file"),
        (Path("/dev/zero"), "is not a file"),
        (tmp_path / "none", "No such file"),
        (Path("a\0b"), "cannot read"),
    ):
        with pytest.raises(UsageError, match=message):
            read_document(path)
    with pytest.raises(UsageError, match="is no template: there is nothing to define"):
        read_document(write(tmp_path, "sgx.debug = false"), {"a": "b"})


def test_comments_accept_findings_of_their_line_or_the_next(tmp_path: Path) -> None:
    text = "sgx.a = 1 # why. sgxlens: accept one\n# sgxlens: accept two, three\nsgx.b = 2\n"
    found = read_document(write(tmp_path, text.replace("why. ", "# "), "a.manifest"))
    assert found.accepted == {1: {"one"}, 3: {"two", "three"}}


def test_places_of_lists_of_tables() -> None:
    text = (
        '[[a.b]]\nc = { d.e = [1,\n 2], "f g" = \'}\' }\n[[a.b]]\n[a.b.c]\nx = """\n]"""\ny.z = 1'
    )
    lines = {place: text.count("\n", 0, offset) + 1 for place, offset in toml_places(text).items()}
    assert lines["a", "b", 0, "c", "d", "e", 1] == 3
    assert lines["a", "b", 0, "c", "f g"] == 3
    assert lines["a", "b", 1] == 4
    assert lines["a", "b", 1, "c", "x"] == 6
    assert lines["a", "b", 1, "c", "y", "z"] == 8


def test_sizes_are_read_as_gramine_does() -> None:
    assert [parse_size(text) for text in ("1G", "0x10K", "7")] == [1 << 30, 16 << 10, 7]
    for text in ("", "G", "1g", "1GB", "1.5G", "1 G", "-1", "1T", "9" * 30):
        assert parse_size(text) is None


def test_the_table_of_keys_is_sound() -> None:
    assert not KEYS.keys() & GONE.keys()
    for name, key in KEYS.items():
        if key.default and key.type not in ("integer", "bool"):
            assert key.problem(key.default) is None, name
