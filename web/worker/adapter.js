// The adapter that models run on, and what is known of it.

/** @type {GPUFeatureName[]} used where they are there */
export const WANTED_FEATURES = ["subgroups", "shader-f16", "timestamp-query"];

/** Of WGSL's language features those that are used where they are there. */
const WANTED_LANGUAGE_FEATURES = ["packed_4x8_integer_dot_product"];

/** Facts of the adapter that a device would be opened on, as JSON: for gpu.py. Null where there is none. */
export async function adapterFacts() {
  const adapter = navigator.gpu ? await bestAdapter() : null;
  const features = WANTED_FEATURES.filter((name) => adapter?.features.has(name));
  return adapter && JSON.stringify(factsOf(adapter, features, adapter.limits));
}

function languageFeatures() {
  const known = navigator.gpu.wgslLanguageFeatures;
  return WANTED_LANGUAGE_FEATURES.filter((name) => known?.has(name));
}

/**
 * Null where there is none. A Firefox without WebGPU has the function, and rejects.
 *
 * @returns {Promise<GPUAdapter | null>}
 */
export function bestAdapter() {
  return navigator.gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
}

/**
 * What gpu.py is told of an adapter.
 *
 * @param {GPUAdapter & { isFallbackAdapter?: boolean }} adapter where older browsers have it
 * @param {string[]} features
 * @param {GPUSupportedLimits} given the adapter's limits, or a device's
 */
export function factsOf(adapter, features, given) {
  const info = adapter.info ?? {};
  /** @type {Record<string, number>} */
  const limits = {};
  for (const name in given) {
    limits[name] = given[name];
  }
  return {
    vendor: info.vendor ?? "",
    architecture: info.architecture ?? "",
    device: info.device ?? "",
    description: info.description ?? "",
    isFallback: Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter),
    subgroupSizes: [info.subgroupMinSize ?? 0, info.subgroupMaxSize ?? 0],
    features: [...features, ...languageFeatures()],
    limits,
  };
}

/** Why there is no WebGPU, and what to do. */
export function missingWebGpu() {
  const secure = globalThis.isSecureContext
    ? ""
    : " This page was not loaded over https (or from localhost), and browsers offer WebGPU there alone.";
  return (
    `This browser offers no WebGPU.${secure} Current versions of Chrome, Edge, Safari and Firefox have it; on Linux, ` +
    "Chrome may want chrome://flags/#enable-unsafe-webgpu, Firefox dom.webgpu.enabled in about:config."
  );
}
