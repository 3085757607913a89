"""Exports as other packages describe them, and their files as dictionaries; no package need be installed."""

import json
import os
import pickle

import numpy as np
import pytest
import small
import small_rivals
import torch
from numpy.testing import assert_allclose
from safetensors.numpy import load_file, save_file

import daskksvd

K, M = small.K, small.M
SHAPES = {"centred": {"center": True}, "whitened": {"whiten": 0.25}, "as they are": {}}
WITH_ENCODER = [(name, kind) for name in ("saelens", "saev", "visaebench") for kind in ("topk", "jumprelu")]
EARLY = {"rtol": {"rtol": 0.5}, "threshold": {"n_nonzero_coefs": 6, "threshold": 0.6}}


@pytest.fixture(scope="module")
def Y():
    return small.samples()


@pytest.fixture(scope="module")
def results(Y):
    return {name: small.fit(Y, **options).fit_encoder(Y) for name, options in SHAPES.items()}


def expected_codes(result, Y, kind):
    """Signed codes of the encoder and its gains, from its definition."""
    transform = result.coder.transform
    rows = Y if transform.mean is None else Y - transform.mean
    rows = rows if transform.basis is None else rows @ transform.basis / transform.scale
    scores = rows @ result.encoder.weights.astype(float).T + result.encoder.bias
    size = np.abs(scores)
    if kind == "topk":
        kept = size >= np.sort(size, axis=1)[:, -K][:, None]
    else:
        kept = size > result.encoder.threshold
    return np.where(kept, scores, 0) * result.encoder.gains


def signed(codes):
    """Codes of the two sides of atoms as signed ones."""
    assert (codes >= 0).all()
    positive, negative = np.hsplit(codes, 2)
    assert not ((positive > 0) & (negative > 0)).any()
    return positive - negative


def read(name, path, rows):
    reader = getattr(small_rivals, name)
    return reader(path, rows, K) if name == "overcomplete" else reader(path, rows)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "kind"), WITH_ENCODER)
def test_an_encoder_is_exported_with_all_preprocessing_folded_in(Y, results, tmp_path, name, kind, shape):
    result = results[shape]
    result.export(name, tmp_path / "it", architecture=kind)
    codes, made = read(name, tmp_path / "it", Y)
    expected = expected_codes(result, Y, kind)
    gains = np.abs(result.encoder.gains.astype(float))
    assert_allclose(np.abs(signed(codes)) * gains, np.abs(expected), atol=2e-4 * np.abs(expected).max())
    assert_allclose(made, result.decode(expected), atol=2e-4 * np.abs(Y).max())


@pytest.mark.parametrize("name", ["saelens", "overcomplete"])
def test_matching_pursuit_has_its_own_codes_of_the_same_atoms(Y, results, tmp_path, name):
    result = results["as they are"]
    result.export(name, tmp_path / "it", architecture="matching_pursuit")
    codes, made = read(name, tmp_path / "it", Y)
    atoms = result.dictionary.values.astype(float)
    expected = small_rivals.pursue(Y, np.concatenate([atoms, -atoms]), K)
    assert_allclose(made, expected @ np.concatenate([atoms, -atoms]), atol=1e-3)
    assert_allclose(codes @ np.concatenate([atoms, -atoms]), made, atol=1e-3)
    # without a refit there is more error, and not much more
    left = ((Y - made) ** 2).sum() / ((Y - Y.mean(axis=0)) ** 2).sum()
    fvu = result.evaluate(Y)["fvu"]
    assert fvu < left < 1.5 * fvu


def test_centred_rows_go_with_an_offset_or_beforehand(Y, results, tmp_path):
    result = results["centred"]
    result.export("saelens", tmp_path / "lens", architecture="matching_pursuit")
    _, made = small_rivals.saelens(tmp_path / "lens", Y)
    assert_allclose(load_file(tmp_path / "lens" / "sae_weights.safetensors")["b_dec"], result.mean, rtol=1e-6)
    with pytest.raises(
        ValueError, match=r"centred rows, and overcomplete has no offset; pass rows='transformed'"
    ):
        result.export("overcomplete", tmp_path / "it.pt")
    result.export("overcomplete", tmp_path / "it.pt", rows="transformed")
    _, other = small_rivals.overcomplete(tmp_path / "it.pt", Y - result.mean, K)
    assert_allclose(made, other + result.mean, atol=1e-3)


def test_whitening_cannot_be_folded_into_matching_pursuit(Y, results, tmp_path):
    result = results["whitened"]
    with pytest.raises(
        ValueError, match="scaled or whitened rows, which the matching pursuit of saelens cannot"
    ):
        result.export("saelens", tmp_path / "it", architecture="matching_pursuit")
    assert not (tmp_path / "it").exists()
    result.export("saelens", tmp_path / "it", architecture="matching_pursuit", rows="transformed")
    rows = result.coder.transformed(Y).astype(float)
    _, made = small_rivals.saelens(tmp_path / "it", rows)
    atoms = result.coder.dictionary.astype(float)
    codes = small_rivals.pursue(rows, np.concatenate([atoms, -atoms]), K)
    assert_allclose(made, codes @ np.concatenate([atoms, -atoms]), atol=1e-3)


@pytest.mark.parametrize("name", ["saelens", "saev", "visaebench", "overcomplete"])
def test_what_was_exported_is_read_back(Y, results, tmp_path, name):
    result = results["centred"]
    rows = "transformed" if name == "overcomplete" else "raw"
    result.export(name, tmp_path / "it", rows=rows, metadata={"model_name": "none"})
    back = daskksvd.from_sae(tmp_path / "it", n_nonzero_coefs=K)
    assert_allclose(back.dictionary.values, result.dictionary.values * gain_signs(result, name), atol=1e-6)
    assert back.stop_reason == "imported" and back.settings["imported_from"]["format"] == name
    shifted = Y - result.mean if name == "overcomplete" else Y
    assert back.evaluate(shifted)["fvu"] == pytest.approx(result.evaluate(Y)["fvu"], rel=1e-4)
    assert (back.encoder is None) == (name == "overcomplete")
    if name != "overcomplete":
        once = [one.evaluate(Y, method="oneshot")["fvu"] for one in (back, result)]
        assert once[0] == pytest.approx(once[1], rel=1e-3)
    back.save(tmp_path / "result.zarr")
    assert daskksvd.load(tmp_path / "result.zarr").settings == back.settings
    assert "0 passes" in repr(back)


def gain_signs(result, name):
    """A negative gain turns an atom round."""
    signs = 1 if name == "overcomplete" else np.sign(result.encoder.gains)
    return np.broadcast_to(signs, M)[:, None]


@pytest.mark.parametrize("kind", ["jumprelu", "pursuit", "matching_pursuit"])
def test_the_number_of_nonzeros_is_read_back(results, tmp_path, kind):
    results["centred"].export("saelens", tmp_path / "it", architecture=kind)
    assert daskksvd.from_sae(tmp_path / "it").coder.target.n_nonzero_coefs == K
    config = json.loads((tmp_path / "it" / "cfg.json").read_text())
    assert config["d_sae"] == (M if kind == "pursuit" else 2 * M)


@pytest.mark.parametrize("stop", EARLY)
def test_codes_that_end_early_are_exported_with_their_mean_number(Y, results, tmp_path, stop):
    result = results["centred"].with_target(**EARLY[stop])
    mean = (result.encode(Y).compute().todense() != 0).sum(axis=1).mean()
    with pytest.raises(ValueError, match="does not say how many latents are active; pass n_nonzero_coefs="):
        result.export("saelens", tmp_path / "none", architecture="pursuit")
        daskksvd.from_sae(tmp_path / "none")
    result.fit_encoder(Y).save(tmp_path / "result.zarr")
    again = daskksvd.load(tmp_path / "result.zarr")
    assert again.encoder.mean_nonzeros == pytest.approx(mean)
    assert 1 <= round(mean) < result.coder.target.n_nonzero_coefs
    for kind in ("jumprelu", "pursuit"):
        again.export("saelens", tmp_path / kind, architecture=kind)
        assert daskksvd.from_sae(tmp_path / kind).coder.target.n_nonzero_coefs == round(mean)


def test_top_k_of_overcomplete_has_the_scores_and_gains_of_the_encoder(Y, results, tmp_path):
    result = results["whitened"]
    result.export("overcomplete", tmp_path / "it.pt", architecture="topk", rows="transformed")
    state = {name: value.double().numpy() for name, value in torch.load(tmp_path / "it.pt").items()}
    rows = result.coder.transformed(Y).astype(float)
    scores = rows @ state["encoder.final_block.0.weight"].T + state["encoder.final_block.0.bias"]
    codes = small_rivals.top(small_rivals.relu(scores), K)
    expected = expected_codes(result, Y, "topk") @ result.coder.dictionary
    assert_allclose(codes @ state["dictionary._weights"], expected, atol=2e-4 * np.abs(rows).max())
    back = daskksvd.from_sae(tmp_path / "it.pt", n_nonzero_coefs=K)
    assert_allclose(np.abs(back.encoder.gains), np.abs(result.encoder.gains), rtol=1e-4)


def test_non_negative_codes_are_exported_once(Y, results, tmp_path):
    source = results["centred"]
    target = source.coder.target._replace(nonnegative=True)
    arguments = (source.dictionary.values, source.coder.transform, target, source.history, "tol", {})
    result = daskksvd.Result(*arguments).fit_encoder(Y)
    result.export("saelens", tmp_path / "it")
    codes, made = small_rivals.saelens(tmp_path / "it", Y)
    assert codes.shape == (len(Y), M)
    assert_allclose(made, result.decode(codes * result.encoder.gains), atol=1e-3)
    back = daskksvd.from_sae(tmp_path / "it", nonnegative=True)
    assert back.dictionary.shape == result.dictionary.shape and back.coder.target.nonnegative
    assert back.encode(Y).compute().data.min() > 0


def test_an_autoencoder_of_others_becomes_a_dictionary(Y, tmp_path):
    """Decoder rows of any norm, an encoder that is centred or not, norms in the scores or not."""
    rng = np.random.default_rng(3)
    d, s = Y.shape[1], 12
    W_dec, W_enc = rng.standard_normal((s, d)), rng.standard_normal((d, s))
    b_dec, b_enc = rng.standard_normal(d), rng.standard_normal(s)
    tensors = {"W_dec": W_dec, "W_enc": W_enc, "b_dec": b_dec, "b_enc": b_enc}
    norms = np.linalg.norm(W_dec, axis=1)
    for centred in (True, False):
        for rescaled in (True, False):
            folder = tmp_path / f"{centred}-{rescaled}"
            folder.mkdir()
            save_file(
                {name: value.astype("float32") for name, value in tensors.items()},
                folder / "sae_weights.safetensors",
            )
            config = {
                "architecture": "topk", "k": 4, "apply_b_dec_to_input": centred,
                "rescale_acts_by_decoder_norm": rescaled, "normalize_activations": "none",
            }  # fmt: skip
            (folder / "cfg.json").write_text(json.dumps(config))
            result = daskksvd.from_sae(folder, nonnegative=True)
            assert_allclose(result.dictionary.values, W_dec / norms[:, None], atol=1e-6)
            assert_allclose(result.mean, b_dec, atol=1e-6)
            scores = (Y - b_dec * centred) @ W_enc + b_enc
            scores = scores * norms if rescaled else scores
            ours = (Y - b_dec) @ result.encoder.weights.T + result.encoder.bias
            assert_allclose(ours, scores, atol=1e-4)
            assert_allclose(result.encoder.gains, 1 if rescaled else norms, rtol=1e-5)
            assert result.coder.target.n_nonzero_coefs == 4
            signed = daskksvd.from_sae(folder, n_nonzero_coefs=2)
            assert signed.encoder is None and signed.dictionary.shape == (s, d)


def test_half_precision_and_older_files_are_read(tmp_path):
    atoms = np.eye(4, dtype="float32")
    state = {"W_dec": atoms * 2, "b_dec": np.ones(4), "W_enc": atoms, "b_enc": np.zeros(4)}
    tensors = {name: torch.tensor(value).to(torch.bfloat16) for name, value in state.items()}
    with open(tmp_path / "old.pt", "wb") as file:
        file.write(json.dumps({"d_vit": 4, "exp_factor": 1}).encode() + b"\n")
        torch.save(tensors, file)
    result = daskksvd.from_sae(tmp_path / "old.pt", n_nonzero_coefs=1, nonnegative=True)
    assert_allclose(result.dictionary.values, atoms)
    assert_allclose(result.encoder.bias, 0)  # there rows were centred
    torch.save(
        {
            "encoder.weight": tensors["W_enc"],
            "encoder.bias": tensors["b_enc"],
            "decoder.weight": tensors["W_dec"],
        },
        tmp_path / "sae.pt",
    )
    assert_allclose(daskksvd.from_sae(tmp_path / "sae.pt", n_nonzero_coefs=1).dictionary.values, atoms)


class Evil:
    """What pickle would run."""

    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL"],)


def whole_folder(path):
    """A folder of SAELens in good order."""
    path.mkdir()
    (path / "cfg.json").write_text(json.dumps({"architecture": "topk", "k": 2}))
    weights = {"W_dec": np.eye(4, dtype="float32"), "b_dec": np.zeros(4, "float32")}
    save_file(weights, path / "sae_weights.safetensors")
    return weights


DAMAGES = {
    "k": ({"k": -1}, {}, r"k is -1; it must be a positive whole number"),
    "text": ({"k": "ten"}, {}, r"k is 'ten'; it must be a positive whole number"),
    "normalised": ({"normalize_activations": "layer_norm"}, {}, r"normalize_activations='layer_norm'"),
    "shape": ({}, {"b_dec": np.zeros(3, "float32")}, r"'b_dec' has shape \(3,\); it must be 4"),
    "flat": ({}, {"W_dec": np.zeros(3, "float32")}, r"'W_dec' has shape \(3,\); it must be any x any"),
    "NaN": ({}, {"W_dec": np.full((4, 4), np.nan, "float32")}, r"'W_dec' has NaN or infinite values"),
    "zero": ({}, {"W_dec": np.diag([1, 1, 0, 1]).astype("float32")}, r"decoder is zero \(first: 2\)"),
    "count": ({"k": None}, {}, r"does not say how many latents are active; pass n_nonzero_coefs="),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_wrong_contents_are_refused_in_one_sentence(tmp_path, damage):
    config, tensors, said = DAMAGES[damage]
    weights = whole_folder(tmp_path / "it")
    (tmp_path / "it" / "cfg.json").write_text(json.dumps({"k": 2} | config))
    save_file(weights | tensors, tmp_path / "it" / "sae_weights.safetensors")
    with pytest.raises(ValueError, match=said) as error:
        daskksvd.from_sae(tmp_path / "it")
    assert "\n" not in str(error.value)


def test_damaged_and_hostile_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("EVIL", str(tmp_path / "ran"))
    whole_folder(tmp_path / "it")
    weights = (tmp_path / "it" / "sae_weights.safetensors").read_bytes()
    for content in (b"", weights[:-5], b"\xff" * 40, weights[:9] + b"!" + weights[10:]):
        (tmp_path / "it" / "sae_weights.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match="is no whole safetensors file"):
            daskksvd.from_sae(tmp_path / "it")
    for config in (b"", b"[1]", b"{" * 100, b"[" * 100_000, b"\xff\xfe"):
        (tmp_path / "it" / "cfg.json").write_bytes(config)
        with pytest.raises(ValueError, match=r"cfg\.json' (is not JSON|has JSON that is a list)"):
            daskksvd.from_sae(tmp_path / "it")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    torch.save({"W_dec": Evil()}, tmp_path / "evil.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    endless = {"one number": torch.zeros(1).expand(10**9, 10**9)}
    endless["none"] = torch.sparse_coo_tensor(torch.zeros((2, 0)), torch.zeros(0), (10**9, 10**9))
    for weights in endless.values():
        torch.save({"dictionary._weights": weights}, tmp_path / "endless.pt")
        with pytest.raises(
            ValueError, match="say that they have 1,000,000,000,000,000,000 numbers; the file has"
        ):
            daskksvd.from_sae(tmp_path / "endless.pt")
    line = json.dumps({"schema": 5, "cfg": {}}).encode() + b"\n"
    (tmp_path / "evil-saev.pt").write_bytes(line + (tmp_path / "evil.pt").read_bytes())
    (tmp_path / "short-saev.pt").write_bytes(line)
    for name in ("evil.pkl", "evil.pt", "evil-saev.pt", "short-saev.pt"):
        with pytest.raises(
            ValueError, match=r"is no state_dict of PyTorch that holds tensors alone"
        ) as error:
            daskksvd.from_sae(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="holds a list; it must be a state_dict"):
        daskksvd.from_sae(tmp_path / "list.pt")
    assert not (tmp_path / "ran").exists()


def test_what_is_no_autoencoder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is nothing"):
        daskksvd.from_sae(tmp_path / "none")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a")
    with pytest.raises(ValueError, match=r"is a folder with a\.txt; one of SAELens has cfg\.json and"):
        daskksvd.from_sae(tmp_path / "notes")
    save_file({"w": np.ones(2, "float32")}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="has the tensors w; of overcomplete it has"):
        daskksvd.from_sae(tmp_path / "other.safetensors")


def test_exports_are_refused_before_any_work(Y, results, tmp_path):
    result, plain = results["centred"], small.fit(Y)
    with pytest.raises(ValueError, match="format='onnx'; it must be one of 'saelens', 'overcomplete'"):
        result.export("onnx", tmp_path / "it")
    with pytest.raises(
        ValueError, match=r"architecture='jumprelu'; it must be one of 'matching_pursuit', 'topk' for format"
    ):
        result.export("overcomplete", tmp_path / "it", architecture="jumprelu")
    with pytest.raises(ValueError, match="takes an encoder, and none was fitted; call fit_encoder first"):
        plain.export("saev", tmp_path / "it")
    with pytest.raises(TypeError, match="metadata has a value that JSON does not hold"):
        result.export("saelens", tmp_path / "it", metadata={"a": {1, 2}})
    ended = daskksvd.Result(
        plain.dictionary.values, plain.coder.transform, plain.coder.target._replace(rtol=0.1), plain.history,
        "tol", {}, encoder=result.encoder,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"codes until rtol=0\.1 or threshold=0 is met"):
        ended.export("saelens", tmp_path / "it", architecture="matching_pursuit")
    with pytest.raises(ValueError, match="pass architecture='jumprelu'"):
        ended.export("visaebench", tmp_path / "it")
    assert not (tmp_path / "it").exists()


def test_only_exports_are_replaced(results, tmp_path):
    result = results["centred"]
    result.export("saelens", tmp_path / "it")
    with pytest.raises(FileExistsError, match="exists; pass overwrite=True"):
        result.export("saelens", tmp_path / "it")
    result.export("visaebench", tmp_path / "it", overwrite=True)
    assert not (tmp_path / "it" / "cfg.json").exists()
    with pytest.raises(FileExistsError, match="exists and is no file; format='saev' writes a file"):
        result.export("saev", tmp_path / "it", overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="is a folder of something else"):
        result.export("saelens", tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_the_command_exports(Y, results, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from daskksvd.cli import main

    def run(*arguments, code=0):
        found = CliRunner().invoke(main, ["export", *map(str, arguments)], catch_exceptions=False)
        assert found.exit_code == code, found.output
        return found.output

    monkeypatch.chdir(tmp_path)
    np.save("samples.npy", Y)
    small.fit(Y, whiten=0.25).save("result.zarr")
    message = run("result.zarr", "saelens", "out", code=2)
    assert "which the matching pursuit of saelens cannot; pass --rows='transformed'" in message
    assert "is in out" in run("result.zarr", "saelens", "out", "--samples", "samples.npy")
    results["whitened"].export("saelens", "same")
    for name in ("cfg.json", "sae_weights.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "same" / name).read_bytes()
    assert "exists already" in run("result.zarr", "saelens", "out", code=2)
    assert "'onnx' is not one of" in run("result.zarr", "onnx", "other", code=2)
    run("result.zarr", "overcomplete", "it.pt", "--rows", "transformed")
    assert daskksvd.from_sae("it.pt", n_nonzero_coefs=K).dictionary.shape[0] == M


def test_a_folder_with_other_files_is_not_replaced(results, tmp_path):
    place = tmp_path / "model"
    place.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (place / name).write_text("{}")
    with pytest.raises(FileExistsError, match=r"tokenizer\.json"):
        next(iter(results.values())).export("saelens", place, overwrite=True)
    assert sorted(path.name for path in place.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
