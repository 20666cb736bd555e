// Some browsers look whether the GPU has done its work every 100 ms only (Firefox: bug 1870699 of Mozilla's), and
// whenever more is submitted. There an empty submit, now and then, makes them look.

const SOON = 20; // ms, by which an idle queue has answered elsewhere, many times over
const PAUSE = 1; // ms

/** Whether this browser tells late that work is done. Takes up to 120 ms where it does. */
export async function tellsLate({ queue }) {
  const idle = () => queue.onSubmittedWorkDone().catch(() => {});
  await idle(); // by chance it looks at once, or the GPU's process is still starting: the second answer counts
  return Promise.race([idle().then(() => false), pause(SOON).then(() => true)]);
}

/** Reminds the browser as long as something of a device's is waited for. */
export class Reminder {
  #device;
  #waiting = 0;
  #isRunning = false;

  constructor(device) {
    this.#device = device;
  }

  /** The promise itself. */
  until(promise) {
    const settled = () => this.#waiting--;
    this.#waiting++;
    promise.then(settled, settled);
    if (!this.#isRunning) {
      this.#run();
    }
    return promise;
  }

  async #run() {
    this.#isRunning = true;
    await pause(PAUSE);
    while (this.#waiting) {
      this.#device.queue.submit([]);
      this.#device.pushErrorScope("validation");
      await this.#device.popErrorScope().catch(() => {}); // tells that the submit has arrived, so that none pile up
      await pause(PAUSE);
    }
    this.#isRunning = false;
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
