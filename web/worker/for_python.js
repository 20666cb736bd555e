// What Python finds in the module `shaderlm_browser`: the JavaScript halves of runtime/hosts/browser/.

import { adapterFacts } from "./adapter.js";
import { openCodec } from "./codec.js";
import * as files from "./files.js";
import { openGpu } from "./gpu.js";

/**
 * @param {string} build names the build of the package: what it keeps for itself, another one does not take up
 * @param {object} [told]
 * @param {(compiled: number, asked: number) => void} [told.onPipelines] of kernels
 * @param {(message: string) => void} [told.onLost] when a device went away
 * @param {(gpu: object) => void} [told.onGpu] when a device was opened
 */
export function moduleForPython(build, { onPipelines, onLost, onGpu } = {}) {
  const open = async () => {
    const gpu = await openGpu(onPipelines, onLost);
    onGpu?.(gpu);
    return gpu;
  };
  const openHeader = (source) => files.openModel(source, { store: false });
  return { openGpu: open, adapterFacts, openCodec, files, openModel: files.openModel, openHeader, build };
}
