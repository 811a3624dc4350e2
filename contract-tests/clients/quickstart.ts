// The quickstart, with types from the contract and nothing else: make a sandbox, run a command, write and read a file,
// keep a snapshot, list, remove.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./miosa.js";

const { MIOSA_BASE_URL: baseUrl, MIOSA_API_KEY: key } = process.env;
assert(baseUrl && key, "MIOSA_BASE_URL and MIOSA_API_KEY are needed");
const miosa = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

/** What was answered, or the documented error as an exception. */
async function answered<Data>(
  call: Promise<{ data?: Data; error?: { error: { code: string; message: string } }; response: Response }>,
): Promise<Data> {
  const { data, error, response } = await call;
  if (data === undefined) throw new Error(`${response.status} ${error?.error.code}: ${error?.error.message}`);
  return data;
}

const sandbox = await answered(miosa.POST("/sandboxes", { body: { name: "generated-typescript" } }));
const params = { path: { id: sandbox.id } };
try {
  assert.equal(sandbox.state, "running");

  const result = await answered(miosa.POST("/sandboxes/{id}/exec", { params, body: { command: "echo hello" } }));
  assert("exit_code" in result && "stdout" in result);
  assert.deepEqual([result.exit_code, result.stdout], [0, "hello\n"]);

  await answered(miosa.POST("/sandboxes/{id}/fs/write", { params, body: { path: "/workspace/a.txt", content: "one" } }));
  const query = { path: "/workspace/a.txt" };
  const text = await answered(miosa.GET("/sandboxes/{id}/fs/read", { params: { ...params, query } }));
  assert.equal(text.content, "one");
  const bytes = await answered(
    miosa.GET("/sandboxes/{id}/fs/download", { params: { ...params, query }, parseAs: "text" }),
  );
  assert.equal(bytes, "one");

  const snapshot = await answered(miosa.POST("/sandboxes/{id}/snapshots", { params, body: { comment: "first" } }));
  assert.equal(snapshot.status, "ready");
  const snapshots = await answered(miosa.GET("/sandboxes/{id}/snapshots", { params }));
  assert.deepEqual(snapshots.data.map((one) => one.id), [snapshot.id]);

  const page = await answered(miosa.GET("/sandboxes", { params: { query: { page_size: 10, state: "running" } } }));
  assert(page.data.some((one) => one.id === sandbox.id) && page.page.page_size === 10);
} finally {
  await answered(miosa.DELETE("/sandboxes/{id}", { params }));
}
const { error } = await miosa.GET("/sandboxes/{id}", { params });
assert.equal(error?.error.code, "sandbox_not_found");
console.log(`TypeScript: ${sandbox.id} was made, used and removed`);
