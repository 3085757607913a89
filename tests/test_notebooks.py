"""Every notebook runs from top to bottom without a warning, and what its text says is so."""

import pathlib
import re
import shutil

import nbformat
import pytest
from ipykernel.kernelspec import write_kernel_spec
from nbclient import NotebookClient
from small_forks import forks

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))

CLAIMS = {
    "01-quickstart": """
        assert codes.shape == (3_000, 64) and (codes != 0).sum(axis=1).compute().max() <= 8
        # the first atoms say what one sees: the brown moon at night
        assert {"night", "brown"} <= set(", ".join(explain(15).words[:4]).split(", "))
        assert found.words[0].startswith("snow") and view.names[snow][0] == "snow"
        assert snowy[rows].mean() > 0.9 > 0.2 > snowy.mean()
    """,
    "02-embed-and-fit-on-a-cluster": """
        assert len(embeddings) == 1_500 and not len(embeddings.rejects)
        assert unfinished.history.sizes["pass"] == 3 < result.history.sizes["pass"]
        assert unfinished.stop_reason == "interrupted" and result.stop_reason == "tol"
        assert straight.dictionary.equals(result.dictionary)
        error = result.history.relative_error.values
        assert error[0] > error[2] > error[-1] and result.history.kind.values[-1] == "full"
        # learning goes on from where it was stopped
        assert (error[:3] == unfinished.history.relative_error.values).all()
    """,
    "03-label-and-score": """
        best_word = words.iloc[0]
        assert best_word.word == table.words[0].split(", ")[0] and best_word.q_value < 0.05
        assert float(scores.chance_share) < 0.05 < 0.7 < float(scores.share_significant[0])
        correlation = compared.median_correlation.to_series()
        assert correlation.idxmax() == "codes"
        assert correlation["random directions"] < 0.75 * correlation["codes"]
        precision = faith.precision.sel(k=5).to_series()
        assert abs(precision["shuffled labels"] - precision["most frequent words"]) < 0.05
        rising = ["most frequent words", "labels and prior", "ridge on codes", "ridge on embeddings"]
        assert precision[rising].is_monotonic_increasing
        assert precision["labels and prior"] > 1.3 * precision["most frequent words"]
        assert pairs.attrs["share_same_word_of_same_atoms"] > pairs.attrs["share_same_word"] > 0.2
        assert recovery.mean_f1.to_series().idxmax() == "K-SVD"
        groups = best.groupby("group").f1.mean().sort_values(ascending=False)
        assert set(groups.index[:2]) == {"background", "colour"}
    """,
    "04-explore-concepts": """
        assert view.m == 128 and view.n == 3_000 and view.scores is not None
        assert view.find("boats").word[0] == "boat" and "boat" in view.names[boat]
        truth = make_scenes(3_000).truth()[:, make_scenes(1).concepts.index("boat")]
        rows, _ = view.top_rows(boat, side=view.sides[boat], n=20)
        assert truth[rows].mean() > 3 * truth.mean()
        # neighbours of an atom for boats are of the sea as well
        assert any({"sea", "boat"} & set(names.split(", ")) for names in near.by_use.names)
        assert abs(pairs.cosine.iloc[0]) > 0.9 > 0.6 > abs(pairs.cosine.iloc[-1])
        assert "boat" in Path(page).read_text()
    """,
    "05-choose-sparsity-and-size": """
        errors = grid.pivot(index="nonzeros", columns="n_components", values="error")
        steps = -errors.diff().dropna()
        assert (steps > 0).all(axis=None)  # more nonzeros lower the error ...
        rates = steps.div(np.diff(errors.index), axis=0)
        assert (rates.diff().dropna() < 0).all(axis=None)  # ... each further one by less
        sizes_gain = -errors.T.diff().dropna()
        assert (sizes_gain > 0).all(axis=None) and (sizes_gain.iloc[-1] < sizes_gain.iloc[0]).all()
        held_out, learned = gain.iloc[:, 0], gain.iloc[:, 1]
        assert held_out.is_monotonic_decreasing and held_out.iloc[-1] < 0.6 * learned.iloc[-1]
        by_size = names.pivot(index="nonzeros", columns="n_components", values="correlation")
        assert (by_size.T.diff().dropna() < 0).all(axis=None)
        told = evaluation.recovery_table(recovery)
        assert told.purity.iloc[-1] > told.purity.iloc[0]
        assert told.mean_precision.iloc[-1] > told.mean_precision.iloc[0]
        assert told.mean_recall.is_monotonic_decreasing
        assert atoms_used["mean"].is_monotonic_increasing and len(atoms_used) == 3
    """,
    "06-patches-and-interventions": """
        assert embeddings.n_images == 800 and len(embeddings) == 800 * 64 and by_image.shape == (800, 192)
        assert "red" in view.names[red] and int(labels.attrs["rows_per_image"]) == 64
        for group in found:
            told = found[group]
            assert told["K-SVD"] > told["random directions"] > told["chance"] < told["PCA"] < told["K-SVD"]
        assert found["colour"]["K-SVD"] > 0.7 and found["object"]["K-SVD"] > 2.5 * found["object"]["chance"]
        told = effect.means
        assert told.target["its atoms"] < -0.4 and told.target_high["its atoms"] < told.target[1:].min()
        assert told.others["its atoms"] < -0.5 * told.target["its atoms"]
        assert turned.calls == 1 and 0 < turned.changed < turned.rows == 40 * 64
        assert moved[shows].mean() > moved[~shows].mean()
        told = probes.means.auroc.unstack("k")
        assert told.loc["projections on atoms"].gt(told.loc["principal components"]).all()
        assert told.loc["atoms"].gt(told.loc["random directions"]).all()
    """,
    "07-words-from-encoders": """
        r2 = {name: table.r2.to_series() for name, table in tables.items()}
        assert all(one["words of shuffled atoms"] < 0.05 for one in r2.values())
        by_words = [r2[name]["words of atoms"] for name in ("labels", "descent", "weighted")]
        assert np.all(np.diff([*by_words, r2["weighted"]["ridge on codes"]]) > 0)
        # naming and reconstructing are two tasks
        assert right["labels"] > right["descent"] + 0.1
        gap = {name: float((one.hard_held_out - one.soft_held_out)[-1]) for name, one in curves.items()}
        assert gap["free"] > 0.05 > abs(gap["softmax"])
        assert knob["images unexplained"].idxmax() == 0.95
    """,
    "08-against-autoencoders": """
        for k, at_k in measured.groupby("nonzeros"):
            own = at_k.fvu[at_k.method == "daskksvd"].item()
            others = at_k[~at_k.method.str.startswith("daskksvd")]
            assert own < 0.98 * others.fvu.min() and own < others.fvu_omp[others.times < 2].min()
        again = at_10.stability.dropna()
        assert again.idxmax() == "daskksvd, batch, consensus"
        assert again["daskksvd, batch"] > again["MP-SAE"] > again["daskksvd"]
        assert (at_10.dead[["daskksvd", "daskksvd, ramp"]] == 0).all()
        named = at_10.significant[["daskksvd", "daskksvd, whitened, positive"]]
        assert named.iloc[1] > 2.5 * named.iloc[0]
        assert left["oneshot"] > 1.2 * left["pursuit"]
        assert gains.ramp.mean() < 0.98 * gains.plain.mean()
        assert by_quarter.is_monotonic_decreasing and by_quarter.iloc[0] > by_quarter.iloc[-1] + 0.2
        assert stopped.F1["down to noise"] > 0.95 > 0.9 > stopped.F1["six"]
        assert stopped.fvu["down to noise"] > stopped.fvu["six"]
    """,
    "09-your-own-vectors": """
        assert labels.attrs["captions_by"] == "order" and table.words[0] == "zero"
        assert set(labels.word.values) == set(names)
        assert float(scores.share_significant[0]) > 0.5 > 0.05 > float(scores.chance_share)
        assert (digits.target[rows] == 7).mean() > 0.7 and page.endswith("digits.html")
    """,
}
"""What the text of a notebook says of its results, for the names it leaves."""

EMBEDDED_AS = dict.fromkeys(
    ("03-label-and-score", "04-explore-concepts", "05-choose-sparsity-and-size"), "01-quickstart"
)
"""Notebooks that embed the same scenes with the same settings as one before them.

The store of that one lies where theirs is to be, whole: their call of `embed` checks that it is of these
scenes, this model and these settings, and has nothing left to do. Run alone, they embed the scenes.
"""

FOUND = """
import shutil, tempfile
from pathlib import Path
make_folder = tempfile.mkdtemp

def folder_with_scenes(*args, **named):
    folder = make_folder(*args, **named)
    if named == {{"prefix": {prefix!r}}}:
        shutil.copytree({store!r}, Path(folder) / "scenes")
    return folder

tempfile.mkdtemp = folder_with_scenes
"""
"""What is run before such a notebook."""


IMPORTED = (
    "daskksvd.embedding.models.huggingface", "daskksvd.view.data.opening", "distributed", "holoviews",
    "ipykernel.kernelapp", "panel", "sklearn.linear_model",
    "transformers.models.auto.image_processing_auto", "transformers.models.clip.modeling_clip",
)  # fmt: skip
"""What most notebooks take some ten seconds to import; for all of them it is done once."""


def test_all_notebooks_are_checked():
    assert [path.stem for path in NOTEBOOKS] == list(CLAIMS)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory):
    """Kernels run this Python, whatever is installed for the user."""
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch, forks(*IMPORTED) as python:
        command = [*python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        write_kernel_spec(folder / "kernels" / "python3", {"argv": command})
        patch.setenv("JUPYTER_PATH", str(folder))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        yield


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """Where the stores of scenes lie that notebooks made, by the notebook."""
    return tmp_path_factory.mktemp("embedded")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, jupyter, embedded, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, 4)
    notebook.cells.append(nbformat.v4.new_code_cell(dedented(CLAIMS[path.stem])))
    [prefix] = re.findall(r'mkdtemp\(prefix="(.+?)"\)', notebook.cells[1].source)
    store = embedded / EMBEDDED_AS.get(path.stem, "")
    if path.stem in EMBEDDED_AS and store.exists():
        found = FOUND.format(prefix=prefix, store=str(store))
        notebook.cells.insert(0, nbformat.v4.new_code_cell(found))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    if path.stem in EMBEDDED_AS.values():
        [made] = tmp_path.glob(f"{prefix}*/scenes")
        shutil.move(made, embedded / path.stem)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert not re.search(r"\w+Warning:", output.get("text", "")), output.text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_shipped_clean(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    for cell in notebook.cells:
        assert cell.source.strip()
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            assert max(map(len, cell.source.splitlines())) <= 100  # no line to scroll sideways for
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def dedented(text):
    return "\n".join(line[8:] for line in text.strip("\n").splitlines())
