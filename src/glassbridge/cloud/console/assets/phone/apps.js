// The apps of this cloud, each with a button: start it, or stop it.

const RUNS = new Set(["starting", "running", "reconnecting"]);

export class AppList {
  // `press` gets the package name and whether the app is to run.
  constructor(list, press) {
    this.list = list;
    this.press = press;
    this.rows = new Map();
  }

  clear() {
    this.rows.clear();
    this.list.replaceChildren();
    this.list.parentElement.hidden = true;
  }

  // What the cloud has, as `list` tells; it may be asked again at any time.
  async load(list) {
    for (const app of await list()) this.row(app.packageName, app.name).show(app.state);
  }

  // How an app is now, and why it stopped although nobody asked for it.
  show({ name, state, error }) {
    this.row(name, name).show(state, error);
  }

  row(name, title) {
    const known = this.rows.get(name);
    if (known) return known;
    const item = this.list.appendChild(document.createElement("li"));
    item.dataset.name = name;
    const text = item.appendChild(document.createElement("span"));
    const said = item.appendChild(document.createElement("span"));
    said.className = "soft";
    said.setAttribute("role", "status");
    const button = item.appendChild(document.createElement("button"));
    button.type = "button";
    text.textContent = title;
    button.addEventListener("click", () => this.press(name, button.textContent === "Start"));
    const row = {
      show: (state, error) => {
        item.dataset.state = state;
        said.textContent = error ? `${state}: ${error}` : state;
        button.textContent = RUNS.has(state) ? "Stop" : "Start";
        button.setAttribute("aria-label", `${button.textContent} ${title}`);
      },
    };
    this.rows.set(name, row);
    this.list.parentElement.hidden = false;
    return row;
  }
}
