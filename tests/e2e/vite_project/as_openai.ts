// What the package gives and takes, held against the types of OpenAI's own client.

import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionMessageParam,
  ChatCompletionTool,
} from "openai/resources/chat/completions";
import { load } from "shaderlm";

const model = await load("/model.gguf");
const messages: ChatCompletionMessageParam[] = [
  { role: "system", content: "Be short." },
  { role: "user", content: [{ type: "text", text: "Hello!" }] },
  { role: "assistant", content: "Hi.", tool_calls: [] },
];
const tools: ChatCompletionTool[] = [{ type: "function", function: { name: "add" } }];
const request = { model: "any", messages, tools, max_completion_tokens: 9, stop: ["."], logprobs: true, top_logprobs: 2 };
export const whole: ChatCompletion = await model.chat.completions.create(request);
const aborting = new AbortController();
const stream = await model.chat.completions.create(
  { ...request, stream: true, stream_options: { include_usage: true } },
  { signal: aborting.signal },
);
export const chunks: ChatCompletionChunk[] = [];
for await (const chunk of stream) {
  chunks.push(chunk);
}
