// llama.cpp, through node-llama-cpp, as an engine of `bench --peers`: commands as engines.py has them.
//
//   node llama.mjs FOLDER    where FOLDER/node_modules has the package
//
// Prompts that are computed anew share one context; every kept one has a context of its own, whose state may have been
// computed by another process: the build for the CPU makes in seconds what the Vulkan one takes minutes for on a CPU.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const folder = join(process.argv[2], "node_modules/node-llama-cpp");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(join(folder, "dist/index.js")));
const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

const GREEDY = { temperature: 0, yieldEogToken: true }; // an end-of-turn token ends nothing
const devices = []; // what the Vulkan build says of its devices

let llama;
let model;
let short; // { context, sequence }
const kept = new Map(); // by the number of tokens

const seconds = (since) => (performance.now() - since) / 1000;

function heard(level, message) {
  if (/^ggml_vulkan: \d+ = /.test(message)) devices.push(message.trim());
  if (level === LlamaLogLevel.error || level === LlamaLogLevel.fatal) console.error(message.trim());
}

async function open(positions, threads) {
  const context = await model.createContext({ contextSize: positions, threads });
  return { context, sequence: context.getSequence(), threads };
}

const actions = {
  async load(command) {
    const { threads } = command;
    const started = performance.now();
    llama = await getLlama({
      gpu: command.gpu,
      build: "never",
      skipDownload: true,
      progressLogs: false,
      maxThreads: threads,
      logLevel: LlamaLogLevel.debug,
      logger: heard,
    });
    model = await llama.loadModel({ modelPath: command.model, gpuLayers: command.gpu ? "max" : 0 });
    short = await open(command.short, threads);
    const took = seconds(started);
    llama.logLevel = LlamaLogLevel.error;
    const { repo, release } = llama.llamaCppRelease;
    return {
      seconds: took,
      context: short.context.contextSize,
      adapter: command.gpu ? (await llama.getGpuDeviceNames()).join(", ") : "CPU",
      backend: command.gpu ? "Vulkan" : "CPU",
      driver: devices.join(" "),
      threads,
      batch: short.context.batchSize,
      layers_on_gpu: model.gpuLayers,
      versions: { "node-llama-cpp": version, [repo]: release, node: process.versions.node },
    };
  },

  async answer({ tokens, steps, kept: known }) {
    const { sequence } = known ? kept.get(tokens.length) : short;
    if (!known) await sequence.clearHistory();
    const before = sequence.nextTokenIndex;
    const started = performance.now();
    const drawing = sequence.evaluate(tokens.slice(before), GREEDY);
    const drawn = (await drawing.next()).value;
    const first = seconds(started);
    const decoding = performance.now();
    for (let i = 0; i < steps; i++) await drawing.next();
    const decode = seconds(decoding);
    await drawing.return();
    if (known) await sequence.eraseContextTokenRanges([{ start: before, end: sequence.nextTokenIndex }]);
    return { first_token_seconds: first, decode_seconds: steps ? decode : 0, drawn, reused: before };
  },

  async keep({ tokens, positions, state }) {
    const started = performance.now();
    const opened = await open(positions, short.threads);
    const computed = !existsSync(state);
    if (computed) {
      await opened.sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(0, -1));
      await opened.sequence.saveStateToFile(state);
    } else {
      await opened.sequence.loadStateFromFile(state, { acceptRisk: true }); // of the same model, by the same version
    }
    kept.set(tokens.length, opened);
    return { seconds: seconds(started), computed };
  },

  // By the package's own account: the model and the longest context, without that of the short prompts.
  async memory() {
    if (!llama.gpu) return { gpu_bytes: null };
    const longest = [...kept].sort(([a], [b]) => b - a)[0]?.[1] ?? short;
    const contexts = [short, ...kept.values()].filter((each) => each !== longest);
    const others = contexts.reduce((sum, { context }) => sum + context.memoryUsage.vram, 0);
    return { gpu_bytes: (await llama.getLlamaMemoryUsage()).gpuVram - others };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = await actions[command.do](command);
  } catch (error) {
    answer = { error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0); // nothing that a peer still holds keeps it alive
