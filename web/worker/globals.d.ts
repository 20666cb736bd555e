// What TypeScript's own types of browsers leave out.

declare const GPUBufferUsage: Record<"COPY_DST" | "COPY_SRC" | "MAP_READ" | "STORAGE" | "UNIFORM", number>;
declare const GPUMapMode: Record<"READ" | "WRITE", number>;
declare const GPUShaderStage: Record<"COMPUTE", number>;

interface Navigator {
  /** Not in every browser. */
  connection?: { saveData: boolean };
}
