# Runs cell after cell in one namespace. Requests come on descriptor 4, answers go to descriptor 3, a line of JSON each;
# what cells and their children write to 1 and 2 is collected.
import ast, json, os, signal, sys, threading, traceback

LIMIT, SHOWN, TRACE = 1 << 19, 1 << 18, 1 << 16
requests, answers = os.fdopen(4, "rb"), os.fdopen(3, "wb")
for fd in (3, 4):
    os.set_inheritable(fd, False)
cell = False


def interrupt(*_):
    if cell:
        raise KeyboardInterrupt


signal.signal(signal.SIGINT, interrupt)


class Capture:
    """The bytes of a descriptor, from one mark to the next."""

    def __init__(self, fd):
        self.fd, (self.source, sink) = fd, os.pipe()
        os.dup2(sink, fd)
        os.close(sink)
        self.begin()
        threading.Thread(target=self.pump, daemon=True).start()

    def begin(self):
        self.kept, self.cut, self.mark, self.done = bytearray(), False, None, threading.Event()

    def pump(self):
        tail = b""
        while True:
            piece = os.read(self.source, 65536)
            if not piece:
                return
            tail += piece
            mark = self.mark
            at = tail.find(mark) if mark else -1
            if at >= 0:
                self.keep(tail[:at])
                tail = tail[at + len(mark):]
                self.mark = None
                self.done.set()
                continue
            # The beginning of a mark may be its end.
            hold = 63 if mark else 0
            if len(tail) > hold:
                self.keep(tail[: len(tail) - hold])
                tail = tail[len(tail) - hold:]

    def keep(self, piece):
        room = LIMIT - len(self.kept)
        self.kept += piece[:room]
        self.cut = self.cut or len(piece) > room

    def end(self):
        mark = os.urandom(32).hex().encode()
        self.mark = mark
        os.write(self.fd, mark)
        self.done.wait(5)
        kept, cut = bytes(self.kept), self.cut
        self.begin()
        return kept, cut


out, err = Capture(1), Capture(2)
sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace", buffering=1)
sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace", buffering=1)
sys.argv = [""]
module = type(sys)("__main__")
sys.modules["__main__"] = module
scope = module.__dict__


def shown(value):
    try:
        text = json.dumps(value, allow_nan=False)
        plain = type(value) in (str, int, float, bool, list, dict)
        if plain and len(text) <= SHOWN and json.loads(text) == value:
            return value
    except Exception:
        pass
    text = repr(value)
    return text[:SHOWN]


def run(code):
    """The value of the last expression, if the cell ends in one."""
    tree = ast.parse(code, "<cell>")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), scope)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), scope)


def trace(error):
    # The frames of this driver are nobody's business.
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename != "<cell>":
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


for line in requests:
    request = json.loads(line)
    answer = {"id": request["id"], "ok": True, "result": None, "error": None}
    try:
        try:
            cell = True
            value = run(request["code"])
            if value is not None:
                answer["result"] = shown(value)
        finally:
            cell = False
    except KeyboardInterrupt as error:
        answer.update(ok=False, error={"name": "KeyboardInterrupt", "message": "", "traceback": trace(error)})
    except SystemExit as error:
        # A cell that exits has ended; the interpreter goes on.
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if code:
            answer.update(ok=False, error={"name": "SystemExit", "message": str(error.code), "traceback": ""})
    except BaseException as error:
        text = trace(error)
        name, message = type(error).__name__, str(error)[:TRACE]
        answer.update(ok=False, error={"name": name, "message": message, "traceback": text[-TRACE:]})
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    for name, capture in (("stdout", out), ("stderr", err)):
        kept, cut = capture.end()
        answer[name], answer[name + "_cut"] = kept.hex(), cut
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()
