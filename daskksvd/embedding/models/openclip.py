"""Models of open_clip: an architecture, and a tag or file of weights."""

import os
import warnings

import numpy as np

from .base import Encoder, check_layer, check_pooling, input_embedding, pool
from .files import cannot_load


class OpenClipEncoder(Encoder):
    """An open_clip model; ``pretrained=None`` gives random weights, for tests."""

    def __init__(self, spec):
        super().__init__(spec)
        try:
            import open_clip
        except RuntimeError as error:  # a torchvision that does not go with this PyTorch
            raise ImportError(f"open_clip cannot be imported: {error}") from error

        if spec.resize is not None:
            raise ValueError(
                f"resize={spec.resize} goes with transformers models; open_clip has its own size"
            )
        named = spec.name.startswith(("hf-hub:", "local-dir:"))
        if not named and spec.name not in open_clip.list_models():
            raise ValueError(
                f"model={spec.name!r} is unknown to open_clip; open_clip.list_models() tells the "
                f"{len(open_clip.list_models())} that it has"
            )
        tags = [] if named else open_clip.list_pretrained_tags_by_model(spec.name)
        if (
            spec.pretrained
            and not named
            and spec.pretrained not in tags
            and not os.path.exists(spec.pretrained)
        ):
            raise ValueError(
                f"pretrained={spec.pretrained!r}; for {spec.name} it must be a file, or of {', '.join(tags)}"
            )
        if not spec.pretrained and not named:
            warnings.warn(
                f"pretrained was not given: the weights of {spec.name} are random, its vectors mean nothing",
                stacklevel=2,
            )
        folder = spec.name.removeprefix("local-dir:") if named else None
        if folder is not None and spec.name.startswith("local-dir:") and not os.path.isdir(folder):
            raise FileNotFoundError(f"model={spec.name!r}; there is no such folder")
        weights = spec.pretrained if spec.pretrained and os.path.exists(spec.pretrained) else None
        try:
            self.model, _, self._transform = open_clip.create_model_and_transforms(
                spec.name, pretrained=spec.pretrained, device=self.device
            )
        except Exception as error:  # of safetensors, pickle, zip files and JSON
            where = weights or (folder if folder and os.path.isdir(folder) else None)
            raise cannot_load(spec.name, error, where) from error
        self.model.eval()
        self._open_clip = open_clip
        size = self.model.visual.image_size
        self.image_size = int(min(size) if isinstance(size, (tuple, list)) else size)
        self._look()

    def _look(self):
        """Run one black image, to see what comes out."""
        import torch

        spec = self.spec
        black = np.zeros((3, self.image_size, self.image_size), np.float32)
        if spec.pooling != "pooled":
            if not hasattr(self.model.visual, "forward_intermediates"):
                raise ValueError(f"pooling={spec.pooling!r}, but {spec.name} shows only its pooled output")
            with torch.inference_mode():
                found = self._intermediates(torch.from_numpy(black[None]).to(self.device), None)
            n_layers = len(found["image_intermediates"])
            prefix = found.get("image_intermediates_prefix")
            check_pooling(spec.pooling, prefix is not None and prefix[-1].shape[1], f"model {spec.name!r}")
            if spec.layer is not None:
                layer = check_layer(spec.layer, n_layers, f"model {spec.name!r}")
                if layer == 0:
                    raise ValueError("layer=0; for open_clip it must be at least 1, the first block")
                self._index = layer - 1
            else:
                self._index = n_layers - 1
        self.d = self.encode(black[None]).shape[1]

    def _intermediates(self, pixels, indices):
        return self.model.visual.forward_intermediates(
            pixels,
            indices=indices,
            # the output of the model is normalised, hidden layers are not
            normalize_intermediates=self.spec.layer is None,
            intermediates_only=True,
            output_fmt="NLC",
            output_extra_tokens=True,
        )

    def prepare(self, image):
        return self._transform(image).numpy()

    def vectors(self, pixels):
        if self.spec.pooling == "pooled":
            return self.model.encode_image(pixels)
        found = self._intermediates(pixels, [self._index])
        prefix = found.get("image_intermediates_prefix", [None])[0]
        return pool(self.spec.pooling, prefix, found["image_intermediates"][0])

    def text_vectors(self, texts):
        return self.token_vectors(self.tokens(texts))

    def tokenizer(self):
        found = self._text_tokenizer()
        return getattr(found, "tokenizer", found)

    def _text_tokenizer(self):
        if not hasattr(self, "_tokenizer"):
            try:
                self._tokenizer = self._open_clip.get_tokenizer(self.spec.name)
            except Exception as error:
                raise cannot_load(self.spec.name, error, what="has no tokenizer that can be read") from error
        return self._tokenizer

    def tokens(self, texts):
        return {"input_ids": self._text_tokenizer()(texts).to(self.device)}

    def token_vectors(self, tokens):
        return self.model.encode_text(tokens["input_ids"])

    def token_embedding(self):
        return input_embedding(getattr(self.model, "text", self.model), self.spec.name)

    def identity(self):
        pretrained = self.spec.pretrained
        if pretrained and os.path.exists(pretrained):
            pretrained = f"{os.path.basename(pretrained)} ({os.path.getsize(pretrained)} bytes)"
        return {
            "library": "open_clip",
            "name": self.spec.name,
            "revision": pretrained,
            "architecture": type(self.model.visual).__name__,
            "pooling": self.spec.pooling,
            "layer": self.spec.layer,
            "precision": str(self.dtype).removeprefix("torch."),
            "preprocessing": dict(self._open_clip.get_model_preprocess_cfg(self.model)),
        }

    def default_batch(self):
        return self.batch_size((self.image_size // 14) ** 2, 1024)
