"""A browser that tells that the GPU's work is done when more is submitted, as Firefox does between looks of its own."""

from site_tab import SiteTab

from site_server import serving
from tiny_model import TINY, goldens

STORY = goldens()["story"]
# An idle queue answers after 100 ms; from the first submit on, nothing is told but by another submit.
LATE = """async () => {
  await shaderlm.ready;
  const { submit, onSubmittedWorkDone } = GPUQueue.prototype;
  const { mapAsync } = GPUBuffer.prototype;
  const untold = [];
  let idle = true;
  const tell = () => untold.splice(0).forEach((resolve) => resolve());
  const late = (promise) => promise.then(() => new Promise((resolve) => {
    untold.push(resolve);
    if (idle) setTimeout(tell, 100);
  }));
  GPUQueue.prototype.submit = function (lists) {
    idle = false;
    submit.call(this, lists);
    tell();
  };
  GPUQueue.prototype.onSubmittedWorkDone = function () { return late(onSubmittedWorkDone.call(this)); };
  GPUBuffer.prototype.mapAsync = function (...range) { return late(mapAsync.call(this, ...range)); };
}"""


def test_a_browser_that_tells_late_is_reminded(browser, site):
    with serving("--model", str(TINY)) as server:
        tab = SiteTab.open(*browser, server.address)
        tab.evaluate("() => { prepare(); }")
        tab.worker(LATE)
        answer = tab.evaluate(
            """async ([url, prompt, max_tokens]) => {
              const model = await load(url, { context: 256, kv_dtype: "f32" });
              return await model.complete(prompt, { temperature: 0, max_tokens });
            }""",
            [f"/models/{TINY.name}", STORY.prompt, STORY.max_tokens],
        )
        assert answer["text"] == STORY.text
        tab.close()
