// The service worker (sw.js): what it keeps lets the page open without a network. New versions wait for the reader.

import { notice } from "./problem.js";
import { texts } from "./texts.js";

/** Register it, once nothing else is waiting for the network. Without it the page works, but not offline. */
export async function workOffline() {
  const { serviceWorker } = navigator;
  if (!serviceWorker) {
    return;
  }
  try {
    const registration = await serviceWorker.register("sw.js", { updateViaCache: "none" });
    watch(serviceWorker, registration);
  } catch (error) {
    console.warn("The page is not kept for use without a network:", error);
  }
}

function watch(serviceWorker, registration) {
  const hadVersion = Boolean(serviceWorker.controller);
  let isTaking = false;
  const offer = () => {
    if (registration.waiting && hadVersion) {
      const take = () => {
        isTaking = true;
        registration.waiting?.postMessage("take over");
      };
      notice(texts.update, [[texts.updateNow, take]]);
    }
  };
  offer();
  registration.addEventListener("updatefound", () => {
    const { installing } = registration;
    installing?.addEventListener("statechange", () => installing.state === "installed" && offer());
  });
  serviceWorker.addEventListener("controllerchange", () => {
    if (isTaking) {
      location.reload();
    } else if (hadVersion) {
      notice(texts.replaced);
    }
  });
}
