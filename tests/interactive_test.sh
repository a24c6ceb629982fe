#!/usr/bin/env bash
# `run --chat` and `run -i`, from a pipe and at a terminal (a pseudo-terminal of Python's).
set -euo pipefail

fail() { echo "FAILED: $*" >&2; cat stdout stderr >&2 2>/dev/null || true; exit 1; }
command -v python3 >/dev/null || { echo "no python3 here" >&2; exit 77; }

# tiny-llama with a template; what it says is noise, the same every time.
cp -r "$TEST_DATA/tiny-llama" model
chmod -R u+w model
cat >model/chat_template.jinja <<'JINJA'
{% for m in messages %}[{{ m.role }}]{{ m.content }}
{% endfor %}{% if tools %}{{ tools | length }} tools{% endif %}{% if add_generation_prompt %}[assistant]{% endif %}
JINJA
run() { "$SHOEHORN" run model "$@" -n 6 --ignore-eos; }

# The prompt of --chat is what the template makes of it.
run -p "$(printf '[system]be brief\n[user]hi\n[assistant]')" --json >plain 2>stderr
run --chat --system 'be brief' -p hi --json >chat 2>stderr
python3 - <<'PYTHON' || fail "--chat"
import json
plain, chat = json.load(open("plain")), json.load(open("chat"))
# run -p adds what the tokenizer adds to plain text; a template does that itself.
assert abs(plain["stats"]["prompt_tokens"] - chat["stats"]["prompt_tokens"]) <= 1
assert chat["stats"]["new_tokens"] == 6
PYTHON
echo '[{"role": "user", "content": "hi"}]' >messages.json
echo '{"tools": [{"a": 1}, {"b": 2}]}' >tools.json
expect_status 0 run --chat --messages messages.json --tools tools.json
expect_status 2 run --system x -p hi
expect_text stderr '--chat'
expect_status 2 run --chat --context-shift -p hi
echo '{"messages": 5}' >broken.json
expect_status 1 run --chat --messages broken.json
expect_text stderr 'broken.json'
expect_status 1 "$SHOEHORN" run "$TEST_DATA/tiny-llama" --chat -p hi
expect_text stderr 'no chat template'
expect_status 1 run --chat -p "$(printf 'x%.0s' {1..600})" --max-context 64
expect_text stderr '--max-context'

# From a pipe: a message a line, commands, the end of input.
printf '%s\n' 'hello' '/system be brief' 'again' '/save saved.json' '/nonsense' '//slash' >lines
expect_status 0 run -i <lines
[[ $(grep -c 'cut after 6 tokens' stderr) == 3 ]] || fail "three replies"
expect_text stderr '/nonsense is no command'
[[ $(python3 -c 'import json; m = json.load(open("saved.json"))["messages"]; print([x["role"] for x in m])') == \
  "['system', 'user', 'assistant', 'user', 'assistant']" ]] || fail "saved.json"
printf '%s\n' '/load saved.json' '/load nothing.json' 'more' '/exit' 'never' >lines
expect_status 0 run -i --stats <lines
[[ $(grep -c 'cut after 6 tokens' stderr) == 1 ]] || fail "/load and /exit"
expect_text stderr 'nothing.json'
echo hi >lines
expect_status 0 run -i --max-context 16 <lines
expect_text stderr '--max-context'

# What was computed of a prompt is there in the next run, and not for another model.
long=$(printf 'word %.0s' {1..40})
expect_status 0 run -p "$long" --prompt-cache cache --json
cp stdout first
expect_status 0 run -p "$long" --prompt-cache cache --json
python3 - <<'PYTHON' || fail "--prompt-cache"
import json
first, second = json.load(open("first")), json.load(open("stdout"))
assert first["ids"] == second["ids"] and first["stats"]["cached_tokens"] == 0
assert second["stats"]["cached_tokens"] == second["stats"]["prompt_tokens"] - 1
PYTHON
expect_status 0 run -p "$long" --prompt-cache cache --dtype float16
expect_text stderr 'written anew'
head -c 100 cache >damaged
expect_status 1 run -p "$long" --prompt-cache damaged
expect_text stderr 'damaged'
expect_status 1 run -p "$long" --prompt-cache model/config.json
cmp -s model/config.json "$TEST_DATA/tiny-llama/config.json" || fail "a file that is no cache was overwritten"

# At a terminal: editing, wide characters, a narrow window, Ctrl-C, Ctrl-D.
cat >terminal.py <<'PYTHON'
import fcntl, os, pty, select, signal, struct, sys, termios, time

def session(arguments, columns=80):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", LC_ALL="C.UTF-8")
        os.execv(arguments[0], arguments)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return pid, fd

class Terminal:
    def __init__(self, arguments, columns=80):
        self.pid, self.fd = session(arguments, columns)
        self.seen = ""
    def wait_for(self, text, seconds=120):
        end = time.time() + seconds
        while text not in self.seen:
            assert time.time() < end, (text, self.seen)
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    assert text in self.seen, (text, self.seen)
        before, _, self.seen = self.seen.partition(text)
        return before
    def send(self, text):
        os.write(self.fd, text.encode())
    def end(self, seconds=120):
        end = time.time() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.time() > end:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(("does not end", self.seen))
            time.sleep(0.02)

program, model = sys.argv[1:]
arguments = [program, "run", model, "-i", "--ignore-eos", "-n"]
for columns in (80, 9):
    t = Terminal(arguments + ["6", "--chat-template", "echo.jinja"], columns)
    t.wait_for("> ")
    # A wide line, the cursor moved back over it, a correction, history.
    t.send("漢字X\x1b[D\x1b[C\x7f!\r")
    t.wait_for("\r\n")
    t.wait_for("\x1b[?2004h")  # the next prompt
    t.send("\x1b[A")
    t.wait_for("字!") if columns == 80 else t.wait_for("!")
    t.send("\x15/save wide%d.json\r" % columns)
    t.wait_for("messages in")
    # What is typed while nobody reads keys is the terminal's own: Ctrl-C would throw it away.
    t.wait_for("\x1b[?2004h")
    t.send("half a line\x03")
    t.wait_for("\x1b[?2004h")
    t.send("\x04")
    assert t.end() == 0
# A reply that is stopped; the program goes on.
t = Terminal(arguments + ["3000", "--max-context", "3100"])
t.wait_for("> ")
t.send("go\r")
t.wait_for("go")
time.sleep(0.3)
os.kill(t.pid, signal.SIGINT)
t.wait_for("note: stopped")
t.wait_for("\x1b[?2004h")
t.send("\x03")
t.wait_for("Ctrl-D")
t.send("/save stopped.json\r")
t.wait_for("messages in")
t.wait_for("\x1b[?2004h")
t.send("/exit\r")
assert t.end() == 0
PYTHON
cp model/chat_template.jinja echo.jinja
python3 terminal.py "$SHOEHORN" model >stdout 2>stderr || fail "terminal"
python3 - <<'PYTHON' || fail "what was typed"
import json
for columns in (80, 9):
    assert json.load(open(f"wide{columns}.json"))["messages"][0]["content"] == "漢字!"
PYTHON
