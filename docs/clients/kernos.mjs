// A client of kernos in Node, without packages: frames, a small msgpack codec, calls, streams, typed errors.
//   const kernel = await connect(process.env.KERNOS_SOCKET);
//   const { processes } = await kernel.call("process.list", { all: true });
//   for await (const piece of kernel.stream("model.generate", { turns })) process.stdout.write(piece.text);
// Calls go by name; arguments, results and items are those of `kernos syscalls --schema`. What it leaves out: arguments
// of more than 64 KiB (blobs to the kernel need BLAKE2b of 16 bytes, which Node has not).
import { createConnection } from "node:net";

const ERRNO = ["", "EPERM", "ENOENT", "ESRCH", "EINVAL", "EAGAIN", "EBUSY", "EQUOTA", "ETIME", "ECANCELED", "EPIPE", "EIO",
  "ENOSYS", "EWINDOW", "EUNKNOWN", "EREPLAY", "EFENCED", "ELIMIT"];
const [HELLO, CALL, REPLY, ERROR, ITEMS, END, CREDIT, CANCEL, , CHUNK, BYE] = Array(11).keys();
const ABI = 1, FRAME_BYTES_MAX = 64 * 1024, STREAM_CREDIT = 64;
const NUMBERS = [["readFloatBE", 4], ["readDoubleBE", 8], ["readUInt8", 1], ["readUInt16BE", 2], ["readUInt32BE", 4],
  ["readBigUInt64BE", 8], ["readInt8", 1], ["readInt16BE", 2], ["readInt32BE", 4], ["readBigInt64BE", 8]];

export class SyscallError extends Error {
  constructor(errno, message) {
    super(`${ERRNO[errno] ?? errno}: ${message}`);
    this.errno = ERRNO[errno] ?? String(errno);
  }
}

export function encode(value) {
  if (value == null) return Buffer.from([0xc0]);
  if (value === false || value === true) return Buffer.from([value ? 0xc3 : 0xc2]);
  if (typeof value === "number" && !Number.isSafeInteger(value)) return sized(0xcb, "writeDoubleBE", 8, value);
  if (typeof value === "number") return value >= 0 && value < 128 ? Buffer.from([value])
    : sized(0xd3, "writeBigInt64BE", 8, BigInt(value));
  if (value instanceof Uint8Array) return Buffer.concat([sized(0xc6, "writeUInt32BE", 4, value.length), value]);
  if (typeof value === "string")
    return Buffer.concat([sized(0xdb, "writeUInt32BE", 4, Buffer.byteLength(value)), Buffer.from(value)]);
  if (Array.isArray(value)) return Buffer.concat([sized(0xdd, "writeUInt32BE", 4, value.length), ...value.map(encode)]);
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Buffer.concat([sized(0xdf, "writeUInt32BE", 4, entries.length), ...entries.flat().map(encode)]);
}

function sized(kind, write, bytes, value) {
  const out = Buffer.alloc(1 + bytes, kind);
  return out[write](value, 1), out;
}

export function decode(data) {
  let at = 0;
  const take = (n) => data.subarray(at, (at += n)), number = (read, bytes) => Number(take(bytes)[read]());
  const array = (n) => Array.from({ length: n }, value);
  const map = (n) => Object.fromEntries(Array.from({ length: n }, () => [value(), value()]));
  const size = (kind, first) => number(["readUInt8", "readUInt16BE", "readUInt32BE"][kind - first], 1 << (kind - first));
  function value() {
    const kind = take(1)[0];
    if (kind < 0x80) return kind;
    if (kind < 0xa0) return (kind < 0x90 ? map : array)(kind & 15);
    if (kind < 0xc0) return take(kind & 31).toString();
    if (kind >= 0xe0) return kind - 256;
    if (kind <= 0xc3) return [null, undefined, false, true][kind - 0xc0];
    if (kind <= 0xc6) return Buffer.from(take(size(kind, 0xc4)));
    if (kind >= 0xca && kind <= 0xd3) return number(...NUMBERS[kind - 0xca]);
    if (kind >= 0xd9 && kind <= 0xdb) return take(size(kind, 0xd9)).toString();
    if (kind === 0xdc || kind === 0xdd) return array(size(kind, 0xdb));
    if (kind === 0xde || kind === 0xdf) return map(size(kind, 0xdd));
    throw new Error(`msgpack of kind 0x${kind.toString(16)} is not of this ABI`);
  }
  return value();
}

export const connect = (path) => new Promise((resolve, reject) => {
  const socket = createConnection(path, () => resolve(new Kernel(socket))).once("error", reject);
});

class Kernel {
  #socket; #buffer = Buffer.alloc(0); #calls = new Map(); #blobs = new Map(); #next = 1; #ended = null;

  constructor(socket) {
    this.#socket = socket;
    socket.on("data", (data) => this.#receive(data));
    socket.on("error", (error) => this.#end(error.message));
    socket.on("close", () => this.#end("the kernel closed the connection"));
    this.#send([HELLO, ABI, ["node"], Buffer.alloc(0), Buffer.alloc(0), {}]);
  }

  async call(name, args = {}) {
    const stream = this.stream(name, args);
    for (;;) { const { done, value } = await stream.next(); if (done) return value; }
  }

  // The items of a call; what the generator returns is its result. Leaving the loop early cancels the call.
  async *stream(name, args = {}) {
    if (this.#ended) throw new SyscallError(10, this.#ended);
    const id = this.#next++, call = { items: [], wake: () => {} };
    const packed = encode([CALL, id, 0, name, args, STREAM_CREDIT]);
    if (packed.length > FRAME_BYTES_MAX) throw new SyscallError(4, `arguments of ${packed.length} bytes: at most 64 KiB`);
    this.#calls.set(id, call);
    this.#write(packed);
    try {
      for (;;) {
        while (call.items.length) {
          yield call.items.shift();
          if (!call.outcome) this.#send([CREDIT, id, 1]);
        }
        if (call.outcome) return call.outcome();
        await new Promise((resolve) => (call.wake = resolve));
      }
    } finally {
      if (!call.outcome) this.#send([CANCEL, id, "closed"]);
    }
  }

  close() { this.#send([BYE, "done"]); this.#socket.end(); }

  #send(frame) { if (!this.#ended) this.#write(encode(frame)); }

  #write(body) { this.#socket.write(Buffer.concat([sized(0, "writeUInt32BE", 4, body.length).subarray(1), body])); }

  #receive(data) {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    while (this.#buffer.length >= 4 && this.#buffer.length >= 4 + this.#buffer.readUInt32BE()) {
      const body = this.#buffer.subarray(4, 4 + this.#buffer.readUInt32BE());
      this.#buffer = this.#buffer.subarray(4 + body.length);
      this.#frame(decode(body));
    }
  }

  #frame([kind, id, ...rest]) {
    if (kind === REPLY || kind === END) rest[1] ? this.#blobs.set(rest[1][0], { id, left: rest[1][1], parts: [] })
      : this.#settle(id, () => rest[0]);
    else if (kind === ERROR) this.#settle(id, () => { throw new SyscallError(...rest); });
    else if (kind === ITEMS) { this.#calls.get(id)?.items.push(...rest[0]); this.#calls.get(id)?.wake(); }
    else if (kind === CHUNK) this.#chunk(id, rest[1]);
    else if (kind === CALL) this.#send([ERROR, id, 12, "a client serves no calls"]);
    else if (kind === BYE) this.#end(id || "the kernel said BYE");
  }

  #chunk(transfer, data) {
    const blob = this.#blobs.get(transfer);
    blob.parts.push(data);
    this.#send([CREDIT, transfer, data.length, true]);
    if ((blob.left -= data.length) > 0) return;
    this.#blobs.delete(transfer);
    this.#settle(blob.id, () => decode(Buffer.concat(blob.parts)));
  }

  #settle(id, outcome) {
    const call = this.#calls.get(id);
    if (call && this.#calls.delete(id)) { call.outcome = outcome; call.wake(); }
  }

  #end(why) {
    this.#ended ??= why;
    for (const id of [...this.#calls.keys()]) this.#settle(id, () => { throw new SyscallError(10, this.#ended); });
  }
}
