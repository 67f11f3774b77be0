"""Puts docs/ into the wheel, so that `rtms inspect --explain` has them; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithDocuments(build_py):
    """Copies the documents into the package. An editable installation reads them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for document in sorted(Path("docs").glob("*.md")):
                target = Path(self.build_lib, "rtms_cli", "docs", document.name)
                self.mkpath(str(target.parent))
                self.copy_file(str(document), str(target))


setup(cmdclass={"build_py": BuildWithDocuments})
