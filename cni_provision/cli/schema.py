"""`schema`: the JSON Schema of the declarations, for editors."""

from __future__ import annotations

from cni_provision.cli.options import Output, output_options
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import Summary, Text


@define(
    "schema",
    "print the JSON Schema of the declarations",
    ("> cni.schema.json", "keep it beside the inventory"),
)
@output_options
def command(output: Output) -> int:
    """Print the JSON Schema of the declarations.

    A YAML language server completes and checks `cni_networks` and its siblings with it: put
    `# yaml-language-server: $schema=cni.schema.json` on the first line of a vars file.
    """

    def work(emit: Emit) -> Summary:
        import json

        from cni_provision.inventory.schema import json_schema

        emit(Text(json.dumps(json_schema(), indent=2) + "\n"))
        return Summary(exit_code=0, nodes=0)

    return run("schema", output, work)
