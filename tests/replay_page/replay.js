// Does again what a core once asked of its GPU (recording_gpu.py), in the same order. Returns the bytes that each read
// gives, as lists of 32-bit words.

import { openDevice } from "./device.js";

export async function replay(callsFile, bytesFile) {
  const calls = await (await fetch(callsFile)).json();
  const bytes = await (await fetch(bytesFile)).arrayBuffer();
  const device = await openDevice();
  const kernels = calls.filter((call) => call.do === "create_pipeline").map((call) => call.kernel);
  await Promise.all(kernels.map((kernel) => device.pipeline(kernel))); // on all cores
  const player = new Player(device, bytes);
  for (const [index, call] of calls.entries()) {
    await player[call.do](call, `call ${index}, ${call.do}`);
  }
  await device.checked("behind the last call", () => {});
  return player.reads;
}

class Player {
  constructor(device, bytes) {
    this.device = device;
    this.bytes = bytes;
    this.reads = [];
    this.buffers = new Map();
    this.pipelines = new Map();
    this.groups = new Map();
    this.programs = new Map();
  }

  async create_buffer({ id, label, size, uniform }, what) {
    const { STORAGE, UNIFORM, COPY_SRC, COPY_DST } = GPUBufferUsage;
    const usage = uniform ? UNIFORM | COPY_DST : STORAGE | COPY_SRC | COPY_DST;
    this.buffers.set(id, await this.device.checked(`${what} ${label}`, (d) => d.createBuffer({ label, size, usage })));
  }

  async destroy_buffer({ buffer }) {
    this.buffers.get(buffer).destroy();
    this.buffers.delete(buffer);
  }

  async write_buffer({ buffer, offset, start, size }, what) {
    const target = this.buffers.get(buffer);
    await this.device.checked(what, (d) => d.queue.writeBuffer(target, offset, this.bytes, start, size));
  }

  async copy_buffer({ source, source_offset, target, target_offset, size }, what) {
    await this.device.checked(what, (d) => {
      const encoder = d.createCommandEncoder();
      const [from, to] = [this.buffers.get(source), this.buffers.get(target)];
      encoder.copyBufferToBuffer(from, source_offset, to, target_offset, size);
      d.queue.submit([encoder.finish()]);
    });
  }

  async create_pipeline({ id, kernel }) {
    this.pipelines.set(id, { ...(await this.device.pipeline(kernel)), bindings: kernel.bindings });
  }

  async create_bind_group({ id, pipeline, buffers }, what) {
    const { layout, bindings } = this.pipelines.get(pipeline);
    const entries = buffers.map(([buffer, offset, size], i) => ({
      binding: bindings[i][0],
      resource: { buffer: this.buffers.get(buffer), offset, size },
    }));
    this.groups.set(id, await this.device.checked(what, (d) => d.createBindGroup({ layout, entries })));
  }

  async freeze({ id, pipelines, groups }) {
    const dispatches = pipelines.map((pipeline, i) => [
      this.pipelines.get(pipeline).pipeline,
      this.groups.get(groups[i]),
    ]);
    this.programs.set(id, dispatches);
  }

  async rebind({ program, index, group }) {
    this.programs.get(program)[index][1] = this.groups.get(group);
  }

  async release({ program }) {
    this.programs.delete(program);
  }

  async submit({ program, counts, start, stop, read }, what) {
    const dispatches = this.programs.get(program);
    await this.device.checked(what, (d) => {
      const encoder = d.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (let i = start; i < stop; i++) {
        pass.setPipeline(dispatches[i][0]);
        pass.setBindGroup(0, dispatches[i][1]);
        pass.dispatchWorkgroups(...counts.slice(3 * i, 3 * i + 3));
      }
      pass.end();
      d.queue.submit([encoder.finish()]);
    });
    if (read) {
      await this.read_buffer(read, what);
    }
  }

  async read_buffer({ buffer, offset, size }, what) {
    const staging = await this.device.checked(what, (d) => {
      const staging = d.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
      const encoder = d.createCommandEncoder();
      encoder.copyBufferToBuffer(this.buffers.get(buffer), offset, staging, 0, size);
      d.queue.submit([encoder.finish()]);
      return staging;
    });
    await staging.mapAsync(GPUMapMode.READ);
    this.reads.push(Array.from(new Uint32Array(staging.getMappedRange())));
    staging.destroy();
  }
}
