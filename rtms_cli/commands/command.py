"""How a command reads its arguments and prints its help."""

import copy
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer._click.exceptions import BadParameter, UsageError
from typer.core import TyperCommand, TyperOption

from rtms_cli.commands.renamed import note, old_names
from rtms_cli.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from typer._click.core import Context, Parameter
    from typer._click.formatting import HelpFormatter

_USUAL = {"--web": "-1"}
"""Options whose value, a number, may be left out, and what it is then."""
_FEW = 3
"""A heading in help has at least this many options under it."""
_RANGE = re.compile(r"(?:; )?(?:[\d.]+<=)?x[<>]=[\d.]+(?=\])")


class RtmsCommand(TyperCommand):
    """A command that takes the old names of its options too, and whose help has headings (Typer's panels).

    Help is plain text, on a terminal as in a pipe.
    """

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        profile = TyperOption(
            param_decls=["--profile"],
            type=str,
            callback=_choose_profile,
            is_eager=True,
            expose_value=False,
            hidden=True,
        )
        self.params.append(profile)

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

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Read the arguments; an error about a setting says where that comes from."""
        names = {name for param in self.params for name in param.opts}
        try:
            return super().parse_args(ctx, _with_usual_values(args, _USUAL.keys() & names))
        except (Problem, UsageError) as error:
            self._name_source(error, ctx)
            raise

    def invoke(self, ctx: "Context") -> Any:
        """Run the command; an error about a setting says where that comes from."""
        try:
            return super().invoke(ctx)
        except Problem as problem:
            self._name_source(problem, ctx)
            raise

    def _name_source(self, error: "Problem | UsageError", ctx: "Context") -> None:
        """Put into an error where the value comes from that it is about, if no option has set that."""
        defaults = ctx.parent.obj if ctx.parent is not None else None
        sources: dict[str, str] = defaults.sources.get(self.name, {}) if defaults is not None else {}
        held = [param for param in self.params if _is_set(param, ctx) and param.name in sources]
        if isinstance(error, Problem):
            about = [param for param in held if _is_about(param, error.what)]
            about = about or [
                param for param in held if _is_about(param, error.remedy) or _has_value(param, ctx, error)
            ]
            for source in dict.fromkeys(sources[str(param.name)] for param in about):
                error.what = f"{source}: {error.what}"
            if re.search(r"\b(ZOOM|ZM|RTMS)_[A-Z]|\.env\b", str(error)):
                from rtms_cli.station.credentials import name_place

                name_place(error)
        elif isinstance(error, BadParameter) and error.param in held:
            error.param_hint = f"'{error.param.opts[0]}' ({sources[str(error.param.name)]})"

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


def _with_usual_values(args: list[str], names: "Collection[str]") -> list[str]:
    """The arguments with a value for each of these options that has none."""
    given: list[str] = []
    for number, arg in enumerate(args):
        if arg == "--":
            return given + args[number:]
        is_bare = arg in names and not (number + 1 < len(args) and args[number + 1].isdecimal())
        given.append(f"{arg}={_USUAL[arg]}" if is_bare else arg)
    return given


def _choose_profile(ctx: "Context", _: "Parameter", name: str | None) -> None:
    """Take `--profile` behind the command as if it stood before it."""
    if name is None or ctx.resilient_parsing or ctx.parent is None:
        return
    from rtms_cli.station.profiles import VARIABLE

    os.environ[VARIABLE] = name
    ctx.parent.obj = ctx.parent.obj.read(Path(), os.environ)
    ctx.parent.default_map = ctx.parent.obj.values
    ctx.default_map = ctx.parent.obj.values.get(str(ctx.info_name))


def _is_set(param: "Parameter", ctx: "Context") -> bool:
    source = ctx.get_parameter_source(str(param.name))
    return source is not None and source.name == "DEFAULT_MAP"


def _is_about(param: "Parameter", text: str) -> bool:
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in param.opts)


def _has_value(param: "Parameter", ctx: "Context", problem: Problem) -> bool:
    """Whether a problem quotes a parameter's value, such as a file's name."""
    value = str(ctx.params.get(str(param.name), ""))
    return len(value) > _FEW and value in problem.what


def _without_range(text: str) -> str:
    """An option's help without the numbers that it allows: the error for another one names them."""
    return _RANGE.sub("", text).replace("  []", "")
