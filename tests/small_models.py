"""Small vision models with random weights, saved as real checkpoints are."""

import functools
import tempfile

import torch
import transformers

SMALL = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
SIZE, PATCH = 32, 8


def _image_settings():
    return {"image_size": SIZE, "patch_size": PATCH, **SMALL}


def _text_settings():
    return {"vocab_size": 64, "max_position_embeddings": 16, **SMALL}


def make_clip():
    config = transformers.CLIPConfig(
        vision_config=_image_settings(), text_config=_text_settings(), projection_dim=20
    )
    return transformers.CLIPModel(config)


def make_siglip():
    config = transformers.SiglipConfig(vision_config=_image_settings(), text_config=_text_settings())
    return transformers.SiglipModel(config)


def make_vit():
    return transformers.ViTModel(transformers.ViTConfig(**_image_settings()))


def make_vit_without_pooler():
    return transformers.ViTModel(transformers.ViTConfig(**_image_settings()), add_pooling_layer=False)


def make_dinov2():
    return transformers.Dinov2Model(transformers.Dinov2Config(mlp_ratio=2, **_image_settings()))


def make_registers():
    config = transformers.Dinov2WithRegistersConfig(mlp_ratio=2, num_register_tokens=3, **_image_settings())
    return transformers.Dinov2WithRegistersModel(config)


MAKERS = {
    "clip": make_clip,
    "siglip": make_siglip,
    "vit": make_vit,
    "vit-without-pooler": make_vit_without_pooler,
    "dinov2": make_dinov2,
    "registers": make_registers,
}


@functools.cache
def processor():
    """Resizes to a square of the size the models take."""
    return transformers.ViTImageProcessor(size={"height": SIZE, "width": SIZE})


def pixels_of(images):
    """What the models take, prepared by Pillow; torchvision, where it is there, differs by a level."""
    with tempfile.TemporaryDirectory() as folder:
        processor().save_pretrained(folder)
        read = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    return read(images=images, return_tensors="pt")["pixel_values"]


def save_model(kind, folder):
    """Make a model, save it into a folder as a checkpoint, and return it."""
    torch.manual_seed(sum(map(ord, kind)))
    model = MAKERS[kind]().eval()
    model.save_pretrained(folder)
    processor().save_pretrained(folder)
    return model
