// The body of a response in pieces of any size.

const SCRATCH = 512 << 10;
const LEAST = 64 << 10; // bytes worth waiting for: a slow line still shows progress, a fast one brings no crumbs

/**
 * @param {ReadableStream<Uint8Array> | null} body
 * @returns {AsyncGenerator<Uint8Array>} each piece is valid until the next is asked for
 */
export async function* pieces(body) {
  if (!body) {
    return;
  }
  const { reader, read } = readerOf(body);
  try {
    for (;;) {
      const { done, value } = await read();
      if (value?.length) {
        yield value;
      }
      if (done) {
        return;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function readerOf(body) {
  let reader;
  try {
    reader = body.getReader({ mode: "byob" });
  } catch {
    reader = body.getReader(); // no byte stream, or no BYOB readers
    return { reader, read: () => reader.read() };
  }
  let scratch = new ArrayBuffer(SCRATCH); // one for all pieces: no garbage
  const read = async () => {
    const result = await reader.read(new Uint8Array(scratch), { min: LEAST });
    scratch = result.value?.buffer ?? scratch;
    return result;
  };
  return { reader, read };
}
