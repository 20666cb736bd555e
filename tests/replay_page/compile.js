// What the browser's compiler says of kernels: [{ label, code, bindings, features }, ...]. Returns a text for each that
// fails, or that it warns of. With `pipelines` each is also made ready to run, which takes some seconds for the largest.

import { openDevice } from "./device.js";

const AT_ONCE = 16;

export async function compile(file, pipelines) {
  const kernels = await (await fetch(file)).json();
  const complaints = [];
  const next = kernels.values();
  const work = async () => {
    for (const kernel of next) {
      const device = await openDevice(kernel.features);
      const compiled = pipelines ? device.pipeline(kernel) : device.module(kernel);
      await compiled.catch((error) => complaints.push(error.message));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return complaints;
}
