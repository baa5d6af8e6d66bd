"""Makes small vocabularies in GGUF files, and vocabularies.json: how SentencePiece and llama.cpp spell texts with them.

python vocabularies.py    # gguf 0.19.0, sentencepiece 0.2.3, tokenizers 0.23.3, llama-cpp-python 0.3.36
"""

import io
import json
import pathlib

import gguf
import sentencepiece
from llama_cpp import Llama
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

here = pathlib.Path(__file__).parent
TEXT = """The quick brown fox jumps over the lazy dog. It's 12345 o'clock, isn't it? We'll see; they've said SO, I'm sure you'd KNOW.
In the beginning was the word, and the word was with the tokens of the model, and the model was trained on 1,000,000 words.
def main(args):\n    for i in range(10):\n        print(f"{i} + {i} = {2 * i}")\n\n\nDie Größe der Wörter übertrifft alles. L'été à la plage.
今日は良い天気です。東京は日本の首都です。 Привет, мир! Как дела? HelloWorld camelCase SNAKE_CASE https://example.org/a/b?c=d&e=f
""" * 3
TEXTS = [
    "The quick brown fox", " leading space", "trailing space ", "two  spaces   three", "It's what they'VE said, I'D say we'll",
    "1234567 and 12 3", "a\nb\n\nc\n\n\n  d", "\ttab\t\ttabs", "Die Größe der Wörter", "今日は良い天気です。", "Привет, мир!", "HelloWorld camelCase SNAKE_CASE",
    "https://example.org/a/b?c=d&e=f", "print(f\"{i} = {2 * i}\")", "  \n  x", "!!!???...//\n", "naïve café 𝒳 🙂 ok", "x", "A1b2C3", "end\n",
]
PRE = ["gpt-2", "smollm", "llama-bpe", "qwen2", "stablelm2", "gpt-4o", "tekken"]


def write(name, model, tokens, kinds, more):
    writer = gguf.GGUFWriter(here / name, "llama")
    # What llama.cpp wants to know before it reads a vocabulary.
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pieces(name, prefix):
    """A vocabulary of SentencePiece's, and its spellings."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split("\n")), model_writer=made, model_type="bpe", vocab_size=420, byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=prefix,
        allow_whitespace_only_pieces=True, split_digits=True, minloglevel=2)
    sp = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    ids = range(sp.vocab_size())
    kind = lambda i: 2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1

    def more(writer):
        writer.add_token_scores([sp.get_score(i) for i in ids])
        writer.add_bos_token_id(sp.bos_id())
        writer.add_eos_token_id(sp.eos_id())
        if not prefix:
            writer.add_add_space_prefix(False)

    write(name, "llama", [sp.id_to_piece(i) for i in ids], [kind(i) for i in ids], more)
    return [dict(file=name, pre=None, text=text, ids=sp.encode(text)) for text in TEXTS]


def byte_pairs(name):
    """A byte-level vocabulary, and how llama.cpp spells with it after each way of cutting."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False,
                                                         special_tokens=["<|end|>"]))
    file = json.loads(made.to_str())["model"]
    tokens = sorted(file["vocab"], key=file["vocab"].get)
    cases = []
    for pre in PRE:
        def more(writer):
            writer.add_token_merges([" ".join(merge) for merge in file["merges"]])
            writer.add_tokenizer_pre(pre)
            writer.add_eos_token_id(0)

        write(name, "gpt2", tokens, [3 if i == 0 else 1 for i in range(len(tokens))], more)
        peer = Llama(str(here / name), vocab_only=True, verbose=False)
        for text in TEXTS:
            ids = peer.tokenize(text.encode(), add_bos=False, special=True)
            cases.append(dict(file=name, pre=pre, text=text, ids=ids))
    return cases


cases = pieces("pieces.gguf", True) + pieces("pieces_plain.gguf", False) + byte_pairs("byte_pairs.gguf")
(here / "vocabularies.json").write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")
