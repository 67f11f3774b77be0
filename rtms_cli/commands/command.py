"""How a command reads its arguments and prints its help."""

import copy
import re
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from rtms_cli.commands.renamed import note, old_names

if TYPE_CHECKING:
    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

_FEW = 3
"""A heading in help has at least so many options under it."""
_RANGE = re.compile(r"(?:; )?(?:[\d.]+<=)?x[<>]=[\d.]+(?=\])")


class RtmsCommand(TyperCommand):
    """A command that takes the old names of its options too, and whose help has headings (Typer's panels).

    Help is plain text, on a terminal as in a pipe.
    """

    def make_parser(self, ctx: "Context") -> Any:
        """The parser of this command's arguments, old names included."""
        parser = super().make_parser(ctx)
        by_name = {name: param for param in self.params for name in param.opts}
        aliases = {}
        for old, new in old_names(self.name).items():
            alias = copy.copy(by_name[f"--{new}"])
            alias.opts, alias.secondary_opts = [f"--{old}"], []
            alias.add_to_parser(parser, ctx)
            aliases[id(alias)] = (alias, f"--{old}", f"--{new}")
        parse = parser.parse_args

        def noting(args: list[str]) -> Any:
            parsed = parse(args)
            for used in dict.fromkeys(aliases[id(param)][1:] for param in parsed[2] if id(param) in aliases):
                if not ctx.resilient_parsing:
                    note(f"rtms {self.name}", *used)
            return parsed

        parser.parse_args = noting  # type: ignore[method-assign]
        return parser

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write the arguments, and the options under their headings."""
        records = [(param, param.get_help_record(ctx)) for param in self.get_params(ctx)]
        arguments = [record for param, record in records if record and param.param_type_name == "argument"]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for param, record in records:
            if record and param.param_type_name == "option":
                heading = getattr(param, "rich_help_panel", None) or "Options"
                sections.setdefault(heading, []).append((record[0], _without_range(record[1])))
        for heading in [heading for heading, listed in sections.items() if len(listed) < _FEW]:
            if heading != "Options":
                sections["Options"][-1:-1] = sections.pop(heading)  # --help stays the last one
        width = min(max(len(name) for listed in sections.values() for name, _ in listed), formatter.width // 2 - 10)
        for heading, listed in sections.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:{width}}", text) for name, text in listed], width)


def _without_range(text: str) -> str:
    """An option's help without the numbers that it allows: the error for another one names them."""
    return _RANGE.sub("", text).replace("  []", "")
