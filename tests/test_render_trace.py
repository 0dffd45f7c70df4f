"""From a place in rendered text back to the template line and the inventory value."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cni_provision.render_template import OMIT, Templates
from cni_provision.render_trace import origin, spots

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def at(document: object, path: tuple[str | int, ...]) -> object:
    for step in path:
        document = document[step]  # type: ignore[index]
    return document


@given(JSON, st.sampled_from([None, 1, 4]))
def test_spots_are_where_the_values_stand(document: object, indent: int | None) -> None:
    text = json.dumps(document, indent=indent)
    for path, spot in spots(text).items():
        assert json.JSONDecoder().raw_decode(text, spot.value)[0] == at(document, path)
        if spot.key is not None:
            assert json.JSONDecoder().raw_decode(text, spot.key)[0] == path[-1]


def trace_of(folder: Path, **files: str) -> dict[str, tuple[tuple[str, int], ...]]:
    for name, text in files.items():
        (folder / f"{name}.j2").write_text(text)
    templates = Templates([folder])
    (folder / "main.conflist.j2").write_text(files["main"])
    trace = templates.trace("main", {"numbers": [1, 2], "absent": OMIT})
    assert trace.text == templates.render("main", {"numbers": [1, 2], "absent": OMIT})
    return {word: trace.lines_at(trace.text.index(word)) for word in trace.text.split()}


def test_lines_of_text_macros_and_loops(tmp_path: Path) -> None:
    main = (
        "{# Demo. #}\nfirst\n{%- import 'lib.j2' as lib %}\n"
        "{% for n in numbers %}\n  loop{{ n }}\n{% endfor %}\n{{ lib.say('hello') }} last\n"
    )
    lines = trace_of(tmp_path, main=main, lib="{% macro say(word) %}\nsaid\n{{ word }}\n{% endmacro %}")
    main_file = "main.conflist.j2"
    assert lines["first"] == ((main_file, 2),)
    assert lines["loop1"] == lines["loop2"] == ((main_file, 5),)
    assert lines["said"] == ((main_file, 7), ("lib.j2", 2))
    assert lines["hello"] == ((main_file, 7), ("lib.j2", 3), ("lib.j2", 3))
    assert lines["last"] == ((main_file, 7),)


def test_origin_prefers_key_then_value_then_the_name_on_the_line() -> None:
    parameters = {"mtu": 1400, "ip_masq": True, "portmap": {"snat": "yes", "masqAll": True}, "other": 1400}
    line = ['"ipMasq": {{ ip_masq | tojson }},']
    assert origin(("plugins", 0, "ipMasq"), True, line, parameters, at_key=False) == ("ip_masq",)
    assert origin(("plugins", 0, "MTU"), 1400, [], parameters, at_key=False) == ("mtu",)
    assert origin(("plugins", 1, "snat"), "yes", [], parameters, at_key=False) == ("portmap", "snat")
    assert origin(("plugins", 1, "masqAll"), None, [], parameters, at_key=True) == ("portmap", "masqAll")
    assert origin(("plugins", 0, "vlanId"), 2800, ["{{ mtu * 2 }}"], parameters, at_key=False) == ("mtu",)
    assert origin(("plugins", 0, "vlanId"), 2800, ["text"], parameters, at_key=False) is None
