// The table of asset_table.py in the browser: it asks the kernel for pages, and writes what others said as text only.

const COLUMNS = [
  { key: "name", title: "File", order: "name" },
  { key: "type", title: "Type" },
  { key: "fields", title: "What is said of it" },
  { key: "size", title: "Size", order: "size" },
  { key: "at", title: "Registered (UTC)", order: "created_at" },
  { key: "network", title: "Visibility" },
  { key: "cid", title: "CID" },
];
const UNITS = ["B", "kB", "MB", "GB", "TB"];
const PAUSE = 250; // ms after the last letter before the store is asked

function size(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit === 0 || bytes >= 100 ? bytes.toFixed(0) : bytes.toFixed(1)} ${UNITS[unit]}`;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function labelled(title, field) {
  field.setAttribute("aria-label", title); // not the options of a list as well
  return element("label", {}, element("span", {}, title), field);
}

function list(id, values) {
  const options = element("datalist", { id });
  options.replaceChildren(...values.map((value) => element("option", { value })));
  return options;
}

function render({ model, el }) {
  const asked = { order: "created_at", descending: true, offset: 0, limit: model.get("rows"), number: 0 };
  let shown = { total: 0, offset: 0, rows: [] };
  let chosen = model.get("chosen");
  let waiting = 0;
  let lacking = true; // the counts and names that filters offer
  const own = `stargazer-${Math.random().toString(36).slice(2)}`;

  const type = element("select", {}, element("option", { value: "" }, "any"));
  const sample = element("input", { type: "search", placeholder: "any", list: `${own}-samples` });
  const build = element("input", { type: "search", placeholder: "any", list: `${own}-builds` });
  const network = element("select", {},
    element("option", { value: "" }, "any"),
    element("option", { value: "private" }, "private"),
    element("option", { value: "public" }, "public"));
  const words = element("input", { type: "search", placeholder: "key=value ...", class: "words" });
  const lists = element("div");
  const said = element("p", { class: "said", role: "status" });
  const head = element("tr");
  const body = element("tbody");
  const count = element("span", { class: "count", "aria-live": "polite" });
  const turns = [
    ["First page", "\u00ab", () => 0],
    ["Previous page", "\u2039", () => shown.offset - asked.limit],
    ["Next page", "\u203a", () => shown.offset + asked.limit],
    ["Last page", "\u00bb", () => Math.floor((shown.total - 1) / asked.limit) * asked.limit],
  ].map(([title, sign, place]) => {
    const button = element("button", { type: "button", "aria-label": title, title }, sign);
    button.addEventListener("click", () => ask({ offset: Math.max(0, place()) }, false));
    return button;
  });

  function ask(change = {}, choices = true) {
    Object.assign(asked, change);
    asked.number += 1;
    lacking ||= choices; // until they came: another question may overtake this one
    model.send({ ...asked, choices: lacking });
  }

  function narrow() {
    clearTimeout(waiting);
    waiting = setTimeout(() => ask({
      type: type.value, sample: sample.value, build: build.value, network: network.value, words: words.value, offset: 0,
    }), PAUSE);
  }

  for (const field of [type, network]) field.addEventListener("change", narrow);
  for (const field of [sample, build, words]) field.addEventListener("input", narrow);

  function choose(id) {
    if (chosen.length === 1 && chosen[0] === id) return;
    chosen = [id];
    model.set("chosen", chosen);
    model.save_changes();
    mark();
  }

  function mark() {
    for (const row of body.children) {
      const is = chosen.includes(row.dataset.id);
      row.setAttribute("aria-selected", String(is));
      const button = row.querySelector("input");
      if (button) button.checked = is;
    }
  }

  function draw() {
    head.replaceChildren(element("th", { "aria-label": "Chosen" }), ...COLUMNS.map(({ title, order }) => {
      const cell = element("th", { scope: "col" });
      if (!order) {
        cell.append(title);
        return cell;
      }
      const is = asked.order === order;
      cell.setAttribute("aria-sort", is ? (asked.descending ? "descending" : "ascending") : "none");
      const button = element("button", { type: "button" }, `${title}${is ? (asked.descending ? " \u2193" : " \u2191") : ""}`);
      button.addEventListener("click", () => ask({ order, descending: is ? !asked.descending : order !== "name", offset: 0 }));
      cell.append(button);
      return cell;
    }));
    body.replaceChildren(...shown.rows.map((row) => {
      const button = element("input", { type: "radio", name: own, "aria-label": row.name });
      const cells = COLUMNS.map(({ key }) => {
        const cell = element("td", { class: key });
        if (key === "size") cell.append(size(row.size), ...(row.here ? [] : [element("small", { title: "Its bytes are not on this machine" }, " not here")]));
        else if (key === "network") {
          cell.append(row.network.split(/[ :]/, 1)[0]);
          cell.title = row.network;
        } else {
          cell.append(row[key]);
          cell.title = row[key];
        }
        return cell;
      });
      const line = element("tr", {}, element("td", {}, button), ...cells);
      line.dataset.id = row.id;
      line.addEventListener("click", () => choose(row.id));
      button.addEventListener("change", () => choose(row.id));
      return line;
    }));
    mark();
    const { total, offset, rows } = shown;
    count.textContent = rows.length
      ? `${(offset + 1).toLocaleString("en")} to ${(offset + rows.length).toLocaleString("en")} of ${total.toLocaleString("en")} files`
      : lacking ? "Reading ..." : `0 of ${total.toLocaleString("en")} files`;
    turns.forEach((button, place) => {
      button.disabled = place < 2 ? offset === 0 : offset + rows.length >= total;
    });
  }

  function hear(answer) {
    if (!answer || answer.number !== asked.number) return; // of an earlier question
    shown = answer;
    asked.offset = answer.offset;
    const none = answer.types && Object.keys(answer.types).length === 0;
    said.textContent = answer.error ?? (answer.rows.length ? "" : none ? "The store has no files yet." : "No file fits these filters.");
    said.classList.toggle("wrong", Boolean(answer.error));
    if (answer.types || answer.error) lacking = false;
    if (answer.types) {
      const before = type.value;
      const counts = Object.entries(answer.types);
      if (before && !(before in answer.types)) counts.push([before, 0]);
      type.replaceChildren(
        element("option", { value: "" }, "any"),
        ...counts.map(([name, number]) => element("option", { value: name }, `${name} (${number.toLocaleString("en")})`)),
      );
      type.value = before;
      lists.replaceChildren(list(`${own}-samples`, answer.samples), list(`${own}-builds`, answer.builds));
    }
    draw();
  }

  function renew() {
    chosen = model.get("news").chosen ?? chosen;
    ask();
  }

  model.on("msg:custom", hear);
  model.on("change:news", renew);
  const filters = element("div", { class: "filters", role: "search" },
    labelled("Type", type), labelled("Sample", sample), labelled("Build", build), labelled("Visibility", network),
    labelled("Filters", words), lists);
  const table = element("div", { class: "scroll" },
    element("table", { "aria-label": "Files" }, element("thead", {}, head), body));
  const pager = element("div", { class: "pager" }, ...turns.slice(0, 2), count, ...turns.slice(2));
  const root = element("div", { class: "stargazer-assets" }, filters, said, table, pager);
  el.replaceChildren(root);
  draw();
  ask();
  return () => {
    clearTimeout(waiting);
    model.off("msg:custom", hear);
    model.off("change:news", renew);
  };
}

export default { render };
