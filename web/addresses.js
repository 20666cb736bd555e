// Addresses of models, as the page and the worker understand them.

/** The last piece of a URL's path, as people read it. @param {string} url */
export function nameOf(url) {
  const { pathname, hostname } = new URL(url);
  const last = pathname.split("/").filter(Boolean).at(-1) ?? hostname;
  try {
    return decodeURIComponent(last);
  } catch {
    return last; // a stray percent sign
  }
}
