"""Words of atoms through the text side of a CLIP model of transformers, made and saved here."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

import daskksvd
from daskksvd.evaluation.diagram import MAPPING

transformers = pytest.importorskip("transformers", reason="CLIP models are of transformers")

WORDS = ["dog", "cat", "sea", "sun", "car", "man", "hat", "box"]
START, END = "<|startoftext|>", "<|endoftext|>"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The folder of a CLIP model with random weights and a tokenizer of letters."""
    import torch

    folder = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["ab", *letters, *(f"{letter}</w>" for letter in letters), START, END]
    (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b\n")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 16
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(tokens), "max_position_embeddings": 16, **size}
    text |= {
        "bos_token_id": len(tokens) - 2,
        "eos_token_id": len(tokens) - 1,
        "pad_token_id": len(tokens) - 1,
    }
    image = {"image_size": 32, "patch_size": 8, **size}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(vision_config=image, text_config=text, projection_dim=20)
    transformers.CLIPModel(config).eval().save_pretrained(folder)
    transformers.CLIPImageProcessor().save_pretrained(folder)
    return folder


def expected(folder, texts):
    """Vectors of texts as the model itself gives them, one text at a time."""
    import torch

    model = transformers.CLIPModel.from_pretrained(folder).eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        with torch.no_grad():
            read = model.text_model(**tokenizer(text, return_tensors="pt"))
            found.append(model.text_projection(read.pooler_output)[0].numpy())
    return np.array(found)


def test_texts_are_read_by_the_text_side(clip):
    texts = ["dog", "a cat", "sea and sun"]
    np.testing.assert_allclose(daskksvd.embed_texts(texts, model=clip), expected(clip, texts), atol=1e-5)


def test_atoms_get_the_words_that_captions_say(clip):
    rng = np.random.default_rng(0)
    truth, side = rng.permutation(8), rng.integers(8, size=200)
    values = np.where(side < 4, 1, -1) * rng.uniform(1, 2, 200)
    codes = sp.csr_matrix((values, (np.arange(200), side % 4)), shape=(200, 4))
    captions = [WORDS[truth[one]] for one in side]
    how = {"train": np.arange(100), "random_state": 0}
    found = daskksvd.naming.map_tokens(
        codes, captions, clip, vocabulary=WORDS, n_slots=1, template="{}", **how
    )
    assert found.word.values[:, :, 0].T.ravel().tolist() == [WORDS[number] for number in truth]
    assert json.loads(found.attrs["encoder"])["architecture"] == "CLIPModel"
    table = daskksvd.faithfulness(found, codes, captions, encoder=clip, n_resamples=0, **how)
    assert float(table.r2.sel(way=MAPPING)) > 0.95  # centred by the captions learned from
