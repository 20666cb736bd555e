// Somebody's page: goes on from the prompt in its address.

import { configure, load } from "shaderlm";

configure({ baseUrl: "/shaderlm/" });
const model = await load("/models/SmolLM2-135M-Instruct.Q4_1.gguf");

const asked = new URLSearchParams(location.search);
const options = { max_tokens: Number(asked.get("max_tokens")), temperature: 0 };
const told = document.querySelector("pre") as HTMLPreElement;
let reason: string | undefined;
for await (const { text, completion } of model.stream(asked.get("prompt") ?? "", options)) {
  told.append(text);
  reason = completion?.finish_reason;
}

const messages = [{ role: "user", content: "Hello!" }];
const chunks = await model.chat.completions.create({ messages, max_tokens: 4, stream: true });
let pieces: string = "";
for await (const { choices } of chunks) {
  pieces += choices[0].delta.content ?? "";
}
const whole = await model.chat.completions.create({ messages, max_tokens: 4 });
document.title = `${reason}, ${pieces.length > 0}, ${whole.usage.completion_tokens}`;
