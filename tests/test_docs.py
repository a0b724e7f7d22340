"""The pages as MkDocs builds them, the notebook, and the page of figures that needs no network."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from clones import copy_working_tree

from docs.run import notebooks

ROOT = Path(__file__).parents[1]
SMALL = "SymmetryLearner(params={'steps': 4, 'predictor_steps': 100, 'hidden_size': 8}, "
OUTSIDE = re.compile(r"^(https?:)?//")


class Page(HTMLParser):
    """What a page loads, where it links, and the places that can be linked."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.places = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "src" in found:
            self.loads.append(found["src"])
        elif tag == "link" and found.get("rel") not in ("prev", "next", "canonical"):
            self.loads.append(found["href"])
        elif tag == "a" and found.get("href"):
            self.links.append(found["href"])
        self.places |= {found[key] for key in ("id", "name") if found.get(key)}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the pages, built with each warning an error."""
    folder = tmp_path_factory.mktemp("site")
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", folder]
    built = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text()) for path in site.glob("*.html") if path.stem != "404"}


def test_each_page_is_built_and_in_the_navigation(site, pages):
    sources = {path.stem for path in (ROOT / "docs").iterdir() if path.suffix in (".md", ".ipynb")}
    named = {path.stem for path in pages}
    assert named == {"index", "CONTRIBUTING", "CHANGELOG", *sources}
    start = {link.partition("#")[0] for link in pages[site / "index.html"].links}
    assert start >= {f"{name}.html" for name in sources}


def test_no_page_loads_anything_from_elsewhere_and_all_that_it_loads_is_there(pages):
    for path, page in pages.items():
        assert page.loads
        for target in page.loads:
            if target.startswith("data:"):
                continue
            assert not OUTSIDE.match(target), (path.name, target)
            assert (path.parent / unquote(target.partition("?")[0])).is_file(), (path.name, target)


def test_every_link_leads_to_a_file_and_a_place_on_it(pages):
    for path, page in pages.items():
        for link in page.links:
            if OUTSIDE.match(link):
                continue
            name, _, place = unquote(link).partition("#")
            target = path.parent / name if name else path
            assert target.is_file() or target.is_dir(), (path.name, link)
            assert not place or place in pages[target].places, (path.name, link)


def test_the_reference_has_the_docstrings_of_all_modules_as_text_formulas_and_links(site):
    text = (site / "api.html").read_text()
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "symmetry").rglob("*.py")
        if path.stem != "__main__"
    ]
    assert [name for name in modules if f'id="{name}"' not in text] == []
    sources = "".join(path.read_text() for path in (ROOT / "symmetry").rglob("*.py"))
    formulas = len(re.findall(r"\.\. math::|:math:`", sources))
    assert text.count("<math") >= 0.9 * formulas > 50  # those of private functions are left out
    assert not re.findall(r"\.\. math::|:(?:func|class|meth|mod|math):|```", text)


def chromium(address):
    """What a page is after its scripts have run, opened as a file."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium to open the page in")
    flags = "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=15000"
    command = [browser, *flags, "--dump-dom", address]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_the_search_finds_pages_that_are_opened_as_files(site):
    found = chromium(f"{(site / 'index.html').as_uri()}?q=isenthalps")
    assert re.search(r'md-search-result__meta">\d+ matching documents?<', found)


# ---- The notebook ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_a_notebook_runs_with_few_steps_and_gives_the_kinds_of_output_that_it_shows(
    path, tmp_path
):
    # In a process of its own: a kernel's own libraries may warn.
    copy = tmp_path / path.name
    text = path.read_text()
    assert text.count("SymmetryLearner(random_state") == 1
    copy.write_text(text.replace("SymmetryLearner(random_state", f"{SMALL}random_state"))
    code = (
        "import sys, nbformat\nfrom docs.run import run\n"
        "nbformat.write(run(nbformat.read(sys.argv[1], 4)), sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, copy], cwd=ROOT, check=True)
    assert outputs(copy) == outputs(path)
    assert len(outputs(path)) >= 6
    assert path.stat().st_size < 100_000


def outputs(path):
    """Which kinds of output each cell of code has."""
    return [
        [sorted(output.get("data", output.keys())) for output in cell["outputs"]]
        for cell in nbformat.read(path, 4).cells
        if cell["cell_type"] == "code"
    ]


def test_a_notebook_shows_no_path_of_a_machine_and_no_warning():
    for path in notebooks():
        assert not re.search(r"/tmp/|/home/|/root/|Warning|stderr", path.read_text())


# ---- The figures of `dvc plots show` -----------------------------------------------------------


def test_the_page_of_figures_needs_no_network(tmp_path):
    copy_working_tree(tmp_path, leave_out=("pretrained/",))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    template = tmp_path / "template.html"
    with template.open("w") as file:
        command = [sys.executable, "-m", "docs.offline"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=file)
    command = [sys.executable, "-m", "dvc", "plots", "show", "--html-template", template]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    page = tmp_path / "dvc_plots" / "index.html"
    loads = Page(page.read_text()).loads
    assert len(loads) >= 5
    assert [target for target in loads if not (page.parent / target).is_file()] == []
    assert 'class="marks"' in chromium(page.as_uri())  # the training curves are drawn
