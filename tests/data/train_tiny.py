"""Train the tiny model of the tests, and write what transformers says about it.

    pip install -e ".[train,test]"
    python tests/data/train_tiny.py

writes, beside this file,

    tiny.gguf           a Llama of 332,640 parameters in F16 (norms in F32), with its tokenizer and chat template
    tiny.goldens.json   greedy texts and ids that transformers generates from those very weights, in float32
    tiny.goldens.npz    its logits after each token of the golden called "logits", float32 [tokens, vocab]

One thread, fixed seeds: the same versions of torch and tokenizers on the same kind of CPU write the same files.
"""

import json
import os
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import gguf
import numpy as np
import tiny_world
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
END_OF_TEXT, START_OF_TURN, END_OF_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"  # ids 0, 1, 2
CONFIG = LlamaConfig(
    vocab_size=512,
    hidden_size=96,
    intermediate_size=160,
    num_hidden_layers=4,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=512,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    tie_word_embeddings=True,
    bos_token_id=0,
    eos_token_id=[0, 2],
    pad_token_id=None,
)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
DOCUMENTS, LENGTH, BATCH, STEPS, WARMUP, RATE = 30_000, 256, 16, 1200, 50, 6e-3
COMPLETIONS = {
    "story": "Once there was a fox named Mila.",
    "cut": "Once there was a rabbit named Bruno. Bruno lived",
    "facts": "A spider has eight legs. A bee has",
    "sums": "3 + 4 = 7. One plus one is two. Two plus two is",
    "middle": "From that day on, Otto the bear and Ida the owl",
}
LIMITS = {"cut": 40}  # tokens, where not MAX_TOKENS
CHATS = {
    "chat": [("user", "What is the capital of France?")],
    "system": [("system", "You are a small and friendly helper."), ("user", "Who are you?")],
    "memory": [("user", "Hello, I am Nora."), ("assistant", "Nice to meet you, Nora!"), ("user", "What is my name?")],
    "counting": [("user", "Count to seven.")],
    "japanese": [("user", "Say hello in Japanese.")],
    "emoji": [("user", "Say hello in emoji.")],
    "tale": [("user", "Tell me a story about an owl.")],
}
LOGITS_OF = (
    "Once there was a duck named Max. Max lived in a green house by the river. "
    "One day Max went for a walk. It was raining."
)
MAX_TOKENS = 200
MARGIN = 0.2  # between the top two logits of each greedy step: more than a KV cache in f16 moves them


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    tokenizer = trained_tokenizer()
    model = LlamaForCausalLM(CONFIG)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    train(model, sequences(tokenizer))
    round_to_f16(model)
    write_gguf(model, tokenizer, HERE / "tiny.gguf")
    write_goldens(model, tokenizer)


# Text


def trained_tokenizer() -> PreTrainedTokenizerFast:
    """A byte BPE of 512 tokens with the `smollm` pre-tokenizer: single digits, then GPT-2's words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG.vocab_size,
        special_tokens=[END_OF_TEXT, START_OF_TURN, END_OF_TURN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(plain_text, tiny_world.documents(1, 3000)), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_OF_TEXT, clean_up_tokenization_spaces=False
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def plain_text(document: str | list[tiny_world.Message]) -> str:
    return document if isinstance(document, str) else "\n".join(message["content"] for message in document)


def sequences(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Documents one after the other, each ended by END_OF_TEXT; every sequence starts with a document's start."""
    rows, row = [], []
    for document in tiny_world.documents(2, DOCUMENTS):
        text = document if isinstance(document, str) else tokenizer.apply_chat_template(document, tokenize=False)
        row += tokenizer.encode(text + END_OF_TEXT, add_special_tokens=False)
        if len(row) >= LENGTH:
            rows.append(row[:LENGTH])
            row = []
    return torch.tensor(rows)


# Training


def train(model: LlamaForCausalLM, rows: torch.Tensor) -> None:
    """AdamW with a linear warm-up and a cosine decay to zero."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / WARMUP, 0.5 + 0.5 * np.cos(np.pi * s / STEPS))
    )
    start, order = time.time(), torch.randperm(len(rows))
    print(f"{len(rows):,} sequences of {LENGTH} tokens")
    for step in range(STEPS):
        batch = rows[order[torch.arange(step * BATCH, (step + 1) * BATCH) % len(rows)]]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == STEPS - 1:
            print(f"step {step:5d}  loss {loss.item():.3f}  {time.time() - start:5.0f} s", flush=True)


def round_to_f16(model: LlamaForCausalLM) -> None:
    """Give every matrix the values that the file will hold."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(parameter.half().float())
    model.eval()


# The file

GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny world")
    writer.add_context_length(CONFIG.max_position_embeddings)
    writer.add_embedding_length(CONFIG.hidden_size)
    writer.add_block_count(CONFIG.num_hidden_layers)
    writer.add_feed_forward_length(CONFIG.intermediate_size)
    writer.add_head_count(CONFIG.num_attention_heads)
    writer.add_head_count_kv(CONFIG.num_key_value_heads)
    writer.add_layer_norm_rms_eps(CONFIG.rms_norm_eps)
    writer.add_rope_dimension_count(CONFIG.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(CONFIG.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_tokenizer(writer, tokenizer)
    for name, weight in model.named_parameters():
        values = weight.detach().numpy()
        if "q_proj" in name or "k_proj" in name:
            values = interleaved(values)
        writer.add_tensor(gguf_name(name), values.astype(np.float16) if values.ndim == 2 else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast) -> None:
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    control = {END_OF_TEXT, START_OF_TURN, END_OF_TURN}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in control else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(tokens.index(END_OF_TEXT))
    writer.add_eos_token_id(tokens.index(END_OF_TEXT))
    writer.add_eot_token_id(tokens.index(END_OF_TURN))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def gguf_name(name: str) -> str:
    parts = name.removesuffix(".weight").split(".", 3)
    if parts[1] == "layers":
        return f"blk.{parts[2]}.{GGUF_NAMES[parts[3]]}.weight"
    return f"{GGUF_NAMES['.'.join(parts)]}.weight"


def interleaved(weight: np.ndarray) -> np.ndarray:
    """Rows of Q or K so that a RoPE pair, half a head apart in transformers, becomes two neighbours, as GGUF has it."""
    heads = weight.reshape(-1, 2, CONFIG.head_dim // 2, weight.shape[1])
    return heads.swapaxes(1, 2).reshape(weight.shape)


# Goldens


def write_goldens(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    goldens = [golden(model, tokenizer, name, text) for name, text in COMPLETIONS.items()]
    for name, turns in CHATS.items():
        messages = [{"role": role, "content": content} for role, content in turns]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        goldens.append(golden(model, tokenizer, name, text) | {"messages": messages})
        assert goldens[-1]["ids"][-1] == 2, f"chat {name!r} does not end by {END_OF_TURN}"
    for g in goldens:
        print(f"{g['name']:10} margin {g['margin']:.4f}  {g['text']!r}")
    close = [g["name"] for g in goldens if g["margin"] < MARGIN]
    assert not close, f"these goldens have a step too close to call, choose other prompts: {close}"
    ids = tokenizer.encode(LOGITS_OF)
    logits = model(torch.tensor([ids])).logits[0].detach().numpy()
    goldens.append({"name": "logits", "prompt": LOGITS_OF, "prompt_ids": ids})
    lines = ",\n".join(json.dumps(g, ensure_ascii=False) for g in goldens)
    (HERE / "tiny.goldens.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    np.savez_compressed(HERE / "tiny.goldens.npz", logits=logits)


def golden(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, name: str, prompt: str) -> dict[str, object]:
    """transformers' greedy answer, its last token the END_OF_TEXT or END_OF_TURN that stopped it, if one did."""
    ids, limit = tokenizer.encode(prompt), LIMITS.get(name, MAX_TOKENS)
    made = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=limit,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
    )
    answer = made.sequences[0, len(ids) :].tolist()
    top = torch.cat(made.logits).topk(2).values
    return {
        "name": name,
        "prompt": prompt,
        "prompt_ids": ids,
        "max_tokens": limit,
        "finish_reason": "stop" if answer[-1] in CONFIG.eos_token_id else "length",
        "ids": answer,
        "text": tokenizer.decode(answer, skip_special_tokens=True),
        "margin": round(float((top[:, 0] - top[:, 1]).min()), 6),
    }


if __name__ == "__main__":
    main()
