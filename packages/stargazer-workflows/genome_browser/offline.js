// What esbuild puts in place of the browser's own: igv.js reads files of the notebook only, and asks no machine.
function refuse() {
  throw new Error("The genome browser reads the files of its notebook only.");
}

export { refuse as XMLHttpRequest, refuse as fetch, refuse as WebSocket, refuse as EventSource };
