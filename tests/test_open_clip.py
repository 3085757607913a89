"""The path through open_clip, with random weights, and with the same weights from a file.

It runs in a process of its own: where torchvision is built for another PyTorch,
two operators are declared first, which must not reach other tests.
"""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap

import pytest

APART = os.environ.get("DASKKSVD_OPEN_CLIP")
"""Folder with open_clip, torchvision and timm that are not to be seen by other tests."""

PROGRAM = """
import json, sys, warnings
import numpy as np
import torch
from PIL import Image

try:
    import torchvision
except RuntimeError:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import open_clip
import daskksvd
from daskksvd.embedding.models import check_spec, load_encoder

folder = sys.argv[1]
# as ViT-S-32 is, but for its sizes: it is made and read fifteen times
ARCHITECTURE = "ViT-small-32"
with open(f"{folder}/{ARCHITECTURE}.json", "w") as file:
    vision = {"image_size": 64, "layers": 12, "width": 64, "head_width": 16, "patch_size": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    json.dump({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}, file)
open_clip.add_model_config(f"{folder}/{ARCHITECTURE}.json")
rng = np.random.default_rng(0)
pictures = [(rng.integers(0, 256, (60, 80, 3), np.uint8), f"caption {i}") for i in range(6)]
images = [Image.fromarray(image) for image, _ in pictures]
found = {}

with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    torch.manual_seed(0)
    encoder = load_encoder(check_spec("open_clip:" + ARCHITECTURE))
found["warned"] = any("are random" in str(one.message) for one in seen)
weights = folder + "/weights.pt"
torch.save(encoder.model.state_dict(), weights)

store = daskksvd.embed(
    pictures, folder + "/out", model="open_clip:" + ARCHITECTURE, pretrained=weights, dtype="float32"
)
found["model"] = store.attrs["model"]
model, _, transform = open_clip.create_model_and_transforms(ARCHITECTURE, pretrained=weights)
pixels = torch.stack([transform(image) for image in images])
with torch.inference_mode():
    expected = model.eval().encode_image(pixels).numpy()
    texts = model.encode_text(open_clip.get_tokenizer(ARCHITECTURE)(["a dog", "a cat"])).numpy()
found["pooled"] = float(np.abs(store.array.compute() - expected).max())
spoken = daskksvd.embed_texts(["a dog", "a cat"], model="open_clip:" + ARCHITECTURE, pretrained=weights)
found["texts"] = float(np.abs(spoken - texts).max())
spoken = daskksvd.text_encoder("open_clip:" + ARCHITECTURE, pretrained=weights).encode(["a dog", "a cat"])
found["encoder"] = float(np.abs(spoken - texts / np.linalg.norm(texts, axis=1, keepdims=True)).max())

# vectors of our own in the slots of a prompt
from daskksvd.embedding.slots import PromptSlots
loaded = load_encoder(check_spec("open_clip:" + ARCHITECTURE, pretrained=weights))
slots = PromptSlots(loaded, " and a ".join, 2, ["dog", "cat", "skateboarder"])
pair = np.array([[0, 1]])
found["slots"] = float(np.abs(slots.encode_words(pair) - slots.encode(slots.table[pair]).numpy()).max())
found["single"] = slots.one_token.tolist()
found["decoded"] = [loaded.tokenizer().decode([int(number)]).strip() for number in
                    loaded.tokens(["a dog"])["input_ids"][0, 1:3]]

# tokens of every block, caught on the way
caught = []
blocks = model.visual.transformer.resblocks
for block in blocks:
    block.register_forward_hook(lambda module, inputs, output: caught.append(output))
with torch.inference_mode():
    model.encode_image(pixels)
for layer in (2, -1, len(blocks)):
    spec = check_spec("open_clip:" + ARCHITECTURE, pretrained=weights, pooling="cls+mean", layer=layer)
    encoder = load_encoder(spec)
    vectors = encoder.encode([encoder.prepare(image) for image in images])
    tokens = caught[layer - 1 if layer > 0 else layer].numpy()
    by_hand = np.hstack([tokens[:, 0], tokens[:, 1:].mean(1)])
    found[f"layer {layer}"] = float(np.abs(vectors - by_hand).max())

# patches of two layers side by side, in the order asked for
spec = check_spec("open_clip:" + ARCHITECTURE, pretrained=weights, tokens="cls+patches", layer=[5, 2])
encoder = load_encoder(spec)
vectors = encoder.encode([encoder.prepare(image) for image in images])
by_hand = np.concatenate([caught[4].numpy(), caught[1].numpy()], -1)
found["tokens"], found["grid"] = float(np.abs(vectors - by_hand).max()), encoder.grid
found["frame"] = encoder.frame

# atoms turned in the second block: what it gives, and what the model makes of that
rows = rng.standard_normal((200, 64)).astype(np.float32)
result = daskksvd.fit(rows, n_components=96, n_nonzero_coefs=3, max_passes=1, random_state=0, n_threads=1)
with torch.inference_mode():
    caught.clear()
    with result.intervening(model, 2, {3: 2.0, 5: 0.0}, tokens="patches"):
        turned = model.encode_image(pixels)
    before = caught[1].numpy()
    handle = blocks[1].register_forward_hook(lambda module, inputs, output: torch.from_numpy(by_hand))
    by_hand = before.copy()
    flat = before[:, 1:].reshape(-1, 64)
    by_hand[:, 1:] = result.intervene(flat, {3: 2.0, 5: 0.0}).reshape(before[:, 1:].shape)
    found["turned"] = float((turned - model.encode_image(pixels)).abs().max())
    found["moved"] = float(np.abs(turned.numpy() - expected).max())
    handle.remove()

for settings, key in (
    ({"model": "open_clip:ViT-Z"}, "architecture"),
    ({"model": "open_clip:" + ARCHITECTURE, "pretrained": "laion9"}, "tag"),
    ({"model": "open_clip:" + ARCHITECTURE, "pretrained": weights, "pooling": "cls", "layer": 99}, "layer"),
):
    try:
        load_encoder(check_spec(**settings))
    except ValueError as error:
        found[key] = str(error)
with open(weights, "rb") as file:
    data = file.read()
pointer = b"version https://git-lfs.github.com/spec/v1\\n"
damages = {"cut": data[: len(data) // 2], "pointer": pointer, "empty": b""}
for key, content in damages.items():
    for ending in ("pt", "safetensors"):
        path = f"{folder}/{key}.{ending}"
        with open(path, "wb") as file:
            file.write(content)
        try:
            load_encoder(check_spec("open_clip:" + ARCHITECTURE, pretrained=path))
        except ValueError as error:
            found[f"{key}.{ending}"] = str(error)
print(json.dumps(found))
"""


@pytest.mark.skipif(
    APART is None and importlib.util.find_spec("open_clip") is None,
    reason="open_clip is not installed; DASKKSVD_OPEN_CLIP may name a folder that has it",
)
def test_open_clip(tmp_path):
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), APART]))
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["warned"]
    assert found["decoded"] == ["a", "dog"]
    assert found["slots"] < 1e-5 and found["single"] == [True, True, False]
    assert found["model"]["library"] == "open_clip" and found["model"]["name"] == "ViT-small-32"
    assert found["model"]["revision"].startswith("weights.pt (")
    for key in ("pooled", "texts", "encoder", "layer 2", "layer -1", "layer 12", "tokens"):
        assert found[key] < 1e-4, key
    assert found["turned"] < 1e-4 < 1e-3 < found["moved"]
    assert found["grid"] == [2, 2] and found["frame"] == {"size": {"shortest_edge": 64}, "crop": [64, 64]}
    assert "is unknown to open_clip" in found["architecture"]
    assert "pretrained='laion9'; for ViT-small-32 it must be a file" in found["tag"]
    assert "has 12 blocks" in found["layer"]
    reasons = {
        "cut.pt": "is cut off after",
        "cut.safetensors": "is no safetensors file",
        "pointer": "is a Git LFS pointer",
    }
    for name in ("cut.pt", "cut.safetensors", "pointer.pt", "pointer.safetensors", "empty.pt"):
        text = found[name]
        assert "\n" not in text and f"{name} {reasons.get(name, reasons.get(name[:7], 'is'))}" in text
        assert text.startswith("model='ViT-small-32' cannot be loaded: its file ")
