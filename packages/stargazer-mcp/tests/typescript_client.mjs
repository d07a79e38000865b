// The official TypeScript SDK's client, old (v1) or new (v2): lists tools, calls one well and one wrongly, prints what came.
//     node typescript_client.mjs PACKAGES old|new http URL
//     node typescript_client.mjs PACKAGES old|new stdio COMMAND ...
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , packages, age, transport, ...rest] = process.argv;
const require = createRequire(packages + "/");
const load = (name) => import(pathToFileURL(require.resolve(name)));
const old = age === "old";
const names = old
  ? ["@modelcontextprotocol/sdk/client/index.js", "@modelcontextprotocol/sdk/client/stdio.js",
     "@modelcontextprotocol/sdk/client/streamableHttp.js"]
  : ["@modelcontextprotocol/client", "@modelcontextprotocol/client/stdio", "@modelcontextprotocol/client"];
const [{ Client }, { StdioClientTransport }, { StreamableHTTPClientTransport }] = await Promise.all(names.map(load));

const client = new Client({ name: age, version: "1" }, old ? {} : { versionNegotiation: { mode: "auto" } });
await client.connect(
  transport === "http"
    ? new StreamableHTTPClientTransport(new URL(rest[0]))
    : new StdioClientTransport({ command: rest[0], args: rest.slice(1), env: process.env }),
);
const { tools } = await client.listTools();
const found = await client.callTool({ name: "query_files", arguments: {} });
const wrong = await client.callTool({ name: "query_files", arguments: { limit: "many" } });
console.log(JSON.stringify({
  tools: tools.map((tool) => tool.name),
  protocol: old ? null : client.getNegotiatedProtocolVersion(),
  found: found.structuredContent,
  wrong: wrong.isError ? wrong.content[0].text : null,
}));
await client.close();
