// The genome browser of notebooks: igv.js, whose files are read part by part from Python.
import igv from "igv/dist/igv.esm.js";

const PATIENCE = 30000; // ms after which is asked again: an answer is lost when the connection breaks
const MOST_BYTES = 4 * 1024 * 1024; // of one answer
const NEAR = "300px 0px"; // below or above what is seen of the page
const QUIET = 300; // ms after which a region that is looked at is told

let asked = 0;

/** A file in Python's hands: what igv.js takes as a File, though its bytes come when they are asked for. */
class FileOfPython extends File {
  constructor(read, { name, size }, start = 0, end = size) {
    super([], name);
    this.read = read;
    this.start = Math.min(Math.max(start, 0), size);
    this.end = Math.min(Math.max(end, this.start), size);
    this.whole = { name, size };
  }

  get size() {
    return this.end - this.start;
  }

  slice(start = 0, end = this.size) {
    return new FileOfPython(this.read, this.whole, this.start + start, Math.min(this.start + end, this.end));
  }

  async arrayBuffer() {
    const bytes = new Uint8Array(this.size);
    const parts = [];
    for (let start = this.start; start < this.end; start += MOST_BYTES) {
      const part = this.read(start, Math.min(start + MOST_BYTES, this.end));
      parts.push(part.then((found) => bytes.set(found, start - this.start)));
    }
    await Promise.all(parts);
    return bytes.buffer;
  }

  async text() {
    return new TextDecoder().decode(await this.arrayBuffer());
  }
}

/** Asks Python for parts of files, and hands on what it answers. */
class Reader {
  constructor(model, failed) {
    this.model = model;
    this.waiting = new Map();
    this.hear = (content, buffers) => {
      const waiting = this.waiting.get(content.read);
      if (!waiting) return;
      this.waiting.delete(content.read);
      clearInterval(waiting.again);
      if (content.error) {
        failed(content.error);
        waiting.reject(new Error(content.error));
      } else {
        const { buffer, byteOffset, byteLength } = buffers[0];
        waiting.resolve(new Uint8Array(buffer, byteOffset, byteLength));
      }
    };
    model.on("msg:custom", this.hear);
  }

  file(number) {
    if (number === null || number === undefined) return undefined;
    const read = (start, end) =>
      new Promise((resolve, reject) => {
        const id = `${Date.now()}-${asked++}`;
        const ask = () => this.model.send({ read: id, file: number, start, end });
        this.waiting.set(id, { resolve, reject, again: setInterval(ask, PATIENCE) });
        ask();
      });
    return new FileOfPython(read, this.model.get("files")[number]);
  }

  close() {
    this.model.off("msg:custom", this.hear);
    for (const { reject, again } of this.waiting.values()) {
      clearInterval(again);
      reject(new Error("The genome browser was closed."));
    }
  }
}

function escaped(text) {
  const span = document.createElement("span");
  span.textContent = String(text);
  return span.innerHTML.replaceAll('"', "&quot;");
}

/** What is said of a read or call that is clicked: text of files, which is never HTML. */
function details(track, items) {
  const lines = (items ?? []).map((item) => {
    if (typeof item === "string") return item.toLowerCase().startsWith("<hr") ? "<hr>" : `<div>${escaped(item)}</div>`;
    if (item.html) return "";
    return `<div><span>${escaped(item.name ?? "")}</span>&nbsp;&nbsp;&nbsp;${escaped(item.value ?? "")}</div>`;
  });
  return lines.length ? lines.join("") : false;
}

/** `contig:start-end`, from one, as Python writes it; a contig's name may have colons itself. */
function parsed(locus) {
  const [, chr, start, end] = locus.match(/^(.*):(\d+)-(\d+)$/);
  return { chr, start: Number(start) - 1, end: Number(end) };
}

/** Goes where somebody who types into the browser's own box wants: to a contig, or a part of one. */
async function search(browser, text) {
  const asked = text.trim();
  const whole = await browser.genome.loadChromosome(asked);
  const [, name, from, to] = asked.match(/^(.*):([\d,]+)(?:-([\d,]+))?$/) ?? [];
  const part = whole ? undefined : name && (await browser.genome.loadChromosome(name));
  if (!whole && !part) return false;
  const [start, end] = [from ?? "1", to ?? from ?? "1"].map((number) => Number(number.replaceAll(",", "")));
  const around = to ? 0 : 60;
  const locus = whole
    ? { chr: whole.name, start: 0, end: whole.bpLength }
    : { chr: part.name, start: Math.max(0, start - 1 - around), end: Math.min(part.bpLength, end + around) };
  return locus.start < locus.end && browser.updateLoci([locus]);
}

/** Resolves when the element is on the screen, or nearly: nobody waits for a browser that is further down. */
function shown(element, signal) {
  return new Promise((resolve) => {
    const observer = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && done(), { rootMargin: NEAR });
    const done = () => {
      observer.disconnect();
      resolve();
    };
    signal.addEventListener("abort", done);
    observer.observe(element);
  });
}

function withoutBlat(track) {
  const items = track.contextMenuItemList?.bind(track);
  if (items) track.contextMenuItemList = (state) => items(state)?.filter((item) => !/blat/i.test(item?.label ?? ""));
}

async function render({ model, el }) {
  const aborted = new AbortController();
  const note = document.createElement("div");
  const place = document.createElement("div");
  note.setAttribute("role", "status");
  note.style.cssText = "font-size: 0.875rem; white-space: pre-line";
  note.textContent = model.get("note");
  place.className = "stargazer-genome-browser";
  place.style.cssText = "min-height: 300px; background: white; color: black; color-scheme: light";
  el.append(note, place);

  const failed = (text) => {
    note.textContent = [model.get("note"), text].filter(Boolean).join("\n");
  };
  const reader = new Reader(model, failed);
  let browser;
  let timer;

  const told = (frames) => {
    const { chr, start, end } = frames[0];
    clearTimeout(timer);
    timer = setTimeout(() => {
      const region = `${chr}:${Math.floor(start) + 1}-${Math.max(Math.floor(start) + 1, Math.ceil(end))}`;
      if (chr === "all" || region === model.get("region")) return;
      model.set("region", region);
      model.save_changes();
    }, QUIET);
  };
  const goto = async (locus) => {
    if (locus !== (model.get("locus") || model.get("start"))) return; // another one was asked for since
    failed("");
    await browser.updateLoci([parsed(locus)]);
    place.dataset.shown = locus;
  };
  const fail = (error) => failed(String(error.message ?? error));
  let moving = Promise.resolve();
  const move = () => {
    const locus = model.get("locus");
    if (browser && locus) moving = moving.then(() => goto(locus)).catch(fail);
  };

  const open = async () => {
    await shown(place, aborted.signal);
    if (aborted.signal.aborted) return;
    const { fasta, fai, gzi, name } = model.get("reference");
    const first = model.get("locus") || model.get("start");
    try {
      browser = await igv.createBrowser(place, {
        loadDefaultGenomes: false,
        search: false,
        showNavigation: true,
        queryParametersSupported: false,
        reference: {
          id: name,
          name: escaped(name),
          fastaURL: reader.file(fasta),
          indexURL: reader.file(fai),
          ...(gzi === null ? {} : { compressedIndexURL: reader.file(gzi) }),
          wholeGenomeView: false,
        },
        tracks: [],
      });
      if (aborted.signal.aborted) return igv.removeBrowser(browser);
      browser.alert.present = (said) => failed(String(said?.message ?? said)); // it takes texts as HTML
      await browser.updateLoci([parsed(first)]);
      browser.search = async (text) => {
        if (await search(browser, text)) failed("");
        else failed(`The reference has no locus ${text.trim()}: give contig:start-end.`);
        return true; // or igv.js says it too, as HTML
      };
      browser.on("trackclick", details);
      browser.on("locuschange", told);
      for (const { file, index, ...track } of model.get("tracks"))
        withoutBlat(
          await browser.loadTrack({
            ...track,
            name: escaped(track.name), // igv.js takes a label as HTML
            url: reader.file(file),
            ...(index === null ? { indexed: false } : { indexURL: reader.file(index) }),
          }),
        );
      place.dataset.shown = first;
      if ((model.get("locus") || first) !== first) move();
      told(browser.referenceFrameList);
    } catch (error) {
      fail(error);
    }
  };
  model.on("change:locus", move);
  open();

  return () => {
    aborted.abort();
    clearTimeout(timer);
    model.off("change:locus", move);
    reader.close();
    if (browser) igv.removeBrowser(browser);
  };
}

export default { render };
