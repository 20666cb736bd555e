// WebGPU behind runtime/hosts/browser/gpu.py. Python knows objects by their numbers alone: no proxy is made for one, so
// none can be forgotten. A step is one call, `submit`, that replays dispatches which were handed over once.
//
// Creating buffers and bind groups is checked by error scopes whose answers come later: `checked()` waits for them, and
// every asynchronous call here does before it gives a result. What went wrong is thrown as { code, message }, where the
// code names a class of runtime/errors.py.

import { WANTED_FEATURES, bestAdapter, factsOf, missingWebGpu } from "./adapter.js";
import { failure } from "./failure.js";
import { free } from "./heap.js";
import { Reminder, tellsLate } from "./reminder.js";

const LARGE = 65536; // bytes that are worth more than the call
const BINDING_TYPES = ["read-only-storage", "storage", "uniform"]; // in the order of ACCESS in gpu.py

/**
 * A device on the best adapter there is, with all that the adapter can. Throws NoAdapter, DeviceLost.
 * @param {(compiled: number, asked: number) => void} onPipelines told of kernels compiled and asked for
 * @param {(message: string) => void} onLost told when the device went away
 */
export async function openGpu(onPipelines = () => {}, onLost = () => {}) {
  if (!navigator.gpu) {
    throw failure("NoAdapter", missingWebGpu());
  }
  const adapter = await bestAdapter();
  if (!adapter) {
    throw failure(
      "NoAdapter",
      "This browser has WebGPU, but gives no adapter: its graphics driver may be blocked or too old. Update the driver " +
        "and the browser, and look at about:gpu (Chromium) or about:support (Firefox).",
    );
  }
  /** @type {Record<string, number>} */
  const requiredLimits = {};
  for (const name in adapter.limits) {
    requiredLimits[name] = adapter.limits[name];
  }
  const requiredFeatures = WANTED_FEATURES.filter((name) => adapter.features.has(name));
  const device = await adapter.requestDevice({ requiredLimits, requiredFeatures }).catch((error) => {
    throw failure("DeviceLost", `The adapter gave no device: ${error.message}. Reload the page.`);
  });
  return new Gpu(adapter, device, (await tellsLate(device)) && new Reminder(device), onPipelines, onLost);
}

class Gpu {
  constructor(adapter, device, reminder, onPipelines, onLost) {
    this.adapter = adapter;
    this.device = device;
    this.reminder = reminder; // false where the browser needs none
    this.onPipelines = onPipelines;
    this.next = 1;
    this.buffers = new Map();
    this.bytes = 0;
    this.pipelines = new Map(); // number -> { pipeline, layout, bindings }
    this.pipelineNumbers = new Map(); // code -> promise of a number
    this.pipelinesDone = 0;
    this.layouts = new Map();
    this.groups = new Map(); // bind groups that no program holds yet
    this.programs = new Map();
    this.counts = new Map();
    /** @type {(number: number, bytes: Uint8Array | null, error?: Error) => void} gpu.py's */
    this.onRead = () => {};
    this.staging = new Map(); // size -> idle buffers
    this.stagingCount = 0;
    this.scopes = new Set(); // answers of error scopes that are on their way
    this.steps = 0; // whose results came, and the milliseconds of host work for them: for benchmarks
    this.hostTime = 0;
    this.failure = null; // the first thing that went wrong: all that follows does because of it
    this.closed = false;
    device.addEventListener("uncapturederror", ({ error }) => this.fail(error, "to do its work"));
    device.lost.then(({ reason, message }) => this.lost(reason, message, onLost));
  }

  lost(reason, message, onLost) {
    if (!this.closed) {
      const why = message ? `: ${message.trim().replace(/\.$/, "")}` : "";
      const what = `The GPU went away (${reason || "unknown"})${why}.`;
      this.failure = failure("DeviceLost", `${what} Load the model again.`);
      onLost(`${what} Answers go on as soon as the model is on another device.`);
    }
  }

  fail(error, what) {
    if (error && !this.failure) {
      const isMemory = error instanceof GPUOutOfMemoryError || /out of memory|not enough memory/i.test(error.message);
      this.failure = isMemory
        ? failure("OutOfMemory", `The GPU has no memory left ${what}: ${error.message}`)
        : failure("KernelError", `The GPU refused ${what}: ${error.message} This is a defect: please report it.`);
    }
  }

  /** Facts of the adapter as JSON: for gpu.py. */
  facts() {
    return JSON.stringify(factsOf(this.adapter, [...this.device.features], this.device.limits));
  }

  /** Throws what went wrong so far, once everything that was asked for has answered. */
  async checked() {
    while (this.scopes.size) {
      await Promise.all(this.scopes);
    }
    if (this.failure) {
      const { code, message } = this.failure;
      if (code !== "DeviceLost") {
        this.failure = null; // told once: what comes next may succeed
      }
      throw failure(code, message);
    }
  }

  scoped(filters, what, action) {
    filters.forEach((filter) => this.device.pushErrorScope(filter));
    const made = action();
    for (const _ of filters) {
      const answer = this.device.popErrorScope().then(
        (error) => this.fail(error, what),
        () => {}, // of a lost device, which says so itself
      );
      this.scopes.add(answer);
      answer.finally(() => this.scopes.delete(answer));
    }
    return made;
  }

  number(map, value) {
    map.set(this.next, value);
    return this.next++;
  }

  // Buffers

  createBuffer(label, size, isUniform) {
    const { STORAGE, UNIFORM, COPY_SRC, COPY_DST } = GPUBufferUsage;
    const usage = isUniform ? UNIFORM | COPY_DST : STORAGE | COPY_SRC | COPY_DST;
    const what = `for ${size} bytes for ${label}`;
    const create = () => this.device.createBuffer({ label, size, usage });
    this.bytes += size;
    return this.number(this.buffers, this.scoped(["validation", "out-of-memory"], what, create));
  }

  destroyBuffer(number) {
    const buffer = this.buffers.get(number);
    if (buffer) {
      this.buffers.delete(number);
      this.bytes -= buffer.size;
      buffer.destroy();
    }
  }

  /** A length that is no multiple of 4 is filled up with zeros. A large array's memory is freed: it was made for this. */
  writeBuffer(number, offset, bytes) {
    const whole = bytes.byteLength & ~3;
    const buffer = this.buffers.get(number);
    this.device.queue.writeBuffer(buffer, offset, bytes.buffer, bytes.byteOffset, whole);
    if (whole < bytes.byteLength) {
      const end = new Uint8Array(4);
      end.set(bytes.subarray(whole));
      this.device.queue.writeBuffer(buffer, offset + whole, end);
    }
    if (bytes.byteLength > LARGE) {
      free(bytes);
    }
  }

  copyBuffer(source, sourceOffset, target, targetOffset, size) {
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.buffers.get(source), sourceOffset, this.buffers.get(target), targetOffset, size);
    this.device.queue.submit([encoder.finish()]);
  }

  /** As `submit` with a size, without dispatches. */
  readBuffer(number, offset, size) {
    return this.copyOut(this.device.createCommandEncoder(), number, offset, size);
  }

  // Kernels

  /** The number of the pipeline for { label, code, bindings: [[number, index into BINDING_TYPES], ...] }. */
  createPipeline({ label, code, bindings }) {
    if (!this.pipelineNumbers.has(code)) {
      const making = this.compile(label, code, bindings);
      this.pipelineNumbers.set(code, making);
      making.catch(() => this.pipelineNumbers.delete(code));
      this.onPipelines(this.pipelinesDone, this.pipelineNumbers.size);
    }
    return this.pipelineNumbers.get(code);
  }

  /** Numbers of pipelines for kernels given as JSON, compiled side by side. Throws KernelError. */
  async createPipelines(kernels) {
    const made = await Promise.allSettled(JSON.parse(kernels).map((kernel) => this.createPipeline(kernel)));
    await this.checked();
    return made.map((one) => {
      if (one.status === "rejected") {
        throw one.reason;
      }
      return one.value;
    });
  }

  async compile(label, code, bindings) {
    const layout = this.layout(bindings);
    const module = this.device.createShaderModule({ label, code });
    try {
      const pipeline = await this.device.createComputePipelineAsync({
        label,
        layout: layout.pipeline,
        compute: { module, entryPoint: "main" },
      });
      this.onPipelines(++this.pipelinesDone, this.pipelineNumbers.size);
      return this.number(this.pipelines, { pipeline, layout: layout.group, bindings });
    } catch (error) {
      await this.device.queue.onSubmittedWorkDone().catch(() => {}); // lets a loss be told first
      throw this.failure ?? failure("KernelError", `Kernel ${label} does not compile here: ${error.message}`);
    }
  }

  layout(bindings) {
    const key = JSON.stringify(bindings);
    if (!this.layouts.has(key)) {
      const entries = bindings.map(([binding, access]) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: BINDING_TYPES[access] },
      }));
      const group = this.device.createBindGroupLayout({ entries });
      this.layouts.set(key, { group, pipeline: this.device.createPipelineLayout({ bindGroupLayouts: [group] }) });
    }
    return this.layouts.get(key);
  }

  /** `places` holds the number of a buffer, an offset and a size for each binding. */
  createBindGroup(number, places) {
    const { layout, bindings } = this.pipelines.get(number);
    const entries = bindings.map(([binding], i) => ({
      binding,
      resource: { buffer: this.buffers.get(places[3 * i]), offset: places[3 * i + 1], size: places[3 * i + 2] },
    }));
    const create = () => this.device.createBindGroup({ layout, entries });
    return this.number(this.groups, this.scoped(["validation"], "to bind buffers to a kernel", create));
  }

  // Programs

  freeze(pipelines, groups) {
    const dispatches = Array.from(pipelines, (number, i) => [this.pipelines.get(number).pipeline, this.taken(groups[i])]);
    return this.number(this.programs, dispatches);
  }

  rebind(program, index, group) {
    this.programs.get(program)[index][1] = this.taken(group);
  }

  taken(group) {
    const made = this.groups.get(group);
    this.groups.delete(group);
    return made;
  }

  release(program, counts) {
    this.programs.delete(program);
    counts.forEach((number) => this.counts.delete(number));
  }

  /** Workgroup counts of all dispatches of a program, for `submit`. */
  keepCounts(counts) {
    return this.number(this.counts, counts);
  }

  /**
   * Run dispatches [start, stop); with a `size`, copy bytes of a buffer out behind them: `onRead(number, bytes)` brings
   * them by the number that this returns, or `onRead(number, null, error)` tells what went wrong.
   */
  submit(program, counts, start, stop, buffer, offset, size) {
    const dispatches = this.programs.get(program);
    const groups = this.counts.get(counts);
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = start, j = 3 * start; i < stop; i++, j += 3) {
      if (groups[j]) {
        pass.setPipeline(dispatches[i][0]);
        pass.setBindGroup(0, dispatches[i][1]);
        pass.dispatchWorkgroups(groups[j], groups[j + 1], groups[j + 2]);
      }
    }
    pass.end();
    if (size) {
      return this.copyOut(encoder, buffer, offset, size);
    }
    this.device.queue.submit([encoder.finish()]);
    return 0;
  }

  copyOut(encoder, buffer, offset, size) {
    const idle = this.staging.get(size) ?? this.staging.set(size, []).get(size);
    const staging = idle.pop() ?? this.newStaging(size);
    encoder.copyBufferToBuffer(this.buffers.get(buffer), offset, staging, 0, size);
    this.device.queue.submit([encoder.finish()]);
    const number = this.next++;
    this.soon(staging.mapAsync(GPUMapMode.READ)).then(
      () => this.arrived(number, staging),
      (error) => this.refused(number, staging, error),
    );
    return number;
  }

  soon(promise) {
    return this.reminder ? this.reminder.until(promise) : promise;
  }

  /** Tells Python of a readback's bytes; whoever waits for them goes on within the call. */
  arrived(number, staging) {
    if (this.failure || this.scopes.size) {
      this.refused(number, staging, null);
      return;
    }
    const awake = performance.now();
    let bytes;
    try {
      bytes = new Uint8Array(staging.getMappedRange()).slice();
    } catch (error) {
      this.refused(number, staging, error); // the device was lost since the result came
      return;
    }
    staging.unmap();
    this.staging.get(staging.size).push(staging);
    this.onRead(number, bytes);
    this.steps++;
    this.hostTime += performance.now() - awake;
  }

  newStaging(size) {
    const { COPY_DST, MAP_READ } = GPUBufferUsage;
    this.stagingCount++;
    const create = () => this.device.createBuffer({ label: "staging", size, usage: COPY_DST | MAP_READ });
    return this.scoped(["validation", "out-of-memory"], `for ${size} bytes to read results into`, create);
  }

  /** A readback that failed, or before which something may have failed: of DeviceLost, OutOfMemory, KernelError. */
  async refused(number, staging, error) {
    try {
      await this.checked();
      if (error) {
        await Promise.race([this.device.lost, new Promise((resolve) => setTimeout(resolve, 100))]); // told in either order
        await this.checked();
        throw failure("DeviceLost", `The GPU gave no result: ${error.message}. Load the model again.`);
      }
      this.arrived(number, staging);
    } catch (reason) {
      this.onRead(number, null, reason);
    }
  }

  async wait() {
    await this.soon(this.device.queue.onSubmittedWorkDone().catch(() => {}));
    await this.checked();
  }

  /** [buffers, bytes, bind groups, pipelines, staging buffers] that are alive. */
  liveObjects() {
    let held = this.groups.size;
    this.programs.forEach((dispatches) => (held += dispatches.length));
    return [this.buffers.size, this.bytes, held, this.pipelines.size, this.stagingCount];
  }

  close() {
    this.closed = true;
    this.onRead = () => {}; // nobody waits for what is still under way
    this.device.destroy();
    for (const map of [this.buffers, this.pipelines, this.groups, this.programs, this.counts]) {
      map.clear();
    }
    this.pipelineNumbers.clear();
    this.staging.clear();
    this.bytes = this.stagingCount = 0;
  }
}
