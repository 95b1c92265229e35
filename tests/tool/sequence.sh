#!/bin/sh
# SPDX-License-Identifier: MIT
# telex sequence: the sample of the documentation, logs of all kinds, and what is none.
group=tool_sequence
. "$SOURCE/tests/tool/common.sh"
cd "$work" || exit 1

run golden sequence "$SOURCE/docs/sequence.log"
check golden "the chart in docs/ is the one of the log in docs/ (telex sequence docs/sequence.log >docs/sequence.svg, and look at it)" all 'same 0 $status' 'silent golden.err' 'cmp golden.out "$SOURCE/docs/sequence.svg"'
TZ=Asia/Tokyo LC_ALL=C "$TELEX" sequence - <"$SOURCE/docs/sequence.log" >stdin.out
check stdin "from standard input, in another time zone" cmp stdin.out "$SOURCE/docs/sequence.svg"

# drawn FILE EXPRESSION: the SVG is well formed, and a Python expression about its elements is true
drawn() {
    python3 -c '
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
space = "{http://www.w3.org/2000/svg}"
width, height = float(root.get("width")), float(root.get("height"))

def of(name, kind):
    return [each for each in root.iter(space + name) if kind in (each.get("class") or "").split()]

def texts(kind):
    return ["".join(each.itertext()) for each in of("text", kind)]

def inside():
    """Everything lies on the page, and no label is wider than the space that it has."""
    columns = sorted({float(each.get("x1")) for each in of("line", "line")})
    for each in root.iter():
        for name, most in (("x", width), ("x1", width), ("x2", width), ("y", height), ("y1", height), ("y2", height)):
            assert 0 <= float((each.get(name) or "0").rstrip("%")) <= most, (each.tag, each.attrib)
    for label in of("text", "label"):
        middle, half = float(label.get("x")), len("".join(label.itertext())) * 6.93 / 2
        assert not [x for x in columns if middle - half < x < middle + half], "".join(label.itertext())
    return True

def apart():
    """No two labels at one height lie over each other."""
    seen = {}
    for label in of("text", "label"):
        middle, half = float(label.get("x")), len("".join(label.itertext())) * 6.93 / 2
        for other, wide in seen.setdefault(float(label.get("y")), []):
            assert abs(other - middle) > half + wide, "".join(label.itertext())
        seen[float(label.get("y"))].append((middle, half))
    return len(seen) > 0

result = eval(sys.argv[2])
if not result:
    print("not true:", sys.argv[2])
sys.exit(0 if result else 1)' "$work/$1" "$2"
}

check sample "calls, replies, a failure, synchronous messages, a death" all "drawn golden.out 'inside() and apart()'" \
    "drawn golden.out '[len(of(\"line\", kind)) - 1 for kind in (\"call\", \"reply\", \"fail\", \"sync\", \"taken\", \"message\")] == [3, 2, 1, 2, 2, 4]'" \
    "drawn golden.out 'len(of(\"rect\", \"bar\")) == 3 and len(of(\"path\", \"dead\")) == 1 and len(of(\"line\", \"stop\")) == 6'" \
    "drawn golden.out 'texts(\"sync\")[1].startswith(\"sync 2 the vault is <locked>\")'"

# ---- logs of all kinds ----

python3 - <<'END'
import json, random

random.seed(4)
NASTY = ["hello", "<script>alert('&\"')</script>", "tab\tnew\nline\x01\x1b[31m", "‮ turned around", "日本語" * 60, "x" * 5000, "", "🙂", "]]>", "\ufffe\uffff", "&amp;"]


def log(name, connections, count, texts, addresses=("unix:///tmp/a",)):
    at, lines, numbers = 0, [], [0] * (connections + 1)

    def say(connection, event, direction=None, **fields):
        nonlocal at
        at += random.choice((1000, 40000, 2000000))
        entry = {"time": f"2026-11-25T23:59:{at // 10**9 % 60:02d}.{at % 10**9:09d}Z", "connection": connection, "event": event}
        if direction:
            entry["direction"] = direction
        lines.append(json.dumps(entry | fields, ensure_ascii=random.random() < 0.5).encode("utf-8", "replace"))

    for connection in range(1, connections + 1):
        say(connection, "open", peer=f"peer {connection}", address=random.choice(addresses))
        say(connection, "hello", ">", program=random.choice(texts)[:300] or "p", pid=connection)
    while len(lines) < count:
        connection, direction = random.randint(1, connections), random.choice("<>")
        other = "<" if direction == ">" else ">"
        numbers[connection] += 1
        number, text = numbers[connection], random.choice(texts)
        message = dict(kind="text", type=random.choice((0, 0, 9)), lane=random.choice((0, 0, 254)), number=number, sync=False, size=len(text.encode("utf-8", "replace")), text=text)
        kind = random.randint(0, 5)
        if kind == 0:
            say(connection, "message", direction, **message | {"sync": True})
            say(connection, "taken", other, number=number)
        elif kind == 1:
            say(connection, "call", direction, **message)
            say(connection, *random.choice((("reply", other), ("cancel", direction), ("fail", other))), request=number, kind="text", size=2, text=text, code="failed", sentence=text)
        elif kind == 2:
            say(connection, "call", direction, **message)
        elif kind == 3:
            say(connection, "bytes", direction, size=100000, hex="00ff" * 200, shown=400)
        else:
            say(connection, "message", direction, **message)
    for connection in range(1, connections + 1, 2):
        say(connection, "end", ">", sentence="it died <&>")
        say(connection, "close")
    with open(name, "wb") as file:
        file.write(b"\n".join(lines) + b"\n")


log("nasty", 3, 400, NASTY)
log("long", 2, 10000, ["hello", "world"])
log("wide", 60, 600, ["hello", "a longer text that has to be cut somewhere, and is"], ("unix:///tmp/a", "shm://b"))
END

for name in nasty long wide; do
    run "$name" sequence "$name"
    check "$name" "a chart of them" all 'same 0 $status' 'silent $name.err' "drawn $name.out 'len(texts(\"head\") + texts(\"name\")) >= 2'"
done
check nasty_harmless "no script, no control character, nothing that turns the line around" all "drawn nasty.out 'not list(root.iter(space + \"script\"))'" \
    "drawn nasty.out 'any(\"<script>\" in text for text in texts(\"message\"))'" "drawn nasty.out 'not [c for text in root.itertext() for c in text if (c < \" \" and c != \"\\n\") or c in \"\\u202e\\ufffe\"]'"
check long_whole "ten thousand events: all of them, on a page as high as they need" all "drawn long.out 'len(of(\"text\", \"time\")) > 9000 and height > 200000 and apart()'"
check wide_whole "sixty connections side by side" drawn wide.out 'width > 15000 and inside() and apart()'

# One after the other, connections share a column.
python3 -c '
for i in range(1, 301):
    for event in ("open\", \"address\": \"tcp://a:1", "close"):
        print(f"{{\"time\": \"2026-11-25T10:{i // 60:02d}:{i % 60:02d}.000000000Z\", \"connection\": {i}, \"event\": \"{event}\"}}")' >turns
run turns sequence turns
check turns "300 in turn take no more room than one" drawn turns.out 'width < 1300 and len(of("rect", "head")) == 300'

printf '{"time": "2026-11-25T10:00:00Z", "connection": 1, "event": "message", "direction": ">", "size": 9, "text": "no \377\300\200 text \355\240\200", "new": null}\r\n\n' >latin
run latin sequence latin
check latin "bytes that are no UTF-8, a field of a later version, an empty line, CRLF" all 'same 0 $status' "drawn latin.out 'any(\"no \\ufffd\\ufffd\\ufffd text\" in text for text in texts(\"message\"))'"
printf '{"time": "2026-11-25T10:00:00Z", "connection": 7, "event": "reply", "direction": "<", "request": 5, "number": 1, "size": 2, "text": "ok"}' >middle
run middle sequence middle
check middle "a log that begins in the middle" all 'same 0 $status' "drawn middle.out 'any(\"reply 5\" in text for text in texts(\"reply\"))'"

# ---- what is no log ----

good='{"time": "2026-11-25T10:00:00Z", "connection": 1, "event": "open"}'
bad() { # NAME, LINE, what is said
    printf '%s\n%s\n' "$good" "$2" >bad
    run bad sequence bad
    check "bad_$1" "what is wrong, and where" all 'same 1 $status' 'silent bad.out' "grep -q '^telex: bad:2: $3' bad.err"
}
bad object 'hello' 'no JSON object'
bad cut '{"time": "2026-11-25T10:00:00Z", "conn' 'a string does not end'
head -c 3000 "$SOURCE/docs/sequence.log" >"$work/killed.log"
run killed sequence "$work/killed.log"
check killed "of a log that was cut off all but the last line is drawn" all 'same 0 $status' 'says killed.err "the last line does not end"' 'grep -q "</svg>" "$work/killed.out"'
bad comma '{"a": 1 "b": 2}' 'the object does not end'
bad nested '{"a": [1]}' 'a value that is no string'
bad behind "$good x" 'something stands behind'
bad escape '{"a": "\q"}' 'an unknown escape'
bad unicode '{"a": "\u12g4"}' '.u wants four hexadecimal digits'
bad event '{"time": "2026-11-25T10:00:00Z", "connection": 1, "event": "dance"}' 'an unknown event'
bad none '{"a": 1}' 'no event'
bad time '{"time": "yesterday", "connection": 1, "event": "open"}' 'open: no time'
bad connection '{"time": "2026-11-25T10:00:00Z", "connection": -1, "event": "open"}' 'open: no number'
bad direction '{"time": "2026-11-25T10:00:00Z", "connection": 1, "event": "call", "size": 1}' 'call: direction'
bad size '{"time": "2026-11-25T10:00:00Z", "connection": 1, "event": "call", "direction": ">"}' 'call: no size'
bad number '{"time": "2026-11-25T10:00:00Z", "connection": 1, "event": "taken", "direction": ">", "number": 1.5}' 'number is no whole number'
bad fields "{$(seq -f '"f%g": 1,' 40 | tr -d '\n')\"a\": 1}" 'too many fields'
: >empty
run empty sequence empty
check empty "nothing" all 'same 1 $status' 'silent empty.out' 'says empty.err "nothing in it"'
run missing sequence nowhere
check missing "no such file" all 'same 1 $status' 'says missing.err "nowhere: No such file"'
head -c 100000 /dev/urandom >noise
run noise sequence noise
check noise "noise" all 'same 1 $status' 'says noise.err "telex: noise:"'

# ---- what the tap writes ----

start_ready words 1 serve "unix://$work/words" -- wc -w
start_ready tap 1 tap --json "unix://$work/tap" "unix://$work/words"
run call call "unix://$work/tap" 'to be or not to be'
run call call --binary "unix://$work/tap" "$(printf 'a\001\033[31m')"
finish "$pid"
run live sequence tap.out
check live "a log of just now" all 'same 0 $status' "drawn live.out 'texts(\"call\")[0] == \"call 1 to be or not to be\"'" "drawn live.out 'len(of(\"rect\", \"bar\")) == 2 and inside() and apart()'"
done_testing
