"""Exports in the packages' own code. `ci/interop.sh` makes an environment that has them all."""

import importlib
import importlib.util
import sys

import numpy as np
import pytest
import small
from numpy.testing import assert_allclose

import daskksvd

if importlib.util.find_spec("sae_lens"):  # without the packages nothing uses these, which take seconds
    import small_rivals
    import torch

K = small.K
_kept = []


def needs(name):
    """A mark that skips where a package is not installed, before anything is made for a test."""
    try:
        there = importlib.util.find_spec(name) is not None
    except ImportError:
        there = False
    return pytest.mark.skipif(not there, reason=f"{name} is not installed; ci/interop.sh tests with it")


def package(name):
    """A package.

    torchvision, which some of them bring, may be built for another PyTorch: then the operators that it
    misses are named, as in the tests of open_clip.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError):
        pass
    for loaded in list(sys.modules):
        if loaded.split(".")[0] in ("torchvision", name.split(".")[0]):
            del sys.modules[loaded]
    operators = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(operators)
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def Y():
    return small.samples().astype("float32")


@pytest.fixture(scope="module")
def results(Y):
    shapes = {"centred": {"center": True}, "whitened": {"whiten": 0.25}, "as they are": {}}
    return {name: small.fit(Y, **options).fit_encoder(Y) for name, options in shapes.items()}


def close(made, expected, Y):
    """Equal but for rounding of single precision, where scores tie for few rows at most."""
    wrong = np.abs(made - expected).max(axis=1) > 1e-3 * np.abs(Y).max()
    assert wrong.mean() <= 0.003


@needs("sae_lens")
@pytest.mark.parametrize("shape", ["centred", "whitened", "as they are"])
@pytest.mark.parametrize("kind", ["topk", "jumprelu", "pursuit"])
def test_sae_lens_loads_and_codes(Y, results, tmp_path, kind, shape):
    sae_lens = package("sae_lens")
    importlib.import_module("daskksvd.interop.saelens")
    result = results[shape]
    metadata = {"model_name": "none", "hook_name": "rows"}
    result.export("saelens", tmp_path / "it", architecture=kind, metadata=metadata)
    sae = sae_lens.SAE.load_from_disk(str(tmp_path / "it"))
    assert sae.cfg.architecture() == ("daskksvd_pursuit" if kind == "pursuit" else kind)
    assert sae.cfg.metadata.hook_name == "rows"
    with torch.no_grad():
        codes = sae.encode(torch.from_numpy(Y))
        made = sae.decode(codes).numpy()
        assert_allclose(sae(torch.from_numpy(Y)).numpy(), made, atol=1e-5)
        apart = sae.encode(torch.from_numpy(Y).reshape(-1, 7, Y.shape[1]))  # as a batch of texts
        assert_allclose(apart.reshape(codes.shape).numpy(), codes.numpy(), atol=1e-3)
    if kind == "pursuit":
        assert codes.shape[1] == len(result.dictionary)
        expected = result.encode(Y).compute().todense()
        close(codes.numpy(), expected, expected)
        close(made, np.asarray(result.decode(expected)), Y)
        with pytest.raises(NotImplementedError, match="used as it is"):
            sae.fold_W_dec_norm()
        assert sae.W_enc.shape == (Y.shape[1], len(result.dictionary))
    else:
        close(made, small_rivals.saelens(tmp_path / "it", Y.astype(float))[1], Y)
        assert (codes != 0).sum(1).float().mean() == pytest.approx(K, rel=0.05)
    sae.save_model(tmp_path / "again")  # by the package itself
    back = daskksvd.from_sae(tmp_path / "again", n_nonzero_coefs=K)
    assert np.abs(np.sum(back.dictionary.values * from_it(result, kind), axis=1)).min() > 0.9999


def from_it(result, kind):
    """Unit rows of the decoder."""
    decoder = result.decoder
    return decoder / np.linalg.norm(decoder, axis=1, keepdims=True)


@needs("sae_lens")
@pytest.mark.parametrize("shape", ["centred", "as they are"])
def test_sae_lens_pursues_by_products_alone(Y, results, tmp_path, shape):
    sae_lens = package("sae_lens")
    result = results[shape]
    result.export("saelens", tmp_path / "it", architecture="matching_pursuit")
    sae = sae_lens.SAE.load_from_disk(str(tmp_path / "it"))
    with torch.no_grad():
        made = sae(torch.from_numpy(Y)).numpy()
    close(made, small_rivals.saelens(tmp_path / "it", Y.astype(float))[1], Y)
    fvu = ((Y - made) ** 2).sum() / ((Y - Y.mean(axis=0)) ** 2).sum()
    assert 0.999 * result.evaluate(Y)["fvu"] < fvu < 1.5 * result.evaluate(Y)["fvu"]


@needs("sae_lens")
def test_a_trained_sae_of_sae_lens_becomes_a_dictionary(Y, tmp_path):
    sae_lens = package("sae_lens")
    config = sae_lens.TopKTrainingSAEConfig(d_in=Y.shape[1], d_sae=24, k=K)
    sae = sae_lens.TopKTrainingSAE(config)
    with torch.no_grad():
        sae.b_enc.normal_()
        sae.b_dec.normal_()
        sae.W_enc.normal_()
    sae.save_inference_model(tmp_path / "it")
    loaded = sae_lens.SAE.load_from_disk(str(tmp_path / "it"))
    result = daskksvd.from_sae(tmp_path / "it", nonnegative=True)
    W_dec = loaded.W_dec.detach().numpy()
    assert_allclose(result.dictionary.values, W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True), atol=1e-6)
    with torch.no_grad():
        codes = loaded.encode(torch.from_numpy(Y)).numpy()
        theirs = loaded.decode(torch.from_numpy(codes)).numpy()
    scores = (Y - result.mean) @ result.encoder.weights.T + result.encoder.bias
    kept = np.where(scores >= np.sort(scores, axis=1)[:, -K][:, None], np.maximum(scores, 0), 0)
    close(np.asarray(result.decode(kept * result.encoder.gains)), theirs, Y)
    # the same atoms refitted leave less, and pursuit less than these
    errors = [result.evaluate(Y, method=method)["fvu"] for method in ("pursuit", "oneshot")]
    assert errors[0] < errors[1] < ((Y - theirs) ** 2).sum() / ((Y - Y.mean(axis=0)) ** 2).sum()


@needs("overcomplete")
@pytest.mark.parametrize("shape", ["centred", "whitened", "as they are"])
def test_overcomplete_pursues(Y, results, tmp_path, shape):
    package("overcomplete")
    MpSAE = importlib.import_module("overcomplete.sae").MpSAE
    result = results[shape]
    result.export("overcomplete", tmp_path / "it.pt", rows="transformed")
    state = torch.load(tmp_path / "it.pt", weights_only=True)
    s, d = state["dictionary._weights"].shape
    sae = MpSAE(d, s, k=K)
    sae.load_state_dict(state)
    sae.eval()
    rows = torch.from_numpy(result.coder.transformed(Y))
    with torch.no_grad():
        residual, codes, made = sae(rows)
    close(
        made.numpy(), small_rivals.overcomplete(tmp_path / "it.pt", rows.double().numpy(), K)[1], rows.numpy()
    )
    assert_allclose(residual.numpy(), rows.numpy() - made.numpy(), atol=1e-4)
    assert (codes >= 0).all() and codes.shape == (len(Y), s)
    torch.save(sae.state_dict(), tmp_path / "again.pt")
    back = daskksvd.from_sae(tmp_path / "again.pt", n_nonzero_coefs=K)
    assert_allclose(back.dictionary.values, result.coder.dictionary, atol=1e-6)


@needs("overcomplete")
def test_overcomplete_codes_by_scores(Y, results, tmp_path):
    package("overcomplete")
    TopKSAE = importlib.import_module("overcomplete.sae").TopKSAE
    result = results["whitened"]
    result.export("overcomplete", tmp_path / "it.pt", architecture="topk", rows="transformed")
    state = torch.load(tmp_path / "it.pt", weights_only=True)
    s, d = state["dictionary._weights"].shape
    sae = TopKSAE(d, s, K, dictionary_params={"normalization": "identity"})
    sae.load_state_dict(state)
    sae.eval()
    rows = result.coder.transformed(Y).astype("float32")
    with torch.no_grad():
        _, codes, made = sae(torch.from_numpy(rows))
    assert ((codes != 0).sum(1) <= K).all()
    result.export("saelens", tmp_path / "lens", architecture="topk", rows="transformed")
    close(made.numpy(), small_rivals.saelens(tmp_path / "lens", rows.astype(float))[1], rows)


@needs("visaebench")
@pytest.mark.parametrize("shape", ["centred", "whitened", "as they are"])
@pytest.mark.parametrize("kind", ["topk", "jumprelu"])
def test_visaebench_loads_and_codes(Y, results, tmp_path, kind, shape):
    package("visaebench")
    load_sae = importlib.import_module("visaebench.hub").load_sae
    results[shape].export("visaebench", tmp_path / "it", architecture=kind)
    sae = load_sae(str(tmp_path / "it"), device="cpu")
    with torch.no_grad():
        codes, made = sae(torch.from_numpy(Y))
    close(made.numpy(), small_rivals.visaebench(tmp_path / "it", Y.astype(float))[1], Y)
    assert (codes != 0).sum(1).float().mean() == pytest.approx(K, rel=0.05)


@needs("visaebench")
def test_visaebench_evaluates_it(Y, results, tmp_path):
    visaebench = package("visaebench")
    result = results["centred"]
    result.export("visaebench", tmp_path / "it", rows="transformed")
    sae = visaebench.load_sae(str(tmp_path / "it"), device="cpu")
    rows = result.coder.transformed(Y)  # its variance is right for centred rows only
    how = {"metrics": ["fvu"], "ood_datasets": {}, "device": "cpu", "mean": 0.0, "std": 1.0}
    (found,) = visaebench.evaluate(
        sae, activations=torch.from_numpy(rows).reshape(-1, 4, rows.shape[1]), **how
    )
    left = rows - small_rivals.visaebench(tmp_path / "it", rows.astype(float))[1]
    assert found.value == pytest.approx((left**2).sum() / (rows**2).sum(), rel=1e-2)


@needs("saev.nn.modeling")
@pytest.mark.parametrize("kind", ["topk", "jumprelu"])
def test_saev_loads_and_codes(Y, results, tmp_path, kind):
    modeling = package("saev.nn.modeling")  # its first release on PyPI has another format, and no such module
    result = results["whitened"]
    result.export("saev", tmp_path / "it.pt", architecture=kind)
    sae = modeling.load(tmp_path / "it.pt")
    sae.eval()
    with torch.no_grad():
        made = sae(torch.from_numpy(Y)).x_hats[:, -1].numpy()
    close(made, small_rivals.saev(tmp_path / "it.pt", Y.astype(float))[1], Y)
    modeling.dump(tmp_path / "again.pt", sae)
    back = daskksvd.from_sae(tmp_path / "again.pt", n_nonzero_coefs=K)
    assert np.abs(np.sum(back.dictionary.values * from_it(result, kind), axis=1)).min() > 0.9999
