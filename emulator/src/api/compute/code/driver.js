// Runs cell after cell in one context. Requests come on descriptor 4, answers go to descriptor 3, a line of JSON each. What
// cells write is collected here; what their children write to 1 and 2 is in two files without a name.
const fs = require("fs"), vm = require("vm"), util = require("util"), readline = require("readline");

const LIMIT = 1 << 19, SHOWN = 1 << 18, TRACE = 1 << 16;

class Capture {
  constructor(fd, stream) {
    this.fd = fd;
    this.begin();
    stream.write = (piece, encoding, done) => {
      this.keep(Buffer.isBuffer(piece) || piece instanceof Uint8Array ? Buffer.from(piece) : Buffer.from(String(piece), typeof encoding === "string" ? encoding : "utf8"));
      const then = typeof encoding === "function" ? encoding : done;
      if (typeof then === "function") process.nextTick(then);
      return true;
    };
  }
  begin() { this.kept = []; this.size = 0; this.cut = false; }
  keep(piece) {
    const part = piece.subarray(0, LIMIT - this.size);
    if (part.length) this.kept.push(part);
    this.size += part.length;
    this.cut = this.cut || part.length < piece.length;
  }
  end() {
    const source = fs.openSync(`/proc/self/fd/${this.fd}`, "r");
    try {
      const said = Buffer.alloc(LIMIT + 1);
      this.keep(said.subarray(0, fs.readSync(source, said, 0, said.length, 0)));
    } finally {
      fs.closeSync(source);
    }
    fs.ftruncateSync(this.fd, 0);
    const ended = { bytes: Buffer.concat(this.kept), cut: this.cut };
    this.begin();
    return ended;
  }
}

const out = new Capture(1, process.stdout), err = new Capture(2, process.stderr);
const own = require("module").createRequire(process.cwd() + "/cell.js");
Object.assign(globalThis, { require: own });
process.argv = process.argv.slice(0, 1);
// A promise that nobody waits for must not end the interpreter.
const lost = (error) => console.error("Uncaught", error);
process.on("unhandledRejection", lost);
process.on("uncaughtException", lost);
let interrupt = null;
process.on("SIGINT", () => interrupt && interrupt());

function shown(value) {
  if (value === undefined || value === null) return null;
  try {
    const text = JSON.stringify(value);
    if (text !== undefined && text.length <= SHOWN && util.isDeepStrictEqual(JSON.parse(text), value)) return value;
  } catch {}
  return util.inspect(value).slice(0, SHOWN);
}

async function run(code) {
  // `const` and `let` of a script live on in the context, as in a console.
  const value = vm.runInThisContext(code, { filename: "<cell>", breakOnSigint: true });
  if (value === null || typeof value !== "object" || typeof value.then !== "function") return value;
  return Promise.race([value, new Promise((_, fail) => {
    interrupt = () => fail(Object.assign(new Error("interrupted"), { name: "Interrupted" }));
  })]);
}

function trace(error) {
  if (!(error instanceof Error) && !(error && error.stack)) return util.inspect(error).slice(0, TRACE);
  const lines = String(error.stack).split("\n");
  const ours = lines.findIndex((line) => line.includes("node:vm") || line.includes("[eval]"));
  return (ours > 0 ? lines.slice(0, ours) : lines).join("\n").slice(0, TRACE);
}

let turn = Promise.resolve();
readline.createInterface({ input: fs.createReadStream(null, { fd: 4 }) }).on("line", (line) => {
  turn = turn.then(async () => {
    const request = JSON.parse(line);
    const answer = { id: request.id, ok: true, result: null, error: null };
    try {
      answer.result = shown(await run(request.code));
    } catch (error) {
      answer.ok = false;
      answer.error = { name: String((error && error.name) || "Error"), message: String((error && error.message) || error).slice(0, TRACE), traceback: trace(error) };
    } finally {
      interrupt = null;
    }
    for (const [name, capture] of [["stdout", out], ["stderr", err]]) {
      const ended = capture.end();
      answer[name] = ended.bytes.toString("hex");
      answer[name + "_cut"] = ended.cut;
    }
    fs.writeFileSync(3, JSON.stringify(answer) + "\n");
  });
}).on("close", () => process.exit(0));
