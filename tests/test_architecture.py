"""Who may import whom, and what must stay out of start-up."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rtms_cli"

MAY_IMPORT = {
    "errors": set(),
    "untrusted": set(),
    "children": set(),
    "protocol": {"protocol"},
    "machine": {"protocol"},
    "capture": {"untrusted", "machine", "protocol"},
    "session": {"session", "machine", "protocol"},
    "recording": {"untrusted", "recording", "capture", "machine", "protocol"},
    "wire": {"wire", "machine", "protocol"},
    "cloud": {"cloud", "wire", "machine", "protocol"},
    "simulator": {"untrusted", "simulator", "wire", "capture", "machine", "protocol"},
    "export": {"untrusted", "export", "recording", "capture", "machine", "protocol"},
    "catalog": {
        "untrusted",
        "catalog",
        "export",
        "store",
        "recording",
        "capture",
        "machine",
        "protocol",
    },
    "inspection": {"untrusted", "inspection", "catalog", "recording", "capture", "machine", "protocol"},
    "live": {"children", "live", "wire", "recording", "capture", "machine", "protocol"},
    "station": {
        "untrusted",
        "station",
        "cloud",
        "live",
        "simulator",
        "wire",
        "recording",
        "session",
        "capture",
        "machine",
        "protocol",
    },
    "store": {"children", "untrusted", "store", "recording", "capture", "machine", "protocol"},
    "fleet": {
        "untrusted",
        "fleet",
        "station",
        "store",
        "wire",
        "recording",
        "session",
        "capture",
        "machine",
        "protocol",
    },
    "view": {
        "untrusted",
        "view",
        "station",
        "simulator",
        "catalog",
        "recording",
        "session",
        "capture",
        "machine",
        "protocol",
    },
    "feed": {
        "untrusted",
        "feed",
        "view",
        "fleet",
        "station",
        "live",
        "wire",
        "recording",
        "session",
        "capture",
        "machine",
        "protocol",
    },
    "web": {
        "children",
        "untrusted",
        "web",
        "feed",
        "view",
        "inspection",
        "catalog",
        "store",
        "export",
        "wire",
        "recording",
        "capture",
        "machine",
        "protocol",
    },
    "testing": {"library"},
    "library": {
        "untrusted",
        "library",
        "station",
        "live",
        "simulator",
        "wire",
        "export",
        "recording",
        "session",
        "capture",
        "machine",
        "protocol",
    },
}
"""What each part may import beside `errors`; `commands` may import everything.

The recorder must not know the session, so that a replay needs none; the simulator must know neither, so that it does
not inherit our client's errors. The station must not know who looks: views subscribe to it.
"""

NO_COMMANDS = {
    "__init__": "a package",
    "app": "registers the commands, and turns a `Problem` into a line and an exit code",
    "listing": "the commands by name, each imported only when it is run",
    "command": "how each of them reads its arguments and prints its help",
    "completing": "what a shell offers for the values of options and arguments",
    "renamed": "options that had another name before",
    "options": "options that several commands have, and what their texts mean",
    "settings": "what files and variables set; `config` shows it",
    "groups": "such options in groups, each of which a command takes as one parameter",
    "remote": "what the commands that ask Zoom's REST API for something share",
    "teams": "who records the streams that `listen` hears of",
    "crew": "what `listen --workers` composes, and what each of its workers does",
    "composing": "puts a station, a view and signals together for `listen`, `join` and `demo`",
}
"""Files of `commands/` that are not named after a command, and why they are there."""


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports() -> list[tuple[str, str, str]]:
    """Every import of ours within the package: file, importing part, imported part."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module] if node.module != "rtms_cli" else [f"rtms_cli.{a.name}" for a in node.names]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            ours = [module for module in modules if module.startswith("rtms_cli.")]
            found += [(str(path.relative_to(PACKAGE)), part, part_of(module)) for module in ours]
    return found


def test_imports_follow_the_table() -> None:
    found = imports()
    assert len(found) > 50
    wrong = [
        f"{file} imports {imported}"
        for file, part, imported in found
        if part not in ("__init__", "__main__", "commands")
        and imported not in MAY_IMPORT[part] | {"errors", "__version__"}
    ]
    assert not wrong


def test_python_is_started_in_one_place() -> None:
    """`children` sees to it that no code of the current folder is run; a test of `listen --workers` tries it."""
    assert [path.name for path in PACKAGE.rglob("*.py") if '"-m"' in path.read_text()] == ["children.py"]


def test_no_class_is_longer_than_400_lines() -> None:
    classes = [
        (f"{path.relative_to(PACKAGE)}: {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    assert len(classes) > 100
    assert not [name for name, lines in classes if lines > 400]


def test_commands_holds_commands_only() -> None:
    """Each file defines the function that `app` registers under the file's name, and nothing that outlives a call."""
    for path in sorted((PACKAGE / "commands").glob("*.py")):
        if path.stem in NO_COMMANDS:
            continue
        tree = ast.parse(path.read_text())
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        defined |= {target.id for node in tree.body if isinstance(node, ast.Assign) for target in names(node)}
        assert path.stem in defined, f"{path.name} defines no command"
        engines = [node.name for node in tree.body if isinstance(node, ast.ClassDef) and has_state(node)]
        assert not engines, f"{path.name}: {engines} belong to the station"


def names(node: ast.Assign) -> list[ast.Name]:
    return [target for target in node.targets if isinstance(target, ast.Name)]


def has_state(node: ast.ClassDef) -> bool:
    """Whether a class is more than values: it sets attributes or waits."""
    return any(
        isinstance(inner, ast.AsyncFunctionDef) or (isinstance(inner, ast.FunctionDef) and inner.name == "__init__")
        for inner in node.body
    )


def test_commands_are_not_imported_from_each_other() -> None:
    commands = [path for path in sorted((PACKAGE / "commands").glob("*.py")) if path.stem not in NO_COMMANDS]
    shared = {f"rtms_cli.commands.{name}" for name in NO_COMMANDS}
    found = {
        (path.name, f"{node.module}.{name.name}" if node.module == "rtms_cli.commands" else node.module)
        for path in commands
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rtms_cli.commands")
        for name in node.names
    }
    assert len(found) >= len(commands) // 2
    assert not [f"{file} imports {module}" for file, module in sorted(found) if module not in shared]


@pytest.mark.parametrize("arguments", [["--help"], ["sign", "--help"], ["join", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from rtms_cli.__main__ import main\n"
        f"sys.argv = ['rtms', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'soundfile', 'httpx', 'websockets', 'h11', 'asyncio', 'av'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "heavy: []" in out


def test_one_module_decides_whose_a_message_is() -> None:
    """Channel 0 of a call is someone: who asks for the truth of a `user_id` forgets that."""
    guess = re.compile(
        r"(?:if|not|and) \w+\.user_id\b(?! (?:is|in|not|==|!=))|user_id (?:==|or) 0|CONTACT_CENTER, Product.PHONE"
    )
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in path.read_text().splitlines()
        if path.name != "parties.py" and guess.search(line) and "channel_id" not in line
    ]
    assert found == []


def test_what_msgspec_reads_is_made_ready_when_a_module_is_imported() -> None:
    """Two threads that make what it knows of a struct for the first time crash the process (msgspec 0.21, 0.22)."""
    plain = {"str", "dict[str, object]", "dict[str, Any]"}
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        text = ast.unparse(tree)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith("msgspec."):
                continue
            name = ast.unparse(node.func)
            types = [ast.unparse(word.value) for word in node.keywords if word.arg == "type"]
            is_late = name.endswith("decode") and any(one not in plain for one in types)
            is_inside = name.endswith("Decoder") and node.col_offset > 0 and not is_top_level(tree, node)
            is_unprepared = name == "msgspec.convert" and f"Decoder({ast.unparse(node.args[1])})" not in text
            if is_late or is_inside or is_unprepared:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}")
    assert found == []


def is_top_level(tree: ast.Module, node: ast.AST) -> bool:
    return any(node in ast.walk(one) for one in tree.body if not isinstance(one, ast.FunctionDef | ast.ClassDef))
