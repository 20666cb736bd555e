// What went wrong, in words, and what to do about it. Notices end nothing, and can be put away.

import { button, element, find } from "./dom.js";
import { texts } from "./texts.js";

/** @typedef {[text: string, listener: () => void]} Action what a button says and does */

/** @param {any} error @returns {string} */
export function titleOf(error) {
  return texts.errors[error.code] ?? texts.errorTitle;
}

/** A box with an error. @param {any} error @param {Action[]} actions */
export function problem(error, actions) {
  const buttons = actions.map(([text, listener]) => button(text, listener));
  return element(
    "div",
    { className: "problem-box", role: "alert" },
    element("strong", { textContent: titleOf(error) }),
    element("p", { textContent: error.message }),
    element("p", { className: "row" }, ...buttons),
  );
}

/** A notice above all; one with the same words is shown once. @param {string} message @param {Action[]} [actions] */
export function notice(message, actions = []) {
  const notices = find("notices");
  if ([...notices.children].some(({ firstChild }) => firstChild?.textContent === message)) {
    return;
  }
  const away = button("×", () => shown.remove(), { className: "quiet", "aria-label": texts.dismiss });
  const buttons = actions.map(([text, listener]) => button(text, listener));
  const shown = element("div", { className: "notice" }, element("p", { textContent: message }), ...buttons, away);
  notices.append(shown);
}
