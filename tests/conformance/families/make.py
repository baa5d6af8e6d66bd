"""Makes small random models with transformers, and what they answer: logits, greedy ids, log-probabilities, vectors.

python make.py [NAME...]    # writes one directory a model beside this file; torch 2.9.1, transformers 5.23.0, f64, CPU, seed 0
"""

import json
import pathlib
import sys

import torch
import transformers as t

here = pathlib.Path(__file__).parent
VOCABULARY = 61
LENGTHS = (1, 6, 17, 40, 64)  # the last is all positions
# In the first models f32 is not enough for 64 tokens: PyTorch's own is off by 2e-5.
SHORT = ("untied", "tied_biased", "llama3_rope", "mistral_window", "qwen2")

common = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=45, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3, bos_token_id=None,
              eos_token_id=[3, 7], pad_token_id=None)
llama3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)
longrope = dict(rope_type="longrope", rope_theta=500.0, short_factor=[1.0, 1.5], long_factor=[4.0, 8.0],
                partial_rotary_factor=0.5, original_max_position_embeddings=64)
gemma = dict(head_dim=10, num_hidden_layers=3, sliding_window=5, query_pre_attn_scalar=20)
plain = dict(head_dim=8, query_pre_attn_scalar=8)
deep = dict(num_hidden_layers=7, hidden_size=16, intermediate_size=24)
gpt2 = dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3,
            bos_token_id=None, eos_token_id=[3, 7])
f32, f16, bf16 = torch.float32, torch.float16, torch.bfloat16


def of(name, **fields):
    """The classes of a family, and its configuration."""
    config = getattr(t, name + "Config")(**common | fields)
    model = getattr(t, name.removesuffix("Text") + ("Model" if name == "Bert" else "ForCausalLM"))
    return model, config


# name: (class, configuration), element type of the file, size of a shard
models = {
    "untied": (of("Llama"), f32, "30KB"),
    "tied_biased": (of("Llama", tie_word_embeddings=True, head_dim=10, num_attention_heads=2, num_key_value_heads=1,
                       attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5), bf16, "5GB"),
    "llama3_rope": (of("Llama", rope_parameters=llama3), f16, "5GB"),
    "mistral_window": (of("Mistral", sliding_window=5), bf16, "5GB"),
    "qwen2": (of("Qwen2"), bf16, "5GB"),
    "qwen2_window": (of("Qwen2", num_hidden_layers=3, use_sliding_window=True, sliding_window=5, max_window_layers=1),
                     bf16, "5GB"),
    "qwen3": (of("Qwen3", head_dim=10, tie_word_embeddings=True), f32, "5GB"),
    "qwen3_window": (of("Qwen3", head_dim=6, attention_bias=True, use_sliding_window=True, sliding_window=7,
                        layer_types=["sliding_attention", "full_attention"]), bf16, "5GB"),
    "smollm3": (of("SmolLM3", num_hidden_layers=5, tie_word_embeddings=True, intermediate_size=33), bf16, "5GB"),
    "phi3": (of("Phi3", sliding_window=9), bf16, "5GB"),
    "phi3_longrope": (of("Phi3", max_position_embeddings=256, original_max_position_embeddings=64,
                         rope_parameters=longrope), f32, "5GB"),
    "gemma2": (of("Gemma2", **gemma, attn_logit_softcapping=3.0, final_logit_softcapping=7.0), f32, "5GB"),
    "gemma3": (of("Gemma3Text", **gemma, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                  rope_parameters=dict(full_attention=dict(rope_type="linear", factor=4.0, rope_theta=700.0),
                                       sliding_attention=dict(rope_type="default", rope_theta=50.0))), f32, "5GB"),
    # What a GGUF file can say of a Gemma: queries scaled by the width of a head, windows and bases of rotation by default.
    "gemma2_plain": (of("Gemma2", **gemma | plain, attn_logit_softcapping=3.0, final_logit_softcapping=7.0), f32, "5GB"),
    "gemma3_plain": (of("Gemma3Text", **gemma | plain | deep, rope_parameters=dict(
        full_attention=dict(rope_type="linear", factor=4.0, rope_theta=700.0),
        sliding_attention=dict(rope_type="default", rope_theta=10_000.0))), f32, "5GB"),
    "stablelm": (of("StableLm", use_qkv_bias=True), f32, "5GB"),
    "stablelm_parallel": (of("StableLm", use_parallel_residual=True, rope_parameters=dict(
        rope_type="default", rope_theta=500.0, partial_rotary_factor=0.5)), bf16, "5GB"),
    "gpt2": ((t.GPT2LMHeadModel, t.GPT2Config(**gpt2)), f32, "5GB"),
    "mixtral": (of("Mixtral", num_local_experts=4, num_experts_per_tok=2), bf16, "5GB"),
    "bert": (of("Bert", max_position_embeddings=64), f32, "5GB"),
}


def round32(x):
    """Nine digits tell one f32 from the next."""
    return [float(f"{v:.9g}") for v in x.flatten().tolist()]


def make(name, cls, config, dtype, shard):
    torch.manual_seed(0)
    config._attn_implementation = "eager"
    model = cls(config).eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "norm" in key.lower() or "ln_" in key or "bias" in key:  # constant after initialisation
                near_one = p.dim() == 1 and "bias" not in key and not isinstance(config, (t.Gemma2Config, t.Gemma3TextConfig))
                p.copy_(torch.randn_like(p) * 0.3 + near_one)
    model.to(dtype).save_pretrained(here / name, max_shard_size=shard)
    # Loaded again: the rounded weights in f64, but rotary frequencies that were never rounded to a short type.
    return cls.from_pretrained(here / name, dtype=torch.float64, attn_implementation="eager",
                               **({"experts_implementation": "eager"} if name == "mixtral" else {})).eval()


def prompt(length):
    return torch.randint(0, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(length))


def decoder_case(model, ids):
    logits = model(ids).logits[0]
    assert logits.dtype == torch.float64
    text, greedy = ids, []
    for _ in range(min(12, 64 - ids.shape[1])):
        greedy.append(int(model(text).logits[0, -1].argmax()))
        text = torch.cat([text, torch.tensor([[greedy[-1]]])], 1)
    logprobs = logits.log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
    return dict(tokens=ids[0].tolist(), last_logits=round32(logits[-1]), greedy=greedy, logprobs=round32(logprobs))


def encoder_case(model, ids):
    rows = model(ids).last_hidden_state[0]
    assert rows.dtype == torch.float64
    unit = torch.nn.functional.normalize(rows.mean(0), dim=0)
    return dict(tokens=ids[0].tolist(), first=round32(rows[0]), last=round32(rows[-1]), mean=round32(rows.mean(0)),
                unit=round32(unit))


# What each family's configuration is when nothing is said.
families = ("Llama", "Mistral", "Mixtral", "Qwen2", "Qwen3", "SmolLM3", "Phi3", "Gemma2", "Gemma3Text", "StableLm", "GPT2",
            "Bert")
defaults = [getattr(t, name + "Config")().to_dict() for name in families]
(here / "defaults.json").write_text("[\n" + ",\n".join(json.dumps(fields) for fields in defaults) + "\n]\n")

for name, ((cls, config), dtype, shard) in models.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    model = make(name, cls, config, dtype, shard)
    case = encoder_case if name == "bert" else decoder_case
    with torch.no_grad():
        cases = [case(model, prompt(length)) for length in LENGTHS if name not in SHORT or length < 64]
    (here / name / "golden.json").write_text(json.dumps(cases) + "\n")
