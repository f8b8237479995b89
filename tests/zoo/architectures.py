"""Architectures that libraries build from configurations, without weights.

They are those of the configuration's defaults, mostly a published model's, or smaller where a line says so.
An entry's maker returns the module and its inputs by keyword, both on the device that is torch's default.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Any

from tests.zoo.entries import Entry, Torch, UnobtainableError

__all__ = ["ARCHITECTURES", "EXPORTED"]

Inputs = Callable[[], dict[str, Any]]


def _ids(**shapes: tuple[int, ...]) -> Inputs:
    """Zeros of whole numbers, by name."""

    def make() -> dict[str, Any]:
        import torch

        return {name: torch.zeros(shape, dtype=torch.long) for name, shape in shapes.items()}

    return make


def _words(tokens: int = 128, **others: tuple[int, ...]) -> Inputs:
    """Token ids, and others by name."""
    return _ids(input_ids=(1, tokens), **others)


def _numbers(**shapes: tuple[int, ...]) -> Inputs:
    """Real numbers, by name."""

    def make() -> dict[str, Any]:
        import torch

        return {name: torch.zeros(shape) for name, shape in shapes.items()}

    return make


def _picture(size: int = 224) -> Inputs:
    return _numbers(pixel_values=(1, 3, size, size))


def _both(*makers: Inputs) -> Inputs:
    return lambda: {name: value for make in makers for name, value in make().items()}


def _hugging(model: str, config: str, inputs: Inputs, **changes: Any) -> Entry:
    """Make an entry of transformers; its config's class is ``config`` followed by Config."""

    def make() -> Any:
        transformers = _library("transformers")
        made = getattr(transformers, f"{config}Config")(**changes)
        return getattr(transformers, model)(made).eval(), inputs()

    return Entry(f"transformers/{model}", Torch("transformers", make), by="module")


def _of(library: str, factory: str, inputs: Inputs, **changes: Any) -> Entry:
    """Make an entry of another library: a function or class, by its path below the library's name."""

    def make() -> Any:
        module, _, name = factory.rpartition(".")
        found = getattr(_library(f"{library}.{module}" if module else library), name)
        return found(**changes).eval(), inputs()

    label = changes.get("model_name", factory.rpartition(".")[2])
    return Entry(f"{library}/{label}", Torch(library, make), by="module")


@functools.cache
def _library(name: str) -> Any:
    try:
        importlib.import_module("tests.zoo.preloaded")
        importlib.import_module("torch")
        return importlib.import_module(name)
    except ImportError:
        raise UnobtainableError(f"{name.partition('.')[0]} is not installed") from None


_LAYERS = {"num_hidden_layers": 4}
_SHORT = {"num_hidden_layers": 4, "hidden_size": 1024, "intermediate_size": 2816}
_HEADS = {"num_attention_heads": 16, "num_key_value_heads": 4}
_SMALL = _SHORT | _HEADS
_SEQUENCES = _words(64, decoder_input_ids=(1, 32))
_SMALL_PICTURE = _picture(64)

ENCODERS = [
    _hugging("BertForSequenceClassification", "Bert", _words()),
    _hugging("RobertaForMaskedLM", "Roberta", _words()),
    _hugging(
        "AlbertModel", "Albert", _words(), hidden_size=768, intermediate_size=3072, num_attention_heads=12
    ),
    _hugging("DistilBertForMaskedLM", "DistilBert", _words()),
    _hugging("ElectraForPreTraining", "Electra", _words()),
    _hugging(
        "DebertaV2Model", "DebertaV2", _words(), hidden_size=768, num_hidden_layers=6, num_attention_heads=12
    ),
    _hugging("MPNetModel", "MPNet", _words()),
    _hugging("ModernBertForMaskedLM", "ModernBert", _words()),
    _hugging("MobileBertModel", "MobileBert", _words()),
    _hugging("ConvBertModel", "ConvBert", _words()),
    _hugging("XLNetModel", "XLNet", _words(), d_model=512, n_layer=6, n_head=8, d_inner=2048),
    dataclasses.replace(_hugging("FNetModel", "FNet", _words(), **_LAYERS), full=True),
    _hugging("RoFormerModel", "RoFormer", _words()),
    _hugging("LayoutLMModel", "LayoutLM", _words(128, bbox=(1, 128, 4))),
    _hugging(
        "EsmModel", "Esm", _words(), vocab_size=33, hidden_size=480, num_attention_heads=20, pad_token_id=1
    ),
]
DECODERS = [
    _hugging("GPT2LMHeadModel", "GPT2", _words()),
    _hugging("GPTNeoForCausalLM", "GPTNeo", _words(), hidden_size=768, num_layers=4, num_heads=12,
             attention_types=[[["global", "local"], 2]]),
    _hugging("GPTNeoXForCausalLM", "GPTNeoX", _words(), **_SHORT, num_attention_heads=16),
    _hugging("GPTJForCausalLM", "GPTJ", _words(), n_embd=1024, n_layer=4, n_head=16, rotary_dim=32),
    _hugging("OPTForCausalLM", "OPT", _words()),
    _hugging("BloomForCausalLM", "Bloom", _words(), hidden_size=1024, n_layer=4, n_head=16),
    _hugging("LlamaForCausalLM", "Llama", _words(), **_SMALL),
    _hugging("MistralForCausalLM", "Mistral", _words(), **_SMALL),
    _hugging("Qwen2ForCausalLM", "Qwen2", _words(), **_SMALL),
    _hugging("Qwen3ForCausalLM", "Qwen3", _words(), **_SMALL),
    _hugging("GemmaForCausalLM", "Gemma", _words(), **_SMALL, head_dim=64),
    _hugging("Gemma2ForCausalLM", "Gemma2", _words(), **_SMALL, head_dim=64),
    _hugging("PhiForCausalLM", "Phi", _words(), **_SHORT, num_attention_heads=16),
    _hugging("Phi3ForCausalLM", "Phi3", _words(), **_SMALL),
    _hugging("FalconForCausalLM", "Falcon", _words(), **_LAYERS, hidden_size=1024, num_attention_heads=16),
    _hugging("StableLmForCausalLM", "StableLm", _words(), **_SMALL),
    _hugging("Starcoder2ForCausalLM", "Starcoder2", _words(), **_SMALL),
    _hugging("Olmo2ForCausalLM", "Olmo2", _words(), **_SMALL),
    _hugging("CohereForCausalLM", "Cohere", _words(), **_SMALL, vocab_size=32000),
    _hugging("GraniteForCausalLM", "Granite", _words(), **_SMALL),
    _hugging("MixtralForCausalLM", "Mixtral", _words(), **_SMALL),
    _hugging("Qwen3MoeForCausalLM", "Qwen3Moe", _words(), **_SMALL, num_experts=16, num_experts_per_tok=4),
    _hugging("MambaForCausalLM", "Mamba", _words(32), hidden_size=512, **_LAYERS),
    _hugging("Mamba2ForCausalLM", "Mamba2", _words(32), hidden_size=512, **_LAYERS, num_heads=16),
]  # fmt: skip
BOTH_SIDES = [
    _hugging("T5ForConditionalGeneration", "T5", _SEQUENCES),
    _hugging("BartForConditionalGeneration", "Bart", _SEQUENCES, encoder_layers=4, decoder_layers=4),
    _hugging("PegasusForConditionalGeneration", "Pegasus", _SEQUENCES, encoder_layers=4, decoder_layers=4),
    _hugging("MarianMTModel", "Marian", _SEQUENCES, vocab_size=32000, pad_token_id=31999, encoder_layers=4,
             decoder_layers=4, decoder_start_token_id=31999),
    _hugging("WhisperForConditionalGeneration", "Whisper",
             _both(_numbers(input_features=(1, 80, 3000)), _ids(decoder_input_ids=(1, 32)))),
]  # fmt: skip
PICTURES = [
    _hugging("ViTForImageClassification", "ViT", _picture()),
    _hugging("DeiTForImageClassification", "DeiT", _picture()),
    _hugging("BeitForImageClassification", "Beit", _picture()),
    _hugging("SwinForImageClassification", "Swin", _picture()),
    _hugging("Swinv2ForImageClassification", "Swinv2", _picture()),
    _hugging("ConvNextForImageClassification", "ConvNext", _picture()),
    _hugging("ConvNextV2ForImageClassification", "ConvNextV2", _picture()),
    _hugging("ResNetForImageClassification", "ResNet", _picture()),
    _hugging("RegNetForImageClassification", "RegNet", _picture()),
    _hugging("MobileNetV2ForImageClassification", "MobileNetV2", _picture()),
    _hugging("MobileViTForImageClassification", "MobileViT", _picture(256)),
    _hugging("EfficientNetForImageClassification", "EfficientNet", _picture()),
    _hugging("SegformerForSemanticSegmentation", "Segformer", _picture(512)),
    _hugging("Dinov2Model", "Dinov2", _picture()),
    _hugging("PoolFormerForImageClassification", "PoolFormer", _picture()),
    _hugging("PvtForImageClassification", "Pvt", _picture()),
    _hugging("YolosForObjectDetection", "Yolos", _picture(224), image_size=[224, 224]),
    _hugging("DPTForDepthEstimation", "DPT", _picture(384), num_hidden_layers=12),
]
SOUNDS = [
    _hugging("Wav2Vec2ForCTC", "Wav2Vec2", _numbers(input_values=(1, 16000))),
    _hugging("HubertModel", "Hubert", _numbers(input_values=(1, 16000))),
    _hugging("ASTForAudioClassification", "AST", _numbers(input_values=(1, 1024, 128))),
]
SEVERAL = [
    _hugging("CLIPModel", "CLIP", _both(_words(32), _picture())),
    _hugging("SiglipModel", "Siglip", _both(_words(64), _picture())),
    _hugging("ViltModel", "Vilt", _both(_words(40), _picture(384))),
    _hugging("PatchTSTForPrediction", "PatchTST", _numbers(past_values=(1, 512, 7)), context_length=512,
             num_input_channels=7, patch_length=16, patch_stride=16),
]  # fmt: skip


def _seen(name: str, size: int = 224, **changes: Any) -> Entry:
    return _of("torchvision", f"models.{name}", _numbers(x=(1, 3, size, size)), weights=None, **changes)


def _timm(name: str, size: int = 224) -> Entry:
    return _of("timm", "create_model", _numbers(x=(1, 3, size, size)), model_name=name)


VISION = [
    _seen("resnet50"),
    _seen("mobilenet_v3_large"),
    _seen("efficientnet_b0"),
    _seen("convnext_tiny"),
    _seen("swin_t"),
    _seen("vit_b_16"),
    _seen("densenet121"),
    _seen("shufflenet_v2_x1_0"),
    _seen("maxvit_t"),
    _of("torchvision", "models.segmentation.deeplabv3_resnet50", _numbers(x=(1, 3, 256, 256)), weights=None,
        weights_backbone=None),
]  # fmt: skip
TIMM = [
    _timm("mobilenetv4_conv_small"),
    _timm("efficientnetv2_rw_s", 288),
    _timm("convnextv2_nano"),
    _timm("deit3_small_patch16_224"),
    _timm("mixer_b16_224"),
    _timm("coatnet_0_rw_224"),
    _timm("repvgg_a2"),
]
_LATENT = _numbers(hidden_states=(1, 4, 32, 32), timestep=(1,))


def _with_classes() -> dict[str, Any]:
    import torch

    return _LATENT() | {"class_labels": torch.zeros(1, dtype=torch.long)}


DIFFUSION = [
    _of("diffusers", "UNet2DModel", _numbers(sample=(1, 3, 64, 64), timestep=(1,)), sample_size=64),
    _of("diffusers", "UNet2DConditionModel",
        _numbers(sample=(1, 4, 32, 32), timestep=(1,), encoder_hidden_states=(1, 77, 768)),
        cross_attention_dim=768),
    _of("diffusers", "AutoencoderKL", _numbers(sample=(1, 3, 128, 128)), block_out_channels=(64, 128),
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
    _of("diffusers", "DiTTransformer2DModel", _with_classes, num_layers=6),
]  # fmt: skip

ARCHITECTURES = [
    *ENCODERS, *DECODERS, *BOTH_SIDES, *PICTURES, *SOUNDS, *SEVERAL, *VISION, *TIMM, *DIFFUSION,
]  # fmt: skip


def _exported(entry: Entry, dims: str, **dynamic: dict[int, str]) -> Entry:
    """Make an entry of the ONNX file that torch writes of another; symbols stand for axes of its inputs."""
    source = dataclasses.replace(entry.source, dynamic=dynamic)
    return Entry(f"onnx-{entry.name}", source, dims)


EXPORTED = [
    _exported(
        _hugging("BertModel", "Bert", _words(32), **_LAYERS, hidden_size=256, num_attention_heads=4,
                 intermediate_size=1024), "tokens=256", input_ids={1: "tokens"},
    ),
    _exported(
        _hugging("Qwen2Model", "Qwen2", _words(32), **_LAYERS, hidden_size=256, num_attention_heads=4,
                 num_key_value_heads=2, intermediate_size=512, vocab_size=1000, use_cache=False),
        "tokens=256", input_ids={1: "tokens"},
    ),
    _exported(_hugging("ViTModel", "ViT", _picture(), **_LAYERS), "batch=2", pixel_values={0: "batch"}),
    _exported(_hugging("SegformerModel", "Segformer", _picture(128)), ""),
    _exported(_hugging("ResNetModel", "ResNet", _picture(64)), "batch=2", pixel_values={0: "batch"}),
]  # fmt: skip
"""ONNX files as torch writes them, most with an axis of any size."""
