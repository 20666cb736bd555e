// @huggingface/tokenizers behind runtime/hosts/browser/codec.py.

import { Tokenizer } from "@huggingface/tokenizers";

/** A codec for the text of a `tokenizer.json`. Throws what the library does. */
export function openCodec(text) {
  return new Codec(JSON.parse(text));
}

class Codec {
  constructor(definition) {
    this.definition = definition;
    this.parsing = new Tokenizer(definition, {});
    this.plain = null;
  }

  /** Ids of `text`; the text of control tokens is read as those tokens only with `parseSpecial`. */
  encode(text, parseSpecial) {
    const library = parseSpecial ? this.parsing : (this.plain ??= this.withoutSpecialTokens());
    return Uint32Array.from(library.encode(text, { add_special_tokens: false }).ids);
  }

  withoutSpecialTokens() {
    const added_tokens = this.definition.added_tokens.filter((token) => !token.special);
    if (added_tokens.length === this.definition.added_tokens.length) {
      return this.parsing;
    }
    return new Tokenizer({ ...this.definition, added_tokens }, {});
  }
}
