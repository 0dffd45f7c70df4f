"""The comment that opens a template: what it declares, and how wrong declarations are told."""

from __future__ import annotations

import pytest

from cni_provision.errors import Place, UserError
from cni_provision.render_parameters import check, complete, parse

SIGNATURE = parse(
    "demo",
    """{#
Makes things,
on two lines.

  bridge: interface = "cni0"   # the bridge
  master: interface            # needed
  mtu: integer 68..65535?
  mode: "l2" or "l3" = "l2"
  deep: list of list of mapping?
  exactly one of: subnet, ipam
  subnet: cidr?
  ipam: mapping?
#}
{}""",
    "demo.conflist.j2",
)


def test_reads_prose_parameters_and_choices() -> None:
    assert SIGNATURE.about == "Makes things, on two lines."
    assert list(SIGNATURE.parameters) == ["bridge", "master", "mtu", "mode", "deep", "subnet", "ipam"]
    assert SIGNATURE.parameters["bridge"].default == "cni0"
    assert SIGNATURE.parameters["bridge"].about == "the bridge"
    assert [name for name, one in SIGNATURE.parameters.items() if one.required] == ["master"]
    assert SIGNATURE.parameters["mode"].shape == '"l2" or "l3"'
    assert SIGNATURE.choices[0].names == ("subnet", "ipam")


def test_defaults_stand_in_for_what_is_absent_or_null() -> None:
    given = {"master": "eth0", "mtu": None, "bridge": None, "subnet": "10.0.0.0/8"}
    assert check(SIGNATURE, given) == []
    completed = complete(SIGNATURE, given, "absent")
    assert completed == {
        "bridge": "cni0",
        "master": "eth0",
        "mtu": "absent",
        "mode": "l2",
        "deep": "absent",
        "subnet": "10.0.0.0/8",
        "ipam": "absent",
    }


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({"master": "eth0", "subnet": "10.0.0.0/8"}, []),
        ({"subnet": "10.0.0.0/8"}, [()]),
        ({"master": "eth0"}, [()]),
        ({"master": "eth0", "subnet": "10.0.0.0/8", "ipam": {}}, [("ipam",)]),
        ({"master": "a/b", "subnet": "10.0.0.1/8"}, [("master",), ("subnet",)]),
        ({"master": "eth0", "subnet": "::/0", "mtu": True}, [("mtu",)]),
        ({"master": "eth0", "subnet": "::/0", "mtu": 67, "mode": "l4"}, [("mtu",), ("mode",)]),
        ({"master": "eth0", "subnet": "::/0", "deep": [[{}, 3], 4]}, [("deep", 0, 1), ("deep", 1)]),
        ({"master": "eth0", "ipam": {"a": {1: 2}}}, [("ipam", "a", 1)]),
    ],
)
def test_problems_stand_where_the_value_is(given: dict[str, object], paths: list[tuple[object, ...]]) -> None:
    assert [problem.path for problem in check(SIGNATURE, given)] == paths


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  mtu: integr?", "`mtu: integr?` does not declare a parameter"),
        ("  mtu", "`mtu` does not declare a parameter"),
        ("  Mtu: integer", "`Mtu: integer` does not declare a parameter"),
        ("  mtu: integer = many", "the default `many` is not JSON"),
        ("  network: string", "`network` is a name that every template has already"),
    ],
)
def test_a_wrong_declaration_is_told_with_its_line(line: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse("demo", f"{{#\nDemo.\n\n{line}\n#}}\n", "demo.conflist.j2")
    assert caught.value.message.startswith(message)
    assert caught.value.place == Place("demo.conflist.j2", 4, 1)
