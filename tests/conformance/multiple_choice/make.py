#!/usr/bin/env python3
"""Multiple choice as the Language Model Evaluation Harness scores it, computed with transformers.

usage: make.py        (needs torch and transformers; made with torch 2.9.1 and transformers 5.23.0, float32, CPU)

For each question of `golden.json`: the log-likelihood of every choice given the prompt (the sum of its tokens' log-probabilities; prompt
and choice are tokenised apart, and joined by a space that lengths do not count), and the choice that `acc` (the highest sum) and
`acc_norm` (the highest quotient of sum and length in characters) hold the likeliest; `numpy.argmax` takes the first of equals. The model is
`programs/models/tiny-bilingual`. `right` is the place of the right choice.
"""

import json
import os

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "..", "..", "programs", "models", "tiny-bilingual")


def questions():
    for i in range(24):
        a, b = 2 + i, 1 + i % 5
        choices = [str(a + b), str(a + b + 10), f"about {a + b}", "ちょうど" + str(a - b), str(a)]
        choices = choices[i % 5 :] + choices[: i % 5]
        yield f"Tom has {a} apples and gets {b} more. How many apples does Tom have?\n", choices, choices.index(str(a + b))


def main():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()
    rows = []
    for question, choices, right in questions():
        sums = []
        for choice in choices:
            prompt = tokenizer(question).input_ids
            answer = tokenizer(" " + choice, add_special_tokens=False).input_ids
            with torch.no_grad():
                logits = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
            places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
            sums.append(float(sum(logits[at, token].double() for at, token in zip(places, answer))))
        lengths = np.array([float(len(choice)) for choice in choices])
        rows.append(
            {
                "question": question,
                "choices": choices,
                "right": right,
                "sums": sums,
                "acc": int(np.argmax(sums)),
                "acc_norm": int(np.argmax(np.array(sums) / lengths)),
            }
        )
    with open(os.path.join(HERE, "golden.json"), "w", encoding="utf-8") as out:
        json.dump(rows, out, ensure_ascii=False, indent=1)
        out.write("\n")
    print([(row["acc"], row["acc_norm"], row["right"]) for row in rows])


main()
