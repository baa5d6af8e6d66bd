"""Makes GGUF files of the small models in ../families, as llama.cpp's converter lays them out, and asks llama.cpp about them.

python families.py [NAME...]    # gguf 0.19.0, torch 2.9.1, safetensors 0.8.0, llama-cpp-python 0.3.36

Names of tensors are those of the `gguf` package's own tables. What transformers answers lies beside each model in ../families;
llama.cpp must answer alike (but for its tables of GELU in 16 bits), or the file is not one that llama.cpp would write. (It is asked about the same file with all numbers in
f32: beside weights of 16 bits it rounds activations to 16 bits, too.)
"""

import json
import pathlib
import sys
import tempfile

import gguf
import numpy
import torch
from llama_cpp import Llama
from safetensors.torch import load_file

here = pathlib.Path(__file__).parent
families = here.parent / "families"

# The models that a GGUF file can tell of, and its name for their architecture.
MODELS = {
    "untied": "llama", "tied_biased": "llama", "llama3_rope": "llama", "mixtral": "llama", "qwen2": "qwen2",
    "qwen3": "qwen3", "smollm3": "smollm3", "phi3": "phi3", "phi3_longrope": "phi3", "gemma2_plain": "gemma2",
    "gemma3_plain": "gemma3", "stablelm": "stablelm", "stablelm_parallel": "stablelm", "gpt2": "gpt2",
}
# llama.cpp takes no window of a Phi-3.
WITHOUT_WINDOW = ("phi3",)


def interleaved(x, heads):
    """Halves side by side, as transformers rotates, to pairs side by side."""
    return x.reshape(heads, 2, len(x) // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def llama3_factors(config, rope):
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    lengths = 2 * numpy.pi * rope["rope_theta"] ** (numpy.arange(0, width, 2) / width)
    turns = rope["original_max_position_embeddings"] / lengths
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    share = ((turns - low) / (high - low)).clip(0, 1)
    return (1 / (share + (1 - share) / rope["factor"])).astype(numpy.float32)


def tell(writer, arch, config, rope, context=0):
    """The metadata."""
    c = config.get
    width, heads = c("hidden_size") or c("n_embd"), c("num_attention_heads") or c("n_head")
    writer.add_block_count(c("num_hidden_layers") or c("n_layer"))
    writer.add_context_length(c("max_position_embeddings") or c("n_positions"))
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(c("intermediate_size") or 4 * width)
    writer.add_head_count(heads)
    writer.add_vocab_size(c("vocab_size"))
    writer.add_tokenizer_model("none")
    if arch != "gpt2":
        writer.add_head_count_kv(c("num_key_value_heads"))
        writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if arch in ("gpt2", "stablelm"):
        writer.add_layer_norm_eps(c("layer_norm_epsilon") or c("layer_norm_eps"))
    else:
        writer.add_layer_norm_rms_eps(c("rms_norm_eps"))
    if c("head_dim"):
        writer.add_key_length(c("head_dim"))
        writer.add_value_length(c("head_dim"))
    if arch in ("llama", "smollm3", "phi3", "stablelm"):
        rotated = c("head_dim") or width // heads
        writer.add_rope_dimension_count(int(rotated * rope.get("partial_rotary_factor", 1.0)))
    if c("num_local_experts"):
        writer.add_expert_count(c("num_local_experts"))
        writer.add_expert_used_count(c("num_experts_per_tok"))
    if arch in ("gemma2", "gemma3", "phi3"):
        writer.add_sliding_window(c("sliding_window") or 0)
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(c("attn_logit_softcapping"))
        writer.add_final_logit_softcapping(c("final_logit_softcapping"))
    if arch == "gemma3":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["full_attention"]["factor"])
    if arch == "phi3":
        length, original = c("max_position_embeddings"), c("original_max_position_embeddings")
        writer.add_rope_scaling_orig_ctx_len(max(original, context))
        if rope["rope_type"] == "longrope":
            writer.add_rope_scaling_attn_factors(float(numpy.sqrt(1 + numpy.log(length / original) / numpy.log(original))))
    if arch == "stablelm":
        writer.add_parallel_residual(c("use_parallel_residual"))


def tensors(arch, config, rope, folder):
    """Names by Hugging Face, and numbers as the file has them."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    experts = {}
    for name, x in found.items():
        if arch in ("llama", "smollm3") and "self_attn.q_proj" in name:
            x = interleaved(x, config["num_attention_heads"])
        if arch in ("llama", "smollm3") and "self_attn.k_proj" in name:
            x = interleaved(x, config["num_key_value_heads"])
        if arch in ("gemma2", "gemma3") and name.endswith("norm.weight"):
            x = x + 1
        if arch == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            x = x.T
        if ".experts." in name:
            block, rest = name.split(".block_sparse_moe.experts.")
            number, part = rest.split(".")[:2]
            stack = experts.setdefault(f"{block.removeprefix('model.')}.feed_forward.experts.{part}.weight", {})
            stack[int(number)] = x
            continue
        yield name, x
    for name, parts in experts.items():
        yield name, torch.stack([parts[i] for i in range(len(parts))])
    if rope.get("rope_type") == "llama3":
        yield "rope_freqs.weight", torch.tensor(llama3_factors(config, rope))
    if rope.get("rope_type") == "longrope":
        yield "rope_factors_long.weight", torch.tensor(rope["long_factor"])
        yield "rope_factors_short.weight", torch.tensor(rope["short_factor"])


def write(name, arch, path, halves=True):
    folder = families / name
    config = json.loads((folder / "config.json").read_text())
    rope = config.get("rope_parameters") or {}
    if name in WITHOUT_WINDOW:
        config["original_max_position_embeddings"] = config["max_position_embeddings"]
    kind = gguf.MODEL_ARCH[arch.upper()]
    table = gguf.get_tensor_name_map(kind, 8)
    writer = gguf.GGUFWriter(path, arch)
    # llama.cpp takes no context below 256, and decides by it which factors of a LongRoPE hold.
    tell(writer, arch, config, rope, 0 if halves else 256)
    for hf, x in tensors(arch, config, rope, folder):
        own = table.get_name(hf, try_suffixes=(".weight", ".bias")) or hf
        if halves and x.dtype == torch.bfloat16 and x.dim() > 1:
            writer.add_tensor(own, x.contiguous().view(torch.int16).numpy(), raw_dtype=gguf.GGMLQuantizationType.BF16)
        elif halves and x.dtype == torch.float16 and x.dim() > 1:
            writer.add_tensor(own, x.contiguous().numpy())
        else:
            writer.add_tensor(own, x.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ask(name, path):
    """The largest difference of llama.cpp's logits from those of transformers, as a share of their spread."""
    model = Llama(str(path), n_ctx=256, n_batch=64, logits_all=True, type_k=0, type_v=0, verbose=False)
    worst = 0.0
    for case in json.loads((families / name / "golden.json").read_text()):
        window = json.loads((families / name / "config.json").read_text()).get("sliding_window")
        if name in WITHOUT_WINDOW and len(case["tokens"]) > window:
            continue
        model.reset()
        model.eval(case["tokens"])
        wanted = numpy.array(case["last_logits"])
        found = model.scores[len(case["tokens"]) - 1]
        worst = max(worst, float(abs(found - wanted).max() / wanted.std()))
    return worst


for name, arch in MODELS.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    write(name, arch, here / f"{name}.gguf")
    with tempfile.TemporaryDirectory() as place:
        plain = pathlib.Path(place) / "plain.gguf"
        write(name, arch, plain, halves=False)
        share = ask(name, plain)
    print(f"{name}: llama.cpp differs by {share:.1e} of the logits' deviation", flush=True)
    assert share < 5e-3, name
