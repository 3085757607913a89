"""Vision models of transformers: CLIP, SigLIP, ViT, DINOv2 and their kin."""

import contextlib
import inspect
import json
import os

import numpy as np

from ..errors import first_line
from ..layout import frame_of
from .base import Encoder, check_layers, check_pooling, input_embedding, side_by_side, vectors_of
from .files import cannot_load, fingerprint, short_name


class HuggingFaceEncoder(Encoder):
    """A checkpoint from the hub, or from a folder that ``save_pretrained`` made."""

    def __init__(self, spec):
        super().__init__(spec)
        import torch
        from transformers import AutoModel

        self._where = {"revision": spec.revision, "trust_remote_code": False}
        if os.path.isdir(spec.name):
            self._where["local_files_only"] = True
        try:
            with no_progress_bars():
                self.model, info = AutoModel.from_pretrained(
                    spec.name, dtype=torch.float32, output_loading_info=True, **self._where
                )
        except Exception as error:  # of safetensors, pickle, zip files and JSON
            raise cannot_load(spec.name, error) from error
        self.model.eval().to(self.device)
        missing = sorted(info["missing_keys"])
        self._has_pooler = not any("pooler" in key for key in missing)
        missing = [key for key in missing if "pooler" not in key]
        if missing:
            raise ValueError(f"model={spec.name!r} lacks weights ({missing[0]} and {len(missing) - 1} more)")
        self.tower = getattr(self.model, "vision_model", self.model)
        self.config = getattr(self.model.config, "vision_config", self.model.config)
        if not hasattr(self.config, "patch_size"):
            kind = self.model.config.model_type
            raise ValueError(
                f"model={spec.name!r} is a {kind} model; it must be a Vision Transformer, or for texts "
                f"'transformers_text:{spec.name}'"
            )
        self._patch = _sides(self.config.patch_size)
        self.processor = self._make_processor()
        self._look()

    def _make_processor(self):
        """What the checkpoint says of its images, on PIL: the same with and without torchvision."""
        from transformers import AutoImageProcessor

        try:
            processor = AutoImageProcessor.from_pretrained(self.spec.name, backend="pil", **self._where)
        except Exception as error:
            raise self._unprepared(error) from error
        resize = self.spec.resize
        if resize is False:
            processor.do_resize = False
        elif resize is not None:
            square = "height" in dict(processor.size)
            size = {"height": resize, "width": resize} if square else {"shortest_edge": resize}
            processor = type(processor).from_dict({**processor.to_dict(), "size": size, "do_resize": True})
        self.resizes = bool(getattr(processor, "do_resize", False))
        return processor

    def _unprepared(self, error):
        return cannot_load(self.spec.name, error, what="says not how its images are prepared")

    def _look(self):
        """Run one grey image, to see what comes out."""
        import torch
        from PIL import Image

        try:
            size = dict(getattr(self.processor, "crop_size", None) or {}) or dict(self.processor.size)
            self.image_size = int(size.get("height") or size.get("shortest_edge"))
            grey = Image.new("RGB", (2 * self.image_size, 2 * self.image_size), (127, 127, 127))
            if not self.resizes:
                grey = grey.resize((self.image_size, self.image_size))
            pixels = self.prepare(grey)
        except Exception as error:  # settings that make no sense show only in use
            raise self._unprepared(error) from error
        patch = self._patch
        grid = pixels.shape[1] // patch[0], pixels.shape[2] // patch[1]
        n_patches = grid[0] * grid[1]
        with torch.inference_mode():
            out = self._first(torch.from_numpy(pixels[None]).to(self.device))
        tokens = out.last_hidden_state.shape[1]
        self._n_prefix = tokens - n_patches
        if self._n_prefix < 0:
            raise ValueError(
                f"model={self.spec.name!r} does not have one token a patch; it must be a plain ViT"
            )
        self._n_tokens = tokens
        spec = self.spec
        check_pooling(spec.pooling, self._n_prefix, f"model {spec.name!r}", spec.tokens)
        if spec.layer is not None:
            self._layers = check_layers(spec.layer, self.config.num_hidden_layers, f"model {spec.name!r}")
        if spec.tokens is not None:
            known = 2 + getattr(self.config, "num_register_tokens", 0)  # a class and a distillation token
            if self._n_prefix > known:
                raise ValueError(
                    f"tokens={spec.tokens!r}, but model {spec.name!r} has no grid of patches: it makes "
                    f"{tokens} tokens of {grid[0]} x {grid[1]} patches"
                )
            self.grid, self.frame, self.shape = grid, self._frame(pixels.shape[1:]), pixels.shape
        elif (
            spec.pooling == "pooled"
            and not hasattr(self.model, "get_image_features")
            and (not self._has_pooler or getattr(out, "pooler_output", None) is None)
        ):
            raise ValueError(
                f"pooling='pooled', but model {spec.name!r} has no weights of a pooling layer; "
                "use 'cls', 'mean' or 'cls+mean'"
            )
        elif not self.resizes and not self._takes(np.pad(pixels, ((0, 0), (0, 0), (0, patch[1])))):
            self.shape = pixels.shape
        self.d = self.encode(pixels[None]).shape[-1]

    def _takes(self, pixels):
        """Whether an image of another size than the first can be encoded."""
        try:
            self.encode(pixels[None])
        except (ValueError, TypeError, RuntimeError):
            return False
        return True

    def _first(self, pixels):
        """What the tower makes of an image."""
        try:
            return self.tower(pixels, **self._more(pixels))
        except (ValueError, TypeError, RuntimeError) as error:
            raise self._unread(pixels, error) from error

    def _more(self, pixels):
        """What is passed beside images: that places are interpolated where they have not the learned size."""
        learned = getattr(self.config, "image_size", None)
        known = "interpolate_pos_encoding" in inspect.signature(self.tower.forward).parameters
        if not known or learned is None or tuple(pixels.shape[-2:]) == _sides(learned):
            return {}
        return {"interpolate_pos_encoding": True}

    def _unread(self, pixels, error):
        size = " x ".join(map(str, pixels.shape[-2:]))
        return ValueError(f"model={self.spec.name!r} does not read images of {size} ({first_line(error)})")

    def _frame(self, crop):
        """What of an image the processor keeps."""
        size = dict(self.processor.size or {}) if self.resizes else {}
        known = {key: int(value) for key, value in size.items() if key in _SIZES and value}
        return frame_of(known or None, crop)

    def prepare(self, image):
        found = np.asarray(self.processor(images=image, return_tensors="np")["pixel_values"][0], np.float32)
        if found.shape[1] < self._patch[0] or found.shape[2] < self._patch[1]:
            sizes = [f"{wide} x {tall}" for tall, wide in (found.shape[1:], self._patch)]
            raise ValueError(f"it is {sizes[0]} pixels as the model sees it, less than a patch of {sizes[1]}")
        return found

    def vectors(self, pixels):
        spec = self.spec
        if spec.pooling == "pooled" and spec.tokens is None:
            return self.output(pixels)
        if spec.layer is None:
            found = [self.tower(pixels, **self._more(pixels)).last_hidden_state]
        else:
            hidden = self.tower(pixels, output_hidden_states=True, **self._more(pixels)).hidden_states
            found = [hidden[layer] for layer in self._layers]
        cut = self._n_prefix
        return side_by_side([vectors_of(spec, tokens[:, :cut], tokens[:, cut:]) for tokens in found])

    def output(self, pixels):
        if hasattr(self.model, "get_image_features"):
            found = self.model.get_image_features(pixel_values=pixels, **self._more(pixels))
            return getattr(found, "pooler_output", found)
        found = self.tower(pixels, **self._more(pixels))
        if self._has_pooler and getattr(found, "pooler_output", None) is not None:
            return found.pooler_output
        tokens = found.last_hidden_state  # without weights of a pooling layer: its class token, or the mean
        return tokens[:, 0] if self._n_prefix else tokens.mean(1)

    def text_vectors(self, texts):
        return self.token_vectors(self.tokens(texts))

    def tokenizer(self):
        if not hasattr(self.model, "get_text_features"):
            raise ValueError(
                f"model {self.spec.name!r} reads no text; use a CLIP model or a sentence encoder"
            )
        if not hasattr(self, "_tokenizer"):
            from transformers import AutoTokenizer

            try:
                self._tokenizer = AutoTokenizer.from_pretrained(self.spec.name, **self._where)
            except Exception as error:
                raise cannot_load(self.spec.name, error, what="has no tokenizer that can be read") from error
        return self._tokenizer

    def tokens(self, texts):
        tokenizer = self.tokenizer()
        length = self.model.config.text_config.max_position_embeddings
        # SigLIP has learned from texts filled up to the full length
        padding = "max_length" if "siglip" in self.model.config.model_type else True
        inputs = tokenizer(texts, padding=padding, truncation=True, max_length=length, return_tensors="pt")
        return dict(inputs.to(self.device))

    def token_vectors(self, tokens):
        found = self.model.get_text_features(**tokens)
        return getattr(found, "pooler_output", found)

    def token_embedding(self):
        return input_embedding(getattr(self.model, "text_model", self.model), self.spec.name)

    def identity(self):
        return {
            "library": "transformers",
            "name": short_name(self.spec.name),
            "revision": self._revision(),
            "architecture": type(self.model).__name__,
            "pooling": self.spec.pooling,
            "layer": self.spec.layer,
            "precision": str(self.dtype).removeprefix("torch."),
            "preprocessing": _plain(self.processor.to_dict()),
            **({"tokens": self.spec.tokens} if self.spec.tokens else {}),
        }

    def _revision(self):
        """The commit on the hub, or a fingerprint of the folder."""
        if os.path.isdir(self.spec.name):
            return fingerprint(self.spec.name)
        return getattr(self.model.config, "_commit_hash", None) or self.spec.revision

    def default_batch(self):
        return self.batch_size(self._n_tokens, self.config.hidden_size)


_SIZES = ("shortest_edge", "longest_edge", "height", "width")
"""What processors call the size that images are brought to."""


@contextlib.contextmanager
def no_progress_bars():
    """Keep the bars of transformers, for work of milliseconds, off the terminal."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _sides(size):
    """Height and width of what is said as one number or two."""
    return tuple(map(int, size)) if isinstance(size, (tuple, list)) else (int(size), int(size))


def _plain(settings):
    """What JSON can say of the settings of a processor."""
    return json.loads(json.dumps(settings, default=str, sort_keys=True))
