// Development only: buttons that break the system which `glassbridge dev --break` runs.

import { development, press } from "./api.js";
import { make, setText } from "./words.js";

const LOOK = 1_000; // milliseconds between two looks while something is broken
const IDLE = 5_000; // the same while nothing is

export class Faults {
  constructor({ panel, faults, trouble, phone }) {
    Object.assign(this, { panel, faults, trouble, phone });
    this.here = false;
  }

  // Whether this is a development system.
  show(here) {
    if (here === this.here) return;
    this.here = here;
    this.panel.hidden = !here;
    clearTimeout(this.timer);
    if (here) this.look();
  }

  async look() {
    clearTimeout(this.timer);
    try {
      this.take(await development());
    } catch (error) {
      setText(this.trouble, error.message);
    }
    if (this.here) this.timer = setTimeout(() => this.look(), this.broken ? LOOK : IDLE);
  }

  take({ faults, trouble, broken, phone_page }) {
    this.broken = broken;
    if (this.faults.children.length !== faults.length) {
      this.faults.replaceChildren(...faults.map(({ key, label }) => this.button(key, label)));
    }
    for (const button of this.faults.children) button.disabled = broken;
    const hint = "Start `glassbridge dev --break` to have buttons here that break things.";
    setText(this.trouble, faults.length ? (trouble[broken ? 0 : trouble.length - 1] ?? "") : hint);
    this.phone.hidden = !phone_page;
    if (phone_page) this.phone.href = phone_page;
  }

  button(key, label) {
    const button = make(
      "button",
      { type: "button", "data-key": key },
      make("kbd", { text: key }),
      make("span", { text: label }),
    );
    button.addEventListener("click", () => this.press(key));
    return button;
  }

  async press(key) {
    for (const button of this.faults.children) button.disabled = true;
    await press(key).catch(() => {}); // the cloud that answers may be what broke: what came of it is asked for
    this.broken = true;
    this.look();
  }
}
