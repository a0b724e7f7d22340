"""The example of molecules on a few that RDKit builds here; nothing is downloaded."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from rdkit import Chem

from stages import check, evaluate, generate, train
from symmetry.artifacts import read_json

EXAMPLE = Path(__file__).parents[1] / "examples" / "molecules"
sys.path.insert(0, str(EXAMPLE))
import chemistry  # noqa: E402
import draw  # noqa: E402
import judge  # noqa: E402
import partners  # noqa: E402
import represent  # noqa: E402
import xtb  # noqa: E402

SMILES = [
    "CC1(CO)C=CC2OC21",
    "OC12CC1OC1CCC12",
    "CC#CC(O)C1(O)CC1",
    "C1OC2CC3CC2(C3)O1",
    "CC12C=C(CO)C(C1)O2",
    "C#CC1(CC)OCC1O",
    "CC1OC2CC(=O)C12C",
    "OC1C=C2COCC2C1",
    "O=C1C(O)CCC12CC2",
    "CC1=CCC2OCC12O",
    "CC#CC(C)(C=O)OC",
    "CC1C=CCC1(O)C=O",
    "CCCC(=O)C#CCO",
    "C1CC(C23CC(C2)O3)O1",
    "CC1C(=O)OCC12CC2",
    "CC(C)C#CCOC=O",
    "C#CC1C(O)CC1CO",
    "O=C(CO)C1=CCCC1",
    "CC12CCC(C=O)(C1)O2",
    "CC1C=CC(=O)C1CO",
    "OCC(O)C#CC1CC1",
    "O=CCC12CC1CCO2",
    "CC1=CC2CC1(O)CO2",
    "CC1CC2(OC=O)CC12",
    "C#CCOC1(C)CC1O",
    "OC1CC2C=CC(C1)O2",
    "CC(=O)CC12CCC1O2",
    "CC(C=O)C1CC1C=O",
    "CC(C)(O)C1=CC=CO1",
    "O=C1CCCCCC1=O",
]
ROWS = 12  # geometries of a molecule, shaken


def geometry(smiles):
    """The atoms and the first geometry that RDKit finds."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert chemistry.AllChem.EmbedMolecule(molecule, randomSeed=1) == 0
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], float)
    return numbers, molecule.GetConformer().GetPositions()


@pytest.fixture(scope="module")
def geometries():
    return {smiles: geometry(smiles) for smiles in SMILES}


def rotation(rng):
    return np.linalg.qr(rng.standard_normal((3, 3)))[0]


# ---- Chemistry ---------------------------------------------------------------------------------


def test_a_bag_of_bonds_is_blind_to_order_place_and_direction(geometries):
    rng = np.random.default_rng(0)
    for numbers, xyz in geometries.values():
        bags = chemistry.bag_of_bonds(numbers, xyz)
        order = rng.permutation(len(numbers))
        moved = xyz[order] @ rotation(rng) + rng.standard_normal(3)
        np.testing.assert_allclose(chemistry.bag_of_bonds(numbers[order], moved), bags)
        assert bags.shape == (171,)


def test_a_bag_of_bonds_holds_the_known_terms_strongest_first(geometries):
    numbers, xyz = geometries[SMILES[0]]
    bags = chemistry.bag_of_bonds(numbers, xyz)
    oxygens = xyz[numbers == 8]
    assert bags[-1] == pytest.approx(64 / np.linalg.norm(oxygens[0] - oxygens[1]))
    hydrogens = bags[:45]
    assert (np.diff(hydrogens) <= 0).all()
    # One bond of each kind at least: C–C shorter than 1.6 Å, C–H than 1.15.
    assert bags[45] > 6 / 1.15
    assert bags[135] > 36 / 1.6


def test_the_features_count_each_distance_once(geometries):
    bags = np.array([chemistry.bag_of_bonds(*one) for one in geometries.values()])
    seen = chemistry.features(bags)
    np.testing.assert_array_equal(seen[:, :171], bags)
    sums = seen[:, 171:].reshape(len(bags), 6, -1).sum(2)
    # A sum of Gaussians at even places is their integral: √(2π) for each distance well inside.
    pairs = np.array([45, 70, 20, 21, 14, 1])
    np.testing.assert_allclose(sums, np.sqrt(2 * np.pi) * pairs * np.ones_like(sums), rtol=2e-2)


@pytest.mark.parametrize(
    ("smiles", "said"),
    [
        ("CCO", "CCO is C2H6O; allowed: isomers of C7H10O2"),
        ("C(", "'C\\(' is no SMILES that RDKit can read"),
    ],
)
def test_what_is_no_isomer_is_refused_by_name(smiles, said):
    with pytest.raises(ValueError, match=said):
        chemistry.embedded(smiles)


def test_a_geometry_of_another_molecule_is_refused_by_its_formula():
    with pytest.raises(ValueError, match="the molecule is H2O1; allowed: isomers of C7H10O2"):
        chemistry.bag_of_bonds(np.array([8.0, 1, 1]), np.eye(3))


def test_stereo_isomers_have_one_skeleton():
    assert chemistry.skeleton("C[C@@H]1CO1") == chemistry.skeleton("C[C@H]1CO1") == "CC1CO1"


def test_an_xyz_file_is_read_as_it_was_written(geometries, tmp_path):
    smiles = SMILES[9]
    numbers, xyz = geometries[smiles]
    signs = {1: "H", 6: "C", 8: "O"}
    lines = [f"{signs[int(z)]} {a} {b} {c}" for z, (a, b, c) in zip(numbers, xyz, strict=True)]
    path = tmp_path / "molecule.xyz"
    path.write_text("\n".join([str(len(lines)), "", *lines]) + "\n")
    found, read_numbers, read_xyz = chemistry.read_xyz(path)
    assert found == chemistry.skeleton(smiles)
    np.testing.assert_array_equal(read_numbers, numbers)
    np.testing.assert_allclose(read_xyz, xyz)
    path.write_text("nothing")
    with pytest.raises(ValueError, match=r"molecule\.xyz holds no xyz of a neutral molecule"):
        chemistry.read_xyz(path)


def test_the_polarisability_of_water_by_gfn2_turns_with_the_molecule():
    pytest.importorskip("tblite", reason="pip install '.[molecules]'")
    water = np.array([8.0, 1, 1]), np.array([[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
    found = xtb.gap_and_polarisability(*water)
    turned = xtb.gap_and_polarisability(water[0], water[1] @ rotation(np.random.default_rng(0)))
    np.testing.assert_allclose(turned, found, rtol=1e-3)
    assert 8 < found[0] < 20
    assert 2 < found[1] < 10  # 9.6 by experiment; a minimal basis has less


# ---- The representation ------------------------------------------------------------------------


def test_the_directions_are_those_in_which_a_known_law_changes():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 12))
    y = np.column_stack([np.sin(x[:, 3]) + x[:, 5], x[:, 5] ** 2 / 2])
    y = (y - y.mean(0)) / y.std(0)
    found = represent.sensitive_directions(x, y, 3)
    shares = np.square(found).sum(1) / np.square(found).sum()
    assert shares[[3, 5]].sum() > 0.9
    assert (x @ found[:, 0]).std() == pytest.approx(1)
    assert (np.diff(np.linalg.norm(found, axis=0)) <= 0).all()


def test_a_skeleton_is_never_torn_apart():
    skeletons = pd.Series(np.repeat([f"C{n}" for n in range(50)], 7))
    parts = represent.parts_of(skeletons)
    assert pd.Series(parts).groupby(skeletons).nunique().eq(1).all()
    assert set(parts) == {"train", "validation", "test"}


# ---- The whole, on tiny params -----------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(geometries, tmp_path_factory):
    """A folder where all stages ran on molecules of the tests' own, shaken; and its metrics."""
    folder = tmp_path_factory.mktemp("molecules")
    rng = np.random.default_rng(0)
    rows, numbers, places = [], [], []
    for smiles, (own, xyz) in geometries.items():
        for _ in range(ROWS):
            shaken = xyz + rng.normal(0, 0.02, xyz.shape)
            bags = chemistry.bag_of_bonds(own, shaken)
            y = {"gap": bags[:45].sum() / 40, "polarisability": bags[135:156].mean()}
            named = {f"b{column + 1}": value for column, value in enumerate(bags)}
            rows.append({"smiles": smiles, "skeleton": chemistry.skeleton(smiles), **y, **named})
            order = np.argsort(-own, kind="stable")
            numbers.append(own[order])
            places.append(shaken[order])
    pd.DataFrame(rows).to_csv(folder / "isomers.csv", index=False)
    np.savez(folder / "geometries.npz", numbers=numbers, xyz=places)
    content = yaml.safe_load((EXAMPLE / "params.yaml").read_text())
    content["train"] |= {"seeds": 2, "batch_size": 16, "validate_every": 20, "threads": 1}
    content["evaluate"]["critic_steps"] = 2
    content["models"] = {"stib_flow": content["models"]["stib_flow"]}
    content["models"]["stib_flow"] |= {"predictor_steps": 40, "steps": 40, "hidden_size": 8}
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(represent, "SHARES", {"validation": 0.1, "test": 0.3})
        for name, value in {"JUDGED": 20, "BY_XTB": 3, "REBUILT": 3}.items():
            patch.setattr(judge, name, value)
        # Known numbers stand for GFN2-xTB, which is not where all tests are.
        patch.setattr(judge, "gap_and_polarisability", lambda numbers, xyz: xyz[0, :2])
        for stage, *arguments in (
            (represent,),
            (check,),
            (generate,),
            (train, "stib_flow"),
            (evaluate, "stib_flow"),
            (judge,),
            (draw,),
        ):
            patch.setattr(sys, "argv", [stage.__name__, *arguments])
            stage.main()
        patch.setattr(sys, "argv", ["partners", "x"])
    return folder


def test_the_split_of_the_pipeline_is_that_of_the_skeletons(finished):
    table = pd.read_csv(finished / "x.csv")
    assert table.groupby("skeleton")["part"].nunique().eq(1).all()
    assert len(table) == ROWS * len(SMILES)


def test_real_molecules_judge_the_partners(finished):
    metrics = read_json(finished / "metrics" / "isomers.json")
    for key in ("stib_flow.drawn", "stib_flow.supported", "nearest_in_y", "gfn2", "random_pairs"):
        assert metrics[f"{key}.gap"] >= 0
    assert 0 <= metrics["stib_flow.drawn.near_share"] <= 1
    assert metrics["rebuilt_share"] == 1


def test_the_pictures_are_drawn(finished):
    for name in ("molecules", "properties"):
        assert (finished / "plots" / f"{name}.png").stat().st_size > 10_000


def ask(folder, monkeypatch, *words):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["partners", *map(str, words)])
    partners.main()


@pytest.mark.parametrize("known", [True, False])
def test_a_chemist_gets_other_isomers(finished, known, tmp_path, monkeypatch, capsys):
    smiles = SMILES[4] if known else "CC1=CC(=O)OC1CC"
    folder = shutil.copytree(finished, tmp_path / "copy")
    ask(folder, monkeypatch, smiles, "--count", 3, "-o", "found.csv")
    printed = capsys.readouterr().out
    assert printed.startswith(f"{chemistry.skeleton(smiles)}: gap ")
    assert ("(DFT)" in printed) == known
    found = pd.read_csv("found.csv")
    assert len(found) == 3
    assert (found["distance"].diff().dropna() >= 0).all()
    assert chemistry.skeleton(smiles) not in set(found["smiles"])
    change = found["gap_change"] - found["gap"]
    assert np.ptp(change) == pytest.approx(0, abs=1e-4)


def test_a_wrong_count_is_refused(finished, monkeypatch):
    with pytest.raises(ValueError, match="--count is 0; allowed: 1 or more"):
        ask(finished, monkeypatch, SMILES[0], "--count", 0)
