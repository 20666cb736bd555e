// WebGPU devices with the guaranteed limits, one for each set of features, whose every error is thrown.

const SCOPES = ["validation", "out-of-memory", "internal"];
const BINDING_TYPES = { read: "read-only-storage", read_write: "storage", uniform: "uniform" };
const devices = new Map();

export async function openDevice(features = []) {
  const key = features.join();
  if (!devices.has(key)) {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) {
      throw new Error("this browser gives no WebGPU adapter");
    }
    devices.set(key, new CheckedDevice(await adapter.requestDevice({ requiredFeatures: features })));
  }
  return devices.get(key);
}

class CheckedDevice {
  constructor(device) {
    this.device = device;
    this.strayErrors = [];
    this.pipelines = new Map();
    device.addEventListener("uncapturederror", ({ error }) => this.strayErrors.push(error.message));
    device.lost.then(({ message }) => this.strayErrors.push(`the device is lost: ${message}`));
  }

  // What `action` returns; throws what the device said of it.
  async checked(what, action) {
    SCOPES.forEach((scope) => this.device.pushErrorScope(scope));
    const value = action(this.device);
    const errors = await Promise.all(SCOPES.map(() => this.device.popErrorScope()));
    const messages = errors.filter((error) => error).map((error) => error.message);
    if (messages.length || this.strayErrors.length) {
      throw new Error(`${what}: ${[...messages, ...this.strayErrors].join("; ")}`);
    }
    return value;
  }

  // A shader module for { label, code }; throws what the compiler said, be it a warning.
  async module({ label, code }) {
    const module = await this.checked(label, (device) => device.createShaderModule({ label, code }));
    const { messages } = await module.getCompilationInfo();
    if (messages.length) {
      throw new Error(messages.map((m) => `${label}:${m.lineNum}:${m.linePos}: ${m.type}: ${m.message}`).join("\n"));
    }
    return module;
  }

  // { pipeline, layout } for { label, code, bindings }, bindings being [[number, access], ...]; made once.
  pipeline(kernel) {
    if (!this.pipelines.has(kernel.code)) {
      this.pipelines.set(kernel.code, this.newPipeline(kernel));
    }
    return this.pipelines.get(kernel.code);
  }

  async newPipeline(kernel) {
    const { label, bindings } = kernel;
    const entries = bindings.map(([binding, access]) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: BINDING_TYPES[access] },
    }));
    const layout = await this.checked(label, (device) => device.createBindGroupLayout({ label, entries }));
    const module = await this.module(kernel);
    const making = this.device.createComputePipelineAsync({
      label,
      layout: this.device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    });
    const pipeline = await making.catch((error) => {
      throw new Error(`${label}: ${error.message}`);
    });
    return { pipeline, layout };
  }
}
