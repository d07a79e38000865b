// Copyright The Stargazer authors. Apache-2.0.
//
// The page's side of nb.upload(): files are read piece by piece, and a piece is sent when the last one is on the
// kernel's disk. Names and values are foreign words: they become text, never HTML.

const STYLE = `
.sg-upload { font-size: .875rem; display: grid; gap: .75rem; }
.sg-upload .zone { border: 2px dashed color-mix(in srgb, currentColor 35%, transparent); border-radius: 8px;
  padding: 1.25rem; text-align: center; }
.sg-upload .zone.over { border-color: #2563eb; background: color-mix(in srgb, #2563eb 10%, transparent); }
.sg-upload button { border: 1px solid color-mix(in srgb, currentColor 35%, transparent); border-radius: 6px;
  padding: .3rem .8rem; cursor: pointer; background: transparent; color: inherit; }
.sg-upload button.main { background: #2563eb; border-color: #2563eb; color: white; }
.sg-upload button:disabled { opacity: .5; cursor: default; }
.sg-upload .file { border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: 8px;
  padding: .6rem .8rem; display: grid; gap: .45rem; }
.sg-upload .head { display: flex; gap: .75rem; align-items: center; }
.sg-upload .name { font-weight: 600; overflow-wrap: anywhere; flex: 1; }
.sg-upload .soft { opacity: .7; white-space: nowrap; }
.sg-upload .fields { display: flex; flex-wrap: wrap; gap: .5rem .9rem; }
.sg-upload label { display: inline-flex; gap: .35rem; align-items: center; }
.sg-upload label.field { flex-direction: column; align-items: flex-start; gap: .1rem; }
.sg-upload label.field > span { font-size: .75rem; opacity: .75; }
.sg-upload input[type=text], .sg-upload select { border: 1px solid color-mix(in srgb, currentColor 35%, transparent);
  border-radius: 5px; padding: .2rem .4rem; background: transparent; color: inherit; min-width: 9rem; }
.sg-upload option { color: black; background: white; }
.sg-upload .why { border-left: 4px solid #c4452f; padding-left: .7rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.sg-upload .hint { border-left: 4px solid #d19a20; padding-left: .7rem; overflow-wrap: anywhere; }
.sg-upload .added { border-left: 4px solid #2f8f4e; padding-left: .7rem; overflow-wrap: anywhere; }
.sg-upload progress { width: 100%; height: .6rem; }
.sg-upload .foot { display: flex; flex-wrap: wrap; gap: .75rem 1.25rem; align-items: center; }
.sg-upload .path { display: flex; gap: .5rem; align-items: center; }
.sg-upload .path input { flex: 1; }
`;
const UNITS = ["B", "kB", "MB", "GB", "TB"];

const PATIENCE = 30000; // ms until it is asked how much has arrived: an answer is lost when the connection breaks

// one for each widget, by its id: marimo gives another model whenever it is drawn, as in an accordion that is opened again
const widgets = (globalThis[Symbol.for("stargazer.uploads")] ??= new Map());
const PAGE = (globalThis[Symbol.for("stargazer.upload")] ??= random());

function sizeText(size) {
  let unit = 0;
  while (size >= 1000 && unit < UNITS.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? size.toFixed(0) : size.toFixed(1)} ${UNITS[unit]}`;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function random() {
  return Array.from(crypto.getRandomValues(new Uint32Array(3)), number => number.toString(36)).join("");
}

function transport(model) {
  const { chunk, id } = model.get("setup");
  const known = widgets.get(id);
  if (known) {
    known.hear(model);
    for (const key of known.files.keys()) known.where(key);
    return known;
  }
  const made = { model, files: new Map(), sent: new Map(), asked: new Map(), forms: new Map(), forced: new Set(),
                 turned: new Map(), views: new Set(), wasPublic: false, path: "" };

  async function next(key, offset) {
    const file = made.files.get(key);
    if (!file || made.sent.get(key) === offset) return; // several models hear the same
    made.sent.set(key, offset);
    for (const view of made.views) view.progress(key);
    let buffer;
    try {
      buffer = await file.slice(offset, offset + chunk).arrayBuffer();
    } catch (error) {
      made.files.delete(key);
      const why = `The browser cannot read ${file.name}: it was changed, moved or removed since it was chosen, or it may ` +
        `not be read (${error.name}). Choose it again.`;
      made.model.send({ kind: "unreadable", key, why });
      return;
    }
    if (!made.files.has(key)) return;
    made.asked.set(key, Date.now());
    made.model.send({ kind: "chunk", key, offset }, undefined, [buffer]);
  }
  setInterval(() => {
    for (const [key, when] of made.asked) {
      if (!made.files.has(key)) made.asked.delete(key);
      else if (Date.now() - when > PATIENCE) made.where(key); // once: the kernel may be busy
    }
  }, PATIENCE / 3);

  made.where = key => {
    made.asked.delete(key);
    made.sent.delete(key);
    made.model.send({ kind: "where", key });
  };
  made.offer = files => {
    const offered = [];
    for (const file of files) {
      const key = random();
      made.files.set(key, file);
      offered.push({ key, name: file.name, size: file.size });
    }
    if (offered.length) made.model.send({ kind: "offer", page: PAGE, files: offered });
  };
  made.drop = key => {
    made.files.delete(key);
    made.model.send({ kind: "drop", key });
  };
  made.hear = model => {
    made.model = model;
    model.on("msg:custom", message => {
      if (message.kind === "next") next(message.key, message.offset);
    });
    model.on("change:shown", () => {
      const shown = model.get("shown");
      const going = new Set(shown.files.filter(file => file.state === "arriving").map(file => file.key));
      for (const file of shown.files) if (!going.has(file.key)) made.files.delete(file.key);
      if (shown.count !== model.get("seen")) { // cells that use the value run again
        model.set("seen", shown.count);
        model.save_changes();
      }
      for (const view of made.views) view.draw();
    });
  };
  made.hear(model);
  model.send({ kind: "hello", page: PAGE });
  widgets.set(id, made);
  return made;
}

// the files of what was dropped, of folders too
async function droppedFiles(transfer, most) {
  const entries = [];
  for (const item of transfer.items ?? []) {
    const entry = item.webkitGetAsEntry?.();
    if (entry) entries.push(entry);
  }
  if (!entries.some(entry => entry.isDirectory)) return { files: [...transfer.files], note: "" };
  const found = [];
  while (entries.length && found.length <= most) {
    const entry = entries.shift();
    if (entry.name.startsWith(".")) continue;
    if (entry.isFile) {
      found.push(await new Promise((done, failed) => entry.file(done, failed)));
    } else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((done, failed) => reader.readEntries(done, failed));
        if (!some.length) break;
        entries.push(...some);
      }
    }
  }
  if (found.length > most)
    return { files: [], note: `The folder has more than ${most} files: drop the files that are meant.` };
  return { files: found, note: found.length ? "" : "The folder holds no files." };
}

function render({ model, el }) {
  const link = transport(model);
  const setup = model.get("setup");
  const bars = new Map();
  const root = element("div", { className: "sg-upload" });
  const input = element("input", { type: "file", multiple: true, hidden: true });
  input.setAttribute("aria-label", "Choose files");
  input.addEventListener("change", () => {
    link.offer([...input.files]);
    input.value = "";
  });
  const choose = element("button", { className: "main", textContent: "Choose files", onclick: () => input.click() });
  const zone = element("div", { className: "zone" }, "Drop files here, or ", choose, input);
  zone.addEventListener("dragover", event => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async event => {
    event.preventDefault();
    zone.classList.remove("over");
    try {
      const { files, note } = await droppedFiles(event.dataTransfer, setup.most);
      if (note) model.send({ kind: "note", text: note });
      link.offer(files);
    } catch (error) {
      model.send({ kind: "note", text: `What was dropped cannot be read (${error.name}): choose the files instead.` });
    }
  });
  const body = element("div", { style: "display: grid; gap: .75rem" });
  body.setAttribute("aria-live", "polite");
  root.append(element("style", { textContent: STYLE }), zone);
  if (setup.paths) root.append(pathLine());
  root.append(body);
  el.append(root);

  function pathLine() {
    const path = element("input", { type: "text", placeholder: "/data/NA12878.bam", value: link.path });
    path.setAttribute("aria-label", "Path on this machine");
    path.addEventListener("input", () => { link.path = path.value; });
    const give = () => {
      if (!path.value.trim()) return;
      model.send({ kind: "path", path: path.value });
      link.path = path.value = "";
    };
    path.addEventListener("keydown", event => { if (event.key === "Enter") give(); });
    return element("div", { className: "path" },
      element("span", { className: "soft", textContent: "Or a path on the machine where the notebook runs:" }), path,
      element("button", { textContent: "Take it from there", onclick: give }));
  }

  // what somebody typed stays, whatever the kernel says meanwhile
  function form(file) {
    const known = link.forms.get(file.key);
    if (known && known.type === file.type) return known;
    const made = { type: file.type, fields: { ...file.fields }, others: file.others };
    link.forms.set(file.key, made);
    return made;
  }

  function fieldLine(file, said, field) {
    const label = element("label", { className: "field" });
    const about = field.link ? `CID of a ${field.link}` : field.needed ? "needed" : "";
    label.append(element("span", { textContent: field.name + (about ? ` (${about})` : "") }));
    let control;
    if (field.choices.length) {
      control = element("select", {}, ...["", ...field.choices].map(value =>
        element("option", { value, textContent: value || (field.default ? `${field.default} (default)` : "not said") })));
    } else {
      control = element("input", { type: "text", placeholder: field.default });
    }
    control.value = said.fields[field.name] ?? "";
    control.setAttribute("aria-label", `${field.name} of ${file.name}`);
    control.dataset.place = `${file.key} ${field.name}`;
    control.addEventListener("input", () => {
      said.fields[field.name] = control.value;
      readyToAdd();
    });
    control.addEventListener("change", () => {
      model.send({ kind: "say", key: file.key, ...said });
    });
    label.append(control);
    return label;
  }

  function othersLine(file, said) {
    const control = element("input", { type: "text", placeholder: "project=brca owner=me", value: said.others });
    control.setAttribute("aria-label", `keys of your own of ${file.name}`);
    control.dataset.place = `${file.key} others`;
    control.addEventListener("input", () => {
      said.others = control.value;
      readyToAdd();
    });
    control.addEventListener("change", () => model.send({ kind: "say", key: file.key, ...said }));
    return element("label", { className: "field" }, element("span", { textContent: "keys of your own" }), control);
  }

  function typeLine(file, said) {
    const types = ["", ...Object.keys(setup.types)];
    const control = element("select", {}, ...types.map(value =>
      element("option", { value, textContent: value || "choose ...", title: setup.types[value]?.about ?? "" })));
    control.value = link.turned.get(file.key) ?? said.type;
    control.setAttribute("aria-label", `type of ${file.name}`);
    control.dataset.place = `${file.key} type`;
    control.addEventListener("change", () => {
      link.forms.delete(file.key);
      link.forced.delete(file.key);
      link.turned.set(file.key, control.value);
      readyToAdd();
      model.send({ kind: "say", key: file.key, type: control.value, fields: said.fields });
    });
    return element("label", { className: "field" }, element("span", { textContent: "type" }), control);
  }

  function fileBox(file) {
    const state = { arriving: "arriving", ready: "here, not added yet", refused: "not taken" }[file.state];
    const away = element("button", {
      textContent: file.state === "arriving" ? "Cancel" : "Remove", onclick: () => link.drop(file.key),
    });
    away.setAttribute("aria-label", `${away.textContent} ${file.name}`);
    away.dataset.place = `${file.key} away`;
    const status = element("span", { className: "soft", textContent: `${sizeText(file.size)} · ${state}` });
    const box = element("div", { className: "file" }, element("div", { className: "head" },
      element("span", { className: "name", textContent: file.name }), status, away));
    if (file.state === "arriving") {
      const bar = element("progress", { max: file.size || 1, value: link.sent.get(file.key) ?? 0 });
      bar.setAttribute("aria-label", `${file.name} arrives`);
      bars.set(file.key, { bar, status, size: file.size });
      box.append(bar);
    }
    if (file.state === "ready") {
      const said = form(file);
      const fields = (setup.types[said.type]?.fields ?? []).filter(field => !(field.link && file.beside &&
        !said.fields[field.name] && linksTo(file, field)));
      box.append(element("div", { className: "fields" }, typeLine(file, said),
        ...fields.map(field => fieldLine(file, said, field)),
        ...(setup.types[said.type]?.free ? [othersLine(file, said)] : [])));
      if (file.beside) box.append(element("div", { className: "soft", textContent: `goes with ${file.beside}` }));
      if (file.hint) box.append(element("div", { className: "hint", textContent: file.hint }));
    }
    if (file.why) box.append(element("div", { className: "why", textContent: file.why }));
    if (file.force) {
      const check = element("input", { type: "checkbox", checked: link.forced.has(file.key) });
      check.addEventListener("change", () => link.forced[check.checked ? "add" : "delete"](file.key));
      box.append(element("label", {}, check, "Add it all the same; its provenance says that a check refused it"));
    }
    return box;
  }

  // of links only the one to the file that this one goes with is said already
  function linksTo(file, field) {
    const target = model.get("shown").files.find(other => other.name === file.beside && other.state === "ready");
    return target && target.type === field.link;
  }

  const add = element("button", { className: "main" });
  add.addEventListener("click", () => {
    const files = {};
    for (const file of model.get("shown").files)
      if (file.state === "ready") files[file.key] = { ...form(file), force: link.forced.has(file.key) };
    add.disabled = true;
    add.textContent = "Adding ...";
    model.send({ kind: "add", files, public: link.wasPublic });
    link.forced.clear();
    link.wasPublic = false; // asked anew for the next files
  });

  // not before the kernel said what it proposes for a type that was chosen
  function readyToAdd() { add.disabled = link.turned.size > 0; }

  function draw() {
    const shown = model.get("shown");
    const active = root.getRootNode().activeElement;
    const { place } = active?.dataset ?? {};
    const [from, to] = [active?.selectionStart, active?.selectionEnd];
    bars.clear();
    for (const [key, type] of link.turned)
      if (!shown.files.some(file => file.key === key && file.type !== type)) link.turned.delete(key);
    const parts = shown.files.map(fileBox);
    if (shown.note) parts.unshift(element("div", { className: "hint", textContent: shown.note }));
    const ready = shown.files.filter(file => file.state === "ready").length;
    if (ready) {
      readyToAdd();
      add.textContent = ready === 1 ? "Add" : `Add ${ready} files`;
      const foot = element("div", { className: "foot" }, add);
      if (setup.public) {
        const check = element("input", { type: "checkbox", checked: link.wasPublic });
        check.addEventListener("change", () => { link.wasPublic = check.checked; });
        foot.append(element("label", {}, check, setup.public));
      }
      parts.push(foot);
    }
    if (shown.added.length) {
      parts.push(element("div", { className: "added" },
        ...[...shown.added].reverse().map(each => element("div", {},
          element("b", { textContent: each.name }), ` added as ${each.type} ${each.what}`,
          ...each.notes.map(note => element("div", { className: "hint", textContent: note }))))));
    }
    body.replaceChildren(...parts);
    const again = place && root.querySelector(`[data-place="${CSS.escape(place)}"]`);
    again?.focus();
    if (again && from !== undefined && from !== null) again.setSelectionRange(from, to);
  }

  function progress(key) {
    const found = bars.get(key);
    if (!found) return;
    const sent = link.sent.get(key) ?? 0;
    found.bar.value = sent;
    found.status.textContent = `${sizeText(sent)} of ${sizeText(found.size)}`;
  }

  const view = { draw, progress };
  link.views.add(view);
  draw();
  return () => link.views.delete(view);
}

export default { render };
