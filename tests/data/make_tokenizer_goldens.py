"""Write which ids llama.cpp gives to texts, by the small vocabularies of tests/vocabularies.py.

    npm install --prefix FOLDER node-llama-cpp@3.22.1
    python tests/data/make_tokenizer_goldens.py FOLDER

writes, beside this file, tokenizers.goldens.json: the texts, and for each vocabulary the ids of every text, first with
special tokens as plain text, then parsed. That version of node-llama-cpp brings llama.cpp 0.5.0.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
from gguf_writer import llama_metadata, tokenizer_metadata, write_gguf  # noqa: E402
from vocabularies import GOLDEN_VOCABULARIES, pieced_together, settled, varied_strings  # noqa: E402

SIZES = ("vocab_size", "context_length", "hidden_size", "n_layers", "intermediate_size", "n_heads", "n_kv_heads")
HYPERPARAMETERS = {**dict.fromkeys(SIZES, 8), "norm_eps": 1e-5}
SPACES = ["   ", "  the", " the ", "the  in   a", " ", "\n\n", "\n\n\n\n", "the\n\nin", "in the [TOOL] a", "the[TOOL]"]
SPECIAL = ["<s>the</s>in <unk>", "[CLS] the [SEP][PAD]", "<|begin|>x<|end|>", "</s>", " </s> the", "<pad>the"]
WORDS = [
    "theinasr",
    "the in inthe thein a",
    "Café CAFÉ cafe\u0301",
    "ΛΌΓΟΣ Σ",
    "un##affable",
    "豆腐 x豆x",
    "the, in?! a.",
]
PROGRAM = """
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import fs from "node:fs";
const { files, texts } = JSON.parse(fs.readFileSync(process.argv[2]));
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.disabled });
const found = {};
for (const [name, file] of Object.entries(files)) {
  const { _model: model } = await llama.loadModel({ modelPath: file, vocabOnly: true });
  found[name] = [false, true].map((parsed) => texts.map((text) => Array.from(model.tokenize(text, parsed))));
}
fs.writeFileSync(process.argv[3], JSON.stringify(found));
process.exit(0);
"""


def main() -> None:
    texts = [*SPACES, *SPECIAL, *WORDS, *map(settled, varied_strings(20, seed=11)), *pieced_together(20, seed=12)]
    texts = [text for text in texts if text and "\0" not in text]  # which ends a text in C
    found = {"texts": texts, **ids(texts, Path(sys.argv[1]).resolve())}
    lines = [f'"{name}": {json.dumps(value, separators=(",", ":"))}' for name, value in found.items()]
    (HERE / "tokenizers.goldens.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def ids(texts: list[str], node_folder: Path) -> dict[str, object]:
    with tempfile.TemporaryDirectory(dir=node_folder) as folder:
        files = {}
        for name, data in GOLDEN_VOCABULARIES.items():
            metadata = {**llama_metadata(HYPERPARAMETERS), **tokenizer_metadata(data())}
            files[name] = str(write_gguf(Path(folder, f"{name}.gguf"), "llama", metadata, {}))
        program, jobs, found = Path(folder, "ids.mjs"), Path(folder, "jobs.json"), Path(folder, "found.json")
        program.write_text(PROGRAM)
        jobs.write_text(json.dumps({"files": files, "texts": texts}))
        subprocess.run(["node", program, jobs, found], check=True)
        return json.loads(found.read_text())


if __name__ == "__main__":
    main()
