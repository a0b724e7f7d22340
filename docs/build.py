"""Hooks of MkDocs: what the pages of the site are made of besides the files in this folder."""

__all__ = ["Docstrings", "on_config", "on_files", "on_page_markdown"]

import html
import json
import re
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Sets formulas as MathML, which browsers draw without a script."""

    def block(source: str, *_: Any, **__: Any) -> str:
        return f"<p>{convert(source, display='block')}</p>"

    def inline(source: str, *_: Any, **__: Any) -> str:
        return convert(source)

    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "math", "class": "math", "format": block}]
    codes = config.mdx_configs.setdefault("pymdownx.inlinehilite", {})
    codes["custom_inline"] = [{"name": "math", "class": "math", "format": inline}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds README.md as the first page, the notebooks as pages, and all files that pages link."""
    texts = {"index.md": (ROOT / "README.md").read_text().replace("](docs/", "](")}
    for path in sorted((ROOT / "docs").glob("*.ipynb")):
        texts[f"{path.stem}.md"] = of_notebook(json.loads(path.read_text()))
    for name, text in texts.items():
        files.append(File.generated(config, name, content=text))
    linked = {
        target.removeprefix("../")
        for text in [*texts.values(), *(path.read_text() for path in (ROOT / "docs").glob("*.md"))]
        for target, _ in LINK.findall(text)
    }
    for name in sorted(linked):
        if files.get_file_from_path(name) is None and not name.endswith(".ipynb"):
            files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links at where the files are in the site."""

    def moved(match: re.Match[str]) -> str:
        target, anchor = match.groups()
        target = re.sub(r"\.ipynb$", ".md", target.removeprefix("../"))
        return f"]({target}{anchor or ''})"

    return LINK.sub(moved, markdown)


def of_notebook(notebook: dict[str, Any]) -> str:
    """Writes a notebook as markdown, with its outputs."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {"text/plain": output.get("text", "")})
            if "image/png" in data:
                picture = "".join(data["image/png"]).strip()
                parts.append(f'<img alt="figure" src="data:image/png;base64,{picture}">')
            elif "text/html" in data:
                parts.append("".join(data["text/html"]))
            else:
                shown = html.escape("".join(data["text/plain"]))
                parts.append(f"<pre><code>{shown}</code></pre>")
    return "\n\n".join(parts)


class Docstrings(griffe.Extension):
    """Turns what is reStructuredText in the docstrings into Markdown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Turns the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = markdown_of(obj.docstring.value, obj)


def markdown_of(text: str, scope: griffe.Object) -> str:
    """Turns formulas and references of a docstring, whose names are those of a scope."""

    def formula(match: re.Match[str]) -> str:
        indent, source = match.groups()
        lines = [line.strip() for line in source.strip().splitlines()]
        return "\n".join(f"{indent}{line}" for line in ("```math", *lines, "```")) + "\n"

    def reference(match: re.Match[str]) -> str:
        name = match[1].removeprefix("~")
        shown = name.rpartition(".")[2] if match[1].startswith("~") else name
        try:
            path = name if name.startswith("symmetry.") else scope.resolve(name)
        except griffe.NameResolutionError:
            return f"`{shown}`"
        return f"[`{shown}`][{path}]"

    text = re.sub(
        r"^( *)\.\. math::((?:.*\n?)(?:\1 +\S.*\n?)*)", formula, text, flags=re.MULTILINE
    )
    text = re.sub(r":math:`([^`]+)`", r"`#!math \1`", text)
    return re.sub(r":(?:func|class|meth|mod|data|attr):`([^`]+)`", reference, text)
