"""Names that gnuplot would take for something else, for tests/test_plots.sh.

    hard_names.py               beside comparison.json, timeline.json and log.jsonl: KIND-N for each
                                name; prints their number
    hard_names.py N PICTURE     whether name N stands in an SVG as it is, control characters as
                                spaces
"""
import html
import json
import sys

NAMES = ["'lead", "''", "a\\", "%", "50% 30%g %%", "é · ×", "\\042", "@", "tab\tand\nline\x7f",
         "{/Symbol a}", "~{a}{.b}", "a'''b", '"',
         "\\n%.2f", "-1",
         "''x' \"q\" \\ {b}_s @m ^2 &~ 50% 30%g %% <t> $v `touch run.txt` #, which is long"]


def write():
    sources = {"comparison": "comparison.json", "timeline": "timeline.json", "log": "log.jsonl"}
    for i, name in enumerate(NAMES):
        for kind, source in sources.items():
            with open(source, encoding="utf-8") as file:
                text = file.read()
            old = "conv"
            if kind != "log":
                document = json.loads(text)
                old = document["trace"] if kind == "comparison" else document["pipebd"]["trace"]
            assert json.dumps(old) in text
            with open("%s-%d" % (kind, i), "w", encoding="utf-8") as file:
                file.write(text.replace(json.dumps(old), json.dumps(name)))
        with open("sweep-%d" % i, "w", encoding="utf-8") as file:
            file.write('"%s",schedule,epoch_s,speedup,why\n1,dp,1,1,\n2,dp,1,1,\n'
                       % name.replace('"', '""'))
    print(len(NAMES))


def shown(number, picture):
    name = "".join(c if c >= " " and c != "\x7f" else " " for c in NAMES[number])
    with open(picture, encoding="utf-8") as file:
        return name in html.unescape(file.read())


if len(sys.argv) == 1:
    write()
else:
    sys.exit(0 if shown(int(sys.argv[1]), sys.argv[2]) else 1)
